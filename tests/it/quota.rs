//! An instance that may ask no more: learned from ZITADEL's own answers in every protocol, then
//! answered in the caller's, until ZITADEL serves it again.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use ravelin::standin::{Limited, SYSTEM_TOKEN, Standin};

use crate::support::Ravelin;
use crate::support::h2::{Answer, Client, frame};
use crate::zitadel_wiring::{Mode, config, zitadel};

const V1: &str = "/zitadel.auth.v1.AuthService/GetMyUser";
const V2: &str = "/zitadel.session.v2.SessionService/ListSessions";

/// Method, path, media type, and a further field.
type Ask = (&'static str, &'static str, &'static str, (&'static str, &'static str));

const PLAIN: (&str, &str) = ("accept-language", "en");
const REST: Ask = ("GET", "/auth/v1/users/me", "", PLAIN);
const CONNECT: Ask = ("POST", V2, "application/json", PLAIN);
const GRPC: Ask = ("POST", V1, "application/grpc", PLAIN);
const WEB: Ask = ("POST", V1, "application/grpc-web+proto", PLAIN);
const LOGIN: Ask = ("GET", "/ui/login/loginname", "", PLAIN);
const TOKEN: Ask = ("POST", "/oauth/v2/token", "application/x-www-form-urlencoded", PLAIN);
const DISCOVERY: Ask = ("GET", "/.well-known/openid-configuration", "", PLAIN);
const CONSOLE: Ask = ("GET", "/ui/console/assets/environment.json", "", PLAIN);

struct Site {
    zitadel: Standin,
    _ravelin: Ravelin,
    client: Client,
}

impl Site {
    async fn start(limited: Option<Limited>, more: &str) -> Self {
        let zitadel = zitadel(Mode::External).await;
        zitadel.limit(limited);
        let text = config(Mode::External, zitadel.address(), more);
        let ravelin =
            Ravelin::start(&text.replace("domain: localhost", "domain: [localhost, 127.0.0.1]"));
        let client = Client::tls(ravelin.address("public")).await;
        Self { zitadel, _ravelin: ravelin, client }
    }

    async fn limited(limited: Limited) -> Self {
        Self::start(Some(limited), ", limits: {quota: true}").await
    }

    async fn ask_of(&self, host: &str, (method, path, kind, field): Ask) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("https://{host}{path}"));
        if field.0 != "authorization" {
            request = request.header("authorization", "Bearer demo");
        }
        request = request.header(field.0, field.1);
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let body = match kind {
            "application/grpc-web-text" => STANDARD.encode(frame(b"")).into(),
            _ if kind.starts_with("application/grpc") => frame(b""),
            "application/json" => Bytes::from_static(b"{}"),
            _ => Bytes::new(),
        };
        self.client.send(request.body(body).unwrap()).await.unwrap()
    }

    async fn ask(&self, ask: Ask) -> Answer {
        self.ask_of("localhost", ask).await
    }

    /// Whether ZITADEL was asked.
    async fn asks_zitadel(&self, ask: Ask) -> bool {
        let before = self.zitadel.requests().len();
        self.ask(ask).await;
        self.zitadel.requests().len() > before
    }
}

/// Says so in its own protocol, and when to come again.
fn refused(ask: Ask, answer: &Answer) {
    let (_, path, kind, _) = ask;
    let why = format!("{ask:?} {answer:?}");
    if path.starts_with("/ui/login") {
        let location = answer.header("location");
        assert_eq!((answer.status(), location), (302, "/ui/console/"), "{why}");
        return;
    }
    let seconds: u32 = answer.header("retry-after").parse().expect(&why);
    assert!((1..=2).contains(&seconds), "{why}");
    match kind {
        "application/grpc" => {
            assert_eq!((answer.status(), answer.trailer("grpc-status")), (200, "8"), "{why}");
        }
        "application/grpc-web+proto" => {
            let told = String::from_utf8_lossy(&answer.body).replace(": ", ":");
            let told = told.contains("grpc-status:8") || answer.header("grpc-status") == "8";
            assert!(answer.status() == 200 && told, "{why}");
        }
        _ => {
            assert_eq!(answer.status(), 429, "{why}");
            assert!(kind != "application/json" || answer.text().contains("resource_exhausted"));
        }
    }
}

#[tokio::test]
async fn whatever_caller_is_refused_by_zitadel_all_are_told_so_in_their_own_protocol() {
    for teacher in [
        REST,
        CONNECT,
        ("POST", V2, "application/json", ("accept-encoding", "gzip")),
        GRPC,
        ("POST", V2, "application/grpc+proto", PLAIN),
        WEB,
        ("POST", V1, "application/grpc-web-text", PLAIN),
        ("POST", V2, "application/grpc-web+proto", PLAIN),
        LOGIN,
        TOKEN,
        CONSOLE,
    ] {
        let site = Site::limited(Limited::Quota).await;
        assert!(site.asks_zitadel(teacher).await, "{teacher:?}");
        for ask in [REST, CONNECT, GRPC, WEB, LOGIN, TOKEN] {
            let answer = site.ask(ask).await;
            refused(ask, &answer);
        }
        assert_eq!(site.zitadel.requests().len(), 1, "taught by {teacher:?}");
    }
}

#[tokio::test]
async fn who_is_exempt_still_asks_zitadel() {
    let public = [
        DISCOVERY,
        ("GET", "/oauth/v2/authorize", "", PLAIN),
        ("GET", "/oauth/v2/keys", "", PLAIN),
        ("GET", "/saml/v2/metadata", "", PLAIN),
        ("GET", "/saml/v2/certificate", "", PLAIN),
        ("POST", "/saml/v2/SSO", "", PLAIN),
    ];
    let always = [
        CONSOLE,
        ("GET", "/admin/v1/healthz", "", PLAIN),
        ("POST", "/zitadel.admin.v1.AdminService/Healthz", "application/grpc", PLAIN),
        ("OPTIONS", "/v2/users", "", ("access-control-request-method", "POST")),
    ];
    for limited in [Limited::Quota, Limited::Blocked] {
        let site = Site::limited(limited).await;
        site.ask(REST).await;
        for ask in always {
            assert!(site.asks_zitadel(ask).await, "{limited:?} {ask:?}");
        }
        for ask in public {
            let asked = site.asks_zitadel(ask).await;
            assert_eq!(asked, limited == Limited::Quota, "{limited:?} {ask:?}");
        }
        // None of their answers has opened it for the others.
        assert!(!site.asks_zitadel(REST).await, "{limited:?}");
    }
}

#[tokio::test]
async fn custom_paths_of_oidc_and_saml_go_on_with_a_quota_as_the_usual_ones_do() {
    let custom = ", limits: {quota: true, quota_exempt: [/sso/authorize, /sso/saml/metadata]}";
    for limited in [Limited::Quota, Limited::Blocked] {
        let site = Site::start(Some(limited), custom).await;
        site.ask(REST).await;
        for path in ["/sso/authorize", "/sso/authorize/callback", "/sso/saml/metadata"] {
            let asked = site.asks_zitadel(("GET", path, "", PLAIN)).await;
            assert_eq!(asked, limited == Limited::Quota, "{limited:?} {path}");
        }
        for path in ["/sso/token", "/sso/authorized"] {
            assert!(!site.asks_zitadel(("GET", path, "", PLAIN)).await, "{limited:?} {path}");
        }
    }
}

#[tokio::test]
async fn a_system_user_is_served_while_the_instance_is_not_and_opens_it_for_nobody() {
    let system = ("authorization", SYSTEM_TOKEN);
    // `{"iss":"https://localhost","sub":"1"}`, as the instance itself issues them.
    let own = ("authorization", "Bearer e30.eyJpc3MiOiJodHRwczovL2xvY2FsaG9zdCIsInN1YiI6IjEifQ.x");
    for limited in [Limited::Quota, Limited::Blocked] {
        let site = Site::limited(limited).await;
        assert_eq!(site.ask(REST).await.status(), 429);
        for (method, path, kind, _) in [REST, CONNECT, GRPC, WEB] {
            let before = site.zitadel.requests().len();
            let answer = site.ask((method, path, kind, system)).await;
            assert_eq!(answer.status(), 200, "{limited:?} {kind} {answer:?}");
            assert!(["", "0"].contains(&answer.trailer("grpc-status")), "{answer:?}");
            assert_eq!(site.zitadel.requests().len(), before + 1, "{limited:?} {kind}");
            assert!(!site.asks_zitadel((method, path, kind, own)).await, "{limited:?} {kind}");
        }
    }
}

#[tokio::test]
async fn one_request_asks_again_and_its_good_answer_opens_it_for_all() {
    let site = Site::limited(Limited::Quota).await;
    assert_eq!(site.ask(REST).await.status(), 429);
    site.zitadel.limit(None);
    let since = Instant::now();
    let mut refused = 0;
    while site.ask(REST).await.status() == 429 {
        refused += 1;
        assert!(since.elapsed() < Duration::from_secs(10), "it is never asked again");
        // Not to wait for something: the time until it is asked again is what is tested.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(refused > 5 && site.zitadel.requests().len() == 2, "{refused}");
    for ask in [REST, CONNECT, GRPC, WEB, LOGIN] {
        assert!(site.asks_zitadel(ask).await, "{ask:?}");
    }
}

#[tokio::test]
async fn another_host_a_client_s_cookie_and_other_429s_say_nothing() {
    let site = Site::start(None, ", limits: {quota: true}").await;
    let forged = ("cookie", "zitadel.quota.exhausted=true");
    let busy = ("x-standin-order", "status=429");
    for ask in [
        ("GET", "/auth/v1/users/me", "", forged),
        // The code and the cookie of a message that is too large, without the words.
        ("GET", "/v2/settings", "", busy),
        (
            "GET",
            "/v2/settings",
            "",
            ("x-standin-order", "set-header=set-cookie:a=zitadel.quota.exhausted=true"),
        ),
    ] {
        site.ask(ask).await;
        assert_eq!(site.ask(REST).await.status(), 200, "{ask:?}");
    }
    site.zitadel.limit(Some(Limited::Blocked));
    assert!(site.asks_zitadel(REST).await && !site.asks_zitadel(REST).await);
    let before = site.zitadel.requests().len();
    site.ask_of("127.0.0.1", REST).await;
    assert_eq!(site.zitadel.requests().len(), before + 1);
}

#[tokio::test]
async fn without_the_key_zitadel_is_always_asked() {
    let site = Site::start(Some(Limited::Blocked), "").await;
    for ask in [REST, CONNECT, GRPC, WEB, LOGIN, TOKEN, REST] {
        assert!(site.asks_zitadel(ask).await, "{ask:?}");
    }
}
