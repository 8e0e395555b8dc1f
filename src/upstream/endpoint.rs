//! One address of a cluster: its connections, and when to open the next.

mod standing;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::balance::{self, Latency};
use super::plan::{ClusterPlan, EndpointPlan};
use super::queue::{Queue, Waiting};
use super::roster::Member;
use super::state::Burden;
use super::transport::{dial, is_refusal};
use super::{http1, http2};
use crate::error::{Error, Kind};
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::{EndpointId, Gauge, Shard};

/// HTTP/2 connections of one worker to one endpoint: with ZITADEL's 250 streams each, 16,000
/// exchanges at once.
const CONNECTIONS: usize = 64;
/// Streams that a connection to an endpoint not asked yet is expected to allow (RFC 9113 §6.5.2).
const EXPECTED: usize = 100;
/// Idle HTTP/1.1 connections that are kept.
const IDLE: usize = 64;
/// Connects under way at once.
const CONNECTS: usize = 4;
/// The first pause after a failed connect, doubled with each further one, half of it by chance.
const BACKOFF: Duration = Duration::from_millis(50);
/// The longest pause: an endpoint that is back is noticed within it.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How long connections are kept.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// Without an exchange.
    pub idle: Duration,
    /// At all, as far as new exchanges go.
    pub max_age: Duration,
    /// In use, without a byte of the peer, until it is asked; and from then to its answer.
    pub keepalive: Duration,
}

impl Clocks {
    /// An age of about `max_age`: connections that were opened together do not end together.
    pub fn age(&self) -> Duration {
        self.max_age.mul_f64(0.9 + fastrand::f64() / 5.0)
    }
}

/// One address.
pub struct Endpoint {
    /// What it is.
    pub plan: EndpointPlan,
    connect_timeout: Duration,
    clocks: Clocks,
    member: Member,
    burden: Arc<Burden>,
    queue: Rc<Queue>,
    pending: u64,
    latency: Latency,
    /// Failures in a row, by what was needed.
    bad: [Cell<u32>; 2],
    key: u64,
    h2: RefCell<Vec<Rc<http2::Connection>>>,
    h1: RefCell<Vec<http1::Connection>>,
    connecting: Cell<usize>,
    /// Streams that the next connection is expected to allow: as many as the last one did.
    expected: Cell<usize>,
    weight: Cell<u16>,
    waiting: RefCell<VecDeque<oneshot::Sender<Result<(), Failure>>>>,
    failed: RefCell<Option<Failed>>,
    /// Until when no further connection is opened beside those that there are.
    enough: Cell<Option<Instant>>,
    id: EndpointId,
    shard: Rc<Shard>,
}

/// An exchange that waits for a place. One that gives up when it has just been told hands its turn
/// to the next, who would else wait for ever.
struct Turn<'a> {
    told: oneshot::Receiver<Result<(), Failure>>,
    endpoint: &'a Rc<Endpoint>,
}

impl Future for Turn<'_> {
    type Output = Result<Result<(), Failure>, oneshot::error::RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.told).poll(cx)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Ok(Ok(())) = self.told.try_recv() {
            self.endpoint.wake();
        }
    }
}

/// A failed connect, as every exchange that waited for it is told.
type Failure = (Kind, Rc<str>);

struct Failed {
    times: u32,
    until: Instant,
    why: Failure,
    _gauge: Gauge,
}

impl Endpoint {
    /// An endpoint without connections; they are opened when they are needed.
    pub fn new(member: Member, cluster: &ClusterPlan, telemetry: &Telemetry) -> Rc<Self> {
        let (burden, weight) = (member.state.burden(), member.weight);
        Rc::new(Self {
            queue: Queue::new(cluster.caps.in_flight, &member.state, &burden),
            pending: cluster.caps.pending.into(),
            id: telemetry.metrics.endpoint(&cluster.name, &member.plan.name),
            shard: Rc::clone(&telemetry.shard),
            plan: member.plan.clone(),
            connect_timeout: cluster.connect_timeout,
            clocks: Clocks {
                idle: cluster.idle,
                max_age: cluster.max_age,
                keepalive: cluster.keepalive,
            },
            burden,
            latency: Latency::default(),
            bad: Default::default(),
            key: balance::key_of(&*member.plan.name),
            member,
            h2: RefCell::default(),
            h1: RefCell::default(),
            connecting: Cell::new(0),
            expected: Cell::new(EXPECTED),
            weight: Cell::new(weight),
            waiting: RefCell::default(),
            failed: RefCell::default(),
            enough: Cell::default(),
        })
    }

    /// Whether the last connect failed and its pause is not over.
    pub fn backing_off(&self) -> bool {
        self.failed.borrow().as_ref().is_some_and(|failed| failed.until > Instant::now())
    }

    /// HTTP/2 connections and the exchanges on them.
    pub fn load(&self) -> (usize, usize) {
        let connections = self.h2.borrow();
        (connections.len(), connections.iter().map(|connection| connection.in_flight()).sum())
    }

    /// A place on an HTTP/2 connection, now or when one is free.
    pub async fn lease_h2(self: &Rc<Self>) -> Result<http2::Lease, Error> {
        loop {
            if let Some(lease) = self.place() {
                return Ok(lease);
            }
            if self.connecting.get() == 0 {
                self.fail_fast()?;
            }
            let waiters = self.waiting.borrow().len();
            if self.connecting.get() * self.expected.get() <= waiters {
                self.connect();
            }
            let (tell, told) = oneshot::channel();
            self.waiting.borrow_mut().push_back(tell);
            let _waiting = Waiting::new(&self.burden);
            match (Turn { told, endpoint: self }).await {
                Ok(Ok(())) => {}
                Ok(Err((kind, why))) => return Err(Error::with(kind, &*why)),
                Err(_) => return Err(Error::new(Kind::Internal)),
            }
        }
    }

    /// A kept HTTP/1.1 connection, or a new one.
    pub async fn lease_h1(self: &Rc<Self>) -> Result<http1::Lease, Error> {
        loop {
            let kept = self.h1.borrow_mut().pop();
            let Some(mut connection) = kept else { break };
            if !connection.is_overdue() && connection.ready().await {
                return Ok(connection.lease(Rc::clone(self)));
            }
        }
        self.fail_fast()?;
        match dial(&self.plan, self.member.tls.as_ref(), false, self.connect_timeout).await {
            Ok(io) => {
                self.connected();
                let gauge = self.shard.upstream_connection(self.id);
                let connection = http1::Connection::open(io, self.clocks, gauge).await?;
                Ok(connection.lease(Rc::clone(self)))
            }
            Err(error) => {
                // One that is asked in HTTP/2 need not know HTTP/1.1, which only a WebSocket wants.
                if !self.plan.protocol.is_h2() || error.kind() != Kind::UpstreamTls {
                    self.note_failure(&error);
                }
                Err(error)
            }
        }
    }

    /// Takes back a connection whose exchange has ended.
    pub(super) fn keep(&self, connection: http1::Connection) {
        let spare = |spare: &http1::Connection| !spare.is_closed() && !spare.is_overdue();
        let mut kept = self.h1.borrow_mut();
        kept.retain(spare);
        if kept.len() < IDLE && spare(&connection) && !connection.is_old() {
            kept.push(connection);
        }
    }

    /// A place on the first connection that has one: packing them keeps writes batched. The next
    /// connection is opened before the last place is taken.
    fn place(self: &Rc<Self>) -> Option<http2::Lease> {
        let connections = self.h2.borrow();
        let (mut lease, mut room) = (None, 0);
        for connection in connections.iter().filter(|connection| connection.usable()) {
            if lease.is_none() {
                lease = connection.lease();
            }
            let limit = connection.limit();
            // What lies above four fifths of the limit is reserve.
            room += (limit - limit / 5).saturating_sub(connection.in_flight());
        }
        drop(connections);
        if lease.is_some() && room == 0 && self.connecting.get() == 0 && !self.backing_off() {
            self.connect();
        }
        lease
    }

    fn fail_fast(&self) -> Result<(), Error> {
        match &*self.failed.borrow() {
            Some(failed) if failed.until > Instant::now() => {
                let (kind, why) = &failed.why;
                Err(Error::with(*kind, &**why))
            }
            _ => Ok(()),
        }
    }

    /// Opens one more connection in the background.
    fn connect(self: &Rc<Self>) {
        if self.connecting.get() >= CONNECTS || self.h2.borrow().len() >= CONNECTIONS {
            return;
        }
        if self.carries() && self.enough.get().is_some_and(|until| until > Instant::now()) {
            return;
        }
        self.connecting.set(self.connecting.get() + 1);
        let endpoint = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let outcome = endpoint.open().await;
            endpoint.connecting.set(endpoint.connecting.get() - 1);
            match outcome {
                Ok(connection) => {
                    endpoint.connected();
                    endpoint.h2.borrow_mut().push(connection);
                    endpoint.wake();
                }
                // The server takes no more of them, say: those in line get the places that there are.
                Err(error) if endpoint.carries() => {
                    tracing::debug!(upstream.endpoint = %endpoint.plan.name, %error, "no further connection to upstream");
                    endpoint.enough.set(Some(Instant::now() + BACKOFF_MAX));
                    endpoint.member.state.doubt();
                    endpoint.shard.connect(endpoint.id, Err(error.kind()));
                }
                Err(error) => {
                    let why = endpoint.note_failure(&error);
                    for waiter in endpoint.waiting.take() {
                        let _ = waiter.send(Err((why.0, Rc::clone(&why.1))));
                    }
                }
            }
        });
    }

    async fn open(self: &Rc<Self>) -> Result<Rc<http2::Connection>, Error> {
        let deadline = Instant::now() + self.connect_timeout;
        let io = dial(&self.plan, self.member.tls.as_ref(), true, self.connect_timeout).await?;
        let endpoint = Rc::downgrade(self);
        let gauge = self.shard.upstream_connection(self.id);
        let state = Arc::clone(&self.member.state);
        let opening = http2::Connection::open(io, self.clocks, state, gauge, move || {
            if let Some(endpoint) = endpoint.upgrade() {
                endpoint.wake();
            }
        });
        let opened = tokio::time::timeout_at(deadline, opening).await;
        let connection = opened.unwrap_or_else(|_| Err(Error::new(Kind::ConnectTimeout)))?;
        self.expected.set(connection.limit().clamp(1, EXPECTED));
        if !connection.usable() {
            return Err(Error::with(Kind::Connect, "it ended before it took anything"));
        }
        Ok(connection)
    }

    /// Whether a connection is there that takes exchanges.
    fn carries(&self) -> bool {
        self.h2.borrow().iter().any(|connection| connection.usable())
    }

    fn connected(&self) {
        if self.failed.take().is_some() {
            tracing::info!(upstream.endpoint = %self.plan.name, "upstream can be reached again");
        }
        self.shard.connect(self.id, Ok(()));
    }

    /// Counts a request that goes there, until its answer's head is there.
    pub(super) fn carry(&self) -> Gauge {
        self.shard.upstream_request(self.id)
    }

    /// Counts a request that is sent again.
    pub fn retried(&self, reason: Kind) {
        self.shard.retry(self.id, reason);
    }

    /// Counts a request that would be sent again, if the budget were not spent.
    pub fn unafforded(&self) {
        self.shard.unafforded(self.id);
    }

    /// Counts a request that is asked here while another endpoint still owes its answer.
    pub fn hedged(&self) {
        self.shard.hedge(self.id);
    }

    fn note_failure(&self, error: &Error) -> Failure {
        let times = self.failed.borrow().as_ref().map_or(0, |failed| failed.times);
        let longest = BACKOFF.saturating_mul(1 << times.min(8)).min(BACKOFF_MAX);
        let pause = longest.mul_f64(0.5 + fastrand::f64() / 2.0);
        let why: Failure = (error.kind(), error.detail().unwrap_or_default().into());
        if times == 0 {
            tracing::warn!(upstream.endpoint = %self.plan.name, why = %why.1, "cannot connect to upstream");
        }
        if is_refusal(error) {
            self.member.state.refused(&why.1);
        } else if why.0 != Kind::NoSocket {
            self.member.state.doubt();
        }
        let until = Instant::now() + pause;
        *self.failed.borrow_mut() = Some(Failed {
            times: times + 1,
            until,
            why: (why.0, Rc::clone(&why.1)),
            _gauge: self.shard.upstream_failing(self.id),
        });
        self.shard.connect(self.id, Err(why.0));
        why
    }

    /// Forgets connections that have ended, and lets as many exchanges on as there are places.
    fn wake(self: &Rc<Self>) {
        if self.waiting.borrow().is_empty()
            && self.h2.borrow().iter().all(|connection| connection.usable())
        {
            return;
        }
        self.h2.borrow_mut().retain(|connection| connection.usable());
        let mut room: usize = {
            let connections = self.h2.borrow();
            connections
                .iter()
                .map(|c| c.limit().saturating_sub(c.in_flight()))
                .fold(0, usize::saturating_add)
        };
        while room > 0 {
            let Some(waiter) = self.waiting.borrow_mut().pop_front() else { return };
            if waiter.send(Ok(())).is_ok() {
                room -= 1;
            }
        }
        if !self.waiting.borrow().is_empty() {
            self.connect();
        }
    }
}
