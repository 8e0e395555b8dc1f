//! WebSockets, whichever way the client asks for them.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::h2::Client;
use crate::support::wire::{PATIENCE, Stream, Upstream, Wire};
use crate::support::{Ravelin, certs, standin};

async fn socket(ravelin: &Ravelin, tls: bool) -> Box<dyn Stream> {
    if tls {
        let config = certs::client(&["http/1.1"]);
        Box::new(certs::connect(ravelin.https(), "localhost", config).await.unwrap())
    } else {
        Box::new(tokio::net::TcpStream::connect(ravelin.plain()).await.unwrap())
    }
}

type Socket = WebSocketStream<Box<dyn Stream>>;

async fn open(ravelin: &Ravelin, tls: bool, path: &str) -> Result<Socket, Error> {
    let url = format!("ws://localhost{path}");
    let io = socket(ravelin, tls).await;
    timeout(PATIENCE, tokio_tungstenite::client_async(url, io)).await.unwrap().map(|(ws, _)| ws)
}

async fn next(ws: &mut Socket) -> Option<Message> {
    timeout(PATIENCE, ws.next()).await.expect("no message").map(Result::unwrap)
}

#[tokio::test]
async fn messages_of_every_size_come_back() {
    let standin = standin().await;
    for scheme in ["h2c", "http"] {
        let ravelin = Ravelin::before(&format!("{scheme}://{}", standin.address()));
        for tls in [false, true] {
            let mut ws = open(&ravelin, tls, "/ws").await.unwrap();
            for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
                let message = Message::binary(vec![7; size]);
                ws.send(message.clone()).await.unwrap();
                assert!(next(&mut ws).await == Some(message), "{size}");
            }
            // Many at once, without waiting.
            for n in 0..200 {
                ws.feed(Message::text(n.to_string())).await.unwrap();
            }
            ws.flush().await.unwrap();
            for n in 0..200 {
                assert_eq!(next(&mut ws).await, Some(Message::text(n.to_string())));
            }
            ws.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
            assert_eq!(next(&mut ws).await, Some(Message::Pong(Bytes::from_static(b"?"))));
        }
    }
}

#[tokio::test]
async fn the_client_closes_and_the_answer_reaches_it() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("http://{}", standin.address()));
    for tls in [false, true] {
        let mut ws = open(&ravelin, tls, "/ws").await.unwrap();
        let frame = CloseFrame { code: CloseCode::Away, reason: "bye".into() };
        ws.close(Some(frame.clone())).await.unwrap();
        assert_eq!(next(&mut ws).await, Some(Message::Close(Some(frame))));
        assert_eq!(next(&mut ws).await, None);
    }
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Protocol: graphql-ws\r\n";

#[tokio::test]
async fn upstream_speaks_first_and_closes_first() {
    let upstream = Upstream::start().await;
    let ravelin = Ravelin::before(&format!("http://{}", upstream.address()));
    for tls in [false, true] {
        let mut client = Wire::over(socket(&ravelin, tls).await);
        // Bytes right behind the request belong to the tunnel.
        client.send(format!("{ASK}\r\nearly")).await;
        let mut peer = upstream.accept().await;
        let asked = peer.head().await;
        assert_eq!(asked.field("sec-websocket-key"), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(asked.field("sec-websocket-protocol"), "graphql-ws");
        assert_eq!(asked.field("upgrade"), "websocket");
        assert_eq!(asked.field("connection"), "upgrade");
        // In one piece with the head, as servers do that greet.
        peer.send(format!("{SWITCH}Sec-WebSocket-Protocol: graphql-ws\r\n\r\nhello")).await;
        let head = client.head().await;
        assert_eq!((head.status(), head.field("upgrade").as_str()), (101, "websocket"));
        assert_eq!(head.field("connection").to_ascii_lowercase(), "upgrade");
        assert_eq!(head.field("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(head.field("sec-websocket-protocol"), "graphql-ws");
        assert_eq!(client.exactly(5).await, b"hello");
        assert_eq!(peer.exactly(5).await, b"early");
        // RFC 6455 §5.5.1: a close frame, 1001.
        peer.send([0x88, 2, 0x03, 0xe9]).await;
        assert_eq!(client.exactly(4).await, [0x88, 2, 0x03, 0xe9]);
        client.send("masked answer").await;
        assert_eq!(peer.exactly(13).await, b"masked answer");
        peer.finish().await;
        assert_eq!(client.rest().await, b"");
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_connection_upstream() {
    let upstream = Upstream::start().await;
    let ravelin = Ravelin::before(&format!("http://{}", upstream.address()));
    for tls in [false, true] {
        let mut client = Wire::over(socket(&ravelin, tls).await);
        client.send(format!("{ASK}\r\n")).await;
        let mut peer = upstream.accept().await;
        peer.head().await;
        peer.send(format!("{SWITCH}\r\n")).await;
        assert_eq!(client.head().await.status(), 101);
        drop(client);
        assert_eq!(peer.rest().await, b"");
    }
    for end in [false, true] {
        let client = Client::plain(ravelin.plain()).await;
        let (answer, mut stream) = client.open(connect("/ws"), false).await.unwrap();
        let mut peer = upstream.accept().await;
        assert!(peer.head().await.has("sec-websocket-key"));
        peer.send(format!("{SWITCH}\r\n")).await;
        let answer = answer.await.unwrap();
        if end {
            stream.send_data(Bytes::from_static(b"last"), true).unwrap();
            assert_eq!(peer.rest().await, b"last");
        } else {
            stream.send_reset(h2::Reason::CANCEL);
            assert_eq!(peer.rest().await, b"");
        }
        drop(answer);
    }
}

#[tokio::test]
async fn an_upstream_that_declines_is_heard() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("http://{}", standin.address()));
    for tls in [false, true] {
        let Err(Error::Http(answer)) = open(&ravelin, tls, "/bytes/3?order=status=404").await
        else {
            panic!("switched")
        };
        assert_eq!(answer.status(), 404);
        let mut client = Wire::over(socket(&ravelin, tls).await);
        client.send(format!("{}\r\n", ASK.replace("/ws", "/bytes/3?order=status=403"))).await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.body.len()), (403, 3));
    }
}

#[tokio::test]
async fn an_upstream_that_switches_to_something_else_is_not_followed() {
    let upstream = Upstream::start().await;
    let ravelin = Ravelin::before(&format!("http://{}", upstream.address()));
    let mut client = Wire::plain(ravelin.plain()).await;
    client.send(format!("{ASK}\r\n")).await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.send(SWITCH.replace("Upgrade: websocket", "Upgrade: chat") + "\r\n").await;
    assert_eq!(client.answer().await.status(), 502);
}

fn connect(path: &str) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = format!("https://localhost{path}").parse().unwrap();
    request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    request
}

/// "hi", masked with zeros.
const HI: [u8; 8] = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];

#[tokio::test]
async fn extended_connect_opens_one_too() {
    // RFC 8441
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    for client in [Client::plain(ravelin.plain()).await, Client::tls(ravelin.https()).await] {
        let (answer, mut stream) = client.open(connect("/ws"), false).await.unwrap();
        let mut answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        for name in ["connection", "upgrade", "sec-websocket-accept"] {
            assert!(!answer.headers().contains_key(name), "{name}");
        }
        for _ in 0..3 {
            stream.send_data(Bytes::copy_from_slice(&HI), false).unwrap();
            let data = timeout(PATIENCE, answer.body_mut().data()).await.unwrap();
            assert_eq!(data.unwrap().unwrap(), &[0x81, 2, b'h', b'i'][..]);
        }
        // 1000, masked with zeros; then the end of both halves.
        stream.send_data(Bytes::from_static(&[0x88, 0x82, 0, 0, 0, 0, 3, 0xe8]), true).unwrap();
        let data = timeout(PATIENCE, answer.body_mut().data()).await.unwrap();
        assert_eq!(data.unwrap().unwrap(), &[0x88, 2, 3, 0xe8][..]);
        while let Some(data) = timeout(PATIENCE, answer.body_mut().data()).await.unwrap() {
            assert!(data.unwrap().is_empty());
        }
        let declined = client.open(connect("/bytes/3?order=status=404"), false).await.unwrap();
        assert_eq!(declined.0.await.unwrap().status(), 404);
        // A success that is no switch would open the tunnel.
        let ignored = client.open(connect("/bytes/3"), false).await.unwrap();
        assert_eq!(ignored.0.await.unwrap().status(), 502);
    }
}
