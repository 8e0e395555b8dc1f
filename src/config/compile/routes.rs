//! `routes`, and the last route of the short form `upstream`.

pub mod cost;
mod identity;
mod compress;
mod matcher;
mod preset;
mod reach;
pub mod retry;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode, Uri};

use crate::message::FieldName;

pub use self::preset::Preset;
use self::preset::{in_order, take_over};
use crate::config::compile::clusters::SHORT;
use crate::config::compile::{cache, headers, item};
use crate::config::fault::nearest;
use crate::config::parse;
use crate::config::schema::text::{
    AuthorityText, ClockText, DurationText, HostText, PathText, TargetText,
};
use crate::config::schema::{
    Document, GrpcWeb as GrpcWebText, HeaderEdits as HeaderEditsText, Preflight, Redirect, Respond,
    Rewrite, Route, Timeouts as TimeoutsText,
};
use crate::config::scope::Scope;
use crate::downstream::plan::ListenerPlan;
use crate::pipeline::plan::{
    Action, ForwardPlan, GrpcWeb, LimitsPlan, Matcher, PreflightPlan, RedirectPlan, RespondPlan,
    RetryPlan, RoutePlan, Timeouts,
};
use crate::upstream::plan::ClusterPlan;

/// What routes may name, and what those have that say nothing of their own.
pub struct Known<'a> {
    /// Every listener.
    pub listeners: &'a [ListenerPlan],
    /// Every cluster.
    pub clusters: &'a [ClusterPlan],
    /// Clocks at the top.
    pub timeouts: Timeouts,
    /// Limits at the top.
    pub limits: LimitsPlan,
    /// What is sent again where a route does not say it, those of installations apart.
    pub retry: RetryPlan,
}

/// The limits of routes that do not set their own.
pub fn limits(document: &Document, scope: &Scope<'_>) -> LimitsPlan {
    let (written, rate) = (document.limits.as_ref(), document.rate_limit.as_ref());
    cost::limits(written, rate, &LimitsPlan::default(), scope)
}

/// The clocks of routes that do not set their own.
pub fn clocks(document: &Document, scope: &Scope<'_>) -> Timeouts {
    timeouts(document.timeouts.as_ref(), Timeouts::default(), &scope.key("timeouts"))
}

/// Every route, in the order in which they are asked: guards of installations, those of the user,
/// those of installations, the short form's. Beside it the names of what is the preset's own.
pub fn routes<'a>(
    document: &Document,
    known: &Known<'_>,
    mut preset: Preset<'a>,
    scope: &Scope<'a>,
) -> (Vec<RoutePlan>, Vec<Arc<str>>) {
    let below = scope.key("routes");
    let mut plans: Vec<(RoutePlan, Scope<'a>)> = Vec::new();
    for (i, written) in document.routes.iter().flatten().enumerate() {
        let below = below.index(i);
        let name = written.name.as_deref().unwrap_or_default();
        if let Some(other) = preset.taken_by(name) {
            let expected = format!("a name of its own ({} has it)", other.path());
            below.key("name").bad(name, expected);
        } else if preset.find(name).is_some() {
            take_over(name, written, known, &mut preset, &below);
        } else if let Some(plan) = route(i, written, known, &preset, &plans, &below) {
            plans.push((plan, below));
        }
    }
    if let Some(plan) = short(document, known, &plans, scope) {
        plans.push((plan, scope.key(SHORT)));
    }
    if plans.is_empty()
        && preset.routes.is_empty()
        && document.routes.as_ref().is_none_or(Vec::is_empty)
        && !scope.key(SHORT).given()
        && !scope.key("zitadel").given()
    {
        below.fault(
            "no routes",
            "\"zitadel\" (or --zitadel), \"routes\", or the short form \"upstream\" (or --upstream)",
        );
    }
    reach::check(&plans);
    in_order(plans, preset)
}

fn short(
    document: &Document,
    known: &Known<'_>,
    prior: &[(RoutePlan, Scope<'_>)],
    scope: &Scope<'_>,
) -> Option<RoutePlan> {
    let domain = scope.key("domain");
    if !scope.key(SHORT).given() {
        if domain.given() {
            domain.fault(
                "it without \"upstream\"",
                "both, or \"domain\" in \"zitadel\", or \"match.host\" in \"routes\"",
            );
        }
        return None;
    }
    let hosts = document.domain.iter().flat_map(|hosts| hosts.iter());
    let hosts = hosts.filter_map(|(i, text)| {
        item(&domain, i).parsed(text, parse::host(text), HostText::EXPECTED)
    });
    let matcher = Matcher { hosts: hosts.collect(), ..Matcher::default() };
    if let Some((_, other)) = prior.iter().find(|(plan, _)| &*plan.name == SHORT) {
        other.key("name").bad(SHORT, "a name of its own (the short form \"upstream\" has it)");
    }
    let action = Action::Forward(ForwardPlan {
        timeouts: known.timeouts,
        limits: known.limits.clone(),
        retry: known.retry.clone(),
        ..ForwardPlan::to(SHORT.into())
    });
    Some(RoutePlan { name: SHORT.into(), matcher, action })
}

fn route(
    i: usize,
    route: &Route,
    known: &Known<'_>,
    preset: &Preset<'_>,
    prior: &[(RoutePlan, Scope<'_>)],
    scope: &Scope<'_>,
) -> Option<RoutePlan> {
    let name: Arc<str> = match &route.name {
        Some(name) => Arc::from(&**name),
        None => format!("route-{}", i + 1).into(),
    };
    let key = scope.key("name");
    if name.is_empty() {
        key.bad(&name, "a name");
    }
    if let Some((_, other)) = prior.iter().find(|(plan, _)| plan.name == name) {
        key.bad(&name, format!("a name of its own ({} has it)", other.path()));
    }
    let names: Vec<&str> = known.listeners.iter().map(|listener| &*listener.name).collect();
    let matcher = matcher::matcher(route.matcher.as_ref(), &names, &scope.key("match"));
    let to = route.to.as_deref().unwrap_or_default();
    let base = preset.base(to, &matcher, known.timeouts);
    let action = action(route, &matcher, known, base, scope);
    Some(RoutePlan { name, matcher, action: action? })
}

fn action(
    route: &Route,
    matcher: &Matcher,
    known: &Known<'_>,
    base: Option<ForwardPlan>,
    scope: &Scope<'_>,
) -> Option<Action> {
    let actions = ["to", "redirect", "respond", "deny"];
    let given: Vec<&str> = actions.into_iter().filter(|key| scope.key(key).given()).collect();
    match given.as_slice() {
        ["to"] => {}
        [_] => only_with_to(scope),
        [] => scope.fault("no action", "one of to, redirect, respond, deny"),
        several => scope.fault(several.join(" and "), "exactly one of to, redirect, respond, deny"),
    }
    if route.deny == Some(false) {
        scope.key("deny").fault("false", "true, or not the key at all");
    }
    let deny = route.deny.map(|_| Action::Deny);
    // Each that is there is judged, so that its faults show beside that of their number.
    let redirect = route
        .redirect
        .as_ref()
        .and_then(|written| redirect(written, &scope.key("redirect")).map(Action::Redirect));
    let respond = route
        .respond
        .as_ref()
        .and_then(|written| respond(written, &scope.key("respond")).map(Action::Respond));
    forward(route, matcher, known, base, scope)
        .map(Action::Forward)
        .or(redirect)
        .or(respond)
        .or(deny)
}

fn only_with_to(scope: &Scope<'_>) {
    let keys = ["rewrite", "public_hosts", "identity", "instance_host", "limits", "rate_limit"];
    let also = [
        "request_headers",
        "response_headers",
        "timeouts",
        "grpc_web",
        "preflight",
        "compress",
        "retry",
        "cache",
    ];
    for key in keys.into_iter().chain(also) {
        if scope.key(key).given() {
            scope.key(key).fault("it on a route that does not forward", "it beside \"to\" only");
        }
    }
}

/// A route's way to its cluster: what is written, over what the preset has in its place.
fn forward(
    route: &Route,
    matcher: &Matcher,
    known: &Known<'_>,
    base: Option<ForwardPlan>,
    scope: &Scope<'_>,
) -> Option<ForwardPlan> {
    let whole = base.is_some();
    let base = base.unwrap_or_else(|| ForwardPlan {
        timeouts: known.timeouts,
        limits: known.limits.clone(),
        retry: known.retry.clone(),
        ..ForwardPlan::to(Arc::from(""))
    });
    let plan = over(route, base, scope);
    let Some(to) = route.to.as_ref() else { return whole.then_some(plan) };
    let place = scope.key("to");
    match known.clusters.iter().find(|cluster| *cluster.name == **to) {
        None => {
            let names = known.clusters.iter().map(|cluster| &*cluster.name);
            place.unknown(to, "the name of a cluster", nearest(to, names));
        }
        Some(cluster) if matcher.grpc.is_some() || plan.grpc_web == GrpcWeb::Translate => {
            if let Some(http1) = cluster.endpoints.iter().find(|e| !e.protocol.is_h2()) {
                let expected = format!(
                    "a cluster of h2c:// or h2:// endpoints for gRPC ({} is HTTP/1.1)",
                    http1.name
                );
                place.bad(to, expected);
            }
        }
        Some(_) => {}
    }
    Some(plan)
}

/// What is written, over `base`.
fn over(route: &Route, base: ForwardPlan, scope: &Scope<'_>) -> ForwardPlan {
    let (rewrite_path, authority) = rewrite(route.rewrite.as_ref(), &scope.key("rewrite"));
    let edits = |written: Option<&HeaderEditsText>, base, key: &str| match written {
        None => base,
        some => headers::edits(some, &scope.key(key)),
    };
    let (asks, answers) = (route.request_headers.as_ref(), route.response_headers.as_ref());
    ForwardPlan {
        // What another server answers says nothing of ZITADEL's instances.
        quota: base.quota.filter(|_| route.to.as_deref().is_none_or(|to| *to == *base.cluster)),
        cluster: route.to.as_deref().map_or(base.cluster, Arc::from),
        rewrite_path: rewrite_path.or(base.rewrite_path),
        authority: authority.or(base.authority),
        request_headers: edits(asks, base.request_headers, "request_headers"),
        response_headers: edits(answers, base.response_headers, "response_headers"),
        timeouts: timeouts(route.timeouts.as_ref(), base.timeouts, &scope.key("timeouts")),
        hosts: match route.public_hosts {
            Some(_) => identity::hosts(route, scope),
            None => base.hosts,
        },
        identity: identity::identity(route, base.identity, scope),
        limits: cost::limits(route.limits.as_ref(), route.rate_limit.as_ref(), &base.limits, scope),
        grpc_web: match route.grpc_web {
            Some(GrpcWebText::Translate) => GrpcWeb::Translate,
            Some(GrpcWebText::Pass) => GrpcWeb::Pass,
            None => base.grpc_web,
        },
        cache: cache::route(route.cache.as_ref(), base.cache, &scope.key("cache")),
        preflight: match &route.preflight {
            Some(written) => Some(preflight(written, &scope.key("preflight"))),
            None => base.preflight,
        },
        compress: match &route.compress {
            Some(written) => compress::compress(written, &scope.key("compress")),
            None => base.compress,
        },
        retry: retry::retry(route.retry.as_ref(), &base.retry, scope),
    }
}

fn preflight(written: &Preflight, scope: &Scope<'_>) -> PreflightPlan {
    let max_age = written.max_age.as_ref().and_then(|text| {
        scope.key("max_age").parsed(text, parse::duration(text), DurationText::EXPECTED)
    });
    PreflightPlan { max_age: max_age.unwrap_or(Duration::from_secs(2 * 3600)) }
}

fn rewrite(
    rewrite: Option<&Rewrite>,
    scope: &Scope<'_>,
) -> (Option<Box<str>>, Option<HeaderValue>) {
    let Some(rewrite) = rewrite else { return (None, None) };
    let path = rewrite.path.as_ref().and_then(|text| {
        let path = parse::path(text).map(Into::into);
        scope.key("path").parsed(text, path, PathText::EXPECTED)
    });
    let host = rewrite.host.as_ref().and_then(|text| {
        let value = parse::authority(text).and_then(|_| HeaderValue::from_str(text).ok());
        scope.key("host").parsed(text, value, AuthorityText::EXPECTED)
    });
    (path, host)
}

fn redirect(redirect: &Redirect, scope: &Scope<'_>) -> Option<RedirectPlan> {
    let text = redirect.to.as_ref()?;
    let uri = text.parse::<Uri>().ok().filter(|uri| match uri.scheme_str() {
        Some("http" | "https") => {
            uri.authority().is_some_and(|authority| parse::authority(authority.as_str()).is_some())
        }
        Some(_) => false,
        // `//host` would be read as an address by a browser.
        None => uri.authority().is_none() && text.starts_with('/') && !text.starts_with("//"),
    });
    let to = scope.key("to").parsed(text, uri, TargetText::EXPECTED)?;
    let status = redirect.status.and_then(|status| StatusCode::from_u16(status).ok());
    Some(RedirectPlan {
        status: status.unwrap_or(StatusCode::PERMANENT_REDIRECT),
        to,
        keep_path: redirect.keep_path.unwrap_or(false),
    })
}

fn respond(respond: &Respond, scope: &Scope<'_>) -> Option<RespondPlan> {
    let status = respond.status.and_then(|status| StatusCode::from_u16(status).ok());
    let content_type = match &respond.content_type {
        Some(text) => {
            let name: Option<&FieldName> = None;
            headers::value(name, text, &scope.key("content_type"))?
        }
        None => HeaderValue::from_static("text/plain; charset=utf-8"),
    };
    let body = respond.body.as_deref().unwrap_or_default().to_owned();
    if !body.is_empty() && matches!(respond.status, Some(204 | 205 | 304)) {
        scope.key("body").fault("a body", "none with status 204, 205 or 304");
    }
    Some(RespondPlan { status: status.unwrap_or(StatusCode::OK), content_type, body: body.into() })
}

fn timeouts(written: Option<&TimeoutsText>, default: Timeouts, scope: &Scope<'_>) -> Timeouts {
    let Some(written) = written else { return default };
    let clock = |text: Option<&ClockText>, default, key: &str| {
        text.and_then(|text| scope.key(key).parsed(text, parse::clock(text), ClockText::EXPECTED))
            .unwrap_or(default)
    };
    Timeouts {
        first_byte: clock(written.first_byte.as_ref(), default.first_byte, "first_byte"),
        idle: clock(written.idle.as_ref(), default.idle, "idle"),
        total: clock(written.total.as_ref(), default.total, "total"),
    }
}
