//! Every kind of caller meets every kind of failure: each is told in its own protocol, soon.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use ravelin::standin::{Garbage, Refusing};
use serde_json::Value;

use crate::support::faults::{self, eventually, get, http1, post, soon, with};
use crate::support::h2::{Answer, Client, frame};
use crate::support::{Ravelin, standin};

const ORIGIN: &str = "https://console.example";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Grpc,
    Web,
    WebText,
    Connect,
    ConnectStream,
    Rest,
    Page,
    WebSocket,
}

/// A failure before the head: where it happens, and what is said of it.
struct Row {
    name: &'static str,
    host: &'static str,
    order: &'static str,
    deadline: bool,
    status: u16,
    grpc: u8,
    connect: (u16, &'static str),
    retry_after: bool,
}

const fn row(
    name: &'static str,
    host: &'static str,
    order: &'static str,
    status: u16,
    grpc: u8,
    connect: (u16, &'static str),
) -> Row {
    Row { name, host, order, deadline: false, status, grpc, connect, retry_after: status == 503 }
}

const ROWS: [Row; 7] = [
    row("no route", "paths.localhost", "", 404, 12, (501, "unimplemented")),
    row("unknown host", "elsewhere.example", "", 404, 5, (404, "not_found")),
    row("refused", "refusing.localhost", "", 503, 14, (503, "unavailable")),
    row("reset before the head", "localhost", "reset", 502, 14, (503, "unavailable")),
    row("garbage", "garbage.localhost", "", 502, 13, (500, "internal")),
    row("stalled head", "slow.localhost", "stall-head", 504, 14, (503, "unavailable")),
    Row {
        deadline: true,
        ..row("deadline", "localhost", "stall-head", 504, 4, (504, "deadline_exceeded"))
    },
];

const OVER_LIMIT: Row =
    row("over the header limit", "localhost", "", 431, 8, (429, "resource_exhausted"));

/// A stand-in, a server that speaks garbage, an address where nobody is, and Ravelin before them.
struct Scene {
    ravelin: Ravelin,
    _standin: ravelin::standin::Standin,
    _garbage: Garbage,
    _refusing: Refusing,
}

async fn scene() -> Scene {
    let standin = standin().await;
    let garbage = Garbage::start(*b"220 mail.example ESMTP ready, and no HTTP at all\r\n").unwrap();
    let refusing = Refusing::start().unwrap();
    let ravelin = Ravelin::start(&format!(
        "workers: 1\n\
         listeners:\n  - {{name: plain, address: \"127.0.0.1:0\", limits: {{header_size: 16KiB}}}}\n\
         routes:\n\
         \x20 - {{match: {{host: localhost}}, to: up}}\n\
         \x20 - {{match: {{host: slow.localhost}}, to: up, timeouts: {{first_byte: 200ms}}}}\n\
         \x20 - {{match: {{host: idle.localhost}}, to: up, timeouts: {{idle: 200ms}}}}\n\
         \x20 - {{match: {{host: garbage.localhost}}, to: garbage}}\n\
         \x20 - {{match: {{host: refusing.localhost}}, to: refusing}}\n\
         \x20 - {{match: {{host: paths.localhost, path: /only/this}}, to: up}}\n\
         clusters:\n\
         \x20 up: {{endpoints: \"h2c://{}\"}}\n\
         \x20 garbage: {{endpoints: \"h2c://{}\"}}\n\
         \x20 refusing: {{endpoints: \"h2c://{}\"}}\n\
         admin: \"off\"\naccess_log: {{format: \"off\"}}\nshutdown: {{grace: 1s}}\n",
        standin.address(),
        garbage.address(),
        refusing.address()
    ));
    Scene { ravelin, _standin: standin, _garbage: garbage, _refusing: refusing }
}

/// What this caller sends to `host`.
fn request(who: Who, host: &str) -> Request<Bytes> {
    let message = frame(b"hello");
    let rpc =
        |content_type, body: Bytes| with(post(host, "/echo", body), "content-type", content_type);
    let request = match who {
        Who::Grpc => with(rpc("application/grpc", message), "te", "trailers"),
        Who::Web => rpc("application/grpc-web+proto", message),
        Who::WebText => rpc("application/grpc-web-text", STANDARD.encode(message).into()),
        Who::Connect => with(rpc("application/json", "{}".into()), "connect-protocol-version", "1"),
        Who::ConnectStream => rpc("application/connect+json", message),
        Who::Rest => with(get(host, "/admin/v1/healthz"), "accept", "application/json"),
        Who::Page => with(get(host, "/ui/login/"), "accept", "text/html"),
        Who::WebSocket => faults::websocket(host, "/ws"),
    };
    with(request, "origin", ORIGIN)
}

fn failing(who: Who, row: &Row) -> Option<Request<Bytes>> {
    let mut request = request(who, row.host);
    if !row.order.is_empty() {
        request = with(request, "x-standin-order", row.order);
    }
    if row.deadline {
        request = match who {
            Who::Grpc | Who::Web | Who::WebText => with(request, "grpc-timeout", "200m"),
            Who::Connect | Who::ConnectStream => with(request, "connect-timeout-ms", "200"),
            // The others have no way to name a deadline.
            Who::Rest | Who::Page | Who::WebSocket => return None,
        };
    }
    Some(request)
}

/// The payload of a frame, whose flags and length must be right.
fn payload(body: &[u8], flags: u8) -> &[u8] {
    assert_eq!(body[0], flags);
    assert_eq!(u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize, body.len() - 5);
    &body[5..]
}

fn says_status(payload: &[u8], code: u8) -> bool {
    std::str::from_utf8(payload).unwrap().contains(&format!("grpc-status: {code}\r\n"))
}

/// The details among the trailers of a gRPC-Web frame.
fn details(trailers: &[u8]) -> String {
    let text = String::from_utf8_lossy(trailers);
    let line = text.lines().find_map(|line| line.strip_prefix("grpc-status-details-bin: "));
    line.unwrap_or_default().to_owned()
}

/// Whether details of a status are there and say when to come again.
fn tells_when(details: &str) -> bool {
    let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.decode(details).unwrap();
    bytes.windows(20).any(|part| part == b"google.rpc.RetryInfo")
}

fn check(who: Who, row: &Row, answer: &Answer) {
    let at = format!("{who:?}, {}: {answer:?}", row.name);
    let always_200 = matches!(who, Who::Grpc | Who::Web | Who::WebText | Who::ConnectStream);
    let status = match who {
        _ if always_200 => 200,
        Who::Connect => row.connect.0,
        _ => row.status,
    };
    assert_eq!(answer.status(), status, "{at}");
    assert_eq!(!answer.header("retry-after").is_empty(), row.retry_after, "{at}");
    assert!(!answer.header("x-request-id").is_empty(), "{at}");
    assert_eq!(answer.header("cache-control"), "no-store", "{at}");
    if !matches!(who, Who::Grpc | Who::Page | Who::WebSocket) {
        assert_eq!(answer.header("access-control-allow-origin"), ORIGIN, "{at}");
        assert!(answer.header("access-control-expose-headers").contains("grpc-status"), "{at}");
        assert!(answer.header("vary").contains("Origin"), "{at}");
    }
    let media = answer.header("content-type");
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect(&at);
    match who {
        Who::Grpc => {
            assert_eq!(media, "application/grpc", "{at}");
            assert_eq!(answer.header("grpc-status"), row.grpc.to_string(), "{at}");
            assert!(answer.body.is_empty() && !answer.header("grpc-message").is_empty(), "{at}");
            let details = tells_when(answer.header("grpc-status-details-bin"));
            assert_eq!(details, row.retry_after, "{at}");
        }
        Who::Web => {
            assert_eq!(media, "application/grpc-web+proto", "{at}");
            let trailers = payload(&answer.body, 0x80);
            assert!(says_status(trailers, row.grpc), "{at}");
            assert_eq!(tells_when(&details(trailers)), row.retry_after, "{at}");
        }
        Who::WebText => {
            assert_eq!(media, "application/grpc-web-text", "{at}");
            let body = STANDARD.decode(&answer.body).expect(&at);
            assert!(says_status(payload(&body, 0x80), row.grpc), "{at}");
        }
        Who::Connect => {
            assert_eq!(media, "application/json", "{at}");
            assert_eq!(json(&answer.body)["code"], row.connect.1, "{at}");
            let details = json(&answer.body)["details"].to_string();
            assert_eq!(details.contains("google.rpc.RetryInfo"), row.retry_after, "{at}");
        }
        Who::ConnectStream => {
            assert_eq!(media, "application/connect+json", "{at}");
            let end = json(payload(&answer.body, 0x02));
            assert_eq!(end["error"]["code"], row.connect.1, "{at}");
        }
        Who::Rest => {
            assert_eq!(media, "application/problem+json", "{at}");
            assert_eq!(json(&answer.body)["status"], row.status, "{at}");
        }
        Who::Page => {
            assert!(media.starts_with("text/html"), "{at}");
            assert!(answer.text().contains(&row.status.to_string()), "{at}");
        }
        Who::WebSocket => assert!(media.starts_with("text/plain"), "{at}"),
    }
}

const OVER_HTTP2: [Who; 7] =
    [Who::Grpc, Who::Web, Who::WebText, Who::Connect, Who::ConnectStream, Who::Rest, Who::Page];

const OVER_HTTP1: [Who; 7] = [
    Who::Web,
    Who::WebText,
    Who::Connect,
    Who::ConnectStream,
    Who::Rest,
    Who::Page,
    Who::WebSocket,
];

#[tokio::test]
async fn every_caller_over_http2_is_told_in_its_own_protocol() {
    let scene = scene().await;
    let client = Client::plain(scene.ravelin.plain()).await;
    let each = ROWS.iter().flat_map(|row| OVER_HTTP2.map(|who| (who, row)));
    let checks = each.filter_map(|(who, row)| {
        let (request, client) = (failing(who, row)?, client.clone());
        Some(async move {
            let at = format!("{who:?}, {}", row.name);
            check(who, row, &soon(&at, client.send(request)).await.expect(&at));
        })
    });
    futures_util::future::join_all(checks).await;
}

#[tokio::test]
async fn every_caller_over_http1_is_told_in_its_own_protocol() {
    let scene = scene().await;
    let callers = OVER_HTTP1;
    // To the upstream of a WebSocket (HTTP/1.1) what it says before it was asked is no answer, right
    // or wrong: nothing was sent, which is another row.
    let each = ROWS.iter().flat_map(|row| callers.map(|who| (who, row)));
    let each = each.filter(|(who, row)| *who != Who::WebSocket || row.name != "garbage");
    let address = scene.ravelin.plain();
    let checks = each.filter_map(|(who, row)| {
        let request = failing(who, row)?;
        Some(async move {
            let at = format!("HTTP/1.1, {who:?}, {}", row.name);
            check(who, row, &soon(&at, http1(address, request)).await.expect(&at));
        })
    });
    futures_util::future::join_all(checks).await;
}

#[tokio::test]
async fn a_head_over_the_limits_is_refused_in_the_callers_protocol() {
    let scene = scene().await;
    let client = Client::plain(scene.ravelin.plain()).await;
    for who in OVER_HTTP2 {
        let mut many = request(who, "localhost");
        for _ in 0..250 {
            many.headers_mut().append("x-a", "b".parse().unwrap());
        }
        let large = with(request(who, "localhost"), "x-large", &"x".repeat(17 * 1024));
        for request in [many, large] {
            let answer = soon("over the limit", client.send(request)).await.unwrap();
            check(who, &OVER_LIMIT, &answer);
        }
    }
    // The connection lives on.
    assert_eq!(client.send(get("localhost", "/admin/v1/healthz")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_head_far_over_the_limit_costs_the_exchange_only() {
    let scene = scene().await;
    let client = Client::plain(scene.ravelin.plain()).await;
    for who in OVER_HTTP2 {
        let huge = with(request(who, "localhost"), "x-large", &"x".repeat(60 * 1024));
        let answer = soon("far over the limit", client.send(huge)).await.unwrap();
        check(who, &OVER_LIMIT, &answer);
    }
    assert_eq!(client.send(get("localhost", "/admin/v1/healthz")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_head_far_over_the_limit_is_refused_in_the_callers_protocol_over_http1_too() {
    let scene = scene().await;
    for who in OVER_HTTP1 {
        let huge = with(request(who, "localhost"), "x-large", &"x".repeat(60 * 1024));
        let answer = soon("far over the limit", http1(scene.ravelin.plain(), huge)).await.unwrap();
        check(who, &OVER_LIMIT, &answer);
    }
    // One that is not even read has a bare answer, and is counted as well.
    let counted = || scene.ravelin.metric("ravelin_errors_total{cause=\"headers_too_large\"");
    let before = counted();
    let giant = with(get("localhost", "/"), "x-large", &"x".repeat(300 * 1024));
    let answer = soon("never read", http1(scene.ravelin.plain(), giant)).await.unwrap();
    assert_eq!((answer.status(), answer.header("connection")), (431, "close"));
    eventually("counted", || counted() == before + 1.0).await;
}

#[tokio::test]
async fn a_grpc_answer_never_simply_stops() {
    let scene = scene().await;
    let client = Client::plain(scene.ravelin.plain()).await;
    for (host, order) in [
        ("localhost", "reset-mid-body"),
        ("localhost", "die-mid-body"),
        ("localhost", "no-trailers"),
        ("idle.localhost", "stall"),
    ] {
        let call = post(host, "/ravelin.test.Echo/Unary", frame(&[b'm'; 1000]));
        let call = with(with(call, "content-type", "application/grpc"), "te", "trailers");
        let call = with(call, "x-standin-order", order);
        let answer = soon(order, client.send(call)).await.expect(order);
        assert_eq!(answer.status(), 200, "{order}");
        let trailers = answer.trailers.as_ref().unwrap_or_else(|| panic!("{order}: {answer:?}"));
        assert_eq!(trailers["grpc-status"], "14", "{order}");
        assert!(!trailers["grpc-message"].is_empty(), "{order}");
    }
}

#[tokio::test]
async fn a_deadline_that_passes_behind_the_head_is_a_trailer_too() {
    let scene = scene().await;
    let client = Client::plain(scene.ravelin.plain()).await;
    let call = post("localhost", "/ravelin.test.Echo/Unary", frame(b"m"));
    let call = with(with(call, "content-type", "application/grpc"), "grpc-timeout", "200m");
    let call = with(call, "x-standin-order", "stall");
    let answer = soon("deadline", client.send(call)).await.unwrap();
    assert_eq!(answer.trailers.as_ref().unwrap()["grpc-status"], "4", "{answer:?}");
}

/// `/echo` gives back half of what it was sent, then upstream dies: of two frames of one length
/// exactly the first.
fn echo_of_two(who: Who, order: &str) -> Request<Bytes> {
    let mut body = frame(b"first").to_vec();
    body.extend_from_slice(&frame(b"other"));
    let body = if who == Who::WebText {
        // Both halves are whole groups of base64.
        let one = STANDARD.encode(frame(b"first!!"));
        assert_eq!(one.len() % 4, 0);
        format!("{one}{one}").into_bytes()
    } else {
        body
    };
    let mut request = with(request(who, "localhost"), "x-standin-order", order);
    *request.body_mut() = body.into();
    request
}

#[tokio::test]
async fn web_and_connect_streams_end_with_a_frame_of_their_own() {
    let scene = scene().await;
    let client = Client::plain(scene.ravelin.plain()).await;
    for order in ["reset-mid-body", "die-mid-body"] {
        let send =
            async |who| soon(order, client.send(echo_of_two(who, order))).await.expect(order);
        let answer = send(Who::Web).await;
        assert_eq!(answer.body[..10], frame(b"first")[..], "{order}: {answer:?}");
        assert!(says_status(payload(&answer.body[10..], 0x80), 14), "{order}");
        let answer = send(Who::WebText).await;
        let first = STANDARD.encode(frame(b"first!!"));
        let rest = answer.text().strip_prefix(&first).expect(order);
        assert!(says_status(payload(&STANDARD.decode(rest).unwrap(), 0x80), 14), "{order}");
        let answer = send(Who::ConnectStream).await;
        assert_eq!(answer.body[..10], frame(b"first")[..], "{order}");
        let end: Value = serde_json::from_slice(payload(&answer.body[10..], 0x02)).unwrap();
        assert_eq!(end["error"]["code"], "unavailable", "{order}");
    }
}

/// Go's and Node's servers end a body by a frame of its own, before which a deadline may pass, or they
/// may die: behind the last message's frame that is nothing to the caller.
#[tokio::test]
async fn an_answer_whose_last_frame_has_come_is_whole_whatever_comes_then() {
    let scene = scene().await;
    let client = Client::plain(scene.ravelin.plain()).await;
    let ended = |flags: u8, end: &[u8]| {
        let mut body = frame(b"hello").to_vec();
        body.extend_from_slice(&[flags, 0, 0, 0, u8::try_from(end.len()).unwrap()]);
        body.extend_from_slice(end);
        body
    };
    let web = ended(0x80, b"grpc-status:5\r\n");
    for (who, whole) in [
        (Who::Web, web.clone()),
        (Who::WebText, STANDARD.encode(web).into_bytes()),
        (Who::Web, ended(0x81, b"compressed")),
        (Who::ConnectStream, ended(0x02, b"{}")),
    ] {
        for order in ["reset-mid-body", "die-mid-body"] {
            let mut call = with(request(who, "localhost"), "x-standin-order", order);
            // Upstream dies behind half of what it was sent.
            *call.body_mut() = whole.repeat(2).into();
            let answer = soon(order, client.send(call)).await.expect(order);
            assert_eq!(answer.body, whole, "{who:?}, {order}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_web_answer_without_a_status_is_given_one() {
    let scene = scene().await;
    let client = Client::plain(scene.ravelin.plain()).await;
    for (who, text) in [(Who::Web, false), (Who::WebText, true)] {
        let mut call = with(request(who, "localhost"), "x-standin-order", "no-trailers");
        *call.uri_mut() = "http://localhost/ravelin.test.Echo/Unary".parse().unwrap();
        let answer = soon("no trailers", client.send(call)).await.unwrap();
        let message = frame(b"hello");
        let end = if text {
            let rest = answer.text().strip_prefix(&STANDARD.encode(&message));
            STANDARD.decode(rest.unwrap_or_else(|| panic!("{answer:?}"))).unwrap()
        } else {
            assert_eq!(answer.body[..10], message[..], "{answer:?}");
            answer.body[10..].to_vec()
        };
        assert!(!end.is_empty(), "{who:?}: the answer simply stopped");
        assert!(says_status(payload(&end, 0x80), 14), "{who:?}");
    }
}

#[tokio::test]
async fn a_web_answer_with_a_compressed_trailer_passes_as_it_is() {
    let scene = scene().await;
    let client = Client::plain(scene.ravelin.plain()).await;
    let mut body = frame(b"hello").to_vec();
    body.extend_from_slice(&[0x81, 0, 0, 0, 3, b'x', b'y', b'z']);
    let call = http::Request::post("http://localhost/echo")
        .header("content-type", "application/grpc-web+proto")
        .header("x-standin-order", "set-header=content-type:application/grpc-web+proto")
        .body(bytes::Bytes::from(body.clone()))
        .unwrap();
    let answer = soon("compressed trailer", client.send(call)).await.unwrap();
    assert_eq!(answer.header("content-type"), "application/grpc-web+proto");
    assert_eq!(answer.body, body);
}

#[tokio::test]
async fn what_has_no_end_of_its_own_is_reset_and_never_passes_for_whole() {
    let scene = scene().await;
    let client = Client::plain(scene.ravelin.plain()).await;
    for order in ["reset-mid-body", "die-mid-body"] {
        // In the middle of a frame nothing may be put behind it.
        let halved = with(request(Who::Web, "localhost"), "x-standin-order", order);
        let download = with(get("localhost", "/bytes/100000"), "x-standin-order", order);
        for request in [halved, download.clone()] {
            let error = soon(order, client.send(request)).await.expect_err(order);
            assert!(error.is_reset(), "{error}");
        }
        let cut = soon(order, http1(scene.ravelin.plain(), download)).await;
        assert_eq!(cut.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof, "{order}");
    }
    let stalled = with(get("idle.localhost", "/bytes/100000"), "x-standin-order", "stall");
    assert!(soon("stall", client.send(stalled.clone())).await.is_err());
    assert!(soon("stall", http1(scene.ravelin.plain(), stalled)).await.is_err());
}

#[tokio::test]
async fn grpc_over_http1_and_grpc_to_http1_are_refused_as_grpc() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("http://{}", standin.address()));
    let call = request(Who::Grpc, "localhost");
    let answer = soon("HTTP/1.1", http1(ravelin.plain(), call.clone())).await.unwrap();
    assert_eq!((answer.status(), answer.header("grpc-status")), (200, "12"), "{answer:?}");
    let client = Client::plain(ravelin.plain()).await;
    let answer = soon("to HTTP/1.1", client.send(call)).await.unwrap();
    assert_eq!((answer.status(), answer.header("grpc-status")), (200, "13"), "{answer:?}");
    assert_eq!(standin.requests().len(), 0, "nothing was sent");
}
