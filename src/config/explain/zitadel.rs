//! An installation as it is written, and what of its routes has no key of a route.

use serde_json::{Map, Value as Json, json};

use super::clusters::{cluster_tls, endpoint};
use super::routes::edits_of;
use super::{clock, ranges, site_host, size, text, upstream};
use crate::config::zitadel::{Installation, Limits, Mode, Opening};

/// The settings of an installation.
pub(super) fn installation(site: &Installation) -> Json {
    let mut out = Map::new();
    out.insert("name".into(), json!(*site.name));
    out.insert("upstream".into(), site.upstream.iter().map(endpoint).collect());
    if site.mode == Mode::Enabled {
        out.insert("tls".into(), cluster_tls(&site.tls));
    }
    out.insert("domain".into(), site.hosts.iter().map(site_host).collect());
    out.insert("tls_mode".into(), json!(site.mode.word()));
    if !site.login.is_empty() {
        out.insert("login".into(), site.login.iter().map(endpoint).collect());
    }
    if !site.login_hosts.is_empty() {
        out.insert("login_domain".into(), site.login_hosts.iter().map(site_host).collect());
    }
    let host = site.instance_host.as_ref();
    out.extend(host.map(|host| ("instance_host".to_owned(), json!(text(host)))));
    out.insert("health".into(), upstream::health(site.health.as_ref()));
    upstream::balance(site.hash.as_ref(), site.caps, site.resolver, &mut out);
    let mut guards = Map::new();
    if !site.guards.open.is_empty() {
        guards.insert("open".into(), site.guards.open.iter().map(opening).collect());
    }
    guards.insert("health".into(), json!(site.guards.health));
    guards.extend(ranges("import_export", &site.guards.import_export));
    out.insert("guards".into(), Json::Object(guards));
    out.insert("limits".into(), limits(&site.limits));
    out.insert("cache".into(), json!(site.cache));
    out.insert("shield".into(), json!(site.shield));
    edits_of(&site.request_headers, &site.response_headers, &mut out);
    Json::Object(out)
}

/// What a request may cost.
pub(super) fn limits(limits: &Limits) -> Json {
    let limit = |limit: Option<u64>| limit.map_or_else(|| "off".to_owned(), size);
    let mut out = json!({
        "assets": limit(limits.assets),
        "scim": limit(limits.scim),
        "grpc_message": limit(limits.grpc_message.map(u64::from)),
        "body_idle": clock(limits.body_idle),
        "rate": if limits.cloud_rate { "cloud" } else { "off" },
        "quota": limits.quota.is_some(),
    });
    let exempt = limits.quota.as_ref().map(|quota| &quota.exempt).filter(|paths| !paths.is_empty());
    if let (Some(paths), Some(out)) = (exempt, out.as_object_mut()) {
        out.insert("quota_exempt".into(), json!(paths));
    }
    out
}

fn opening(opening: &Opening) -> Json {
    let mut out = Map::new();
    if !opening.names.is_empty() {
        out.insert("names".into(), json!(opening.names));
    }
    if !opening.paths.is_empty() {
        out.insert("paths".into(), json!(opening.paths));
    }
    if !opening.listeners.is_empty() {
        out.insert(
            "listeners".into(),
            opening.listeners.iter().map(|name| json!(**name)).collect(),
        );
    }
    out.extend(ranges("clients", &opening.clients));
    Json::Object(out)
}
