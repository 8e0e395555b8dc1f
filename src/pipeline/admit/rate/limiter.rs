//! How often each client may ask: the generic cell rate algorithm, of which one number per client is
//! kept.

use std::time::Duration;

use super::clients::Clients;
use crate::exchange::Client;
use crate::pipeline::plan::Rate;

/// One class: how often each of its clients may ask.
#[derive(Debug)]
pub struct Limiter {
    rate: Rate,
    cells: Cells,
    /// When each client's next request is due, in nanoseconds.
    due: Clients<u64>,
}

impl Limiter {
    /// Nobody has asked yet.
    pub fn new(rate: Rate) -> Self {
        Self { rate, cells: Cells::new(rate), due: Clients::new() }
    }

    /// What it allows.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Counts a request of `client` at `now`, a time since some fixed moment.
    ///
    /// # Errors
    /// How long until it has room again; what is refused is not counted.
    pub fn check(&self, client: Client, now: Duration) -> Result<(), Duration> {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let counted = self.due.with(client, |due| {
            *due = self.cells.take(*due, now)?;
            Ok(())
        });
        counted.unwrap_or(Ok(())).map_err(Duration::from_nanos)
    }
}

/// The generic cell rate algorithm (ITU-T I.371, annex A, "virtual scheduling"), in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Cells {
    /// Between two requests at the average rate.
    interval: u64,
    /// How far ahead of the average a client may be.
    tolerance: u64,
}

impl Cells {
    fn new(rate: Rate) -> Self {
        let interval = 60_000_000_000 / u64::from(rate.per_minute.max(1));
        let tolerance = interval.saturating_mul(u64::from(rate.burst.max(1) - 1));
        Self { interval, tolerance }
    }

    /// When the request after this one is due on average; or how long this one is too early.
    fn take(self, due: u64, now: u64) -> Result<u64, u64> {
        let early = due.saturating_sub(self.tolerance).saturating_sub(now);
        if early > 0 { Err(early) } else { Ok(due.max(now).saturating_add(self.interval)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(text: &str) -> Client {
        Client::of(text.parse().unwrap())
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_burst_passes_and_then_the_average() {
        let limiter = Limiter::new(Rate { per_minute: 60, burst: 3 });
        let one = client("192.0.2.1");
        for (at, outcome) in [
            (0.0, Ok(())),
            (0.0, Ok(())),
            (0.0, Ok(())),
            (0.0, Err(seconds(1.0))),
            (0.25, Err(seconds(0.75))),
            (1.0, Ok(())),
            (1.5, Err(seconds(0.5))),
            (60.0, Ok(())),
            (60.0, Ok(())),
            (60.0, Ok(())),
            (60.0, Err(seconds(1.0))),
        ] {
            assert_eq!(limiter.check(one, seconds(at)), outcome, "{at}");
        }
        assert_eq!(limiter.check(client("192.0.2.2"), seconds(60.0)), Ok(()));
    }

    #[test]
    fn an_ipv6_subscriber_is_one_client_and_a_mapped_ipv4_address_is_itself() {
        let limiter = Limiter::new(Rate { per_minute: 1, burst: 1 });
        let now = Duration::ZERO;
        assert!(limiter.check(client("2001:db8:0:1::1"), now).is_ok());
        assert!(limiter.check(client("2001:db8:0:1:ffff::2"), now).is_err());
        assert!(limiter.check(client("2001:db8:0:2::1"), now).is_ok());
        assert!(limiter.check(client("192.0.2.1"), now).is_ok());
        assert!(limiter.check(client("::ffff:192.0.2.1"), now).is_err());
    }

    #[test]
    fn no_rate_and_no_time_is_too_large() {
        for rate in [(u32::MAX, u32::MAX), (1, u32::MAX), (u32::MAX, 1), (0, 0)] {
            let limiter = Limiter::new(Rate { per_minute: rate.0, burst: rate.1 });
            for now in [Duration::ZERO, Duration::MAX] {
                let _ = limiter.check(client("192.0.2.1"), now);
            }
        }
    }

    proptest! {
        /// The same as a bucket of tokens that is filled steadily.
        #[test]
        fn it_lets_through_what_a_token_bucket_would(
            per_minute in prop::sample::select(vec![1u32, 60, 600, 3_000]),
            burst in 1..20u32,
            gaps in prop::collection::vec(0..3_000_000_000u64, 1..200),
        ) {
            let cells = Cells::new(Rate { per_minute, burst });
            let full = u128::from(cells.interval) * u128::from(burst);
            let (mut due, mut now, mut tokens) = (0, 0u64, full);
            for gap in gaps {
                now += gap;
                tokens = (tokens + u128::from(gap)).min(full);
                let fits = tokens >= u128::from(cells.interval);
                match cells.take(due, now) {
                    Ok(next) => {
                        prop_assert!(fits);
                        tokens -= u128::from(cells.interval);
                        due = next;
                    }
                    Err(early) => {
                        prop_assert!(!fits);
                        // Not a moment too early, nor too late.
                        prop_assert!(cells.take(due, now + early).is_ok());
                        prop_assert!(cells.take(due, now + early - 1).is_err());
                    }
                }
            }
        }
    }
}
