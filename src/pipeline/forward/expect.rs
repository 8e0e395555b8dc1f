//! `Expect: 100-continue` end to end (RFC 9110 §10.1.1): the request's body is not asked for until
//! upstream wants it, has answered, or has kept silent for a while.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use http::StatusCode;
use http_body::SizeHint;
use tokio::time::Sleep;

use crate::body::{Body, Frames};
use crate::error::Error;
use crate::exchange::Interim;
use crate::message::name::EXPECT;
use crate::message::{Fields, Frame};

/// How long an upstream that does not know the expectation is waited for; clients wait as long.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the client waits for 100 before it sends its body.
pub fn expects_continue(headers: &Fields) -> bool {
    headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// A body behind a gate, and the interim relay that opens it.
pub fn gate(body: Body, interim: Option<Interim>) -> (Body, Interim) {
    let gate = Rc::new(Gate::default());
    let opener = Rc::clone(&gate);
    let relay: Interim = Rc::new(move |status: StatusCode, headers: &Fields| {
        if let Some(interim) = &interim {
            interim(status, headers);
        }
        if status == StatusCode::CONTINUE {
            opener.open();
        }
    });
    let gated = Gated { body, gate, patience: Some(Box::pin(tokio::time::sleep(PATIENCE))) };
    (Body::boxed(gated), relay)
}

#[derive(Default)]
struct Gate {
    open: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Gate {
    fn open(&self) {
        self.open.set(true);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

struct Gated {
    body: Body,
    gate: Rc<Gate>,
    patience: Option<Pin<Box<Sleep>>>,
}

impl Frames for Gated {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        let this = &mut *self;
        if let Some(patience) = &mut this.patience {
            if !this.gate.open.get() {
                this.gate.waiting.replace(Some(cx.waker().clone()));
                ready!(patience.as_mut().poll(cx));
            }
            this.patience = None;
        }
        Pin::new(&mut this.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
