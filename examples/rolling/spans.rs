//! What the calls that began in a span of time say: how many failed, and how long they took.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::calls::Effect;
use crate::load::Outcome;

/// Below this a busy machine's own noise decides, not Ravelin: every fault here costs far more.
const NOISE: Duration = Duration::from_millis(50);
/// How many times longer than before calls may take.
const TIMES: u32 = 3;

/// Of the calls of one span.
pub struct Span {
    pub calls: usize,
    pub failed_reads: usize,
    pub failed: usize,
    /// Of calls that the server answers at once.
    pub p99: Duration,
}

impl Span {
    /// Of the calls that began then.
    pub fn of(outcomes: &[Outcome], from: Instant, until: Instant) -> Self {
        let mine = || outcomes.iter().filter(|one| (from..until).contains(&one.began));
        let failed = || mine().filter(|one| one.told.is_err());
        let prompt =
            |one: &&Outcome| one.kind.effect != Effect::Stream && !one.kind.is_delayed(one.id);
        let mut took: Vec<Duration> = mine().filter(prompt).map(|one| one.took).collect();
        took.sort_unstable();
        Self {
            calls: mine().count(),
            failed_reads: failed().filter(|one| one.kind.effect == Effect::Read).count(),
            failed: failed().count(),
            p99: took.get(took.len() * 99 / 100).copied().unwrap_or_default(),
        }
    }

    /// Whether its calls took longer than those before may make one expect.
    pub fn is_slow(&self, before: &Self) -> bool {
        self.p99 > (before.p99 * TIMES).max(NOISE)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, failed_reads, failed, p99 } = self;
        let p99 = p99.as_secs_f64() * 1_000.0;
        write!(f, "{calls} calls, {failed} failed, {failed_reads} of them reads, p99 {p99:.1} ms")
    }
}
