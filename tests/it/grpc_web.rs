//! gRPC-Web before a server that speaks gRPC alone: both formats, over both HTTP versions, piece by
//! piece, and every way in which a call ends.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use ravelin::standin::Standin;

use crate::support::echo::{DETAILS, Upstream};
use crate::support::faults::{grpc_timeout, http1, post, soon, with, within};
use crate::support::h2::{Answer, Client, frame};
use crate::support::wire::Wire;
use crate::support::{Ravelin, standin};

const UNARY: &str = "/ravelin.test.Echo/Unary";
const BIDI: &str = "/ravelin.test.Echo/Bidi";
const BINARY: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text+proto";

/// `https` and `plain` before `upstream`; `more` are keys of the route.
fn before(upstream: std::net::SocketAddr, more: &str) -> Ravelin {
    Ravelin::start(&format!(
        "workers: 1\n\
         listeners:\n\
         \x20 - {{name: https, address: \"127.0.0.1:0\", tls: {{certificates: [{{cert: \"{{cert}}\", key: \"{{key}}\"}}]}}}}\n\
         \x20 - {{name: plain, address: \"127.0.0.1:0\"}}\n\
         routes:\n\
         \x20 - {{match: {{host: pass.localhost}}, to: up}}\n\
         \x20 - {{to: up, grpc_web: translate{more}}}\n\
         clusters:\n  up: {{endpoints: \"h2c://{upstream}\"}}\n\
         admin: \"off\"\naccess_log: {{format: \"off\"}}\nshutdown: {{grace: 1s}}\n"
    ))
}

async fn stage() -> (Standin, Ravelin) {
    let standin = standin().await;
    let ravelin = before(standin.address(), "");
    (standin, ravelin)
}

fn is_text(media: &str) -> bool {
    media.contains("-text")
}

/// `body` as this format carries it.
fn written(media: &str, body: &[u8]) -> Bytes {
    if is_text(media) { STANDARD.encode(body).into() } else { Bytes::copy_from_slice(body) }
}

fn call(media: &str, path: &str, body: &[u8]) -> Request<Bytes> {
    let call = with(post("localhost", path, written(media, body)), "content-type", media);
    with(call, "x-grpc-web", "1")
}

/// What base64 stands for, padded wherever its sender flushed.
fn unwritten(media: &str, body: &[u8]) -> Vec<u8> {
    if !is_text(media) {
        return body.to_vec();
    }
    assert_eq!(body.len() % 4, 0, "half a group of base64");
    body.chunks(4).flat_map(|group| STANDARD.decode(group).unwrap()).collect()
}

/// The messages of an answer and the lines of its last frame.
fn parts(media: &str, body: &[u8]) -> (Vec<Vec<u8>>, String) {
    let bytes = unwritten(media, body);
    let (mut rest, mut messages) = (&bytes[..], Vec::new());
    loop {
        let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
        let payload = rest[5..5 + length].to_vec();
        let after = &rest[5 + length..];
        if rest[0] == 0x80 {
            assert!(after.is_empty(), "something behind the trailers");
            return (messages, String::from_utf8(payload).unwrap());
        }
        assert_eq!(rest[0], 0);
        messages.push(payload);
        rest = after;
    }
}

/// The same call over both HTTP versions, with TLS and without.
async fn everywhere(ravelin: &Ravelin, request: Request<Bytes>) -> Vec<(&'static str, Answer)> {
    let tls = Client::tls(ravelin.https()).await;
    let plain = Client::plain(ravelin.plain()).await;
    vec![
        ("h2", within(10.0, "h2", tls.send(request.clone())).await.unwrap()),
        ("h2c", within(10.0, "h2c", plain.send(request.clone())).await.unwrap()),
        ("HTTP/1.1", within(10.0, "HTTP/1.1", http1(ravelin.plain(), request)).await.unwrap()),
    ]
}

fn status(lines: &str) -> &str {
    let status = lines.lines().find_map(|line| line.strip_prefix("grpc-status: "));
    status.unwrap_or_else(|| panic!("no status: {lines:?}"))
}

#[tokio::test]
async fn a_unary_call_is_grpc_upstream_and_grpc_web_again() {
    let (standin, ravelin) = stage().await;
    for (media, up) in [
        ("application/grpc-web", "application/grpc"),
        (BINARY, "application/grpc+proto"),
        ("application/grpc-web+json", "application/grpc+json"),
        ("application/grpc-web-text", "application/grpc"),
        (TEXT, "application/grpc+proto"),
    ] {
        let request = with(call(media, UNARY, &frame(b"hello")), "x-echo-head", "h");
        let request = with(request, "x-echo-trailer-end", "t");
        let request = with(with(request, "grpc-timeout", "30S"), "accept", media);
        for (way, answer) in everywhere(&ravelin, request).await {
            let at = format!("{way}, {media}: {answer:?}");
            assert_eq!((answer.status(), answer.header("content-type")), (200, media), "{at}");
            assert_eq!(answer.header("x-echo-head"), "h", "{at}");
            assert_eq!(answer.header("trailer"), "", "{at}");
            assert_eq!(answer.header("grpc-status"), "", "{at}");
            assert!(answer.trailers.is_none_or(|trailers| trailers.is_empty()), "{at}");
            let (messages, lines) = parts(media, &answer.body);
            assert_eq!(messages, [b"hello"], "{at}");
            assert_eq!(status(&lines), "0", "{at}");
            assert!(lines.contains("x-echo-trailer-end: t\r\n"), "{at}");
        }
        let seen = standin.requests().pop().unwrap();
        assert_eq!(seen.version, http::Version::HTTP_2);
        assert_eq!(seen.headers["content-type"], up);
        assert_eq!(seen.headers["te"], "trailers");
        let left = grpc_timeout(seen.headers["grpc-timeout"].to_str().unwrap());
        assert!(Duration::from_secs(25) < left && left < Duration::from_secs(30), "{seen:?}");
        for gone in ["content-length", "x-grpc-web", "accept"] {
            assert!(!seen.headers.contains_key(gone), "{gone}");
        }
        assert_eq!(seen.body, Some(10));
    }
}

#[tokio::test]
async fn messages_pass_one_by_one_in_both_directions() {
    let (_standin, ravelin) = stage().await;
    let client = Client::plain(ravelin.plain()).await;
    for media in [BINARY, TEXT] {
        let (head, _) = call(media, BIDI, b"").into_parts();
        let (answer, mut send) = client.open(Request::from_parts(head, ()), false).await.unwrap();
        send.send_data(written(media, &frame(b"first")), false).unwrap();
        let mut body = soon(media, answer).await.unwrap().into_body();
        // The second is said only when the first has been heard.
        for message in ["first", "2nd"] {
            let whole = written(media, &frame(message.as_bytes()));
            let mut heard = Vec::new();
            while heard.len() < whole.len() {
                let data = soon(message, body.data()).await.unwrap().unwrap();
                let _ = body.flow_control().release_capacity(data.len());
                heard.extend_from_slice(&data);
            }
            assert_eq!(heard, whole, "{media}");
            let end = message == "2nd";
            let next = if end { Bytes::new() } else { written(media, &frame(b"2nd")) };
            send.send_data(next, end).unwrap();
        }
        let mut rest = Vec::new();
        while let Some(data) = soon("the end", body.data()).await {
            rest.extend_from_slice(&data.unwrap());
        }
        assert_eq!(status(&parts(media, &rest).1), "0", "{media}");
    }
}

#[tokio::test]
async fn messages_pass_one_by_one_over_http1() {
    let (_standin, ravelin) = stage().await;
    for media in [BINARY, TEXT] {
        let mut wire = Wire::plain(ravelin.plain()).await;
        let chunk =
            |bytes: &[u8]| [format!("{:X}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        wire.send(format!(
            "POST {BIDI} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}\r\nTransfer-Encoding: chunked\r\n\r\n"
        ))
        .await;
        wire.send(chunk(&written(media, &frame(b"first")))).await;
        let head = wire.head().await;
        assert_eq!((head.status(), head.field("content-type")), (200, media.to_owned()));
        for message in ["first", "2nd"] {
            let whole = chunk(&written(media, &frame(message.as_bytes())));
            assert_eq!(wire.exactly(whole.len()).await, whole, "{media}");
            if message == "first" {
                wire.send(chunk(&written(media, &frame(b"2nd")))).await;
            }
        }
        wire.send("0\r\n\r\n").await;
        let (rest, trailers) = wire.chunked().await;
        assert_eq!(status(&parts(media, &rest).1), "0", "{media}");
        assert!(trailers.is_empty());
    }
}

#[tokio::test]
async fn a_server_stream_comes_whole_and_in_its_frames() {
    let (_standin, ravelin) = stage().await;
    for media in [BINARY, TEXT] {
        let order = frame(b"count=200,size=7");
        let request = call(media, "/ravelin.test.Echo/ServerStream", &order);
        for (way, answer) in everywhere(&ravelin, request).await {
            let (messages, lines) = parts(media, &answer.body);
            assert_eq!(messages, vec![b"xxxxxxx"; 200], "{way}, {media}");
            assert_eq!(status(&lines), "0");
        }
    }
}

#[tokio::test]
async fn large_messages_go_there_and_back() {
    let (_standin, ravelin) = stage().await;
    let message: Vec<u8> = (0..3 << 20).map(|i: u32| (i * 31 + (i >> 8) * 7) as u8).collect();
    for media in [BINARY, TEXT] {
        for (way, answer) in everywhere(&ravelin, call(media, UNARY, &frame(&message))).await {
            let (messages, lines) = parts(media, &answer.body);
            assert_eq!(status(&lines), "0");
            assert!(messages == [message.as_slice()], "{way}, {media}: another message");
        }
    }
}

#[tokio::test]
async fn an_error_behind_messages_is_the_last_frame() {
    let (_standin, ravelin) = stage().await;
    for media in [BINARY, TEXT] {
        let request = with(call(media, UNARY, &frame(b"hello")), "x-echo-status", "9");
        for (way, answer) in everywhere(&ravelin, request).await {
            let (messages, lines) = parts(media, &answer.body);
            assert_eq!(messages, [b"hello"], "{way}, {media}");
            assert_eq!(lines, "grpc-status: 9\r\ngrpc-message: as asked\r\n", "{way}, {media}");
        }
    }
}

/// tonic's server, which sends errors as Trailers-Only, metadata included.
#[tokio::test]
async fn trailers_only_becomes_the_one_frame_of_the_body() {
    let server = Upstream::start().await;
    let ravelin = before(server.h2c, "");
    let ping =
        crate::support::echo_service::Ping { order: "fail".to_owned(), ..Default::default() };
    let message = frame(&prost::Message::encode_to_vec(&ping));
    for media in [BINARY, TEXT] {
        let request = call(media, "/ravelin.interop.Echo/Unary", &message);
        for (way, answer) in everywhere(&ravelin, request).await {
            let at = format!("{way}, {media}: {answer:?}");
            assert_eq!((answer.status(), answer.header("content-type")), (200, media), "{at}");
            for gone in ["grpc-status", "grpc-message", "grpc-status-details-bin", "x-reason"] {
                assert_eq!(answer.header(gone), "", "{at}");
            }
            let (messages, lines) = parts(media, &answer.body);
            assert!(messages.is_empty(), "{at}");
            assert_eq!(status(&lines), "9", "{at}");
            assert!(lines.contains("x-reason: asked\r\n"), "{at}");
            let details = base64::engine::general_purpose::STANDARD_NO_PAD.encode(DETAILS);
            assert!(lines.contains(&format!("grpc-status-details-bin: {details}")), "{at}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_between_messages_ends_with_14() {
    let (standin, _) = stage().await;
    let ravelin = before(standin.address(), ", timeouts: {idle: 300ms}");
    // Half of what Bidi gives back is exactly the first of two messages.
    let two = [frame(b"first"), frame(b"other")].concat();
    for media in [BINARY, TEXT] {
        for (order, body, heard) in [
            ("reset-mid-body", &two[..], 1),
            ("die-mid-body", &two[..], 1),
            ("no-trailers", &two[..], 2),
            ("stall", &two[..], 0),
        ] {
            let request = with(call(media, BIDI, body), "x-standin-order", order);
            for (way, answer) in everywhere(&ravelin, request).await {
                let (messages, lines) = parts(media, &answer.body);
                assert_eq!(messages.len(), heard, "{way}, {media}, {order}");
                assert_eq!(status(&lines), "14", "{way}, {media}, {order}");
                assert!(lines.contains("grpc-message: "), "{order}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_within_a_message_is_reset() {
    let (_standin, ravelin) = stage().await;
    let client = Client::plain(ravelin.plain()).await;
    for media in [BINARY, TEXT] {
        let request =
            with(call(media, UNARY, &frame(b"hello")), "x-standin-order", "reset-mid-body");
        let error = soon(media, client.send(request)).await.expect_err(media);
        assert!(error.is_reset(), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_grpc_is_a_status() {
    let (_standin, ravelin) = stage().await;
    for media in [BINARY, TEXT] {
        for (path, order, code) in [
            ("/zitadel.user.v2.UserService/Nonsense", "", "12"),
            (UNARY, "status=503", "14"),
            (UNARY, "status=401", "16"),
            ("/bytes/100000", "", "2"),
        ] {
            let mut request = call(media, path, &frame(b"hello"));
            if !order.is_empty() {
                request = with(request, "x-standin-order", order);
            }
            for (way, answer) in everywhere(&ravelin, request).await {
                let at = format!("{way}, {media}, {path} {order}");
                assert_eq!((answer.status(), answer.header("content-type")), (200, media), "{at}");
                let (messages, lines) = parts(media, &answer.body);
                assert!(messages.is_empty(), "{at}");
                assert_eq!(status(&lines), code, "{at}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_base64_is_refused_and_cancelled_upstream() {
    let (standin, ravelin) = stage().await;
    for sent in ["AAAA!AAA", "AAAAB", "AAA"] {
        let request = with(post("localhost", UNARY, sent), "content-type", TEXT);
        for (way, answer) in everywhere(&ravelin, request).await {
            let (messages, lines) = parts(TEXT, &answer.body);
            assert!(messages.is_empty(), "{way}, {sent}");
            assert_eq!(status(&lines), "3", "{way}, {sent}");
        }
    }
    soon("nothing stays upstream", standin.wait_for_in_flight(0)).await;
}

#[tokio::test]
async fn nothing_but_grpc_web_is_translated_and_only_where_it_is_asked_for() {
    let (standin, ravelin) = stage().await;
    let client = Client::plain(ravelin.plain()).await;
    let native = client.grpc(UNARY, &[], b"hello").await.unwrap();
    assert_eq!(native.header("content-type"), "application/grpc");
    assert_eq!((&native.body, native.trailer("grpc-status")), (&frame(b"hello"), "0"));
    for media in ["application/json", "application/connect+json", "application/octet-stream"] {
        let request = with(post("localhost", "/echo", "{}"), "content-type", media);
        let answer = client.send(request).await.unwrap();
        assert_eq!((answer.header("content-type"), answer.text()), (media, "{}"));
    }
    for media in [BINARY, TEXT] {
        let mut request = call(media, UNARY, &frame(b"hello"));
        *request.uri_mut() = format!("http://pass.localhost{UNARY}").parse().unwrap();
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.header("content-type"), media);
        let seen = standin.requests().pop().unwrap();
        assert_eq!(seen.headers["content-type"], media);
        assert!(!seen.headers.contains_key("te"));
    }
}
