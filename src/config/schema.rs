//! The file as it is written: serde's image of it, documented, without logic. The JSON schema,
//! the reference and the walker that finds faults are all made from this.
//!
//! Everything is optional here, so that what is left of a faulty file still decodes and every
//! fault is found at once; `required` lives in the JSON schema, which the walker enforces.

pub mod cache;
mod clusters;
mod listeners;
mod matching;
pub mod retry;
mod routes;
pub mod text;
pub mod upgrade;
pub mod upstream;
mod zitadel;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use self::cache::CacheStore;
pub use self::clusters::{Cluster, ClusterTls};
pub use self::listeners::{
    Certificate, ClientAuth, ClientAuthMode, Https, KeyPair, Limits, Listener, ListenerTls,
    ProxyProtocol, TlsVersion,
};
pub use self::matching::{HeaderMatch, Match, PathForm, PathMatch};
use self::retry::Retry;
pub use self::routes::{
    GrpcWeb, HeaderEdits, Identity, Preflight, RateForm, RateLimit, Redirect, RequestLimits,
    Respond, Rewrite, Route, Timeouts,
};
use self::text::{
    AdminText, DurationText, EndpointText, HostText, ListenText, OneOrMany, OutputText, ProxyText,
};
pub use self::zitadel::{GuardName, Guards, Opening, RateName, SiteLimits, TlsMode, Zitadel};

/// Configuration of Ravelin, the HTTP/2 front-end made for ZITADEL.
///
/// In front of ZITADEL the smallest complete file is `zitadel: {upstream: …, domain: …, login: …}`
/// beside a `certificate`; in front of anything else it is one line, `upstream: h2c://127.0.0.1:8080`.
/// Relative paths are relative to the file's folder.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Ravelin")]
pub struct Document {
    /// ZITADEL and its login, or several installations: brings routes, guards, hosts, identity
    /// headers and limits. `ravelin check --explain` shows what it comes to.
    /// Flags `--zitadel`, `--domain`, `--login` and `--tls-mode`, variables `RAVELIN_ZITADEL`,
    /// `RAVELIN_DOMAIN`, `RAVELIN_LOGIN` and `RAVELIN_TLS_MODE` (one installation).
    pub zitadel: Option<OneOrMany<Zitadel>>,
    /// Short form of one cluster named `upstream` and a last route that sends everything there.
    /// Flag `--upstream`, variable `RAVELIN_UPSTREAM`.
    pub upstream: Option<EndpointText>,
    /// Hosts of the short form's route; without it: every host. Only together with `upstream`;
    /// `zitadel` has its own.
    /// Flag `--domain`, variable `RAVELIN_DOMAIN` (one host).
    pub domain: Option<OneOrMany<HostText>>,
    /// Short form of one listener. Not together with `listeners`. Without both, Ravelin listens on
    /// `[::]:8443` if there is a `certificate`, else in plaintext on `[::]:8000`.
    /// Flag `--listen`, variable `RAVELIN_LISTEN`.
    pub listen: Option<ListenText>,
    /// Certificate of the short form's listener, which makes it speak TLS.
    /// Flags `--cert` and `--key`, variables `RAVELIN_CERT` and `RAVELIN_KEY`.
    pub certificate: Option<KeyPair>,
    /// Threads that carry requests. Default: one for each processor that this process may use.
    /// Flag `--workers`, variable `RAVELIN_WORKERS`.
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u16>,
    /// Where clients connect.
    pub listeners: Option<Vec<Listener>>,
    /// What happens to a request. Asked from the first to the last; the first that matches wins.
    /// Those of `zitadel` stand around them: its guards before, all others behind. One with the name
    /// of such a route takes its place, and has what it does not say itself from it.
    pub routes: Option<Vec<Route>>,
    /// Proxies in front that are believed: addresses, ranges, or the sets `cloudflare` (its published
    /// ranges) and `private` (RFC 1918, RFC 4193, loopback). Where the client of a connection (by its
    /// own address or by the PROXY protocol) is one of them, the client is the first address from the
    /// right of `X-Forwarded-For` that is not, and the last `X-Forwarded-Proto` is its scheme. Default:
    /// nobody is believed.
    pub trusted_proxies: Option<OneOrMany<ProxyText>>,
    /// Clocks of all routes that do not set their own.
    pub timeouts: Option<Timeouts>,
    /// Limits of all routes that do not set their own.
    pub limits: Option<RequestLimits>,
    /// Rate limit of all routes that do not set their own; each route counts for itself, those that
    /// follow `zitadel-cloud` count together.
    pub rate_limit: Option<RateLimit>,
    /// What is sent again, of all routes that do not say it themselves.
    pub retry: Option<Retry>,
    /// Named sets of endpoints that do the same. One with the name of a cluster of `zitadel` takes
    /// its place.
    pub clusters: Option<BTreeMap<String, Cluster>>,
    /// The memory in which routes with a `cache` keep answers.
    pub cache: Option<CacheStore>,
    /// Health, readiness and metrics, on a listener of their own.
    /// Flag `--admin`, variable `RAVELIN_ADMIN`.
    pub admin: Option<Admin>,
    /// One record for each exchange.
    pub access_log: Option<AccessLog>,
    /// How Ravelin leaves when it is told to.
    pub shutdown: Option<Shutdown>,
    /// How the binary is replaced without closing a socket.
    pub upgrade: Option<upgrade::Upgrade>,
}

/// The admin listener: an address, or a mapping with one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Admin {
    /// Its address, or `off`.
    Short(AdminText),
    /// Its keys.
    Long(AdminForm),
}

/// The admin listener.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminForm {
    /// Where it listens, `ip:port`; `off`: nowhere.
    #[schemars(extend("default" = "127.0.0.1:9901"))]
    pub address: Option<AdminText>,
}

/// The access record.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// How a record looks. Flag `--access-log`, variable `RAVELIN_ACCESS_LOG`.
    #[schemars(extend("default" = "json"))]
    pub format: Option<LogFormat>,
    /// `stdout`, or the path of a file that is appended to and reopened on SIGHUP.
    #[schemars(extend("default" = "stdout"))]
    pub output: Option<OutputText>,
}

/// How a record looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// One line for people.
    Text,
    /// No record.
    Off,
}

/// How Ravelin leaves.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// From unready until the listeners close, for load balancers to notice.
    /// Flag `--drain-delay`, variable `RAVELIN_DRAIN_DELAY`.
    #[schemars(extend("default" = "0s"))]
    pub delay: Option<DurationText>,
    /// From then until what still runs is cut. Flag `--grace`, variable `RAVELIN_GRACE`.
    #[schemars(extend("default" = "30s"))]
    pub grace: Option<DurationText>,
}

/// The JSON schema of the file (draft 2020-12).
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Document).to_value()
}
