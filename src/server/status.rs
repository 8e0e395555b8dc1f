//! Gathers what the status page and the certificate gauges show.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use super::Face;
use crate::admin::Status;
use crate::admin::status::{
    CertificateStatus, ClusterStatus, EndpointStatus, ListenerStatus, RouteStatus,
};
use crate::config::plan::Plan;
use crate::downstream::certificates::Store;
use crate::downstream::plan::Address;
use crate::pipeline::plan::{Action, HostPattern, Matcher, PathPattern};
use crate::telemetry::metrics::{CacheState, CertificateLeft, Metrics, ReloadsKnown};
use crate::telemetry::reloads::Reloads;
use crate::upstream::availability::Availability;
use crate::upstream::roster::{Member, Members};
use crate::upstream::state::{EndpointState, Health, Need};
use crate::worker::Live;

const DAY: f64 = 86_400.0;

/// By listener.
pub(super) type Stores = Vec<(Arc<str>, Arc<Store>)>;

/// What the cache holds, asked at every scrape.
pub(super) fn cache(live: Arc<ArcSwap<Live>>) -> impl Fn() -> CacheState + Send + Sync + 'static {
    move || {
        let live = live.load();
        let Some(cache) = &live.cache else { return CacheState::default() };
        let store = cache.store();
        CacheState {
            bytes: store.used(),
            items: store.items(),
            pending: cache.pending(),
            made: cache.made(),
            read: cache.read(),
            evicted: store.evicted(),
        }
    }
}

/// How long each listener's certificates still hold, asked at every scrape.
pub(super) fn certificates(stores: &Stores) -> Vec<CertificateLeft> {
    let each = |(listener, store): &(Arc<str>, Arc<Store>)| {
        let left = |used: crate::downstream::certificates::InUse| CertificateLeft {
            listener: Arc::clone(listener),
            name: used.facts.names.first().map(ToString::to_string).unwrap_or_default(),
            days: days_left(used.facts.not_after),
        };
        store.certificates().into_iter().map(left).collect::<Vec<_>>()
    };
    stores.iter().flat_map(each).collect()
}

fn days_left(not_after: i64) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
    (not_after as f64 - now) / DAY
}

/// What the status page asks at every view.
pub(super) fn reporter(
    live: Arc<ArcSwap<Live>>,
    face: Arc<ArcSwap<Face>>,
    metrics: &Arc<Metrics>,
    reloads: &Arc<Reloads>,
) -> Arc<dyn Fn() -> Status + Send + Sync> {
    let (metrics, reloads) = (Arc::clone(metrics), Arc::clone(reloads));
    Arc::new(move || {
        let (live, face) = (live.load(), face.load());
        let plan = &live.plan;
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            uptime: metrics.started().elapsed().unwrap_or_default(),
            in_flight: metrics.in_flight(),
            warnings: [not_reloaded(&reloads, &face.stores), warnings(plan, &live.clusters)]
                .concat(),
            listeners: listeners(plan, &face.listening, &metrics),
            routes: plan
                .routes
                .iter()
                .map(|route| RouteStatus {
                    name: route.name.to_string(),
                    when: when(&route.matcher),
                    action: action(&route.action),
                })
                .collect(),
            clusters: clusters(&live.clusters, &metrics),
            certificates: held(&face.stores),
        }
    })
}

/// What was to be put in force and is not.
fn not_reloaded(config: &Reloads, stores: &Stores) -> Vec<String> {
    let since = |good: SystemTime| {
        let passed = SystemTime::now().duration_since(good).unwrap_or_default();
        humantime::format_duration(Duration::from_secs(passed.as_secs()))
    };
    let config = config.last();
    let of_config = config.fault.map(|fault| {
        let since = since(config.good);
        format!(
            "The configuration was not reloaded, the one of {since} ago stays in force: {fault}"
        )
    });
    let of_listener = |(listener, store): &(Arc<str>, Arc<Store>)| {
        let last = store.reloads().last();
        let fault = last.fault?;
        Some(format!(
            "New certificates of listener {listener} are not used, the last good ones stay: {fault}"
        ))
    };
    of_config.into_iter().chain(stores.iter().filter_map(of_listener)).collect()
}

/// How reloads went, asked at every scrape.
pub(super) fn reloads(
    config: &Arc<Reloads>,
    face: &Arc<ArcSwap<Face>>,
) -> impl Fn() -> ReloadsKnown + Send + Sync + 'static {
    let (config, face) = (Arc::clone(config), Arc::clone(face));
    move || {
        let face = face.load();
        let each = |(listener, store): &(Arc<str>, Arc<Store>)| {
            (Arc::clone(listener), store.reloads().last())
        };
        ReloadsKnown { config: config.last(), certificates: face.stores.iter().map(each).collect() }
    }
}

fn warnings(plan: &Plan, clusters: &[Arc<Members>]) -> Vec<String> {
    let insecure = plan.clusters.iter().filter(|cluster| cluster.tls.insecure_skip_verify);
    let insecure = insecure.map(|cluster| {
        format!(
            "The certificates of cluster {} are not verified (tls.insecure_skip_verify).",
            cluster.name
        )
    });
    let emptied = clusters.iter().filter_map(|members| {
        let now = Availability::of(&members.list(), |_| false);
        let name = &members.plan.name;
        now.is_none().then(|| format!("Cluster {name} has no endpoint left: {now}."))
    });
    insecure.chain(emptied).collect()
}

fn listeners(
    plan: &Plan,
    listening: &[(Arc<str>, Address)],
    metrics: &Metrics,
) -> Vec<ListenerStatus> {
    plan.listeners
        .iter()
        .zip(listening)
        .map(|(listener, (name, address))| ListenerStatus {
            name: name.to_string(),
            address: match address {
                Address::Tcp(address) => address.to_string(),
                Address::Unix(path) => format!("unix:{}", path.display()),
            },
            transport: if listener.tls.is_some() { "TLS" } else { "plaintext" }.into(),
            connections: metrics.open_connections(metrics.listener(name)),
        })
        .collect()
}

fn clusters(clusters: &[Arc<Members>], metrics: &Metrics) -> Vec<ClusterStatus> {
    let endpoint = |member: &Member| {
        let EndpointState { cluster, name, .. } = &*member.state;
        let (connections, failing) = metrics.endpoint_state(metrics.endpoint(cluster, name));
        let asked = Need::ALL.iter().all(|need| member.state.is_asked(*need));
        let state = match (asked && member.state.health(Need::Rpc) == Health::Unknown, failing) {
            (false, _) => member.state.words(),
            (true, true) => "cannot be reached".into(),
            (true, false) if connections == 0 => "not asked yet, or idle".into(),
            (true, false) => "connected".into(),
        };
        EndpointStatus { address: name.to_string(), usable: asked && !failing, state, connections }
    };
    let cluster = |members: &Arc<Members>| ClusterStatus {
        name: members.plan.name.to_string(),
        endpoints: members.list().iter().map(endpoint).collect(),
    };
    clusters.iter().map(cluster).collect()
}

fn held(stores: &Stores) -> Vec<CertificateStatus> {
    let each = |(listener, store): &(Arc<str>, Arc<Store>)| {
        let one = |used: crate::downstream::certificates::InUse| CertificateStatus {
            listener: listener.to_string(),
            names: used.facts.names.iter().map(ToString::to_string).collect(),
            days_left: days_left(used.facts.not_after),
        };
        store.certificates().into_iter().map(one).collect::<Vec<_>>()
    };
    stores.iter().flat_map(each).collect()
}

/// When a route applies, in words.
fn when(matcher: &Matcher) -> String {
    let mut words = Vec::new();
    let hosts: Vec<_> = matcher
        .hosts
        .iter()
        .map(|host| match host {
            HostPattern::Exact(host) => host.to_string(),
            HostPattern::Suffix(suffix) => format!("*{suffix}"),
        })
        .collect();
    if !hosts.is_empty() {
        words.push(hosts.join(" or "));
    }
    match &matcher.path {
        PathPattern::Any => {}
        PathPattern::Exact(path) => words.push(format!("path = {path}")),
        PathPattern::Prefix(path) => words.push(format!("path below {path}")),
        PathPattern::Regex(regex) => words.push(format!("path ~ {}", regex.as_str())),
    }
    if let Some(grpc) = &matcher.grpc {
        let mut word = format!("gRPC {}", grpc.service);
        if let Some(method) = &grpc.method {
            // Writing to a String cannot fail.
            let _ = write!(word, "/{method}");
        }
        words.push(word);
    }
    words.extend(matcher.methods.iter().map(ToString::to_string));
    words.extend(matcher.headers.iter().map(|header| format!("header {}", header.name)));
    words.extend(matcher.clients.iter().map(|range| format!("from {range}")));
    words.extend(matcher.listeners.iter().map(|listener| format!("listener {listener}")));
    if words.is_empty() { "always".into() } else { words.join(", ") }
}

fn action(action: &Action) -> String {
    match action {
        Action::Forward(plan) => format!("to {}", plan.cluster),
        Action::Redirect(plan) => format!("{} to {}", plan.status.as_u16(), plan.to),
        Action::Deny => "refused".into(),
        Action::Respond(plan) => format!("answers {}", plan.status.as_u16()),
    }
}
