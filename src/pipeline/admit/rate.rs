//! Decides whether a client asks too often, and when it may ask again.
//!
//! Each class of requests has one [`Limiter`], shared by all workers; ZITADEL Cloud's classes have
//! [`Bans`] beside it. What is kept of clients is bounded (`clients`).

pub mod ban;
pub mod clients;
pub mod limiter;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::ban::Bans;
use self::limiter::Limiter;
use crate::error::{Error, Kind};
use crate::exchange::Client;
use crate::pipeline::path::rest_after;
use crate::pipeline::plan::{Action, BanRule, Rate, RatePlan, RoutePlan};

/// The limiters of a plan.
#[derive(Debug)]
pub struct Rates {
    /// By route.
    routes: Vec<Option<Class>>,
    /// By route: its name, which another plan knows it by.
    names: Vec<Arc<str>>,
    /// ZITADEL Cloud's, over all routes that follow it.
    cloud: Class,
    started: Instant,
}

/// What a route's requests are counted in.
#[derive(Clone, Debug)]
enum Class {
    Own(Arc<Limiter>),
    Cloud { ui: Arc<Policed>, api: Arc<Policed> },
}

/// A rate, and what becomes of those who take no notice of it.
#[derive(Debug)]
struct Policed {
    limiter: Limiter,
    bans: Bans,
}

impl Policed {
    fn new(rate: Rate, rule: BanRule) -> Arc<Self> {
        Arc::new(Self { limiter: Limiter::new(rate), bans: Bans::new(rule) })
    }

    fn check(&self, client: Client, now: Duration) -> Result<(), Error> {
        // First, since it counts what the rate refuses.
        self.bans.check(client, now).map_err(|wait| refusal(Kind::RateBanned, wait))?;
        self.limiter.check(client, now).map_err(|wait| refusal(Kind::RateLimited, wait))
    }
}

impl Rates {
    /// The limiters that these routes ask for, all unused.
    pub fn new(routes: &[Arc<RoutePlan>]) -> Self {
        let cloud = Class::Cloud {
            ui: Policed::new(Rate::CLOUD_UI, BanRule::CLOUD_UI),
            api: Policed::new(Rate::CLOUD_API, BanRule::CLOUD_API),
        };
        Self { routes: Vec::new(), names: Vec::new(), cloud, started: Instant::now() }
            .for_plan(routes)
    }

    /// The limiters of another plan: a route that has the name and the rate of one of this plan
    /// goes on counting where that one is.
    #[must_use]
    pub fn for_plan(&self, routes: &[Arc<RoutePlan>]) -> Self {
        let class = |route: &Arc<RoutePlan>| match &route.action {
            Action::Forward(plan) => Some(match plan.limits.rate? {
                RatePlan::Own(rate) => {
                    let kept = self.own(&route.name).filter(|kept| kept.rate() == rate);
                    Class::Own(kept.cloned().unwrap_or_else(|| Arc::new(Limiter::new(rate))))
                }
                RatePlan::ZitadelCloud => self.cloud.clone(),
            }),
            Action::Redirect(_) | Action::Respond(_) | Action::Deny => None,
        };
        Self {
            routes: routes.iter().map(class).collect(),
            names: routes.iter().map(|route| Arc::clone(&route.name)).collect(),
            cloud: self.cloud.clone(),
            started: self.started,
        }
    }

    fn own(&self, route: &str) -> Option<&Arc<Limiter>> {
        let place = self.names.iter().position(|name| **name == *route)?;
        match self.routes.get(place)? {
            Some(Class::Own(limiter)) => Some(limiter),
            Some(Class::Cloud { .. }) | None => None,
        }
    }

    /// Counts one request of `client` on the route with this number. A client without an address
    /// (a Unix socket) is not limited.
    ///
    /// # Errors
    /// [`Kind::RateLimited`] or [`Kind::RateBanned`], with the time after which there is room again.
    pub fn check(&self, route: usize, path: &str, client: Option<IpAddr>) -> Result<(), Error> {
        let Some(Some(class)) = self.routes.get(route) else { return Ok(()) };
        let Some(client) = client.map(Client::of) else { return Ok(()) };
        let now = self.started.elapsed();
        match class {
            Class::Own(limiter) => {
                limiter.check(client, now).map_err(|wait| refusal(Kind::RateLimited, wait))
            }
            Class::Cloud { ui, .. } if rest_after("/ui", path).is_some() => ui.check(client, now),
            Class::Cloud { api, .. } => api.check(client, now),
        }
    }
}

fn refusal(kind: Kind, wait: Duration) -> Error {
    // Rounded up: who comes a moment early is refused again.
    let seconds = u32::try_from(wait.as_nanos().div_ceil(1_000_000_000)).ok();
    Error::new(kind).after(seconds.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::plan::{ForwardPlan, Matcher};

    #[test]
    fn another_plan_counts_on_for_the_same_route_with_the_same_rate() {
        let route = |name: &str, per_minute| {
            let mut plan = ForwardPlan::to("up".into());
            plan.limits.rate = Some(RatePlan::Own(Rate { per_minute, burst: 1 }));
            let (matcher, action) = (Matcher::default(), Action::Forward(plan));
            Arc::new(RoutePlan { name: name.into(), matcher, action })
        };
        let ask = |rates: &Rates, place| rates.check(place, "/", "192.0.2.1".parse().ok()).is_ok();
        let first = Rates::new(&[route("a", 1), route("b", 1)]);
        assert!(ask(&first, 0) && ask(&first, 1) && !ask(&first, 0) && !ask(&first, 1));
        let next = first.for_plan(&[route("new", 1), route("b", 1), route("a", 2)]);
        assert!(ask(&next, 0), "nobody has asked a new route");
        assert!(!ask(&next, 1), "its place has changed, and it is the same route");
        assert!(ask(&next, 2), "another rate begins anew");
        assert!(!ask(&first, 1), "the old plan's requests count too while they last");
    }

    #[test]
    fn who_takes_no_notice_of_the_cloud_s_rate_is_banned_in_one_class_alone() {
        let mut plan = ForwardPlan::to("up".into());
        plan.limits.rate = Some(RatePlan::ZitadelCloud);
        let (matcher, action) = (Matcher::default(), Action::Forward(plan));
        let rates = Rates::new(&[Arc::new(RoutePlan { name: "a".into(), matcher, action })]);
        let ask = |path, client: &str| {
            let outcome = rates.check(0, path, client.parse().ok());
            outcome.map_err(|error| (error.kind(), error.retry_after()))
        };
        let mut limited = 0;
        let (refused, asked) = (0..10_000)
            .find_map(|asked| match ask("/ui/login", "192.0.2.1") {
                Err((Kind::RateLimited, _)) => {
                    limited += 1;
                    None
                }
                Err(refused) => Some((refused, asked)),
                Ok(()) => None,
            })
            .unwrap();
        assert_eq!((refused, asked), ((Kind::RateBanned, Some(60)), 2_700));
        assert!(limited > 1_500, "{limited}");
        assert_eq!(ask("/oauth/v2/token", "192.0.2.1"), Ok(()));
        assert_eq!(ask("/ui/login", "192.0.2.2"), Ok(()));
        assert!(matches!(ask("/ui/console/", "192.0.2.1"), Err((Kind::RateBanned, _))));
    }
}
