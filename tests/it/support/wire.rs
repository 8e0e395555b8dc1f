//! Bytes both ways, for HTTP/1.1 on either side: every head, chunk and close is seen as it comes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::certs;

/// After so long a test has failed rather than waited.
pub const PATIENCE: Duration = Duration::from_secs(5);

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One end of a connection.
pub struct Wire {
    io: Box<dyn Stream>,
    buffer: BytesMut,
}

/// The head of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    pub line: String,
    pub fields: Vec<(String, String)>,
}

impl Head {
    pub fn status(&self) -> u16 {
        self.line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// All values of a field, joined by ", "; "" where there is none.
    pub fn field(&self, name: &str) -> String {
        let values = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ")
    }

    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }
}

/// A whole answer, and the interim ones before it.
#[derive(Clone, Debug)]
pub struct Answer {
    pub interim: Vec<Head>,
    pub head: Head,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Wire {
    pub fn over(io: impl Stream + 'static) -> Self {
        Self { io: Box::new(io), buffer: BytesMut::new() }
    }

    pub async fn plain(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self::over(socket)
    }

    /// Over TLS, as localhost, with ALPN http/1.1.
    pub async fn tls(address: SocketAddr) -> Self {
        let config = certs::client(&["http/1.1"]);
        Self::over(certs::connect(address, "localhost", config).await.unwrap())
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(PATIENCE, async {
            self.io.write_all(bytes.as_ref()).await.unwrap();
            self.io.flush().await.unwrap();
        })
        .await
        .expect("nobody takes what is sent");
    }

    /// The same to someone who may have left.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = timeout(PATIENCE, async {
            self.io.write_all(bytes.as_ref()).await?;
            self.io.flush().await
        })
        .await
        .expect("nobody takes what is sent");
    }

    /// Ends the sending half.
    pub async fn finish(&mut self) {
        self.io.shutdown().await.unwrap();
    }

    /// Reads once; `false` at the end.
    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.io.read_buf(&mut self.buffer));
        matches!(read.await.expect("nothing comes"), Ok(n) if n > 0)
    }

    /// What comes until the other side closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.buffer).to_vec()
    }

    /// What has come when the other side closes, and whether it does within `within`.
    pub async fn closes(&mut self, within: Duration) -> (Vec<u8>, bool) {
        let closed = timeout(within, async { while self.more().await {} }).await.is_ok();
        (std::mem::take(&mut self.buffer).to_vec(), closed)
    }

    pub async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.split_to(end + 2);
                return String::from_utf8_lossy(&line[..end]).into_owned();
            }
            assert!(self.more().await, "closed within a line: {:?}", self.buffer);
        }
    }

    pub async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.more().await, "closed after {} of {count} bytes", self.buffer.len());
        }
        self.buffer.split_to(count).to_vec()
    }

    /// So many bytes, or fewer at the end.
    pub async fn up_to(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count && self.more().await {}
        let count = count.min(self.buffer.len());
        self.buffer.split_to(count).to_vec()
    }

    async fn fields(&mut self) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        loop {
            let line = self.line().await;
            if line.is_empty() {
                return fields;
            }
            let (name, value) = line.split_once(':').unwrap();
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    pub async fn head(&mut self) -> Head {
        let line = self.line().await;
        Head { line, fields: self.fields().await }
    }

    /// A chunked body and its trailers.
    pub async fn chunked(&mut self) -> (Vec<u8>, Vec<(String, String)>) {
        let mut body = Vec::new();
        loop {
            let size = self.line().await;
            let size = usize::from_str_radix(size.split(';').next().unwrap(), 16).unwrap();
            if size == 0 {
                return (body, self.fields().await);
            }
            body.extend(self.exactly(size).await);
            assert_eq!(self.line().await, "");
        }
    }

    /// The body that belongs to `head`.
    pub async fn body(&mut self, head: &Head) -> (Vec<u8>, Vec<(String, String)>) {
        if head.field("transfer-encoding") == "chunked" {
            assert!(!head.has("content-length"), "{head:?}");
            return self.chunked().await;
        }
        match head.field("content-length").parse() {
            Ok(length) => (self.exactly(length).await, Vec::new()),
            Err(_) if head.line.starts_with("HTTP/") => (self.rest().await, Vec::new()),
            Err(_) => (Vec::new(), Vec::new()),
        }
    }

    /// The answer to anything but HEAD.
    pub async fn answer(&mut self) -> Answer {
        let mut interim = Vec::new();
        loop {
            let head = self.head().await;
            if head.status() < 200 && head.status() != 101 {
                interim.push(head);
                continue;
            }
            let bodiless = matches!(head.status(), 101 | 204 | 304);
            let (body, trailers) =
                if bodiless { Default::default() } else { self.body(&head).await };
            return Answer { interim, head, body, trailers };
        }
    }

    /// GET with this path, and its answer.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        self.answer().await
    }
}

/// A server whose every byte the test says.
pub struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    pub async fn start() -> Self {
        Self { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap() }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub async fn accept_socket(&self) -> TcpStream {
        let accepted = timeout(PATIENCE, self.listener.accept()).await;
        accepted.expect("nobody connects").unwrap().0
    }

    pub async fn accept(&self) -> Wire {
        Wire::over(self.accept_socket().await)
    }
}
