//! What a request may cost, and how a caller is told that it costs too much.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use ravelin::standin::Standin;

use crate::support::h2::{self, Client, frame};
use crate::support::wire::Wire;
use crate::support::{Ravelin, raw, standin};

const UNARY: &str = "/ravelin.test.Echo/Unary";
const BIDI: &str = "/ravelin.test.Echo/Bidi";

/// One route with these keys, on a listener `plain` with those and one that speaks PROXY, `lb`.
fn with(standin: &Standin, workers: usize, route: &str, listener: &str) -> Ravelin {
    Ravelin::start(&format!(
        "workers: {workers}\n\
         listeners:\n\
         \x20 - {{name: plain, address: \"127.0.0.1:0\", {listener}}}\n\
         \x20 - {{name: lb, address: \"127.0.0.1:0\", proxy_protocol: {{from: 127.0.0.1}}}}\n\
         routes: [{{name: all, to: up, {route}}}]\n\
         clusters: {{up: {{endpoints: [\"h2c://{}\"]}}}}\n\
         admin: \"off\"\n\
         access_log: {{format: \"off\"}}\n\
         shutdown: {{grace: 1s}}\n",
        standin.address()
    ))
}

async fn counted(ravelin: &Ravelin, cause: &str, times: f64) {
    let line = format!("ravelin_errors_total{{cause=\"{cause}\"}}");
    raw::until(async || ravelin.metric(&line), |count| *count >= times).await;
    assert_eq!(ravelin.metric(&line), times);
}

fn post(path: &str) -> http::request::Builder {
    Request::post(format!("https://localhost{path}"))
}

#[tokio::test]
async fn a_body_announced_too_large_is_refused_without_asking_upstream() {
    let standin = standin().await;
    let ravelin = with(&standin, 1, "limits: {body: 10}", "");
    let h2 = Client::plain(ravelin.plain()).await;
    let request = post("/sink").header("content-length", "11").body(()).unwrap();
    let (answer, _stream) = h2.open(request, false).await.unwrap();
    assert_eq!(h2::read(answer.await.unwrap()).await.unwrap().status(), 413);

    let mut h1 = Wire::plain(ravelin.plain()).await;
    h1.send("POST /sink HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 11\r\n\r\n")
        .await;
    let answer = h1.answer().await;
    assert!(answer.interim.is_empty(), "{answer:?}");
    assert_eq!(answer.status(), 413);
    assert_eq!(answer.head.field("connection"), "close");
    assert_eq!(answer.head.field("content-type"), "application/problem+json");
    assert_eq!(standin.requests().len(), 0);

    let fits =
        h2.send(post("/sink").header("content-length", "10").body("1234567890".into()).unwrap());
    assert_eq!(fits.await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_body_that_grows_too_large_is_cut_and_the_exchange_cancelled_upstream() {
    let standin = standin().await;
    let ravelin = with(&standin, 1, "limits: {body: 10}", "");
    let h2 = Client::plain(ravelin.plain()).await;
    let (answer, mut stream) = h2.open(post("/sink").body(()).unwrap(), false).await.unwrap();
    stream.send_data("1234567890".into(), false).unwrap();
    standin.wait_for_requests("/sink", 1).await;
    stream.send_data("1".into(), false).unwrap();
    assert_eq!(h2::read(answer.await.unwrap()).await.unwrap().status(), 413);
    standin.wait_for_cancelled(1).await;

    let mut h1 = Wire::plain(ravelin.plain()).await;
    h1.send("POST /sink HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\na\r\n1234567890\r\n")
        .await;
    standin.wait_for_requests("/sink", 2).await;
    h1.send("1\r\n1\r\n").await;
    let answer = h1.answer().await;
    assert_eq!((answer.status(), &*answer.head.field("connection")), (413, "close"));
    standin.wait_for_cancelled(2).await;
}

#[tokio::test]
async fn over_http1_upstream_a_cut_body_is_the_client_s_fault_before_and_after_the_head() {
    let standin = standin().await;
    let text = format!(
        "workers: 1\nlisteners: [{{name: plain, address: \"127.0.0.1:0\"}}]\n\
         routes: [{{name: all, to: up, limits: {{body: 10}}}}]\n\
         clusters: {{up: {{endpoints: [\"http://{}\"]}}}}\n\
         admin: \"off\"\naccess_log: {{format: \"off\"}}\nshutdown: {{grace: 1s}}\n",
        standin.address()
    );
    let ravelin = Ravelin::start(&text);
    let h2 = Client::plain(ravelin.plain()).await;
    let (answer, mut stream) = h2.open(post("/sink").body(()).unwrap(), false).await.unwrap();
    stream.send_data("12345678901".into(), false).unwrap();
    assert_eq!(h2::read(answer.await.unwrap()).await.unwrap().status(), 413);

    let (answer, mut stream) = h2.open(post("/echo").body(()).unwrap(), false).await.unwrap();
    stream.send_data("1234567890".into(), false).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    stream.send_data("1".into(), false).unwrap();
    assert!(h2::read(answer).await.is_err());
    counted(&ravelin, "body_too_large", 2.0).await;
}

#[tokio::test]
async fn a_grpc_message_too_long_is_refused_first_or_later() {
    let standin = standin().await;
    let ravelin = with(&standin, 1, "limits: {grpc_message: 10}", "");
    let h2 = Client::plain(ravelin.plain()).await;
    let fits = h2.grpc(UNARY, &[], b"1234567890").await.unwrap();
    assert_eq!(fits.trailer("grpc-status"), "0");
    let first = h2.grpc(UNARY, &[], b"12345678901").await.unwrap();
    assert_eq!((first.status(), first.trailer("grpc-status")), (200, "8"));

    let request = post(BIDI).header("content-type", "application/grpc").body(()).unwrap();
    let (answer, mut stream) = h2.open(request, false).await.unwrap();
    stream.send_data(frame(b"one"), false).unwrap();
    let mut answer = answer.await.unwrap();
    let echoed = answer.body_mut().data().await.unwrap().unwrap();
    assert_eq!(echoed, frame(b"one"));
    // The prefix is enough.
    stream.send_data(frame(b"12345678901").slice(..5), false).unwrap();
    let end = h2::read(answer).await.unwrap();
    assert_eq!((end.trailer("grpc-status"), end.body.len()), ("8", 0));
    standin.wait_for_cancelled(1).await;
}

#[tokio::test]
async fn grpc_web_messages_too_long_end_in_a_trailer_frame_in_both_modes() {
    let standin = standin().await;
    let ravelin = with(&standin, 1, "limits: {grpc_message: 10}", "");
    let h2 = Client::plain(ravelin.plain()).await;
    let (fits, long) = (frame(b"1234567890"), frame(b"12345678901"));
    for (kind, body, refused) in [
        ("application/grpc-web+proto", fits.clone(), false),
        ("application/grpc-web+proto", long.clone(), true),
        ("application/grpc-web-text", STANDARD.encode(&fits).into(), false),
        ("application/grpc-web-text", STANDARD.encode(&long).into(), true),
    ] {
        let request = post(UNARY).header("content-type", kind).body(body).unwrap();
        let answer = h2.send(request).await.unwrap();
        assert_eq!((answer.status(), answer.header("content-type")), (200, kind));
        let bytes = if kind.contains("text") {
            STANDARD.decode(&answer.body).unwrap_or_else(|_| answer.body.to_vec())
        } else {
            answer.body.to_vec()
        };
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.contains("grpc-status: 8"), refused, "{kind}: {text}");
    }
}

#[tokio::test]
async fn a_client_silent_within_its_body_gets_408_and_streams_may_be_silent() {
    let standin = standin().await;
    // Upstream is not late while it is the client that is waited for.
    let route = "limits: {body_idle: 400ms}, timeouts: {first_byte: 100ms}";
    let ravelin = with(&standin, 1, route, "");
    let h2 = Client::plain(ravelin.plain()).await;
    let request = post(BIDI).header("content-type", "application/grpc").body(()).unwrap();
    let (stream_answer, mut stream) = h2.open(request, false).await.unwrap();
    stream.send_data(frame(b"one"), false).unwrap();
    let mut stream_answer = stream_answer.await.unwrap();

    let (answer, mut body) = h2.open(post("/sink").body(()).unwrap(), false).await.unwrap();
    body.send_data("x".into(), false).unwrap();
    assert_eq!(h2::read(answer.await.unwrap()).await.unwrap().status(), 408);
    let mut h1 = Wire::plain(ravelin.plain()).await;
    h1.send("POST /sink HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nx").await;
    let answer = h1.answer().await;
    assert_eq!((answer.status(), &*answer.head.field("connection")), (408, "close"));
    standin.wait_for_cancelled(2).await;

    // Twice the time has passed, and the stream still lives.
    stream.send_data(frame(b"two"), true).unwrap();
    let mut echoed = Vec::new();
    while let Some(data) = stream_answer.body_mut().data().await {
        echoed.extend_from_slice(&data.unwrap());
    }
    assert_eq!(echoed, [frame(b"one"), frame(b"two")].concat());
}

#[tokio::test]
async fn a_slow_body_that_moves_passes() {
    let standin = standin().await;
    let ravelin = with(&standin, 1, "limits: {body_idle: 1s}", "");
    let h2 = Client::plain(ravelin.plain()).await;
    let (answer, mut body) = h2.open(post("/echo").body(()).unwrap(), false).await.unwrap();
    for _ in 0..8 {
        body.send_data("x".into(), false).unwrap();
        // Not to wait for something: the pause is what is tested.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    body.send_data(Bytes::new(), true).unwrap();
    let answer = h2::read(answer.await.unwrap()).await.unwrap();
    assert_eq!((answer.status(), answer.text()), (200, "xxxxxxxx"));
}

#[tokio::test]
async fn a_connection_that_had_its_requests_is_closed_and_none_of_them_is_lost() {
    let standin = standin().await;
    let ravelin = with(&standin, 1, "timeouts: {}", "limits: {requests: 3}");
    let mut h1 = Wire::plain(ravelin.plain()).await;
    for last in [false, false, true] {
        h1.send("GET /headers HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        let answer = h1.answer().await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.head.field("connection") == "close", last);
    }
    assert!(h1.rest().await.is_empty());

    let h2 = Client::plain(ravelin.plain()).await;
    let mut served = 0;
    let error = loop {
        match h2.get("/headers").await {
            Ok(answer) => assert_eq!(answer.status(), 200),
            Err(error) => break error,
        }
        served += 1;
        assert!(served < 250, "it is never told to go");
    };
    assert!(served >= 3, "{served}");
    assert!(error.is_go_away() && error.reason() == Some(::h2::Reason::NO_ERROR), "{error:?}");
}

#[tokio::test]
async fn a_rate_holds_over_all_workers_and_says_when_to_come_again() {
    let standin = standin().await;
    let ravelin = with(&standin, 2, "rate_limit: {per_minute: 1, burst: 5}", "");
    let (mut served, mut refused) = (0, 0);
    // Each on a connection of its own, which either worker may take.
    for _ in 0..20 {
        let answer = raw::get(ravelin.plain(), "localhost", "/headers").await;
        match answer.status() {
            200 => served += 1,
            429 => {
                refused += 1;
                let seconds: u32 = answer.header("retry-after").parse().unwrap();
                assert!((30..=60).contains(&seconds), "{answer:?}");
                assert_eq!(answer.json()["status"], 429);
            }
            _ => panic!("{answer:?}"),
        }
    }
    assert_eq!((served, refused, standin.requests().len()), (5, 15, 5));
    counted(&ravelin, "rate_limited", 15.0).await;
}

#[tokio::test]
async fn an_ipv6_subscriber_shares_one_rate_and_others_have_their_own() {
    let standin = standin().await;
    let ravelin = with(&standin, 1, "rate_limit: {per_minute: 1, burst: 1}", "");
    let request = raw::request("GET", "localhost", "/headers", "");
    for (proxy, status) in [
        ("PROXY TCP6 2001:db8:0:1::1 ::1 5 6\r\n", 200),
        ("PROXY TCP6 2001:db8:0:1:ffff::2 ::1 5 6\r\n", 429),
        ("PROXY TCP6 2001:db8:0:2::1 ::1 5 6\r\n", 200),
        ("PROXY TCP4 203.0.113.1 127.0.0.1 5 6\r\n", 200),
        ("PROXY TCP4 203.0.113.2 127.0.0.1 5 6\r\n", 200),
        ("PROXY TCP4 203.0.113.1 127.0.0.1 5 6\r\n", 429),
    ] {
        let answer = raw::send(ravelin.address("lb"), proxy.as_bytes(), &request).await;
        assert_eq!(answer.status(), status, "{proxy}");
    }
}

#[tokio::test]
async fn who_asks_too_often_is_told_in_their_own_protocol() {
    let standin = standin().await;
    let ravelin = with(&standin, 1, "rate_limit: {per_minute: 1, burst: 1}", "");
    let h2 = Client::plain(ravelin.plain()).await;
    assert_eq!(h2.get("/headers").await.unwrap().status(), 200);
    let grpc = h2.grpc(UNARY, &[], b"x").await.unwrap();
    assert_eq!((grpc.status(), grpc.trailer("grpc-status")), (200, "8"));
    let seconds: u64 = grpc.header("retry-after").parse().unwrap();
    assert!((30..=60).contains(&seconds));
    assert_eq!(grpc.trailer("grpc-retry-pushback-ms"), (seconds * 1000).to_string());
    let page = Request::get("https://localhost/ui/login").header("accept", "text/html");
    let page = h2.send(page.body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!((page.status(), page.header("content-type")), (429, "text/html; charset=utf-8"));
    let connect =
        post(UNARY).header("content-type", "application/json").header("origin", "https://a");
    let connect = h2.send(connect.body("{}".into()).unwrap()).await.unwrap();
    assert_eq!(
        (connect.status(), connect.header("access-control-allow-origin")),
        (429, "https://a")
    );
    assert!(connect.text().contains("resource_exhausted"), "{connect:?}");
    assert_eq!(standin.requests().len(), 1);
}

#[tokio::test]
async fn zitadel_cloud_s_policy_counts_the_pages_and_the_rest_apart() {
    let standin = standin().await;
    let ravelin = with(&standin, 1, "rate_limit: zitadel-cloud", "");
    let h2 = Client::plain(ravelin.plain()).await;
    let mut served = 0;
    while h2.get("/ui/console/environment.json").await.unwrap().status() != 429 {
        served += 1;
        assert!(served < 1_500, "it is never refused");
    }
    assert!(served >= 600, "{served}");
    assert_eq!(h2.get("/headers").await.unwrap().status(), 200);
    let other = "PROXY TCP4 203.0.113.1 127.0.0.1 5 6\r\n";
    let request = raw::request("GET", "localhost", "/ui/console/environment.json", "");
    assert_ne!(raw::send(ravelin.address("lb"), other.as_bytes(), &request).await.status(), 429);
}
