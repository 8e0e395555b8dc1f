//! HTTP/1.1 with a client: hyper's server, one exchange after the other, and the two things that
//! such a connection may become: a WebSocket, or HTTP/2 by `Upgrade: h2c`.

mod clock;
mod farewell;
mod framing;
mod inlet;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version};
use http_body::SizeHint;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf};
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::clock::{Clock, Silence};
use self::farewell::Farewell;
use self::framing::Framing;
use self::inlet::Inlet;
use super::exchange::{Delivery, Service, answer};
use super::plan::Limits;
use super::{Peer, h2c, http2, tunnel};
use crate::body::bridge::ToHyper;
use crate::body::{Body, Frames};
use crate::error::{Error, Kind};
use crate::exchange::{Exchange, Interim};
use crate::io::{Handle, Io};
use crate::message::name::{CONNECTION, UPGRADE};
use crate::message::{Fields, Frame, Request, Response};
use crate::telemetry::recorder::{Recorder, Subject};

/// How long a client that takes nothing more may hold a connection that is over.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What the exchanges of a connection share with it.
#[derive(Default)]
struct State {
    /// Requests so far.
    requests: Cell<u32>,
    /// An exchange is under way.
    busy: Cell<bool>,
    /// When the last exchange ended, and how many bytes the client had sent by then.
    last_end: Cell<Option<(Instant, u64)>>,
    becomes: RefCell<Option<Becomes>>,
    /// The last request was answered before it was read whole: the client's bytes lie unread.
    unread: Cell<bool>,
    /// The connection is to end: the next answer is its last.
    leaving: Cell<bool>,
    /// The request under way has been read to its end.
    whole: Cell<bool>,
    /// It may become a tunnel: what follows it is not the next request.
    tunnel: Cell<bool>,
    /// When the exchange under way ends whatever happens, and as what.
    deadline: Cell<Option<(Instant, Kind)>>,
    /// Why the exchange under way was cut here.
    cut: Rc<Cell<Option<Kind>>>,
}

/// What the connection turns into behind a 101.
enum Becomes {
    /// Bytes both ways: the answer's, and where to put the client's.
    Tunnel(Box<Delivery>, Option<oneshot::Sender<ReadHalf<Io>>>),
    /// HTTP/2, whose first stream is the request that asked for it.
    H2c(h2c::Upgrade),
}

type Responding = Pin<
    Box<dyn Future<Output = Result<http::Response<ToHyper<Delivery>>, std::convert::Infallible>>>,
>;

/// Serves a connection until the client leaves, it is idle for too long, a request's head takes
/// too long, or `peer.drain` is told and the exchange under way has ended.
pub async fn serve<S: Service>(io: Io, peer: Rc<Peer<S>>) {
    let handle = io.handle();
    let state = Rc::new(State::default());
    let framing = Rc::new(RefCell::new(Framing::default()));
    let service = hyper::service::service_fn({
        let (peer, state, handle) = (Rc::clone(&peer), Rc::clone(&state), handle.clone());
        let framing = Rc::clone(&framing);
        move |request| -> Responding {
            state.requests.set(state.requests.get().saturating_add(1));
            let doubted = framing.borrow().doubts(state.requests.get());
            let (peer, state) = (Rc::clone(&peer), Rc::clone(&state));
            let request = Request::from(request);
            let answering = exchange(peer, state, handle.clone(), request, doubted);
            Box::pin(async move {
                let response = answering.await.map(ToHyper);
                Ok(response.into())
            })
        }
    });
    let inlet = TokioIo::new(Inlet { io, framing });
    let mut connection = builder(&peer.limits).serve_connection(inlet, service);
    let mut clock = Clock::new(&peer.limits);
    let mut silence = Silence::default();
    let farewell = Farewell::new(peer.drain.clone());
    tokio::pin!(farewell);
    let outcome = poll_fn(|cx| {
        let mut polled = connection.poll_without_shutdown(cx);
        if polled.is_pending() && farewell.as_mut().poll(&state, cx) {
            Pin::new(&mut connection).graceful_shutdown();
            polled = connection.poll_without_shutdown(cx);
        }
        // What was collected is written here: hyper would never hear that it failed.
        let lost = matches!(handle.drain(cx), Poll::Ready(Err(_)));
        if polled.is_pending()
            && (lost
                || gone(&state, &handle, &mut silence, cx)
                || clock.expired(&state, &handle, cx))
        {
            return Poll::Ready(None);
        }
        polled.map(Some)
    })
    .await;
    match outcome {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            tracing::debug!(%error, "client connection ended");
            if error.is_parse() && !state.busy.get() {
                note_unread(&peer, error);
            }
            let flush = poll_fn(|cx| handle.drain(cx));
            let _ = tokio::time::timeout(LAST_WORDS, flush).await;
            return linger(connection.into_parts().io.into_inner().io).await;
        }
        None => return,
    }
    let parts = connection.into_parts();
    let io = parts.io.into_inner().io;
    io.unread(parts.read_buf);
    become_else(io, peer, &state).await;
}

/// How hyper reads and writes.
fn builder(limits: &Limits) -> http1::Builder {
    let readable = limits.readable_head() as usize;
    let mut builder = http1::Builder::new();
    builder
        // A head that is too large is refused in the words of its caller; only what is far too large
        // by hyper, which knows one word for all.
        .max_headers(limits.header_fields.saturating_mul(2))
        .max_buf_size(readable + 16 * 1024)
        .max_header_size(readable)
        // The end of a client's words is not the client's end: `gone` looks after that.
        .half_close(true)
        .auto_date_header(true)
        // The header clocks are ours: hyper's one also runs while a kept connection is idle.
        .header_read_timeout(None);
    builder
}

/// What is left to do with a connection that carries no further request: it closes, or it has
/// become something else.
async fn become_else<S: Service>(io: Io, peer: Rc<Peer<S>>, state: &State) {
    match state.becomes.take() {
        None if state.unread.get() => linger(io).await,
        None => {
            let mut io = io;
            let _ = tokio::time::timeout(LAST_WORDS, io.shutdown()).await;
        }
        Some(Becomes::Tunnel(delivery, give)) => tunnel::serve(io, *delivery, give).await,
        Some(Becomes::H2c(upgrade)) => {
            io.insert_after_preface(upgrade.frames());
            Box::pin(http2::serve(io, peer)).await;
        }
    }
}

/// Whether the client has gone while its answer is made: by a reset, or by silence behind the end of
/// its words. What it already sends of the next request is kept for hyper, which reads nothing
/// meanwhile.
fn gone(state: &State, handle: &Handle, silence: &mut Silence, cx: &mut Context<'_>) -> bool {
    let looks = state.busy.get() && state.whole.get() && !state.tunnel.get();
    looks
        && match handle.read_ahead(cx) {
            Poll::Ready(Err(_)) => true,
            Poll::Ready(Ok(())) => silence.is_over(handle, cx),
            Poll::Pending => false,
        }
}

/// A record of a head that hyper could not read, and has answered itself.
fn note_unread<S>(peer: &Peer<S>, error: hyper::Error) {
    let (kind, status) = if error.to_string().contains("URI too long") {
        (Kind::HeadersTooLarge, StatusCode::URI_TOO_LONG)
    } else if error.is_parse_too_large() {
        (Kind::HeadersTooLarge, Kind::HeadersTooLarge.status())
    } else {
        (Kind::BadRequest, Kind::BadRequest.status())
    };
    let exchange = Exchange::new(Rc::clone(&peer.connection));
    let mut recorder = Recorder::new(Rc::clone(&peer.telemetry), exchange, Subject::unread());
    recorder.failed(&Error::with(kind, error));
    recorder.head(status, &Fields::new());
    recorder.finished();
}

/// Closes a connection so that its last answer arrives: a socket that is closed while the client's
/// bytes lie unread in it resets the connection, and the answer with it (RFC 9112 §9.6).
async fn linger(mut io: Io) {
    const TIME: std::time::Duration = std::time::Duration::from_secs(2);
    const BYTES: usize = 256 * 1024;
    let closing = async {
        io.shutdown().await?;
        let mut chunk = [0; 4096];
        let mut left = BYTES;
        while left > 0 {
            match io.read(&mut chunk).await? {
                0 => break,
                n => left = left.saturating_sub(n),
            }
        }
        Ok::<_, std::io::Error>(())
    };
    let _ = tokio::time::timeout(TIME, closing).await;
}

async fn exchange<S: Service>(
    peer: Rc<Peer<S>>,
    state: Rc<State>,
    handle: Handle,
    request: Request<hyper::body::Incoming>,
    doubted: bool,
) -> Response<Delivery> {
    state.busy.set(true);
    state.whole.set(true);
    state.deadline.set(None);
    let last = peer.limits.requests.is_some_and(|most| state.requests.get() >= most);
    let done = Done(Rc::clone(&state), handle.clone());
    let mut exchange = Exchange::new(Rc::clone(&peer.connection));
    exchange.cut = Some(Rc::clone(&state.cut));
    exchange.refused = doubted.then_some(Kind::BadRequest);
    let bytes_in = Rc::clone(&exchange.bytes_in);
    let upgrade =
        if peer.connection.tls.is_none() { h2c::Upgrade::asked_for(&request) } else { None };
    let wants_tunnel = upgrade.is_none() && tunnel::asked_for(request.headers());
    state.tunnel.set(wants_tunnel || upgrade.is_some());
    let version = request.version();
    let mut give = None;
    let request = request.map(|incoming| {
        if wants_tunnel {
            let (sender, receiver) = oneshot::channel();
            give = Some(sender);
            return Body::boxed(tunnel::ClientBytes::new(receiver, bytes_in));
        }
        match Body::http1_counted(incoming, Kind::ClientGone, bytes_in) {
            Body::Empty => Body::Empty,
            body => {
                state.whole.set(false);
                Body::boxed(Watched { body, state: Rc::clone(&state) })
            }
        }
    });
    if version == Version::HTTP_11 {
        exchange.interim = Some(interim(handle));
    }
    let mut recorder = Recorder::new(Rc::clone(&peer.telemetry), exchange, Subject::new(&request));
    recorder.on_end(move || drop(done));
    if let Some(upgrade) = upgrade {
        state.becomes.replace(Some(Becomes::H2c(upgrade)));
        return h2c_answer(recorder);
    }
    let mut response = answer(&*peer.service, request, recorder, &peer.limits).await;
    state.deadline.set(response.body().deadline());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let (parts, delivery) = response.into_parts();
        state.becomes.replace(Some(Becomes::Tunnel(Box::new(delivery), give)));
        return Response::from_parts(parts, Delivery::silent());
    }
    if last || state.leaving.get() || !state.whole.get() {
        state.unread.set(!state.whole.get());
        // The connection's last request; or the rest of this one stands between this answer and the
        // next request. A client that is not told would use the connection again while it is being
        // closed (RFC 9112 §9.3, §9.6).
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A request's body that tells when it has been read to its end.
struct Watched {
    body: Body,
    state: Rc<State>,
}

impl Frames for Watched {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.state.whole.set(true);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// 101 for `Upgrade: h2c` (RFC 7540 §3.2); the request is answered as stream 1.
fn h2c_answer(recorder: Box<Recorder>) -> Response<Delivery> {
    recorder.discard();
    let mut response = Response::new(Delivery::silent());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("h2c"));
    response
}

/// Interim answers, which hyper's server cannot send, are put before the final one. 100 is left
/// to hyper: it sends one when the body is first asked for.
fn interim(handle: Handle) -> Interim {
    Rc::new(move |status: StatusCode, headers: &Fields| {
        if status == StatusCode::CONTINUE {
            return;
        }
        let reason = status.canonical_reason().unwrap_or("");
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
        for (name, value) in headers {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        handle.inject(&Bytes::from(head));
    })
}

/// Marks the exchange as ended, whichever way.
struct Done(Rc<State>, Handle);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.busy.set(false);
        self.0.last_end.set(Some((Instant::now(), self.1.received())));
    }
}
