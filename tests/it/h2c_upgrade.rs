//! `Upgrade: h2c` (RFC 7540 §3.2).

use crate::support::frames::{self, Frame, Frames, headers};
use crate::support::wire::Wire;
use crate::support::{Ravelin, standin};

const ASK: &str = "Host: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";

/// The DATA of a stream, until it ends.
async fn body(client: &mut Frames, stream: u32) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let frame: Frame = client.next().await.expect("closed");
        if frame.stream == stream {
            assert_ne!(frame.kind, frames::RST_STREAM);
            if frame.kind == frames::DATA {
                body.extend(&frame.payload);
            }
            if frame.ends() {
                return body;
            }
        }
    }
}

#[tokio::test]
async fn the_request_that_asked_is_answered_as_stream_1_and_more_follow() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    let mut wire = Wire::plain(ravelin.plain()).await;
    wire.send(format!("GET /headers?x=1 HTTP/1.1\r\n{ASK}X-End: 1\r\nCookie: a=1\r\n\r\n")).await;
    let switch = wire.answer().await;
    assert_eq!(switch.status(), 101);
    assert_eq!(switch.head.field("upgrade"), "h2c");
    let mut client = Frames::over(wire, &[(3, 100)]).await;
    let first = client.next_of(frames::HEADERS).await.unwrap();
    assert_eq!((first.stream, first.status()), (1, 200));
    let seen = String::from_utf8(body(&mut client, 1).await).unwrap();
    assert!(seen.contains("\"/headers?x=1\"") && seen.contains("a=1"), "{seen}");
    let seen = &standin.requests()[0];
    assert_eq!((&*seen.authority, seen.headers["x-end"].as_bytes()), ("localhost", &b"1"[..]));
    for name in ["upgrade", "http2-settings", "connection"] {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
    for stream in [3, 5] {
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/bytes/9"),
            (":authority", "localhost"),
        ];
        client.send(headers(stream, true, &fields)).await;
        assert_eq!(body(&mut client, stream).await.len(), 9);
    }
}

#[tokio::test]
async fn preface_and_request_may_come_in_one_piece() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    let mut wire = Wire::plain(ravelin.plain()).await;
    let settings = frames::frame(frames::SETTINGS, 0, 0, []).bytes();
    let ask = format!("GET /bytes/9 HTTP/1.1\r\n{ASK}\r\n");
    wire.send([ask.as_bytes(), frames::PREFACE, &settings].concat()).await;
    assert_eq!(wire.answer().await.status(), 101);
    let mut client = Frames::begun(wire);
    assert_eq!(body(&mut client, 1).await.len(), 9);
}

#[tokio::test]
async fn a_request_with_a_body_stays_http_1_1() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    let mut wire = Wire::plain(ravelin.plain()).await;
    wire.send(format!("POST /echo HTTP/1.1\r\n{ASK}Content-Length: 4\r\n\r\nbody")).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status(), answer.text()), (200, "body"));
    assert!(!standin.requests()[0].headers.contains_key("upgrade"));
    assert_eq!(wire.get("/bytes/3").await.body.len(), 3);
}

#[tokio::test]
async fn an_incomplete_wish_and_one_over_tls_are_passed_over() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    let mut wire = Wire::tls(ravelin.https()).await;
    wire.send(format!("GET /bytes/1 HTTP/1.1\r\n{ASK}\r\n")).await;
    assert_eq!(wire.answer().await.status(), 200);
    for without in ["HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n", ", HTTP2-Settings"] {
        let mut wire = Wire::plain(ravelin.plain()).await;
        wire.send(format!("GET /bytes/1 HTTP/1.1\r\n{}\r\n", ASK.replace(without, ""))).await;
        assert_eq!(wire.answer().await.status(), 200, "without {without:?}");
    }
}

#[tokio::test]
async fn curl_upgrades() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    let url = format!("http://localhost:{}/bytes/100000", ravelin.plain().port());
    let curl = std::process::Command::new("curl")
        .args(["--http2", "--silent", "--max-time", "5", "--ipv4", "--noproxy", "*"])
        .args([
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_version} %{http_code} %{size_download}",
        ])
        .arg(url)
        .output();
    let Ok(out) = curl else {
        eprintln!("skipped: curl is not installed");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&out.stdout), "2 200 100000");
}
