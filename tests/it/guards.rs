//! What is private stays private, in every spelling that the server behind understands, over every
//! protocol; and what is refused looks like nothing.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Request;
use ravelin::config::zitadel::guards::{Area, Guarding, Health, guards};
use ravelin::pipeline::plan::PathPattern;
use ravelin::standin::Standin;

use crate::support::{Ravelin, h2, h2::Client, raw, standin};

/// ZITADEL's guards as lines of `routes`.
fn denied() -> String {
    let guarding = Guarding { areas: Area::ALL.to_vec(), ..Guarding::default() };
    let line = |name: &str, pattern: &PathPattern| {
        let path = match pattern {
            PathPattern::Prefix(path) => format!("{{prefix: {path}}}"),
            PathPattern::Exact(path) => format!("{{exact: {path}}}"),
            PathPattern::Regex(regex) => format!("{{regex: '{regex}'}}"),
            PathPattern::Any => panic!("{name} takes everything"),
        };
        format!("  - {{name: {name}, match: {{path: {path}}}, deny: true}}\n")
    };
    guards(&guarding).iter().map(|guard| line(&guard.name, &guard.matcher.path)).collect()
}

/// Listener `plain`; routes before the cluster `up`, lines of a YAML list.
fn with(routes: &str, standin: &Standin) -> Ravelin {
    Ravelin::start(&format!(
        "workers: 1\nlisteners:\n  - {{name: plain, address: \"127.0.0.1:0\"}}\n\
         \x20 - {{name: proxied, address: \"127.0.0.1:0\", proxy_protocol: {{from: 127.0.0.1}}}}\n\
         routes:\n{routes}clusters: {{up: {{endpoints: [\"h2c://{}\"]}}}}\n\
         admin: \"off\"\naccess_log: {{format: \"off\"}}\n",
        standin.address()
    ))
}

fn guarded(standin: &Standin) -> Ravelin {
    with(&format!("{}  - {{name: all, to: up}}\n", denied()), standin)
}

/// What a caller is told, in the terms of gRPC or HTTP.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Told {
    Grpc(u8),
    Status(u16),
}

const GRPC_WEB: &str = "application/grpc-web+proto";

/// Asks in one protocol after the other; each with what it was told.
async fn ask_all(ravelin: &Ravelin, client: &Client, path: &str) -> Vec<(&'static str, Told)> {
    let mut told = Vec::new();
    let answer = client.grpc(path, &[], b"").await.unwrap();
    told.push(("grpc", code(answer.trailer("grpc-status"))));
    for (name, content_type) in [
        ("grpc-web", GRPC_WEB),
        ("grpc-web-text", "application/grpc-web-text"),
        ("connect", "application/proto"),
        ("form", "application/x-www-form-urlencoded"),
    ] {
        let body = if name == "grpc-web-text" {
            BASE64_STANDARD.encode(h2::frame(b"")).into()
        } else {
            h2::frame(b"")
        };
        let request = Request::post(format!("http://localhost{path}"));
        let answer = client.send(request.header("content-type", content_type).body(body).unwrap());
        let answer = answer.await.unwrap();
        told.push((
            name,
            match name {
                "grpc-web" | "grpc-web-text" => {
                    web_status(&answer.body, answer.header("grpc-status"))
                }
                _ => Told::Status(answer.status()),
            },
        ));
    }
    let get = Request::get(format!("http://localhost{path}")).body(Bytes::new()).unwrap();
    told.push(("h2", Told::Status(client.send(get).await.unwrap().status())));
    let fields = format!("content-type: {GRPC_WEB}\r\ncontent-length: 5\r\n");
    let post = raw::request("POST", "localhost", path, &fields) + "\0\0\0\0\0";
    let answer = raw::send(ravelin.plain(), b"", &post).await;
    told.push((
        "grpc-web over HTTP/1.1",
        web_status(answer.body.as_bytes(), answer.header("grpc-status")),
    ));
    told.push((
        "HTTP/1.1",
        Told::Status(raw::get(ravelin.plain(), "localhost", path).await.status()),
    ));
    told
}

/// gRPC-Web's status: in the last frame, or in the head of a Trailers-Only answer.
fn web_status(body: &[u8], head: &str) -> Told {
    let decoded = BASE64_STANDARD.decode(body).unwrap_or_else(|_| body.to_vec());
    let text = String::from_utf8_lossy(&decoded);
    let digits = text.split_once("grpc-status:").map_or(head, |(_, rest)| rest.trim_start());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    code(&digits[..end])
}

fn code(digits: &str) -> Told {
    Told::Grpc(digits.parse().unwrap_or(u8::MAX))
}

/// Spellings of what is private.
const PRIVATE: [&str; 25] = [
    "/debug/metrics",
    "/debug/metrics?x=1",
    "/%64ebug/metrics",
    "/%64%65%62%75%67/%6D%65trics",
    "/debug",
    "/debug/",
    "/debug/healthz",
    "/system/v1/instances/_search",
    "/system/%761/instances",
    "/zitadel.system.v1.SystemService/Healthz",
    "/zitadel%2Esystem.v1.SystemService/Healthz",
    "/zitadel%2esystem%2ev1%2eSystemService/%48ealthz",
    "/zitadel.system.v1.SystemService/",
    "/zitadel.system.v1.SystemService/a/b",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/grpc%2Ereflection.v1.ServerReflection/ServerReflectionInfo",
    "/zitadel.resources.user.v3alpha.ZITADELUsers/GetUser",
    "/zitadel.resources.user.v3%61lpha.ZITADELUsers/GetUser",
    "/zitadel.resources.debug_events.v3alpha.ZITADELDebugEvents/AddDebugEvents",
    "/resources/v3alpha/users/1",
    "/v3alpha/debug_events",
    "/v3%61lpha/debug_events",
    "/admin/v1/export",
    "/zitadel.admin.v1.AdminService/Import%44ata",
];

/// What no two readers agree on, or what means another path; with the status for a reader.
const AMBIGUOUS: [(&str, u16); 13] = [
    ("/zitadel.system.v1.SystemService%2FHealthz", 400),
    ("/debug%2fmetrics", 400),
    ("/debug%5Cmetrics", 400),
    ("/..%2fdebug/metrics", 400),
    ("/debug%00/metrics", 400),
    ("/debug%/metrics", 400),
    ("/%c0%ae%c0%ae/debug/metrics", 400),
    ("//debug/metrics", 308),
    ("/debug//metrics", 308),
    ("/./debug/metrics", 308),
    ("/ui/console/../../debug/metrics", 308),
    ("/ui/console/%2e%2e/.%2E/debug/metrics", 308),
    ("/x/..//zitadel.system.v1.SystemService/Healthz", 308),
];

#[tokio::test]
async fn no_spelling_of_a_private_path_reaches_the_server_over_any_protocol() {
    let standin = standin().await;
    let ravelin = guarded(&standin);
    let client = Client::plain(ravelin.plain()).await;
    for path in PRIVATE {
        for (protocol, told) in ask_all(&ravelin, &client, path).await {
            let expected = match protocol {
                _ if protocol.starts_with("grpc") => Told::Grpc(12),
                "connect" => Told::Status(501),
                _ => Told::Status(404),
            };
            assert_eq!(told, expected, "{path} over {protocol}");
        }
    }
    for (path, get) in AMBIGUOUS {
        for (protocol, told) in ask_all(&ravelin, &client, path).await {
            let expected = match protocol {
                _ if protocol.starts_with("grpc") => Told::Grpc(3),
                "h2" | "HTTP/1.1" => Told::Status(get),
                _ => Told::Status(400),
            };
            assert_eq!(told, expected, "{path} over {protocol}");
        }
    }
    let reached: Vec<_> = standin.requests().into_iter().map(|seen| seen.target).collect();
    assert!(reached.is_empty(), "{reached:?}");
}

#[tokio::test]
async fn without_a_guard_the_same_spellings_do_reach_the_server() {
    let standin = standin().await;
    let ravelin = with("  - {name: all, to: up}\n", &standin);
    let client = Client::plain(ravelin.plain()).await;
    for path in [
        "/zitadel.system.v1.SystemService/Healthz",
        "/zitadel%2Esystem.v1.SystemService/Healthz",
        "/zitadel%2esystem%2ev1%2eSystemService/%48ealthz",
    ] {
        let answer = client.grpc(path, &[], b"").await.unwrap();
        assert_eq!(answer.trailer("grpc-status"), "0", "{path}");
        assert_eq!(standin.requests().pop().unwrap().target, path);
    }
    assert_eq!(client.get("/debug/metrics").await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_refused_path_is_told_what_a_path_is_told_where_nothing_is() {
    let standin = standin().await;
    let ravelin = with(
        "  - {match: {path: /private}, deny: true}\n  - {match: {path: /ui}, to: up}\n",
        &standin,
    );
    let client = Client::plain(ravelin.plain()).await;
    let post = "content-length: 0\r\nx-request-id: abcdefgh\r\norigin: https://a.example\r\n";
    for fields in [
        "accept: text/html\r\nx-request-id: abcdefgh\r\n".to_owned(),
        "accept: application/json\r\nx-request-id: abcdefgh\r\n".to_owned(),
        format!("content-type: {GRPC_WEB}\r\n{post}"),
        format!("content-type: application/grpc-web-text\r\n{post}"),
        format!("content-type: application/proto\r\n{post}"),
        format!("content-type: application/connect+json\r\n{post}"),
    ] {
        let method = if fields.contains("content-type") { "POST" } else { "GET" };
        let ask = async |path: &str| {
            let request = raw::request(method, "localhost", path, &fields);
            let answer = raw::send(ravelin.plain(), b"", &request).await;
            let lines = answer.head.lines().filter(|line| !line.starts_with("date: "));
            (lines.collect::<Vec<_>>().join("\n"), answer.body)
        };
        let nothing = ask("/nothing/here").await;
        assert_eq!(ask("/private/here").await, nothing, "{fields}");
    }
    let call = async |path: &str| {
        let answer = client.grpc(path, &[("x-request-id", "abcdefgh")], b"").await.unwrap();
        assert_eq!((answer.status(), answer.trailer("grpc-status")), (200, "12"));
        let mut head = answer.head.into_parts().0.headers;
        head.remove("date");
        (head, answer.body, answer.trailers)
    };
    assert_eq!(call("/private/here").await, call("/nothing/here").await);
    assert!(standin.requests().is_empty());
}

#[tokio::test]
async fn listeners_and_clients_open_what_is_denied_to_others() {
    let standin = standin().await;
    let ravelin = with(
        "  - {match: {path: /debug, clients: [10.0.0.0/8, \"fd00::1\"], listeners: proxied}, to: up}\n\
         \x20 - {match: {path: {exact: /debug/healthz}, methods: [GET, HEAD]}, to: up}\n\
         \x20 - {match: {path: /debug}, deny: true}\n  - {to: up}\n",
        &standin,
    );
    let ask = async |client: &str, path: &str| {
        let family = if client.contains(':') { "TCP6" } else { "TCP4" };
        let here = if client.contains(':') { "::1" } else { "127.0.0.1" };
        let proxy = format!("PROXY {family} {client} {here} 50000 80\r\n");
        let request = raw::request("GET", "localhost", path, "");
        raw::send(ravelin.address("proxied"), proxy.as_bytes(), &request).await.status()
    };
    for (client, status) in
        [("10.1.2.3", 200), ("fd00::1", 200), ("11.1.2.3", 404), ("fd00::2", 404)]
    {
        assert_eq!(ask(client, "/debug/ready").await, status, "{client}");
        assert_eq!(ask(client, "/debug/healthz").await, 200, "{client}");
    }
    assert_eq!(raw::get(ravelin.plain(), "localhost", "/debug/ready").await.status(), 404);
    assert_eq!(raw::get(ravelin.plain(), "localhost", "/debug/healthz").await.status(), 200);
}

#[tokio::test]
async fn empty_and_dot_segments_are_redirected_for_readers_and_refused_to_others() {
    let standin = standin().await;
    let ravelin = with("  - {match: {host: localhost}, to: up}\n", &standin);
    for (path, location) in [
        ("//", "/"),
        ("//evil.example/x?y=//z", "/evil.example/x?y=//z"),
        ("/a/%2e%2E/b%20c/.", "/b%20c/"),
        ("/../../../etc", "/etc"),
        ("/a//?", "/a/?"),
    ] {
        for method in ["GET", "HEAD"] {
            let request = raw::request(method, "localhost", path, "");
            let answer = raw::send(ravelin.plain(), b"", &request).await;
            assert_eq!((answer.status(), answer.header("location")), (308, location), "{path}");
            assert_eq!(answer.header("cache-control"), "no-store");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let request = raw::request(method, "localhost", path, "content-length: 0\r\n");
            assert_eq!(raw::send(ravelin.plain(), b"", &request).await.status(), 400, "{method}");
        }
        // No way to find out which hosts are there.
        assert_eq!(raw::get(ravelin.plain(), "other.example", path).await.status(), 404);
    }
    let upgrade = "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let upgrade =
        format!("GET //ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n{upgrade}\r\n");
    assert_eq!(raw::send(ravelin.plain(), b"", &upgrade).await.status(), 400);
    assert!(standin.requests().is_empty());
}

#[tokio::test]
async fn ordinary_paths_of_zitadel_pass_byte_for_byte() {
    let standin = standin().await;
    let ravelin = guarded(&standin);
    let client = Client::plain(ravelin.plain()).await;
    for path in [
        "/",
        "/healthz",
        "/admin/v1/healthz",
        "/management/v1/users/1/metadata/a%20b",
        "/auth/v1/users/me",
        "/assets/v1/instance/policy/label/logo?v=1",
        "/idps/callback?state=a%2Fb",
        "/idps/1/saml/metadata",
        "/robots.txt",
        "/openapi/v2/swagger/admin.swagger.json",
        "/.well-known/openid-configuration",
        "/oauth/v2/authorize?redirect_uri=https%3A%2F%2Fa%2F..%2Fb",
        "/oauth/v2/keys",
        "/oidc/v1/userinfo",
        "/saml/v2/metadata",
        "/scim/v2/1/Users?filter=a%20eq%20%22b%22",
        "/ui/console/",
        "/ui/console/assets/icons/a%2Bb.svg",
        "/ui/console/users/me%40example.com",
        "/ui/login/login",
        "/ui/v2/login/_next/static/chunks/app/(login)/%5Blocale%5D/page-1.js",
        "/device?user_code=ABCD",
        "/v2/users/%F0%9F%98%80",
        "/v2beta/instances",
        "/...",
        "/.well-known/a..b/.x",
    ] {
        client.get(path).await.unwrap();
        assert_eq!(standin.requests().pop().unwrap().target, path);
        raw::get(ravelin.plain(), "localhost", path).await;
        assert_eq!(standin.requests().pop().unwrap().target, path);
    }
    for service in [
        "zitadel.admin.v1.AdminService/Healthz",
        "zitadel.management.v1.ManagementService/Healthz",
        "zitadel.auth.v1.AuthService/Healthz",
        "zitadel.user.v2.UserService/GetUserByID",
        "zitadel.user.v2beta.UserService/GetUserByID",
        "zitadel.oidc.v2.OIDCService/GetAuthRequest",
        "grpc.health.v1.Health/Check",
    ] {
        let path = format!("/{service}");
        for content_type in ["application/grpc", GRPC_WEB, "application/proto"] {
            let request = Request::post(format!("http://localhost{path}"));
            let request = request.header("content-type", content_type).header("te", "trailers");
            client.send(request.body(h2::frame(b"")).unwrap()).await.unwrap();
            assert_eq!(standin.requests().pop().unwrap().target, path, "{content_type}");
        }
    }
}

#[tokio::test]
async fn a_health_path_is_opened_alone() {
    let standin = standin().await;
    let guarding = Guarding { health: vec![Health::Live], ..Guarding::default() };
    let open = guards(&guarding).remove(0);
    assert_eq!(open.name, "open-healthz");
    let routes = format!(
        "  - {{match: {{path: {{exact: {}}}, methods: [GET, HEAD]}}, to: up}}\n{}  - {{to: up}}\n",
        Health::Live.path(),
        denied()
    );
    let ravelin = with(&routes, &standin);
    for (path, status) in
        [("/debug/healthz", 200), ("/%64ebug/healthz", 404), ("/debug/ready", 404), ("/debug", 404)]
    {
        let answer = raw::get(ravelin.plain(), "localhost", path).await;
        assert_eq!(answer.status(), status, "{path}");
    }
}

/// A path in one of its disguises.
fn disguised(path: &str, random: &mut fastrand::Rng) -> String {
    let rarely = 2 + random.u32(0..20);
    let mut text = String::new();
    for c in path.chars() {
        let code = u32::from(c);
        match (random.u32(0..8 * rarely), c) {
            (0..4, _) => text.push_str(&format!("%{code:02x}")),
            (4 | 5, _) => text.push_str(&format!("%{code:02X}")),
            (6, '/') => text.push_str("/x/%2E./"),
            (7, '/') => text.push_str("//"),
            (6, _) => text.push_str(&format!("%25{code:02x}")),
            (7, _) => text.push(c.to_ascii_uppercase()),
            _ => text.push(c),
        }
    }
    text.push_str(random.choice(["", "", "", "", "", "/", "%00", "/..;/", "%2f"]).unwrap());
    if text.starts_with('/') { text } else { format!("/{text}") }
}

/// Whether Go's decoded and cleaned path is one of those that are guarded.
fn is_private(target: &str) -> bool {
    let path = target.split('?').next().unwrap();
    let (mut decoded, mut bytes) = (Vec::new(), path.bytes());
    while let Some(byte) = bytes.next() {
        let hex = |byte: u8| char::from(byte).to_digit(16).unwrap();
        decoded.push(if byte == b'%' {
            (hex(bytes.next().unwrap()) * 16 + hex(bytes.next().unwrap())) as u8
        } else {
            byte
        });
    }
    let decoded = String::from_utf8(decoded).unwrap();
    let mut kept: Vec<&str> = Vec::new();
    for segment in decoded.split('/').filter(|segment| !matches!(*segment, "" | ".")) {
        if segment == ".." {
            kept.pop();
        } else {
            kept.push(segment);
        }
    }
    matches!(
        kept.as_slice(),
        ["debug" | "v3alpha" | "zitadel.system.v1.SystemService", ..]
            | ["system", "v1", ..]
            | ["resources", "v3alpha", ..]
            | ["grpc.reflection.v1.ServerReflection", ..]
    ) || kept
        .first()
        .is_some_and(|service| service.starts_with("zitadel.") && service.contains(".v3alpha."))
}

#[tokio::test]
async fn hundreds_of_disguises_never_reach_the_server_as_what_they_are() {
    let standin = standin().await;
    let ravelin = guarded(&standin);
    let client = Client::plain(ravelin.plain()).await;
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..600 {
        let path = random
            .choice([
                "/debug/metrics",
                "/system/v1/instances/_search",
                "/zitadel.system.v1.SystemService/Healthz",
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                "/zitadel.resources.user.v3alpha.ZITADELUsers/GetUser",
                "/resources/v3alpha/users",
                "/v3alpha/debug_events",
            ])
            .unwrap();
        let mut path = disguised(path, &mut random);
        if round % 3 == 0 {
            client.grpc(&path, &[], b"").await.unwrap();
        } else if round % 3 == 1 {
            let request = Request::post(format!("http://localhost{path}"));
            let request = request.header("content-type", GRPC_WEB).body(h2::frame(b"")).unwrap();
            client.send(request).await.unwrap();
        } else {
            let answer = client.get(&path).await.unwrap();
            path = answer.header("location").to_owned();
            if answer.status() == 308 {
                assert_ne!(client.get(&path).await.unwrap().status(), 308, "{path}, seed {seed}");
            }
        }
    }
    let reached = standin.requests().into_iter().map(|seen| seen.target);
    let reached: Vec<_> = reached.filter(|target| is_private(target)).collect();
    assert!(reached.is_empty(), "seed {seed}: {reached:?}");
    assert!(!standin.requests().is_empty(), "some disguises are no private path any more");
}
