//! `zitadel`: settings → installations. What contradicts itself is told in ZITADEL's words, with
//! the setting to change.

use std::sync::Arc;

use http::HeaderValue;

use crate::config::compile::{clusters, headers, item, upstream};
use crate::config::fault::{nearest, quoted};
use crate::config::parse;
use crate::config::schema::text::{AuthorityText, LimitText, OneOrMany, RangeText, SiteText};
use crate::config::schema::{
    Document, GuardName, Guards as GuardsText, Opening as OpeningText, RateName,
    SiteLimits as LimitsText, TlsMode, Zitadel,
};
use crate::config::scope::Scope;
use crate::config::zitadel::{Guards, Installation, Limits, Mode, Opening, authority, exposure};
use crate::downstream::plan::ListenerPlan;
use crate::pipeline::plan::{LimitsPlan, QuotaPlan, RetryPlan, SiteHost};
use crate::upstream::plan::{Caps, EndpointPlan};

/// Every installation, with where it was written.
pub fn installations<'a>(
    document: &Document,
    listeners: &[ListenerPlan],
    base: (&LimitsPlan, &RetryPlan),
    scope: &Scope<'a>,
) -> Vec<(Installation, Scope<'a>)> {
    let below = scope.key("zitadel");
    let mut plans: Vec<(Installation, Scope<'a>)> = Vec::new();
    if matches!(&document.zitadel, Some(OneOrMany::Many(list)) if list.is_empty()) {
        below.fault("an empty list", "at least one installation");
    }
    for (i, written) in document.zitadel.iter().flat_map(OneOrMany::iter) {
        let scope = item(&below, i);
        let plan = installation(written, i.unwrap_or_default(), listeners, base, &scope);
        apart(&plan, &plans, &scope);
        plans.push((plan, scope));
    }
    plans
}

fn installation(
    written: &Zitadel,
    i: usize,
    listeners: &[ListenerPlan],
    (base, retry): (&LimitsPlan, &RetryPlan),
    scope: &Scope<'_>,
) -> Installation {
    let name: Arc<str> = match (&written.name, i) {
        (Some(name), _) => Arc::from(&**name),
        (None, 0) => "zitadel".into(),
        (None, i) => format!("zitadel-{}", i + 1).into(),
    };
    if name.is_empty() {
        scope.key("name").bad(&name, "a name");
    }
    let replicas = clusters::endpoints(written.upstream.as_ref(), &scope.key("upstream"));
    let mode = mode(written.tls_mode, &replicas, listeners);
    fits(mode, written, &replicas, listeners, scope);
    let tls = written.tls.as_ref().map(|tls| clusters::tls(tls, &scope.key("tls")));
    if tls.is_some() && mode != Mode::Enabled {
        let expected = "it with tls_mode \"enabled\" only (ZITADEL with --tlsMode enabled)";
        scope.key("tls").fault("TLS settings of a plaintext upstream", expected);
    }
    let login = clusters::endpoints(written.login.as_ref(), &scope.key("login"));
    if written.shield == Some(true) && written.cache == Some(false) {
        scope.key("shield").fault("it with \"cache: false\"", "it with the cache only");
    }
    if written.login.is_none() && written.login_domain.is_some() {
        scope.key("login_domain").fault("it without \"login\"", "both");
    }
    let domains = hosts(written.domain.as_ref(), mode, &scope.key("domain"));
    let host = domains.iter().find_map(authority);
    let health = match &written.health {
        None => Some(upstream::zitadel(host)),
        health => upstream::health(health.as_ref(), host, &scope.key("health")),
    };
    Installation {
        name,
        mode,
        upstream: replicas,
        health,
        hash: upstream::hash(written.hash.as_ref(), &scope.key("hash")),
        caps: upstream::caps(written.max_in_flight, written.max_pending, Caps::default()),
        resolver: upstream::resolver(written.resolver.as_ref(), &scope.key("resolver")),
        tls: tls.unwrap_or_default(),
        login,
        hosts: domains,
        login_hosts: hosts(written.login_domain.as_ref(), mode, &scope.key("login_domain")),
        instance_host: written.instance_host.as_ref().and_then(|text| {
            let value = parse::authority(text).and_then(|_| HeaderValue::from_str(text).ok());
            scope.key("instance_host").parsed(text, value, AuthorityText::EXPECTED)
        }),
        guards: guards(written.guards.as_ref(), listeners, &scope.key("guards")),
        limits: limits(written.limits.as_ref(), &scope.key("limits")),
        cache: written.cache.unwrap_or(true),
        shield: written.shield.unwrap_or(false),
        base: base.clone(),
        retry: retry.clone(),
        request_headers: headers::edits(
            written.request_headers.as_ref(),
            &scope.key("request_headers"),
        ),
        response_headers: headers::edits(
            written.response_headers.as_ref(),
            &scope.key("response_headers"),
        ),
    }
}

/// Whether clients reach Ravelin by https: by its own TLS, or by that of a proxy in front.
fn is_secure(listeners: &[ListenerPlan]) -> bool {
    listeners.iter().any(|listener| {
        listener.tls.is_some()
            || !listener.trusted_proxies.is_empty()
            || !listener.proxy_protocol.is_empty()
    })
}

/// What is written, else what the upstream's protocol and the listeners say.
fn mode(written: Option<TlsMode>, upstream: &[EndpointPlan], listeners: &[ListenerPlan]) -> Mode {
    match written {
        Some(TlsMode::Disabled) => Mode::Disabled,
        Some(TlsMode::External) => Mode::External,
        Some(TlsMode::Enabled) => Mode::Enabled,
        None if upstream.iter().any(|endpoint| endpoint.protocol.is_tls()) => Mode::Enabled,
        None if is_secure(listeners) => Mode::External,
        None => Mode::Disabled,
    }
}

/// Reports what contradicts the mode: the upstream's protocol, or the listeners.
fn fits(
    mode: Mode,
    written: &Zitadel,
    upstream: &[EndpointPlan],
    listeners: &[ListenerPlan],
    scope: &Scope<'_>,
) {
    let many = matches!(written.upstream, Some(OneOrMany::Many(_)));
    for (i, endpoint) in upstream.iter().enumerate() {
        let place = item(&scope.key("upstream"), many.then_some(i));
        let scheme = mode.protocol().scheme();
        if !endpoint.protocol.is_h2() {
            let expected = format!("{scheme}:// (ZITADEL's gRPC needs HTTP/2)");
            place.bad(&endpoint.name, expected);
        } else if endpoint.protocol != mode.protocol() {
            let (other, word) = match endpoint.protocol.is_tls() {
                true => ("enabled", "TLS"),
                false => ("external", "plaintext"),
            };
            place.bad(
                &endpoint.name,
                format!(
                    "{scheme}://, as tls_mode is \"{}\" (if ZITADEL speaks {word} there, it runs with --tlsMode {other}: set tls_mode to that)",
                    mode.word()
                ),
            );
        }
    }
    let place = scope.key("tls_mode");
    let serving = || listeners.iter().filter(|listener| listener.redirect_to_https.is_none());
    if mode == Mode::Disabled {
        if serving().next().is_some() && serving().all(|listener| listener.tls.is_some()) {
            place.fault(
                "\"disabled\" behind TLS",
                "\"external\", and ZITADEL started with --tlsMode external (ExternalSecure: true); with \"disabled\" it would send clients to http:// addresses",
            );
        }
    } else if !is_secure(listeners) {
        let found = format!("{} without TLS", quoted(mode.word()));
        place.fault(
            found,
            "a certificate (\"certificate\", or \"tls\" of a listener), or \"trusted_proxies\" where TLS ends in front of Ravelin, or \"disabled\" and ZITADEL started with --tlsMode disabled",
        );
    }
}

fn hosts(written: Option<&OneOrMany<SiteText>>, mode: Mode, scope: &Scope<'_>) -> Vec<SiteHost> {
    let mut hosts: Vec<SiteHost> = Vec::new();
    let Some(written) = written else { return hosts };
    if matches!(written, OneOrMany::Many(list) if list.is_empty()) {
        scope.fault("an empty list", "at least one host");
    }
    for (i, text) in written.iter() {
        let scope = item(scope, i);
        let Some((pattern, port)) =
            scope.parsed(text, parse::public_host(text), SiteText::EXPECTED)
        else {
            continue;
        };
        let port = port.unwrap_or_else(|| mode.usual_port());
        let host = SiteHost { pattern, port, shows_port: port != mode.usual_port() };
        if hosts.contains(&host) {
            scope.bad(text, "each host once");
        }
        hosts.push(host);
    }
    hosts
}

/// Reports what two installations cannot share.
fn apart(plan: &Installation, prior: &[(Installation, Scope<'_>)], scope: &Scope<'_>) {
    for (other, at) in prior {
        if other.name == plan.name {
            let expected = format!("a name of its own ({} has it)", at.path());
            scope.key("name").bad(&plan.name, expected);
        }
        let patterns = other.host_patterns();
        if plan.host_patterns().iter().any(|host| patterns.contains(host)) {
            let expected = format!("hosts of its own ({} has one of them)", at.path());
            scope.key("domain").fault("a host of another installation", expected);
        }
    }
}

fn guards(written: Option<&GuardsText>, listeners: &[ListenerPlan], scope: &Scope<'_>) -> Guards {
    let Some(written) = written else { return Guards::default() };
    let below = scope.key("open");
    Guards {
        open: written
            .open
            .iter()
            .flatten()
            .enumerate()
            .map(|(i, opening)| self::opening(opening, listeners, &below.index(i)))
            .collect(),
        health: written.health.unwrap_or(false),
        import_export: ranges(written.import_export.as_ref(), &scope.key("import_export")),
    }
}

fn opening(written: &OpeningText, listeners: &[ListenerPlan], scope: &Scope<'_>) -> Opening {
    if written.names.is_none() && written.paths.is_none() {
        scope.fault("nothing to open", "\"names\" of guards, or \"paths\"");
    }
    let everyone = written.everyone.unwrap_or(false);
    let limited = written.listeners.is_some() || written.clients.is_some();
    if !everyone && !limited {
        let expected = "\"listeners\" or \"clients\" (\"everyone: true\" where that is meant)";
        scope.fault("an exception for everyone", expected);
    } else if everyone && limited {
        let expected = "either \"everyone\", or \"listeners\" and \"clients\"";
        scope.key("everyone").fault("true beside \"listeners\" or \"clients\"", expected);
    }
    let names = written.names.iter().flat_map(OneOrMany::iter).map(|(_, name)| match name {
        GuardName::Debug => "debug",
        GuardName::System => "system",
        GuardName::Reflection => "reflection",
        GuardName::V3alpha => "v3alpha",
    });
    let below = scope.key("paths");
    let paths = written.paths.iter().flat_map(OneOrMany::iter).filter_map(|(i, text)| {
        let path = parse::path(text).filter(|path| exposure::is_guarded(path));
        let expected = "a path that a guard refuses, such as /debug/metrics";
        item(&below, i).parsed(text, path.map(Into::into), expected)
    });
    let below = scope.key("listeners");
    let on = written.listeners.iter().flat_map(OneOrMany::iter).map(|(i, text)| {
        let known = || listeners.iter().map(|listener| &*listener.name);
        if !known().any(|name| name == &**text) {
            item(&below, i).unknown(text, "the name of a listener", nearest(text, known()));
        }
        Arc::from(&**text)
    });
    Opening {
        names: names.collect(),
        paths: paths.collect(),
        listeners: on.collect(),
        clients: ranges(written.clients.as_ref(), &scope.key("clients")),
    }
}

fn ranges(written: Option<&OneOrMany<RangeText>>, scope: &Scope<'_>) -> Vec<ipnet::IpNet> {
    if matches!(written, Some(OneOrMany::Many(list)) if list.is_empty()) {
        // An empty list would mean everyone, which nobody who wrote the key can want.
        scope.fault("an empty list", RangeText::EXPECTED);
    }
    let written = written.iter().flat_map(|ranges| ranges.iter());
    let range = |(i, text): (Option<usize>, &RangeText)| {
        item(scope, i).parsed(text, parse::range(text), RangeText::EXPECTED)
    };
    written.filter_map(range).collect()
}

fn limits(written: Option<&LimitsText>, scope: &Scope<'_>) -> Limits {
    let default = Limits::default();
    let Some(written) = written else { return default };
    let size = |text: &Option<LimitText>, default: Option<u64>, key: &str| match text {
        Some(text) => {
            let size = parse::limit(text).filter(|size| *size != Some(0));
            scope.key(key).parsed(text, size, LimitText::EXPECTED).unwrap_or(default)
        }
        None => default,
    };
    let message = size(&written.grpc_message, default.grpc_message.map(u64::from), "grpc_message");
    Limits {
        assets: size(&written.assets, default.assets, "assets"),
        scim: size(&written.scim, default.scim, "scim"),
        // A gRPC message has four bytes for its length: more than that is no limit.
        grpc_message: message.and_then(|bytes| u32::try_from(bytes).ok()),
        body_idle: written.body_idle.as_ref().map_or(default.body_idle, |text| {
            let expected = crate::config::schema::text::ClockText::EXPECTED;
            scope.key("body_idle").parsed(text, parse::clock(text), expected).unwrap_or_default()
        }),
        cloud_rate: written.rate == Some(RateName::Cloud),
        quota: quota(written, scope),
    }
}

fn quota(written: &LimitsText, scope: &Scope<'_>) -> Option<Arc<QuotaPlan>> {
    let below = scope.key("quota_exempt");
    let paths = written.quota_exempt.iter().flat_map(OneOrMany::iter).filter_map(|(i, text)| {
        let path = parse::path(text).filter(|path| path.len() > 1);
        let expected = "a path that begins with a slash, without query";
        item(&below, i).parsed(text, path.map(Into::into), expected)
    });
    let exempt: Vec<Box<str>> = paths.collect();
    if written.quota == Some(true) {
        return Some(Arc::new(QuotaPlan { exempt }));
    }
    if written.quota_exempt.is_some() {
        below.fault("it without \"quota: true\"", "both");
    }
    None
}
