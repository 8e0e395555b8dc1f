//! What differs from the defaults. An installation's routes and clusters are a line each: when, and
//! what then.

use http::Method;
use serde_json::{Map, Value as Json, json};

use super::clusters::{cluster_tree, endpoint};
use super::{FROM_PRESET, access_log, admin, cache, host_text, routes, shutdown, upstream};
use crate::config::compile;
use crate::config::compile::clusters::bare;
use crate::config::plan::{Plan, ShutdownPlan};
use crate::config::zitadel::{Installation, authority};
use crate::downstream::plan::Limits;
use crate::pipeline::plan::{Action, ForwardPlan, Matcher, PathPattern, RoutePlan, StorePlan};
use crate::telemetry::plan::AccessPlan;
use crate::upstream::plan::{Caps, ClusterPlan};

pub(super) fn tree(plan: &Plan) -> Json {
    let mut tree = super::tree(plan);
    if let Json::Object(out) = &mut tree {
        without(out, &top());
        for listener in items(out, "listeners") {
            without(listener, &listener_defaults());
        }
        for (one, site) in items(out, "zitadel").zip(&plan.zitadel) {
            without_installation(one, site);
        }
        out.insert("routes".into(), routes_of(plan));
        out.insert("clusters".into(), clusters_of(plan));
    }
    tree
}

/// Takes away what is as it would be without being said.
fn without(written: &mut Map<String, Json>, defaults: &Map<String, Json>) {
    written.retain(|key, value| match (defaults.get(key), value) {
        (Some(Json::Object(below)), Json::Object(value)) => {
            without(value, below);
            !value.is_empty()
        }
        (Some(default), value) => default != value,
        (None, _) => true,
    });
}

fn items<'a>(
    out: &'a mut Map<String, Json>,
    key: &str,
) -> impl Iterator<Item = &'a mut Map<String, Json>> {
    let list = out.get_mut(key).and_then(Json::as_array_mut);
    list.into_iter().flatten().filter_map(Json::as_object_mut)
}

fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

fn top() -> Map<String, Json> {
    object(json!({
        "trusted_proxies": [],
        "cache": cache::store(&StorePlan::default()),
        "admin": admin(Some(compile::ADMIN)),
        "access_log": access_log(&AccessPlan::default()),
        "shutdown": shutdown(&ShutdownPlan::default()),
    }))
}

fn listener_defaults() -> Map<String, Json> {
    object(json!({
        "tls": { "client_auth": { "mode": "off" }, "min_version": "1.2" },
        "limits": super::listeners::limits(&Limits::default()),
    }))
}

fn without_installation(written: &mut Map<String, Json>, site: &Installation) {
    // A check is one thing: a part of it would be a part of another.
    let host = site.hosts.iter().find_map(authority);
    let usual = upstream::health(Some(&compile::upstream::zitadel(host)));
    if written.get("health") == Some(&usual) {
        written.remove("health");
    }
    let defaults = json!({
        "guards": { "health": false },
        "limits": super::zitadel::limits(&crate::config::zitadel::Limits::default()),
        "cache": true,
        "shield": false,
        "max_pending": Caps::default().pending,
    });
    without(written, &object(defaults));
}

/// Those of installations are collected under one heading where they stand together.
fn routes_of(plan: &Plan) -> Json {
    let mut out = Vec::new();
    let mut rows: Vec<[String; 3]> = Vec::new();
    for one in &plan.routes {
        if plan.preset.routes.contains(&one.name) {
            rows.push(row(plan, one));
            continue;
        }
        out.extend(heading(&mut rows));
        out.push(own(plan, one));
    }
    out.extend(heading(&mut rows));
    Json::Array(out)
}

fn heading(rows: &mut Vec<[String; 3]>) -> Option<Json> {
    let rows = std::mem::take(rows);
    (!rows.is_empty()).then(|| json!({ FROM_PRESET: table(&rows) }))
}

/// Columns, as wide as they must be.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A route of the user's. What goes to an installation's cluster has that one's defaults, which are
/// not these: it is shown whole.
fn own(plan: &Plan, one: &RoutePlan) -> Json {
    let mut written = routes::route(one);
    if let (Action::Forward(forward), Json::Object(written)) = (&one.action, &mut written)
        && !plan.preset.clusters.contains(&forward.cluster)
    {
        let mut defaults = Map::new();
        routes::forward_tree(&ForwardPlan::to(forward.cluster.clone()), &mut defaults);
        defaults.remove("to");
        without(written, &defaults);
    }
    written
}

fn row(plan: &Plan, one: &RoutePlan) -> [String; 3] {
    let then = match &one.action {
        Action::Forward(forward) => format!("to {}", forward.cluster),
        Action::Redirect(redirect) => {
            format!("{} to {}", redirect.status.as_u16(), redirect.to)
        }
        Action::Respond(respond) => format!("answered with {}", respond.status.as_u16()),
        Action::Deny => "refused".to_owned(),
    };
    [one.name.to_string(), when(plan, &one.matcher), then]
}

fn when(plan: &Plan, matcher: &Matcher) -> String {
    let path = match (&matcher.path, &matcher.grpc) {
        (_, Some(grpc)) => match &grpc.method {
            Some(method) => format!("/{}/{method}", grpc.service),
            None => format!("/{} and below", grpc.service),
        },
        (PathPattern::Any, None) => "everything else".to_owned(),
        (PathPattern::Exact(path), None) => path.to_string(),
        (PathPattern::Prefix(path), None) => format!("{path} and below"),
        (PathPattern::Regex(regex), None) => routes::bare(regex).to_owned(),
    };
    let methods: Vec<&str> = matcher.methods.iter().map(Method::as_str).collect();
    let mut out = format!("{} {path}", methods.join(", ")).trim_start().to_owned();
    let sites = || plan.zitadel.iter().map(Installation::host_patterns);
    let hosts: Vec<String> = matcher.hosts.iter().map(host_text).collect();
    // Of one installation alone its own hosts say nothing.
    if plan.zitadel.len() > 1 || !sites().any(|patterns| patterns == matcher.hosts) {
        out.push_str(&format!(" of {}", hosts.join(", ")));
    }
    if !matcher.listeners.is_empty() {
        out.push_str(&format!(", on {}", matcher.listeners.join(", ")));
    }
    let clients: Vec<String> = matcher.clients.iter().map(ToString::to_string).collect();
    if !clients.is_empty() {
        out.push_str(&format!(", from {}", clients.join(", ")));
    }
    out
}

fn clusters_of(plan: &Plan) -> Json {
    let mut out = Map::new();
    let (preset, own): (Vec<_>, Vec<_>) =
        plan.clusters.iter().partition(|cluster| plan.preset.clusters.contains(&cluster.name));
    for cluster in own {
        let mut written = object(cluster_tree(cluster));
        let defaults =
            ClusterPlan { endpoints: cluster.endpoints.clone(), ..bare(cluster.name.clone()) };
        let mut defaults = object(cluster_tree(&defaults));
        defaults.remove("endpoints");
        without(&mut written, &defaults);
        out.insert(cluster.name.to_string(), Json::Object(written));
    }
    let endpoints = |cluster: &ClusterPlan| {
        let all = cluster.endpoints.iter().map(endpoint);
        all.filter_map(|one| one.as_str().map(str::to_owned)).collect::<Vec<_>>().join(", ")
    };
    let rows: Vec<_> =
        preset.iter().map(|cluster| [cluster.name.to_string(), endpoints(cluster)]).collect();
    if !rows.is_empty() {
        out.insert(FROM_PRESET.to_owned(), json!(table(&rows)));
    }
    Json::Object(out)
}
