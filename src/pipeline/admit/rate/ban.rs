//! Who asks far too often for minutes is not answered for a while, however they go on.
//!
//! Unlike the limiter it counts what was refused too: it is about clients that take no notice.

use std::time::Duration;

use super::clients::Clients;
use crate::exchange::Client;
use crate::pipeline::plan::BanRule;

/// Who is banned, of the clients of one class.
#[derive(Debug)]
pub struct Bans {
    rule: Rule,
    clients: Clients<Attempts>,
}

/// A [`BanRule`] in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Rule {
    attempts: u64,
    within: u64,
    lasts: u64,
}

impl Bans {
    /// Nobody is.
    pub fn new(rule: BanRule) -> Self {
        let rule = Rule {
            attempts: u64::from(rule.attempts),
            within: millis(rule.within).max(1),
            lasts: millis(rule.lasts),
        };
        Self { rule, clients: Clients::new() }
    }

    /// Counts an attempt of `client` at `now`, a time since some fixed moment.
    ///
    /// # Errors
    /// How long its ban still lasts. What comes meanwhile does not make it longer.
    pub fn check(&self, client: Client, now: Duration) -> Result<(), Duration> {
        let attempt = |attempts: &mut Attempts| attempts.one_more(self.rule, millis(now));
        self.clients.with(client, attempt).unwrap_or(Ok(())).map_err(Duration::from_millis)
    }
}

/// What one client has asked for: the attempts of this span of time and of the one before, of which
/// the part is counted that a window ending now still covers.
#[derive(Clone, Copy, Debug, Default)]
struct Attempts {
    /// Which span it is, counted from the fixed moment.
    span: u64,
    here: u64,
    before: u64,
    /// Until when it is banned; zero: never was.
    until: u64,
}

impl Attempts {
    fn one_more(&mut self, rule: Rule, now: u64) -> Result<(), u64> {
        if now < self.until {
            return Err(self.until - now);
        }
        let span = now / rule.within;
        if span != self.span {
            self.before = if span == self.span.saturating_add(1) { self.here } else { 0 };
            self.here = 0;
            self.span = span;
        }
        self.here = self.here.saturating_add(1);
        let covered = rule.within - now % rule.within;
        let before = u128::from(self.before) * u128::from(covered) / u128::from(rule.within);
        if u128::from(self.here) + before <= u128::from(rule.attempts) {
            return Ok(());
        }
        // It begins anew afterwards: who has waited is not banned again for what led to it.
        *self = Self { span, until: now.saturating_add(rule.lasts), ..Self::default() };
        Err(rule.lasts)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: BanRule =
        BanRule { attempts: 10, within: Duration::from_secs(100), lasts: Duration::from_secs(60) };

    fn client(number: u32) -> Client {
        Client::V4(number)
    }

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn more_attempts_than_the_rule_ban_and_the_ban_ends_however_many_come_meanwhile() {
        let bans = Bans::new(RULE);
        for _ in 0..10 {
            assert_eq!(bans.check(client(1), at(5.0)), Ok(()));
        }
        assert_eq!(bans.check(client(1), at(5.5)), Err(at(60.0)));
        for second in 6..65 {
            let left = at(65.5 - f64::from(second));
            assert_eq!(bans.check(client(1), at(f64::from(second))), Err(left), "{second}");
        }
        assert_eq!(bans.check(client(2), at(30.0)), Ok(()), "another client");
        for _ in 0..10 {
            assert_eq!(bans.check(client(1), at(65.5)), Ok(()), "it begins anew");
        }
        assert_eq!(bans.check(client(1), at(65.5)), Err(at(60.0)));
    }

    #[test]
    fn the_window_slides_over_the_end_of_a_span() {
        let bans = Bans::new(RULE);
        for _ in 0..10 {
            assert_eq!(bans.check(client(1), at(90.0)), Ok(()));
        }
        // Of the ten, nine still count at 110 s: one more fits, the next does not.
        assert_eq!(bans.check(client(1), at(110.0)), Ok(()));
        assert_eq!(bans.check(client(1), at(110.0)), Err(at(60.0)));
        // Two spans later nothing of it is left.
        for _ in 0..10 {
            assert_eq!(bans.check(client(2), at(0.0)), Ok(()));
        }
        for _ in 0..10 {
            assert_eq!(bans.check(client(2), at(250.0)), Ok(()));
        }
    }

    #[test]
    fn a_client_below_the_rule_s_pace_is_never_banned() {
        let bans = Bans::new(RULE);
        for attempt in 0..1_000 {
            assert_eq!(bans.check(client(1), at(f64::from(attempt) * 11.0)), Ok(()), "{attempt}");
        }
    }

    #[test]
    fn no_time_and_no_rule_is_too_large() {
        for (attempts, within) in [(0, Duration::ZERO), (u32::MAX, Duration::MAX)] {
            let bans = Bans::new(BanRule { attempts, within, lasts: Duration::MAX });
            for now in [Duration::ZERO, Duration::MAX] {
                let _ = bans.check(client(1), now);
            }
        }
    }
}
