//! A second endpoint for a read that takes long, asked beside the first.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Outcome, Tries, interims};
use crate::body::replay::Replay;
use crate::error::Kind;
use crate::exchange::Exchange;
use crate::pipeline::forward::leaving::Leaving;
use crate::pipeline::forward::retry::{peek, reads};
use crate::pipeline::plan::RetryPolicy;
use crate::upstream::attempt::Attempt;
use crate::upstream::cluster::send;
use crate::upstream::endpoint::Endpoint;

impl Tries<'_> {
    /// Whether a second endpoint may be asked beside the first: for reads, at the first attempt.
    pub(super) fn may_hedge(&self, exchange: &Exchange) -> bool {
        let Leaving { plan, method, path, .. } = self.leaving;
        plan.retry.policy == RetryPolicy::Reads
            && self.asked.is_empty()
            && self.target.cluster.endpoints().len() > 1
            && reads::is_read(exchange.class, method, path.path(), &plan.retry)
    }

    /// Waits for the first endpoint alone for a while, then also for a second: the first answer of a
    /// server that is there counts, and the other exchange is dropped, which resets its stream. The
    /// third is who came to nothing while the other was waited for.
    pub(super) async fn hedged(
        &self,
        endpoint: Rc<Endpoint>,
        first: impl Future<Output = Outcome>,
        after: Duration,
        replay: Option<&Replay>,
        exchange: &mut Exchange,
    ) -> (Rc<Endpoint>, Outcome, Option<(Rc<Endpoint>, Kind)>) {
        let mut first = pin!(first);
        if let Ok(outcome) = tokio::time::timeout(after, first.as_mut()).await {
            return (endpoint, outcome, None);
        }
        let Some(attempt) = self.other(&endpoint, replay, exchange) else {
            return (endpoint, first.await, None);
        };
        let other = Rc::clone(attempt.endpoint());
        let Ok((head, body)) = self.ready(&other, replay, exchange) else {
            return (endpoint, first.await, None);
        };
        other.hedged();
        exchange.attempts += 1;
        let interim = interims(&other, exchange);
        let mut second = pin!(send(attempt, &head, body, interim.as_ref()));
        let (is_first, early) = tokio::select! {
            biased;
            outcome = first.as_mut() => (true, outcome),
            outcome = second.as_mut() => (false, outcome),
        };
        let (won, lost) = if is_first { (endpoint, other) } else { (other, endpoint) };
        let Some(cause) = self.away(&early, exchange) else {
            exchange.endpoint = Some(Arc::clone(&won.plan.name));
            return (won, early, None);
        };
        let late = if is_first { second.await } else { first.await };
        // An answer that is there is better than none.
        let (won, outcome, vain) = match (early, late) {
            (Ok(early), Err(late)) => (won, Ok(early), (lost, late.kind())),
            (_, late) => (lost, late, (won, cause)),
        };
        exchange.endpoint = Some(Arc::clone(&won.plan.name));
        (won, outcome, Some(vain))
    }

    /// What it is that an attempt came to, if it came to nothing.
    fn away(&self, outcome: &Outcome, exchange: &Exchange) -> Option<Kind> {
        match outcome {
            Err(error) => Some(error.kind()),
            Ok(response) => {
                (self.peek(response, exchange) != peek::Head::Answer).then_some(Kind::Gateway)
            }
        }
    }

    /// The endpoint for a hedge, where the budget has one and the request can be sent whole.
    fn other(
        &self,
        first: &Rc<Endpoint>,
        replay: Option<&Replay>,
        exchange: &Exchange,
    ) -> Option<Attempt> {
        if !replay.is_none_or(Replay::is_whole) {
            return None;
        }
        let other = self.choose(std::slice::from_ref(first), exchange.class).ok()?;
        let another = !Rc::ptr_eq(first, other.endpoint());
        (another && self.target.retries.spend(Instant::now())).then_some(other)
    }
}
