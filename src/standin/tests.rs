//! The stand-in seen from a client that is none of Ravelin's code: h2's client and raw TCP.

mod life;
mod orders;
mod plain;
mod rpc;
mod web;

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Options, Standin};

async fn start() -> Standin {
    Standin::start(Options::default()).await.unwrap()
}

/// An HTTP/2 connection by prior knowledge, driven in the background.
async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    send.ready().await.unwrap()
}

/// An answer read to its end.
struct Got {
    head: Response<()>,
    body: Bytes,
    trailers: HeaderMap,
}

impl Got {
    fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    fn header(&self, name: &str) -> &str {
        self.head.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn trailer(&self, name: &str) -> &str {
        self.trailers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A request to be sent over HTTP/2; headers as `Name: value`.
fn request(method: &str, target: &str, headers: &[&str]) -> Request<()> {
    let mut host = "localhost:8443";
    let mut builder = Request::builder().method(method).version(Version::HTTP_2);
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        if name == "host" {
            host = value;
        } else {
            builder = builder.header(name, value);
        }
    }
    builder.uri(format!("http://{host}{target}")).body(()).unwrap()
}

async fn exchange(
    send: &SendRequest<Bytes>,
    request: Request<()>,
    body: &[u8],
) -> Result<Got, h2::Error> {
    let mut send = send.clone().ready().await?;
    let (response, mut stream) = send.send_request(request, false)?;
    stream.send_data(Bytes::copy_from_slice(body), true)?;
    let (head, mut incoming) = response.await?.into_parts();
    let mut whole = Vec::new();
    while let Some(data) = incoming.data().await {
        let data = data?;
        incoming.flow_control().release_capacity(data.len())?;
        whole.extend_from_slice(&data);
    }
    let trailers = incoming.trailers().await?.unwrap_or_default();
    Ok(Got { head: Response::from_parts(head, ()), body: whole.into(), trailers })
}

/// One request over a connection of its own.
async fn ask(standin: &Standin, method: &str, target: &str, headers: &[&str], body: &[u8]) -> Got {
    let send = connect(standin.address()).await;
    exchange(&send, request(method, target, headers), body).await.unwrap()
}

async fn read(standin: &Standin, target: &str, headers: &[&str]) -> Got {
    ask(standin, "GET", target, headers, b"").await
}

/// Bytes over TCP, and all that comes back until the other side closes.
async fn raw(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A gRPC message with its prefix.
fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(message);
    frame
}
