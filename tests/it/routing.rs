//! Which route takes a request, and what it does with it.

use bytes::Bytes;
use http::Request;
use ravelin::standin::Standin;

use crate::support::{Ravelin, h2, h2::Client, raw, standin};

/// One plaintext listener; `routes` are lines of a YAML list, `up` is the stand-in.
fn with(routes: &str, standin: Option<&Standin>) -> Ravelin {
    let clusters = standin.map_or(String::new(), |standin| {
        format!("clusters: {{up: {{endpoints: [\"h2c://{}\"]}}}}\n", standin.address())
    });
    Ravelin::start(&format!(
        "workers: 1\nlisteners: [{{name: plain, address: \"127.0.0.1:0\"}}]\nroutes:\n{routes}{clusters}\
         admin: \"off\"\naccess_log: {{format: \"off\"}}\n"
    ))
}

/// The body of the answer to `method http://host path`, with these fields.
async fn answer(ravelin: &Ravelin, request: (&str, &str, &str), fields: &str) -> raw::Answer {
    let (method, host, path) = request;
    let text = raw::request(method, host, path, fields);
    raw::send(ravelin.plain(), b"", &text).await
}

async fn get(ravelin: &Ravelin, host: &str, path: &str) -> String {
    answer(ravelin, ("GET", host, path), "").await.body
}

#[tokio::test]
async fn a_host_is_matched_exactly_or_by_wildcard_whatever_its_case_and_port() {
    let ravelin = with(
        "  - {match: {host: id.test}, respond: {body: exact}}\n\
         \x20 - {match: {host: \"*.id.test\"}, respond: {body: wild}}\n\
         \x20 - {match: {host: [a.test, \"[::1]\"]}, respond: {body: listed}}\n",
        None,
    );
    for (host, expected) in [
        ("id.test", "exact"),
        ("ID.Test:8080", "exact"),
        ("x.id.test", "wild"),
        ("y.x.ID.test:1", "wild"),
        ("a.test", "listed"),
        ("[::1]:8000", "listed"),
    ] {
        assert_eq!(get(&ravelin, host, "/").await, expected, "{host}");
    }
    for host in ["xid.test", "test", "id.test.evil.test"] {
        assert_eq!(raw::get(ravelin.plain(), host, "/").await.status(), 404, "{host}");
    }
}

#[tokio::test]
async fn a_path_is_matched_by_prefix_of_segments_exactly_or_by_expression() {
    let ravelin = with(
        "  - {match: {path: /ui}, respond: {body: prefix}}\n\
         \x20 - {match: {path: {exact: /}}, respond: {body: exact}}\n\
         \x20 - {match: {path: {regex: \"/v[0-9]+/users|/old\"}}, respond: {body: regex}}\n\
         \x20 - {match: {path: {prefix: /slash/}}, respond: {body: slash}}\n",
        None,
    );
    for (path, expected) in [
        ("/ui", "prefix"),
        ("/ui?x", "prefix"),
        ("/ui/v2/login", "prefix"),
        ("/", "exact"),
        ("/?x=/ui", "exact"),
        ("/v12/users", "regex"),
        ("/old", "regex"),
        ("/slash/x", "slash"),
    ] {
        assert_eq!(get(&ravelin, "a", path).await, expected, "{path}");
    }
    for path in ["/uix", "/UI", "/v1/users/2", "/x/old", "/older", "/ui%252f"] {
        assert_eq!(raw::get(ravelin.plain(), "a", path).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn methods_and_headers_must_all_hold() {
    let ravelin = with(
        "  - {match: {methods: [PUT, DELETE]}, respond: {body: method}}\n\
         \x20 - {match: {headers: {x-canary: \"yes\", x-there: true}}, respond: {body: headers}}\n\
         \x20 - {respond: {body: rest}}\n",
        None,
    );
    for (method, fields, expected) in [
        ("PUT", "content-length: 0\r\n", "method"),
        ("GET", "x-canary: yes\r\nX-There: \r\n", "headers"),
        ("GET", "x-canary: no\r\nx-canary: yes\r\nx-there: a\r\n", "headers"),
        ("GET", "x-canary: yes\r\n", "rest"),
        ("GET", "x-canary: no\r\nx-there: a\r\n", "rest"),
    ] {
        let answer = answer(&ravelin, (method, "a", "/"), fields).await;
        assert_eq!(answer.body, expected, "{method} {fields}");
    }
}

#[tokio::test]
async fn a_grpc_service_or_one_of_its_methods_is_a_match_in_all_three_protocols() {
    let standin = standin().await;
    let ravelin = with(
        "  - {name: denied, match: {grpc: ravelin.test.Echo/Bidi}, respond: {status: 403, body: no}}\n\
         \x20 - {name: echo, match: {grpc: ravelin.test.Echo}, to: up}\n",
        Some(&standin),
    );
    let client = Client::plain(ravelin.plain()).await;
    let echoed = client.grpc("/ravelin.test.Echo/Unary", &[], b"hello").await.unwrap();
    assert_eq!((echoed.trailer("grpc-status"), &echoed.body[5..]), ("0", &b"hello"[..]));
    let post = async |path: &str, content_type: &str| {
        let request = Request::post(format!("http://localhost{path}"));
        let request = request.header("content-type", content_type).body(h2::frame(b"x")).unwrap();
        client.send(request).await.unwrap()
    };
    assert_eq!(post("/ravelin.test.Echo/Unary", "application/grpc-web+proto").await.status(), 200);
    for content_type in ["application/grpc", "application/grpc-web+proto", "application/json"] {
        assert_eq!(post("/ravelin.test.Echo/Bidi", content_type).await.status(), 403);
    }
    // Neither a longer name nor a path below is the service.
    for path in ["/ravelin.test.EchoX/Unary", "/ravelin.test.Echo", "/x/ravelin.test.Echo/Unary"] {
        let answer = post(path, "application/grpc").await;
        assert_eq!((answer.status(), answer.trailer("grpc-status")), (200, "12"), "{path}");
    }
}

#[tokio::test]
async fn the_first_route_that_matches_wins() {
    let ravelin = with(
        "  - {match: {path: /a}, respond: {body: first}}\n\
         \x20 - {match: {host: h}, respond: {body: second}}\n\
         \x20 - {respond: {body: last}}\n",
        None,
    );
    assert_eq!(get(&ravelin, "h", "/a/b").await, "first");
    assert_eq!(get(&ravelin, "h", "/x").await, "second");
    assert_eq!(get(&ravelin, "x", "/x").await, "last");
}

#[tokio::test]
async fn a_redirect_names_an_absolute_place_on_this_host_or_another() {
    let ravelin = with(
        "  - {match: {path: {exact: /}}, redirect: {to: /ui/console, status: 302}}\n\
         \x20 - {match: {path: /old}, redirect: {to: \"https://new.test/now?v=2\", keep_path: true}}\n\
         \x20 - {match: {path: /gone}, redirect: {to: \"https://new.test/\", status: 303}}\n",
        None,
    );
    for (path, status, location) in [
        ("/?x", 302, "http://a.test:8000/ui/console"),
        ("/old/x/y?z=1", 308, "https://new.test/now/x/y?v=2&z=1"),
        ("/old", 308, "https://new.test/now?v=2"),
        ("/gone/x?y", 303, "https://new.test/"),
    ] {
        let answer = raw::get(ravelin.plain(), "a.test:8000", path).await;
        assert_eq!((answer.status(), answer.header("location")), (status, location), "{path}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    // What the client sent never becomes another host.
    let answer = raw::get(ravelin.plain(), "a.test", "/old//evil.test/x").await;
    assert_eq!(answer.header("location"), "/old/evil.test/x", "{answer:?}");
    let answer = raw::get(ravelin.plain(), "a.test", "/old/.evil.test/%2Ex").await;
    assert_eq!(answer.header("location"), "https://new.test/now/.evil.test/%2Ex?v=2");
}

#[tokio::test]
async fn a_fixed_answer_has_its_status_type_and_body_and_no_body_for_head() {
    let ravelin =
        with("  - {respond: {status: 503, body: \"<p>later\", content_type: text/html}}\n", None);
    let answer = raw::get(ravelin.plain(), "a", "/").await;
    assert_eq!((answer.status(), answer.header("content-type")), (503, "text/html"));
    assert_eq!((answer.header("content-length"), answer.body.as_str()), ("8", "<p>later"));
    let head = raw::send(ravelin.plain(), b"", &raw::request("HEAD", "a", "/", "")).await;
    assert_eq!((head.status(), head.header("content-length"), head.body.as_str()), (503, "8", ""));
    let client = Client::plain(ravelin.plain()).await;
    let request = Request::head("http://a/").body(Bytes::new()).unwrap();
    let head = client.send(request).await.unwrap();
    assert_eq!((head.status(), head.header("content-length"), head.body.len()), (503, "8", 0));
}

#[tokio::test]
async fn a_rewrite_changes_path_and_host_and_leaves_the_query() {
    let standin = standin().await;
    let ravelin = with(
        "  - {match: {path: /a}, to: up, rewrite: {path: /headers}}\n\
         \x20 - {match: {path: {exact: /b}}, to: up, rewrite: {path: /headers/exact}}\n\
         \x20 - {match: {path: {regex: \"/c.*\"}}, to: up, rewrite: {path: /headers/regex}}\n\
         \x20 - {to: up, rewrite: {host: \"localhost:9\"}}\n",
        Some(&standin),
    );
    for (path, target, authority) in [
        ("/a?q=%2F", "/headers?q=%2F", "localhost:1"),
        ("/a/x%20y/z?q", "/headers/x%20y/z?q", "localhost:1"),
        ("/%61/%78?q=%61", "/headers/%78?q=%61", "localhost:1"),
        ("/b?q", "/headers/exact?q", "localhost:1"),
        ("/c/d?q", "/headers/regex?q", "localhost:1"),
        ("/headers", "/headers", "localhost:9"),
    ] {
        raw::get(ravelin.plain(), "localhost:1", path).await;
        let seen = standin.requests().pop().unwrap();
        assert_eq!((&*seen.target, &*seen.authority), (target, authority), "{path}");
        // What the client asked for is told beside it.
        assert_eq!(seen.headers["x-forwarded-host"], "localhost:1");
    }
}

#[tokio::test]
async fn headers_are_edited_on_the_way_there_and_back() {
    let standin = standin().await;
    let ravelin = with(
        "  - to: up\n    request_headers: {remove: [x-secret, user-agent], set: {x-forwarded-proto: https, x-tenant: one}, add: {x-tag: b}}\n\
         \x20   response_headers: {remove: server-timing, set: {x-frame-options: DENY}, add: {x-tag: b}}\n",
        Some(&standin),
    );
    let order = "x-standin-order: set-header=server-timing:x,set-header=x-tag:a,set-header=x-frame-options:SAMEORIGIN\r\n";
    let fields = format!("x-secret: s\r\nuser-agent: u\r\nx-tenant: two\r\nx-tag: a\r\n{order}");
    let answer = answer(&ravelin, ("GET", "localhost", "/headers"), &fields).await;
    let seen = standin.requests().pop().unwrap().headers;
    assert!(!seen.contains_key("x-secret") && !seen.contains_key("user-agent"), "{seen:?}");
    assert_eq!(
        (&seen["x-forwarded-proto"], &seen["x-tenant"]),
        (&"https".parse().unwrap(), &"one".parse().unwrap())
    );
    assert_eq!(seen.get_all("x-tenant").iter().count(), 1);
    assert_eq!(seen.get_all("x-tag").iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(answer.header("server-timing"), "");
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert_eq!(answer.head.matches("x-frame-options").count(), 1);
    assert!(answer.head.contains("x-tag: a\r\nx-tag: b"), "{answer:?}");
}

#[tokio::test]
async fn each_route_has_clocks_of_its_own() {
    let standin = standin().await;
    let ravelin = with(
        "  - {match: {headers: {x-clock: first}}, to: up, timeouts: {first_byte: 100ms}}\n\
         \x20 - {match: {headers: {x-clock: total}}, to: up, timeouts: {total: 100ms}}\n\
         \x20 - {to: up}\n",
        Some(&standin),
    );
    for clock in ["first", "total"] {
        let fields = format!(
            "x-clock: {clock}\r\nx-standin-order: stall-head\r\naccept: application/json\r\n"
        );
        let late = answer(&ravelin, ("GET", "localhost", "/healthz"), &fields).await;
        assert_eq!(late.status(), 504, "{clock}");
    }
    let fields = "x-standin-order: slow-head=300\r\n";
    let slow = answer(&ravelin, ("GET", "localhost", "/healthz"), fields).await;
    assert_eq!(slow.status(), 200);
    standin.wait_for_cancelled(2).await;
}

#[tokio::test]
async fn a_route_to_nothing_that_answers_recovers_without_a_restart() {
    // The upstream's port must be known before it listens; nobody else asks for one of this address.
    let own = if cfg!(target_os = "linux") { "127.77.0.1:0" } else { "127.0.0.1:0" };
    let probe = std::net::TcpListener::bind(own).unwrap();
    let address = probe.local_addr().unwrap();
    drop(probe);
    let ravelin = Ravelin::before(&format!("h2c://{address}"));
    let client = Client::tls(ravelin.https()).await;
    let refused = client.get("/healthz").await.unwrap();
    assert_eq!((refused.status(), refused.header("retry-after")), (503, "1"));
    let options = ravelin::standin::Options { address, ..ravelin::standin::Options::default() };
    let _standin = Standin::start(options).await.unwrap();
    let ask = async || client.get("/healthz").await.unwrap().status();
    raw::until(ask, |status| *status == 200).await;
}
