//! One HTTP/2 connection to an endpoint. A request and its body are sent by the exchange that
//! asked; the connection's task only reads and writes.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::alive::{Alive, Seen, Step};
use super::endpoint::Clocks;
use super::state::EndpointState;
use super::{Answer, Behind};
use crate::body::pump::{Pump, Stopped};
use crate::body::{Body, Frames};
use crate::error::{Error, Kind};
use crate::exchange::Interim;
use crate::http2::client::{self, Requests};
use crate::http2::ends::{Answered, Receiver};
use crate::http2::error::{Error as Http2Error, Reason};
use crate::http2::{Bounds, Local};
use crate::io::{Handle, Io};
use crate::message::{Request, Response};
use crate::telemetry::metrics::Gauge;

/// Window of one stream: what a slow client may leave in our memory per exchange.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Exchanges on one connection, however many the peer allows: as many as ZITADEL does.
const STREAMS: u32 = 250;
/// Window of the connection: as many full stream windows as it has streams, so that slow clients
/// never take the window away from others.
const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;
/// The longest DATA frame that the peer may send: a large answer costs by the frame and by the read.
const FRAME: usize = 64 * 1024;
/// Bytes of an answer's head: 64 KiB of fields and what RFC 9113 §6.5.2 adds per field.
const HEADER_LIST: u32 = 72 * 1024;
/// Fields of an answer's head.
const HEADER_FIELDS: usize = 1000;

/// How often a connection is looked at, at least: so soon does what it carries feel that checks call its
/// endpoint down.
const LOOK: Duration = Duration::from_secs(2);

/// One connection, shared by the exchanges of a worker.
pub struct Connection {
    requests: Requests,
    in_flight: Cell<usize>,
    usable: Cell<bool>,
    last_used: Cell<Instant>,
    keepalive: Duration,
    /// Told when it is used after a long rest.
    woken: Rc<Notify>,
    released: Box<dyn Fn()>,
}

/// A place for one exchange on a connection; gives it back when dropped.
pub struct Lease {
    connection: Rc<Connection>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.in_flight.set(connection.in_flight.get().saturating_sub(1));
        if connection.in_flight.get() == 0 {
            connection.last_used.set(Instant::now());
        }
        (connection.released)();
    }
}

impl Connection {
    /// Exchanges prefaces, and begins to drive the connection in a task of its own, which ends when
    /// the connection does, was idle for too long, or its peer is no longer there. `released` is called
    /// whenever a place becomes free or the connection ends. `state` tells whether checks call its endpoint down.
    ///
    /// It waits for the peer's SETTINGS (RFC 9113 §3.4), which servers send unasked: before them nobody
    /// knows how many streams there may be, and what a burst sent beyond would be refused, with
    /// bodies that may not be there a second time.
    pub async fn open(
        io: Io,
        clocks: Clocks,
        state: Arc<EndpointState>,
        open: Gauge,
        released: impl Fn() + 'static,
    ) -> Result<Rc<Self>, Error> {
        let handle = io.handle();
        let local = Local {
            stream_window: STREAM_WINDOW,
            connection_window: CONNECTION_WINDOW,
            max_frame: FRAME,
            streams: 0,
            bounds: Bounds { bytes: HEADER_LIST as usize, fields: HEADER_FIELDS },
            // The way there is short.
            huffman: false,
        };
        let (requests, driver) = client::open(io, local, HEADER_LIST);
        let mut driver = Box::pin(driver);
        poll_fn(|cx| {
            let ended = driver.as_mut().poll(cx);
            if requests.is_settled() {
                return Poll::Ready(Ok(()));
            }
            ended.map(|outcome| Err(no_preface(outcome.err())))
        })
        .await?;
        let connection = Rc::new(Self {
            requests,
            in_flight: Cell::new(0),
            usable: Cell::new(true),
            last_used: Cell::new(Instant::now()),
            keepalive: clocks.keepalive,
            woken: Rc::default(),
            released: Box::new(released),
        });
        let care = Care {
            connection: Rc::downgrade(&connection),
            woken: Rc::clone(&connection.woken),
            handle,
            state,
            clocks,
        };
        tokio::task::spawn_local(async move {
            let _open = open;
            drive(driver, care).await;
        });
        Ok(connection)
    }

    /// Whether new exchanges may be put on it.
    pub fn usable(&self) -> bool {
        self.usable.get() && self.requests.is_open()
    }

    /// Exchanges under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// How many exchanges the peer allows at once, as far as the connection's window is enough for all
    /// of them to be slow.
    pub fn limit(&self) -> usize {
        self.requests.limit().min(STREAMS as usize)
    }

    /// A place, if the peer's limit leaves one.
    pub fn lease(self: &Rc<Self>) -> Option<Lease> {
        if !self.usable() || self.in_flight() >= self.limit() {
            return None;
        }
        if self.in_flight() == 0 && self.last_used.get().elapsed() >= self.keepalive {
            self.woken.notify_one();
        }
        self.in_flight.set(self.in_flight() + 1);
        Some(Lease { connection: Rc::clone(self) })
    }

    /// Takes no more exchanges; ends when the last one has.
    pub fn retire(&self) {
        self.usable.set(false);
    }

    /// The same, and the pool is told.
    fn forget(&self) {
        if self.usable.replace(false) {
            (self.released)();
        }
    }
}

/// What a connection's task looks after it with; it does not keep it.
struct Care {
    connection: Weak<Connection>,
    woken: Rc<Notify>,
    handle: Handle,
    state: Arc<EndpointState>,
    clocks: Clocks,
}

async fn drive(mut driver: Pin<Box<client::Connection>>, care: Care) {
    let now = Instant::now();
    let mut alive = Alive::new(care.clocks.keepalive, now);
    let mut old = now.checked_add(care.clocks.age());
    let first = old.map_or(care.clocks.idle, |old| care.clocks.idle.min(old - now));
    let timer = tokio::time::sleep(first.min(alive.next()).min(LOOK));
    tokio::pin!(timer);
    loop {
        let woken = tokio::select! {
            biased;
            outcome = &mut driver => {
                if let Err(error) = outcome {
                    tracing::debug!(%error, "upstream connection ended");
                }
                break;
            }
            () = care.woken.notified() => true,
            () = &mut timer => false,
        };
        let now = Instant::now();
        let mut next = alive.next();
        if let Some(connection) = care.connection.upgrade() {
            let due = connection.last_used.get() + care.clocks.idle;
            let idle = connection.in_flight() == 0;
            if idle {
                driver.trim();
            }
            let seen = Seen {
                received: care.handle.received(),
                busy: !idle,
                woken,
                suspected: care.state.is_down(),
            };
            match alive.look(now, &seen) {
                Step::Rest => {}
                Step::Ask => driver.ping(),
                Step::Doubt => connection.forget(),
                Step::Dead => {
                    tracing::warn!("an upstream connection gives no sign of life: given up");
                    break;
                }
            }
            next = alive.next();
            if idle && due <= now || old.is_some_and(|old| old <= now) {
                // Forgotten by the pool, it closes itself once nobody holds it.
                connection.forget();
                old = None;
            } else if idle {
                next = next.min(due - now);
            }
        }
        let next = old.map_or(next, |old| next.min(old.saturating_duration_since(now)));
        timer.as_mut().reset(now + next.clamp(Duration::from_millis(10), LOOK));
    }
    // Whatever is still under way fails with it.
    drop(driver);
    if let Some(connection) = care.connection.upgrade() {
        connection.forget();
    }
}

/// What it means that a connection ended before the peer's SETTINGS: nothing of an exchange was sent.
fn no_preface(error: Option<Http2Error>) -> Error {
    match error {
        Some(error) if error.is_io() => Error::with(Kind::Connect, error),
        // It speaks, but no HTTP/2.
        Some(error) => Error::with(Kind::NoPreface, error),
        None => Error::with(Kind::Connect, "closed before it said anything"),
    }
}

/// Sends one request and waits for the head of its answer.
///
/// # Errors
/// [`Kind::Refused`] when upstream has provably not processed it; the other kinds say how far it
/// may have come. An error of the request's own body is returned as it is.
pub async fn send(
    lease: Lease,
    head: &Request<()>,
    body: Body,
    interim: Option<&Interim>,
) -> Result<Response<Answer>, Error> {
    let ends = Frames::is_end_stream(&body);
    let sent = lease.connection.requests.send(head, ends);
    // Nothing was put on the wire: whatever the reason, it may be sent elsewhere.
    let (sender, receiver) = sent.map_err(|error| {
        lease.connection.retire();
        Error::with(Kind::Refused, error)
    })?;
    let pump = (!ends).then(|| Pump::new(body, sender));
    let mut under_way = UnderWay { receiver, pump };
    let response = poll_fn(|cx| under_way.poll(cx, interim)).await?;
    let UnderWay { receiver, pump } = under_way;
    Ok(response.map(|()| {
        Answer(Box::new(Behind {
            body: Body::http2(receiver, Kind::Incomplete),
            pump: pump.map(Box::new),
            lease: Some(super::Lease::Http2(lease)),
            ..Behind::default()
        }))
    }))
}

struct UnderWay {
    receiver: Receiver,
    pump: Option<Pump>,
}

impl UnderWay {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        interim: Option<&Interim>,
    ) -> Poll<Result<Response<()>, Error>> {
        if let Some(pump) = &mut self.pump
            && let Poll::Ready(done) = pump.poll(cx)
        {
            if let Err(Stopped::Body(error)) = done {
                pump.stream().send_reset(Reason::CANCEL);
                return Poll::Ready(Err(error));
            }
            // Any other end of the sending half shows itself in the answer.
            self.pump = None;
        }
        loop {
            match ready!(self.receiver.poll_head(cx)).map_err(failure)? {
                Answered::Final(response) => return Poll::Ready(Ok(response)),
                Answered::Interim(response) => {
                    if let Some(interim) = interim {
                        interim(response.status(), response.headers());
                    }
                }
            }
        }
    }
}

/// What a failed stream means for its exchange, before the answer's head.
fn failure(error: Http2Error) -> Error {
    let kind = match error.reason() {
        // Streams above the GOAWAY's last id are the only ones that end with it (RFC 9113 §6.8).
        _ if error.is_go_away() && error.is_remote() => Kind::Refused,
        Some(Reason::REFUSED_STREAM) if error.is_remote() => Kind::Refused,
        Some(Reason::HTTP_1_1_REQUIRED) if error.is_remote() => Kind::NotHttp2,
        Some(_) if error.is_remote() => Kind::Reset,
        Some(_) => Kind::Protocol,
        None => Kind::Reset,
    };
    Error::with(kind, error)
}
