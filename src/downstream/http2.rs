//! HTTP/2 with a client: one task for the connection, one for each stream.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use http::{HeaderValue, StatusCode};
use tokio::time::{Instant, Sleep};

use super::Peer;
use super::exchange::{Delivery, Service, answer};
use crate::body::pump::{Pump, Stopped};
use crate::body::{Body, Frames};
use crate::error::{Error, Kind};
use crate::exchange::Exchange;
use crate::http2::ends::Sender;
use crate::http2::error::Reason;
use crate::http2::server::{Accepted, Connection};
use crate::http2::{Bounds, Local};
use crate::io::Io;
use crate::message::name::DATE;
use crate::message::{Fields, Response};
use crate::telemetry::recorder::{Recorder, Subject};

/// Window of one stream: an upload over 100 ms of distance runs at 10 MB/s.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// Window of the connection.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// When a busy connection is looked at again, and how long one told to go may take to answer.
const RECHECK: Duration = Duration::from_secs(5);

/// What the streams of a connection share with it.
struct Streams {
    open: Cell<usize>,
    /// Streams that may still come before the connection is told to go; below zero: that came
    /// nevertheless.
    left: Cell<Option<i64>>,
    last_end: Cell<Instant>,
}

/// Serves a connection until the client leaves, it is idle for too long, or `peer.drain` is told
/// and the last stream has ended.
pub async fn serve<S: Service>(io: Io, peer: Rc<Peer<S>>) {
    // A head that is too large is refused in the words of its caller: more of it is read than
    // may be, and what is beyond even that is counted, not kept.
    let local = Local {
        stream_window: STREAM_WINDOW,
        connection_window: CONNECTION_WINDOW,
        max_frame: crate::http2::frame::DEFAULT_MAX_FRAME,
        streams: peer.limits.streams as usize,
        bounds: Bounds {
            bytes: peer.limits.readable_head() as usize,
            fields: peer.limits.header_fields + 1,
        },
        huffman: true,
    };
    let connection = Connection::new(io, local, peer.limits.readable_head());
    let streams = Rc::new(Streams {
        open: Cell::new(0),
        left: Cell::new(peer.limits.requests.map(i64::from)),
        last_end: Cell::new(Instant::now()),
    });
    run(connection, peer, streams).await;
}

async fn run<S: Service>(mut connection: Connection, peer: Rc<Peer<S>>, streams: Rc<Streams>) {
    let draining = peer.drain.clone().told();
    tokio::pin!(draining);
    let mut clock = Clock::new(&peer);
    let (mut drained, mut ended) = (false, false);
    poll_fn(|cx| {
        if !drained && draining.as_mut().poll(cx).is_ready() {
            drained = true;
            connection.leave();
        }
        // What ends the connection below wakes this task, which then sees it here.
        ended = ended || accept(&mut connection, &peer, &streams, cx);
        if let Some(left @ ..=0) = streams.left.get().filter(|_| !ended) {
            drained = true;
            connection.leave();
            // What is under way while it learns of it is served; more is not to have understood.
            if -left > i64::from(peer.limits.streams) {
                connection.abort(Reason::ENHANCE_YOUR_CALM);
            }
        }
        match clock.poll(&streams, connection.is_settled(), cx) {
            Due::Nothing => {}
            Due::Rest => connection.trim(),
            Due::Leave if !drained => {
                drained = true;
                connection.leave();
            }
            // A client that does not answer the shutdown's PING is not waited for.
            Due::Leave | Due::Never => connection.abort(Reason::NO_ERROR),
        }
        let flushed = connection.poll_flush(cx);
        if ended { Poll::Ready(()) } else { flushed }
    })
    .await;
    finish(connection).await;
}

/// Writes out what is left, as long as the client takes some of it.
async fn finish(mut connection: Connection) {
    loop {
        let before = connection.backlog();
        let flush = poll_fn(|cx| connection.poll_flush(cx));
        let flushed = tokio::time::timeout(RECHECK, flush).await.is_ok();
        if flushed || connection.backlog() >= before {
            return;
        }
    }
}

/// What a connection's clock asks for.
enum Due {
    Nothing,
    /// It carries nothing at the moment.
    Rest,
    /// It has carried nothing for too long.
    Leave,
    /// It never began.
    Never,
}

/// Watches over the client's first words, and over idleness.
struct Clock {
    timer: Pin<Box<Sleep>>,
    /// When the client's SETTINGS must have come; `None`: they have.
    greeting: Option<Instant>,
    idle: Duration,
}

impl Clock {
    fn new<S>(peer: &Peer<S>) -> Self {
        let (idle, head) = (peer.limits.idle, peer.limits.head_time);
        Self {
            timer: Box::pin(tokio::time::sleep(idle.min(head))),
            greeting: Instant::now().checked_add(head),
            idle,
        }
    }

    fn poll(&mut self, streams: &Streams, settled: bool, cx: &mut Context<'_>) -> Due {
        let mut due = Due::Nothing;
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if settled {
                self.greeting = None;
            } else if self.greeting.is_some_and(|greeting| greeting <= now) {
                return Due::Never;
            }
            let ends = streams.last_end.get() + self.idle;
            if streams.open.get() == 0 {
                due = if ends <= now { Due::Leave } else { Due::Rest };
            }
            self.timer.as_mut().reset(ends.max(now + self.idle.min(RECHECK)));
        }
        due
    }
}

/// Takes every stream that the client has opened; `true` when the connection is over.
fn accept<S: Service>(
    connection: &mut Connection,
    peer: &Rc<Peer<S>>,
    streams: &Rc<Streams>,
    cx: &mut Context<'_>,
) -> bool {
    // What is begun for them has its turn before more is taken in.
    let mut turn = peer.limits.streams;
    loop {
        match connection.poll_accept(cx) {
            Poll::Ready(Some(accepted)) => {
                streams.open.set(streams.open.get() + 1);
                streams.left.set(streams.left.get().map(|left| left.saturating_sub(1)));
                let open = OpenStream(Rc::clone(streams));
                // Boxed, since tokio moves a task's future eight times until it runs and again
                // when it has ended, and this one is several KiB: a seventh of a call's CPU.
                tokio::task::spawn_local(Box::pin(stream(Rc::clone(peer), accepted, open)));
                turn = turn.saturating_sub(1);
                if turn == 0 {
                    cx.waker().wake_by_ref();
                    return false;
                }
            }
            Poll::Ready(None) => return true,
            Poll::Pending => return false,
        }
    }
}

/// Counts a stream for as long as it is carried.
struct OpenStream(Rc<Streams>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        if self.0.open.get() == 0 {
            self.0.last_end.set(Instant::now());
        }
    }
}

async fn stream<S: Service>(peer: Rc<Peer<S>>, accepted: Accepted, _open: OpenStream) {
    let Accepted { request, over, mut sender, receiver } = accepted;
    let mut exchange = Exchange::new(Rc::clone(&peer.connection));
    if over {
        exchange.refused = Some(Kind::HeadersTooLarge);
    }
    let counter = Rc::clone(&exchange.bytes_in);
    let request = request.map(|()| Body::http2_counted(receiver, Kind::ClientGone, counter));
    let head = *request.method() == http::Method::HEAD;
    exchange.interim = Some(interim(&sender));
    let recorder = Recorder::new(Rc::clone(&peer.telemetry), exchange, Subject::new(&request));
    // A scope of its own: what asks the pipeline is large, and gone when the answer is delivered.
    let response = {
        let mut answering = pin!(answer(&*peer.service, request, recorder, &peer.limits));
        poll_fn(|cx| {
            // First, since a stream may have been reset before anything was done for it.
            if sender.poll_reset(cx).is_ready() {
                return Poll::Ready(None);
            }
            answering.as_mut().poll(cx).map(Some)
        })
        .await
    };
    // Dropping what is under way cancels it upstream; the record says that the client left.
    let Some(response) = response else { return };
    deliver(response, sender, head, peer.limits.idle).await;
}

/// Interim answers of upstream become interim answers of this stream.
fn interim(sender: &Sender) -> crate::exchange::Interim {
    let interims = sender.interims();
    Rc::new(move |status: StatusCode, headers: &Fields| {
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers.clone();
        interims.send(&response);
    })
}

async fn deliver(response: Response<Delivery>, mut sender: Sender, head: bool, stall: Duration) {
    let (mut parts, mut body) = response.into_parts();
    // Whoever passes an answer on without a date must date it (RFC 9110 §6.6.1).
    if !parts.headers.contains_key(DATE)
        && let Ok(now) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
    {
        parts.headers.insert(DATE, now);
    }
    let ends = head || Frames::is_end_stream(&body);
    if let Err(error) = sender.respond(&Response::from_parts(parts, ()), ends) {
        return body.abandoned(&Error::with(Kind::ClientGone, error));
    }
    if ends {
        return body.delivered();
    }
    let deadline = body.deadline();
    let mut pump = Pump::new(body, sender);
    // Made when the client's window is shut for the first time, which it hardly ever is.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    let (mut waiting, mut ends_as) = (false, Kind::ClientStalled);
    let outcome = poll_fn(|cx| {
        let before = pump.progress();
        let polled = pump.poll(cx);
        let waited =
            std::mem::replace(&mut waiting, polled.is_pending() && pump.waits_for_window());
        if waiting {
            // A client that opens no window holds memory here and a stream upstream. Its clock
            // runs from the moment at which there was something to send, and never beyond the
            // deadline, whose own clock stands while nobody asks the body for more.
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
            if !waited || pump.progress() != before {
                let stalled = (Instant::now() + stall, Kind::ClientStalled);
                let due = deadline.filter(|(at, _)| *at < stalled.0).unwrap_or(stalled);
                timer.as_mut().reset(due.0);
                ends_as = due.1;
            }
            if timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Stopped::Body(Error::new(ends_as))));
            }
        }
        polled
    })
    .await;
    match outcome {
        Ok(()) => {}
        Err(Stopped::Body(error)) => {
            let reason = match error.kind() {
                Kind::ClientStalled | Kind::Deadline | Kind::TotalTimeout => Reason::CANCEL,
                _ => Reason::INTERNAL_ERROR,
            };
            pump.body().abandoned(&error);
            pump.stream().send_reset(reason);
        }
        Err(Stopped::Stream(error)) => {
            pump.body().abandoned(&Error::with(Kind::ClientGone, error));
        }
    }
}
