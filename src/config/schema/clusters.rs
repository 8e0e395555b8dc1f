//! Clusters as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::listeners::KeyPair;
use super::text::{
    DurationText, EndpointText, FileText, HashText, NameText, OneOrMany, PinText, ResolverText,
};
use super::upstream;

/// Endpoints that do the same.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["endpoints"]))]
pub struct Cluster {
    /// Where they are. `h2c://`: HTTP/2 in plaintext; `h2://`: HTTP/2 over TLS; `http://` and
    /// `https://`: HTTP/1.1. `h2c+unix:/path` (and so on) is a Unix socket. A host name is resolved
    /// at each connect. Where endpoints come and go: `h2c+dns://name:port` is every address of a
    /// name, `h2c+srv://_zitadel._tcp.name` the targets of a service with the best priority, both
    /// asked for anew by their TTL; `h2c+file:path` is a file with a YAML list of `host:port`.
    #[schemars(required)]
    pub endpoints: Option<OneOrMany<EndpointText>>,
    /// How certificates of `h2://` and `https://` endpoints are judged.
    pub tls: Option<ClusterTls>,
    /// From the first packet to the end of the TLS handshake and the HTTP/2 preface.
    #[schemars(extend("default" = "5s"))]
    pub connect_timeout: Option<DurationText>,
    /// How long a connection without an exchange is kept.
    #[schemars(extend("default" = "90s"))]
    pub idle: Option<DurationText>,
    /// How long a connection is given new exchanges, up to a tenth more or less by chance: then another
    /// takes its place, and it ends with its last exchange.
    #[schemars(extend("default" = "1h"))]
    pub max_age: Option<DurationText>,
    /// How long an HTTP/2 connection in use may be silent before it is asked (PING) whether it is still
    /// there, and how long it then has to answer before its exchanges are given up.
    #[schemars(extend("default" = "10s"))]
    pub keepalive: Option<DurationText>,
    /// How endpoints are checked. Default: not at all, only what requests meet is known; as `zitadel` says
    /// for a cluster that takes the place of its.
    pub health: Option<upstream::Health>,
    /// Exchanges with the same client address, header or cookie go to the same endpoint while it is
    /// well and not overloaded. Default: to the less loaded of two.
    pub hash: Option<HashText>,
    /// Exchanges that one endpoint carries at once; what comes beyond waits for its turn. Default:
    /// as many as its connections do.
    #[schemars(range(min = 1))]
    pub max_in_flight: Option<u32>,
    /// Exchanges of one worker that wait at one endpoint; what comes beyond is refused at once.
    #[schemars(range(min = 1), extend("default" = 10000))]
    pub max_pending: Option<u32>,
    /// The name server that is asked for `+dns://` and `+srv://`, `ip:port`. Default: the system's.
    pub resolver: Option<ResolverText>,
}

/// TLS towards endpoints.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterTls {
    /// CA certificates (PEM) in the place of the system's.
    pub ca: Option<FileText>,
    /// Name to ask for and to verify. Default: the endpoint's host.
    pub server_name: Option<NameText>,
    /// Accepted keys: base64 of the SHA-256 of a leaf certificate's SubjectPublicKeyInfo. One must
    /// match, in addition to the chain if `ca` is given, else in its place.
    pub pins: Option<OneOrMany<PinText>>,
    /// Certificate that is shown to the endpoint.
    pub certificate: Option<KeyPair>,
    /// Do not verify: everyone on the way can read and change everything.
    #[schemars(extend("default" = false))]
    pub insecure_skip_verify: Option<bool>,
}
