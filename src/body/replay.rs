//! Keeps what was already taken of a request's body, so that it can be sent a second time.
//!
//! An attempt that upstream has provably not processed may be repeated although its body was
//! under way: for gRPC that is the rule, since the message follows the head at once. What is kept
//! is bounded; a body that outgrows the bound can no longer be repeated.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::SizeHint;

use super::Body;
use crate::body::Frames;
use crate::error::Error;
use crate::message::{Fields, Frame};

/// Bytes kept for a repetition: a login form, an ordinary gRPC message.
pub const LIMIT: usize = 64 * 1024;

/// The body of a request that may be sent more than once.
#[derive(Clone)]
pub struct Replay {
    shared: Rc<RefCell<Shared>>,
    /// How many kept frames this reader has given out.
    given: usize,
}

struct Shared {
    body: Body,
    kept: Vec<Kept>,
    bytes: usize,
    recording: bool,
    /// A frame was given out without being kept.
    lost: bool,
    /// All of the body was taken.
    ended: bool,
}

enum Kept {
    Data(Bytes),
    Trailers(Fields),
}

impl Replay {
    /// Records `body` until it outgrows [`LIMIT`] or [`Replay::settle`] is called.
    pub fn new(body: Body) -> Self {
        let shared =
            Shared { body, kept: Vec::new(), bytes: 0, recording: true, lost: false, ended: false };
        Self { shared: Rc::new(RefCell::new(shared)), given: 0 }
    }

    /// The same body from its beginning, if all of it is still there.
    pub fn again(&self) -> Option<Self> {
        (!self.shared.borrow().lost).then(|| Self { shared: Rc::clone(&self.shared), given: 0 })
    }

    /// Whether all of the body is kept: readers of it do not wait for the client any more.
    pub fn is_whole(&self) -> bool {
        let shared = self.shared.borrow();
        !shared.lost && (shared.ended || Frames::is_end_stream(&shared.body))
    }

    /// No repetition will be asked for any more: what is kept may go.
    pub fn settle(&self) {
        let mut shared = self.shared.borrow_mut();
        shared.recording = false;
    }
}

impl Frames for Replay {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        let given = self.given;
        let mut guard = self.shared.borrow_mut();
        let shared = &mut *guard;
        let frame = if let Some(kept) = shared.kept.get(given) {
            match kept {
                Kept::Data(data) => Frame::Data(data.clone()),
                Kept::Trailers(trailers) => Frame::Trailers(trailers.clone()),
            }
        } else {
            if !shared.recording && !shared.kept.is_empty() {
                shared.kept = Vec::new();
                shared.lost = true;
            }
            if shared.ended {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut shared.body).poll_frame(cx)) {
                Some(Ok(frame)) => shared.keep(frame),
                other => {
                    shared.ended = other.is_none();
                    return Poll::Ready(other);
                }
            }
        };
        let kept = !shared.lost;
        drop(guard);
        self.given = if kept { given + 1 } else { 0 };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        let shared = self.shared.borrow();
        self.given >= shared.kept.len() && shared.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Shared {
    fn keep(&mut self, frame: Frame) -> Frame {
        if self.lost || !self.recording {
            self.lost = true;
            return frame;
        }
        if let Some(data) = frame.data_ref() {
            self.bytes += data.len();
            if self.bytes <= LIMIT {
                self.kept.push(Kept::Data(data.clone()));
                return frame;
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.kept.push(Kept::Trailers(trailers.clone()));
            return frame;
        }
        self.kept = Vec::new();
        self.lost = true;
        frame
    }
}

#[cfg(test)]
mod tests;
