//! `routes`, and the last route of the short form `upstream`.

mod matcher;
mod reach;

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::{StatusCode, Uri};

use crate::config::compile::clusters::SHORT;
use crate::config::compile::{headers, item};
use crate::config::fault::nearest;
use crate::config::parse;
use crate::config::schema::text::{
    AuthorityText, ClockText, DurationText, HostText, PathText, TargetText,
};
use crate::config::schema::{
    Document, GrpcWeb as GrpcWebText, Preflight, Redirect, Respond, Rewrite, Route,
    Timeouts as TimeoutsText,
};
use crate::config::scope::Scope;
use crate::downstream::plan::ListenerPlan;
use crate::pipeline::plan::{
    Action, ForwardPlan, GrpcWeb, Matcher, PreflightPlan, RedirectPlan, RespondPlan, RoutePlan,
    Timeouts,
};
use crate::upstream::plan::ClusterPlan;

/// What routes may name.
struct Known<'a> {
    listeners: &'a [ListenerPlan],
    clusters: &'a [ClusterPlan],
    timeouts: Timeouts,
}

/// Every route.
pub fn routes(
    document: &Document,
    listeners: &[ListenerPlan],
    clusters: &[ClusterPlan],
    scope: &Scope<'_>,
) -> Vec<RoutePlan> {
    let timeouts =
        timeouts(document.timeouts.as_ref(), Timeouts::default(), &scope.key("timeouts"));
    let known = Known { listeners, clusters, timeouts };
    let below = scope.key("routes");
    let mut plans: Vec<(RoutePlan, Scope<'_>)> = Vec::new();
    for (i, written) in document.routes.iter().flatten().enumerate() {
        let below = below.index(i);
        if let Some(plan) = route(i, written, &known, &plans, &below) {
            plans.push((plan, below));
        }
    }
    if let Some(plan) = short(document, &known, &plans, scope) {
        plans.push((plan, scope.key(SHORT)));
    }
    if plans.is_empty()
        && document.routes.as_ref().is_none_or(Vec::is_empty)
        && !scope.key(SHORT).given()
    {
        below.fault("no routes", "\"routes\", or the short form \"upstream\" (or --upstream)");
    }
    reach::check(&plans);
    plans.into_iter().map(|(plan, _)| plan).collect()
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
            domain.fault("it without \"upstream\"", "both, or \"match.host\" in \"routes\"");
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
    let action =
        Action::Forward(ForwardPlan { timeouts: known.timeouts, ..ForwardPlan::to(SHORT.into()) });
    Some(RoutePlan { name: SHORT.into(), matcher, action })
}

fn route(
    i: usize,
    route: &Route,
    known: &Known<'_>,
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
    let action = action(route, &matcher, known, scope);
    Some(RoutePlan { name, matcher, action: action? })
}

fn action(
    route: &Route,
    matcher: &Matcher,
    known: &Known<'_>,
    scope: &Scope<'_>,
) -> Option<Action> {
    let given: Vec<&str> =
        ["to", "redirect", "respond"].into_iter().filter(|key| scope.key(key).given()).collect();
    match given.as_slice() {
        ["to"] => {}
        [_] => only_with_to(scope),
        [] => scope.fault("no action", "one of to, redirect, respond"),
        several => scope.fault(several.join(" and "), "exactly one of to, redirect, respond"),
    }
    // Each that is there is judged, so that its faults show beside that of their number.
    let redirect = route
        .redirect
        .as_ref()
        .and_then(|written| redirect(written, &scope.key("redirect")).map(Action::Redirect));
    let respond = route
        .respond
        .as_ref()
        .and_then(|written| respond(written, &scope.key("respond")).map(Action::Respond));
    forward(route, matcher, known, scope).map(Action::Forward).or(redirect).or(respond)
}

fn only_with_to(scope: &Scope<'_>) {
    for key in
        ["rewrite", "request_headers", "response_headers", "timeouts", "grpc_web", "preflight"]
    {
        if scope.key(key).given() {
            scope.key(key).fault("it on a route that does not forward", "it beside \"to\" only");
        }
    }
}

fn forward(
    route: &Route,
    matcher: &Matcher,
    known: &Known<'_>,
    scope: &Scope<'_>,
) -> Option<ForwardPlan> {
    let (rewrite_path, authority) = rewrite(route.rewrite.as_ref(), &scope.key("rewrite"));
    let plan = ForwardPlan {
        rewrite_path,
        authority,
        request_headers: headers::edits(
            route.request_headers.as_ref(),
            &scope.key("request_headers"),
        ),
        response_headers: headers::edits(
            route.response_headers.as_ref(),
            &scope.key("response_headers"),
        ),
        timeouts: timeouts(route.timeouts.as_ref(), known.timeouts, &scope.key("timeouts")),
        grpc_web: match route.grpc_web {
            Some(GrpcWebText::Translate) => GrpcWeb::Translate,
            Some(GrpcWebText::Pass) | None => GrpcWeb::Pass,
        },
        preflight: route.preflight.as_ref().map(|it| preflight(it, &scope.key("preflight"))),
        ..ForwardPlan::to(Arc::from(route.to.as_deref().unwrap_or_default()))
    };
    let to = route.to.as_ref()?;
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
            let name: Option<&HeaderName> = None;
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
