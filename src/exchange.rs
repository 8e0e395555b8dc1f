//! The facts of one exchange: the only words that the client's side and the pipeline share.
//!
//! Facts decided on the way in (class, route, endpoint) are written here by the room that decides
//! them, and read by the rescue and by the access record when the exchange ends.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use ipnet::IpNet;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::Kind;

/// What an exchange is, decided once; it alone decides how Ravelin's own errors look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Class {
    /// `application/grpc*` over HTTP/2.
    Grpc,
    /// `application/grpc-web*`, binary.
    GrpcWeb,
    /// `application/grpc-web-text*`, base64.
    GrpcWebText,
    /// Connect unary: JSON or protobuf without envelopes.
    Connect,
    /// `application/connect+*`.
    ConnectStream,
    /// JSON over HTTP, and whatever else is no other class.
    #[default]
    Rest,
    /// A file of a page: script, style, font, image.
    Asset,
    /// A page that a browser navigates to.
    Page,
    /// WebSocket, by upgrade or extended CONNECT.
    WebSocket,
}

impl Class {
    /// Every class, for tables and tests.
    pub const ALL: &'static [Self] = &[
        Self::Grpc,
        Self::GrpcWeb,
        Self::GrpcWebText,
        Self::Connect,
        Self::ConnectStream,
        Self::Rest,
        Self::Asset,
        Self::Page,
        Self::WebSocket,
    ];

    /// The stable word for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::GrpcWeb => "grpc-web",
            Self::GrpcWebText => "grpc-web-text",
            Self::Connect => "connect",
            Self::ConnectStream => "connect-stream",
            Self::Rest => "rest",
            Self::Asset => "asset",
            Self::Page => "page",
            Self::WebSocket => "websocket",
        }
    }
}

/// The HTTP version of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0 and HTTP/1.1.
    H1,
    /// HTTP/2, over TLS or not.
    H2,
}

impl Protocol {
    /// The stable word for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
        }
    }
}

/// What the cache did for an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheUse {
    /// Answered from it, fresh.
    Hit,
    /// Answered from it, stale, since the request allows that.
    Stale,
    /// Answered from it, stale, while it is asked for anew.
    Revalidating,
    /// Answered from it, stale, since upstream failed.
    Error,
    /// Answered from it, once upstream had confirmed it.
    Revalidated,
    /// Answered with what upstream told another who asked at the same time.
    Collapsed,
    /// Nothing was kept.
    Miss,
    /// What was kept is for other request fields.
    VaryMiss,
    /// What was kept is too old.
    Expired,
    /// The request wanted it new.
    Wanted,
    /// Nothing was kept, and the request wanted nothing else.
    Only,
    /// The method is not one that is answered from it.
    Method,
    /// The request carries credentials.
    Authorization,
    /// The request carries cookies.
    Cookie,
    /// The path is one that is never kept.
    Never,
}

impl CacheUse {
    /// Every one, for tables and tests.
    pub const ALL: &'static [Self] = &[
        Self::Hit,
        Self::Stale,
        Self::Revalidating,
        Self::Error,
        Self::Revalidated,
        Self::Collapsed,
        Self::Miss,
        Self::VaryMiss,
        Self::Expired,
        Self::Wanted,
        Self::Only,
        Self::Method,
        Self::Authorization,
        Self::Cookie,
        Self::Never,
    ];

    /// The stable word for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale | Self::Revalidating | Self::Error => "stale",
            Self::Revalidated => "revalidated",
            Self::Collapsed => "collapsed",
            Self::Miss | Self::VaryMiss | Self::Expired | Self::Wanted | Self::Only => "miss",
            Self::Method | Self::Authorization | Self::Cookie | Self::Never => "bypass",
        }
    }

    /// Why, as a stable word.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidating => "stale-while-revalidate",
            Self::Error => "stale-if-error",
            Self::Revalidated => "revalidated",
            Self::Collapsed => "collapsed",
            Self::Miss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Expired => "expired",
            Self::Wanted => "request",
            Self::Only => "only-if-cached",
            Self::Method => "method",
            Self::Authorization => "authorization",
            Self::Cookie => "cookie",
            Self::Never => "never",
        }
    }
}

/// What TLS settled for a connection.
#[derive(Debug)]
pub struct Tls {
    /// The name that the client asked for, lower case.
    pub sni: Option<Box<str>>,
    /// DNS names and IP addresses that the connection's certificate covers, lower case, wildcards
    /// as `*.example.com`.
    pub names: Arc<[Box<str>]>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// Whether the handshake resumed an earlier session.
    pub resumed: bool,
    /// The subject of the client's certificate, where one was given.
    pub client_subject: Option<Box<str>>,
}

/// What a connection says about its client, as fields tell it upstream; made once per connection.
#[derive(Clone, Debug)]
pub struct Identity {
    client: Option<HeaderValue>,
    https: bool,
}

impl Identity {
    /// `client` as the peer's address or a trusted PROXY header gives it, `https` whether the
    /// client spoke TLS to us. An IPv4 client of a dual-stack socket is named by its IPv4 address.
    pub fn new(client: Option<IpAddr>, https: bool) -> Self {
        let text = client.map(|address| address.to_canonical().to_string());
        Self { client: text.and_then(|text| HeaderValue::try_from(text).ok()), https }
    }

    /// The client's address; none on a Unix socket.
    pub const fn client(&self) -> Option<&HeaderValue> {
        self.client.as_ref()
    }

    /// Whether the client's leg is TLS.
    pub const fn https(&self) -> bool {
        self.https
    }

    /// The scheme of the client's leg.
    pub const fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

/// Whom caps and rates are counted for: an IPv4 address, or an IPv6 /64, which is what one
/// subscriber is usually given (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// The address.
    V4(u32),
    /// The upper half of the address.
    V6(u64),
}

impl Client {
    /// Who stands behind an address; an IPv4 address mapped into IPv6 is itself.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => Self::V6((v6.to_bits() >> 64) as u64),
        }
    }

    /// Which of `n` shards, at most 65 536, a client belongs to.
    pub fn shard(self, n: usize) -> usize {
        let bits = match self {
            Self::V4(bits) => u64::from(bits),
            Self::V6(bits) => bits,
        };
        // Fibonacci hashing: neighbours land in different shards.
        ((bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize * n) >> 16
    }
}

/// One connection of a client.
#[derive(Debug)]
pub struct Connection {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The client: the peer's address, or what a trusted PROXY header said. A Unix socket without
    /// such a header has `None`.
    pub client: Option<SocketAddr>,
    /// HTTP/1 or HTTP/2.
    pub protocol: Protocol,
    /// What upstream is told about the client.
    pub identity: Identity,
    /// The proxies in front that are believed, where the client is one of them: what it says of
    /// its own client counts.
    pub trusted: Option<Arc<[IpNet]>>,
    /// The listener sends everything to https on this port.
    pub redirect_to_https: Option<u16>,
    /// What TLS settled, where there is TLS.
    pub tls: Option<Tls>,
    /// Whether it is to end.
    pub ending: Ending,
}

/// Tells a connection, and what runs on it, that it is to end when it can: Ravelin leaves, or its
/// listener does.
#[derive(Clone, Debug)]
pub struct Ending(watch::Receiver<bool>);

impl Ending {
    /// Both ends: sending true tells.
    pub fn channel() -> (watch::Sender<bool>, Self) {
        let (tell, told) = watch::channel(false);
        (tell, Self(told))
    }

    /// Ready when it is told; never, where whoever could tell is gone.
    pub async fn told(mut self) {
        if self.0.wait_for(|told| *told).await.is_err() {
            std::future::pending().await
        }
    }
}

impl Connection {
    /// The client's address without its port.
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.client.map(|address| address.ip())
    }
}

/// Relays an interim (1xx) answer to the client; does nothing where the client cannot take one.
pub type Interim = Rc<dyn Fn(http::StatusCode, &http::HeaderMap)>;

/// How many attempts that came to nothing are kept for the record: while a cluster is down, one
/// request may be tried many times.
pub const TRIED: usize = 8;

/// An attempt that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Where.
    pub endpoint: Arc<str>,
    /// Why.
    pub cause: Kind,
}

/// One request and its answer.
pub struct Exchange {
    /// The connection it came on.
    pub connection: Rc<Connection>,
    /// When its head had been read.
    pub started: Instant,
    /// The client's address: the connection's, or what a trusted proxy in front says.
    pub client: Option<IpAddr>,
    /// What a trusted proxy in front says of its client; `None`: what the connection says.
    pub forwarded: Option<Identity>,
    /// The authority that upstream sees, where the route knows its hosts; `None`: the one asked for.
    pub authority: Option<HeaderValue>,
    /// What it is.
    pub class: Class,
    /// The request's id: the client's own where it is well formed, else a new one.
    pub request_id: Option<Box<str>>,
    /// The trace id of a W3C `traceparent` that came with it.
    pub trace_id: Option<Box<str>>,
    /// The route that matched.
    pub route: Option<Arc<str>>,
    /// Its number in the metrics.
    pub route_id: Option<usize>,
    /// The cluster that it went to.
    pub cluster: Option<Arc<str>>,
    /// The endpoint of the last attempt.
    pub endpoint: Option<Arc<str>>,
    /// How many times it was sent, the first included.
    pub attempts: u32,
    /// Attempts that came to nothing, the first [`TRIED`] of them.
    pub tried: Vec<Tried>,
    /// Time from the start until upstream's head was there.
    pub upstream_head: Option<Duration>,
    /// Bytes of the request's body so far; grows while it is carried.
    pub bytes_in: Rc<Cell<u64>>,
    /// For the record: what upstream said where the client was told something else, though nothing failed.
    pub remark: Option<Box<str>>,
    /// What the cache did; `None`: the route has none.
    pub cache: Option<CacheUse>,
    /// A 404 is asked once more of another endpoint before it is believed: during a rollout one
    /// replica may have a file that another has not.
    pub elsewhere: bool,
    /// Bytes that the answer's coding from the cache saved.
    pub cache_saved: u64,
    /// How interim answers reach the client.
    pub interim: Option<Interim>,
    /// When it ends whatever happens, and as what: the caller's deadline, or the route's.
    pub deadline: Option<(Instant, Kind)>,
    /// Why the client's side has cut it, where it has: what dropped the answer cannot tell.
    pub cut: Option<Rc<Cell<Option<Kind>>>>,
    /// What the client's side has against the request. Refused only once the class is known, since
    /// that decides how the refusal looks.
    pub refused: Option<Kind>,
}

impl Exchange {
    /// An exchange that begins now on `connection`.
    pub fn new(connection: Rc<Connection>) -> Self {
        Self {
            client: connection.client_ip(),
            connection,
            started: Instant::now(),
            forwarded: None,
            authority: None,
            class: Class::default(),
            request_id: None,
            trace_id: None,
            route: None,
            route_id: None,
            cluster: None,
            endpoint: None,
            attempts: 0,
            tried: Vec::new(),
            upstream_head: None,
            bytes_in: Rc::default(),
            remark: None,
            cache: None,
            elsewhere: false,
            cache_saved: 0,
            interim: None,
            deadline: None,
            cut: None,
            refused: None,
        }
    }

    /// What upstream is told about the client: the connection's word, or that of a trusted proxy.
    pub fn identity(&self) -> &Identity {
        self.forwarded.as_ref().unwrap_or(&self.connection.identity)
    }
}
