//! What tests of failures share: configurations, waiting for an observable, HTTP/1.1 by hand.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Ravelin;
use super::h2::Answer;

/// `https` and `plain` before one cluster; `cluster` are more keys of it (`idle: 1s`), `more` more
/// lines of the document.
pub fn config(endpoints: &[String], cluster: &str, more: &str) -> String {
    let endpoints = endpoints.join("\", \"");
    let separator = if cluster.is_empty() { "" } else { ", " };
    let access = if more.contains("access_log:") { "" } else { "access_log: {format: \"off\"}\n" };
    let shutdown = if more.contains("shutdown:") { "" } else { "shutdown: {grace: 5s}\n" };
    format!(
        "workers: 1\n\
         listeners:\n\
         \x20 - {{name: https, address: \"127.0.0.1:0\", tls: {{certificates: [{{cert: \"{{cert}}\", key: \"{{key}}\"}}]}}}}\n\
         \x20 - {{name: plain, address: \"127.0.0.1:0\"}}\n\
         routes:\n  - {{name: all, to: up}}\n\
         clusters:\n  up: {{endpoints: [\"{endpoints}\"]{separator}{cluster}}}\n\
         admin: {{address: \"127.0.0.1:0\"}}\n\
         {access}{shutdown}{more}\n"
    )
}

/// Waits until `is` holds, at most five seconds.
pub async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !is() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The outcome, which must be there within two seconds: nothing hangs.
pub async fn soon<T>(what: &str, outcome: impl Future<Output = T>) -> T {
    within(2.0, what, outcome).await
}

/// The outcome, which must be there within so many seconds.
pub async fn within<T>(seconds: f64, what: &str, outcome: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs_f64(seconds), outcome)
        .await
        .unwrap_or_else(|_| panic!("hangs: {what}"))
}

/// Drains on a thread of its own, while this one keeps its clients alive; returns how long it took.
pub async fn drained(ravelin: &Arc<Ravelin>) -> Duration {
    let (began, ravelin) = (Instant::now(), Arc::clone(ravelin));
    tokio::task::spawn_blocking(move || {
        ravelin.drain();
        ravelin.wait();
    })
    .await
    .unwrap();
    began.elapsed()
}

/// A connection that speaks HTTP/1.1 as it is told.
pub struct Http1 {
    pub io: BufReader<TcpStream>,
}

impl Http1 {
    pub async fn open(address: SocketAddr) -> Self {
        Self { io: BufReader::new(TcpStream::connect(address).await.unwrap()) }
    }

    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.io.write_all(bytes.as_ref()).await.unwrap();
    }

    /// A whole request, with a length.
    pub async fn send(&mut self, request: Request<Bytes>) {
        let (head, body) = request.into_parts();
        let mut text = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\n",
            head.method,
            head.uri.path_and_query().unwrap(),
            head.uri.authority().unwrap()
        );
        for (name, value) in &head.headers {
            text += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
        if !body.is_empty() {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        self.write(text + "\r\n").await;
        self.write(body).await;
    }

    /// A head: status and fields.
    pub async fn head(&mut self) -> io::Result<Response<()>> {
        let mut response = Response::new(());
        let status = self.line().await?;
        let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        *response.status_mut() = code.ok_or(io::ErrorKind::UnexpectedEof)?;
        *response.headers_mut() = self.fields().await?;
        Ok(response)
    }

    /// An answer, whole or not at all.
    pub async fn read(&mut self) -> io::Result<Answer> {
        let head = self.head().await?;
        let field = |name: &str| head.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
        let mut body = Vec::new();
        let mut trailers = None;
        if field("transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(&self.line().await?, 16)
                    .map_err(|_| io::ErrorKind::UnexpectedEof)?;
                if size == 0 {
                    trailers = Some(self.fields().await?);
                    break;
                }
                let mut chunk = vec![0; size + 2];
                self.io.read_exact(&mut chunk).await?;
                body.extend_from_slice(&chunk[..size]);
            }
        } else if let Some(length) = field("content-length") {
            body.resize(length.parse().unwrap(), 0);
            self.io.read_exact(&mut body).await?;
        } else if head.status() != 101 && head.status() != 204 {
            self.io.read_to_end(&mut body).await?;
        }
        Ok(Answer { head, body: body.into(), trailers })
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.io.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    async fn fields(&mut self) -> io::Result<HeaderMap> {
        let mut fields = HeaderMap::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { return Ok(fields) };
            fields.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value.trim()).unwrap(),
            );
        }
    }
}

/// One exchange on a connection of its own.
pub async fn http1(address: SocketAddr, request: Request<Bytes>) -> io::Result<Answer> {
    let mut connection = Http1::open(address).await;
    connection.send(request).await;
    connection.read().await
}

/// GET without a body, `host` as authority.
pub fn get(host: &str, path: &str) -> Request<Bytes> {
    Request::get(format!("http://{host}{path}")).body(Bytes::new()).unwrap()
}

/// POST with a body.
pub fn post(host: &str, path: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    Request::post(format!("http://{host}{path}")).body(body.into()).unwrap()
}

/// Adds a field.
pub fn with(mut request: Request<Bytes>, name: &'static str, value: &str) -> Request<Bytes> {
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

/// How long a `grpc-timeout` says, in the units that a wait of a test comes in.
pub fn grpc_timeout(value: &str) -> Duration {
    let (digits, unit) = value.split_at(value.len() - 1);
    let number: u64 = digits.parse().unwrap();
    match unit {
        "n" => Duration::from_nanos(number),
        "u" => Duration::from_micros(number),
        "m" => Duration::from_millis(number),
        "S" => Duration::from_secs(number),
        _ => panic!("{value}"),
    }
}

/// A request that asks for a WebSocket.
pub fn websocket(host: &str, path: &str) -> Request<Bytes> {
    let mut request = get(host, path);
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        request = with(request, name, value);
    }
    request
}
