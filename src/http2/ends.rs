//! The two ends of a stream: what is received, and what is sent.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::core::Core;
use super::error::{Error, Reason};
use super::stream::{Key, remember};
use crate::message::{Fields, Frame, Response};

/// An answer's head, or one of those before it.
#[derive(Debug)]
pub enum Answered {
    /// 1xx (RFC 9110 §15.2).
    Interim(Response<()>),
    /// The answer.
    Final(Response<()>),
}

/// The half that the peer sends. Dropped before its end, once the other one is gone too, it ends
/// the stream.
pub struct Receiver {
    core: Rc<RefCell<Core>>,
    key: Key,
}

/// The half that we send.
pub struct Sender {
    core: Rc<RefCell<Core>>,
    key: Key,
}

/// Sends interim heads on a stream, beside its [`Sender`], until the answer's head has gone.
pub struct Interims {
    core: Rc<RefCell<Core>>,
    key: Key,
    /// Places are used again: which stream is meant.
    id: u32,
}

impl Interims {
    /// Sends one (RFC 9110 §15.2), unless it comes too late.
    pub fn send(&self, response: &Response<()>) {
        let mut core = self.core.borrow_mut();
        let stream = core.streams.get(self.key);
        if stream.is_some_and(|stream| stream.id == self.id && !stream.head_sent) {
            // Whoever waits for the stream's end is told of it.
            let _ = core.respond(self.key, response, false);
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut core = self.core.borrow_mut();
        core.deafen(self.key);
        core.dropped(self.key);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mut core = self.core.borrow_mut();
        core.mute(self.key);
        core.dropped(self.key);
    }
}

/// Both ends of a stream.
pub(super) fn ends(core: &Rc<RefCell<Core>>, key: Key) -> (Sender, Receiver) {
    let (sending, receiving) = (Rc::clone(core), Rc::clone(core));
    (Sender { core: sending, key }, Receiver { core: receiving, key })
}

impl Receiver {
    /// The next head of the answer; after the final one there is none.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answered, Error>> {
        let mut core = self.core.borrow_mut();
        let Some(stream) = core.streams.get(self.key) else {
            return Poll::Ready(Err(Error::Closed));
        };
        if let Some(interim) = stream.interim.pop_front() {
            return Poll::Ready(Ok(Answered::Interim(interim)));
        }
        if let Some(head) = stream.head.take() {
            return Poll::Ready(Ok(Answered::Final(head)));
        }
        if let Some(error) = &stream.error {
            return Poll::Ready(Err(error.clone()));
        }
        remember(&mut stream.reader, cx.waker());
        Poll::Pending
    }

    /// The next frame of the body: data, then perhaps trailers. What is taken opens the peer's
    /// window.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        let mut core = self.core.borrow_mut();
        let Some(stream) = core.streams.get(self.key) else { return Poll::Ready(None) };
        if let Some(data) = stream.received.pop() {
            core.taken(self.key, data.len());
            return Poll::Ready(Some(Ok(Frame::Data(data))));
        }
        if stream.recv_closed {
            return Poll::Ready(
                stream.trailers.take().map(|trailers| Ok(Frame::Trailers(trailers))),
            );
        }
        if let Some(error) = &stream.error {
            return Poll::Ready(Some(Err(error.clone())));
        }
        remember(&mut stream.reader, cx.waker());
        Poll::Pending
    }

    /// Whether nothing follows.
    pub fn is_end(&self) -> bool {
        let mut core = self.core.borrow_mut();
        core.streams.get(self.key).is_none_or(|stream| {
            stream.recv_closed && stream.received.is_empty() && stream.trailers.is_none()
        })
    }
}

impl Sender {
    /// What sends interim heads on the same stream.
    pub fn interims(&self) -> Interims {
        let mut core = self.core.borrow_mut();
        let id = core.streams.get(self.key).map(|stream| stream.id).unwrap_or_default();
        Interims { core: Rc::clone(&self.core), key: self.key, id }
    }

    /// Sends an answer's head, interim ones as well (which never end the stream).
    pub fn respond(&mut self, response: &Response<()>, ends: bool) -> Result<(), Error> {
        self.core.borrow_mut().respond(self.key, response, ends)
    }

    /// How many bytes may be sent now: what the peer's windows and the socket leave, shared
    /// between all who send. Pending: the task is told, also of the stream's end.
    pub fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        match self.core.borrow_mut().capacity(self.key, cx.waker()) {
            Ok(0) => Poll::Pending,
            Ok(most) => Poll::Ready(Ok(most)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Sends data, at most as much as was just granted, perhaps none.
    pub fn send_data(&mut self, data: &Bytes, ends: bool) -> Result<(), Error> {
        self.core.borrow_mut().data(self.key, data, ends)
    }

    /// Sends trailers, the end of this half.
    pub fn send_trailers(&mut self, trailers: &Fields) -> Result<(), Error> {
        self.core.borrow_mut().trailers(self.key, trailers)
    }

    /// Ready when the stream has ended before its time.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let mut core = self.core.borrow_mut();
        let Some(stream) = core.streams.get(self.key) else { return Poll::Ready(Error::Closed) };
        if let Some(error) = &stream.error {
            return Poll::Ready(error.clone());
        }
        remember(&mut stream.writer, cx.waker());
        Poll::Pending
    }

    /// Ends the stream, unless both halves have ended.
    pub fn send_reset(&mut self, reason: Reason) {
        self.core.borrow_mut().reset(self.key, reason);
    }
}
