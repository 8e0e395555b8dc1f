//! The places of an endpoint that carries only so much at once, and the line of those that wait for
//! one. Both are of all workers: whoever came first is next, whichever worker it is of.
//!
//! This is the one lock on a request's path. Only endpoints with a cap take it, for some instructions,
//! and never across an await.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::state::Need;

/// How much a new pause between two places weighs in the mean.
const NEW: f32 = 0.2;

/// The places of one endpoint.
#[derive(Debug, Default)]
pub struct Places {
    line: Mutex<Line>,
    /// Changed by who holds the line alone, but read by everybody who chooses an endpoint.
    taken: AtomicU32,
}

/// What who wants a place is told.
#[derive(Debug)]
pub enum Entry {
    /// It has one.
    Taken,
    /// It stands in the line, under this number, and will be told.
    Wait(u64, oneshot::Receiver<Told>),
    /// Its deadline would pass before it had one.
    Late,
}

/// What who waits is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It has a place now.
    Come,
    /// The endpoint is not asked any more: try another.
    Leave,
}

#[derive(Debug, Default)]
struct Line {
    /// The number of the next who waits.
    next: u64,
    /// By number, so the first is first.
    waiting: BTreeMap<u64, Waiter>,
    pace: Pace,
}

#[derive(Debug)]
struct Waiter {
    /// Of its plan: another one may hold since.
    cap: u32,
    need: Need,
    tell: oneshot::Sender<Told>,
}

impl Places {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, where fewer than `cap` are taken and nobody waits; else the end of the line.
    pub fn enter(&self, cap: u32, need: Need, deadline: Option<Instant>) -> Entry {
        let mut line = self.line();
        if line.waiting.is_empty() && self.taken() < cap {
            self.taken.fetch_add(1, Ordering::Relaxed);
            return Entry::Taken;
        }
        let ahead = line.waiting.len();
        // Whoever is next cannot know: what was measured before everybody had gone says nothing of now.
        let late = |deadline| deadline < Instant::now() + line.pace.wait(ahead + 1);
        if ahead > 0 && deadline.is_some_and(late) {
            return Entry::Late;
        }
        let (tell, told) = oneshot::channel();
        let number = line.next;
        line.next = number.wrapping_add(1);
        line.waiting.insert(number, Waiter { cap, need, tell });
        Entry::Wait(number, told)
    }

    /// A place is free again: the first in the line has it.
    pub fn leave(&self) {
        let mut line = self.line();
        self.taken.store(self.taken().saturating_sub(1), Ordering::Relaxed);
        if line.waiting.is_empty() {
            line.pace.rest();
        } else {
            line.pace.left(Instant::now());
        }
        self.admit(&mut line);
    }

    /// Who waited under this number does so no longer.
    pub fn give_up(&self, number: u64) {
        let mut line = self.line();
        if line.waiting.remove(&number).is_some() {
            // It may have been first, with a smaller cap than the next.
            self.admit(&mut line);
        }
    }

    /// Sends everybody away who waits, or waits with this need.
    pub fn dismiss(&self, need: Option<Need>) {
        let mut line = self.line();
        let meant = |waiter: &Waiter| need.is_none_or(|need| waiter.need == need);
        for (_, waiter) in line.waiting.extract_if(.., |_, waiter| meant(waiter)) {
            // Fails where it has just given up.
            let _ = waiter.tell.send(Told::Leave);
        }
        self.admit(&mut line);
    }

    /// Places that are taken; 0 where they are not counted.
    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    fn admit(&self, line: &mut Line) {
        while let Some(first) = line.waiting.first_entry() {
            if self.taken() >= first.get().cap {
                return;
            }
            // Who has just given up hands its turn to the next.
            if first.remove().tell.send(Told::Come).is_ok() {
                self.taken.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// How quickly places become free while somebody waits.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    /// Seconds between two, on average; 0: not known.
    between: f32,
}

impl Pace {
    /// A place has become free.
    fn left(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let pause = now.saturating_duration_since(last).as_secs_f32();
            let mean = self.between;
            self.between = if mean == 0.0 { pause } else { mean + (pause - mean) * NEW };
        }
    }

    /// Nobody waits: the pause until somebody does is not one between two places.
    const fn rest(&mut self) {
        self.last = None;
    }

    /// How long the next so many places take.
    fn wait(&self, places: usize) -> Duration {
        Duration::try_from_secs_f32(self.between * places as f32).unwrap_or(Duration::MAX / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(places: &Places, need: Need) -> (u64, oneshot::Receiver<Told>) {
        match places.enter(1, need, None) {
            Entry::Wait(number, told) => (number, told),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_place_goes_to_the_first_who_is_still_there() {
        let places = Places::default();
        assert!(matches!(places.enter(1, Need::Rpc, None), Entry::Taken));
        let (_, gone) = wait(&places, Need::Rpc);
        let (left, _told) = wait(&places, Need::Rpc);
        let (_, mut next) = wait(&places, Need::Rpc);
        let (_, mut last) = wait(&places, Need::Rpc);
        drop(gone);
        places.give_up(left);
        places.leave();
        assert_eq!((next.try_recv().ok(), last.try_recv().ok()), (Some(Told::Come), None));
        assert_eq!(places.taken(), 1, "it is the same place");
        places.leave();
        assert_eq!(last.try_recv().ok(), Some(Told::Come));
        places.leave();
        assert_eq!(places.taken(), 0);
    }

    #[test]
    fn nobody_who_comes_later_takes_a_place_before_who_waits() {
        let places = Places::default();
        assert!(matches!(places.enter(1, Need::Rpc, None), Entry::Taken));
        let (_, mut told) = wait(&places, Need::Rpc);
        let Entry::Wait(_, mut larger) = places.enter(9, Need::Rpc, None) else {
            panic!("a larger cap is no reason to be first")
        };
        places.leave();
        assert_eq!(told.try_recv().ok(), Some(Told::Come));
        assert_eq!(larger.try_recv().ok(), Some(Told::Come), "then there is one for it as well");
        assert_eq!(places.taken(), 2);
    }

    #[test]
    fn only_those_with_the_need_that_is_not_served_any_more_are_sent_away() {
        let places = Places::default();
        assert!(matches!(places.enter(1, Need::Rpc, None), Entry::Taken));
        let ((_, mut rest), (_, mut rpc)) = (wait(&places, Need::Rest), wait(&places, Need::Rpc));
        places.dismiss(Some(Need::Rest));
        assert_eq!((rest.try_recv().ok(), rpc.try_recv().ok()), (Some(Told::Leave), None));
        places.dismiss(None);
        assert_eq!(rpc.try_recv().ok(), Some(Told::Leave));
        places.leave();
        assert_eq!(places.taken(), 0);
    }
}
