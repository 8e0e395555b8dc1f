//! HTTP/2 with a client, on the `h2` server itself: one task for the connection, one for each
//! stream.
//!
//! hyper's server would hide what a proxy needs: interim answers, resets with a reason, and the
//! moment at which collected writes should go out.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h2::server::SendResponse;
use http::header::DATE;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio::time::{Instant, Sleep};

use super::Peer;
use super::exchange::{Delivery, Service, answer};
use crate::body::Body;
use crate::body::pump::{Pump, Stopped};
use crate::error::{Error, Kind};
use crate::exchange::Exchange;
use crate::io::{Driven, Handle, Io};
use crate::telemetry::recorder::{Recorder, Subject};

/// Window of one stream: an upload over 100 ms of distance runs at 10 MB/s.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// Window of the connection.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// Bytes that one stream may hold before the socket takes them.
const SEND_BUFFER: usize = 128 * 1024;
/// What small DATA frames of the client may cost beyond their bytes while unread.
const DATA_FRAME_BUDGET: usize = 4 * 1024 * 1024;
/// Resets by the client that are ordinary: it may have this many in store…
const RESETS: f64 = 500.0;
/// …and earns this many a second. Beyond it is Rapid Reset (CVE-2023-44487), whose streams cost
/// upstream work although each one counts as closed.
const RESETS_PER_SECOND: f64 = 50.0;
/// When a busy connection is looked at again, and how long one told to go may take to answer.
const RECHECK: Duration = Duration::from_secs(5);

/// What the streams of a connection share with it.
struct Streams {
    open: Cell<usize>,
    /// Streams that may still come before the connection is told to go; below zero: that came
    /// nevertheless.
    left: Cell<Option<i64>>,
    last_end: Cell<Instant>,
    resets: Cell<f64>,
}

/// Serves a connection until the client leaves, it is idle for too long, or `peer.drain` is told
/// and the last stream has ended.
pub async fn serve<S: Service>(io: Io, peer: Rc<Peer<S>>) {
    let handle = io.handle();
    let handshake = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(peer.limits.streams)
        // A head that is too large is refused here, in the words of its caller; only what
        // is far too large by h2, which knows one word for all.
        .max_header_list_size(peer.limits.readable_head())
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(DATA_FRAME_BUDGET)
        // A client that leaves a page cancels all it has asked for at once; our own count of
        // resets is what tells an attack.
        .max_pending_accept_reset_streams(peer.limits.streams as usize)
        .enable_connect_protocol()
        .handshake::<_, Bytes>(io);
    let handshake = Driven::new(handshake, handle.clone());
    // The preface has no clock of its own in h2.
    let Ok(Ok(connection)) = tokio::time::timeout(peer.limits.head_time, handshake).await else {
        return;
    };
    let now = Instant::now();
    let streams = Rc::new(Streams {
        open: Cell::new(0),
        left: Cell::new(peer.limits.requests.map(i64::from)),
        last_end: Cell::new(now),
        resets: Cell::new(RESETS),
    });
    run(connection, handle, peer, streams).await;
}

async fn run<S: Service>(
    mut connection: h2::server::Connection<Io, Bytes>,
    handle: Handle,
    peer: Rc<Peer<S>>,
    streams: Rc<Streams>,
) {
    let draining = peer.drain.clone().told();
    tokio::pin!(draining);
    let timer = tokio::time::sleep(peer.limits.idle);
    tokio::pin!(timer);
    let (mut drained, mut refilled) = (false, Instant::now());
    poll_fn(|cx| {
        if !drained && draining.as_mut().poll(cx).is_ready() {
            drained = true;
            connection.graceful_shutdown();
        }
        let mut ended = accept(&mut connection, &peer, &streams, cx);
        if let Some(left @ ..=0) = streams.left.get().filter(|_| !ended) {
            if !drained {
                drained = true;
                connection.graceful_shutdown();
            }
            // What is under way while it learns of it is served; more is not to have understood.
            if -left > i64::from(peer.limits.streams) {
                connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
            }
            ended = accept(&mut connection, &peer, &streams, cx);
        }
        while timer.as_mut().poll(cx).is_ready() {
            let due = streams.last_end.get() + peer.limits.idle;
            let now = Instant::now();
            if streams.open.get() == 0 && due <= now {
                connection.graceful_shutdown();
                // A client that does not answer the shutdown's PING is not waited for.
                if drained {
                    return Poll::Ready(());
                }
                drained = true;
            }
            timer.as_mut().reset(due.max(now + peer.limits.idle.min(RECHECK)));
        }
        if streams.resets.get() < 0.0 {
            let earned = refilled.elapsed().as_secs_f64() * RESETS_PER_SECOND;
            refilled = Instant::now();
            streams.resets.set((streams.resets.get() + earned).min(RESETS));
            if streams.resets.get() < 0.0 {
                connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
            }
        }
        // A failed write shows itself to h2 at its next read or write.
        let _ = handle.drain(cx);
        if ended { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let _ = tokio::time::timeout(Duration::from_secs(5), poll_fn(|cx| handle.drain(cx))).await;
}

/// Takes every stream that the client has opened; `true` when the connection is over.
fn accept<S: Service>(
    connection: &mut h2::server::Connection<Io, Bytes>,
    peer: &Rc<Peer<S>>,
    streams: &Rc<Streams>,
    cx: &mut Context<'_>,
) -> bool {
    loop {
        match connection.poll_accept(cx) {
            Poll::Ready(Some(Ok((request, respond)))) => {
                streams.open.set(streams.open.get() + 1);
                streams.left.set(streams.left.get().map(|left| left.saturating_sub(1)));
                let open = OpenStream(Rc::clone(streams));
                // Boxed, since tokio moves a task's future eight times until it runs and again
                // when it has ended, and this one is several KiB: a seventh of a call's CPU.
                let stream = Box::pin(stream(Rc::clone(peer), request, respond, open));
                tokio::task::spawn_local(stream);
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, "client connection ended");
                return true;
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

async fn stream<S: Service>(
    peer: Rc<Peer<S>>,
    request: Request<h2::RecvStream>,
    respond: SendResponse<Bytes>,
    open: OpenStream,
) {
    let mut exchange = Exchange::new(Rc::clone(&peer.connection));
    let counter = Rc::clone(&exchange.bytes_in);
    let request = request.map(|stream| Body::http2_counted(stream, Kind::ClientGone, counter));
    let head = *request.method() == http::Method::HEAD;
    let respond = Rc::new(std::cell::RefCell::new(respond));
    exchange.interim = Some(interim(&respond));
    let recorder = Recorder::new(Rc::clone(&peer.telemetry), exchange, Subject::new(&request));
    // A scope of its own: what asks the pipeline is large, and gone when the answer is delivered.
    let response = {
        let mut answering = pin!(answer(&*peer.service, request, recorder, &peer.limits));
        poll_fn(|cx| {
            if let Poll::Ready(response) = answering.as_mut().poll(cx) {
                return Poll::Ready(Some(response));
            }
            respond.borrow_mut().poll_reset(cx).map(|_| None)
        })
        .await
    };
    match response {
        Some(response) => deliver(response, &respond, head, peer.limits.idle, &open).await,
        // Dropping what is under way cancels it upstream; the record says that the client left.
        None => open.0.resets.set(open.0.resets.get() - 1.0),
    }
}

/// Interim answers of upstream become interim answers of this stream.
fn interim(respond: &Rc<std::cell::RefCell<SendResponse<Bytes>>>) -> crate::exchange::Interim {
    let respond = Rc::downgrade(respond);
    Rc::new(move |status: StatusCode, headers: &HeaderMap| {
        let Some(respond) = respond.upgrade() else { return };
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers.clone();
        // An HTTP/1.1 upstream may have sent fields that HTTP/2 forbids (RFC 9113 §8.2.2).
        for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]
        {
            response.headers_mut().remove(name);
        }
        let _ = respond.borrow_mut().send_informational(response);
    })
}

async fn deliver(
    response: Response<Delivery>,
    respond: &std::cell::RefCell<SendResponse<Bytes>>,
    head: bool,
    stall: Duration,
    open: &OpenStream,
) {
    let (mut parts, mut body) = response.into_parts();
    // Whoever passes an answer on without a date must date it (RFC 9110 §6.6.1).
    if !parts.headers.contains_key(DATE)
        && let Ok(now) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
    {
        parts.headers.insert(DATE, now);
    }
    let ends = head || http_body::Body::is_end_stream(&body);
    let sent = respond.borrow_mut().send_response(Response::from_parts(parts, ()), ends);
    let stream = match sent {
        Ok(stream) => stream,
        Err(error) => return body.abandoned(&Error::with(Kind::ClientGone, error)),
    };
    if ends {
        return body.delivered();
    }
    let deadline = body.deadline();
    let mut pump = Pump::new(body, stream);
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
    let Err(stopped) = outcome else { return };
    match stopped {
        Stopped::Body(error) => {
            let reason = match error.kind() {
                Kind::ClientStalled | Kind::Deadline | Kind::TotalTimeout => h2::Reason::CANCEL,
                _ => h2::Reason::INTERNAL_ERROR,
            };
            pump.body().abandoned(&error);
            pump.stream().send_reset(reason);
        }
        Stopped::Stream(error) => pump.body().abandoned(&Error::with(Kind::ClientGone, error)),
        Stopped::Reset(reason) => {
            open.0.resets.set(open.0.resets.get() - 1.0);
            pump.body().abandoned(&Error::with(Kind::ClientGone, h2::Error::from(reason)));
        }
    }
}
