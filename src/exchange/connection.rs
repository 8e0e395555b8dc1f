//! The facts of a client's connection, which all of its exchanges share.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use ipnet::IpNet;
use tokio::sync::watch;

use super::words::Protocol;

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
/// listener does. And whether Ravelin has cut what it carried, which is then no client's doing.
#[derive(Clone, Debug)]
pub struct Ending {
    told: watch::Receiver<bool>,
    cut: Rc<Cell<bool>>,
}

impl Ending {
    /// Both ends: sending true tells.
    pub fn channel() -> (watch::Sender<bool>, Self) {
        let (tell, told) = watch::channel(false);
        (tell, Self { told, cut: Rc::default() })
    }

    /// The same for the connections that come after: these are told apart, and cut together.
    pub fn renewed(&self) -> (watch::Sender<bool>, Self) {
        let (tell, next) = Self::channel();
        (tell, Self { cut: Rc::clone(&self.cut), ..next })
    }

    /// Ready when it is told; never, where whoever could tell is gone.
    pub async fn told(mut self) {
        if self.told.wait_for(|told| *told).await.is_err() {
            std::future::pending().await
        }
    }

    /// Its grace is over: what ends from now on was cut by Ravelin.
    pub fn cut(&self) {
        self.cut.set(true);
    }

    /// Whether it was cut.
    pub fn is_cut(&self) -> bool {
        self.cut.get()
    }
}

impl Connection {
    /// The client's address without its port.
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.client.map(|address| address.ip())
    }
}
