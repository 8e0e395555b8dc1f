//! One HTTP/2 connection to an endpoint, driven with the `h2` client itself.
//!
//! hyper's client would hand each request through a channel and spawn a task for its body; here
//! both live in the exchange that asked.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::Instant;

use super::Answer;
use crate::body::Body;
use crate::body::pump::{Pump, Stopped};
use crate::error::{Error, Kind};
use crate::exchange::Interim;
use crate::io::{Driven, Io};
use crate::telemetry::metrics::Gauge;

/// Window of one stream: what a slow client may leave in our memory per exchange.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Window of the connection: as many full stream windows as ZITADEL allows streams, so that slow
/// clients never take the window away from others.
const CONNECTION_WINDOW: u32 = 250 * STREAM_WINDOW;
/// Bytes of an answer's head: 64 KiB of fields and what RFC 9113 §6.5.2 adds per field.
const HEADER_LIST: u32 = 72 * 1024;
/// Bytes that one stream may hold before the socket takes them.
const SEND_BUFFER: usize = 128 * 1024;
/// Streams assumed until the first SETTINGS of an endpoint say how many.
pub(super) const STREAMS_BEFORE_SETTINGS: usize = 100;
/// Small DATA frames are what gRPC streams are made of; the windows bound them well enough
/// towards a server of our own (the default ends the connection for all, RUSTSEC-2026-0258).
const DATA_FRAME_BUDGET: usize = 1 << 30;

/// One connection, shared by the exchanges of a worker.
pub struct Connection {
    send: RefCell<h2::client::SendRequest<Bytes>>,
    in_flight: Cell<usize>,
    usable: Cell<bool>,
    last_used: Cell<Instant>,
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
    /// Sends the preface and begins to drive the connection in a task of its own, which ends
    /// when the connection does or was idle for `idle`. `released` is called whenever a place
    /// becomes free or the connection ends. `assumed`: how many exchanges are put on it before the
    /// peer's SETTINGS say how many it allows.
    pub async fn open(
        io: Io,
        idle: Duration,
        assumed: usize,
        open: Gauge,
        released: impl Fn() + 'static,
    ) -> Result<Rc<Self>, Error> {
        let handle = io.handle();
        let handshake = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADER_LIST)
            .max_send_buffer_size(SEND_BUFFER)
            .initial_max_send_streams(assumed)
            .max_concurrent_reset_streams(1024)
            .data_frame_budget(DATA_FRAME_BUDGET)
            .handshake::<_, Bytes>(io);
        let (send, driver) = handshake.await.map_err(|error| Error::with(Kind::Connect, error))?;
        let connection = Rc::new(Self {
            send: RefCell::new(send),
            in_flight: Cell::new(0),
            usable: Cell::new(true),
            last_used: Cell::new(Instant::now()),
            released: Box::new(released),
        });
        let driving = drive(Driven::new(driver, handle), Rc::downgrade(&connection), idle);
        tokio::task::spawn_local(async move {
            let _open = open;
            driving.await;
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
        self.in_flight.set(self.in_flight() + 1);
        Some(Lease { connection: Rc::clone(self) })
    }

    /// Takes no more exchanges; ends when the last one has.
    pub fn retire(&self) {
        self.usable.set(false);
    }
}

async fn drive<F>(driver: F, connection: std::rc::Weak<Connection>, idle: Duration)
where
    F: Future<Output = Result<(), h2::Error>>,
{
    tokio::pin!(driver);
    let timer = tokio::time::sleep(idle);
    tokio::pin!(timer);
    loop {
        tokio::select! {
            biased;
            outcome = &mut driver => {
                if let Err(error) = outcome {
                    tracing::debug!(%error, "upstream connection ended");
                }
                break;
            }
            () = &mut timer => {
                let Some(connection) = connection.upgrade() else {
                    timer.as_mut().reset(Instant::now() + idle);
                    continue;
                };
                let due = connection.last_used.get() + idle;
                let now = Instant::now();
                if connection.in_flight() == 0 && due <= now {
                    // Forgotten by the pool, it closes itself once nobody holds it.
                    connection.retire();
                    (connection.released)();
                }
                timer.as_mut().reset(due.max(now + Duration::from_millis(100)));
            }
        }
    }
    if let Some(connection) = connection.upgrade() {
        connection.retire();
        (connection.released)();
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
        let answer = ready!(std::pin::Pin::new(&mut self.response).poll(cx));
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
