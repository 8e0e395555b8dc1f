//! The built-in ZITADEL stand-in: the upstream of `ravelin demo` and of the tests.
//!
//! A server that a front cannot tell from ZITADEL by what it says on the wire, as far as a front
//! looks: routes, content types, error bodies, cookies, missing validators, the shapes of gRPC,
//! gRPC-Web and Connect, host look-up, settings, and the way it dies. It has no users and no
//! memory; `Authorization: Bearer demo` is the one credential it knows. Beside ZITADEL's routes
//! stand a few helpers for tests (see `plain`, `echo` and `websocket`) and orders to misbehave
//! (see `orders`).
//!
//! It names none of Ravelin's rooms: what tests Ravelin must not share its mistakes.

mod message;
mod state;
mod wire;
mod server;
mod http1;
mod http2;
mod orders;
mod dispatch;
mod hosts;
mod cors;
mod security;
mod gzip;
mod protobuf;
mod debug;
mod rest;
mod grpc;
mod grpc_web;
mod connect;
mod reflection;
mod echo;
mod oidc;
mod console;
mod bundle;
mod login;
mod assets;
mod plain;
mod quota;
mod websocket;
mod peers;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use message::SYSTEM_TOKEN;
pub use peers::{Blackhole, Garbage, Refusing};
pub use state::Seen;

use state::{Phase, Shared};

/// Why an instance may ask no more (`access_interceptor.go`, `limits_interceptor.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// Its quota of authenticated requests is used up.
    Quota,
    /// It was blocked.
    Blocked,
}

/// How the stand-in is set up; the words are ZITADEL's own where it has them.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// TLS as with `tlsMode enabled`; `None` is h2c and HTTP/1.1 as with `disabled` and `external`.
    /// The stand-in adds ALPN `h2` and `http/1.1` if the configuration names none.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// `ExternalDomain`: the instance's own name. `localhost` and `127.0.0.1` are known as well.
    pub external_domain: String,
    /// `ExternalPort`, part of the instance's public origin.
    pub external_port: u16,
    /// `ExternalSecure`: https in links, `__Host-` cookies.
    pub external_secure: bool,
    /// SETTINGS_MAX_CONCURRENT_STREAMS; ZITADEL's is 250.
    pub max_streams: u32,
    /// For so long after the start REST answers 503 with code 14, as ZITADEL's gateway does for
    /// about a second after `/debug/ready` says yes.
    pub rest_after: Option<Duration>,
    /// Where the value of `x-standin-write` is written down when a request that has one was done:
    /// a line each, appended, so that several stand-ins may share the file.
    pub ledger: Option<PathBuf>,
    /// Serve the files of this folder as the console, in the place of the stand-in's own: a real
    /// build, `index.html` on top.
    pub console: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            external_domain: "localhost".to_owned(),
            external_port: 8443,
            external_secure: true,
            max_streams: 250,
            rest_after: None,
            ledger: None,
            console: None,
        }
    }
}

/// A running stand-in, on a thread and a runtime of its own. Dropping it kills it.
pub struct Standin {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Standin {
    /// Binds and serves; on return connections are accepted.
    ///
    /// # Errors
    /// When the address cannot be bound, the console cannot be read, or no thread or runtime can
    /// be had.
    #[expect(clippy::unused_async, reason = "starting may come to wait; callers are async anyway")]
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(options.address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let console = bundle::files(options.console.as_deref())?;
        let shared = Arc::new(Shared::new(options, address, console));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let state = shared.clone();
        let thread = std::thread::Builder::new().name("standin".to_owned()).spawn(move || {
            runtime.block_on(server::serve(listener, state));
            // The end of a process: whatever still runs is dropped where it stands.
            drop(runtime);
        })?;
        Ok(Self { address, shared, thread: Mutex::new(Some(thread)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests that arrived, oldest first; the last 10,000 are kept.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.requests()
    }

    /// How many of [`requests`](Self::requests) have a target that begins so.
    pub fn count(&self, path_prefix: &str) -> usize {
        self.shared.count(path_prefix)
    }

    /// Connections open now.
    pub fn connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Connections accepted since the start.
    pub fn connections_total(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Exchanges begun and not yet ended.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// Exchanges that the client ended before the answer was complete.
    pub fn cancelled(&self) -> usize {
        self.shared.cancelled.load(Ordering::SeqCst)
    }

    /// Waits until [`cancelled`](Self::cancelled) is at least `n`.
    pub async fn wait_for_cancelled(&self, n: usize) {
        self.shared.wait_until(|shared| shared.cancelled.load(Ordering::SeqCst) >= n).await;
    }

    /// Waits until [`count`](Self::count) of this prefix is at least `n`.
    pub async fn wait_for_requests(&self, prefix: &str, n: usize) {
        self.shared.wait_until(|shared| shared.count(prefix) >= n).await;
    }

    /// Waits until exactly `n` connections are open.
    pub async fn wait_for_connections(&self, n: usize) {
        self.shared.wait_until(|shared| shared.open.load(Ordering::SeqCst) == n).await;
    }

    /// Waits until exactly `n` exchanges are in flight.
    pub async fn wait_for_in_flight(&self, n: usize) {
        self.shared.wait_until(|shared| shared.in_flight.load(Ordering::SeqCst) == n).await;
    }

    /// Every request from now on comes with these orders too; an empty text ends them.
    pub fn obey(&self, orders: &str) {
        self.shared.set_standing(orders);
    }

    /// From now on the instance may ask no more, or again.
    pub fn limit(&self, limited: Option<Limited>) {
        self.shared.limit(limited);
    }

    /// Whether `/debug/ready` says yes, as ZITADEL does while it reaches its database.
    pub fn set_ready(&self, ready: bool) {
        self.shared.unready.store(!ready, Ordering::SeqCst);
    }

    /// What SIGTERM does to ZITADEL in h2c: every connection reset at once, no GOAWAY, and new
    /// connections refused. On return it has happened.
    pub fn kill(&self) {
        self.shared.enter(Phase::Killed);
        self.join();
    }

    /// What SIGTERM does to ZITADEL with TLS: GOAWAY, listener closed at once, exchanges in flight
    /// may end within 5 s. On return everything is closed.
    pub async fn shutdown_gracefully(&self) {
        self.shared.enter(Phase::Draining);
        self.shared.wait_until(|shared| shared.stopped.load(Ordering::SeqCst)).await;
        self.join();
    }

    fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic in there has been printed; the tests see its effects.
            let _ = thread.join();
        }
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.kill();
    }
}
