//! A message's body on its way between the two legs: frames of data, then perhaps trailers.
//!
//! Nothing is collected here: a frame is taken from one leg when the other has room for it
//! (flow control is the only buffer).

pub mod base64;
pub mod bridge;
pub mod pump;
pub mod replay;
#[cfg(test)]
pub mod testing;

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::SizeHint;

use crate::error::{Error, Kind};
use crate::http2::ends::Receiver;
use crate::message::Frame;

/// What gives a body's frames, one after the other. It is `http_body::Body` but for trailers, which are
/// `Fields` here ([`bridge`] turns one into the other).
pub trait Frames {
    /// The next frame; `None`: there is no more. Pending: the task is told.
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>)
    -> Poll<Option<Result<Frame, Error>>>;

    /// The same, to be waited for.
    fn frame(&mut self) -> impl Future<Output = Option<Result<Frame, Error>>>
    where
        Self: Sized + Unpin,
    {
        poll_fn(move |cx| Pin::new(&mut *self).poll_frame(cx))
    }

    /// Whether it is known that nothing follows.
    fn is_end_stream(&self) -> bool {
        false
    }

    /// How many bytes follow, as far as that is known.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl<B: Frames + Unpin + ?Sized> Frames for Box<B> {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        Pin::new(&mut **self).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        (**self).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        (**self).size_hint()
    }
}

/// What the rooms hand each other as a body.
#[derive(Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// One piece, already there.
    Full(Bytes),
    /// From an HTTP/2 stream.
    Http2(Http2),
    /// From an HTTP/1.1 connection.
    Http1(Http1),
    /// A request's, that may be sent more than once.
    Replay(replay::Replay),
    /// Anything else.
    Dyn(Pin<Box<dyn Frames>>),
}

/// The receiving half of an HTTP/2 stream.
pub struct Http2 {
    stream: Receiver,
    /// Bytes of data so far, for the record.
    bytes: Option<Rc<Cell<u64>>>,
    /// What a failure means: the client has gone, or upstream's answer is incomplete.
    on_error: Kind,
}

/// The body of an HTTP/1.1 message.
pub struct Http1 {
    incoming: hyper::body::Incoming,
    bytes: Option<Rc<Cell<u64>>>,
    on_error: Kind,
}

fn count(bytes: Option<&Rc<Cell<u64>>>, data: &Bytes) {
    if let Some(bytes) = bytes {
        bytes.set(bytes.get() + data.len() as u64);
    }
}

impl Body {
    /// The body of a stream that ended with its head is empty.
    pub fn http2(stream: Receiver, on_error: Kind) -> Self {
        Self::from_http2(stream, on_error, None)
    }

    /// The same, with its bytes counted.
    pub fn http2_counted(stream: Receiver, on_error: Kind, bytes: Rc<Cell<u64>>) -> Self {
        Self::from_http2(stream, on_error, Some(bytes))
    }

    fn from_http2(stream: Receiver, on_error: Kind, bytes: Option<Rc<Cell<u64>>>) -> Self {
        if stream.is_end() {
            return Self::Empty;
        }
        Self::Http2(Http2 { stream, bytes, on_error })
    }

    /// The body of an HTTP/1.1 message.
    pub fn http1(incoming: hyper::body::Incoming, on_error: Kind) -> Self {
        Self::from_http1(incoming, on_error, None)
    }

    /// The same, with its bytes counted.
    pub fn http1_counted(
        incoming: hyper::body::Incoming,
        on_error: Kind,
        bytes: Rc<Cell<u64>>,
    ) -> Self {
        Self::from_http1(incoming, on_error, Some(bytes))
    }

    fn from_http1(
        incoming: hyper::body::Incoming,
        on_error: Kind,
        bytes: Option<Rc<Cell<u64>>>,
    ) -> Self {
        if http_body::Body::is_end_stream(&incoming) {
            return Self::Empty;
        }
        Self::Http1(Http1 { incoming, bytes, on_error })
    }

    /// Any other body.
    pub fn boxed(body: impl Frames + 'static) -> Self {
        Self::Dyn(Box::pin(body))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }
}

impl Frames for Body {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::Data(bytes))))
            }
            Self::Http2(body) => body.poll_frame(cx),
            Self::Http1(body) => {
                let incoming = Pin::new(&mut body.incoming);
                let frame = ready!(http_body::Body::poll_frame(incoming, cx));
                let frame = frame.map(|frame| frame.map(Frame::from));
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
                if let Some(data) = data {
                    count(body.bytes.as_ref(), data);
                }
                let on_error = body.on_error;
                Poll::Ready(frame.map(|frame| frame.map_err(|error| Error::with(on_error, error))))
            }
            Self::Replay(body) => Pin::new(body).poll_frame(cx),
            Self::Dyn(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Http2(body) => body.stream.is_end(),
            Self::Http1(body) => http_body::Body::is_end_stream(&body.incoming),
            Self::Replay(body) => body.is_end_stream(),
            Self::Dyn(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Http2(_) | Self::Replay(_) => SizeHint::default(),
            Self::Http1(body) => http_body::Body::size_hint(&body.incoming),
            Self::Dyn(body) => body.size_hint(),
        }
    }
}

impl Http2 {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        match ready!(self.stream.poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    count(self.bytes.as_ref(), data);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            None => Poll::Ready(None),
            Some(Err(error)) => Poll::Ready(Some(Err(Error::with(self.on_error, error)))),
        }
    }
}
