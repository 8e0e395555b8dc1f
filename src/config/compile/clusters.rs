//! `clusters`, and the short form `upstream`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::compile::{item, lasting, upstream};
use crate::config::fault::without_userinfo;
use crate::config::parse::{self, Endpoint};
use crate::config::schema::text::{DurationText, EndpointText, OneOrMany, PinText};
use crate::config::schema::{Cluster, ClusterTls, Document, KeyPair};
use crate::config::scope::Scope;
use crate::upstream::plan::{Address, Caps, ClusterPlan, EndpointPlan, TlsPlan};

/// The short form's cluster and route.
pub const SHORT: &str = "upstream";

/// How long connecting may take where nothing is said.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an unused connection is kept where nothing is said.
const IDLE: Duration = Duration::from_secs(90);
/// How long a connection is used where nothing is said.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// How long an upstream in use may be silent where nothing is said.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// A cluster of which nothing is said.
pub fn bare(name: Arc<str>) -> ClusterPlan {
    ClusterPlan {
        name,
        endpoints: Vec::new(),
        tls: TlsPlan::default(),
        connect_timeout: CONNECT_TIMEOUT,
        idle: IDLE,
        max_age: MAX_AGE,
        keepalive: KEEPALIVE,
        health: None,
        hash: None,
        resolver: None,
        caps: Caps::default(),
    }
}

/// Every cluster: those that are written, those of `preset` that none of these replaces, and the
/// short form's. One that takes the place of the preset's has what it does not say itself from it.
pub fn clusters(
    document: &Document,
    preset: Vec<ClusterPlan>,
    scope: &Scope<'_>,
) -> Vec<ClusterPlan> {
    let below = scope.key("clusters");
    let each = |(name, written): (&String, &Cluster)| {
        let replaced = preset.iter().find(|plan| *plan.name == **name);
        let base = replaced.cloned().unwrap_or_else(|| bare(Arc::from(&**name)));
        cluster(written, base, &below.key(name))
    };
    let mut plans: Vec<ClusterPlan> = document.clusters.iter().flatten().map(each).collect();
    let kept = preset.into_iter().filter(|plan| !plans.iter().any(|own| own.name == plan.name));
    let kept: Vec<_> = kept.collect();
    plans.extend(kept);
    if let Some(text) = &document.upstream {
        let scope = scope.key(SHORT);
        if plans.iter().any(|plan| &*plan.name == SHORT) {
            let expected = "a name of its own (the short form \"upstream\" has it)";
            below.key(SHORT).bad(SHORT, expected);
        }
        let endpoints = endpoint(text, &scope).into_iter().collect();
        plans.push(ClusterPlan { endpoints, ..bare(SHORT.into()) });
    }
    plans
}

fn cluster(cluster: &Cluster, base: ClusterPlan, scope: &Scope<'_>) -> ClusterPlan {
    let endpoints = endpoints(cluster.endpoints.as_ref(), &scope.key("endpoints"));
    if base.name.is_empty() {
        scope.bad(&base.name, "a name");
    }
    let is_tls = endpoints.iter().any(|endpoint| endpoint.protocol.is_tls());
    let tls = cluster.tls.as_ref().map(|written| tls(written, &scope.key("tls")));
    if tls.is_some() && !endpoints.is_empty() && !is_tls {
        scope
            .key("tls")
            .fault("TLS settings of plaintext endpoints", "h2:// or https:// endpoints");
    }
    let named = tls.as_ref().is_some_and(|tls| tls.server_name.is_some());
    let nameless = |endpoint: &EndpointPlan| {
        endpoint.protocol.is_tls() && matches!(endpoint.address, Address::Unix(_))
    };
    if !named && base.tls.server_name.is_none() && endpoints.iter().any(nameless) {
        scope.key("endpoints").fault("TLS over a unix socket", "tls.server_name beside it");
    }
    let clock = |written: Option<&DurationText>, base, key| lasting(written, base, &scope.key(key));
    let health = match &cluster.health {
        None => base.health,
        health => {
            let host = base.health.and_then(|plan| plan.host().map(str::to_owned));
            upstream::health(health.as_ref(), host, &scope.key("health"))
        }
    };
    ClusterPlan {
        name: base.name,
        tls: tls.or_else(|| is_tls.then_some(base.tls)).unwrap_or_default(),
        endpoints,
        connect_timeout: clock(
            cluster.connect_timeout.as_ref(),
            base.connect_timeout,
            "connect_timeout",
        ),
        idle: clock(cluster.idle.as_ref(), base.idle, "idle"),
        max_age: clock(cluster.max_age.as_ref(), base.max_age, "max_age"),
        keepalive: clock(cluster.keepalive.as_ref(), base.keepalive, "keepalive"),
        health,
        hash: upstream::hash(cluster.hash.as_ref(), &scope.key("hash")).or(base.hash),
        resolver: upstream::resolver(cluster.resolver.as_ref(), &scope.key("resolver"))
            .or(base.resolver),
        caps: upstream::caps(cluster.max_in_flight, cluster.max_pending, base.caps),
    }
}

/// A list of endpoints, each once.
pub fn endpoints(
    written: Option<&OneOrMany<EndpointText>>,
    scope: &Scope<'_>,
) -> Vec<EndpointPlan> {
    let Some(written) = written else { return Vec::new() };
    let mut plans: Vec<EndpointPlan> = Vec::new();
    let mut count = 0;
    for (i, text) in written.iter() {
        count += 1;
        let below = item(scope, i);
        let Some(plan) = endpoint(text, &below) else { continue };
        if plans.iter().any(|prior| prior.address == plan.address) {
            below.bad(text, "each endpoint once");
        }
        plans.push(plan);
    }
    if count == 0 && matches!(written, OneOrMany::Many(list) if list.is_empty()) {
        scope.fault("an empty list", "at least one endpoint");
    }
    plans
}

fn endpoint(text: &EndpointText, scope: &Scope<'_>) -> Option<EndpointPlan> {
    let parsed = parse::endpoint(text);
    if parsed.is_none() && without_userinfo(text) != **text {
        scope.bad(text, "an address without user and password");
        return None;
    }
    Some(match scope.parsed(text, parsed, EndpointText::EXPECTED)? {
        Endpoint::Tcp(protocol, host, port) => EndpointPlan {
            name: Arc::from(&**text),
            protocol,
            address: Address::Tcp { host, port },
        },
        Endpoint::Dns(protocol, host, port) => EndpointPlan {
            name: Arc::from(&**text),
            protocol,
            address: Address::Dns { host, port },
        },
        Endpoint::Srv(protocol, name) => {
            EndpointPlan { name: Arc::from(&**text), protocol, address: Address::Srv(name) }
        }
        Endpoint::File(protocol, path) => EndpointPlan {
            name: Arc::from(&**text),
            protocol,
            address: Address::File(scope.readable(&path)),
        },
        Endpoint::Unix(protocol, path) => EndpointPlan {
            name: Arc::from(&**text),
            protocol,
            address: Address::Unix(scope.resolve(&path)),
        },
    })
}

/// How a certificate is judged.
pub fn tls(tls: &ClusterTls, scope: &Scope<'_>) -> TlsPlan {
    let pins: Vec<[u8; 32]> = tls
        .pins
        .iter()
        .flat_map(|pins| pins.iter())
        .filter_map(|(i, text)| {
            let below = item(&scope.key("pins"), i);
            below.parsed(text, parse::pin(text), PinText::EXPECTED)
        })
        .collect();
    let insecure_skip_verify = tls.insecure_skip_verify.unwrap_or(false);
    if insecure_skip_verify && (tls.ca.is_some() || tls.pins.is_some()) {
        let expected = "either verification (\"ca\", \"pins\") or none";
        scope.key("insecure_skip_verify").fault("true beside \"ca\" or \"pins\"", expected);
    }
    TlsPlan {
        ca: tls.ca.as_ref().map(|path| scope.key("ca").readable(path)),
        server_name: tls.server_name.as_ref().and_then(|text| {
            let name = text.parse::<std::net::IpAddr>().ok().map(|ip| ip.to_string());
            let name = name.or_else(|| parse::domain(text)).map(Into::into);
            scope.key("server_name").parsed(text, name, "a DNS name or an IP address")
        }),
        pins,
        client_certificate: tls
            .certificate
            .as_ref()
            .and_then(|pair| key_pair(pair, &scope.key("certificate"))),
        insecure_skip_verify,
    }
}

fn key_pair(pair: &KeyPair, scope: &Scope<'_>) -> Option<(PathBuf, PathBuf)> {
    let cert = pair.cert.as_ref().map(|path| scope.key("cert").readable(path));
    let key = pair.key.as_ref().map(|path| scope.key("key").readable(path));
    Some((cert?, key?))
}
