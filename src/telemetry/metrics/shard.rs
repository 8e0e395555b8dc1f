//! How a worker counts.

use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::cells::{CAUSES, Cells, EndpointCells, GRPC_CODES, HANDSHAKES, ListenerCells, add};
use super::{EndpointId, HANDSHAKE_FAILURES, ListenerId, RouteId};
use crate::error::Kind;
use crate::exchange::{CacheUse, Class, Protocol};

/// One thread's counters: may be moved to its thread, and belongs to it then.
///
/// Not `Sync` and not `Clone`: the cells are written without read-modify-write, which is right
/// only while one thread writes. Share it within the thread by `Rc`.
#[derive(Debug)]
pub struct Shard {
    cells: Arc<Cells>,
    one_thread: PhantomData<Cell<()>>,
}

/// What an exchange is counted under.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeKey {
    /// The route that matched.
    pub route: Option<RouteId>,
    /// What it was.
    pub class: Class,
    /// The client's protocol.
    pub protocol: Protocol,
    /// The HTTP status.
    pub status: u16,
    /// The gRPC status, where there was one.
    pub grpc_status: Option<u8>,
    /// What went wrong.
    pub cause: Option<Kind>,
}

/// Which cap refused a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The listener's.
    Listener,
    /// The client address's.
    Client,
}

/// The version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl Shard {
    pub(super) fn new(cells: Arc<Cells>) -> Self {
        Self { cells, one_thread: PhantomData }
    }

    /// Counts an exchange at its end.
    pub fn exchange(&self, key: &ExchangeKey, duration: Duration, bytes_in: u64, bytes_out: u64) {
        if let Some(cause) = key.cause {
            self.cells.causes.bump(cause as usize);
        }
        let route = key.route.map_or(0, |route| route.0);
        let column = key.class as usize * 2 + key.protocol as usize;
        let Some(cells) = self.cells.routes.row(route).and_then(|route| route.row(column)) else {
            return;
        };
        cells.status(key.status);
        if let Some(code) = key.grpc_status {
            cells.grpc.bump(usize::from(code).min(GRPC_CODES - 1));
        }
        cells.duration(duration);
        add(&cells.bytes_in, bytes_in);
        add(&cells.bytes_out, bytes_out);
    }

    /// Counts what the cache did for an exchange, and the bytes that its coding saved.
    pub fn cache(&self, verdict: CacheUse, saved: u64) {
        self.cells.cache.bump(verdict as usize);
        add(&self.cells.cache_saved, saved);
    }

    /// An exchange is in flight until the guard is dropped.
    pub fn in_flight(&self) -> Gauge {
        self.gauge(Place::InFlight)
    }

    /// A client's connection was accepted, and is open until the guard is dropped.
    pub fn connection(&self, listener: ListenerId) -> Gauge {
        if let Some(cells) = self.listener(listener) {
            add(&cells.opened, 1);
        }
        self.gauge(Place::Connections(listener))
    }

    /// A cap refused a connection.
    pub fn refused(&self, listener: ListenerId, cap: Refusal) {
        if let Some(cells) = self.listener(listener) {
            cells.refused.bump(cap as usize);
        }
    }

    /// A TLS handshake succeeded.
    pub fn handshake(&self, listener: ListenerId, version: TlsVersion, resumed: bool) {
        if let Some(cells) = self.listener(listener) {
            cells.handshakes.bump(HANDSHAKES);
            cells.sessions.bump(version as usize * 2 + usize::from(resumed));
        }
    }

    /// A connection came to nothing before HTTP; `cause` is one of [`super::HANDSHAKE_FAILURES`], anything
    /// else counts as `other`.
    pub fn handshake_failed(&self, listener: ListenerId, cause: &str) {
        let place = |cause| HANDSHAKE_FAILURES.iter().position(|known| *known == cause);
        if let Some((cells, place)) =
            self.listener(listener).zip(place(cause).or_else(|| place("other")))
        {
            cells.handshakes.bump(place);
        }
    }

    /// Connecting to an endpoint succeeded, or why not.
    pub fn connect(&self, endpoint: EndpointId, result: Result<(), Kind>) {
        if let Some(cells) = self.endpoint(endpoint) {
            cells.connects.bump(result.map_or_else(|cause| cause as usize, |()| CAUSES));
        }
    }

    /// An endpoint cannot be reached, until the guard is dropped.
    pub fn upstream_failing(&self, endpoint: EndpointId) -> Gauge {
        self.gauge(Place::UpstreamFailing(endpoint))
    }

    /// A connection to an endpoint is open until the guard is dropped.
    pub fn upstream_connection(&self, endpoint: EndpointId) -> Gauge {
        self.gauge(Place::UpstreamConnections(endpoint))
    }

    /// A request goes to an endpoint, and its stream is open until the guard is dropped.
    pub fn upstream_request(&self, endpoint: EndpointId) -> Gauge {
        if let Some(cells) = self.endpoint(endpoint) {
            add(&cells.requests, 1);
        }
        self.gauge(Place::UpstreamStreams(endpoint))
    }

    /// A request that went to this endpoint is sent again.
    pub fn retry(&self, endpoint: EndpointId, reason: Kind) {
        if let Some(cells) = self.endpoint(endpoint) {
            cells.retries.bump(reason as usize);
        }
    }

    /// A request that came to nothing at this endpoint would be sent again, but the budget is spent.
    pub fn unafforded(&self, endpoint: EndpointId) {
        if let Some(cells) = self.endpoint(endpoint) {
            add(&cells.unafforded, 1);
        }
    }

    /// A request is asked of this endpoint while another still owes its answer.
    pub fn hedge(&self, endpoint: EndpointId) {
        if let Some(cells) = self.endpoint(endpoint) {
            add(&cells.hedges, 1);
        }
    }

    fn listener(&self, listener: ListenerId) -> Option<&ListenerCells> {
        self.cells.listeners.row(listener.0)
    }

    fn endpoint(&self, endpoint: EndpointId) -> Option<&EndpointCells> {
        self.cells.endpoints.row(endpoint.0)
    }

    fn gauge(&self, place: Place) -> Gauge {
        place.add(&self.cells, 1);
        Gauge { cells: Arc::clone(&self.cells), place, one_thread: PhantomData }
    }
}

/// One more of something, until it is dropped. Not `Send`: it belongs to its shard's thread.
#[derive(Debug)]
#[must_use = "the gauge falls when this is dropped"]
pub struct Gauge {
    cells: Arc<Cells>,
    place: Place,
    one_thread: PhantomData<Rc<()>>,
}

impl Drop for Gauge {
    fn drop(&mut self) {
        // Adding the complement takes one away; the sum over the shards wraps back.
        self.place.add(&self.cells, u64::MAX);
    }
}

/// Which gauge.
#[derive(Clone, Copy, Debug)]
enum Place {
    InFlight,
    Connections(ListenerId),
    UpstreamConnections(EndpointId),
    UpstreamStreams(EndpointId),
    UpstreamFailing(EndpointId),
}

impl Place {
    fn add(self, cells: &Cells, by: u64) {
        let cell: Option<&AtomicU64> = match self {
            Self::InFlight => Some(&cells.in_flight),
            Self::Connections(id) => cells.listeners.row(id.0).map(|row| &row.open),
            Self::UpstreamConnections(id) => cells.endpoints.row(id.0).map(|row| &row.open),
            Self::UpstreamFailing(id) => cells.endpoints.row(id.0).map(|row| &row.failing),
            Self::UpstreamStreams(id) => cells.endpoints.row(id.0).map(|row| &row.streams),
        };
        if let Some(cell) = cell {
            add(cell, by);
        }
    }
}
