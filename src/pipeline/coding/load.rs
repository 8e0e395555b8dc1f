//! How much of a worker's time goes into coding, and what that leaves for the next answer.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::Level;

/// Over what the share is taken.
const WINDOW: Duration = Duration::from_secs(1);

/// Above this part of a worker's time the next answers are coded at the light level.
const LIGHT_ABOVE: Duration = Duration::from_millis(250);

/// Above this one they are sent as they are.
const NONE_ABOVE: Duration = Duration::from_millis(500);

/// One worker's time for coding: what was spent in the window before and in this one.
#[derive(Debug)]
pub struct Load {
    since: Cell<Instant>,
    before: Cell<Duration>,
    spent: Cell<Duration>,
}

impl Load {
    /// Nothing spent, as of `now`.
    pub fn new(now: Instant) -> Self {
        Self { since: Cell::new(now), before: Cell::default(), spent: Cell::default() }
    }

    /// How the next answer is to be coded; `None`: not at all.
    pub fn level(&self) -> Option<Level> {
        self.level_at(Instant::now())
    }

    fn level_at(&self, now: Instant) -> Option<Level> {
        self.roll(now);
        let share = self.before.get().max(self.spent.get());
        if share > NONE_ABOVE {
            None
        } else if share > LIGHT_ABOVE {
            Some(Level::Light)
        } else {
            Some(Level::Fast)
        }
    }

    /// Writes down that coding took from `started` until `now`.
    pub fn spent(&self, started: Instant, now: Instant) {
        self.roll(now);
        self.spent.set(self.spent.get() + now.saturating_duration_since(started));
    }

    /// Whether nothing was spent of late.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.before.get().is_zero() && self.spent.get().is_zero()
    }

    fn roll(&self, now: Instant) {
        let passed = now.saturating_duration_since(self.since.get());
        if passed < WINDOW {
            return;
        }
        // A whole window without a word: nothing was spent in it.
        let before = if passed < 2 * WINDOW { self.spent.get() } else { Duration::ZERO };
        self.before.set(before);
        self.spent.set(Duration::ZERO);
        self.since.set(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_is_spent_the_less_is_done() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let load = Load::new(start);
        assert_eq!(load.level_at(at(0)), Some(Level::Fast));
        load.spent(at(0), at(250));
        assert_eq!(load.level_at(at(250)), Some(Level::Fast));
        load.spent(at(300), at(301));
        assert_eq!(load.level_at(at(301)), Some(Level::Light));
        load.spent(at(400), at(700));
        assert_eq!(load.level_at(at(700)), None);
        // The next window still remembers, the one after it has seen nothing.
        assert_eq!(load.level_at(at(1_100)), None);
        load.spent(at(1_200), at(1_300));
        assert_eq!(load.level_at(at(2_200)), Some(Level::Fast));
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let start = Instant::now();
        let load = Load::new(start);
        load.spent(start, start + Duration::from_millis(900));
        assert_eq!(load.level_at(start + Duration::from_millis(900)), None);
        assert_eq!(load.level_at(start + Duration::from_secs(3)), Some(Level::Fast));
        assert_eq!(load.level_at(start), Some(Level::Fast), "a clock that stands is no harm");
    }
}
