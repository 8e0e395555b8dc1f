//! A named set of endpoints, and which of them an exchange goes to.

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};
use tokio::time::Instant;

use super::attempt::Attempt;
use super::endpoint::Endpoint;
use super::roster::{Member, Members};
use super::state::{Health, Need};
use super::{Answer, http1, http2};
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::exchange::Interim;
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
    next: Cell<usize>,
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
    /// When the exchange ends whatever happens: it does not wait for its turn beyond this.
    pub deadline: Option<Instant>,
}

impl Ask<'_> {
    /// The first attempt of an exchange without a deadline.
    pub const fn first(need: Need) -> Self {
        Self { need, tried: &[], key: None, deadline: None }
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
            Refusal::Full => Self::new(Kind::Overloaded),
        }
    }
}

/// How good a choice an endpoint is; the least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fitness {
    /// Nothing speaks against it.
    Fit,
    /// It failed lately, or nobody has looked yet: asked when nobody is better.
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
            next: Cell::new(0),
        };
        if let Some(before) = before.filter(|before| before.members.plan.same_ways(&members.plan)) {
            cluster.endpoints.replace(before.endpoints.borrow().clone());
        }
        cluster.take_up(false);
        Rc::new(cluster)
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
                Some(at) => before.swap_remove(at),
                None => Endpoint::new(member.clone(), &self.members.plan, &self.telemetry),
            }
        };
        let endpoints = self.members.list().iter().map(&mut take).collect();
        self.endpoints.replace(endpoints);
        if retire {
            before.iter().for_each(|endpoint| endpoint.retire());
        }
    }

    /// The endpoint for an exchange, which counts as in flight there from now on.
    ///
    /// Taken is the best that was not tried; when all were, the best at all, since asking is the
    /// only way to learn that it is back. Never one that is down by its checks or taken down on
    /// purpose.
    ///
    /// # Errors
    /// Why there is none.
    pub fn pick(&self, ask: &Ask<'_>) -> Result<Attempt, Refusal> {
        if self.members.version() != self.version.get() {
            self.take_up(true);
        }
        let endpoints = self.endpoints.borrow();
        let n = endpoints.len();
        let start = self.next.get();
        self.next.set(start.wrapping_add(1));
        let mut best: Option<((bool, Fitness), &Rc<Endpoint>)> = None;
        for endpoint in (0..n).filter_map(|i| endpoints.get(start.wrapping_add(i) % n)) {
            let Some(fitness) = fitness(endpoint, ask.need) else { continue };
            let tried = ask.tried.iter().any(|tried| Rc::ptr_eq(tried, endpoint));
            let rank = (tried, fitness);
            if best.is_none_or(|(other, _)| rank < other) {
                best = Some((rank, endpoint));
                if rank == (false, Fitness::Fit) {
                    break;
                }
            }
        }
        match best {
            Some((_, endpoint)) => Ok(Attempt::begin(endpoint, ask.need, n > 1)),
            None => Err(Refusal::NoneReady(endpoints.iter().find_map(|one| one.state().why()))),
        }
    }
}

/// How good a choice an endpoint is; `None`: it must not be asked.
fn fitness(endpoint: &Endpoint, need: Need) -> Option<Fitness> {
    let state = endpoint.state();
    if state.is_draining() {
        return None;
    }
    match state.health(need) {
        Health::Down => None,
        Health::Unknown if state.is_checked() => Some(Fitness::Doubtful),
        _ if endpoint.backing_off() || state.is_ejected(need) => Some(Fitness::Doubtful),
        Health::Unknown | Health::Ready => Some(Fitness::Fit),
    }
}

/// Sends one request to the endpoint that was picked, in the protocol that it speaks, and tells it
/// how that went.
///
/// # Errors
/// Of the way there and of the wait for the answer's head.
pub async fn send(
    attempt: Attempt,
    head: Request<()>,
    body: Body,
    interim: Option<&Interim>,
) -> Result<Response<Answer>, Error> {
    let endpoint = attempt.endpoint();
    let carried = endpoint.carry();
    let outcome = if endpoint.plan.protocol.is_h2() {
        match endpoint.lease_h2().await {
            Ok(lease) => http2::send(lease, head, body, interim).await,
            Err(error) => Err(error),
        }
    } else {
        // Boxed: the larger of the two ways, and the rarer.
        Box::pin(http1(endpoint, head, body, interim)).await
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
    attempt: Attempt,
    head: Request<()>,
    body: Body,
    interim: Option<&Interim>,
) -> Result<Response<Answer>, Error> {
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
