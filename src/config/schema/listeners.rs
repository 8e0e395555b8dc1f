//! Listeners as they are written, with their certificates and limits.

use schemars::JsonSchema;
use serde::Deserialize;

use super::text::{DurationText, FileText, ListenText, NameText, OneOrMany, RangeText, SizeText};

/// A certificate and its key: PEM files, watched and reloaded when they change.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["cert", "key"]))]
pub struct KeyPair {
    /// Certificate chain (PEM), leaf first.
    #[schemars(required)]
    pub cert: Option<FileText>,
    /// Private key (PEM): PKCS#8, SEC1 or PKCS#1.
    #[schemars(required)]
    pub key: Option<FileText>,
}

/// Where clients connect.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["address"]))]
pub struct Listener {
    /// Its name in routes, records and metrics; unique. Default: its address.
    pub name: Option<NameText>,
    /// Where it listens: `ip:port`, `:port` or `port` (every IPv6 and IPv4 address), or
    /// `unix:/path` for a Unix socket. Port 0 lets the system choose.
    #[schemars(required)]
    pub address: Option<ListenText>,
    /// TLS with ALPN `h2` and `http/1.1`. Without it the listener speaks HTTP/1.1 and h2c.
    pub tls: Option<ListenerTls>,
    /// Require the PROXY protocol (v1 or v2) from these peers and refuse it from others.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Answer everything with a 308 to https on this port; `true`: the port of the only TLS
    /// listener, else 443. Not together with `tls`.
    pub redirect_to_https: Option<Https>,
    /// What a connection and a request may cost.
    pub limits: Option<Limits>,
}

/// `true`, `false`, or the port of https.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Https {
    /// Whether to redirect.
    Flag(bool),
    /// The port.
    Port(#[schemars(range(min = 1, max = 65535))] u16),
}

/// TLS of a listener.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["certificates"]))]
pub struct ListenerTls {
    /// Certificates, chosen by the name that the client asks for: exact, then wildcard, then the
    /// default, else the handshake is refused.
    #[schemars(required, length(min = 1))]
    pub certificates: Option<Vec<Certificate>>,
    /// Client certificates.
    pub client_auth: Option<ClientAuth>,
    /// Oldest version of TLS that is spoken.
    #[schemars(extend("default" = "1.2"))]
    pub min_version: Option<TlsVersion>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V13,
}

impl JsonSchema for TlsVersion {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TlsVersion".into()
    }
    /// Also as a number: `min_version: 1.3` means what it says.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": ["string", "number"], "enum": ["1.2", "1.3", 1.2, 1.3], "title": "\"1.2\" or \"1.3\""})
    }
}

/// One certificate of a listener.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["cert", "key"]))]
pub struct Certificate {
    /// Certificate chain (PEM), leaf first.
    #[schemars(required)]
    pub cert: Option<FileText>,
    /// Private key (PEM): PKCS#8, SEC1 or PKCS#1.
    #[schemars(required)]
    pub key: Option<FileText>,
    /// Also for names that no certificate covers and for clients that send no name. Default:
    /// `true` if it is the only one, else `false`.
    pub default: Option<bool>,
}

/// Whether a client must show a certificate.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["mode"]))]
pub struct ClientAuth {
    /// Whether one is asked for, and whether it must be given.
    #[schemars(required)]
    pub mode: Option<ClientAuthMode>,
    /// CA certificates (PEM) that client certificates must chain to. Required unless `mode: off`.
    pub ca: Option<FileText>,
}

/// Whether a client certificate is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum ClientAuthMode {
    /// Not asked for.
    Off,
    /// Asked for, and verified when given.
    Optional,
    /// Asked for; without a valid one the handshake fails.
    Required,
}

/// The PROXY protocol.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["from"]))]
pub struct ProxyProtocol {
    /// Addresses or ranges of the peers that speak it.
    #[schemars(required)]
    pub from: Option<OneOrMany<RangeText>>,
}

/// What a connection and a request may cost on a listener.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open connections on the listener.
    #[schemars(range(min = 1, max = 10000000), extend("default" = 65536))]
    pub connections: Option<u32>,
    /// Open connections of one client address (IPv6: of one /64).
    #[schemars(range(min = 1, max = 10000000), extend("default" = 4096))]
    pub connections_per_client: Option<u32>,
    /// Concurrent HTTP/2 streams of one connection.
    #[schemars(range(min = 1, max = 100000), extend("default" = 250))]
    pub streams: Option<u32>,
    /// Requests of one connection, which is closed after them (HTTP/2: told to go). Without it: as
    /// many as the client likes.
    #[schemars(range(min = 1, max = 1000000000))]
    pub requests: Option<u32>,
    /// Bytes of a request's head: names, values and 32 for each field. From 1KiB to 16MiB.
    #[schemars(extend("default" = "72KiB"))]
    pub header_size: Option<SizeText>,
    /// Fields of a request's head.
    #[schemars(range(min = 1, max = 10000), extend("default" = 200))]
    pub header_fields: Option<u32>,
    /// From accept to the end of the first request's head, TLS handshake included; and for each
    /// later HTTP/1.1 head from its first byte.
    #[schemars(extend("default" = "10s"))]
    pub head_time: Option<DurationText>,
    /// How long a connection may be without an exchange.
    #[schemars(extend("default" = "3m"))]
    pub idle: Option<DurationText>,
}
