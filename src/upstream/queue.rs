//! Whose turn it is at an endpoint that carries as much as it may.
//!
//! Places and the line before them are of all workers ([`places`](super::places)), first come first
//! served. The line is bounded, and who cannot be served before its deadline is told so at once rather
//! than when it is too late. When the endpoint goes down or is drained, all who wait there leave: they
//! were never sent, so they go elsewhere like anybody who could not connect.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::places::{Entry, Told};
use super::state::{Burden, EndpointState, Need};
use crate::error::{Error, Kind};

/// One worker's way to the places of one endpoint.
pub struct Queue {
    /// Exchanges that an endpoint carries at once; `None`: as many as its connections do.
    cap: Option<u32>,
    state: Arc<EndpointState>,
    burden: Arc<Burden>,
}

/// A place at an endpoint, until this is dropped.
pub struct Place(Arc<EndpointState>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places().leave();
    }
}

/// Counts as waiting until this is dropped.
pub struct Waiting<'a>(&'a Burden);

impl<'a> Waiting<'a> {
    /// One more waits.
    pub fn new(burden: &'a Burden) -> Self {
        burden.wait();
        Self(burden)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.wait_no_more();
    }
}

/// Stands in the line until this is dropped.
struct Ticket<'a> {
    state: &'a Arc<EndpointState>,
    number: u64,
    told: oneshot::Receiver<Told>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.state.places().give_up(self.number);
        // Told in the moment in which it gave up: the place is the next one's.
        if let Ok(Told::Come) = self.told.try_recv() {
            self.state.places().leave();
        }
    }
}

impl Queue {
    /// Nobody waits.
    pub fn new(cap: Option<u32>, state: &Arc<EndpointState>, burden: &Arc<Burden>) -> Rc<Self> {
        Rc::new(Self { cap, state: Arc::clone(state), burden: Arc::clone(burden) })
    }

    /// Whether whoever comes now would have to wait.
    pub fn is_taken(&self) -> bool {
        self.cap.is_some_and(|cap| self.state.places().taken() >= cap)
    }

    /// A place, now or when it is one's turn; none where places are not counted.
    ///
    /// # Errors
    /// [`Kind::UpstreamFull`] where `deadline` would pass before, [`Kind::NoEndpoint`] where the endpoint
    /// has gone before.
    pub async fn enter(
        &self,
        need: Need,
        deadline: Option<Instant>,
    ) -> Result<Option<Place>, Error> {
        let Some(cap) = self.cap else { return Ok(None) };
        let (number, told) = match self.state.places().enter(cap, need, deadline) {
            Entry::Taken => return Ok(Some(Place(Arc::clone(&self.state)))),
            Entry::Wait(number, told) => (number, told),
            Entry::Late => {
                self.state.count_shed();
                return Err(Error::with(
                    Kind::UpstreamFull,
                    "its deadline would pass in the queue",
                ));
            }
        };
        let _waiting = Waiting::new(&self.burden);
        let mut ticket = Ticket { state: &self.state, number, told };
        // Looked at once it stands in the line: else nobody would tell it of what was just before.
        if self.state.takes(need) && (&mut ticket.told).await == Ok(Told::Come) {
            return Ok(Some(Place(Arc::clone(&self.state))));
        }
        Err(Error::with(Kind::NoEndpoint, "the endpoint went away while it waited for its turn"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::state::Health;
    use super::*;

    fn worker(state: &Arc<EndpointState>) -> Rc<Queue> {
        Queue::new(Some(1), state, &state.burden())
    }

    fn queue() -> Rc<Queue> {
        worker(&EndpointState::new("c".into(), "e".into()))
    }

    async fn enter(queue: &Queue, deadline: Option<Instant>) -> Result<Option<Place>, Kind> {
        queue.enter(Need::Rpc, deadline).await.map_err(|error| error.kind())
    }

    #[tokio::test(start_paused = true)]
    async fn places_go_to_those_who_came_first_and_given_up_turns_are_not_lost() {
        let queue = queue();
        let place = enter(&queue, None).await.unwrap();
        let gone = tokio::time::timeout(Duration::from_secs(1), enter(&queue, None)).await;
        assert!(gone.is_err() && queue.burden.waiting() == 0, "who gives up no longer waits");
        let order = std::cell::RefCell::new(Vec::new());
        let one = async |name: &'static str| {
            let place = enter(&queue, None).await.unwrap();
            order.borrow_mut().push(name);
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(place);
        };
        let free = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(place);
        };
        tokio::join!(one("first"), one("second"), one("third"), free);
        assert_eq!(*order.borrow(), ["first", "second", "third"]);
        assert_eq!(queue.state.places().taken(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_with_much_to_do_does_not_keep_another_one_waiting() {
        let busy = queue();
        let other = worker(&busy.state);
        let place = enter(&busy, None).await.unwrap();
        let began = Instant::now();
        let hold = async |queue: &Queue| {
            let place = enter(queue, None).await.unwrap();
            let waited = began.elapsed();
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(place);
            waited
        };
        let free = async { drop(place) };
        let all = tokio::join!(hold(&busy), hold(&other), hold(&busy), hold(&busy), free);
        assert_eq!(all.1, Duration::from_secs(1), "it came second");
        assert_eq!(all.3, Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_at_an_endpoint_that_goes_leaves_and_who_has_a_place_stays() {
        for drained in [false, true] {
            let queue = queue();
            let place = enter(&queue, None).await.unwrap();
            let goes = async {
                tokio::task::yield_now().await;
                assert_eq!(queue.burden.waiting(), 1);
                if drained {
                    queue.state.set_draining(true);
                } else {
                    queue.state.set_health(Need::Rpc, Health::Down, Some("412"));
                }
            };
            let entering = tokio::time::timeout(Duration::from_secs(60), enter(&queue, None));
            let (left, ()) = tokio::join!(entering, goes);
            let left = left.expect("nobody waits there for ever");
            assert_eq!(left.err(), Some(Kind::NoEndpoint), "drained: {drained}");
            // Who comes in the same moment is not forgotten either.
            assert_eq!(enter(&queue, None).await.err(), Some(Kind::NoEndpoint));
            assert_eq!((queue.burden.waiting(), queue.state.places().taken()), (0, 1));
            drop(place);
            assert_eq!(queue.state.places().taken(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_be_served_before_its_deadline_is_told_at_once() {
        let queue = queue();
        let one = async |deadline: Option<Instant>| {
            let place = enter(&queue, deadline).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(place);
            Ok::<_, Kind>(())
        };
        let began = Instant::now();
        let late = async {
            // Two have left by now: the pace is known, and two more are ahead.
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            let soon = Instant::now() + Duration::from_millis(1_500);
            let asked = Instant::now();
            assert_eq!(one(Some(soon)).await, Err(Kind::UpstreamFull));
            assert_eq!(asked.elapsed(), Duration::ZERO);
            one(Some(began + Duration::from_secs(60))).await
        };
        let done = tokio::join!(one(None), one(None), one(None), one(None), one(None), late);
        assert_eq!(done.5, Ok(()));
        assert_eq!(queue.state.shed(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_from_before_everybody_had_gone_refuses_nobody() {
        let queue = queue();
        let slow = async || {
            let place = enter(&queue, None).await.unwrap();
            tokio::time::sleep(Duration::from_secs(30)).await;
            drop(place);
        };
        tokio::join!(slow(), slow(), slow(), slow());
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let place = enter(&queue, None).await.unwrap();
        let free = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(place);
        };
        let soon = Instant::now() + Duration::from_secs(1);
        let (entered, ()) = tokio::join!(enter(&queue, Some(soon)), free);
        assert!(entered.is_ok(), "it was refused for what was an hour ago");
        assert_eq!(queue.state.shed(), 0);
    }
}
