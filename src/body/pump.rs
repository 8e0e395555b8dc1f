//! Sends a body into an HTTP/2 stream, as fast as the peer's windows allow and no faster.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};

use super::Body;
use crate::body::Frames;
use crate::error::Error;
use crate::http2;
use crate::http2::ends::Sender;
use crate::message::Frame;

/// Pieces up to this length are put together with what follows at once: a stream of small gRPC
/// messages leaves in few DATA frames, each of which costs far more than its bytes' copy.
const SMALL: usize = 4 * 1024;
/// Small pieces are put together up to this length: with a frame's head a TLS record.
const TOGETHER: usize = 16 * 1024 - 9;

/// What a body said: a frame, its end, or its failure.
type Said = Option<Result<Frame, Error>>;

/// A body under way into an HTTP/2 stream.
pub struct Pump<B = Body> {
    body: B,
    stream: Sender,
    /// Data taken from the body that waits for window.
    pending: Bytes,
    /// `pending` is the body's last data.
    last: bool,
    /// What the body said while small pieces were put together, and is not one of them.
    next: Option<Said>,
    /// Bytes handed to the stream so far.
    sent: u64,
}

/// How a pump ended before the body was sent.
#[derive(Debug)]
pub enum Stopped {
    /// The body failed.
    Body(Error),
    /// The peer reset the stream (with NO_ERROR it only needs no more of the body), or the connection
    /// is gone.
    Stream(http2::error::Error),
}

impl<B: Frames + Unpin> Pump<B> {
    /// Sends `body` into `stream`, whose head is already sent.
    pub fn new(body: B, stream: Sender) -> Self {
        Self { body, stream, pending: Bytes::new(), last: false, next: None, sent: 0 }
    }

    /// The stream, for a reset with a reason of one's own.
    pub fn stream(&mut self) -> &mut Sender {
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
        // Whether the body has nothing more and will wake this task.
        let mut waits = false;
        loop {
            if !self.pending.is_empty() {
                if ready!(self.poll_pending(cx))? {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let said = match self.next.take() {
                Some(said) => Poll::Ready(said),
                None if waits => Poll::Pending,
                None => Pin::new(&mut self.body).poll_frame(cx),
            };
            let Poll::Ready(said) = said else {
                return self.stream.poll_reset(cx).map(|error| Err(Stopped::Stream(error)));
            };
            match said {
                None => {
                    self.stream.send_data(&Bytes::new(), true).map_err(Stopped::Stream)?;
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => return Poll::Ready(Err(Stopped::Body(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() && !self.body.is_end_stream() => {}
                    Ok(data) => {
                        self.last = self.body.is_end_stream();
                        if data.is_empty() {
                            self.stream.send_data(&data, true).map_err(Stopped::Stream)?;
                            return Poll::Ready(Ok(()));
                        }
                        self.pending = data;
                        if !self.last && self.pending.len() <= SMALL {
                            waits = self.gather(cx).is_pending();
                        }
                    }
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        self.stream.send_trailers(&trailers).map_err(Stopped::Stream)?;
                        return Poll::Ready(Ok(()));
                    }
                },
            }
        }
    }

    /// Adds to what waits the small pieces that are there already. Pending: there are no more yet.
    fn gather(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut joined = BytesMut::new();
        let polled = loop {
            let said = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(said) => said,
                Poll::Pending => break Poll::Pending,
            };
            let length = joined.len().max(self.pending.len());
            match said.as_ref().and_then(|said| said.as_ref().ok()?.data_ref()) {
                Some(data) if data.len() <= SMALL && length + data.len() <= TOGETHER => {
                    if joined.is_empty() {
                        joined.reserve(self.pending.len() + data.len());
                        joined.extend_from_slice(&self.pending);
                    }
                    joined.extend_from_slice(data);
                    self.last = self.body.is_end_stream();
                    if self.last {
                        break Poll::Ready(());
                    }
                }
                // No frame of its own for the end alone.
                None if said.is_none() => {
                    self.last = true;
                    break Poll::Ready(());
                }
                _ => {
                    self.next = Some(said);
                    break Poll::Ready(());
                }
            }
        };
        if !joined.is_empty() {
            self.pending = joined.freeze();
        }
        polled
    }

    /// Sends what waits, as the window allows; `true` when it was the end of the stream.
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Stopped>> {
        let most = ready!(self.stream.poll_capacity(cx)).map_err(Stopped::Stream)?;
        Poll::Ready(self.send(most))
    }

    fn send(&mut self, most: usize) -> Result<bool, Stopped> {
        // Whole as a rule, and then it needs no second handle.
        let chunk = if most >= self.pending.len() {
            std::mem::take(&mut self.pending)
        } else {
            self.pending.split_to(most)
        };
        let end = self.last && self.pending.is_empty();
        self.sent += chunk.len() as u64;
        self.stream.send_data(&chunk, end).map_err(Stopped::Stream)?;
        Ok(end)
    }
}

#[cfg(test)]
mod tests;
