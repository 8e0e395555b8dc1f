//! What the clients saw, held against what the replicas did.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::calls::Effect;
use crate::load::Outcome;

/// Ravelin's words for a request that upstream may have processed.
const MAYBE: &str = "may have been processed";

/// The counts.
pub struct Report {
    calls: BTreeMap<&'static str, (u64, u64, Duration)>,
    reads_failed: u64,
    /// Failed writes that upstream provably had not processed: they could have been saved.
    writes_unsent: u64,
    writes_maybe: BTreeMap<String, u64>,
    maybe_and_done: u64,
    writes_twice: u64,
    writes_lost: u64,
    streams_without_status: u64,
    streams_cut: u64,
    failures: BTreeMap<String, u64>,
    /// Nothing at all may fail.
    spotless: bool,
}

impl Report {
    /// `written`: how often each write was done.
    pub fn of(outcomes: &[Outcome], written: &HashMap<String, usize>, spotless: bool) -> Self {
        let mut report = Self {
            calls: BTreeMap::new(),
            reads_failed: 0,
            writes_unsent: 0,
            writes_maybe: BTreeMap::new(),
            maybe_and_done: 0,
            writes_twice: written.values().filter(|times| **times > 1).count() as u64,
            writes_lost: 0,
            streams_without_status: 0,
            streams_cut: 0,
            failures: BTreeMap::new(),
            spotless,
        };
        for outcome in outcomes {
            report.count(outcome, written);
        }
        report
    }

    fn count(&mut self, outcome: &Outcome, written: &HashMap<String, usize>) {
        let row = self.calls.entry(outcome.kind.name).or_default();
        row.0 += 1;
        row.2 = row.2.max(outcome.took);
        let done = written.contains_key(&format!("w{}", outcome.id));
        let effect = outcome.kind.effect;
        if effect == Effect::Stream && !outcome.has_status {
            self.streams_without_status += 1;
        }
        let Err(told) = &outcome.told else {
            self.writes_lost += u64::from(effect == Effect::Write && !done);
            return;
        };
        row.1 += 1;
        *self.failures.entry(format!("{}: {told}", outcome.kind.name)).or_default() += 1;
        match effect {
            Effect::Read => self.reads_failed += 1,
            Effect::Stream => self.streams_cut += 1,
            Effect::Write if told.contains(MAYBE) || told.contains("no answer") => {
                *self.writes_maybe.entry(told.clone()).or_default() += 1;
                self.maybe_and_done += u64::from(done);
            }
            Effect::Write => self.writes_unsent += 1,
        }
    }

    /// Writes that were done twice.
    pub const fn twice(&self) -> u64 {
        self.writes_twice
    }

    /// Whether an expectation was not met.
    pub fn failed(&self) -> bool {
        let any = self.calls.values().any(|(_, failed, _)| *failed > 0);
        let calls: u64 = self.calls.values().map(|(calls, ..)| calls).sum();
        calls == 0
            || self.reads_failed > 0
            || self.writes_twice > 0
            || self.writes_unsent > 0
            || self.writes_lost > 0
            || self.streams_without_status > 0
            || (self.spotless && any)
    }

    /// Tells it all.
    pub fn print(&self, retries: &BTreeMap<String, u64>) {
        println!("{:<16} {:>8} {:>7} {:>11}", "kind", "calls", "failed", "slowest");
        for (name, (calls, failed, slowest)) in &self.calls {
            println!("{name:<16} {calls:>8} {failed:>7} {:>8} ms", slowest.as_millis());
        }
        println!("failed reads                                {}", self.reads_failed);
        println!("failed writes, provably not processed       {}", self.writes_unsent);
        let maybe: u64 = self.writes_maybe.values().sum();
        println!(
            "failed writes, may have been processed      {maybe} ({} were)",
            self.maybe_and_done
        );
        println!("writes done twice                           {}", self.writes_twice);
        println!("writes acknowledged and not done            {}", self.writes_lost);
        println!("streams ended by status 14                  {}", self.streams_cut);
        println!("streams ended without a status              {}", self.streams_without_status);
        let retries: Vec<String> =
            retries.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        println!("sent again by Ravelin                       {}", retries.join(", "));
        for (told, times) in &self.failures {
            println!("  {times} × {told}");
        }
    }
}
