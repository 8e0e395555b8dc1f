//! Whose turn it is at an endpoint that carries as much as it may.
//!
//! The cap is counted over all workers, in one shared number that only capped clusters touch; the
//! queue is each worker's own, first come first served. It is bounded, and who cannot be served
//! before its deadline is told so at once rather than when it is too late.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::state::{Burden, EndpointState};
use crate::error::{Error, Kind};

/// How often the first in the queue looks whether another worker has left a place.
const LOOK: Duration = Duration::from_millis(5);
/// How much a new pause between two places weighs in the mean.
const NEW: f32 = 0.2;

/// The queue of one worker at one endpoint.
pub struct Queue {
    /// Exchanges that an endpoint carries at once; `None`: as many as its connections do.
    cap: Option<u32>,
    state: Arc<EndpointState>,
    burden: Arc<Burden>,
    /// Held by the first in the queue; tokio's is fair, which makes it the queue.
    first: Mutex<()>,
    left: Notify,
    pace: Pace,
}

/// A place at an endpoint, until this is dropped.
pub struct Place(Rc<Queue>);

impl Drop for Place {
    fn drop(&mut self) {
        let queue = &self.0;
        queue.state.leave();
        if queue.burden.waiting() > 0 {
            queue.pace.left(Instant::now());
            queue.left.notify_one();
        } else {
            queue.pace.rest();
        }
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

impl Queue {
    /// Nobody waits.
    pub fn new(cap: Option<u32>, state: &Arc<EndpointState>, burden: &Arc<Burden>) -> Rc<Self> {
        Rc::new(Self {
            cap,
            state: Arc::clone(state),
            burden: Arc::clone(burden),
            first: Mutex::new(()),
            left: Notify::new(),
            pace: Pace::default(),
        })
    }

    /// A place, now or when it is one's turn; none where places are not counted.
    ///
    /// # Errors
    /// [`Kind::UpstreamFull`] where `deadline` would pass before.
    pub async fn enter(self: &Rc<Self>, deadline: Option<Instant>) -> Result<Option<Place>, Error> {
        let Some(cap) = self.cap else { return Ok(None) };
        let ahead = self.burden.waiting();
        if ahead == 0 && self.state.occupy(cap) {
            return Ok(Some(Place(Rc::clone(self))));
        }
        // What was measured before everybody had gone says nothing of now.
        let full = |deadline| deadline < Instant::now() + self.pace.wait(ahead + 1);
        if ahead > 0 && deadline.is_some_and(full) {
            self.state.count_shed();
            return Err(Error::with(Kind::UpstreamFull, "its deadline would pass in the queue"));
        }
        let _waiting = Waiting::new(&self.burden);
        let _first = self.first.lock().await;
        while !self.state.occupy(cap) {
            let _ = tokio::time::timeout(LOOK, self.left.notified()).await;
        }
        Ok(Some(Place(Rc::clone(self))))
    }
}

/// How quickly places become free while somebody waits.
#[derive(Debug, Default)]
struct Pace {
    last: Cell<Option<Instant>>,
    /// Seconds between two, on average; 0: not known.
    between: Cell<f32>,
}

impl Pace {
    /// A place has become free.
    fn left(&self, now: Instant) {
        if let Some(last) = self.last.replace(Some(now)) {
            let pause = now.saturating_duration_since(last).as_secs_f32();
            let mean = self.between.get();
            let mean = if mean == 0.0 { pause } else { mean + (pause - mean) * NEW };
            self.between.set(mean);
        }
    }

    /// Nobody waits: the pause until somebody does is not one between two places.
    fn rest(&self) {
        self.last.set(None);
    }

    /// How long the next so many places take.
    fn wait(&self, places: u64) -> Duration {
        Duration::try_from_secs_f32(self.between.get() * places as f32).unwrap_or(Duration::MAX / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(cap: u32) -> Rc<Queue> {
        let state = EndpointState::new("c".into(), "e".into());
        let burden = state.burden();
        Queue::new(Some(cap), &state, &burden)
    }

    #[tokio::test(start_paused = true)]
    async fn places_go_to_those_who_came_first_and_given_up_turns_are_not_lost() {
        let queue = queue(1);
        let place = queue.enter(None).await.unwrap();
        let gone = tokio::time::timeout(Duration::from_secs(1), queue.enter(None)).await;
        assert!(gone.is_err() && queue.burden.waiting() == 0, "who gives up no longer waits");
        let order = std::cell::RefCell::new(Vec::new());
        let one = async |name: &'static str| {
            let place = queue.enter(None).await.unwrap();
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
        assert_eq!(queue.state.in_flight_capped(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_be_served_before_its_deadline_is_told_at_once() {
        let queue = queue(1);
        let one = async |deadline: Option<Instant>| {
            let place = queue.enter(deadline).await.map_err(|error| error.kind())?;
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
        let queue = queue(1);
        let slow = async || {
            let place = queue.enter(None).await.unwrap();
            tokio::time::sleep(Duration::from_secs(30)).await;
            drop(place);
        };
        tokio::join!(slow(), slow(), slow(), slow());
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let place = queue.enter(None).await.unwrap();
        let free = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(place);
        };
        let soon = Instant::now() + Duration::from_secs(1);
        let (entered, ()) = tokio::join!(queue.enter(Some(soon)), free);
        assert!(entered.is_ok(), "it was refused for what was an hour ago");
        assert_eq!(queue.state.shed(), 0);
    }
}
