//! What upstream is told about the client, and which fields end at Ravelin.

use bytes::Bytes;
use http::{HeaderMap, Request};
use ravelin::standin::Standin;

use crate::support::{Ravelin, config_before, h2, h2::Client, raw, standin};

const SPOOFED: [(&str, &str); 8] = [
    ("x-forwarded-for", "198.51.100.1, 198.51.100.2"),
    ("x-forwarded-for", "198.51.100.3"),
    ("x-forwarded-host", "evil.test"),
    ("x-forwarded-host", "evil2.test"),
    ("x-forwarded-proto", "gopher"),
    ("x-forwarded-port", "70"),
    ("forwarded", "for=198.51.100.1;host=evil.test;proto=gopher"),
    ("forwarded", "for=198.51.100.2"),
];

fn before(standin: &Standin, scheme: &str) -> Ravelin {
    Ravelin::before(&format!("{scheme}://{}", standin.address()))
}

fn seen(standin: &Standin) -> HeaderMap {
    standin.requests().pop().unwrap().headers
}

/// Every value of these fields, in their order.
fn told(headers: &HeaderMap) -> Vec<(&str, Vec<&str>)> {
    ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "forwarded"]
        .map(|name| {
            let values = headers.get_all(name).iter();
            (name, values.map(|value| value.to_str().unwrap()).collect())
        })
        .into()
}

fn facts<'a>(host: &'a str, proto: &'a str, port: &'a str) -> Vec<(&'a str, Vec<&'a str>)> {
    vec![
        ("x-forwarded-for", vec!["127.0.0.1"]),
        ("x-forwarded-host", vec![host]),
        ("x-forwarded-proto", vec![proto]),
        ("x-forwarded-port", vec![port]),
        ("forwarded", vec![]),
    ]
}

#[tokio::test]
async fn what_a_client_says_about_itself_is_replaced_by_what_the_connection_says() {
    let standin = standin().await;
    for upstream in ["h2c", "http"] {
        let ravelin = before(&standin, upstream);
        let tls = Client::tls(ravelin.https()).await;
        for (authority, port) in [("localhost", "443"), ("localhost:8443", "8443")] {
            let mut request = Request::get(format!("https://{authority}/headers"));
            for (name, value) in SPOOFED {
                request = request.header(name, value);
            }
            assert_eq!(tls.send(request.body(Bytes::new()).unwrap()).await.unwrap().status(), 200);
            assert_eq!(told(&seen(&standin)), facts(authority, "https", port), "{upstream}");
            assert_eq!(standin.requests().pop().unwrap().authority, authority);
        }
        let spoofed = SPOOFED.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
        for (host, port) in [("localhost", "80"), ("LocalHost:8080", "8080")] {
            let request = raw::request("GET", host, "/headers", &spoofed);
            raw::send(ravelin.plain(), b"", &request).await;
            assert_eq!(told(&seen(&standin)), facts(host, "http", port), "{upstream}");
            assert_eq!(standin.requests().pop().unwrap().authority, host, "byte for byte");
        }
    }
}

#[tokio::test]
async fn a_nomination_does_not_take_away_what_upstream_is_told() {
    let standin = standin().await;
    let ravelin = before(&standin, "h2c");
    let request = "GET /headers HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer demo\r\n\
        connection: close, x-forwarded-for, x-forwarded-host, authorization, via, host\r\n\r\n";
    raw::send(ravelin.plain(), b"", request).await;
    let seen = seen(&standin);
    assert_eq!(told(&seen), facts("localhost", "http", "80"));
    assert_eq!(
        (&seen["authorization"], &seen["via"]),
        (&"Bearer demo".parse().unwrap(), &"1.1 ravelin".parse().unwrap())
    );
}

#[tokio::test]
async fn via_names_each_passage_in_both_directions_and_a_circle_ends() {
    let standin = standin().await;
    for (scheme, back) in [("h2c", "2.0 ravelin"), ("http", "1.1 ravelin")] {
        let ravelin = before(&standin, scheme);
        let answer = raw::send(
            ravelin.plain(),
            b"",
            &raw::request("GET", "localhost", "/headers", "via: 1.0 fred, 1.1 p.test\r\n"),
        )
        .await;
        let headers = seen(&standin);
        let via: Vec<_> = headers.get_all("via").iter().collect();
        assert_eq!(via, ["1.0 fred, 1.1 p.test", "1.1 ravelin"]);
        assert_eq!(answer.header("via"), back);
        let client = Client::tls(ravelin.https()).await;
        assert_eq!(client.get("/headers").await.unwrap().header("via"), back);
        assert_eq!(seen(&standin)["via"], "2.0 ravelin");
    }
    // One that has been here too often goes in a circle.
    let first = before(&standin, "h2c");
    let fields = format!("via: {}\r\n", ["2.0 ravelin"; 11].join(", "));
    let circle =
        raw::send(first.plain(), b"", &raw::request("GET", "localhost", "/", &fields)).await;
    assert_eq!(circle.status(), 508);
}

#[tokio::test]
async fn te_goes_upstream_for_grpc_alone() {
    let standin = standin().await;
    let ravelin = before(&standin, "h2c");
    let client = Client::tls(ravelin.https()).await;
    client.grpc("/ravelin.test.Echo/Unary", &[], b"x").await.unwrap();
    assert_eq!(seen(&standin)["te"], "trailers");
    for content_type in
        ["application/json", "application/grpc-web+proto", "application/connect+json"]
    {
        let request = Request::post("https://localhost/ravelin.test.Echo/Unary")
            .header("content-type", content_type)
            .header("te", "trailers");
        client.send(request.body(h2::frame(b"x")).unwrap()).await.unwrap();
        assert_eq!(seen(&standin).get("te"), None, "{content_type}");
    }
    let request = raw::request("GET", "localhost", "/headers", "te: trailers, deflate\r\n");
    raw::send(ravelin.plain(), b"", &request).await;
    assert_eq!(seen(&standin).get("te"), None);
}

#[tokio::test]
async fn hop_by_hop_fields_end_here_in_both_directions() {
    let standin = standin().await;
    for scheme in ["h2c", "http"] {
        let ravelin = before(&standin, scheme);
        let mut order = vec![
            "set-header=keep-alive:timeout=5",
            "set-header=alt-svc:h3=\":1\"",
            "set-header=x-kept:yes",
        ];
        if scheme == "http" {
            order.extend([
                "set-header=connection:x-own",
                "set-header=x-own:1",
                "set-header=proxy-connection:close",
            ]);
        } else {
            order.remove(0);
        }
        let request = format!(
            "GET /headers HTTP/1.1\r\nhost: localhost\r\nconnection: close, X-Mine\r\nx-mine: 1\r\nkeep-alive: 5\r\n\
             proxy-connection: keep-alive\r\nhttp2-settings: AAMAAABk\r\nupgrade: foo/2\r\nx-kept: yes\r\n\
             x-standin-order: {}\r\n\r\n",
            order.join(",")
        );
        let answer = raw::send(ravelin.plain(), b"", &request).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        let seen = seen(&standin);
        for name in ["x-mine", "keep-alive", "proxy-connection", "http2-settings", "upgrade"] {
            assert_eq!(seen.get(name), None, "{scheme}: {name}");
        }
        assert_eq!(seen["x-kept"], "yes");
        assert_eq!(answer.header("x-kept"), "yes");
        for name in ["x-own", "keep-alive", "proxy-connection", "alt-svc"] {
            assert_eq!(answer.header(name), "", "{scheme}: {name}");
        }
    }
}

#[tokio::test]
async fn a_sound_request_id_and_trace_go_on_and_a_missing_one_is_made() {
    let standin = standin().await;
    let ravelin = before(&standin, "h2c");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let fields = format!("x-request-id: abc-123\r\ntraceparent: {trace}\r\ntracestate: a=b\r\n");
    raw::send(ravelin.plain(), b"", &raw::request("GET", "localhost", "/headers", &fields)).await;
    let headers = seen(&standin);
    assert_eq!(headers["x-request-id"], "abc-123");
    assert_eq!(
        (&headers["traceparent"], &headers["tracestate"]),
        (&trace.parse().unwrap(), &"a=b".parse().unwrap())
    );
    let mut made = std::collections::HashSet::new();
    for fields in ["", "x-request-id: bad id\"\r\n", "x-request-id: \r\n"] {
        raw::send(ravelin.plain(), b"", &raw::request("GET", "localhost", "/headers", fields))
            .await;
        let id = seen(&standin)["x-request-id"].to_str().unwrap().to_owned();
        assert!(id.len() >= 16, "{id:?}");
        assert!(made.insert(id), "ids are unique");
    }
}

#[tokio::test]
async fn cookie_crumbs_are_one_field_again_over_http_1_1() {
    let standin = standin().await;
    let ravelin = before(&standin, "http");
    let client = Client::tls(ravelin.https()).await;
    let request =
        Request::get("https://localhost/headers").header("cookie", "a=1").header("cookie", "b=2");
    client.send(request.body(Bytes::new()).unwrap()).await.unwrap();
    let headers = seen(&standin);
    assert_eq!(headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
}

#[tokio::test]
async fn an_upstream_that_leads_back_here_is_a_circle_and_not_a_storm() {
    // The listener's port must be known to its own cluster: a Unix socket's path is.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("circle.sock");
    let yaml = config_before(&format!("h2c+unix:{}", path.display())).replace(
        "routes:",
        &format!("\x20 - {{name: unix, address: \"unix:{}\"}}\nroutes:", path.display()),
    );
    let ravelin = Ravelin::start(&yaml);
    let answer = raw::get(ravelin.plain(), "localhost", "/").await;
    assert_eq!(answer.status(), 508, "{answer:?}");
    let round = ravelin.metric("ravelin_requests_total");
    assert!(round <= 13.0, "{round}");
}
