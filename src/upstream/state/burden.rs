//! One worker's count of its exchanges at an endpoint.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many exchanges one worker has in flight at an endpoint. A cache line of its own: nobody
/// else writes it, and readers are few.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Burden {
    in_flight: AtomicU64,
    waiting: AtomicU64,
}

impl Burden {
    /// How many.
    pub fn get(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How many of these wait for a place.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// One more waits. Only the worker that owns it may call this.
    pub fn wait(&self) {
        self.waiting.store(self.waiting().wrapping_add(1), Ordering::Relaxed);
    }

    /// One less waits. Only the worker that owns it may call this.
    pub fn wait_no_more(&self) {
        self.waiting.store(self.waiting().saturating_sub(1), Ordering::Relaxed);
    }

    /// One more. Only the worker that owns it may call this.
    pub fn more(&self) {
        self.in_flight.store(self.get().wrapping_add(1), Ordering::Relaxed);
    }

    /// One less. Only the worker that owns it may call this.
    pub fn less(&self) {
        self.in_flight.store(self.get().saturating_sub(1), Ordering::Relaxed);
    }
}
