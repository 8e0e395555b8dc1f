//! What a peer may do that costs us and brings it nothing: a store, and what comes back with time.

use tokio::time::Instant;

/// A store of moves that are ordinary in small numbers and an attack in large ones.
pub(super) struct Budget {
    left: f64,
    most: f64,
    per_second: f64,
    /// Until when time has been paid out.
    paid: Instant,
}

impl Budget {
    /// A full one of `most` moves, into which `per_second` come back.
    pub(super) fn new(most: u32, per_second: u32) -> Self {
        let most = f64::from(most);
        Self { left: most, most, per_second: per_second.into(), paid: Instant::now() }
    }

    /// One move; `false`: there was none left.
    pub(super) fn spend(&mut self) -> bool {
        if self.left < 1.0 {
            // The clock is read only now: what is ordinary never comes here.
            let now = Instant::now();
            let earned = now.saturating_duration_since(self.paid);
            self.paid = now;
            self.gain(earned.as_secs_f64() * self.per_second);
        }
        self.left -= 1.0;
        self.left >= 0.0
    }

    /// Gives some back for something that was of use.
    pub(super) fn earn(&mut self, moves: u32) {
        self.gain(moves.into());
    }

    /// Whether the last move was one too many.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.left < 0.0
    }

    fn gain(&mut self, moves: f64) {
        self.left = (self.left + moves).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn spendable(budget: &mut Budget) -> usize {
        (0..1_000).take_while(|_| budget.spend()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_empties_and_fills_with_time_and_with_work() {
        let mut budget = Budget::new(10, 2);
        assert_eq!(spendable(&mut budget), 10);
        assert!(budget.is_overdrawn());
        // The move that was refused is owed, too.
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(spendable(&mut budget), 3);
        budget.earn(4);
        assert_eq!(spendable(&mut budget), 3);
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!(spendable(&mut budget), 10, "no more than there was at first");
        budget.earn(100);
        assert_eq!(spendable(&mut budget), 10);
    }
}
