//! How long an HTTP/1.1 connection may stand still.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::State;
use crate::downstream::plan::Limits;
use crate::error::Kind;
use crate::io::Handle;

/// How long a client that sends no more may be given nothing before it counts as gone.
const SILENCE: Duration = Duration::from_secs(1);

/// A client that sends no more has shut down its sending half and waits for its answer, or has closed
/// and left: TCP says the same of both until something is written. Most servers take it for gone at
/// once; here it is when it was given nothing for a second, so that neither a script that pipes its
/// request in loses its answer, nor work for a closed tab goes on upstream.
#[derive(Default)]
pub(super) struct Silence {
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
    /// What had been written by the time the timer was set.
    taken: u64,
}

impl Silence {
    /// Whether the client, which sends no more, has gone.
    pub(super) fn is_over(&mut self, handle: &Handle, cx: &mut Context<'_>) -> bool {
        let taken = handle.taken();
        let set = || Box::pin(tokio::time::sleep(SILENCE));
        let timer = self.timer.get_or_insert_with(set);
        if std::mem::replace(&mut self.taken, taken) != taken {
            timer.as_mut().reset(Instant::now() + SILENCE);
        }
        timer.as_mut().poll(cx).is_ready()
    }
}

/// The two clocks between exchanges (idle, and a head that has begun but does not end) and the two
/// within, for a client that takes nothing of its answer and holds memory here and a stream upstream:
/// so long it may, and never beyond the exchange's own deadline.
pub(super) struct Clock {
    head_time: Duration,
    idle: Duration,
    tick: Pin<Box<tokio::time::Sleep>>,
    since: Instant,
    /// Bytes received when the connection was last seen busy or idle.
    seen: u64,
    head_since: Option<Instant>,
    /// Since when the client takes nothing, and what it had taken by then.
    stalled: Option<(Instant, u64)>,
}

impl Clock {
    pub(super) fn new(limits: &Limits) -> Self {
        let tick = limits.head_time.min(limits.idle) / 4;
        Self {
            head_time: limits.head_time,
            idle: limits.idle,
            tick: Box::pin(tokio::time::sleep(tick)),
            since: Instant::now(),
            seen: 0,
            // The first head's clock runs from accept.
            head_since: Some(Instant::now()),
            stalled: None,
        }
    }

    fn stalled(&mut self, handle: &Handle, now: Instant) -> bool {
        self.stalled = handle.blocked().map(|taken| match self.stalled {
            Some((since, before)) if before == taken => (since, before),
            _ => (now, taken),
        });
        self.stalled.is_some_and(|(since, _)| now - since >= self.idle)
    }

    /// Whether a clock has run out; `state.cut` then says which, where an exchange ends with it.
    pub(super) fn expired(&mut self, state: &State, handle: &Handle, cx: &mut Context<'_>) -> bool {
        if let Some((at, _)) = state.deadline.get().filter(|(at, _)| *at < self.tick.deadline()) {
            self.tick.as_mut().reset(at);
        }
        while self.tick.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            self.tick.as_mut().reset(now + self.head_time.min(self.idle) / 4);
            if state.busy.get() {
                self.head_since = None;
                self.seen = handle.received();
                if let Some((_, kind)) = state.deadline.get().filter(|(at, _)| *at <= now) {
                    // One who takes its answer is told by the answer's own clock.
                    state.deadline.set(None);
                    if handle.blocked().is_some() {
                        state.cut.set(Some(kind));
                        return true;
                    }
                }
                if self.stalled(handle, now) {
                    state.cut.set(Some(Kind::ClientStalled));
                    return true;
                }
                continue;
            }
            if let Some((end, received)) = state.last_end.take() {
                self.since = end;
                self.head_since = None;
                self.seen = received;
            }
            if handle.received() != self.seen && self.head_since.is_none() {
                self.head_since = Some(now);
            }
            let head_late = self.head_since.is_some_and(|since| now - since >= self.head_time);
            if head_late || now - self.since >= self.idle {
                return true;
            }
        }
        false
    }
}
