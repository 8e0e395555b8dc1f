//! What the server's side is told: clusters and their endpoints. Filled by `config`, immutable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::message::FieldName;

/// A named set of endpoints that do the same.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterPlan {
    /// Its name in routes, records and metrics; unique.
    pub name: Arc<str>,
    /// At least one.
    pub endpoints: Vec<EndpointPlan>,
    /// TLS, where an endpoint's protocol wants it.
    pub tls: TlsPlan,
    /// From the first packet to the end of the TLS handshake and HTTP/2 preface.
    pub connect_timeout: Duration,
    /// How long a connection without an exchange is kept.
    pub idle: Duration,
    /// How long a connection is given new exchanges.
    pub max_age: Duration,
    /// How long an HTTP/2 connection in use may be silent before it is asked whether it is there, and
    /// how long it then has to answer.
    pub keepalive: Duration,
    /// How its endpoints are checked; `None`: only what exchanges tell is known of them.
    pub health: Option<HealthPlan>,
    /// What leads an exchange to its endpoint; `None`: the endpoints' load.
    pub hash: Option<HashBy>,
    /// The name server that is asked in the place of the system's.
    pub resolver: Option<SocketAddr>,
    /// What one endpoint is given at most.
    pub caps: Caps,
}

/// What one endpoint is given at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Exchanges at once, over all workers; `None`: as many as its connections carry.
    pub in_flight: Option<u32>,
    /// Exchanges of one worker that wait for a place there.
    pub pending: u32,
}

impl Default for Caps {
    fn default() -> Self {
        Self { in_flight: None, pending: 10_000 }
    }
}

/// How an endpoint is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthPlan {
    /// What is asked.
    pub check: Check,
    /// From one check to the next while all is well; a fifth of it by chance.
    pub interval: Duration,
    /// How long the answer may take.
    pub timeout: Duration,
}

impl HealthPlan {
    /// The authority that is asked for, where one is named.
    pub fn host(&self) -> Option<&str> {
        match &self.check {
            Check::Zitadel { host } | Check::Http { host, .. } => host.as_deref(),
            Check::Grpc { .. } | Check::Tcp => None,
        }
    }
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// ZITADEL: `/debug/ready`, and `/admin/v1/healthz` for REST (`zitadel.md` §13.5).
    Zitadel {
        /// The authority that is asked for; `None`: the endpoint's.
        host: Option<Box<str>>,
    },
    /// A path over HTTP, in the endpoint's own protocol.
    Http {
        /// It, with its query.
        path: Box<str>,
        /// The status that is well; `None`: every 2xx.
        status: Option<u16>,
        /// The authority that is asked for; `None`: the endpoint's.
        host: Option<Box<str>>,
    },
    /// `grpc.health.v1.Health`: `Check`, and `Watch` where the server has it.
    Grpc {
        /// The service that is asked for; empty: the server itself.
        service: Box<str>,
    },
    /// That it can be connected to.
    Tcp,
}

/// What leads an exchange to its endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashBy {
    /// The client's address.
    Client,
    /// A header's value.
    Header(FieldName),
    /// A cookie's value.
    Cookie(Box<str>),
}

impl ClusterPlan {
    /// Whether connections of one may go on in the other.
    pub fn same_ways(&self, other: &Self) -> bool {
        self.tls == other.tls
            && self.connect_timeout == other.connect_timeout
            && self.idle == other.idle
            && self.caps == other.caps
            && self.max_age == other.max_age
            && self.keepalive == other.keepalive
    }
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPlan {
    /// As configured, `h2c://127.0.0.1:8080`: its name in records and metrics.
    pub name: Arc<str>,
    /// How to speak.
    pub protocol: Protocol,
    /// Where.
    pub address: Address,
}

/// Where an endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A name or address and its port; names are resolved at each connect.
    Tcp {
        /// DNS name or IP address, without brackets.
        host: Box<str>,
        /// Port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
    /// Every address of a name is an endpoint, asked for anew when its TTL is over.
    Dns {
        /// DNS name.
        host: Box<str>,
        /// Port of every one.
        port: u16,
    },
    /// The targets of a DNS service (RFC 2782), `_zitadel._tcp.example.com`.
    Srv(Box<str>),
    /// A file with a list of endpoints, read anew when it changes.
    File(PathBuf),
}

impl Address {
    /// Whether endpoints are found behind it, and it is none itself.
    pub const fn is_source(&self) -> bool {
        matches!(self, Self::Dns { .. } | Self::Srv(_) | Self::File(_))
    }
}

/// `host:port`, an IPv6 address in brackets (RFC 3986 §3.2.2).
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// How an endpoint is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `h2c://`: HTTP/2 by prior knowledge, plaintext.
    H2c,
    /// `h2://`: HTTP/2 over TLS (ALPN `h2` required).
    H2,
    /// `http://`: HTTP/1.1, plaintext.
    Http,
    /// `https://`: HTTP/1.1 over TLS.
    Https,
}

impl Protocol {
    /// Whether it is HTTP/2.
    pub const fn is_h2(self) -> bool {
        matches!(self, Self::H2c | Self::H2)
    }

    /// Whether it runs over TLS.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::H2 | Self::Https)
    }

    /// The scheme in an endpoint's address.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::H2c => "h2c",
            Self::H2 => "h2",
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// How an endpoint's certificate is judged, and what is shown to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsPlan {
    /// CA certificates (PEM) in the place of the system's.
    pub ca: Option<PathBuf>,
    /// The name to ask for and to verify; `None`: the endpoint's host.
    pub server_name: Option<Box<str>>,
    /// SHA-256 of the SubjectPublicKeyInfo of accepted leaf keys; one must match, in addition to
    /// the chain, or in its place where `ca` is not set.
    pub pins: Vec<[u8; 32]>,
    /// Client certificate chain and key (PEM).
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Do not verify. Warned about at every start and in the status page.
    pub insecure_skip_verify: bool,
}
