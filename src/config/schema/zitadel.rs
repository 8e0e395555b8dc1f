//! ZITADEL as it is written: installations, guards and limits.

use schemars::JsonSchema;
use serde::Deserialize;

use super::clusters::ClusterTls;
use super::routes::HeaderEdits;
use super::text::{
    AuthorityText, ClockText, EndpointText, HashText, LimitText, NameText, OneOrMany, PathText,
    RangeText, ResolverText, SiteText,
};
use super::upstream;

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
