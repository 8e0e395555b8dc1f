//! ZITADEL's own acceptance matrix (its `deploy/compose/tests/wiring.spec.ts`) through the preset,
//! in each of its TLS modes: every kind of call, over HTTP/1.1 and HTTP/2, and where the rest goes.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Version};
use ravelin::standin::{Options, Standin};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;

use crate::support::h2::{Answer, Client, frame};
use crate::support::{Ravelin, certs, raw};

const HEALTHZ: &str = "/zitadel.admin.v1.AdminService/Healthz";
const SESSIONS: &str = "/zitadel.session.v2.SessionService/ListSessions";

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    Disabled,
    External,
    Enabled,
}

pub const MODES: [Mode; 3] = [Mode::Disabled, Mode::External, Mode::Enabled];

/// ZITADEL in a mode, its login, and Ravelin before both.
pub struct Site {
    pub mode: Mode,
    pub zitadel: Standin,
    pub login: Standin,
    pub ravelin: Ravelin,
}

/// With the settings that `--tlsMode` stands for.
pub async fn zitadel(mode: Mode) -> Standin {
    let tls = (mode == Mode::Enabled).then(|| {
        let (cert, key) = certs::pair("zitadel", &["127.0.0.1"]);
        let chain = CertificateDer::pem_file_iter(cert).unwrap().map(Result::unwrap).collect();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
            .unwrap();
        Arc::new(config)
    });
    let external_secure = mode != Mode::Disabled;
    Standin::start(Options { tls, external_secure, ..Options::default() }).await.unwrap()
}

pub fn config(mode: Mode, zitadel: SocketAddr, more: &str) -> String {
    let (word, scheme, tls) = match mode {
        Mode::Disabled => ("disabled", "h2c", ""),
        Mode::External => ("external", "h2c", ""),
        Mode::Enabled => ("enabled", "h2", ", tls: {ca: \"{ca}\"}"),
    };
    let listener = match mode {
        Mode::Disabled => "",
        _ => ", tls: {certificates: [{cert: \"{cert}\", key: \"{key}\"}]}",
    };
    format!(
        "zitadel: {{upstream: \"{scheme}://{zitadel}\", health: \"off\", cache: false, domain: localhost, tls_mode: {word}{tls}{more}}}\n\
         listeners: [{{name: public, address: \"127.0.0.1:0\"{listener}}}]\n\
         workers: 1\nadmin: \"off\"\naccess_log: {{format: \"off\"}}\n"
    )
}

impl Site {
    pub async fn start(mode: Mode) -> Self {
        let (zitadel, login) = (zitadel(mode).await, crate::support::standin().await);
        let more = format!(", login: \"http://{}\"", login.address());
        let ravelin = Ravelin::start(&config(mode, zitadel.address(), &more));
        Self { mode, zitadel, login, ravelin }
    }

    pub async fn h2(&self) -> Client {
        let address = self.ravelin.address("public");
        match self.mode {
            Mode::Disabled => Client::plain(address).await,
            _ => Client::tls(address).await,
        }
    }

    /// One exchange over HTTP/1.1.
    async fn h1(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> raw::Answer {
        self.h1_with(method, path, &format!("content-type: {kind}\r\n"), body).await
    }

    /// The same with these lines of header.
    pub async fn h1_with(&self, method: &str, path: &str, more: &str, body: &[u8]) -> raw::Answer {
        let fields = format!("{more}content-length: {}\r\n", body.len());
        let head = raw::request(method, "localhost", path, &fields);
        let bytes = [head.as_bytes(), body].concat();
        let address = self.ravelin.address("public");
        match self.mode {
            Mode::Disabled => {
                raw::exchange(TcpStream::connect(address).await.unwrap(), &bytes).await
            }
            _ => {
                let tls = certs::connect(address, "localhost", certs::client(&["http/1.1"]));
                raw::exchange(tls.await.unwrap(), &bytes).await
            }
        }
    }
}

async fn post(client: &Client, path: &str, kind: &str, body: &[u8]) -> Answer {
    let request = Request::post(format!("https://localhost{path}")).header("content-type", kind);
    client.send(request.body(Bytes::copy_from_slice(body)).unwrap()).await.unwrap()
}

#[tokio::test]
async fn every_kind_of_v1_call_succeeds_in_every_tls_mode() {
    for mode in MODES {
        let site = Site::start(mode).await;
        let answer = site.h1("GET", "/admin/v1/healthz", "application/json", b"").await;
        assert_eq!((answer.status(), answer.body.as_str()), (200, "{}"), "{mode:?} REST h1");
        let client = site.h2().await;
        let answer = client.get("/admin/v1/healthz").await.unwrap();
        assert_eq!((answer.status(), answer.text()), (200, "{}"), "{mode:?} REST h2");
        let answer = site.h1("POST", HEALTHZ, "application/grpc-web+proto", &frame(b"")).await;
        let told = answer.body.to_ascii_lowercase().replace(": ", ":");
        assert_eq!(answer.status(), 200, "{mode:?} gRPC-Web h1");
        assert!(told.contains("grpc-status:0"), "{mode:?} gRPC-Web h1: {told:?}");
        let answer = post(&client, HEALTHZ, "application/grpc-web+proto", &frame(b"")).await;
        let told = String::from_utf8_lossy(&answer.body).to_ascii_lowercase().replace(": ", ":");
        assert_eq!(answer.status(), 200, "{mode:?} gRPC-Web h2");
        assert!(told.contains("grpc-status:0"), "{mode:?} gRPC-Web h2: {told:?}");
        // The v1 services have no codec for JSON, which they say in gRPC.
        for (kind, code) in [("application/grpc+proto", "0"), ("application/grpc+json", "13")] {
            let answer = post(&client, HEALTHZ, kind, &frame(b"{}")).await;
            let status = (answer.status(), answer.trailer("grpc-status"));
            assert_eq!(status, (200, code), "{mode:?} {kind} h2");
        }
        // Whatever the client spoke, ZITADEL was spoken to over HTTP/2, on one connection.
        let seen = site.zitadel.requests();
        assert!(seen.iter().all(|seen| seen.version == Version::HTTP_2), "{mode:?}");
        assert_eq!((seen.len(), site.zitadel.connections_total()), (6, 1), "{mode:?}");
    }
}

#[tokio::test]
async fn every_kind_of_v2_call_without_a_token_is_refused_in_its_own_protocol() {
    for mode in MODES {
        let site = Site::start(mode).await;
        let client = site.h2().await;
        let rest = site.h1("POST", "/v2/sessions/search", "application/json", b"{}").await;
        assert_eq!(rest.status(), 401, "{mode:?} REST h1");
        assert_eq!(rest.json()["code"], 16, "{mode:?} REST h1");
        let rest = post(&client, "/v2/sessions/search", "application/json", b"{}").await;
        assert_eq!(rest.status(), 401, "{mode:?} REST h2");
        for (kind, body) in [("application/json", &b"{}"[..]), ("application/proto", &b""[..])] {
            let answer = site.h1("POST", SESSIONS, kind, body).await;
            assert_eq!(answer.status(), 401, "{mode:?} Connect {kind} h1");
            assert_eq!(answer.json()["code"], "unauthenticated", "{mode:?} Connect {kind} h1");
            let answer = post(&client, SESSIONS, kind, body).await;
            assert_eq!(answer.status(), 401, "{mode:?} Connect {kind} h2");
            assert!(answer.text().contains("unauthenticated"), "{mode:?} Connect {kind} h2");
        }
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc+json"] {
            let answer = post(&client, SESSIONS, kind, &frame(b"{}")).await;
            let status = (answer.status(), answer.trailer("grpc-status"));
            assert_eq!(status, (200, "16"), "{mode:?} {kind} h2");
        }
        for kind in ["application/grpc-web+proto", "application/grpc-web+json"] {
            let answer = site.h1("POST", SESSIONS, kind, &frame(b"{}")).await;
            let status = (answer.status(), answer.header("grpc-status"));
            assert_eq!(status, (200, "16"), "{mode:?} {kind} h1");
            let answer = post(&client, SESSIONS, kind, &frame(b"{}")).await;
            let status = (answer.status(), answer.header("grpc-status"));
            assert_eq!(status, (200, "16"), "{mode:?} {kind} h2");
        }
    }
}

#[tokio::test]
async fn the_login_gets_its_pages_with_and_without_a_slash_over_http_1() {
    for mode in MODES {
        let site = Site::start(mode).await;
        let client = site.h2().await;
        for path in ["/ui/v2/login", "/ui/v2/login/", "/ui/v2/login/loginname?organization=1"] {
            client.get(path).await.unwrap();
            site.h1("GET", path, "text/html", b"").await;
            assert_eq!(site.login.count(path.trim_end_matches('/')) % 2, 0, "{mode:?} {path}");
        }
        assert_eq!(site.login.count("/ui/v2/login"), 6, "{mode:?}");
        assert!(site.login.requests().iter().all(|seen| seen.version == Version::HTTP_11));
        // Login v1, and what only begins alike, are ZITADEL's.
        for path in ["/ui/login/loginname", "/ui/v2/loginname"] {
            client.get(path).await.unwrap();
        }
        assert_eq!((site.login.requests().len(), site.zitadel.count("/ui/")), (6, 2), "{mode:?}");
    }
}

#[tokio::test]
async fn without_a_login_its_pages_name_the_setting() {
    let zitadel = zitadel(Mode::External).await;
    let ravelin = Ravelin::start(&config(Mode::External, zitadel.address(), ""));
    let client = Client::tls(ravelin.address("public")).await;
    for path in ["/ui/v2/login", "/ui/v2/login/", "/ui/v2/login/login?authRequest=V2_1"] {
        let answer = client.get(path).await.unwrap();
        assert_eq!(
            (answer.status(), answer.header("content-type")),
            (503, "text/html; charset=utf-8")
        );
        // Once there is a login, no browser may go on showing this.
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        for word in ["zitadel.login", "--login", "RAVELIN_LOGIN", "LOGINV2_REQUIRED"] {
            assert!(answer.text().contains(word), "{path}: {word}");
        }
    }
    assert_eq!(zitadel.requests().len(), 0);
}

#[tokio::test]
async fn the_bare_host_leads_to_the_console_and_the_device_page_to_zitadel() {
    let site = Site::start(Mode::External).await;
    let client = site.h2().await;
    let answer = client.get("/").await.unwrap();
    assert_eq!(answer.status(), 302);
    assert!(answer.header("location").ends_with("/ui/console/"), "{}", answer.header("location"));
    assert_eq!(site.zitadel.requests().len(), 0);
    assert_eq!(client.get("/ui/console/").await.unwrap().status(), 200);
    client.get("/device").await.unwrap();
    client.get("/oauth/v2/keys").await.unwrap();
    client.get("/custom/authorize").await.unwrap();
    assert_eq!(site.zitadel.requests().len(), 4);
}

#[tokio::test]
async fn what_is_not_for_everyone_does_not_reach_zitadel() {
    let site = Site::start(Mode::External).await;
    let client = site.h2().await;
    for path in ["/debug/metrics", "/debug/healthz", "/system/v1/healthz", "/v3alpha/x"] {
        let status = client.get(path).await.unwrap().status();
        assert!((403..=404).contains(&status), "{path}: {status}");
    }
    for service in [
        "zitadel.system.v1.SystemService/Healthz",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "zitadel.resources.user.v3alpha.ZITADELUsers/GetUser",
    ] {
        let answer = client.grpc(&format!("/{service}"), &[], b"").await.unwrap();
        let status = answer.trailer("grpc-status");
        assert!(["7", "12"].contains(&status), "{service}: {status}");
    }
    assert_eq!(site.zitadel.requests().len(), 0);
}

#[tokio::test]
async fn a_piece_that_is_taken_over_keeps_the_rest_of_itself() {
    let zitadel = zitadel(Mode::External).await;
    let own = "routes:\n\
        \x20 - {name: zitadel-root, redirect: {to: /elsewhere, status: 307}}\n\
        \x20 - {name: zitadel-login, match: {path: /sign-in}}\n\
        \x20 - {name: mine, match: {path: /mine}, respond: {body: mine}}\n";
    let text = config(Mode::External, zitadel.address(), "") + own;
    let ravelin = Ravelin::start(&text);
    let client = Client::tls(ravelin.address("public")).await;
    let answer = client.get("/").await.unwrap();
    assert_eq!(answer.status(), 307);
    assert!(answer.header("location").ends_with("/elsewhere"));
    assert_eq!(client.get("/sign-in").await.unwrap().status(), 503);
    assert_eq!(client.get("/mine").await.unwrap().text(), "mine");
    assert_eq!(zitadel.requests().len(), 0);
}

#[tokio::test]
async fn a_piece_that_is_sent_to_zitadel_instead_believes_its_client_no_more_than_others_do() {
    let zitadel = zitadel(Mode::External).await;
    let own = "routes:\n  - {name: zitadel-root, to: zitadel}\n";
    let ravelin = Ravelin::start(&(config(Mode::External, zitadel.address(), "") + own));
    let client = Client::tls(ravelin.address("public")).await;
    let request = Request::get("https://localhost/")
        .header("x-zitadel-instance-host", "victim.test")
        .body(Bytes::new())
        .unwrap();
    client.send(request).await.unwrap();
    let seen = zitadel.requests().pop().unwrap();
    let told = seen.headers.get("x-zitadel-instance-host");
    assert!(told.is_none_or(|host| host != "victim.test"), "{seen:?}");
}

#[tokio::test]
async fn several_installations_stand_side_by_side() {
    let (one, two) = (zitadel(Mode::External).await, zitadel(Mode::External).await);
    let text = format!(
        "zitadel:\n\
         \x20 - {{upstream: \"h2c://{}\", health: \"off\", cache: false, domain: localhost}}\n\
         \x20 - {{upstream: \"h2c://{}\", health: \"off\", cache: false, domain: \"*.localhost\"}}\n\
         listeners: [{{name: public, address: \"127.0.0.1:0\", tls: {{certificates: [{{cert: \"{{cert}}\", key: \"{{key}}\"}}]}}}}]\n\
         workers: 1\nadmin: \"off\"\naccess_log: {{format: \"off\"}}\n",
        one.address(),
        two.address()
    );
    let ravelin = Ravelin::start(&text);
    let client = Client::tls(ravelin.address("public")).await;
    assert_eq!(client.get("/admin/v1/healthz").await.unwrap().status(), 200);
    let request = Request::get("https://b.localhost/admin/v1/healthz").body(Bytes::new()).unwrap();
    client.send(request).await.unwrap();
    assert_eq!((one.requests().len(), two.requests().len()), (1, 1));
}
