//! Decides whether the other end of an HTTP/2 connection is still there. A peer that vanished without
//! a word (a machine that lost its power, a NAT that forgot) leaves a socket that takes requests and
//! never answers; TCP gives up only after half a minute.
//!
//! Silence alone proves nothing: a stream may have nothing to say. So a connection in use that was
//! silent is asked (PING, RFC 9113 §6.7), and only the lack of an answer counts.

use std::time::Duration;

use tokio::time::Instant;

/// What is known of a connection's other end.
#[derive(Debug)]
pub struct Alive {
    keepalive: Duration,
    /// Bytes received when it was last looked at, and since when there were no more.
    received: u64,
    since: Instant,
    asked: Option<Instant>,
    doubted: bool,
}

/// What there is to see of it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Bytes received so far.
    pub received: u64,
    /// It carries exchanges.
    pub busy: bool,
    /// The first exchange after a long rest has come: it is asked about at once.
    pub woken: bool,
    /// Checks say that its endpoint is down: as long as it carries something, it is asked too.
    pub suspected: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Send a PING.
    Ask,
    /// A third of the time has passed without an answer: give it no new exchanges.
    Doubt,
    /// All of it has: nobody is there.
    Dead,
}

impl Alive {
    /// A connection that has just been opened. `keepalive`: how long one in use may be silent before it
    /// is asked, and how long it then has for its answer.
    pub const fn new(keepalive: Duration, now: Instant) -> Self {
        Self { keepalive, received: 0, since: now, asked: None, doubted: false }
    }

    /// Looks at it. Any byte is a sign of life.
    pub fn look(&mut self, now: Instant, seen: &Seen) -> Step {
        let Seen { received, busy, woken, suspected } = *seen;
        if received != self.received {
            (self.received, self.since) = (received, now);
            (self.asked, self.doubted) = (None, false);
        }
        let Some(asked) = self.asked else {
            if woken || busy && (suspected || now - self.since >= self.keepalive) {
                self.asked = Some(now);
                return Step::Ask;
            }
            return Step::Rest;
        };
        // What checks call down has little credit left.
        let patience = if suspected { self.keepalive / 3 } else { self.keepalive };
        if now - asked >= patience {
            return Step::Dead;
        }
        if now - asked >= self.keepalive / 3 && !self.doubted {
            self.doubted = true;
            return Step::Doubt;
        }
        Step::Rest
    }

    /// After how long it should be looked at again.
    pub fn next(&self) -> Duration {
        if self.asked.is_some() { self.keepalive / 3 } else { self.keepalive }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_silent_in_use_is_asked_then_doubted_then_given_up() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut alive = Alive::new(Duration::from_secs(10), start);
        for (second, received, busy, expected) in [
            (100, 0, false, Step::Rest),
            // Whenever the last byte came that it has not heard of yet.
            (101, 9, true, Step::Ask),
            (102, 9, true, Step::Rest),
            (103, 40, true, Step::Rest),
            (112, 40, true, Step::Rest),
            (113, 40, true, Step::Ask),
            // An answer to nobody's question is a sign of life too.
            (115, 41, true, Step::Rest),
            (125, 41, true, Step::Ask),
            (129, 41, true, Step::Doubt),
            (130, 41, true, Step::Rest),
            (135, 41, false, Step::Dead),
        ] {
            let seen = Seen { received, busy, woken: second == 101, suspected: false };
            assert_eq!(alive.look(at(second), &seen), expected, "{second}");
        }
    }

    #[test]
    fn who_is_suspected_is_asked_at_once_and_given_up_sooner() {
        let start = Instant::now();
        let mut alive = Alive::new(Duration::from_secs(9), start);
        for (second, received, busy, suspected, expected) in [
            (1, 10, true, false, Step::Rest),
            (2, 10, false, true, Step::Rest),
            (3, 10, true, true, Step::Ask),
            // It has answered: whatever checks say, what it carries may go on.
            (5, 20, true, true, Step::Ask),
            (7, 20, true, true, Step::Rest),
            (8, 20, true, true, Step::Dead),
        ] {
            let seen = Seen { received, busy, woken: false, suspected };
            let looked = alive.look(start + Duration::from_secs(second), &seen);
            assert_eq!(looked, expected, "{second}");
        }
    }
}
