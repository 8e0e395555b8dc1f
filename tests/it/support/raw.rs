//! HTTP/1.1 as bytes: what is written is what is sent.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything takes that works.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A whole answer, chunks taken out of their frames.
#[derive(Debug)]
pub struct Answer {
    pub head: String,
    pub body: String,
}

impl Answer {
    /// 0 where the connection ended without an answer.
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    pub fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .next()
            .unwrap_or("")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Writes `request` and reads until the server closes; a request says `connection: close`.
pub async fn exchange(mut io: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Answer {
    let _ = io.write_all(request).await;
    let mut bytes = Vec::new();
    // A reset after the answer, or instead of it, is an end as well.
    let read = tokio::time::timeout(PATIENCE, io.read_to_end(&mut bytes)).await;
    let _ = read.expect("the server neither answers nor closes");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len());
    let (head, body) = bytes.split_at(end);
    let body = body.get(4..).unwrap_or_default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut answer = Answer { head: text(head), body: text(body) };
    if answer.header("transfer-encoding") == "chunked" {
        answer.body = text(&unchunked(body));
    }
    answer
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(line) = body.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..line]).unwrap(), 16).unwrap();
        let rest = &body[line + 2..];
        whole.extend_from_slice(&rest[..size]);
        body = &rest[(size + 2).min(rest.len())..];
    }
    whole
}

/// `GET path` of `host` on a connection of its own, in plaintext.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> Answer {
    send(address, &[], &request("GET", host, path, "")).await
}

/// `prefix` (a PROXY header, say) and then a request.
pub async fn send(address: SocketAddr, prefix: &[u8], request: &str) -> Answer {
    let io = TcpStream::connect(address).await.unwrap();
    exchange(io, &[prefix, request.as_bytes()].concat()).await
}

/// The text of a request; `fields` are whole lines.
pub fn request(method: &str, host: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{fields}\r\n")
}

/// Asks again and again until `done` says so; the last answer.
pub async fn until<T>(ask: impl AsyncFn() -> T, done: impl Fn(&T) -> bool) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = ask().await;
        if done(&answer) {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "it does not come to it");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
