//! A tonic server of the echo service on a thread of its own, over h2c and over TLS, and tonic
//! channels to it through Ravelin by every combination of legs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tonic::codegen::{BoxFuture, BoxStream, Context, Pin, Poll, Service, async_trait, http};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};

use super::echo_service::{self, Echo, EchoClient, EchoServer, Ping, Pong};
use super::{Ravelin, certs};

/// Front and upstream leg, by the name of Ravelin's listener.
pub const WAYS: [&str; 4] = ["tls-h2c", "tls-tls", "plain-h2c", "plain-tls"];

/// The details that a failing call carries: bytes that are neither text nor a whole protobuf.
pub const DETAILS: &[u8] = &[0, 0xff, b'\n', 0x80, 7, 0, 0];
/// The message that it carries: what percent-encoding is for.
pub const MESSAGE: &str = "100% naïve –\nnext line";

/// A server, Ravelin before it, and one channel for each way.
pub struct Stage {
    pub server: Upstream,
    pub ravelin: Ravelin,
}

impl Stage {
    pub async fn new() -> Self {
        let server = Upstream::start().await;
        let ravelin = Ravelin::start(&configuration(&server));
        Self { server, ravelin }
    }

    /// A client on a connection of its own.
    pub async fn client(&self, way: &str) -> EchoClient<Channel> {
        EchoClient::new(self.channel(way).await)
    }

    pub async fn channel(&self, way: &str) -> Channel {
        let address = self.ravelin.address(way);
        Endpoint::from_shared(format!("http://localhost:{}", address.port()))
            .unwrap()
            .http2_max_header_list_size(256 * 1024)
            .connect_with_connector(Dial { address, tls: way.starts_with("tls") })
            .await
            .unwrap()
    }

    /// A client for each way.
    pub async fn clients(&self) -> Vec<(&'static str, EchoClient<Channel>)> {
        let mut clients = Vec::new();
        for way in WAYS {
            clients.push((way, self.client(way).await));
        }
        clients
    }
}

fn configuration(server: &Upstream) -> String {
    let (h2c, tls) = (server.h2c, server.tls);
    let secure = "tls: {certificates: [{cert: \"{cert}\", key: \"{key}\"}]}";
    format!(
        "workers: 1\n\
         listeners:\n\
         \x20 - {{name: tls-h2c, address: \"127.0.0.1:0\", {secure}}}\n\
         \x20 - {{name: tls-tls, address: \"127.0.0.1:0\", {secure}}}\n\
         \x20 - {{name: plain-h2c, address: \"127.0.0.1:0\"}}\n\
         \x20 - {{name: plain-tls, address: \"127.0.0.1:0\"}}\n\
         routes:\n\
         \x20 - {{match: {{listeners: [tls-h2c, plain-h2c]}}, to: plain}}\n\
         \x20 - {{match: {{listeners: [tls-tls, plain-tls]}}, to: secure}}\n\
         clusters:\n\
         \x20 plain: {{endpoints: [\"h2c://{h2c}\"]}}\n\
         \x20 secure: {{endpoints: [\"h2://{tls}\"], tls: {{ca: \"{{ca}}\"}}}}\n\
         admin: {{address: \"off\"}}\n\
         access_log: {{format: \"off\"}}\n\
         shutdown: {{grace: 5s}}\n"
    )
}

/// Dials Ravelin for a tonic channel; tonic's own TLS would need another set of features.
struct Dial {
    address: SocketAddr,
    tls: bool,
}

impl Service<http::Uri> for Dial {
    type Response = TokioIo<Pin<Box<dyn Wire>>>;
    type Error = std::io::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let (address, tls) = (self.address, self.tls);
        Box::pin(async move {
            let wire: Pin<Box<dyn Wire>> = if tls {
                Box::pin(certs::connect(address, "localhost", certs::client(&["h2"])).await?)
            } else {
                Box::pin(TcpStream::connect(address).await?)
            };
            Ok(TokioIo::new(wire))
        })
    }
}

/// Any connection.
pub trait Wire: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Wire for T {}

/// What the server sees, and what it is told.
pub struct Seen {
    /// Metadata of every call, in order.
    pub metadata: Mutex<Vec<MetadataMap>>,
    /// Calls that wait now.
    pub waiting: watch::Sender<usize>,
    /// Calls that were dropped before they had an answer.
    pub dropped: watch::Sender<usize>,
    /// Opened: those that wait at the gate answer.
    pub gate: watch::Sender<bool>,
    /// Connections accepted.
    pub connections: watch::Sender<usize>,
}

impl Seen {
    fn new() -> Self {
        Self {
            metadata: Mutex::default(),
            waiting: watch::Sender::new(0),
            dropped: watch::Sender::new(0),
            gate: watch::Sender::new(false),
            connections: watch::Sender::new(0),
        }
    }
}

/// Waits until what is counted is at least `n`.
pub async fn reaches(count: &watch::Sender<usize>, n: usize) {
    let mut count = count.subscribe();
    let reached = tokio::time::timeout(Duration::from_secs(10), count.wait_for(|now| *now >= n));
    assert!(reached.await.is_ok(), "{n} was not reached in time: {}", *count.borrow());
}

/// A call that waits; whether it was dropped is seen.
struct Waiting {
    seen: Arc<Seen>,
    answered: bool,
}

impl Waiting {
    fn new(seen: &Arc<Seen>) -> Self {
        seen.waiting.send_modify(|waiting| *waiting += 1);
        Self { seen: Arc::clone(seen), answered: false }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.seen.waiting.send_modify(|waiting| *waiting -= 1);
        if !self.answered {
            self.seen.dropped.send_modify(|dropped| *dropped += 1);
        }
    }
}

/// The server, which ends when it is killed or dropped.
pub struct Upstream {
    pub h2c: SocketAddr,
    pub tls: SocketAddr,
    pub seen: Arc<Seen>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Upstream {
    pub async fn start() -> Self {
        let (tell, told) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let seen = Arc::new(Seen::new());
        let state = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let secure = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let addresses = (plain.local_addr().unwrap(), secure.local_addr().unwrap());
                tokio::spawn(serve(plain, None, Arc::clone(&state)));
                tokio::spawn(serve(secure, Some(acceptor()), state));
                tell.send(addresses).unwrap();
                let _ = stopped.await;
            });
            // The end of a process: connections close where they stand.
            drop(runtime);
        });
        let (h2c, tls) = told.await.unwrap();
        let (stop, thread) = (Mutex::new(Some(stop)), Mutex::new(Some(thread)));
        Self { h2c, tls, seen, stop, thread }
    }

    /// Ends it without a word; on return its sockets are closed.
    pub fn kill(&self) {
        self.stop.lock().unwrap().take();
        if let Some(thread) = self.thread.lock().unwrap().take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.kill();
    }
}

fn acceptor() -> tokio_rustls::TlsAcceptor {
    static PAIR: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    let (cert, key) = PAIR.get_or_init(|| certs::pair("echo", &["localhost", "127.0.0.1"]));
    let chain = CertificateDer::pem_file_iter(cert).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config).into()
}

/// A connection to tonic's server.
struct Accepted(Pin<Box<dyn Wire>>);

impl Connected for Accepted {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.0.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.0.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.0.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.0.as_mut().poll_shutdown(cx)
    }
}

async fn serve(listener: TcpListener, tls: Option<tokio_rustls::TlsAcceptor>, seen: Arc<Seen>) {
    let state = Arc::clone(&seen);
    let incoming = stream::unfold((listener, tls), move |(listener, tls)| {
        let seen = Arc::clone(&state);
        async move {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            seen.connections.send_modify(|connections| *connections += 1);
            let wire: std::io::Result<Pin<Box<dyn Wire>>> = match &tls {
                None => Ok(Box::pin(socket)),
                Some(tls) => tls.accept(socket).await.map(|stream| Box::pin(stream) as _),
            };
            Some((wire.map(Accepted), (listener, tls)))
        }
    });
    let reflection = tonic_reflection::server::Builder::configure()
        .register_file_descriptor_set(echo_service::descriptor())
        .build_v1()
        .unwrap();
    let echo = EchoServer::new(Arc::new(Echoing { seen }));
    tonic::transport::Server::builder()
        .max_concurrent_streams(250)
        .http2_max_header_list_size(256 * 1024)
        .serve_with_incoming(Both { echo, reflection }, incoming)
        .await
        .unwrap();
}

/// The echo service and reflection, by path.
#[derive(Clone)]
struct Both<E, R> {
    echo: E,
    reflection: R,
}

impl<E, R> Service<http::Request<tonic::body::Body>> for Both<E, R>
where
    E: Service<http::Request<tonic::body::Body>>,
    R: Service<
            http::Request<tonic::body::Body>,
            Response = E::Response,
            Error = E::Error,
            Future = E::Future,
        >,
{
    type Response = E::Response;
    type Error = E::Error;
    type Future = E::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        if request.uri().path().starts_with("/grpc.reflection.") {
            self.reflection.call(request)
        } else {
            self.echo.call(request)
        }
    }
}

/// The service. Orders (`Ping::order`): `fail`, `wait` for ever, `gate` (wait until it opens),
/// `large` (a payload of `count` bytes), `metadata` (`count` bytes of it), `early`, `after`.
struct Echoing {
    seen: Arc<Seen>,
}

impl Echoing {
    fn note<T>(&self, request: &Request<T>) -> MetadataMap {
        let metadata = request.metadata().clone();
        self.seen.metadata.lock().unwrap().push(metadata.clone());
        metadata
    }
}

/// The call's own metadata (`x-…`) as the answer's.
fn back<T>(metadata: &MetadataMap, message: T) -> Response<T> {
    let mut response = Response::new(message);
    let headers = metadata.clone().into_headers();
    let own = headers.iter().filter(|(name, _)| name.as_str().starts_with("x-own-"));
    let own = own.map(|(name, value)| (name.clone(), value.clone()));
    *response.metadata_mut() = MetadataMap::from_headers(own.collect());
    response
}

/// A failure with everything that one can carry.
fn failure() -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("x-reason", "asked".parse().unwrap());
    metadata.insert_bin("x-raw-bin", MetadataValue::from_bytes(DETAILS));
    Status::with_details_and_metadata(
        Code::FailedPrecondition,
        MESSAGE,
        Bytes::from_static(DETAILS),
        metadata,
    )
}

fn pong(payload: impl Into<Bytes>, count: u32) -> Pong {
    Pong { payload: payload.into(), count }
}

#[async_trait]
impl Echo for Echoing {
    async fn unary(&self, request: Request<Ping>) -> Result<Response<Pong>, Status> {
        let metadata = self.note(&request);
        let ping = request.into_inner();
        match ping.order.as_str() {
            "fail" => Err(failure()),
            "wait" => {
                let _waiting = Waiting::new(&self.seen);
                std::future::pending().await
            }
            "gate" => {
                let mut waiting = Waiting::new(&self.seen);
                let mut gate = self.seen.gate.subscribe();
                let _ = gate.wait_for(|open| *open).await;
                waiting.answered = true;
                Ok(back(&metadata, pong(ping.payload, ping.count)))
            }
            "large" => Ok(Response::new(pong(vec![7; ping.count as usize], 1))),
            "metadata" => {
                let mut response = Response::new(pong(ping.payload, 1));
                let value = "m".repeat(ping.count as usize).parse().unwrap();
                response.metadata_mut().insert("x-large", value);
                Ok(response)
            }
            _ => Ok(back(&metadata, pong(ping.payload, ping.count))),
        }
    }

    async fn split(&self, request: Request<Ping>) -> Result<Response<BoxStream<Pong>>, Status> {
        let metadata = self.note(&request);
        let Ping { payload, count, order } = request.into_inner();
        let messages = stream::iter(0..count).map(move |n| Ok(pong(payload.clone(), n)));
        let stream: BoxStream<Pong> = match order.as_str() {
            "fail" => Box::pin(messages.chain(stream::iter([Err(failure())]))),
            "wait" => {
                let waiting = Waiting::new(&self.seen);
                Box::pin(messages.chain(stream::once(async move {
                    let _waiting = waiting;
                    std::future::pending().await
                })))
            }
            _ => Box::pin(messages),
        };
        Ok(back(&metadata, stream))
    }

    async fn collect(&self, request: Request<Streaming<Ping>>) -> Result<Response<Pong>, Status> {
        let metadata = self.note(&request);
        let mut pings = request.into_inner();
        let (mut bytes, mut messages) = (0, 0);
        while let Some(ping) = pings.message().await? {
            bytes += ping.payload.len();
            messages += 1;
            match ping.order.as_str() {
                "early" => break,
                "fail" => return Err(failure()),
                _ => {}
            }
        }
        Ok(back(&metadata, pong(bytes.to_string(), messages)))
    }

    async fn chat(
        &self,
        request: Request<Streaming<Ping>>,
    ) -> Result<Response<BoxStream<Pong>>, Status> {
        let metadata = self.note(&request);
        let waiting = Waiting::new(&self.seen);
        let state = (request.into_inner(), waiting, 0);
        let stream = stream::unfold(Some(state), |state| async move {
            let (mut pings, mut waiting, mut after) = state?;
            match pings.message().await {
                Err(status) => {
                    waiting.answered = true;
                    Some((stream::iter(vec![Err(status)]), None))
                }
                // The client has said all; the server has not.
                Ok(None) => {
                    waiting.answered = true;
                    let rest = (0..after).map(|n| Ok(pong("after", n))).collect::<Vec<_>>();
                    Some((stream::iter(rest), None))
                }
                Ok(Some(ping)) => {
                    waiting.answered = matches!(ping.order.as_str(), "early" | "fail");
                    if ping.order == "after" {
                        after = ping.count;
                    }
                    match ping.order.as_str() {
                        "early" => None,
                        "fail" => Some((stream::iter(vec![Err(failure())]), None)),
                        _ => {
                            let answer = Ok(pong(ping.payload, ping.count));
                            Some((stream::iter(vec![answer]), Some((pings, waiting, after))))
                        }
                    }
                }
            }
        });
        Ok(back(&metadata, Box::pin(stream.flatten()) as BoxStream<Pong>))
    }
}
