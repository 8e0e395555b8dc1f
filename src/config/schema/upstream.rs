//! What a cluster is told beside its addresses: how its endpoints are checked.

use schemars::JsonSchema;
use serde::Deserialize;

use super::text::{AuthorityText, DurationText, NameText, PathText};

/// How endpoints are checked: a check, or its keys.
///
/// One that refuses connections is down at once, and is asked some times a second until it is back.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Health {
    /// A check alone.
    Check(HealthCheck),
    /// Its keys.
    Form(HealthForm),
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum HealthCheck {
    /// ZITADEL's `/debug/ready`, and `/admin/v1/healthz` for REST: a replica gets gRPC when it is
    /// ready, and REST when its gateway has come up too.
    Zitadel,
    /// `path`, in the endpoint's own protocol.
    Http,
    /// `grpc.health.v1.Health`: `Check`, and `Watch` where the server has it.
    Grpc,
    /// That it can be connected to.
    Tcp,
    /// Nothing: only what requests meet is known.
    Off,
}

/// How endpoints are checked, key by key.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["check"]))]
pub struct HealthForm {
    /// What is asked.
    #[schemars(required)]
    pub check: Option<HealthCheck>,
    /// The path of an `http` check.
    #[schemars(extend("default" = "/"))]
    pub path: Option<PathText>,
    /// The status that is well in an `http` check. Default: every 2xx.
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<u16>,
    /// The host that a `zitadel` or `http` check asks for. Default: the first of `domain`, or the
    /// endpoint's own.
    pub host: Option<AuthorityText>,
    /// The service of a `grpc` check. Default: the server as a whole.
    pub service: Option<NameText>,
    /// From one check to the next while all is well; a fifth of it by chance.
    #[schemars(extend("default" = "5s"))]
    pub interval: Option<DurationText>,
    /// How long an answer may take.
    #[schemars(extend("default" = "2s"))]
    pub timeout: Option<DurationText>,
}
