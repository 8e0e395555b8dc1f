//! What installations bring, beside routes of the user's own and under them: which of the two a
//! name means, and the order of all.

use std::sync::Arc;

use super::{Known, SHORT, action, forward, matcher, only_with_to};
use crate::config::schema::Route;
use crate::config::scope::Scope;
use crate::config::zitadel::Installation;
use crate::pipeline::plan::{Action, ForwardPlan, Matcher, RoutePlan, Timeouts};

/// What installations bring, each route with where its installation was written.
#[derive(Default)]
pub struct Preset<'a> {
    sites: Vec<&'a Installation>,
    guards: Vec<(RoutePlan, Scope<'a>)>,
    pub(super) routes: Vec<(RoutePlan, Scope<'a>)>,
    /// Names of routes that were taken over, by whom.
    taken: Vec<(Arc<str>, Scope<'a>)>,
}

impl<'a> Preset<'a> {
    /// Adds an installation's.
    pub fn add(
        &mut self,
        site: &'a Installation,
        guards: Vec<RoutePlan>,
        routes: Vec<RoutePlan>,
        scope: &Scope<'a>,
    ) {
        self.sites.push(site);
        self.guards.extend(guards.into_iter().map(|route| (route, scope.clone())));
        self.routes.extend(routes.into_iter().map(|route| (route, scope.clone())));
    }

    /// The route of this name.
    pub(super) fn find(&mut self, name: &str) -> Option<&mut (RoutePlan, Scope<'a>)> {
        let mut all = self.guards.iter_mut().chain(&mut self.routes);
        all.find(|(route, _)| &*route.name == name)
    }

    /// Where the route that took this name over was written.
    pub(super) fn taken_by(&self, name: &str) -> Option<&Scope<'a>> {
        self.taken.iter().find(|(taken, _)| &**taken == name).map(|(_, scope)| scope)
    }

    /// What a route of the user's to this cluster begins with: an installation's own, as far as
    /// the route is about its hosts.
    pub(super) fn base(
        &self,
        cluster: &str,
        matcher: &Matcher,
        clocks: Timeouts,
    ) -> Option<ForwardPlan> {
        base(&self.sites, cluster, matcher, clocks)
    }
}

fn base(
    sites: &[&Installation],
    cluster: &str,
    matcher: &Matcher,
    clocks: Timeouts,
) -> Option<ForwardPlan> {
    let site = sites.iter().find(|site| &*site.name == cluster)?;
    let mut base = site.forward(clocks);
    let patterns = site.host_patterns();
    if !matcher.hosts.iter().all(|host| patterns.contains(host)) {
        base.hosts.clear();
    }
    Some(base)
}

/// Guards of installations, the user's own, those of installations, the short form's; and the names
/// of what is the preset's own.
pub(super) fn in_order(
    mut own: Vec<(RoutePlan, Scope<'_>)>,
    preset: Preset<'_>,
) -> (Vec<RoutePlan>, Vec<Arc<str>>) {
    let taken: Vec<&str> = preset.taken.iter().map(|(name, _)| &**name).collect();
    let names = preset.guards.iter().chain(&preset.routes).map(|(route, _)| &route.name);
    let names = names.filter(|name| !taken.contains(&&***name)).cloned().collect();
    let last = own.pop_if(|(route, _)| &*route.name == SHORT);
    let all = preset.guards.into_iter().chain(own).chain(preset.routes).chain(last);
    (all.map(|(route, _)| route).collect(), names)
}

/// A route of the user's with the name of the preset's takes its place. What it does not say itself
/// stays as it was: when it applies, what is done, and how.
pub(super) fn take_over<'a>(
    name: &str,
    written: &Route,
    known: &Known<'_>,
    preset: &mut Preset<'a>,
    scope: &Scope<'a>,
) {
    let sites = preset.sites.clone();
    let Some((plan, _)) = preset.find(name) else { return };
    let names: Vec<&str> = known.listeners.iter().map(|listener| &*listener.name).collect();
    if written.matcher.is_some() {
        plan.matcher = matcher::matcher(written.matcher.as_ref(), &names, &scope.key("match"));
    }
    let acts = ["to", "redirect", "respond", "deny"].iter().any(|key| scope.key(key).given());
    match std::mem::replace(&mut plan.action, Action::Deny) {
        Action::Forward(base) if !acts || written.to.is_some() => {
            let base = Some(base);
            if let Some(forward) = forward(written, &plan.matcher, known, base, scope) {
                plan.action = Action::Forward(forward);
            }
        }
        _ if acts => {
            // It has forwarded nothing yet, and begins as any other route to that cluster does.
            let to = written.to.as_deref().unwrap_or_default();
            let base = base(&sites, to, &plan.matcher, known.timeouts);
            if let Some(action) = action(written, &plan.matcher, known, base, scope) {
                plan.action = action;
            }
        }
        kept => {
            only_with_to(scope);
            plan.action = kept;
        }
    }
    preset.taken.push((name.into(), scope.clone()));
}
