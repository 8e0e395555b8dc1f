//! HTTP/1.1 with the client, byte by byte.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use tokio::time::timeout;

use crate::support::frames;
use crate::support::wire::{Answer, PATIENCE, Upstream, Wire};
use crate::support::{Ravelin, config_before, standin};

async fn both(ravelin: &Ravelin) -> [Wire; 2] {
    [Wire::plain(ravelin.plain()).await, Wire::tls(ravelin.https()).await]
}

/// The usual configuration with other limits on both listeners.
fn limited(upstream: &str, limits: &str) -> Ravelin {
    let config = config_before(upstream)
        .replace(
            "address: \"127.0.0.1:0\", tls",
            &format!("limits: {{{limits}}}, address: \"127.0.0.1:0\", tls"),
        )
        .replace("name: plain,", &format!("name: plain, limits: {{{limits}}},"));
    Ravelin::start(&config)
}

fn h2c(standin: &ravelin::standin::Standin) -> String {
    format!("h2c://{}", standin.address())
}

#[tokio::test]
async fn a_connection_is_kept_alive_and_pipelined_requests_are_answered_in_order() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for mut client in both(&ravelin).await {
        for _ in 0..3 {
            let answer = client.get("/bytes/5").await;
            assert_eq!((answer.status(), answer.body.len()), (200, 5));
            assert!(!answer.head.has("connection"), "{:?}", answer.head);
        }
        let pipelined: String = [300_000, 2, 70_000]
            .map(|size| format!("GET /bytes/{size} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            .concat();
        client.send(pipelined).await;
        for size in [300_000, 2, 70_000] {
            assert_eq!(client.answer().await.body.len(), size);
        }
    }
    assert_eq!(standin.connections_total(), 1);
}

#[tokio::test]
async fn head_tells_the_length_and_sends_no_body() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for mut client in both(&ravelin).await {
        client.send("HEAD /bytes/1000 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let head = client.head().await;
        assert_eq!((head.status(), head.field("content-length").as_str()), (200, "1000"));
        // What follows is the next answer's head at once.
        assert_eq!(client.get("/bytes/7").await.body.len(), 7);
    }
}

#[tokio::test]
async fn a_length_stays_a_length_and_chunks_stay_chunks() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for mut client in both(&ravelin).await {
        client
            .send("POST /echo?1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello")
            .await;
        let answer = client.answer().await;
        assert_eq!((answer.text(), answer.head.field("content-length").as_str()), ("hello", "5"));
        assert!(!answer.head.has("transfer-encoding"));
        client
            .send(
                "POST /echo?2 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
            )
            .await;
        let answer = client.answer().await;
        assert_eq!(answer.text(), "hello world");
        assert_eq!(answer.head.field("transfer-encoding"), "chunked");
    }
    for seen in standin.requests() {
        assert!(!seen.headers.contains_key("transfer-encoding"));
        let length = seen.headers.get("content-length").map(|value| value.as_bytes());
        let expected = (seen.target == "/echo?1").then_some(&b"5"[..]);
        assert_eq!(length, expected);
    }
}

#[tokio::test]
async fn trailers_pass_both_ways_to_clients_that_take_them() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for te in ["TE: trailers\r\nConnection: TE\r\n", ""] {
        for mut client in both(&ravelin).await {
            client
                .send(format!(
                    "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\
                     Trailer: x-sum\r\n{te}\r\n1\r\na\r\n0\r\nx-sum: 42\r\n\r\n"
                ))
                .await;
            let answer = client.answer().await;
            assert_eq!(answer.text(), "a");
            let trailers = answer.trailers.iter().map(|(name, value)| (&**name, &**value));
            let expected = (!te.is_empty()).then_some(("x-sum", "42"));
            assert_eq!(trailers.collect::<Vec<_>>(), Vec::from_iter(expected));
        }
    }
}

#[tokio::test]
async fn early_hints_reach_http_1_1_clients_and_no_older_ones() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for mut client in both(&ravelin).await {
        let answer = client.get("/early-hints").await;
        assert_eq!(answer.text(), "after the hints\n");
        let [hint] = &answer.interim[..] else { panic!("{answer:?}") };
        assert_eq!(hint.line, "HTTP/1.1 103 Early Hints");
        assert!(hint.field("link").starts_with("</style.css>"));
        client.send("GET /early-hints HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.interim.len()), (200, 0));
    }
}

/// An h2 server of one stream: the request, its answer and its connection, driven beside.
async fn one_stream(
    upstream: &Upstream,
) -> (http::Request<h2::RecvStream>, h2::server::SendResponse<Bytes>) {
    let socket = upstream.accept_socket().await;
    let mut connection = h2::server::handshake(socket).await.unwrap();
    let first = connection.accept().await.unwrap().unwrap();
    tokio::spawn(async move { while connection.accept().await.is_some() {} });
    first
}

fn interim(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response
}

#[tokio::test]
async fn upstream_decides_when_the_client_may_continue() {
    let upstream = Upstream::start().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", upstream.address()));
    let mut client = Wire::tls(ravelin.https()).await;
    client
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let (mut request, mut respond) = one_stream(&upstream).await;
    assert_eq!(request.headers()["expect"], "100-continue");
    // Were the 100 of Ravelin's own making, it would come before this.
    respond.send_informational(interim(StatusCode::EARLY_HINTS)).unwrap();
    assert_eq!(client.head().await.status(), 103);
    respond.send_informational(interim(StatusCode::CONTINUE)).unwrap();
    assert_eq!(client.head().await.status(), 100);
    client.send("body").await;
    assert_eq!(request.body_mut().data().await.unwrap().unwrap(), "body");
    respond.send_response(Response::new(()), true).unwrap();
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.interim.len()), (200, 0));
}

#[tokio::test]
async fn a_refused_expectation_never_asks_for_the_body() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for mut client in both(&ravelin).await {
        client
            .send(
                "POST /continue/reject HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\
                 Expect: 100-continue\r\n\r\n",
            )
            .await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.interim.len()), (417, 0));
        assert_eq!(answer.text(), "not wanted\n");
        // Whether the four bytes still come nobody can know: the connection ends.
        assert_eq!(client.rest().await, b"");
    }
    assert!(standin.requests().iter().all(|seen| seen.body.is_none()));
}

#[tokio::test]
async fn an_upstream_that_keeps_silent_gets_the_body_after_a_while() {
    let upstream = Upstream::start().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", upstream.address()));
    let mut client = Wire::plain(ravelin.plain()).await;
    client
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let (mut request, mut respond) = one_stream(&upstream).await;
    assert_eq!(client.head().await.status(), 100);
    client.send("body").await;
    assert_eq!(request.body_mut().data().await.unwrap().unwrap(), "body");
    respond.send_response(Response::new(()), true).unwrap();
    assert_eq!(client.answer().await.status(), 200);
}

/// Requests whose end or target two peers may see differently (RFC 9112 §3.2, §5, §6, §11.2).
const DOUBTFUL: &[(&str, &str)] = &[
    (
        "two lengths",
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    ),
    (
        "a list of lengths",
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4, 4\r\n\r\nabcd",
    ),
    ("a signed length", "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: +4\r\n\r\nabcd"),
    (
        "a length beyond 64 bits",
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 18446744073709551620\r\n\r\nabcd",
    ),
    (
        "a hexadecimal length",
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0x4\r\n\r\nabcd",
    ),
    (
        "chunked not last",
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked twice",
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "an unknown coding",
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a coding in HTTP/1.0",
        "POST /echo HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a coding with a control character",
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "space before the colon",
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length : 4\r\n\r\nabcd",
    ),
    ("space before the name", "GET /echo HTTP/1.1\r\n Host: localhost\r\n\r\n"),
    ("a folded line", "GET /echo HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n c\r\n\r\n"),
    ("a field without colon", "GET /echo HTTP/1.1\r\nHost: localhost\r\nX-A\r\n\r\n"),
    ("a field without name", "GET /echo HTTP/1.1\r\nHost: localhost\r\n: b\r\n\r\n"),
    ("a bare CR in a value", "GET /echo HTTP/1.1\r\nHost: localhost\r\nX-A: b\rc\r\n\r\n"),
    ("a NUL in a value", "GET /echo HTTP/1.1\r\nHost: localhost\r\nX-A: b\0c\r\n\r\n"),
    ("two Hosts", "GET /echo HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"),
    ("no Host", "GET /echo HTTP/1.1\r\nX-A: b\r\n\r\n"),
    ("an empty Host", "GET /echo HTTP/1.1\r\nHost:\r\n\r\n"),
    ("a Host with user information", "GET /echo HTTP/1.1\r\nHost: a@localhost\r\n\r\n"),
    ("a Host with a path", "GET /echo HTTP/1.1\r\nHost: localhost/x\r\n\r\n"),
    (
        "a target of another host",
        "GET http://other.example/echo HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ),
    ("a target without slash", "GET echo HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("a space in the target", "GET /echo x HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("an unknown version", "GET /echo HTTP/1.2\r\nHost: localhost\r\n\r\n"),
    ("a method with a separator", "G(T /echo HTTP/1.1\r\nHost: localhost\r\n\r\n"),
];

#[tokio::test]
async fn what_two_peers_may_read_differently_is_refused_and_ends_the_connection() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    let mut wrong = Vec::new();
    for (what, request) in DOUBTFUL {
        let mut client = Wire::plain(ravelin.plain()).await;
        // The second request is what a smuggler would hide behind the first.
        client.send(format!("{request}GET /bytes/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        let (all, closed) = client.closes(Duration::from_secs(1)).await;
        let all = String::from_utf8_lossy(&all).into_owned();
        let answers = all.matches("HTTP/1.").count();
        if !closed
            || !all.starts_with("HTTP/1.1 400 ") && !all.starts_with("HTTP/1.0 400 ")
            || answers != 1
        {
            wrong.push(format!(
                "{what}: {answers} answers, closed {closed}: {}",
                &all[..all.len().min(300)]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n---\n"));
    assert_eq!(standin.requests().len(), 0);
}

#[tokio::test]
async fn what_is_no_request_line_of_http_1_is_not_answered_with_content() {
    // Whether it is a broken HTTP/1.1 request (400) or a broken HTTP/2 preface (closed) is moot.
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for request in [
        "GET /bytes/1 http/1.1\r\nHost: localhost\r\n\r\n",
        "GET /bytes/1\r\nHost: localhost\r\n\r\n",
        "HELO localhost\r\n",
    ] {
        let mut client = Wire::plain(ravelin.plain()).await;
        client.send(request).await;
        let (all, closed) = client.closes(Duration::from_secs(3)).await;
        assert!(closed, "{request:?}");
        assert!(
            all.is_empty() || all.starts_with(b"HTTP/1.1 400") || all[3] == frames::SETTINGS,
            "{all:?}"
        );
    }
    assert_eq!(standin.requests().len(), 0);
}

#[tokio::test]
async fn a_length_beside_a_coding_is_refused_and_ends_the_connection() {
    // RFC 9112 §6.1: it ought to be handled as an error. Wherever it stands on its connection.
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    let chunked = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\n\r\n";
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
    ] {
        for before in ["", chunked] {
            let mut client = Wire::plain(ravelin.plain()).await;
            client
                .send(format!(
                    "{before}POST /hidden HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n0\r\n\r\n\
                     GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
                ))
                .await;
            if !before.is_empty() {
                assert_eq!(client.answer().await.text(), "abc");
            }
            let answer = client.answer().await;
            assert_eq!((answer.status(), &*answer.head.field("connection")), (400, "close"));
            assert_eq!(client.rest().await, b"");
        }
    }
    assert!(standin.requests().iter().all(|seen| seen.target == "/echo"));
    assert_eq!(ravelin.metric("ravelin_errors_total{cause=\"bad_request\""), 6.0);
}

#[tokio::test]
async fn the_same_length_twice_goes_on_as_one() {
    // RFC 9112 §6.3 allows it; what upstream sees cannot be read in two ways.
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    let mut client = Wire::plain(ravelin.plain()).await;
    client
        .send(
            "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n\
             abcdGET /bytes/1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        )
        .await;
    assert_eq!(client.answer().await.text(), "abcd");
    assert_eq!(client.answer().await.body.len(), 1);
    let lengths = standin.requests()[0].headers.get_all("content-length").iter().count();
    assert_eq!(lengths, 1);
}

#[tokio::test]
async fn broken_chunks_end_the_connection_and_the_request_upstream() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    let chunks = [
        "zz\r\nabcd\r\n0\r\n\r\n",
        "-1\r\na\r\n0\r\n\r\n",
        "4 5\r\nabcd\r\n0\r\n\r\n",
        "4\nabcd\r\n0\r\n\r\n",
        "4\r\nabcdX\r\n0\r\n\r\n",
        "4\r\nabcd\n0\r\n\r\n",
        "fffffffffffffffff\r\nabcd\r\n0\r\n\r\n",
        "\r\nabcd\r\n0\r\n\r\n",
    ];
    for (n, chunks) in chunks.iter().enumerate() {
        let mut client = Wire::plain(ravelin.plain()).await;
        client
            .send(format!(
                "POST /sink HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
                 {chunks}GET /bytes/1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
            ))
            .await;
        let all = String::from_utf8_lossy(&client.rest().await).into_owned();
        assert!(!all.contains("HTTP/1.1 200"), "{chunks:?}: {all}");
        assert!(all.matches("HTTP/1.").count() <= 1, "{chunks:?}: {all}");
        // What had begun upstream is left there.
        standin.wait_for_in_flight(0).await;
        assert!(standin.cancelled() <= n + 1);
    }
    assert!(standin.requests().iter().all(|seen| seen.target == "/sink" && seen.body.is_none()));
}

#[tokio::test]
async fn a_line_that_ends_with_lf_alone_is_one_line_for_upstream_too() {
    // RFC 9112 §2.2 lets a recipient take it; what goes on is framed anew.
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    let mut client = Wire::plain(ravelin.plain()).await;
    client.send("GET /bytes/3 HTTP/1.1\nHost: localhost\nX-A: b\n\n").await;
    let answer = client.answer().await;
    if answer.status() == 200 {
        let seen = &standin.requests()[0];
        assert_eq!(
            (seen.authority.as_str(), &seen.headers["x-a"]),
            ("localhost", &"b".parse().unwrap())
        );
    } else {
        assert_eq!(answer.status(), 400);
    }
}

#[tokio::test]
async fn heads_too_large_are_answered_431() {
    let standin = standin().await;
    let ravelin = limited(&h2c(&standin), "header_size: 8KiB, header_fields: 50");
    for path in [false, true] {
        let mut client = Wire::plain(ravelin.plain()).await;
        let long = "a".repeat(9 * 1024);
        let request = if path {
            format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        } else {
            format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-A: {long}\r\n\r\n")
        };
        client.send(request).await;
        let answer = client.answer().await;
        assert!(matches!(answer.status(), 431 | 414), "{answer:?}");
        client.rest().await;
    }
    let mut client = Wire::plain(ravelin.plain()).await;
    let fields: String = (0..60).map(|n| format!("X-{n}: b\r\n")).collect();
    client.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).await;
    assert_eq!(client.answer().await.status(), 431);
    assert_eq!(standin.requests().len(), 0);
}

#[tokio::test]
async fn sixty_four_kib_of_headers_pass_both_ways() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for mut client in both(&ravelin).await {
        let big = "a".repeat(4096);
        let fields: String = (0..15).map(|n| format!("X-{n}: {big}\r\n")).collect();
        client.send(format!("GET /headers HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).await;
        let answer = client.answer().await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().matches(&big).count(), 15);
        let answer = client.get("/big-headers/65536").await;
        assert_eq!((answer.status(), answer.text()), (200, "big\n"));
        assert_eq!(answer.head.field("x-big").matches('b').count(), 65_536);
    }
}

async fn one(ravelin: &Ravelin, tls: bool) -> Wire {
    if tls { Wire::tls(ravelin.https()).await } else { Wire::plain(ravelin.plain()).await }
}

#[tokio::test]
async fn a_head_that_does_not_end_is_given_up() {
    let standin = standin().await;
    let ravelin = limited(&h2c(&standin), "head_time: 400ms, idle: 1m");
    for tls in [false, true] {
        let mut client = one(&ravelin, tls).await;
        client.send("GET / HTTP/1.1\r\nHost: local").await;
        client.rest().await;
        let mut client = one(&ravelin, tls).await;
        assert_eq!(client.get("/bytes/1").await.status(), 200);
        // At once behind an answer, too.
        client.send("GET / HTTP/1.1\r\nHost: local").await;
        client.rest().await;
    }
    // Who says nothing at all has not even begun.
    assert_eq!(one(&ravelin, false).await.rest().await, b"");
    assert_eq!(standin.requests().len(), 2);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let standin = standin().await;
    let ravelin = limited(&h2c(&standin), "head_time: 400ms, idle: 300ms");
    for tls in [false, true] {
        let mut client = one(&ravelin, tls).await;
        // Twice as long as any clock of the connection.
        let answer = client.get("/bytes/4?order=slow-head=800").await;
        assert_eq!((answer.status(), answer.body.len()), (200, 4));
        assert_eq!(client.rest().await, b"");
    }
}

async fn is_given_up_when_it_takes_nothing(tls: bool) {
    let standin = standin().await;
    let ravelin = limited(&h2c(&standin), "idle: 800ms");
    let mut client = one(&ravelin, tls).await;
    client.send("GET /bytes/9000000000 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    client.head().await;
    // Reads for longer than standing still is borne.
    for _ in 0..12 {
        client.exactly(1 << 20).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(standin.cancelled(), 0);
    timeout(PATIENCE, standin.wait_for_cancelled(1)).await.expect("never given up");
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_given_up_and_a_slow_one_is_not() {
    is_given_up_when_it_takes_nothing(false).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_over_tls_is_given_up_too() {
    is_given_up_when_it_takes_nothing(true).await;
}

#[tokio::test]
async fn the_client_may_end_the_connection_with_its_request() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for mut client in both(&ravelin).await {
        client.send("GET /bytes/6 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!((answer.body.len(), answer.head.field("connection").as_str()), (6, "close"));
        assert_eq!(client.rest().await, b"");
    }
    let mut client = Wire::plain(ravelin.plain()).await;
    client.send("GET /sse?n=2 HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
    let answer: Answer = client.answer().await;
    assert!(!answer.head.has("transfer-encoding"), "HTTP/1.0 knows no chunks");
    assert!(answer.text().contains("tick 1"));
}

#[tokio::test]
async fn a_client_that_leaves_is_told_upstream() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for (n, path) in ["/sse", "/bytes/9000000000"].iter().enumerate() {
        for (m, mut client) in both(&ravelin).await.into_iter().enumerate() {
            client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
            standin.wait_for_requests(path, m + 1).await;
            drop(client);
            standin.wait_for_cancelled(2 * n + m + 1).await;
        }
    }
    standin.wait_for_in_flight(0).await;
}

#[tokio::test]
async fn a_client_that_has_said_all_and_shuts_down_its_half_is_answered() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for mut client in both(&ravelin).await {
        client.send("GET /bytes/6?order=slow-head=200 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        client.finish().await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.body.len()), (200, 6));
        assert_eq!(client.rest().await, b"");
    }
    // Behind an upload too.
    for mut client in both(&ravelin).await {
        client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc").await;
        client.finish().await;
        assert_eq!(client.answer().await.text(), "abc");
    }
    assert_eq!(standin.cancelled(), 0);
}

#[tokio::test]
async fn a_client_whose_connection_is_reset_is_told_upstream_before_its_answer() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    let request = b"GET /bytes/1?order=stall-head HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut socket = tokio::net::TcpStream::connect(ravelin.plain()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut socket, request).await.unwrap();
    standin.wait_for_requests("/bytes", 1).await;
    socket.set_zero_linger().unwrap();
    drop(socket);
    timeout(PATIENCE, standin.wait_for_cancelled(1)).await.expect("never told");
}

#[tokio::test]
async fn what_is_sent_behind_a_request_under_way_is_answered_after_it() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for mut client in both(&ravelin).await {
        client.send("GET /bytes/6?order=slow-head=100 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        standin.wait_for_requests("/bytes", 1).await;
        // Read ahead while the first one waits: more than is kept, in pieces.
        let long = "a".repeat(3000);
        client.send(format!("GET /bytes/7 HTTP/1.1\r\nHost: localhost\r\nX-Long: {long}")).await;
        client.send("\r\n\r\n").await;
        assert_eq!(client.answer().await.body.len(), 6);
        assert_eq!(client.answer().await.body.len(), 7);
    }
}

#[tokio::test]
async fn hop_by_hop_fields_stay_on_their_hop() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    let mut client = Wire::plain(ravelin.plain()).await;
    client
        .send(
            "GET /bytes/1 HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nX-End: 1\r\n\r\n",
        )
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.head.field("via"), "2.0 ravelin");
    let seen: HeaderMap = standin.requests()[0].headers.clone();
    for name in ["connection", "x-hop", "keep-alive", "proxy-connection", "te"] {
        assert!(!seen.contains_key(name), "{name}");
    }
    assert_eq!(
        (&seen["x-end"], &seen["via"]),
        (&"1".parse().unwrap(), &"1.1 ravelin".parse().unwrap())
    );
}
