//! Routes as they are written: what happens to a request, and what it may cost.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::cache::RouteCache;
use super::matching::Match;
use super::retry::Retry;
use super::text::{
    AuthorityText, BodyText, CapText, ClockText, CompressText, DurationText, HeaderText, NameText,
    OneOrMany, PathText, RateText, SiteText, TargetText,
};

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
