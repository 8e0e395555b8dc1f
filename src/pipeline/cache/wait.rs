//! A request that waits for what another asks: for how long, and how many failures of upstream it
//! sits through before it is told of one.

use tokio::sync::watch;
use tokio::time::Instant;

use super::flight::{PATIENCE, Phase, news};

/// After so many failures those who wait are told of the last one: otherwise all of them would ask a
/// server at once that fails already.
const FAILURES: usize = 2;

/// A request that waits, perhaps for one after the other.
#[derive(Debug, Default)]
pub(super) struct Waiter {
    until: Option<Instant>,
    failures: usize,
}

/// What became of waiting.
pub(super) enum News {
    /// This.
    Told(Phase),
    /// Nothing: look once more, or be the next to ask.
    Again,
    /// Nothing for so long that it asks for itself.
    Alone,
}

impl Waiter {
    /// Whether it has waited at all.
    pub(super) const fn has_waited(&self) -> bool {
        self.until.is_some()
    }

    /// Whether it has sat through as many failures as it will.
    pub(super) const fn gives_up(&self) -> bool {
        self.failures >= FAILURES
    }

    /// Waits. However many it waits for, it does so for [`PATIENCE`] in all.
    pub(super) async fn news(&mut self, mut waiting: watch::Receiver<Phase>) -> News {
        let until = *self.until.get_or_insert_with(|| Instant::now() + PATIENCE);
        match news(&mut waiting, until).await {
            None => News::Alone,
            Some(Phase::Gone) => News::Again,
            Some(phase) => {
                self.failures += usize::from(matches!(phase, Phase::Failed(_)));
                News::Told(phase)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[tokio::test(start_paused = true)]
    async fn it_sits_through_one_failure_and_its_patience_is_for_all_together() {
        let mut waiter = Waiter::default();
        let flight = watch::Sender::new(Phase::Failed(Kind::Connect));
        for gives_up in [false, true] {
            let told = waiter.news(flight.subscribe()).await;
            assert!(matches!(told, News::Told(Phase::Failed(Kind::Connect))));
            assert_eq!(waiter.gives_up(), gives_up);
        }
        let asking = watch::Sender::new(Phase::Asking);
        let began = Instant::now();
        let half = tokio::time::timeout(PATIENCE / 2, waiter.news(asking.subscribe())).await;
        assert!(half.is_err(), "it still waits");
        drop(flight);
        assert!(matches!(waiter.news(asking.subscribe()).await, News::Alone));
        assert_eq!(began.elapsed(), PATIENCE);
    }
}
