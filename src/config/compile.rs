//! Schema → Plan: meaning is checked and defaults are filled in, section by section. Every
//! function reports what it finds and goes on with what is left, so that all faults show at once.

pub mod cache;
pub mod clusters;
pub mod headers;
pub mod listeners;
pub mod proxies;
pub mod routes;
pub mod upgrade;
pub mod upstream;
pub mod zitadel;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::config::parse;
use crate::config::plan::{FromPreset, Plan, ShutdownPlan};
use crate::config::schema::text::{AdminText, DurationText};
use crate::config::schema::{AccessLog, Admin, Document, LogFormat, Shutdown};
use crate::config::scope::Scope;
use crate::config::zitadel::reads;
use crate::pipeline::plan::RetryPlan;
use crate::telemetry::plan::{AccessPlan, Format, Output};

/// The plan of a document. It is complete only if nothing was reported.
pub fn document(document: &Document, scope: &Scope<'_>) -> Plan {
    let admin = admin(document.admin.as_ref(), scope);
    let trusted =
        proxies::trusted(document.trusted_proxies.as_ref(), &scope.key("trusted_proxies"));
    let listeners = listeners::listeners(document, admin, &trusted, scope);
    let limits = routes::limits(document, scope);
    let retry = |default: &RetryPlan| routes::retry::retry(document.retry.as_ref(), default, scope);
    let site_retry = retry(&reads::retry());
    let sites = zitadel::installations(document, &listeners, (&limits, &site_retry), scope);
    let clocks = routes::clocks(document, scope);
    let mut preset = routes::Preset::default();
    let mut preset_clusters = Vec::new();
    for (site, scope) in &sites {
        let expansion = site.expand(clocks);
        preset_clusters.extend(expansion.clusters);
        preset.add(site, expansion.guards, expansion.routes, scope);
    }
    let written = |name: &str| document.clusters.iter().any(|all| all.contains_key(name));
    let preset_names = preset_clusters.iter().map(|plan| Arc::clone(&plan.name));
    let preset_names = preset_names.filter(|name| !written(name)).collect();
    let clusters = clusters::clusters(document, preset_clusters, scope);
    let known = routes::Known {
        listeners: &listeners,
        clusters: &clusters,
        timeouts: clocks,
        limits,
        retry: retry(&RetryPlan::default()),
    };
    let (routes, from_preset) = routes::routes(document, &known, preset, scope);
    let preset = FromPreset { routes: from_preset, clusters: preset_names };
    Plan {
        workers: document.workers.map_or_else(processors, usize::from),
        listeners: listeners.into_iter().map(Arc::new).collect(),
        routes: routes.into_iter().map(Arc::new).collect(),
        clusters: clusters.into_iter().map(Arc::new).collect(),
        zitadel: sites.into_iter().map(|(site, _)| site).collect(),
        preset,
        cache: cache::store(document.cache.as_ref(), &scope.key("cache")),
        admin,
        access: access(document.access_log.as_ref(), &scope.key("access_log")),
        shutdown: shutdown(document.shutdown.as_ref(), &scope.key("shutdown")),
        upgrade: upgrade::socket(document.upgrade.as_ref(), &scope.key("upgrade")),
    }
}

fn processors() -> usize {
    available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The default address of the admin listener: loopback.
pub const ADMIN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9901);

fn admin(admin: Option<&Admin>, scope: &Scope<'_>) -> Option<SocketAddr> {
    let scope = scope.key("admin");
    let (text, scope) = match admin {
        None => return Some(ADMIN),
        Some(Admin::Short(text)) => (text, scope),
        Some(Admin::Long(form)) => match &form.address {
            None => return Some(ADMIN),
            Some(text) => (text, scope.key("address")),
        },
    };
    if &**text == "off" {
        return None;
    }
    scope.parsed(text, text.parse().ok(), AdminText::EXPECTED)
}

fn access(log: Option<&AccessLog>, scope: &Scope<'_>) -> AccessPlan {
    let mut plan = AccessPlan::default();
    let Some(log) = log else { return plan };
    if let Some(format) = log.format {
        plan.format = match format {
            LogFormat::Json => Format::Json,
            LogFormat::Text => Format::Text,
            LogFormat::Off => Format::Off,
        };
    }
    if let Some(output) = &log.output {
        plan.output = match &**output {
            "stdout" | "-" => Output::Stdout,
            path => Output::File(scope.key("output").resolve(path)),
        };
    }
    plan
}

fn shutdown(shutdown: Option<&Shutdown>, scope: &Scope<'_>) -> ShutdownPlan {
    let default = ShutdownPlan::default();
    let Some(shutdown) = shutdown else { return default };
    ShutdownPlan {
        delay: duration(shutdown.delay.as_ref(), default.delay, &scope.key("delay")),
        grace: duration(shutdown.grace.as_ref(), default.grace, &scope.key("grace")),
    }
}

/// A duration that may be zero.
fn duration(text: Option<&DurationText>, default: Duration, scope: &Scope<'_>) -> Duration {
    text.and_then(|text| scope.parsed(text, parse::duration(text), DurationText::EXPECTED))
        .unwrap_or(default)
}

/// A duration that must not be zero.
fn lasting(text: Option<&DurationText>, default: Duration, scope: &Scope<'_>) -> Duration {
    let duration = duration(text, default, scope);
    if duration.is_zero() {
        scope.fault("no time at all", "a duration above zero");
    }
    duration
}

/// The scope of an item of a list, or of the only value in its place.
fn item<'a>(scope: &Scope<'a>, index: Option<usize>) -> Scope<'a> {
    index.map_or_else(|| scope.clone(), |index| scope.index(index))
}
