//! What the client's side is told: listeners, certificates, limits. Filled by `config`, immutable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

/// One listener.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerPlan {
    /// Its name in routes, records and metrics; unique.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: Address,
    /// TLS; without it the listener speaks HTTP/1.1 and h2c (prior knowledge and `Upgrade`).
    pub tls: Option<TlsPlan>,
    /// Peers whose PROXY protocol header is required and believed; others are refused one.
    /// Empty: the protocol is not spoken.
    pub proxy_protocol: Vec<IpNet>,
    /// Proxies in front whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed. A peer on a
    /// Unix socket counts as one of them, where there are any.
    pub trusted_proxies: Arc<[IpNet]>,
    /// Answer everything with a 308 to https on this port. Not what came by https to a trusted proxy.
    pub redirect_to_https: Option<u16>,
    /// What a connection may cost.
    pub limits: Limits,
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `[::]` is dual stack; a port of 0 is chosen by the system.
    Tcp(SocketAddr),
    /// A Unix socket; a stale one is replaced.
    Unix(PathBuf),
}

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsPlan {
    /// At least one. Chosen by SNI: exact name, then wildcard, then the one marked default (which
    /// also serves clients without SNI), else the handshake is refused.
    pub certificates: Vec<CertificatePlan>,
    /// Client certificates.
    pub client_auth: ClientAuth,
    /// Refuse TLS 1.2.
    pub only_tls13: bool,
}

/// One certificate and its key, PEM files that are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePlan {
    /// Chain, leaf first.
    pub cert: PathBuf,
    /// Private key: PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
    /// Also for names that no certificate covers, and for clients that send no name.
    pub default: bool,
}

/// Whether a client must show a certificate, and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Not asked for.
    Off,
    /// Asked for and verified when given, against the CA file.
    Optional(PathBuf),
    /// Required, against the CA file.
    Required(PathBuf),
}

impl ClientAuth {
    /// The CA file.
    pub const fn ca(&self) -> Option<&PathBuf> {
        match self {
            Self::Off => None,
            Self::Optional(file) | Self::Required(file) => Some(file),
        }
    }
}

/// What a connection and a request may cost on this listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Open connections on the listener.
    pub connections: usize,
    /// Open connections of one client address (IPv6: one /64).
    pub connections_per_client: usize,
    /// Concurrent h2 streams of one connection.
    pub streams: u32,
    /// Requests of one connection: then it is closed, and the client opens another. `None`: as
    /// many as it likes.
    pub requests: Option<u32>,
    /// Bytes of a request's head: names, values and 32 per field (RFC 9113 §6.5.2).
    pub header_bytes: u32,
    /// Fields of a request's head.
    pub header_fields: usize,
    /// From accept to the end of the TLS handshake and the first request's head; and for each
    /// later HTTP/1.1 head from its first byte.
    pub head_time: Duration,
    /// How long a connection may be without an exchange.
    pub idle: Duration,
}

impl Limits {
    /// How large a head may be to be read at all: one above the limit is refused in the words of its
    /// caller as far as the memory for it can be borne. Beyond, HTTP/2 counts what it does not keep, and
    /// HTTP/1.1 answers a bare 431.
    pub fn readable_head(&self) -> u32 {
        const MOST: u32 = 256 * 1024;
        self.header_bytes.saturating_mul(4).min(MOST).max(self.header_bytes)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 65_536,
            connections_per_client: 4_096,
            streams: 250,
            requests: None,
            header_bytes: 64 * 1024 + 8 * 1024,
            header_fields: 200,
            head_time: Duration::from_secs(10),
            idle: Duration::from_secs(180),
        }
    }
}
