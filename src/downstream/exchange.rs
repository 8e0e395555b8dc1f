//! One request and its answer, whatever the client's HTTP version: asks the pipeline, turns
//! errors into answers, and writes the record when the last byte has gone or the client has.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::HeaderValue;
use http_body::SizeHint;

use super::plan::Limits;
use super::rescue::{self, Caller, Ending};
use crate::body::{Body, Frames};
use crate::error::{Error, Kind};
use crate::exchange::{Class, Exchange, Protocol};
use crate::message::name::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, GRPC_STATUS};
use crate::message::{FieldName, Fields, Frame, Request, Response};
use crate::telemetry::recorder::Recorder;

/// What stands behind the client's side: the pipeline, composed by the worker.
pub trait Service: 'static {
    /// Answers one request, and writes into `exchange` what it decides on the way.
    fn call(
        &self,
        request: Request<Body>,
        exchange: &mut Exchange,
    ) -> impl Future<Output = Result<Response<Body>, Error>>;
}

/// Asks `service`; whatever happens, there is an answer.
///
/// `recorder` is told everything and writes the record when the returned body ends or is dropped.
pub async fn answer(
    service: &impl Service,
    request: Request<Body>,
    mut recorder: Box<Recorder>,
    limits: &Limits,
) -> Response<Delivery> {
    let caller = Caller::any(request.method(), request.headers());
    if is_over(limits, &request) {
        recorder.exchange().refused = Some(Kind::HeadersTooLarge);
    }
    match service.call(request, recorder.exchange()).await {
        Ok(response) => {
            recorder.head(response.status(), response.headers());
            let (parts, body) = response.into_parts();
            let body = Delivery::new(body, &parts.headers, recorder, caller);
            Response::from_parts(parts, body)
        }
        Err(error) => rescued(&error, caller, recorder),
    }
}

/// Whether a head is larger than allowed, counted as RFC 9113 §6.5.2 does.
fn is_over(limits: &Limits, request: &Request<Body>) -> bool {
    let (headers, uri) = (request.headers(), request.uri());
    let target = uri.path_and_query().map_or(0, |path| path.as_str().len())
        + uri.authority().map_or(0, |authority| authority.as_str().len());
    let size = |(name, value): (&FieldName, &HeaderValue)| name.as_str().len() + value.len() + 32;
    headers.len() > limits.header_fields
        || headers.iter().map(size).sum::<usize>() + target > limits.header_bytes as usize
}

/// The answer to a request that failed before its answer's head.
fn rescued(error: &Error, mut caller: Caller, mut recorder: Box<Recorder>) -> Response<Delivery> {
    let exchange = recorder.exchange();
    // The caller was looked at before the pipeline had decided what the exchange is.
    caller.class = exchange.class;
    let http1 = exchange.connection.protocol == Protocol::H1;
    let answer = rescue::rescue(error, &caller, exchange.request_id.as_deref());
    recorder.failed(error);
    recorder.head(answer.status(), answer.headers());
    let (mut parts, bytes) = answer.into_parts();
    if http1 && matches!(error.kind(), Kind::BadRequest | Kind::HeadersTooLarge) {
        // Where the next request on the connection begins is in doubt too, or it costs as much.
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let body = Delivery::new(bytes.into(), &parts.headers, recorder, caller);
    Response::from_parts(parts, body)
}

/// An answer's body on its way to the client. A failure under way becomes an end that the
/// caller's protocol understands; a gRPC answer never simply stops.
pub struct Delivery {
    body: Body,
    /// `None`: nobody is interested (the 101 before a tunnel, whose own delivery has it).
    recorder: Option<Box<Recorder>>,
    caller: Option<Caller>,
    state: State,
    /// gRPC or gRPC-Web whose status has not been seen yet: it is owed one.
    owes_status: bool,
    /// The head states the body's length: nothing may be put behind it.
    measured: bool,
    /// Whether the last frame that was given out was the last of all: asked once, since each layer
    /// below asks the next, down to h2 and its lock. `None`: none was given out yet.
    last: Option<bool>,
}

#[derive(PartialEq)]
enum State {
    Body,
    /// The body was replaced by an end of our own, already given out.
    Ended,
}

impl Delivery {
    /// Nothing, and nobody told: the 101 before a tunnel.
    pub fn silent() -> Self {
        Self {
            body: Body::Empty,
            recorder: None,
            caller: None,
            state: State::Body,
            owes_status: false,
            measured: false,
            last: None,
        }
    }

    fn new(body: Body, head: &Fields, recorder: Box<Recorder>, mut caller: Caller) -> Self {
        caller.class = recorder.class();
        let media = head.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let measured = head.contains_key(CONTENT_LENGTH);
        let grpc = match recorder.class() {
            Class::Grpc => media.starts_with(b"application/grpc"),
            Class::GrpcWeb | Class::GrpcWebText => {
                media.starts_with(b"application/grpc-web") && !measured
            }
            _ => false,
        };
        let owes_status = grpc && !head.contains_key(&GRPC_STATUS);
        Self {
            body,
            recorder: Some(recorder),
            caller: Some(caller),
            state: State::Body,
            owes_status,
            measured,
            last: None,
        }
    }

    /// When the exchange ends whatever happens, and as what.
    pub fn deadline(&self) -> Option<(tokio::time::Instant, Kind)> {
        self.recorder.as_ref().and_then(|recorder| recorder.deadline())
    }

    /// The client has reset the stream or is gone.
    pub fn abandoned(&mut self, error: &Error) {
        self.tell(|recorder| recorder.failed(error));
    }

    fn tell(&mut self, what: impl FnOnce(&mut Recorder)) {
        if let Some(recorder) = &mut self.recorder {
            what(recorder);
        }
    }

    /// The head was all of it (HEAD, 204, Trailers-Only).
    pub fn delivered(mut self) {
        self.tell(Recorder::finished);
    }

    /// Whether nothing that a caller waits for can follow.
    fn is_whole(&self) -> bool {
        !self.measured && self.recorder.as_ref().is_some_and(|recorder| recorder.is_whole())
    }

    /// The end that the caller's protocol has for `error`.
    fn end(&mut self, error: Error) -> Poll<Option<Result<Frame, Error>>> {
        self.tell(|recorder| recorder.failed(&error));
        self.state = State::Ended;
        self.body = Body::Empty;
        let ending = match &self.caller {
            Some(caller) => rescue::trailers(&error, caller),
            None => Ending::Reset,
        };
        let between = !self.measured
            && self.recorder.as_ref().is_some_and(|recorder| recorder.between_frames());
        match ending {
            Ending::Trailers(trailers) => {
                self.tell(|recorder| recorder.trailers(&trailers));
                Poll::Ready(Some(Ok(Frame::Trailers(trailers))))
            }
            Ending::WebFrame(bytes) | Ending::ConnectEnd(bytes) if between => {
                self.tell(|recorder| recorder.data(&bytes));
                Poll::Ready(Some(Ok(Frame::Data(bytes))))
            }
            Ending::WebFrame(_) | Ending::ConnectEnd(_) | Ending::Reset => {
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

impl Frames for Delivery {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        if self.state == State::Ended {
            self.tell(Recorder::finished);
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                let mut last = true;
                if let Some(data) = frame.data_ref() {
                    self.tell(|recorder| recorder.data(data));
                    let seen = self.recorder.as_ref().is_some_and(|recorder| recorder.has_status());
                    self.owes_status &= !seen;
                    last = !self.owes_status && self.body.is_end_stream();
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.tell(|recorder| recorder.trailers(trailers));
                    if self.owes_status && !trailers.contains_key(&GRPC_STATUS) {
                        return self
                            .end(Error::with(Kind::Incomplete, "trailers without grpc-status"));
                    }
                    self.owes_status = false;
                }
                self.last = Some(last);
                if last {
                    self.tell(Recorder::finished);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            // Upstream ends the body in a frame of its own, perhaps too late: the caller has it all.
            Some(Err(_)) if self.is_whole() => {
                (self.state, self.body) = (State::Ended, Body::Empty);
                self.tell(Recorder::finished);
                Poll::Ready(None)
            }
            Some(Err(error)) => self.end(error),
            None if self.owes_status => {
                self.owes_status = false;
                self.end(Error::with(Kind::Incomplete, "the answer ended without grpc-status"))
            }
            None => {
                self.tell(Recorder::finished);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.state {
            State::Body => {
                self.last.unwrap_or_else(|| !self.owes_status && self.body.is_end_stream())
            }
            State::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
