//! Scripts of other origins: what ZITADEL says to them comes through as it is, what Ravelin says
//! itself they can read, and preflights that it answers are answered as ZITADEL would.

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use ravelin::standin::Refusing;

use crate::support::faults::{get, http1, post, soon, with};
use crate::support::h2::{Answer, Client, frame};
use crate::support::{Ravelin, standin};
use crate::zitadel_wiring::{Mode, config};

const ORIGIN: &str = "https://app.example";
const CONNECT: &str = "/zitadel.user.v2.UserService/ListUsers";

/// One listener before `up`; `route` are keys of its route.
fn before(up: std::net::SocketAddr, route: &str) -> Ravelin {
    Ravelin::start(&format!(
        "workers: 1\nlisteners: [{{name: plain, address: \"127.0.0.1:0\"}}]\n\
         routes: [{{to: up{route}}}]\nclusters: {{up: {{endpoints: \"h2c://{up}\"}}}}\n\
         admin: \"off\"\naccess_log: {{format: \"off\"}}\nshutdown: {{grace: 1s}}\n"
    ))
}

fn preflight(path: &str, method: &str, list: Option<&str>) -> Request<Bytes> {
    let mut request = with(get("localhost", path), "origin", ORIGIN);
    *request.method_mut() = Method::OPTIONS;
    let request = with(request, "access-control-request-method", method);
    match list {
        Some(list) => with(request, "access-control-request-headers", list),
        None => request,
    }
}

/// What an answer says about origins, every field and value.
fn cors(headers: &HeaderMap) -> Vec<(String, String)> {
    let about = headers.iter().filter(|(name, _)| {
        name.as_str().starts_with("access-control-") || *name == http::header::VARY
    });
    let mut fields: Vec<_> =
        about.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    fields.sort();
    fields
}

async fn both(ravelin: &Ravelin, request: Request<Bytes>) -> [Answer; 2] {
    let client = Client::plain(ravelin.plain()).await;
    [
        soon("h2", client.send(request.clone())).await.unwrap(),
        soon("HTTP/1.1", http1(ravelin.plain(), request)).await.unwrap(),
    ]
}

#[tokio::test]
async fn what_zitadel_says_to_other_origins_comes_through_as_it_is() {
    let standin = standin().await;
    let ravelin = before(standin.address(), "");
    let direct = Client::plain(standin.address()).await;
    let rpc = |media| with(post("localhost", CONNECT, frame(b"")), "content-type", media);
    for request in [
        rpc("application/json"),
        rpc("application/grpc-web+proto"),
        with(get("localhost", "/v2/users"), "accept", "application/json"),
        with(get("localhost", "/.well-known/openid-configuration"), "accept", "*/*"),
        preflight(CONNECT, "POST", Some("authorization,content-type")),
    ] {
        let request = with(request, "origin", ORIGIN);
        let said = cors(direct.send(request.clone()).await.unwrap().head.headers());
        assert!(said.iter().any(|(name, _)| name == "vary"), "{said:?}");
        for answer in both(&ravelin, request.clone()).await {
            assert_eq!(cors(answer.head.headers()), said, "{request:?}");
            let origins = answer.head.headers().get_all("access-control-allow-origin");
            assert_eq!(origins.iter().count(), 1, "{request:?}");
        }
    }
}

#[tokio::test]
async fn the_list_of_wanted_headers_reaches_upstream_byte_for_byte() {
    let standin = standin().await;
    let ravelin = before(standin.address(), "");
    for list in ["authorization,content-type,x-grpc-web", "X-Grpc-Web, Authorization", "b,a,,"] {
        for answer in both(&ravelin, preflight(CONNECT, "POST", Some(list))).await {
            assert_eq!(answer.status(), 204);
        }
        for seen in standin.requests().iter().rev().take(2) {
            assert_eq!(seen.headers["access-control-request-headers"], list);
        }
    }
}

#[tokio::test]
async fn answers_of_ravelin_s_own_can_be_read_from_other_origins() {
    let refusing = Refusing::start().unwrap();
    let ravelin = before(refusing.address(), "");
    let rpc = |media| with(post("localhost", CONNECT, frame(b"")), "content-type", media);
    for request in [
        rpc("application/grpc-web+proto"),
        rpc("application/grpc-web-text"),
        rpc("application/json"),
        rpc("application/connect+proto"),
        with(get("localhost", "/v2/users"), "accept", "application/json"),
    ] {
        let foreign = with(request.clone(), "origin", ORIGIN);
        for answer in both(&ravelin, foreign).await {
            let fields = cors(answer.head.headers());
            let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
            let expected = [
                "access-control-allow-credentials",
                "access-control-allow-origin",
                "access-control-expose-headers",
                "vary",
            ];
            assert_eq!(names, expected, "{answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), ORIGIN);
            assert_eq!(answer.header("access-control-allow-credentials"), "true");
            assert_eq!(answer.header("vary"), "Origin");
            let exposed = answer.header("access-control-expose-headers");
            assert!(exposed.contains("grpc-status") && exposed.contains("grpc-message"));
        }
        for answer in both(&ravelin, request).await {
            assert_eq!(cors(answer.head.headers()), [], "nobody asked from elsewhere");
        }
    }
}

#[tokio::test]
async fn an_answered_preflight_is_zitadel_s_with_a_time_to_remember_it() {
    let standin = standin().await;
    let ravelin = before(standin.address(), ", preflight: {max_age: 30m}");
    let direct = Client::plain(standin.address()).await;
    let console = "authorization,content-type,x-grpc-web,x-user-agent,x-zitadel-orgid";
    let mut asked = 0;
    for (method, list, leave) in [
        ("POST", Some(console), true),
        ("POST", Some("connect-protocol-version,content-type"), true),
        ("DELETE", Some("authorization"), true),
        ("GET", None, true),
        ("PUT", Some(""), true),
        ("POST", Some("content-type,authorization"), false),
        ("POST", Some("authorization, content-type"), false),
        ("POST", Some("Authorization"), false),
        ("POST", Some("authorization,x-own"), false),
        ("post", Some("authorization"), false),
        ("TRACE", None, false),
    ] {
        let request = preflight(CONNECT, method, list);
        let said = direct.send(request.clone()).await.unwrap();
        asked += 1;
        let mut said = cors(said.head.headers());
        assert_eq!(said.len() > 1, leave, "the stand-in: {method} {list:?}: {said:?}");
        if leave {
            said.push(("access-control-max-age".to_owned(), "1800".to_owned()));
            said.sort();
        }
        for answer in both(&ravelin, request).await {
            assert_eq!((answer.status(), answer.body.len()), (204, 0), "{method} {list:?}");
            assert_eq!(cors(answer.head.headers()), said, "{method} {list:?}");
        }
    }
    assert_eq!(standin.requests().len(), asked, "a preflight went upstream");
}

#[tokio::test]
async fn what_is_no_preflight_goes_upstream() {
    let standin = standin().await;
    let ravelin = before(standin.address(), ", preflight: {}");
    let mut options = with(get("localhost", CONNECT), "origin", ORIGIN);
    *options.method_mut() = Method::OPTIONS;
    let mut originless = preflight(CONNECT, "POST", None);
    originless.headers_mut().remove("origin");
    for request in [options, originless] {
        let before = standin.requests().len();
        both(&ravelin, request).await;
        assert_eq!(standin.requests().len(), before + 2);
    }
    let call = with(post("localhost", CONNECT, "{}"), "content-type", "application/json");
    for answer in both(&ravelin, with(call, "origin", ORIGIN)).await {
        let origins = answer.head.headers().get_all("access-control-allow-origin").iter().count();
        assert_eq!((origins, answer.header("access-control-max-age")), (1, ""));
    }
}

#[tokio::test]
async fn a_guard_s_refusal_can_be_read_from_another_origin_since_its_preflight_is_answered() {
    let standin = standin().await;
    let text = config(Mode::Disabled, standin.address(), "");
    let ravelin = Ravelin::start(&text.replace("name: public", "name: plain"));
    let system = "/zitadel.system.v1.SystemService/ListInstances";
    let call = |path, media| with(post("localhost", path, frame(b"")), "content-type", media);
    let get = |path| with(get("localhost", path), "accept", "application/json");
    for (request, method, list, refused) in [
        (call(system, "application/grpc-web+proto"), "POST", "content-type,x-grpc-web", 200),
        (call(system, "application/json"), "POST", "connect-protocol-version,content-type", 501),
        (get("/system/v1/instances"), "GET", "authorization", 404),
        (get("/debug/metrics"), "GET", "authorization", 404),
    ] {
        let path = request.uri().path().to_owned();
        for answer in both(&ravelin, preflight(&path, method, Some(list))).await {
            assert_eq!((answer.status(), answer.body.len()), (204, 0), "{path}");
            assert_eq!(answer.header("access-control-allow-origin"), ORIGIN, "{path}");
            assert_eq!(answer.header("access-control-allow-methods"), method, "{path}");
            assert_eq!(answer.header("access-control-allow-headers"), list, "{path}");
        }
        for answer in both(&ravelin, with(request, "origin", ORIGIN)).await {
            assert_eq!(answer.status(), refused, "{path}");
            assert_eq!(answer.header("access-control-allow-origin"), ORIGIN, "{path}");
            let told = String::from_utf8_lossy(&answer.body).contains("grpc-status: 12");
            assert!(told || refused != 200, "{path}: {answer:?}");
        }
    }
    // It says no more than ZITADEL says for a method that is nowhere.
    let nowhere = "/zitadel.user.v2.UserService/Nowhere";
    let direct = Client::plain(standin.address()).await;
    let asked = preflight(nowhere, "POST", Some("authorization"));
    let said = cors(direct.send(asked).await.unwrap().head.headers());
    for answer in both(&ravelin, preflight(system, "POST", Some("authorization"))).await {
        assert_eq!(cors(answer.head.headers()), said);
    }
    // No preflight without what makes it one.
    let mut options = get("/debug/metrics");
    *options.method_mut() = Method::OPTIONS;
    for answer in both(&ravelin, options).await {
        assert_eq!(answer.status(), 404);
    }
    let targets: Vec<_> = standin.requests().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, [nowhere]);
}

#[tokio::test]
async fn a_translated_call_from_another_origin_is_allowed_and_readable() {
    let standin = standin().await;
    let ravelin = before(standin.address(), ", grpc_web: translate, preflight: {}");
    let path = "/ravelin.test.Echo/Unary";
    let list = "content-type,x-grpc-web,x-user-agent";
    for answer in both(&ravelin, preflight(path, "POST", Some(list))).await {
        assert_eq!(answer.header("access-control-allow-headers"), list);
        assert_eq!(answer.header("access-control-max-age"), "7200");
    }
    let call = post("localhost", path, frame(b"m"));
    let call = with(call, "content-type", "application/grpc-web+proto");
    for answer in both(&ravelin, with(call, "origin", ORIGIN)).await {
        let origins = answer.head.headers().get_all("access-control-allow-origin");
        assert_eq!(origins.iter().collect::<Vec<_>>(), [ORIGIN]);
        assert_eq!(answer.header("access-control-allow-credentials"), "true");
        assert_eq!(answer.header("vary"), "Origin");
    }
}
