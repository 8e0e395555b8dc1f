//! Plan → YAML: what is in effect, without secrets; with every default filled in, or what differs
//! from the defaults.
//!
//! The text is a configuration again: loading it gives the same plan, except for masked values.
//! What `zitadel` brings is shown as comments where it stands: it comes again from `zitadel`.

mod cache;
mod clusters;
mod concise;
mod listeners;
mod retry;
mod routes;
mod upstream;
mod write;
mod zitadel;

use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderValue;
use ipnet::IpNet;
use serde_json::{Map, Value as Json, json};

use crate::config::plan::{Plan, ShutdownPlan};
use crate::pipeline::plan::{HostPattern, SiteHost};
use crate::telemetry::plan::{AccessPlan, Format, Output};

/// What stands in the place of a secret.
const MASK: &str = "***";

/// A key that begins so is a comment: what is below it is shown, not said.
const COMMENT: &str = "# ";
/// The heading of what an installation brings.
const FROM_PRESET: &str = "# from zitadel";

/// The effective configuration, every default filled in.
pub fn yaml(plan: &Plan) -> String {
    let mut out = String::new();
    write::emit(&tree(plan), 0, &mut out);
    out
}

/// The effective configuration as far as it differs from the defaults, and a line for each route and
/// cluster that an installation brings.
pub fn concise(plan: &Plan) -> String {
    let mut out = "# What differs from the defaults; --explain=full is all of it.\n".to_owned();
    write::emit(&concise::tree(plan), 0, &mut out);
    out
}

fn tree(plan: &Plan) -> Json {
    let mut out = Map::new();
    out.insert("workers".into(), json!(plan.workers));
    out.insert("trusted_proxies".into(), trusted(plan));
    let listeners = plan.listeners.iter().map(|l| listeners::listener(l)).collect();
    out.insert("listeners".into(), listeners);
    if !plan.zitadel.is_empty() {
        out.insert("zitadel".into(), plan.zitadel.iter().map(zitadel::installation).collect());
    }
    let routes = plan.routes.iter().map(|one| match plan.preset.routes.contains(&one.name) {
        true => json!({ FROM_PRESET: [routes::route(one)] }),
        false => routes::route(one),
    });
    out.insert("routes".into(), routes.collect());
    let mut clusters = Map::new();
    for cluster in &plan.clusters {
        let one = Map::from_iter([(cluster.name.to_string(), clusters::cluster_tree(cluster))]);
        if plan.preset.clusters.contains(&cluster.name) {
            clusters.insert(format!("{FROM_PRESET} {}", cluster.name), Json::Object(one));
        } else {
            clusters.extend(one);
        }
    }
    out.insert("clusters".into(), Json::Object(clusters));
    out.insert("cache".into(), cache::store(&plan.cache));
    out.insert("admin".into(), admin(plan.admin));
    out.insert("access_log".into(), access_log(&plan.access));
    out.insert("shutdown".into(), shutdown(&plan.shutdown));
    if let Some(socket) = &plan.upgrade {
        out.insert("upgrade".into(), json!({"socket": socket.display().to_string()}));
    }
    Json::Object(out)
}

fn trusted(plan: &Plan) -> Json {
    // Every listener has the same: they are one key.
    let trusted = plan.listeners.first().map(|listener| &listener.trusted_proxies);
    trusted.into_iter().flat_map(|all| all.iter()).map(|range| json!(range.to_string())).collect()
}

fn admin(address: Option<SocketAddr>) -> Json {
    json!(address.map_or_else(|| "off".to_owned(), |address| address.to_string()))
}

fn shutdown(plan: &ShutdownPlan) -> Json {
    json!({ "delay": duration(plan.delay), "grace": duration(plan.grace) })
}

fn access_log(plan: &AccessPlan) -> Json {
    json!({
        "format": match plan.format {
            Format::Off => "off",
            Format::Json => "json",
            Format::Text => "text",
        },
        "output": match &plan.output {
            Output::Stdout => "stdout".to_owned(),
            Output::File(path) => path.display().to_string(),
        },
    })
}

fn ranges(key: &str, ranges: &[IpNet]) -> Option<(String, Json)> {
    let texts: Vec<String> = ranges.iter().map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| (key.to_owned(), json!(texts)))
}

fn host_text(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(host) => host.to_string(),
        HostPattern::Suffix(suffix) => format!("*{suffix}"),
    }
}

fn site_host(host: &SiteHost) -> Json {
    let name = host_text(&host.pattern);
    json!(if host.shows_port { format!("{name}:{}", host.port) } else { name })
}

fn clock(clock: Option<Duration>) -> String {
    clock.map_or_else(|| "off".to_owned(), duration)
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes % (1 << 20) == 0 => format!("{}MiB", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => format!("{}KiB", bytes >> 10),
        bytes => bytes.to_string(),
    }
}
