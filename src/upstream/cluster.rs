//! A named set of endpoints, and which of them an exchange goes to.

use std::cell::{Cell, Ref, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use super::attempt::Attempt;
use super::balance::{self, Choice};
use super::eject;
use super::endpoint::Endpoint;
use super::plan::Protocol;
use super::roster::{Member, Members};
use super::state::{Health, Need};
use super::{Answer, http1, http2};
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::exchange::Interim;
use crate::message::{Fields, Request, Response};
use crate::telemetry::Telemetry;

/// One worker's view of a cluster.
pub struct Cluster {
    /// Its name.
    pub name: Arc<str>,
    members: Arc<Members>,
    telemetry: Rc<Telemetry>,
    /// The version of the members that `endpoints` are.
    version: Cell<u64>,
    endpoints: RefCell<Vec<Rc<Endpoint>>>,
    /// Places of the endpoints between which a choice is under way: kept, so that none allocates.
    drawn: RefCell<Vec<usize>>,
}

/// What an exchange asks of a cluster.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// What it needs.
    pub need: Need,
    /// Endpoints that it was at: others are taken while there are any.
    pub tried: &'a [Rc<Endpoint>],
    /// Exchanges with the same key go to the same endpoint, where the cluster balances by hash.
    pub key: Option<u64>,
    /// Only endpoints that are spoken to in HTTP/2 will do.
    pub http2: bool,
    /// When the exchange ends whatever happens: it does not wait for its turn beyond this.
    pub deadline: Option<Instant>,
}

impl Ask<'_> {
    /// The first attempt of an exchange without a deadline.
    pub const fn first(need: Need) -> Self {
        Self { need, tried: &[], key: None, http2: false, deadline: None }
    }
}

/// Why no endpoint was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// None is ready, and why the last one was not. One may be within moments.
    NoneReady(Option<Arc<str>>),
    /// Every one that is ready carries as much as it may.
    Full,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoneReady(Some(why)) => Self::with(Kind::NoEndpoint, &*why),
            Refusal::NoneReady(None) => Self::new(Kind::NoEndpoint),
            Refusal::Full => Self::with(Kind::UpstreamFull, "every endpoint's queue is full"),
        }
    }
}

/// How good a choice an endpoint is; the least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fitness {
    /// Nothing speaks against it.
    Fit,
    /// As many exchanges as it may carry are under way, of all workers: it would have to be waited for.
    Taken,
    /// It is ejected.
    Ejected,
    /// It cannot be connected to, or nobody has looked yet: asked when nobody is better.
    Doubtful,
}

impl Cluster {
    /// A cluster without connections.
    pub fn new(members: &Arc<Members>, telemetry: &Rc<Telemetry>) -> Rc<Self> {
        Self::renewed(members, telemetry, None)
    }

    /// A cluster that goes on with the connections of `before` to endpoints that are in both.
    pub fn renewed(
        members: &Arc<Members>,
        telemetry: &Rc<Telemetry>,
        before: Option<&Self>,
    ) -> Rc<Self> {
        let cluster = Self {
            name: Arc::clone(&members.plan.name),
            members: Arc::clone(members),
            telemetry: Rc::clone(telemetry),
            version: Cell::new(0),
            endpoints: RefCell::default(),
            drawn: RefCell::default(),
        };
        if let Some(before) = before.filter(|before| before.members.plan.same_ways(&members.plan)) {
            cluster.endpoints.replace(before.endpoints.borrow().clone());
        }
        cluster.take_up(false);
        Rc::new(cluster)
    }

    /// Whether these are its members: then it is the same cluster after a reload.
    pub fn is_of(&self, members: &Arc<Members>) -> bool {
        Arc::ptr_eq(&self.members, members)
    }

    /// Its endpoints.
    pub fn endpoints(&self) -> Ref<'_, [Rc<Endpoint>]> {
        Ref::map(self.endpoints.borrow(), Vec::as_slice)
    }

    /// Makes the endpoints those of the members. Whoever is gone gets nothing new; what is under way
    /// there ends as it would have.
    #[cold]
    fn take_up(&self, retire: bool) {
        self.version.set(self.members.version());
        let mut before = self.endpoints.take();
        let mut take = |member: &Member| {
            let same = before.iter().position(|endpoint| endpoint.member().is_same(member));
            match same {
                Some(at) => {
                    let kept = before.swap_remove(at);
                    kept.weigh(member.weight);
                    kept
                }
                None => Endpoint::new(member.clone(), &self.members.plan, &self.telemetry),
            }
        };
        let endpoints = self.members.list().iter().map(&mut take).collect();
        self.endpoints.replace(endpoints);
        if retire {
            before.iter().for_each(|endpoint| endpoint.retire());
        }
    }

    /// What every endpoint speaks, where it is the same.
    pub fn protocol(&self) -> Option<Protocol> {
        let mut all = self.members.plan.endpoints.iter().map(|endpoint| endpoint.protocol);
        let first = all.next()?;
        all.all(|other| other == first).then_some(first)
    }

    /// The key of an exchange, where the cluster leads exchanges by one.
    pub fn key(&self, headers: &Fields, client: Option<IpAddr>) -> Option<u64> {
        balance::key(self.members.plan.hash.as_ref()?, headers, client)
    }

    /// The endpoint for an exchange, which counts as in flight there from now on.
    ///
    /// Taken is one of the best that were not tried; when all were, of the best at all, since asking
    /// is the only way to learn that it is back. Never one that is down by its checks or taken down
    /// on purpose.
    ///
    /// # Errors
    /// Why there is none.
    pub fn pick(&self, ask: &Ask<'_>) -> Result<Attempt, Refusal> {
        if self.members.version() != self.version.get() {
            self.take_up(true);
        }
        let endpoints = self.endpoints.borrow();
        let mut drawn = self.drawn.borrow_mut();
        best(&endpoints, ask, &mut drawn);
        let at = |i: usize| drawn.get(i).and_then(|place| endpoints.get(*place));
        match drawn.as_slice() {
            [] if endpoints.iter().any(|one| one.sheds(ask.need)) => {
                let full = endpoints.iter().filter(|one| one.sheds(ask.need));
                full.for_each(|one| one.state().count_shed());
                Err(Refusal::Full)
            }
            [] => {
                let why = |one: &Rc<Endpoint>| one.state().why(ask.need);
                Err(Refusal::NoneReady(endpoints.iter().find_map(why)))
            }
            [_] => {
                let measured = endpoints.len() > 1;
                let endpoint = at(0).ok_or(Refusal::NoneReady(None))?;
                Ok(Attempt::begin(endpoint, ask, measured.then(Instant::now), 0.0))
            }
            _ => {
                let now = Instant::now();
                let choice = choose(drawn.len(), at, ask.key, now);
                let endpoint = at(choice.chosen).ok_or(Refusal::NoneReady(None))?;
                let other =
                    choice.other.and_then(at).map_or(0.0, |other| other.latency().seen(now));
                Ok(Attempt::begin(endpoint, ask, Some(now), other))
            }
        }
    }
}

/// Fills `drawn` with the places of the best endpoints, which are equally good.
fn best(endpoints: &[Rc<Endpoint>], ask: &Ask<'_>, drawn: &mut Vec<usize>) {
    drawn.clear();
    let (mut fit, mut up) = (0, 0);
    let mut least = (true, Fitness::Doubtful);
    let rank = |endpoint: &Rc<Endpoint>, panic: bool| {
        let fitness = match fitness(endpoint, ask)? {
            Fitness::Ejected if panic => Fitness::Fit,
            fitness => fitness,
        };
        Some((ask.tried.iter().any(|tried| Rc::ptr_eq(tried, endpoint)), fitness))
    };
    for endpoint in endpoints {
        match fitness(endpoint, ask) {
            Some(Fitness::Fit | Fitness::Taken) => (fit, up) = (fit + 1, up + 1),
            Some(Fitness::Ejected) => up += 1,
            Some(Fitness::Doubtful) | None => {}
        }
    }
    let panic = eject::is_panic(fit, up);
    for (place, endpoint) in endpoints.iter().enumerate() {
        let Some(rank) = rank(endpoint, panic) else { continue };
        if rank < least {
            drawn.clear();
            least = rank;
        }
        if rank == least {
            drawn.push(place);
        }
    }
}

/// One of `n` endpoints that are equally good but for their load.
fn choose<'a>(
    n: usize,
    at: impl Fn(usize) -> Option<&'a Rc<Endpoint>>,
    key: Option<u64>,
    now: Instant,
) -> Choice {
    if let Some(key) = key {
        let chosen = balance::by_key(
            n,
            key,
            |i| at(i).map_or(0, |endpoint| endpoint.key()),
            |i| at(i).map_or(1, |endpoint| endpoint.weight()),
            |i| at(i).map_or(0, |endpoint| endpoint.burden().get()),
        );
        return Choice { chosen, other: None };
    }
    let share = |i: usize| at(i).map_or(0.0, |endpoint| endpoint.share());
    let cost = |i: usize| at(i).map_or(balance::Cost::NONE, |endpoint| endpoint.cost(now));
    balance::two_choices(n, share, cost, fastrand::f32)
}

/// How good a choice an endpoint is; `None`: it must not be asked.
fn fitness(endpoint: &Endpoint, ask: &Ask<'_>) -> Option<Fitness> {
    let (state, need) = (endpoint.state(), ask.need);
    let speaks = !ask.http2 || endpoint.plan.protocol.is_h2();
    if state.is_draining() || endpoint.is_full() || !speaks {
        return None;
    }
    match state.health(need) {
        Health::Down => None,
        Health::Unknown if state.is_checked() => Some(Fitness::Doubtful),
        _ if endpoint.backing_off() => Some(Fitness::Doubtful),
        _ if state.is_ejected(need) => Some(Fitness::Ejected),
        _ if endpoint.queue().is_taken() => Some(Fitness::Taken),
        Health::Unknown | Health::Ready => Some(Fitness::Fit),
    }
}

/// Sends one request to the endpoint that was picked, in the protocol that it speaks, and tells it
/// how that went.
///
/// # Errors
/// Of the way there and of the wait for the answer's head.
pub async fn send(
    mut attempt: Attempt,
    head: &Request<()>,
    body: Body,
    interim: Option<&Interim>,
) -> Result<Response<Answer>, Error> {
    attempt.enter().await?;
    let endpoint = attempt.endpoint();
    let carried = endpoint.carry();
    let outcome = if endpoint.plan.protocol.is_h2() {
        match endpoint.lease_h2().await {
            Ok(lease) => http2::send(lease, head, body, interim).await,
            Err(error) => Err(error),
        }
    } else {
        // Boxed: the larger of the two ways, and the rarer.
        Box::pin(http1(endpoint, head.clone(), body, interim)).await
    };
    drop(carried);
    attempt.settle(outcome)
}

/// Sends one request over HTTP/1.1, whatever the endpoint's protocol: WebSockets need its upgrade,
/// and servers that speak HTTP/2 on a port speak HTTP/1.1 there too.
///
/// # Errors
/// As [`send`].
pub async fn send_h1(
    mut attempt: Attempt,
    head: Request<()>,
    body: Body,
    interim: Option<&Interim>,
) -> Result<Response<Answer>, Error> {
    attempt.enter().await?;
    if attempt.endpoint().plan.protocol.is_h2() {
        // Others ask it in HTTP/2, which it speaks however it takes this.
        attempt.says_nothing();
    }
    let outcome = http1(attempt.endpoint(), head, body, interim).await;
    attempt.settle(outcome)
}

async fn http1(
    endpoint: &Rc<Endpoint>,
    head: Request<()>,
    body: Body,
    interim: Option<&Interim>,
) -> Result<Response<Answer>, Error> {
    let lease = endpoint.lease_h1().await?;
    http1::send(lease, head, body, interim).await
}
