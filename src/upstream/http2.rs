//! One HTTP/2 connection to an endpoint, driven with the `h2` client itself.
//!
//! hyper's client would hand each request through a channel and spawn a task for its body; here
//! both live in the exchange that asked.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Answer;
use super::alive::{Alive, Step};
use super::endpoint::Clocks;
use crate::body::Body;
use crate::body::pump::{Pump, Stopped};
use crate::error::{Error, Kind};
use crate::exchange::Interim;
use crate::io::{Driven, Handle, Io};
use crate::telemetry::metrics::Gauge;

/// Window of one stream: what a slow client may leave in our memory per exchange.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Window of the connection: as many full stream windows as ZITADEL allows streams, so that slow
/// clients never take the window away from others.
const CONNECTION_WINDOW: u32 = 250 * STREAM_WINDOW;
/// The longest DATA frame that the peer may send: a large answer costs by the frame and by the read.
const FRAME: u32 = 64 * 1024;
/// Bytes of an answer's head: 64 KiB of fields and what RFC 9113 §6.5.2 adds per field.
const HEADER_LIST: u32 = 72 * 1024;
/// Bytes that one stream may hold before the socket takes them.
const SEND_BUFFER: usize = 128 * 1024;
/// Stands for the peer's limit of streams until its first SETTINGS have come; no peer's own number.
const UNKNOWN: usize = (u32::MAX as usize) + 1;
/// Small DATA frames are what gRPC streams are made of; the windows bound them well enough
/// towards a server of our own (the default ends the connection for all, RUSTSEC-2026-0258).
const DATA_FRAME_BUDGET: usize = 1 << 30;

/// One connection, shared by the exchanges of a worker.
pub struct Connection {
    send: RefCell<h2::client::SendRequest<Bytes>>,
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
    /// whenever a place becomes free or the connection ends.
    ///
    /// It waits for the peer's SETTINGS (RFC 9113 §3.4), which servers send unasked: before them nobody
    /// knows how many streams there may be, and what a burst sent beyond would be refused, with
    /// bodies that may not be there a second time.
    pub async fn open(
        io: Io,
        clocks: Clocks,
        open: Gauge,
        released: impl Fn() + 'static,
    ) -> Result<Rc<Self>, Error> {
        let handle = io.handle();
        let handshake = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADER_LIST)
            .max_frame_size(FRAME)
            .max_send_buffer_size(SEND_BUFFER)
            .initial_max_send_streams(UNKNOWN)
            .max_concurrent_reset_streams(1024)
            .data_frame_budget(DATA_FRAME_BUDGET)
            .handshake::<_, Bytes>(io);
        let (send, mut driver) =
            handshake.await.map_err(|error| Error::with(Kind::Connect, error))?;
        let ping = driver.ping_pong();
        let mut driver = Box::pin(Driven::new(driver, handle.clone()));
        poll_fn(|cx| {
            let ended = driver.as_mut().poll(cx);
            if send.current_max_send_streams() != UNKNOWN {
                return Poll::Ready(Ok(()));
            }
            ended.map(|outcome| Err(no_preface(outcome.err())))
        })
        .await?;
        let connection = Rc::new(Self {
            send: RefCell::new(send),
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
            ping,
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
        self.usable.get()
    }

    /// Exchanges under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// How many exchanges the peer allows at once.
    pub fn limit(&self) -> usize {
        self.send.borrow().current_max_send_streams()
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
    ping: Option<h2::PingPong>,
    clocks: Clocks,
}

async fn drive<F>(mut driver: Pin<Box<F>>, mut care: Care)
where
    F: Future<Output = Result<(), h2::Error>>,
{
    let now = Instant::now();
    let mut alive = Alive::new(care.clocks.keepalive, now);
    let mut old = now.checked_add(care.clocks.age());
    let first = old.map_or(care.clocks.idle, |old| care.clocks.idle.min(old - now));
    let timer = tokio::time::sleep(first.min(alive.next()));
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
            match alive.look(now, care.handle.received(), !idle, woken) {
                Step::Rest => {}
                Step::Ask => care.ask().await,
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
        timer.as_mut().reset(now + next.max(Duration::from_millis(10)));
    }
    // Whatever is still under way fails with it.
    drop(driver);
    if let Some(connection) = care.connection.upgrade() {
        connection.forget();
    }
}

impl Care {
    /// Sends a PING, and takes in the answer to the last one, which else stands in the way.
    async fn ask(&mut self) {
        let Some(ping) = &mut self.ping else { return };
        let _ = poll_fn(|cx| Poll::Ready(ping.poll_pong(cx).is_ready())).await;
        if let Err(error) = ping.send_ping(h2::Ping::opaque()) {
            tracing::debug!(%error, "an upstream connection cannot be asked");
        }
    }
}

/// What it means that a connection ended before the peer's SETTINGS: nothing of an exchange was sent.
fn no_preface(error: Option<h2::Error>) -> Error {
    match error {
        Some(error) if error.is_io() => Error::with(Kind::Connect, error),
        // It speaks, but no HTTP/2.
        Some(error) => Error::with(Kind::Protocol, error),
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
    head: Request<()>,
    body: Body,
    interim: Option<&Interim>,
) -> Result<Response<Answer>, Error> {
    let ends = http_body::Body::is_end_stream(&body);
    let (response, stream) = begin(&lease.connection, head, ends).await?;
    let mut under_way = UnderWay { response, pump: (!ends).then(|| Pump::new(body, stream)) };
    let response = poll_fn(|cx| under_way.poll(cx, interim)).await?;
    let pump = under_way.pump.map(Box::new);
    Ok(response.map(|stream| Answer {
        body: Body::http2(stream, Kind::Incomplete),
        pump,
        lease: Some(super::Lease::Http2(lease)),
        ..Answer::default()
    }))
}

async fn begin(
    connection: &Connection,
    head: Request<()>,
    ends: bool,
) -> Result<(h2::client::ResponseFuture, h2::SendStream<Bytes>), Error> {
    let mut head = Some(head);
    poll_fn(|cx| {
        let mut send = connection.send.borrow_mut();
        // Not ready: an earlier stream of this handle waits for its place. A fresh handle queues
        // behind it inside h2; our own count keeps that queue short.
        let ready = match send.poll_ready(cx) {
            Poll::Ready(ready) => ready,
            Poll::Pending => {
                let fresh = send.clone();
                *send = fresh;
                ready!(send.poll_ready(cx))
            }
        };
        let sent = ready.and_then(|()| match head.take() {
            Some(head) => send.send_request(head, ends),
            None => Err(h2::Reason::INTERNAL_ERROR.into()),
        });
        if sent.is_err() {
            connection.retire();
        }
        // Nothing was put on the wire: whatever the reason, it may be sent elsewhere.
        Poll::Ready(sent.map_err(|error| Error::with(Kind::Refused, error)))
    })
    .await
}

struct UnderWay {
    response: h2::client::ResponseFuture,
    pump: Option<Pump>,
}

impl UnderWay {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        interim: Option<&Interim>,
    ) -> Poll<Result<Response<h2::RecvStream>, Error>> {
        if let Some(pump) = &mut self.pump
            && let Poll::Ready(done) = pump.poll(cx)
        {
            if let Err(Stopped::Body(error)) = done {
                pump.stream().send_reset(h2::Reason::CANCEL);
                return Poll::Ready(Err(error));
            }
            // Any other end of the sending half shows itself in the answer.
            self.pump = None;
        }
        while let Some(answer) = ready!(self.response.poll_informational(cx)) {
            let answer = answer.map_err(failure)?;
            if let Some(interim) = interim {
                interim(answer.status(), answer.headers());
            }
        }
        let answer = ready!(Pin::new(&mut self.response).poll(cx));
        Poll::Ready(answer.map_err(failure))
    }
}

/// What a failed stream means for its exchange, before the answer's head.
fn failure(error: h2::Error) -> Error {
    let kind = match error.reason() {
        // Streams above the GOAWAY's last id are the only ones that end with it (RFC 9113 §6.8).
        _ if error.is_go_away() && error.is_remote() => Kind::Refused,
        Some(h2::Reason::REFUSED_STREAM) if error.is_remote() => Kind::Refused,
        Some(h2::Reason::HTTP_1_1_REQUIRED) if error.is_remote() => Kind::NotHttp2,
        Some(_) if error.is_remote() => Kind::Reset,
        Some(_) => Kind::Protocol,
        None => Kind::Reset,
    };
    Error::with(kind, error)
}
