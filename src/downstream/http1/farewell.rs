//! How a kept connection ends that is told to.

use std::pin::Pin;
use std::task::Context;

use super::State;
use crate::downstream::connection::LAST_GREETING;
use crate::exchange::Ending;

pin_project_lite::pin_project! {
    /// How a connection ends that is told to: with its next answer; or, when none has been asked for
    /// in a while, by being closed. A client may have sent its next request already, and one that is
    /// closed under it does not know whether it was read.
    pub(super) struct Farewell<F> {
        #[pin]
        told: F,
        rest: Option<Pin<Box<tokio::time::Sleep>>>,
        closed: bool,
    }
}

impl Farewell<()> {
    pub(super) fn new(ending: Ending) -> Farewell<impl Future<Output = ()>> {
        Farewell { told: ending.told(), rest: None, closed: false }
    }
}

impl<F: Future<Output = ()>> Farewell<F> {
    /// Whether it is time to close; true once.
    pub(super) fn poll(self: Pin<&mut Self>, state: &State, cx: &mut Context<'_>) -> bool {
        let this = self.project();
        if *this.closed {
            return false;
        }
        if !state.leaving.get() {
            if this.told.poll(cx).is_pending() {
                return false;
            }
            state.leaving.set(true);
        }
        if state.busy.get() {
            *this.rest = None;
            return false;
        }
        let rest = this.rest.get_or_insert_with(|| Box::pin(tokio::time::sleep(LAST_GREETING)));
        *this.closed = rest.as_mut().poll(cx).is_ready();
        *this.closed
    }
}
