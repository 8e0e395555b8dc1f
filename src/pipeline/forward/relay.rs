//! The clocks of an exchange on its upstream side: until the answer's head, and behind it.
//!
//! A clock is set once and asked again when it fires: what moved in between only writes down a
//! time, so that an exchange that is quick never touches the timer.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::SizeHint;
use tokio::time::{Instant, Sleep};

use crate::body::Frames;
use crate::error::{Error, Kind};
use crate::message::Frame;
use crate::pipeline::forward::limit::Watch;
use crate::pipeline::plan::Timeouts;
use crate::upstream::Answer;

/// The moment at which an exchange ends whatever happens, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Instant,
    /// [`Kind::Deadline`] where the caller named it, [`Kind::TotalTimeout`] where the route did.
    pub kind: Kind,
}

impl Deadline {
    /// The earlier of what the caller asked for and what the route allows.
    pub fn earliest(
        started: Instant,
        asked: Option<Duration>,
        total: Option<Duration>,
    ) -> Option<Self> {
        let deadline = |after: Option<Duration>, kind| {
            after.and_then(|after| started.checked_add(after)).map(|at| Self { at, kind })
        };
        match (deadline(asked, Kind::Deadline), deadline(total, Kind::TotalTimeout)) {
            (Some(asked), Some(total)) => Some(if asked.at <= total.at { asked } else { total }),
            (asked, total) => asked.or(total),
        }
    }
}

/// Waits for the head of an answer to what was `asked`. `moved` counts the request's bytes: while they come, or while
/// it `waits` for the client to send more, the first-byte clock starts anew.
pub async fn until_head<T>(
    asked: Instant,
    mut answer: Pin<&mut impl Future<Output = Result<T, Error>>>,
    timeouts: &Timeouts,
    deadline: Option<Deadline>,
    moved: &Cell<u64>,
    waits: impl Fn() -> bool,
) -> Result<T, Error> {
    let first_byte = |now: Instant| timeouts.first_byte.and_then(|after| now.checked_add(after));
    let mut due = first_byte(asked);
    let mut seen = moved.get();
    loop {
        let next = match (due, deadline) {
            (Some(due), Some(deadline)) => Some(due.min(deadline.at)),
            (due, deadline) => due.or_else(|| deadline.map(|deadline| deadline.at)),
        };
        let Some(next) = next else { return answer.await };
        if let Ok(outcome) = tokio::time::timeout_at(next, answer.as_mut()).await {
            return outcome;
        }
        if let Some(deadline) = deadline.filter(|deadline| deadline.at <= next) {
            return Err(Error::new(deadline.kind));
        }
        if moved.get() == seen && !waits() {
            return Err(Error::new(Kind::FirstByteTimeout));
        }
        seen = moved.get();
        due = first_byte(Instant::now());
    }
}

/// An answer's body under its clocks.
pub struct Relay<B = Answer> {
    answer: B,
    idle: Option<Duration>,
    deadline: Option<Deadline>,
    /// Bytes of the request's body; they move too.
    moved: Rc<Cell<u64>>,
    seen: u64,
    last: Instant,
    /// A frame was given out since the body last had none.
    given: bool,
    timer: Option<Pin<Box<Sleep>>>,
    watch: Option<Rc<Watch>>,
}

impl<B> Relay<B> {
    /// `answer`, whose head came just `now`.
    pub fn new(
        now: Instant,
        answer: B,
        timeouts: &Timeouts,
        deadline: Option<Deadline>,
        moved: Rc<Cell<u64>>,
        watch: Option<Rc<Watch>>,
    ) -> Self {
        let seen = moved.get();
        Self {
            answer,
            idle: timeouts.idle,
            deadline,
            moved,
            seen,
            last: now,
            given: false,
            timer: None,
            watch,
        }
    }

    fn due(&self) -> Option<Instant> {
        let idle = self.idle.and_then(|idle| self.last.checked_add(idle));
        match (idle, self.deadline) {
            (Some(idle), Some(deadline)) => Some(idle.min(deadline.at)),
            (idle, deadline) => idle.or_else(|| deadline.map(|deadline| deadline.at)),
        }
    }

    /// Ready when a clock has run out.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<Kind> {
        loop {
            let Some(due) = self.due() else { return Poll::Pending };
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if let Some(deadline) = self.deadline.filter(|deadline| deadline.at <= now) {
                return Poll::Ready(deadline.kind);
            }
            if self.moved.get() != self.seen {
                self.seen = self.moved.get();
                self.last = now;
            }
            match self.due() {
                Some(due) if due <= now => return Poll::Ready(Kind::IdleTimeout),
                Some(due) => self.timer = Some(Box::pin(tokio::time::sleep_until(due))),
                None => return Poll::Pending,
            }
        }
    }
}

impl<B: Frames + Unpin> Frames for Relay<B> {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        match Pin::new(&mut self.answer).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.given = true;
                Poll::Ready(frame.map(|frame| {
                    frame.map_err(|error| match &self.watch {
                        Some(watch) => watch.meaning(error),
                        None => error,
                    })
                }))
            }
            Poll::Pending => {
                // Who asks for the next has handed over the last: that moved until now.
                if std::mem::take(&mut self.given) {
                    self.last = Instant::now();
                }
                self.poll_clock(cx).map(|kind| Some(Err(Error::new(kind))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}

#[cfg(test)]
mod tests;
