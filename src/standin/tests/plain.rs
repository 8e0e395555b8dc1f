//! The helpers of plain HTTP, and WebSocket.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::{ask, connect, exchange, raw, read, request, start};
use crate::standin::websocket::accept;

#[tokio::test]
async fn echo_gives_body_and_trailers_back_over_both_versions() {
    let standin = start().await;
    let mut send = connect(standin.address()).await;
    let (response, mut stream) = send.send_request(request("POST", "/echo", &[]), false).unwrap();
    stream.send_data(Bytes::from_static(b"body"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "42".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "body");
    assert_eq!(body.trailers().await.unwrap().unwrap()["x-sum"], "42");

    let answer = raw(
        standin.address(),
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n",
    )
    .await;
    assert!(
        answer.contains("body") && answer.to_ascii_lowercase().contains("x-sum: 42"),
        "{answer}"
    );
}

#[tokio::test]
async fn sizes_are_as_asked() {
    let standin = start().await;
    assert_eq!(read(&standin, "/bytes/3000000", &[]).await.body.len(), 3_000_000);
    assert_eq!(ask(&standin, "POST", "/sink", &[], &[0; 70_000]).await.text(), "{\"bytes\":70000}");
    let got = read(&standin, "/big-headers/10000", &[]).await;
    assert_eq!(
        got.head.headers().get_all("x-big").iter().map(http::HeaderValue::len).sum::<usize>(),
        10_000
    );
    assert_eq!(
        read(&standin, "/sse?n=2", &[]).await.text(),
        "id: 0\ndata: tick 0\n\nid: 1\ndata: tick 1\n\n"
    );
}

#[tokio::test]
async fn a_100_comes_when_reading_begins_and_not_before_a_refusal() {
    let standin = start().await;
    let head = |path| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
    };
    let mut stream = TcpStream::connect(standin.address()).await.unwrap();
    stream.write_all(head("/continue").as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"ab").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("{\"bytes\":2}"), "{rest}");
    assert!(raw(standin.address(), &head("/continue/reject")).await.starts_with("HTTP/1.1 417 "));
}

#[tokio::test]
async fn over_http2_hints_and_continues_come_before_the_head() {
    let standin = start().await;
    let mut send = connect(standin.address()).await;
    let (mut response, _) = send.send_request(request("GET", "/early-hints", &[]), true).unwrap();
    let hint = std::future::poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
    assert_eq!((hint.status().as_u16(), hint.headers().contains_key("link")), (103, true));
    assert_eq!(response.await.unwrap().status(), 200);

    let (mut response, mut stream) =
        send.send_request(request("POST", "/continue", &["expect: 100-continue"]), false).unwrap();
    let interim =
        std::future::poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
    assert_eq!(interim.status(), 100);
    stream.send_data(Bytes::from_static(b"ab"), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
}

#[tokio::test]
async fn headers_tells_what_arrived() {
    let standin = start().await;
    let send = connect(standin.address()).await;
    let got =
        exchange(&send, request("GET", "/headers?q", &["x-a: 1", "x-a: 2"]), b"").await.unwrap();
    let told: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(
        (&told["authority"], &told["version"]),
        (&"localhost:8443".into(), &"HTTP/2.0".into())
    );
    assert_eq!(told["headers"], serde_json::json!([["x-a", "1"], ["x-a", "2"]]));
}

#[tokio::test]
async fn a_websocket_client_gets_its_messages_back() {
    let standin = start().await;
    let stream = TcpStream::connect(standin.address()).await.unwrap();
    let (mut socket, _) =
        tokio_tungstenite::client_async("ws://localhost/ws", stream).await.unwrap();
    for size in [0, 5, 126, 70_000] {
        let message = Message::text("m".repeat(size));
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    standin.wait_for_connections(0).await;
}

#[test]
fn the_accept_key_is_that_of_rfc_6455() {
    assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}
