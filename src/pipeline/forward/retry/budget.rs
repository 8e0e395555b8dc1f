//! How much sending again one worker affords itself for one cluster, and how many requests wait for
//! it. Retries multiply load just when there is too little of everything; what they may add is a
//! share of the exchanges that come anyway.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

/// One retry for so many exchanges: 20 %.
const SHARE: u64 = 5;
/// Retries that are always allowed in a window, so that few exchanges have theirs too.
const FLOOR: u64 = 20;
/// What is counted together; the window before it counts as well.
const WINDOW: Duration = Duration::from_secs(10);
/// Requests that wait at once for an endpoint; each holds at most [`crate::body::replay::LIMIT`]
/// bytes of its body.
const HOLDERS: usize = 1024;

/// One cluster's, of one worker.
#[derive(Debug)]
pub struct Retries {
    began: Cell<Instant>,
    now: Cell<Window>,
    before: Cell<Window>,
    holders: Cell<usize>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    exchanges: u64,
    retries: u64,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            began: Cell::new(Instant::now()),
            now: Cell::default(),
            before: Cell::default(),
            holders: Cell::default(),
        }
    }
}

impl Retries {
    /// Counts an exchange that began then.
    pub fn exchange(&self, began: Instant) {
        self.turn(began);
        let now = self.now.get();
        self.now.set(Window { exchanges: now.exchanges + 1, ..now });
    }

    /// Takes one retry out of the budget; `false` when it is spent.
    pub fn spend(&self, at: Instant) -> bool {
        self.turn(at);
        let (now, before) = (self.now.get(), self.before.get());
        let exchanges = now.exchanges + before.exchanges;
        let allowed = FLOOR + exchanges / SHARE;
        if now.retries + before.retries >= allowed {
            return false;
        }
        self.now.set(Window { retries: now.retries + 1, ..now });
        true
    }

    fn turn(&self, at: Instant) {
        let passed = at.saturating_duration_since(self.began.get());
        if passed < WINDOW {
            return;
        }
        let last = if passed < 2 * WINDOW { self.now.get() } else { Window::default() };
        self.before.set(last);
        self.now.set(Window::default());
        self.began.set(at);
    }

    /// A place among the requests that wait, given back when dropped; `None` when too many do.
    pub fn hold(self: &Rc<Self>) -> Option<Held> {
        let holders = self.holders.get();
        (holders < HOLDERS).then(|| {
            self.holders.set(holders + 1);
            Held(Rc::clone(self))
        })
    }
}

/// A place among the requests that wait.
#[derive(Debug)]
pub struct Held(Rc<Retries>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.holders.set(self.0.holders.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(retries: &Retries, at: Instant) -> u64 {
        (0..10_000).take_while(|_| retries.spend(at)).count() as u64
    }

    #[test]
    fn a_fifth_of_the_exchanges_and_a_floor_may_be_sent_again() {
        let began = Instant::now();
        let retries = Retries { began: Cell::new(began), ..Retries::default() };
        assert_eq!(spent(&retries, began), FLOOR);
        assert!(!retries.spend(began));
        (0..100).for_each(|_| retries.exchange(began));
        assert_eq!(spent(&retries, began), 20);
        // The window before counts; what lies further back is forgotten.
        let next = began + WINDOW;
        assert_eq!(spent(&retries, next), 0);
        (0..50).for_each(|_| retries.exchange(next));
        assert_eq!(spent(&retries, next), 10);
        assert_eq!(spent(&retries, next + 2 * WINDOW), FLOOR);
    }

    #[test]
    fn a_bounded_number_waits() {
        let retries = Rc::new(Retries::default());
        let mut held: Vec<Held> = std::iter::from_fn(|| retries.hold()).collect();
        assert_eq!(held.len(), HOLDERS);
        held.pop();
        assert!(retries.hold().is_some());
    }
}
