//! `cache`, of a route and of all of them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::text::{ClockText, DurationText, FileText, OneOrMany, PathText, SizeText};

/// The memory that all routes with a cache share, and where its best work outlives it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CacheStore {
    /// Bytes of all that is kept: bodies, each once whatever the host, their coded variants, and
    /// heads. What is used least recently goes first; a body above a quarter of it is not kept.
    #[schemars(extend("default" = "64MiB"))]
    pub memory: Option<SizeText>,
    /// For how long the hashed files of an application's previous generations are kept after an
    /// upgrade, for tabs that are still open. `off`: generations are not told apart, and nothing is
    /// asked for ahead.
    #[schemars(extend("default" = "24h"))]
    pub generations: Option<ClockText>,
    /// Tell browsers with an application's index, and before it (103), what it loads first.
    #[schemars(extend("default" = true))]
    pub early_hints: Option<bool>,
    /// Folder in which the best coded variants of bodies outlive the process, 1GiB of them at most.
    /// It is made when it is needed, replicas may share it, and `ravelin warm` fills it ahead of
    /// time; one that cannot be written to is read from. Default: none, they are made anew.
    pub directory: Option<FileText>,
}

/// What of a route's answers is kept in memory (RFC 9111): `true`, what answers allow; or in detail.
/// Whatever answers say, nothing is kept that carries `Set-Cookie`, answers a request with
/// `Authorization`, is part of a whole, or is ZITADEL's `environment.json` or a page of its login.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum RouteCache {
    /// With every default, or not at all.
    Switch(bool),
    /// In detail.
    Form(RouteCacheForm),
}

/// What of a route's answers is kept.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteCacheForm {
    /// Only these paths and what is below them. Default: the whole route.
    pub paths: Option<OneOrMany<PathText>>,
    /// Without these paths and what is below them.
    pub except: Option<OneOrMany<PathText>>,
    /// Answer requests that carry a `Cookie` too, which otherwise pass by: for static files. Upstream
    /// is then asked without it.
    #[schemars(extend("default" = false))]
    pub with_cookies: Option<bool>,
    /// Keep answers of ZITADEL's APIs too, OIDC's keys and discovery among them, where they say for
    /// how long.
    #[schemars(extend("default" = false))]
    pub api: Option<bool>,
    /// Keep answers of status 400 and above, where they say for how long.
    #[schemars(extend("default" = true))]
    pub errors: Option<bool>,
    /// Guess how long an answer holds that says nothing but `Last-Modified`: a tenth of its age, a
    /// day at most.
    #[schemars(extend("default" = false))]
    pub heuristic: Option<bool>,
    /// Where a single-page application lies, such as `/ui/console`: its files are asked for before
    /// clients do, hashed ones are `immutable` and outlive an upgrade, the others are asked for anew
    /// after one.
    pub app: Option<PathText>,
    /// Keep ZITADEL's keys (`/oauth/v2/keys`) and discovery too, for when upstream fails and for no
    /// longer than the keys' own `max-age`. While upstream answers, it answers everybody itself.
    #[schemars(extend("default" = false))]
    pub shield: Option<bool>,
    /// For how long a stale answer may be served while upstream fails, where the answer does not say
    /// so itself (`stale-if-error`) and does not forbid it.
    #[schemars(extend("default" = "0s"))]
    pub stale_if_error: Option<DurationText>,
}
