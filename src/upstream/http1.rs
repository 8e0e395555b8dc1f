//! One HTTP/1.1 connection to an endpoint: hyper's client, kept alive between exchanges, and the
//! upgrade that WebSockets need.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::endpoint::{Clocks, Endpoint};
use super::{Answer, Behind};
use crate::body::Body;
use crate::body::bridge::ToHyper;
use crate::error::{Error, Kind};
use crate::exchange::Interim;
use crate::io::{Driven, Io};
use crate::message::name::UPGRADE;
use crate::message::{Fields, Request, Response};
use crate::telemetry::metrics::Gauge;

/// Bytes of an answer's head.
const HEADER_BYTES: usize = 72 * 1024;
/// Fields of an answer's head.
const HEADER_FIELDS: usize = 200;
/// Interim answers that wait to be passed on; what comes beyond is dropped, as they all may be (RFC 9110
/// §15.2).
const INTERIMS: usize = 8;

/// A connection that is free for an exchange.
pub struct Connection {
    send: http1::SendRequest<ToHyper<Body>>,
    /// The stream, once the connection has become something else.
    upgraded: oneshot::Receiver<Io>,
    /// The request under way asks it to become something else.
    may_switch: Rc<Cell<bool>>,
    rest: Rc<Rest>,
    /// From when on it takes no more exchanges.
    old: Option<Instant>,
}

/// What is known of a connection's time between exchanges.
struct Rest {
    /// Since when nobody uses it.
    since: Cell<Option<Instant>>,
    /// For how long it may be so: what the plan says, or less where upstream said less.
    most: Cell<Duration>,
    /// Told when it is to end at once.
    over: Notify,
}

impl Rest {
    /// When it is over; `None` while the connection is in use.
    fn due(&self) -> Option<Instant> {
        self.since.get()?.checked_add(self.most.get())
    }

    /// Takes what an answer says of how long upstream keeps the connection.
    fn heed(&self, answer: &Fields) {
        if let Some(kept) = kept(answer) {
            self.most.set(self.most.get().min(kept));
        }
    }
}

/// An exchange on a connection, which goes back to its endpoint when the answer has ended.
pub struct Lease {
    connection: Option<Connection>,
    endpoint: Rc<Endpoint>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.rest.since.set(Some(Instant::now()));
            self.endpoint.keep(connection);
        }
    }
}

impl Connection {
    /// Begins to drive a connection in a task of its own, which ends when the connection does or
    /// was free for `clocks.idle`.
    pub async fn open(io: Io, clocks: Clocks, open: Gauge) -> Result<Self, Error> {
        let handle = io.handle();
        let (send, driver) = http1::Builder::new()
            .max_buf_size(HEADER_BYTES + 8 * 1024)
            .max_headers(HEADER_FIELDS)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| Error::with(Kind::Connect, error))?;
        let (give, upgraded) = oneshot::channel();
        let may_switch = Rc::new(Cell::new(false));
        let switches = Rc::clone(&may_switch);
        let rest = Rc::new(Rest {
            since: Cell::default(),
            most: Cell::new(clocks.idle),
            over: Notify::new(),
        });
        let unused = unused(Rc::clone(&rest));
        let old = Instant::now().checked_add(clocks.age());
        tokio::task::spawn_local(async move {
            let _open = open;
            let mut driver = driver;
            let driving = poll_fn(|cx| driver.poll_without_shutdown(cx));
            let done = tokio::select! {
                biased;
                done = Driven::new(driving, handle.clone()) => done,
                () = unused => return,
            };
            if done.is_err() {
                return;
            }
            let parts = driver.into_parts();
            let mut io = parts.io.into_inner();
            if switches.get() {
                io.unread(parts.read_buf);
                io.flush_at_once();
                let _ = give.send(io);
                let _ = poll_fn(|cx| handle.drain(cx)).await;
            } else {
                // Closed at once, also where a request was left half-sent; a goodbye that the
                // socket does not take is not waited for.
                poll_fn(|cx| Poll::Ready(Pin::new(&mut io).poll_shutdown(cx).is_ready())).await;
            }
        });
        Ok(Self { send, upgraded, may_switch, rest, old })
    }

    /// Whether it can carry the next exchange. Where the request of the last one is still being sent, though
    /// it has its answer, that may be long: it ends then, and that request with it.
    pub async fn ready(&mut self) -> bool {
        for _ in 0..2 {
            match poll_fn(|cx| Poll::Ready(self.send.poll_ready(cx))).await {
                Poll::Ready(ready) => return ready.is_ok(),
                // Its task may not have seen yet that the answer has ended.
                Poll::Pending => tokio::task::yield_now().await,
            }
        }
        self.rest.over.notify_one();
        false
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        self.send.is_closed()
    }

    /// Whether upstream may be closing it by now: what is sent then has no answer, and only some of it
    /// can be sent again.
    pub fn is_overdue(&self) -> bool {
        self.rest.due().is_some_and(|due| due <= Instant::now())
    }

    /// Whether it has carried exchanges for long enough.
    pub fn is_old(&self) -> bool {
        self.old.is_some_and(|old| old <= Instant::now())
    }

    /// A lease that gives the connection back to `endpoint`.
    pub fn lease(self, endpoint: Rc<Endpoint>) -> Lease {
        self.rest.since.set(None);
        Lease { connection: Some(self), endpoint }
    }
}

/// Ends when a connection has been free for long enough; what upstream says of it while this sleeps is seen by whoever
/// would use the connection.
async fn unused(rest: Rc<Rest>) {
    loop {
        let now = Instant::now();
        let again = match rest.due() {
            Some(due) if due <= now => return,
            Some(due) => due,
            None => now + rest.most.get().max(Duration::from_millis(10)),
        };
        if tokio::time::timeout_at(again, rest.over.notified()).await.is_ok() {
            return;
        }
    }
}

/// Sends one request and waits for the head of its answer.
///
/// # Errors
/// [`Kind::Refused`] when the request was handed back unsent.
pub async fn send(
    mut lease: Lease,
    head: Request<()>,
    body: Body,
    interim: Option<&Interim>,
) -> Result<Response<Answer>, Error> {
    let Some(connection) = lease.connection.as_mut() else {
        return Err(Error::new(Kind::Internal));
    };
    connection.may_switch.set(head.headers().contains_key(UPGRADE));
    let mut request = http::Request::from(head.map(|()| ToHyper(body)));
    let (tell, mut told) = mpsc::channel::<(StatusCode, Fields)>(INTERIMS);
    if interim.is_some() {
        hyper::ext::on_informational(&mut request, move |answer| {
            let _ = tell.try_send((answer.status(), answer.headers().into()));
        });
    }
    let answer = connection.send.try_send_request(request);
    tokio::pin!(answer);
    let response = loop {
        tokio::select! {
            biased;
            Some((status, headers)) = told.recv() => {
                if let Some(interim) = interim {
                    interim(status, &headers);
                }
            }
            answer = &mut answer => break answer,
        }
    };
    let response = match response {
        Ok(response) => Response::from(response),
        Err(mut unsent) => {
            lease.connection = None;
            let given_back = unsent.take_message().is_some();
            return Err(failure(unsent.into_error(), given_back));
        }
    };
    if let Some(connection) = lease.connection.as_ref() {
        connection.rest.heed(response.headers());
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return switched(lease, response).await;
    }
    Ok(response.map(|incoming| {
        Answer(Box::new(Behind {
            body: Body::http1(incoming, Kind::Incomplete),
            lease: Some(super::Lease::Http1(lease)),
            ..Behind::default()
        }))
    }))
}

/// `Keep-Alive: timeout=5`, which Node.js and others say (RFC 2068 §19.7.1.1): without the second that a request may
/// take to reach them, or half of it all.
fn kept(headers: &Fields) -> Option<Duration> {
    let lines = headers.get_all("keep-alive").iter().filter_map(|line| line.to_str().ok());
    let mut words = lines.flat_map(|line| line.split(',')).filter_map(|word| word.split_once('='));
    let (_, seconds) = words.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    let said = Duration::from_secs(seconds.trim().parse().ok()?);
    Some(said.saturating_sub(Duration::from_secs(1)).max(said / 2))
}

/// The connection has become a tunnel: the stream goes with the answer.
async fn switched(
    mut lease: Lease,
    response: Response<hyper::body::Incoming>,
) -> Result<Response<Answer>, Error> {
    let Some(connection) = lease.connection.take() else {
        return Err(Error::new(Kind::Internal));
    };
    drop(connection.send);
    let io = connection.upgraded.await.map_err(|error| Error::with(Kind::Reset, error))?;
    Ok(response.map(|_| Answer(Box::new(Behind { tunnel: Some(io), ..Behind::default() }))))
}

/// What a failed exchange means, before the answer's head.
fn failure(error: hyper::Error, given_back: bool) -> Error {
    let kind = if given_back {
        Kind::Refused
    } else if error.is_parse() || error.is_parse_status() {
        Kind::Protocol
    } else if error.is_user() {
        // The request's own body failed: what it says is the truth.
        return match std::error::Error::source(&error)
            .and_then(|source| source.downcast_ref::<Error>())
        {
            Some(own) => Error::with(own.kind(), error),
            None => Error::with(Kind::Internal, error),
        };
    } else {
        Kind::Reset
    };
    Error::with(kind, error)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn said(lines: &[&'static str]) -> Fields {
        lines
            .iter()
            .map(|line| ("keep-alive".parse().unwrap(), HeaderValue::from_static(line)))
            .collect()
    }

    #[test]
    fn an_upstream_says_how_long_it_keeps_a_connection() {
        for (lines, expected) in [
            (&["timeout=5"][..], Some(4_000)),
            (&["timeout=60, max=9"], Some(59_000)),
            (&["max=9", "Timeout = 3"], Some(2_000)),
            (&["timeout=1"], Some(500)),
            (&["timeout=0"], Some(0)),
            (&["timeout=soon"], None),
            (&["timeout=-1"], None),
            (&["300"], None),
            (&[], None),
        ] {
            assert_eq!(kept(&said(lines)), expected.map(Duration::from_millis), "{lines:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_is_over_when_plan_or_upstream_says_so() {
        let rest = Rc::new(Rest {
            since: Cell::default(),
            most: Cell::new(Duration::from_secs(30)),
            over: Notify::new(),
        });
        let now = Instant::now();
        assert_eq!(rest.due(), None, "it is in use");
        rest.since.set(Some(now));
        for (lines, due) in
            [(&[][..], 30), (&["timeout=90"], 30), (&["timeout=5"], 4), (&["timeout=9"], 4)]
        {
            rest.heed(&said(lines));
            assert_eq!(rest.due(), Some(now + Duration::from_secs(due)), "{lines:?}");
        }
        unused(Rc::clone(&rest)).await;
        assert_eq!(now.elapsed().as_secs(), 4);
        rest.since.set(None);
        let busy = tokio::time::timeout(Duration::from_secs(60), unused(rest)).await;
        assert!(busy.is_err(), "it is in use");
    }
}
