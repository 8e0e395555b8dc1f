//! Plan → YAML: what is in effect, with every default filled in and without secrets.
//!
//! The text is a configuration again: loading it gives the same plan, except for masked values.
//! What `zitadel` brings is shown as comments where it stands: it comes again from `zitadel`.

mod cache;
mod retry;
mod upstream;
mod zitadel;

use std::fmt::Write as _;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use ipnet::IpNet;
use serde_json::{Map, Value as Json, json};

use crate::config::compile::headers::SECRET;
use crate::config::compile::routes::cost::ZITADEL_CLOUD;
use crate::config::fault::without_userinfo;
use crate::config::plan::Plan;
use crate::downstream::plan::{Address, ClientAuth, ListenerPlan, TlsPlan};
use crate::pipeline::path::decode::encoded;
use crate::pipeline::plan::{
    Action, ForwardPlan, GrpcWeb, HeaderEdits, HostPattern, LimitsPlan, Matcher, PathPattern,
    RatePlan, RoutePlan, SiteHost, Timeouts,
};
use crate::telemetry::plan::{AccessPlan, Format, Output};
use crate::upstream::plan::{
    Address as Endpoint, ClusterPlan, EndpointPlan, TlsPlan as UpstreamTls,
};

/// What stands in the place of a secret.
const MASK: &str = "***";

/// A key that begins so is a comment: what is below it is shown, not said.
const COMMENT: &str = "# ";
/// The heading of what an installation brings.
const FROM_PRESET: &str = "# from zitadel";

/// The effective configuration.
pub fn yaml(plan: &Plan) -> String {
    let mut out = String::new();
    emit(&tree(plan), 0, &mut out);
    out
}

fn tree(plan: &Plan) -> Json {
    let mut out = Map::new();
    out.insert("workers".into(), json!(plan.workers));
    // Every listener has the same: they are one key.
    let trusted = plan.listeners.first().map(|listener| &listener.trusted_proxies);
    let trusted: Vec<String> =
        trusted.into_iter().flat_map(|all| all.iter()).map(ToString::to_string).collect();
    out.insert("trusted_proxies".into(), json!(trusted));
    let listeners = plan.listeners.iter().map(|l| listener(l)).collect();
    out.insert("listeners".into(), listeners);
    if !plan.zitadel.is_empty() {
        out.insert("zitadel".into(), plan.zitadel.iter().map(zitadel::installation).collect());
    }
    let routes = plan.routes.iter().map(|one| match plan.preset.routes.contains(&one.name) {
        true => json!({ FROM_PRESET: [route(one)] }),
        false => route(one),
    });
    out.insert("routes".into(), routes.collect());
    let mut clusters = Map::new();
    for cluster in &plan.clusters {
        let one = Map::from_iter([(cluster.name.to_string(), cluster_tree(cluster))]);
        if plan.preset.clusters.contains(&cluster.name) {
            clusters.insert(format!("{FROM_PRESET} {}", cluster.name), Json::Object(one));
        } else {
            clusters.extend(one);
        }
    }
    out.insert("clusters".into(), Json::Object(clusters));
    out.insert("cache".into(), cache::store(&plan.cache));
    let admin = plan.admin.map_or_else(|| "off".to_owned(), |address| address.to_string());
    out.insert("admin".into(), json!(admin));
    out.insert("access_log".into(), access_log(&plan.access));
    let shutdown = json!({
        "delay": duration(plan.shutdown.delay),
        "grace": duration(plan.shutdown.grace),
    });
    out.insert("shutdown".into(), shutdown);
    if let Some(socket) = &plan.upgrade {
        out.insert("upgrade".into(), json!({"socket": socket.display().to_string()}));
    }
    Json::Object(out)
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

fn listener(plan: &ListenerPlan) -> Json {
    let mut out = Map::new();
    out.insert("name".into(), json!(*plan.name));
    out.insert(
        "address".into(),
        match &plan.address {
            Address::Tcp(address) => json!(address.to_string()),
            Address::Unix(path) => json!(format!("unix:{}", path.display())),
        },
    );
    if let Some(tls) = &plan.tls {
        out.insert("tls".into(), listener_tls(tls));
    }
    if !plan.proxy_protocol.is_empty() {
        let from: Vec<String> = plan.proxy_protocol.iter().map(ToString::to_string).collect();
        out.insert("proxy_protocol".into(), json!({ "from": from }));
    }
    if let Some(port) = plan.redirect_to_https {
        out.insert("redirect_to_https".into(), json!(port));
    }
    let limits = &plan.limits;
    let mut limits = json!({
        "connections": limits.connections,
        "connections_per_client": limits.connections_per_client,
        "streams": limits.streams,
        "header_size": size(limits.header_bytes.into()),
        "header_fields": limits.header_fields,
        "head_time": duration(limits.head_time),
        "idle": duration(limits.idle),
    });
    if let (Some(requests), Some(limits)) = (plan.limits.requests, limits.as_object_mut()) {
        limits.insert("requests".into(), json!(requests));
    }
    out.insert("limits".into(), limits);
    Json::Object(out)
}

fn listener_tls(plan: &TlsPlan) -> Json {
    let certificates: Vec<Json> = plan
        .certificates
        .iter()
        .map(|one| json!({ "cert": one.cert, "key": one.key, "default": one.default }))
        .collect();
    json!({
        "certificates": certificates,
        "client_auth": match &plan.client_auth {
            ClientAuth::Off => json!({ "mode": "off" }),
            ClientAuth::Optional(ca) => json!({ "mode": "optional", "ca": ca }),
            ClientAuth::Required(ca) => json!({ "mode": "required", "ca": ca }),
        },
        "min_version": if plan.only_tls13 { "1.3" } else { "1.2" },
    })
}

/// `whole`: also what only an installation can say.
fn route(plan: &RoutePlan) -> Json {
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
        PathPattern::Regex(regex) => {
            let inner = regex.as_str().strip_prefix("^(?:").and_then(|r| r.strip_suffix(")$"));
            Some(json!({ "regex": inner.unwrap_or(regex.as_str()) }))
        }
    };
    out.extend(path.map(|path| ("path".to_owned(), path)));
    if !plan.methods.is_empty() {
        let methods: Vec<&str> = plan.methods.iter().map(http::Method::as_str).collect();
        out.insert("methods".into(), json!(methods));
    }
    if !plan.headers.is_empty() {
        let header = |name: &HeaderName, value: Option<&HeaderValue>| {
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

fn forward_tree(plan: &ForwardPlan, out: &mut Map<String, Json>) {
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
    if let Some(compress) = &plan.compress {
        let order: Vec<&str> = compress.order.iter().map(|coding| coding.name()).collect();
        out.insert("compress".into(), json!(order));
    }
    if let Some(preflight) = &plan.preflight {
        out.insert("preflight".into(), json!({ "max_age": duration(preflight.max_age) }));
    }
    if let Some(kept) = &plan.cache {
        out.insert("cache".into(), cache::route(kept));
    }
    out.insert("retry".into(), retry::retry(&plan.retry));
}

fn edits_of(request: &HeaderEdits, response: &HeaderEdits, out: &mut Map<String, Json>) {
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
    if plan.identity.zitadel || plan.identity.login {
        let word = if plan.identity.login { "login" } else { "zitadel" };
        out.insert("identity".into(), json!(word));
    }
    if let Some(host) = &plan.identity.instance_host {
        out.insert("instance_host".into(), json!(text(host)));
    }
}

fn edits_tree(edits: &HeaderEdits) -> Json {
    let fields = |fields: &[(HeaderName, HeaderValue)]| -> Map<String, Json> {
        fields.iter().map(|(name, value)| (name.to_string(), masked(name, value))).collect()
    };
    let remove: Vec<&str> = edits.remove.iter().map(HeaderName::as_str).collect();
    json!({ "remove": remove, "set": fields(&edits.set), "add": fields(&edits.add) })
}

fn timeouts(plan: Timeouts) -> Json {
    json!({
        "first_byte": clock(plan.first_byte),
        "idle": clock(plan.idle),
        "total": clock(plan.total),
    })
}

fn clock(clock: Option<Duration>) -> String {
    clock.map_or_else(|| "off".to_owned(), duration)
}

fn cluster_tree(plan: &ClusterPlan) -> Json {
    let mut out = Map::new();
    out.insert("endpoints".into(), plan.endpoints.iter().map(endpoint).collect());
    if plan.endpoints.iter().any(|endpoint| endpoint.protocol.is_tls()) {
        out.insert("tls".into(), cluster_tls(&plan.tls));
    }
    out.insert("connect_timeout".into(), json!(duration(plan.connect_timeout)));
    out.insert("idle".into(), json!(duration(plan.idle)));
    out.insert("max_age".into(), json!(duration(plan.max_age)));
    out.insert("keepalive".into(), json!(duration(plan.keepalive)));
    out.insert("health".into(), upstream::health(plan.health.as_ref()));
    upstream::balance(plan.hash.as_ref(), plan.caps, plan.resolver, &mut out);
    Json::Object(out)
}

fn cluster_tls(plan: &UpstreamTls) -> Json {
    let mut tls = Map::new();
    tls.extend(plan.ca.as_ref().map(|ca| ("ca".to_owned(), json!(ca))));
    let name = plan.server_name.as_ref();
    tls.extend(name.map(|name| ("server_name".to_owned(), json!(name))));
    if !plan.pins.is_empty() {
        use base64::Engine as _;
        let encode = |pin: &[u8; 32]| base64::prelude::BASE64_STANDARD.encode(pin);
        let pins: Vec<String> = plan.pins.iter().map(encode).collect();
        tls.insert("pins".into(), json!(pins));
    }
    let pair = plan.client_certificate.as_ref();
    let pair = pair.map(|(cert, key)| json!({ "cert": cert, "key": key }));
    tls.extend(pair.map(|pair| ("certificate".to_owned(), pair)));
    tls.insert("insecure_skip_verify".into(), json!(plan.insecure_skip_verify));
    Json::Object(tls)
}

fn endpoint(plan: &EndpointPlan) -> Json {
    let scheme = plan.protocol.scheme();
    json!(match &plan.address {
        Endpoint::Unix(path) => format!("{scheme}+unix:{}", path.display()),
        Endpoint::Dns { host, port } => format!("{scheme}+dns://{host}:{port}"),
        Endpoint::Srv(name) => format!("{scheme}+srv://{name}"),
        Endpoint::File(path) => format!("{scheme}+file:{}", path.display()),
        Endpoint::Tcp { host, port } if host.contains(':') => format!("{scheme}://[{host}]:{port}"),
        Endpoint::Tcp { host, port } => format!("{scheme}://{host}:{port}"),
    })
}

fn masked(name: &HeaderName, value: &HeaderValue) -> Json {
    if SECRET.contains(&name.as_str()) || value.is_sensitive() {
        return json!(MASK);
    }
    json!(text(value))
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

/// Block YAML. Texts are quoted as JSON, which YAML 1.2 reads the same.
fn emit(value: &Json, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Json::Object(map) => {
            for (key, value) in map {
                if key.starts_with(COMMENT) {
                    commented(value, depth, out);
                } else {
                    let _ = write!(out, "{indent}{}:", key_text(key));
                    emit_below(value, depth, out);
                }
            }
        }
        Json::Array(items) => {
            for item in items {
                if let Some(shown) = item.get(FROM_PRESET) {
                    commented(shown, depth, out);
                    continue;
                }
                let mut text = String::new();
                if is_block(item) {
                    emit(item, depth + 1, &mut text);
                } else {
                    text = format!("{}\n", flow(item));
                }
                let _ = write!(out, "{indent}- {}", text.trim_start());
            }
        }
        other => {
            let _ = writeln!(out, "{indent}{}", flow(other));
        }
    }
}

/// What an installation brings, every line a comment.
fn commented(value: &Json, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    let mut text = String::new();
    emit(value, 0, &mut text);
    let _ = writeln!(out, "{indent}{FROM_PRESET}:");
    for line in text.lines() {
        let _ = writeln!(out, "{indent}#   {line}");
    }
}

fn emit_below(value: &Json, depth: usize, out: &mut String) {
    if is_block(value) {
        out.push('\n');
        emit(value, depth + 1, out);
    } else {
        let _ = writeln!(out, " {}", flow(value));
    }
}

fn is_block(value: &Json) -> bool {
    match value {
        Json::Object(map) => !map.is_empty(),
        Json::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn flow(value: &Json) -> String {
    match value {
        Json::String(text) if is_plain(text) => text.clone(),
        other => other.to_string(),
    }
}

fn key_text(key: &str) -> String {
    if is_plain(key) { key.to_owned() } else { Json::from(key).to_string() }
}

/// Texts that no reader takes for anything else, not even one of YAML 1.1.
fn is_plain(text: &str) -> bool {
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
    let taken = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    word && !taken.contains(&text.to_ascii_lowercase().as_str())
}
