//! `public_hosts`, `identity` and `instance_host`: which hosts upstream knows, and what it is told
//! about the client.

use http::HeaderValue;

use crate::config::compile::item;
use crate::config::parse;
use crate::config::schema::text::{AuthorityText, OneOrMany, SiteText};
use crate::config::schema::{Identity, Route};
use crate::config::scope::Scope;
use crate::pipeline::plan::{IdentityPlan, SiteHost};

/// The hosts of a route; none: every host.
pub(super) fn hosts(route: &Route, scope: &Scope<'_>) -> Vec<SiteHost> {
    let scope = scope.key("public_hosts");
    let Some(written) = &route.public_hosts else { return Vec::new() };
    if matches!(written, OneOrMany::Many(list) if list.is_empty()) {
        scope.fault("an empty list", "at least one item, or not the key at all");
    }
    let mut hosts: Vec<SiteHost> = Vec::new();
    for (i, text) in written.iter() {
        let below = item(&scope, i);
        let Some(host) = below.parsed(text, parse::site(text), SiteText::EXPECTED) else {
            continue;
        };
        if hosts.contains(&host) {
            below.bad(text, "a host that is not in the list yet");
        }
        hosts.push(host);
    }
    hosts
}

/// What upstream is told about the client; `base` is what holds where nothing is written.
pub(super) fn identity(route: &Route, base: IdentityPlan, scope: &Scope<'_>) -> IdentityPlan {
    let chosen = route.identity.unwrap_or(match base {
        IdentityPlan { login: true, .. } => Identity::Login,
        IdentityPlan { zitadel: true, .. } => Identity::Zitadel,
        IdentityPlan { .. } => Identity::None,
    });
    let key = scope.key("instance_host");
    let instance_host = route.instance_host.as_ref().and_then(|text| {
        let value = parse::authority(text).and_then(|_| HeaderValue::from_str(text).ok());
        key.parsed(text, value, AuthorityText::EXPECTED)
    });
    if chosen == Identity::None && instance_host.is_some() && route.to.is_some() {
        key.fault("it without \"identity\"", "it beside \"identity: zitadel\" or \"login\"");
    }
    IdentityPlan {
        zitadel: chosen == Identity::Zitadel,
        login: chosen == Identity::Login,
        instance_host: instance_host.or(base.instance_host),
    }
}
