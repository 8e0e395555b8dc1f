//! A listener, as it is written.

use serde_json::{Map, Value as Json, json};

use super::{duration, size};
use crate::downstream::plan::{Address, ClientAuth, Limits, ListenerPlan, TlsPlan};

pub(super) fn listener(plan: &ListenerPlan) -> Json {
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
    out.insert("limits".into(), limits(&plan.limits));
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

pub(super) fn limits(plan: &Limits) -> Json {
    let mut limits = json!({
        "connections": plan.connections,
        "connections_per_client": plan.connections_per_client,
        "streams": plan.streams,
        "header_size": size(plan.header_bytes.into()),
        "header_fields": plan.header_fields,
        "head_time": duration(plan.head_time),
        "idle": duration(plan.idle),
    });
    if let (Some(requests), Some(limits)) = (plan.requests, limits.as_object_mut()) {
        limits.insert("requests".into(), json!(requests));
    }
    limits
}
