//! One request upstream for many clients (collapsed forwarding): who asks, and what the others wait
//! for. Across all workers; the map is locked for a look-up, on a miss only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::content::Content;
use super::entry::Entry;
use super::fill::Fill;
use crate::error::Kind;

/// How many may wait for one answer; more ask for themselves.
const WAITERS: usize = 8_192;
/// How long one waits for others' answers before it asks for itself.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How far the one who asks has come.
#[derive(Clone)]
pub enum Phase {
    /// Nothing is known yet; or the answer is to be had when it is whole.
    Asking,
    /// The answer is coming, and may be read as it comes.
    Filling(Arc<Fill>),
    /// It is kept.
    Kept(Arc<Entry>, Arc<Content>),
    /// It is nobody else's.
    Pass,
    /// Upstream failed.
    Failed(Kind),
    /// The one who asked has gone: another may try.
    Gone,
}

/// Who is asking upstream, by address.
#[derive(Default)]
pub struct Flights {
    all: Mutex<HashMap<Arc<str>, watch::Sender<Phase>>>,
}

/// What becomes of a request that nothing kept answers.
pub enum Role {
    /// It asks upstream; others wait for it.
    Lead(Lead),
    /// It waits.
    Wait(watch::Receiver<Phase>),
    /// Too many wait already.
    Alone,
}

impl Flights {
    /// Asks to be the one who asks for `address`.
    pub fn join(self: &Arc<Self>, address: &str) -> Role {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = all.get(address) {
            if flight.receiver_count() >= WAITERS {
                return Role::Alone;
            }
            return Role::Wait(flight.subscribe());
        }
        let address: Arc<str> = address.into();
        let flight = watch::Sender::new(Phase::Asking);
        all.insert(Arc::clone(&address), flight.clone());
        Role::Lead(Lead { flights: Some((Arc::clone(self), address)), flight })
    }

    /// Addresses that are being asked for.
    pub fn len(&self) -> usize {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing is being asked for.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The right to ask for an address, and the duty to tell the others. Dropped without a word, it
/// tells them that nobody asks any more.
pub struct Lead {
    flights: Option<(Arc<Flights>, Arc<str>)>,
    flight: watch::Sender<Phase>,
}

impl Lead {
    /// One for whom nobody waits.
    pub fn alone() -> Self {
        Self { flights: None, flight: watch::Sender::new(Phase::Asking) }
    }

    /// The answer is coming.
    pub fn filling(&self, fill: &Arc<Fill>) {
        self.flight.send_replace(Phase::Filling(Arc::clone(fill)));
    }

    /// It is kept.
    pub fn kept(self, entry: &Arc<Entry>, content: &Arc<Content>) {
        self.end(Phase::Kept(Arc::clone(entry), Arc::clone(content)));
    }

    /// It is nobody else's.
    pub fn pass(self) {
        self.end(Phase::Pass);
    }

    /// Upstream failed.
    pub fn failed(self, kind: Kind) {
        self.end(Phase::Failed(kind));
    }

    fn end(mut self, phase: Phase) {
        self.leave();
        self.flight.send_replace(phase);
    }

    /// Who comes from now on is not told.
    fn leave(&mut self) {
        if let Some((flights, address)) = self.flights.take() {
            flights.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.leave();
        self.flight.send_if_modified(|phase| {
            let open = matches!(phase, Phase::Asking | Phase::Filling(_));
            if open {
                *phase = Phase::Gone;
            }
            open
        });
    }
}

/// Waits until there is something to do, or it is `until`; `None`: it lasted too long.
pub async fn news(waiting: &mut watch::Receiver<Phase>, until: Instant) -> Option<Phase> {
    let told = waiting.wait_for(|phase| !matches!(phase, Phase::Asking));
    match tokio::time::timeout_at(until, told).await {
        Ok(Ok(phase)) => Some(phase.clone()),
        Ok(Err(_)) => Some(Phase::Gone),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(flights: &Arc<Flights>) -> Lead {
        match flights.join("a") {
            Role::Lead(lead) => lead,
            Role::Wait(_) | Role::Alone => panic!("somebody else asks"),
        }
    }

    fn wait(flights: &Arc<Flights>) -> watch::Receiver<Phase> {
        match flights.join("a") {
            Role::Wait(waiting) => waiting,
            Role::Lead(_) | Role::Alone => panic!("nobody asks"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_asks_and_the_others_are_told() {
        let flights = Arc::<Flights>::default();
        let first = lead(&flights);
        let mut waiting = wait(&flights);
        let soon = || Instant::now() + PATIENCE;
        assert!(news(&mut waiting, soon()).await.is_none(), "patience ends");
        drop(first);
        assert!(matches!(news(&mut waiting, soon()).await, Some(Phase::Gone)));
        let second = lead(&flights);
        let mut waiting = wait(&flights);
        second.pass();
        assert!(matches!(news(&mut waiting, soon()).await, Some(Phase::Pass)));
        let third = lead(&flights);
        let mut waiting = wait(&flights);
        third.failed(Kind::Connect);
        let told = news(&mut waiting, soon()).await;
        assert!(matches!(told, Some(Phase::Failed(Kind::Connect))), "once told, it stays told");
        assert!(flights.is_empty());
    }

    #[test]
    fn waiters_are_bounded() {
        let flights = Arc::<Flights>::default();
        let _lead = lead(&flights);
        let waiting: Vec<_> = (0..WAITERS).map(|_| wait(&flights)).collect();
        assert!(matches!(flights.join("a"), Role::Alone));
        drop(waiting);
        assert!(matches!(flights.join("a"), Role::Wait(_)));
    }
}
