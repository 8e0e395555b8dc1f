//! A route, as it is written.

use http::HeaderValue;
use regex::Regex;
use serde_json::{Map, Value as Json, json};

use super::{MASK, cache, clock, duration, host_text, ranges, retry, size, text};
use crate::config::compile::headers::SECRET;
use crate::config::compile::routes::cost::ZITADEL_CLOUD;
use crate::config::fault::without_userinfo;
use crate::message::FieldName;
use crate::pipeline::path::decode::encoded;
use crate::pipeline::plan::{
    Action, ForwardPlan, GrpcWeb, HeaderEdits, LimitsPlan, Matcher, PathPattern, RatePlan,
    RoutePlan, SiteHost, Timeouts,
};

/// A route, with all that is said of it.
pub(super) fn route(plan: &RoutePlan) -> Json {
    let mut out = Map::new();
    out.insert("name".into(), json!(*plan.name));
    let matcher = matcher(&plan.matcher);
    if !matcher.is_empty() {
        out.insert("match".into(), Json::Object(matcher));
    }
    match &plan.action {
        Action::Forward(forward) => forward_tree(forward, &mut out),
        Action::Redirect(redirect) => {
            let to = without_userinfo(&redirect.to.to_string());
            let status = redirect.status.as_u16();
            let keep_path = redirect.keep_path;
            let redirect = json!({ "to": to, "status": status, "keep_path": keep_path });
            out.insert("redirect".into(), redirect);
        }
        Action::Respond(respond) => {
            let respond = json!({
                "status": respond.status.as_u16(),
                "body": String::from_utf8_lossy(&respond.body),
                "content_type": text(&respond.content_type),
            });
            out.insert("respond".into(), respond);
        }
        Action::Deny => {
            out.insert("deny".into(), json!(true));
        }
    }
    Json::Object(out)
}

fn matcher(plan: &Matcher) -> Map<String, Json> {
    let mut out = Map::new();
    if !plan.listeners.is_empty() {
        let names: Vec<&str> = plan.listeners.iter().map(|name| &**name).collect();
        out.insert("listeners".into(), json!(names));
    }
    if !plan.hosts.is_empty() {
        out.insert("host".into(), json!(plan.hosts.iter().map(host_text).collect::<Vec<_>>()));
    }
    let path = match &plan.path {
        PathPattern::Any => None,
        PathPattern::Exact(path) => Some(json!({ "exact": encoded(path) })),
        PathPattern::Prefix(path) => Some(json!({ "prefix": encoded(path) })),
        PathPattern::Regex(regex) => Some(json!({ "regex": bare(regex) })),
    };
    out.extend(path.map(|path| ("path".to_owned(), path)));
    if !plan.methods.is_empty() {
        let methods: Vec<&str> = plan.methods.iter().map(http::Method::as_str).collect();
        out.insert("methods".into(), json!(methods));
    }
    if !plan.headers.is_empty() {
        let header = |name: &FieldName, value: Option<&HeaderValue>| {
            value.map_or(Json::Bool(true), |value| masked(name, value))
        };
        let headers: Map<String, Json> = plan
            .headers
            .iter()
            .map(|one| (one.name.to_string(), header(&one.name, one.value.as_ref())))
            .collect();
        out.insert("headers".into(), Json::Object(headers));
    }
    out.extend(ranges("clients", &plan.clients));
    if let Some(grpc) = &plan.grpc {
        let method = grpc.method.as_ref().map(|method| format!("/{method}")).unwrap_or_default();
        out.insert("grpc".into(), json!(format!("{}{method}", grpc.service)));
    }
    out
}

/// An expression as it is written, without the anchors that it gets.
pub(super) fn bare(regex: &Regex) -> &str {
    let inner = regex.as_str().strip_prefix("^(?:").and_then(|inner| inner.strip_suffix(")$"));
    inner.unwrap_or(regex.as_str())
}

pub(super) fn forward_tree(plan: &ForwardPlan, out: &mut Map<String, Json>) {
    out.insert("to".into(), json!(*plan.cluster));
    let mut rewrite = Map::new();
    rewrite.extend(plan.rewrite_path.as_ref().map(|path| ("path".to_owned(), json!(path))));
    rewrite.extend(plan.authority.as_ref().map(|host| ("host".to_owned(), json!(text(host)))));
    if !rewrite.is_empty() {
        out.insert("rewrite".into(), Json::Object(rewrite));
    }
    identity(plan, out);
    edits_of(&plan.request_headers, &plan.response_headers, out);
    out.insert("timeouts".into(), timeouts(plan.timeouts));
    out.insert("limits".into(), request_limits(&plan.limits));
    out.insert("rate_limit".into(), rate_limit(plan.limits.rate));
    if plan.grpc_web == GrpcWeb::Translate {
        out.insert("grpc_web".into(), json!("translate"));
    }
    // What is switched off is said too: the route may begin with an installation's, where it is on.
    let compress = match &plan.compress {
        Some(compress) => compress.order.iter().map(|coding| coding.name()).collect(),
        None => json!("off"),
    };
    out.insert("compress".into(), compress);
    if let Some(preflight) = &plan.preflight {
        out.insert("preflight".into(), json!({ "max_age": duration(preflight.max_age) }));
    }
    out.insert("cache".into(), plan.cache.as_ref().map_or(json!(false), |kept| cache::route(kept)));
    out.insert("retry".into(), retry::retry(&plan.retry));
}

pub(super) fn edits_of(request: &HeaderEdits, response: &HeaderEdits, out: &mut Map<String, Json>) {
    for (key, edits) in [("request_headers", request), ("response_headers", response)] {
        if !edits.is_empty() {
            out.insert(key.into(), edits_tree(edits));
        }
    }
}

fn request_limits(plan: &LimitsPlan) -> Json {
    let cap = |bytes: Option<u64>| bytes.map_or_else(|| "off".to_owned(), size);
    json!({
        "body": cap(plan.body),
        "grpc_message": cap(plan.grpc_message.map(u64::from)),
        "body_idle": clock(plan.body_idle),
    })
}

fn rate_limit(plan: Option<RatePlan>) -> Json {
    match plan {
        None => json!("off"),
        Some(RatePlan::ZitadelCloud) => json!(ZITADEL_CLOUD),
        Some(RatePlan::Own(rate)) => {
            json!({ "per_minute": rate.per_minute, "burst": rate.burst })
        }
    }
}

fn identity(plan: &ForwardPlan, out: &mut Map<String, Json>) {
    if !plan.hosts.is_empty() {
        let port = |host: &SiteHost| match host.port {
            443 => String::new(),
            port => format!(":{port}"),
        };
        let host = |host: &SiteHost| format!("{}{}", host_text(&host.pattern), port(host));
        out.insert("public_hosts".into(), plan.hosts.iter().map(host).collect());
    }
    let word = match (plan.identity.login, plan.identity.zitadel) {
        (true, _) => "login",
        (_, true) => "zitadel",
        _ => "none",
    };
    out.insert("identity".into(), json!(word));
    if let Some(host) = &plan.identity.instance_host {
        out.insert("instance_host".into(), json!(text(host)));
    }
}

fn edits_tree(edits: &HeaderEdits) -> Json {
    let fields = |fields: &[(FieldName, HeaderValue)]| -> Map<String, Json> {
        fields.iter().map(|(name, value)| (name.to_string(), masked(name, value))).collect()
    };
    let remove: Vec<&str> = edits.remove.iter().map(FieldName::as_str).collect();
    json!({ "remove": remove, "set": fields(&edits.set), "add": fields(&edits.add) })
}

fn timeouts(plan: Timeouts) -> Json {
    json!({
        "first_byte": clock(plan.first_byte),
        "idle": clock(plan.idle),
        "total": clock(plan.total),
    })
}

fn masked(name: &FieldName, value: &HeaderValue) -> Json {
    if SECRET.contains(&name.as_str()) || value.is_sensitive() {
        return json!(MASK);
    }
    json!(text(value))
}
