//! Sends a body into an HTTP/2 stream, as fast as the peer's windows allow and no faster.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::Body;
use crate::error::Error;

/// The first piece of a body that goes without asking for window: what a peer whose window is shut
/// can make a stream hold.
const AT_ONCE: usize = 4 * 1024;

/// A body under way into an HTTP/2 stream.
pub struct Pump<B = Body> {
    body: B,
    stream: h2::SendStream<Bytes>,
    /// Data taken from the body that waits for window.
    pending: Bytes,
    /// `pending` is the body's last data.
    last: bool,
    /// Bytes handed to the stream so far.
    sent: u64,
}

/// How a pump ended before the body was sent.
#[derive(Debug)]
pub enum Stopped {
    /// The body failed.
    Body(Error),
    /// The peer wants no more, or the connection is gone.
    Stream(h2::Error),
    /// The peer reset the stream; with NO_ERROR it only needs no more of the body.
    Reset(h2::Reason),
}

impl<B: http_body::Body<Data = Bytes, Error = Error> + Unpin> Pump<B> {
    /// Sends `body` into `stream`, whose head is already sent.
    pub fn new(body: B, stream: h2::SendStream<Bytes>) -> Self {
        Self { body, stream, pending: Bytes::new(), last: false, sent: 0 }
    }

    /// The stream, for a reset with a reason of one's own.
    pub fn stream(&mut self) -> &mut h2::SendStream<Bytes> {
        &mut self.stream
    }

    /// The body that is being sent.
    pub fn body(&mut self) -> &mut B {
        &mut self.body
    }

    /// Bytes handed to the stream so far.
    pub fn progress(&self) -> u64 {
        self.sent
    }

    /// Whether there is data that the peer's windows do not let through.
    pub fn waits_for_window(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Ready when the last byte and the trailers are handed over, or when nothing more can be.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            if !self.pending.is_empty() {
                if ready!(self.poll_pending(cx))? {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    let reset = ready!(self.stream.poll_reset(cx));
                    return Poll::Ready(Err(reset.map_or_else(Stopped::Stream, Stopped::Reset)));
                }
            };
            match frame {
                None => {
                    self.stream.send_data(Bytes::new(), true).map_err(Stopped::Stream)?;
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => return Poll::Ready(Err(Stopped::Body(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() && !self.body.is_end_stream() => {}
                    Ok(data) => {
                        self.last = self.body.is_end_stream();
                        if data.is_empty() {
                            self.stream.send_data(data, true).map_err(Stopped::Stream)?;
                            return Poll::Ready(Ok(()));
                        }
                        self.pending = data;
                    }
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        self.stream.send_trailers(trailers).map_err(Stopped::Stream)?;
                        return Poll::Ready(Ok(()));
                    }
                },
            }
        }
    }

    /// Sends what waits, as the window allows; `true` when it was the end of the stream.
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Stopped>> {
        if self.sent == 0 && self.pending.len() <= AT_ONCE {
            // Nearly every gRPC message: h2 holds it until the window is there, and asking for the
            // window first would take its lock twice more.
            return Poll::Ready(self.send(AT_ONCE));
        }
        self.stream.reserve_capacity(self.pending.len());
        let mut capacity = self.stream.capacity();
        if capacity == 0 {
            match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(granted)) => capacity = granted.map_err(Stopped::Stream)?,
                Poll::Ready(None) => {
                    let reset = ready!(self.stream.poll_reset(cx));
                    return Poll::Ready(Err(reset.map_or_else(Stopped::Stream, Stopped::Reset)));
                }
                Poll::Pending => {
                    let reset = ready!(self.stream.poll_reset(cx));
                    return Poll::Ready(Err(reset.map_or_else(Stopped::Stream, Stopped::Reset)));
                }
            }
            if capacity == 0 {
                return self.poll_pending(cx);
            }
        }
        Poll::Ready(self.send(capacity))
    }

    fn send(&mut self, most: usize) -> Result<bool, Stopped> {
        let chunk = self.pending.split_to(most.min(self.pending.len()));
        let end = self.last && self.pending.is_empty();
        self.sent += chunk.len() as u64;
        self.stream.send_data(chunk, end).map_err(Stopped::Stream)?;
        Ok(end)
    }
}

#[cfg(test)]
mod tests;
