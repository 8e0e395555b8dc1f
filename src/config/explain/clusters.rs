//! A cluster, as it is written.

use serde_json::{Map, Value as Json, json};

use super::{duration, upstream};
use crate::upstream::plan::{Address, ClusterPlan, EndpointPlan, TlsPlan};

pub(super) fn cluster_tree(plan: &ClusterPlan) -> Json {
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

pub(super) fn cluster_tls(plan: &TlsPlan) -> Json {
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

pub(super) fn endpoint(plan: &EndpointPlan) -> Json {
    let scheme = plan.protocol.scheme();
    json!(match &plan.address {
        Address::Unix(path) => format!("{scheme}+unix:{}", path.display()),
        Address::Dns { host, port } => format!("{scheme}+dns://{host}:{port}"),
        Address::Srv(name) => format!("{scheme}+srv://{name}"),
        Address::File(path) => format!("{scheme}+file:{}", path.display()),
        Address::Tcp { host, port } if host.contains(':') => format!("{scheme}://[{host}]:{port}"),
        Address::Tcp { host, port } => format!("{scheme}://{host}:{port}"),
    })
}
