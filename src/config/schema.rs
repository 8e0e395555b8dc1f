//! The file as it is written: serde's image of it, documented, without logic. The JSON schema,
//! the reference and the walker that finds faults are all made from this.
//!
//! Everything is optional here, so that what is left of a faulty file still decodes and every
//! fault is found at once; `required` lives in the JSON schema, which the walker enforces.

pub mod cache;
pub mod retry;
pub mod text;
pub mod upgrade;
pub mod upstream;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use self::cache::{CacheStore, RouteCache};
use self::retry::Retry;
use self::text::{
    AdminText, AuthorityText, BodyText, CapText, ClockText, CompressText, DurationText,
    EndpointText, FileText, GrpcText, HashText, HeaderText, HostText, LimitText, ListenText,
    MethodText, NameText, OneOrMany, OutputText, PathText, PinText, ProxyText, RangeText, RateText,
    RegexText, ResolverText, SiteText, SizeText, TargetText,
};

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

/// A ZITADEL installation, with its login.
///
/// Custom paths of OIDC and SAML need nothing here: whatever is not named goes to ZITADEL.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["upstream", "domain"]))]
pub struct Zitadel {
    /// Its name: that of its cluster and its last route, and the beginning of all its others
    /// (`zitadel-login`). Default: `zitadel`, `zitadel-2` for the second, and so on.
    pub name: Option<NameText>,
    /// Where ZITADEL is: `h2c://host:8080`, or `h2://host:8080` with `tls_mode: enabled`.
    #[schemars(required)]
    pub upstream: Option<OneOrMany<EndpointText>>,
    /// How ZITADEL's own certificate is judged, with `tls_mode: enabled`.
    pub tls: Option<ClusterTls>,
    /// The public hosts, as clients write them: ZITADEL's `ExternalDomain` and further domains of
    /// its instances, each with the port that clients use unless it is the scheme's own
    /// (`ExternalPort`).
    #[schemars(required)]
    pub domain: Option<OneOrMany<SiteText>>,
    /// ZITADEL's own `--tlsMode`. `disabled`: http in public, h2c to ZITADEL. `external`: https in
    /// public, h2c to ZITADEL. `enabled`: https in public, HTTP/2 over TLS to ZITADEL. Default: what
    /// `upstream` and the listeners say.
    pub tls_mode: Option<TlsMode>,
    /// Where the login application (login v2) is, `http://host:3000`. Without it, its pages say so.
    pub login: Option<OneOrMany<EndpointText>>,
    /// The hosts of a login on a domain of its own. Needs `login`; the domain must be a trusted
    /// domain of the instance.
    pub login_domain: Option<OneOrMany<SiteText>>,
    /// The instance, whatever host the client asked for (`x-zitadel-instance-host`).
    pub instance_host: Option<AuthorityText>,
    /// How ZITADEL's replicas are checked. Default: `zitadel`.
    pub health: Option<upstream::Health>,
    /// As `hash` of a cluster.
    pub hash: Option<HashText>,
    /// As `max_in_flight` of a cluster: exchanges that one replica carries at once.
    #[schemars(range(min = 1))]
    pub max_in_flight: Option<u32>,
    /// As `max_pending` of a cluster.
    #[schemars(range(min = 1), extend("default" = 10000))]
    pub max_pending: Option<u32>,
    /// As `resolver` of a cluster, for the login's endpoints too.
    pub resolver: Option<ResolverText>,
    /// What is not for everyone.
    pub guards: Option<Guards>,
    /// What a request may cost.
    pub limits: Option<SiteLimits>,
    /// Keep the Console, the login's static files and public assets in memory; `false`: nothing.
    #[schemars(extend("default" = true))]
    pub cache: Option<bool>,
    /// Keep OIDC's keys and discovery for when ZITADEL fails, while it restarts for example, for no
    /// longer than the keys' own `max-age` (five minutes). While it answers, it answers everybody
    /// itself. Needs `cache`.
    #[schemars(extend("default" = false))]
    pub shield: Option<bool>,
    /// Edits of every request's headers, after Ravelin's own.
    pub request_headers: Option<HeaderEdits>,
    /// Edits of every answer's headers.
    pub response_headers: Option<HeaderEdits>,
}

/// ZITADEL's `--tlsMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum TlsMode {
    /// http in public, h2c inside.
    Disabled,
    /// https in public, h2c inside.
    External,
    /// https in public, TLS inside.
    Enabled,
}

/// What of ZITADEL is not for everyone: `debug` (`/debug`), `system` (`/system/v1` and the system
/// service), `reflection` (gRPC reflection), `v3alpha` (experimental services).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guards {
    /// Exceptions.
    pub open: Option<Vec<Opening>>,
    /// Let everyone ask `/debug/healthz` and `/debug/ready`.
    #[schemars(extend("default" = false))]
    pub health: Option<bool>,
    /// Clients that may import and export (`/admin/v1/import`, `/admin/v1/export` and their gRPC
    /// methods). Default: everyone whom ZITADEL lets.
    pub import_export: Option<OneOrMany<RangeText>>,
}

/// An exception from the guards: what, and for whom.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Opening {
    /// Whole guards.
    pub names: Option<OneOrMany<GuardName>>,
    /// Single paths, and what is below them.
    pub paths: Option<OneOrMany<PathText>>,
    /// On these listeners alone.
    pub listeners: Option<OneOrMany<NameText>>,
    /// For clients with these addresses or ranges alone.
    pub clients: Option<OneOrMany<RangeText>>,
    /// For everyone, on every listener: without `listeners` and `clients` this must be said.
    #[schemars(extend("default" = false))]
    pub everyone: Option<bool>,
}

/// A guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum GuardName {
    /// `/debug`: health, metrics, configuration faults.
    Debug,
    /// `/system/v1` and `zitadel.system.v1.SystemService`.
    System,
    /// gRPC reflection, v1 and v1alpha.
    Reflection,
    /// `/v3alpha`, `/resources/v3alpha` and their services.
    V3alpha,
}

/// What a request to ZITADEL may cost; `off` is no limit.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SiteLimits {
    /// Body of an upload to `/assets/v1`.
    #[schemars(extend("default" = "1MiB"))]
    pub assets: Option<LimitText>,
    /// Body of a SCIM request.
    #[schemars(extend("default" = "1MB"))]
    pub scim: Option<LimitText>,
    /// One gRPC message, imports excepted.
    #[schemars(extend("default" = "4MiB"))]
    pub grpc_message: Option<LimitText>,
    /// How long a client may be silent within its body.
    #[schemars(extend("default" = "1m"))]
    pub body_idle: Option<ClockText>,
    /// How often one client address may ask. `cloud`: ZITADEL Cloud's published policy, 10 requests
    /// a second for `/ui` and 50 for everything else, on average over a minute; who asks for more than
    /// 15 (50) a second over three minutes is banned from those for one.
    #[schemars(extend("default" = "off"))]
    pub rate: Option<RateName>,
    /// Answer for ZITADEL while it refuses a host because a quota is used up or the instance is
    /// blocked (429, gRPC's RESOURCE_EXHAUSTED): for at most 30 s, with one request in two seconds
    /// asking whether it still does.
    #[schemars(extend("default" = false))]
    pub quota: Option<bool>,
    /// Paths of authorize and keys (`OIDC.CustomEndpoints`) and of SAML's metadata, certificate and SSO
    /// (`SAML.ProviderConfig`) where they are not ZITADEL's usual ones: like those they go on while a
    /// quota is used up. Only with `quota: true`.
    pub quota_exempt: Option<OneOrMany<PathText>>,
}

/// A policy of request rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RateName {
    /// None.
    Off,
    /// ZITADEL Cloud's.
    Cloud,
}

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

/// When, and what then: exactly one of `to`, `redirect`, `respond` and `deny`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Route {
    /// Its name in records and metrics; unique. Default: `route-1` for the first, and so on.
    pub name: Option<NameText>,
    /// When the route applies: every key that is given must hold. Without it: always.
    #[serde(rename = "match")]
    pub matcher: Option<Match>,
    /// Send the request to this cluster.
    pub to: Option<NameText>,
    /// Send the client elsewhere.
    pub redirect: Option<Redirect>,
    /// Answer at once.
    pub respond: Option<Respond>,
    /// `true`: refuse, as if nothing were there (404, for gRPC 12): a guard. A route before it with
    /// `match.listeners` or `match.clients` opens what it refuses.
    pub deny: Option<bool>,
    /// What upstream sees instead of what the client asked for. Only with `to`.
    pub rewrite: Option<Rewrite>,
    /// The hosts that upstream knows, each with its port where that is not the scheme's own:
    /// `id.example.com`, `id.example.com:8443`, `*.example.com`. Other hosts and ports are answered
    /// with 421 (without TLS 404). Upstream sees the host in this spelling, in `Host` and in
    /// `X-Forwarded-Host`. Default: any, as the client spells it. Only with `to`.
    pub public_hosts: Option<OneOrMany<SiteText>>,
    /// Which words of clients about host, client and trace upstream would believe and must not see.
    /// Only with `to`.
    #[schemars(extend("default" = "none"))]
    pub identity: Option<Identity>,
    /// The host of ZITADEL's instance, whatever the client asked for: `x-zitadel-instance-host`. Only
    /// with `identity: zitadel` or `login`.
    pub instance_host: Option<AuthorityText>,
    /// Edits of the request's headers, after Ravelin's own. Only with `to`.
    pub request_headers: Option<HeaderEdits>,
    /// Edits of the answer's headers. Only with `to`.
    pub response_headers: Option<HeaderEdits>,
    /// Clocks of this route, before those at the top. Only with `to`.
    pub timeouts: Option<Timeouts>,
    /// Limits of this route, before those at the top. Only with `to`.
    pub limits: Option<RequestLimits>,
    /// Rate limit of this route, before that at the top. Only with `to`.
    pub rate_limit: Option<RateLimit>,
    /// What becomes of gRPC-Web (text mode too): `pass` sends it upstream as it is, `translate`
    /// makes it gRPC, for servers that speak only that. Only with `to`.
    #[schemars(extend("default" = "pass"))]
    pub grpc_web: Option<GrpcWeb>,
    /// Code answers on their way to the client, with nothing held back: `on`, `off`, or the codings in
    /// the order in which they are preferred, `[br, zstd, gzip]`; `on` is `[zstd, br, gzip]`. Coded is
    /// what shrinks and has no secrets in it (cookies, tokens, sessions, logins); never gRPC in any
    /// form, and not what upstream has coded itself. Default: `off`; `on` on the routes of `zitadel`
    /// that lead to ZITADEL. Only with `to`.
    pub compress: Option<OneOrMany<CompressText>>,
    /// Answer CORS preflights here, with ZITADEL's own set of methods and headers, for any origin:
    /// a browser then asks once in a while instead of before each call. With `grpc_web: translate`
    /// the translated answers are readable for these origins too, unless upstream decides that
    /// itself. Default: preflights go upstream. Only with `to`.
    pub preflight: Option<Preflight>,
    /// What of its answers is kept in memory. Default: nothing. Only with `to`.
    pub cache: Option<RouteCache>,
    /// What is sent again, before that at the top. Only with `to`.
    pub retry: Option<Retry>,
}

/// Whom upstream believes what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Identity {
    /// Nothing but `Forwarded` and `X-Forwarded-{For,Host,Proto,Port}`, which are replaced always.
    None,
    /// ZITADEL: every `x-zitadel-*` but `x-zitadel-orgid`, `Grpc-Metadata-*`, other names for host
    /// and client, and trace context go.
    Zitadel,
    /// As `zitadel`, and upstream is told the instance's and the public host
    /// (`x-zitadel-instance-host`, `x-zitadel-public-host`): for ZITADEL's login, and for ZITADEL
    /// where public hosts are trusted domains of the instance.
    Login,
}

/// What becomes of gRPC-Web.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum GrpcWeb {
    /// It goes upstream as it is.
    Pass,
    /// It becomes gRPC.
    Translate,
}

/// CORS preflights that are answered here.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Preflight {
    /// How long a browser may remember the answer; Chromium caps it at 2h, Firefox at 24h.
    #[schemars(extend("default" = "2h"))]
    pub max_age: Option<DurationText>,
}

/// When a route applies.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// Names of listeners on which the request may have come.
    pub listeners: Option<OneOrMany<NameText>>,
    /// Hosts, without port; `*.example.com` holds for one or more labels before it.
    pub host: Option<OneOrMany<HostText>>,
    /// The path, without query. A text is a prefix by segments: `/ui` holds for `/ui` and `/ui/x`,
    /// not for `/uix`. Matched is the path percent-decoded once, so `/%75i` is `/ui`; what goes
    /// upstream stays as it was sent. Faulty encodings, encoded slashes and control characters are a
    /// 400; `//`, `/./` and `/../`, encoded or not, are a 308 to the path that they mean, and a 400
    /// for RPC and for methods other than GET and HEAD.
    pub path: Option<PathMatch>,
    /// Request methods.
    pub methods: Option<OneOrMany<MethodText>>,
    /// Headers: `true` wants the header to be there, a text wants it to hold this value.
    pub headers: Option<BTreeMap<String, HeaderMatch>>,
    /// Addresses or ranges of clients.
    pub clients: Option<OneOrMany<RangeText>>,
    /// gRPC, gRPC-Web or Connect service, or one of its methods. Not together with `path`.
    pub grpc: Option<GrpcText>,
}

/// A path: a prefix, or one of the forms.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum PathMatch {
    /// A prefix.
    Prefix(PathText),
    /// One of the forms.
    Form(PathForm),
}

/// Exactly one of the three.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PathForm {
    /// This path alone.
    pub exact: Option<PathText>,
    /// This path and everything below it.
    pub prefix: Option<PathText>,
    /// The whole path matches this expression.
    pub regex: Option<RegexText>,
}

/// `true`, or a value.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum HeaderMatch {
    /// Present (only `true` makes sense).
    Present(bool),
    /// With this value.
    Value(HeaderText),
}

/// Where a client is sent.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["to"]))]
pub struct Redirect {
    /// An absolute address, or a path on the same host.
    #[schemars(required)]
    pub to: Option<TargetText>,
    /// 301, 302, 303, 307 or 308.
    #[schemars(extend("default" = 308, "enum" = [301, 302, 303, 307, 308]))]
    pub status: Option<u16>,
    /// Append the request's path (without the matched prefix) and query.
    #[schemars(extend("default" = false))]
    pub keep_path: Option<bool>,
}

/// A fixed answer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Respond {
    /// HTTP status.
    #[schemars(range(min = 200, max = 599), extend("default" = 200))]
    pub status: Option<u16>,
    /// Body.
    #[schemars(extend("default" = ""))]
    pub body: Option<BodyText>,
    /// Media type of the body.
    #[schemars(extend("default" = "text/plain; charset=utf-8"))]
    pub content_type: Option<HeaderText>,
}

/// What upstream sees.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rewrite {
    /// Put in the place of the matched prefix, or of the whole path for other matches.
    pub path: Option<PathText>,
    /// The authority that upstream sees. Default: what the client asked for.
    pub host: Option<AuthorityText>,
}

/// Edits of headers: removals first, then sets, then additions.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderEdits {
    /// Names of headers that go.
    pub remove: Option<OneOrMany<HeaderText>>,
    /// One value in the place of all.
    pub set: Option<BTreeMap<String, HeaderText>>,
    /// One more value.
    pub add: Option<BTreeMap<String, HeaderText>>,
}

/// The clocks of an exchange; `off` switches one off.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// From the request's head (later: its last byte) until the answer's head.
    #[schemars(extend("default" = "60s"))]
    pub first_byte: Option<ClockText>,
    /// Without a byte of body in either direction, once the answer's head is there.
    #[schemars(extend("default" = "10m"))]
    pub idle: Option<ClockText>,
    /// For the whole exchange.
    #[schemars(extend("default" = "off"))]
    pub total: Option<ClockText>,
}

/// What a request may cost on a route; `off` switches one off. Refusals are in the caller's protocol:
/// 413 or gRPC's RESOURCE_EXHAUSTED for a size, 408 or CANCELLED for silence.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequestLimits {
    /// Bytes of a request's body; of a gRPC or Connect stream: of all its messages. Not for
    /// WebSockets.
    #[schemars(extend("default" = "off"))]
    pub body: Option<CapText>,
    /// Bytes of one message of gRPC, gRPC-Web or Connect, as it is sent (compressed, if it is).
    #[schemars(extend("default" = "off"))]
    pub grpc_message: Option<CapText>,
    /// How long a client may be silent within its body, until upstream has answered. Not for gRPC and
    /// Connect streams and for WebSockets, which may be silent for long.
    #[schemars(extend("default" = "60s"))]
    pub body_idle: Option<ClockText>,
}

/// How often one client address (IPv6: one /64) may ask: a rate, or `zitadel-cloud`, ZITADEL Cloud's
/// published policy (10 requests per second for `/ui`, 50 for everything else, averaged over a
/// minute; a ban of a minute after 15, or 50, over three), or `off`, the default. More is refused with 429 or gRPC's RESOURCE_EXHAUSTED and the time
/// after which to ask again. At most 65536 clients are remembered; then those unseen for longest are
/// forgotten.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum RateLimit {
    /// By name.
    Named(RateText),
    /// A rate of one's own.
    Own(RateForm),
}

/// How often one client may ask.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["per_minute"]))]
pub struct RateForm {
    /// Requests per minute on average.
    #[schemars(required, range(min = 1, max = 1000000))]
    pub per_minute: Option<u32>,
    /// Requests at once. Default: as many as ten seconds allow.
    #[schemars(range(min = 1, max = 1000000))]
    pub burst: Option<u32>,
}

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
