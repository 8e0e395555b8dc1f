//! Decides whether a client asks too often, and when it may ask again.
//!
//! Each class of requests has one [`Limiter`], shared by all workers: the generic cell rate
//! algorithm, of which one number per client is kept. The number of clients is bounded: what does
//! not fit is forgotten, longest unseen first. Whoever commands more networks than fit can therefore
//! outrun a limit; what they cannot do is fill the memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind};
use crate::exchange::Client;
use crate::pipeline::path::rest_after;
use crate::pipeline::plan::{Action, Rate, RatePlan, RoutePlan};

/// Workers lock one of these for a moment at each request; 16 keep them apart.
const SHARDS: usize = 16;
/// Clients of one generation in one shard.
const GENERATION: usize = 2_048;
/// Clients that a limiter remembers at most.
pub const CLIENTS: usize = SHARDS * 2 * GENERATION;

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
    Cloud { ui: Arc<Limiter>, api: Arc<Limiter> },
}

impl Rates {
    /// The limiters that these routes ask for, all unused.
    pub fn new(routes: &[Arc<RoutePlan>]) -> Self {
        let cloud = Class::Cloud {
            ui: Arc::new(Limiter::new(Rate::CLOUD_UI)),
            api: Arc::new(Limiter::new(Rate::CLOUD_API)),
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
                    let kept = self.own(&route.name).filter(|kept| kept.rate == rate);
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
    /// [`Kind::RateLimited`], with the time after which there is room again.
    pub fn check(&self, route: usize, path: &str, client: Option<IpAddr>) -> Result<(), Error> {
        let Some(Some(class)) = self.routes.get(route) else { return Ok(()) };
        let Some(client) = client else { return Ok(()) };
        let limiter = match class {
            Class::Own(limiter) => limiter,
            Class::Cloud { ui, .. } if rest_after("/ui", path).is_some() => ui,
            Class::Cloud { api, .. } => api,
        };
        limiter.check(Client::of(client), self.started.elapsed()).map_err(|wait| {
            // Rounded up: who comes a moment early is refused again.
            let seconds = wait.as_nanos().div_ceil(1_000_000_000);
            let seconds = u32::try_from(seconds).ok().and_then(NonZeroU32::new);
            Error::new(Kind::RateLimited).after(seconds.unwrap_or(NonZeroU32::MIN))
        })
    }
}

/// One class: how often each of its clients may ask.
#[derive(Debug)]
pub struct Limiter {
    rate: Rate,
    cells: Cells,
    shards: [Mutex<Generations>; SHARDS],
}

impl Limiter {
    /// Nobody has asked yet. Allocates with its first clients.
    pub fn new(rate: Rate) -> Self {
        Self { rate, cells: Cells::new(rate), shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Counts a request of `client` at `now`, a time since some fixed moment.
    ///
    /// # Errors
    /// How long until it has room again; what is refused is not counted.
    pub fn check(&self, client: Client, now: Duration) -> Result<(), Duration> {
        let Some(shard) = self.shards.get(client.shard(SHARDS)) else { return Ok(()) };
        // Counting cannot panic half-way, so a poisoned map is still whole.
        let mut clients = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let due = clients.due(client);
        *due = self.cells.take(*due, now).map_err(Duration::from_nanos)?;
        Ok(())
    }

    /// How many clients are remembered.
    pub fn clients(&self) -> usize {
        let count = |shard: &Mutex<Generations>| {
            let clients = shard.lock().unwrap_or_else(PoisonError::into_inner);
            clients.young.len() + clients.old.len()
        };
        self.shards.iter().map(count).sum()
    }
}

/// The generic cell rate algorithm (ITU-T I.371, annex A, "virtual scheduling"), in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Cells {
    /// Between two requests at the average rate.
    interval: u64,
    /// How far ahead of the average a client may be.
    tolerance: u64,
}

impl Cells {
    fn new(rate: Rate) -> Self {
        let interval = 60_000_000_000 / u64::from(rate.per_minute.max(1));
        let tolerance = interval.saturating_mul(u64::from(rate.burst.max(1) - 1));
        Self { interval, tolerance }
    }

    /// When the request after this one is due on average; or how long this one is too early.
    fn take(self, due: u64, now: u64) -> Result<u64, u64> {
        let early = due.saturating_sub(self.tolerance).saturating_sub(now);
        if early > 0 { Err(early) } else { Ok(due.max(now).saturating_add(self.interval)) }
    }
}

/// When each client's next request is due: those seen of late, and those seen before them. When the
/// young are too many they become the old, and the old are forgotten at once: no sweep, and whoever
/// asks often is always remembered.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Client, u64>,
    old: HashMap<Client, u64>,
}

impl Generations {
    fn due(&mut self, client: Client) -> &mut u64 {
        if self.young.len() >= GENERATION && !self.young.contains_key(&client) {
            let due = self.old.remove(&client).unwrap_or(0);
            self.old = std::mem::take(&mut self.young);
            return self.young.entry(client).or_insert(due);
        }
        let old = &mut self.old;
        self.young.entry(client).or_insert_with(|| old.remove(&client).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pipeline::plan::{ForwardPlan, Matcher};

    fn client(text: &str) -> Client {
        Client::of(text.parse().unwrap())
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_burst_passes_and_then_the_average() {
        let limiter = Limiter::new(Rate { per_minute: 60, burst: 3 });
        let one = client("192.0.2.1");
        for (at, outcome) in [
            (0.0, Ok(())),
            (0.0, Ok(())),
            (0.0, Ok(())),
            (0.0, Err(seconds(1.0))),
            (0.25, Err(seconds(0.75))),
            (1.0, Ok(())),
            (1.5, Err(seconds(0.5))),
            (60.0, Ok(())),
            (60.0, Ok(())),
            (60.0, Ok(())),
            (60.0, Err(seconds(1.0))),
        ] {
            assert_eq!(limiter.check(one, seconds(at)), outcome, "{at}");
        }
        assert_eq!(limiter.check(client("192.0.2.2"), seconds(60.0)), Ok(()));
    }

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
    fn an_ipv6_subscriber_is_one_client_and_a_mapped_ipv4_address_is_itself() {
        let limiter = Limiter::new(Rate { per_minute: 1, burst: 1 });
        let now = Duration::ZERO;
        assert!(limiter.check(client("2001:db8:0:1::1"), now).is_ok());
        assert!(limiter.check(client("2001:db8:0:1:ffff::2"), now).is_err());
        assert!(limiter.check(client("2001:db8:0:2::1"), now).is_ok());
        assert!(limiter.check(client("192.0.2.1"), now).is_ok());
        assert!(limiter.check(client("::ffff:192.0.2.1"), now).is_err());
    }

    #[test]
    fn clients_beyond_the_bound_are_forgotten_and_those_that_go_on_asking_are_not() {
        let limiter = Limiter::new(Rate { per_minute: 1, burst: 2 });
        let steady = client("203.0.113.1");
        let now = Duration::ZERO;
        assert!(limiter.check(steady, now).is_ok() && limiter.check(steady, now).is_ok());
        for address in 0..100_000u32 {
            assert!(limiter.check(Client::V4(address), now).is_ok());
            if address % 1_000 == 0 {
                assert!(limiter.check(steady, now).is_err(), "{address}");
            }
        }
        assert!(limiter.clients() <= CLIENTS, "{}", limiter.clients());
        assert!(limiter.clients() > CLIENTS / 3, "{}", limiter.clients());
    }

    #[test]
    fn no_rate_and_no_time_is_too_large() {
        for rate in [(u32::MAX, u32::MAX), (1, u32::MAX), (u32::MAX, 1), (0, 0)] {
            let limiter = Limiter::new(Rate { per_minute: rate.0, burst: rate.1 });
            for now in [Duration::ZERO, Duration::MAX] {
                let _ = limiter.check(client("192.0.2.1"), now);
            }
        }
    }

    proptest! {
        /// The same as a bucket of tokens that is filled steadily.
        #[test]
        fn it_lets_through_what_a_token_bucket_would(
            per_minute in prop::sample::select(vec![1u32, 60, 600, 3_000]),
            burst in 1..20u32,
            gaps in prop::collection::vec(0..3_000_000_000u64, 1..200),
        ) {
            let cells = Cells::new(Rate { per_minute, burst });
            let full = u128::from(cells.interval) * u128::from(burst);
            let (mut due, mut now, mut tokens) = (0, 0u64, full);
            for gap in gaps {
                now += gap;
                tokens = (tokens + u128::from(gap)).min(full);
                let fits = tokens >= u128::from(cells.interval);
                match cells.take(due, now) {
                    Ok(next) => {
                        prop_assert!(fits);
                        tokens -= u128::from(cells.interval);
                        due = next;
                    }
                    Err(early) => {
                        prop_assert!(!fits);
                        // Not a moment too early, nor too late.
                        prop_assert!(cells.take(due, now + early).is_ok());
                        prop_assert!(cells.take(due, now + early - 1).is_err());
                    }
                }
            }
        }
    }
}
