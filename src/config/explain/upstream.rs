//! What a cluster is told beside its addresses.

use std::net::SocketAddr;

use serde_json::{Map, Value as Json, json};

use super::duration;
use crate::upstream::plan::{Caps, Check, HashBy, HealthPlan};

/// How endpoints are checked.
pub(super) fn health(plan: Option<&HealthPlan>) -> Json {
    let Some(plan) = plan else { return json!("off") };
    let mut out = Map::new();
    let mut say = |key: &str, value: Json| out.insert(key.to_owned(), value);
    match &plan.check {
        Check::Tcp => drop(say("check", json!("tcp"))),
        Check::Zitadel { host } => {
            say("check", json!("zitadel"));
            host.as_ref().map(|host| say("host", json!(host)));
        }
        Check::Http { path, status, host } => {
            say("check", json!("http"));
            say("path", json!(path));
            status.map(|status| say("status", json!(status)));
            host.as_ref().map(|host| say("host", json!(host)));
        }
        Check::Grpc { service } => {
            say("check", json!("grpc"));
            if !service.is_empty() {
                say("service", json!(service));
            }
        }
    }
    say("interval", json!(duration(plan.interval)));
    say("timeout", json!(duration(plan.timeout)));
    Json::Object(out)
}

/// What leads exchanges to endpoints, and how many each is given.
pub(super) fn balance(
    by: Option<&HashBy>,
    caps: Caps,
    resolver: Option<SocketAddr>,
    out: &mut Map<String, Json>,
) {
    out.extend(by.map(|by| ("hash".to_owned(), hash(by))));
    out.extend(caps.in_flight.map(|cap| ("max_in_flight".to_owned(), json!(cap))));
    out.insert("max_pending".into(), json!(caps.pending));
    let resolver = resolver.map(|address| ("resolver".to_owned(), json!(address.to_string())));
    out.extend(resolver);
}

/// What leads an exchange to its endpoint.
fn hash(by: &HashBy) -> Json {
    match by {
        HashBy::Client => json!("client"),
        HashBy::Header(name) => json!(format!("header:{name}")),
        HashBy::Cookie(name) => json!(format!("cookie:{name}")),
    }
}
