//! One request at one endpoint: counted there while it lasts, and how it went is told.

use std::rc::Rc;

use tokio::time::Instant;

use super::Answer;
use super::cluster::Ask;
use super::endpoint::Endpoint;
use super::queue::Place;
use super::state::Need;
use crate::error::Error;
use crate::message::Response;

/// An exchange at an endpoint, from the choice until the answer's head. Dropped before that, it was
/// given up: by its caller, or by a clock.
#[must_use = "the exchange counts as in flight until this is dropped"]
pub struct Attempt {
    endpoint: Rc<Endpoint>,
    /// Goes on with the answer.
    carried: Option<Carried>,
    need: Need,
    deadline: Option<Instant>,
    /// Measured only where there is a choice.
    begun: Option<Instant>,
    /// Milliseconds that the other endpoint needs that could have been chosen; 0: not known.
    other: f32,
}

/// An exchange counts as in flight at its endpoint until this is dropped.
pub struct Carried {
    endpoint: Rc<Endpoint>,
    place: Option<Place>,
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.endpoint.burden().less();
    }
}

impl Attempt {
    /// An exchange begins at `endpoint`, `begun` where it matters how long its head takes.
    pub(super) fn begin(
        endpoint: &Rc<Endpoint>,
        ask: &Ask<'_>,
        begun: Option<Instant>,
        other: f32,
    ) -> Self {
        endpoint.burden().more();
        let carried = Some(Carried { endpoint: Rc::clone(endpoint), place: None });
        Self {
            endpoint: Rc::clone(endpoint),
            carried,
            need: ask.need,
            deadline: ask.deadline,
            begun,
            other,
        }
    }

    /// Where.
    pub const fn endpoint(&self) -> &Rc<Endpoint> {
        &self.endpoint
    }

    /// Waits for a place, where the endpoint's are counted.
    pub(super) async fn enter(&mut self) -> Result<(), Error> {
        // What it waits here is not the endpoint's latency, nor is giving up a word on it.
        let begun = self.begun.take();
        let place = self.endpoint.queue().enter(self.need, self.deadline).await?;
        self.begun = begun.map(|begun| if place.is_some() { Instant::now() } else { begun });
        if let Some(carried) = &mut self.carried {
            carried.place = place;
        }
        Ok(())
    }

    /// How it goes is no word for or against the endpoint.
    pub fn says_nothing(&mut self) {
        self.begun = None;
    }

    /// Tells the endpoint how it went; the exchange goes on to count there until the answer ends.
    pub(super) fn settle(
        mut self,
        outcome: Result<Response<Answer>, Error>,
    ) -> Result<Response<Answer>, Error> {
        let heard = outcome.as_ref().map(Response::status).map_err(Error::kind);
        match self.begun.take() {
            Some(begun) => self.endpoint.heard(self.need, heard, begun, self.other),
            None if heard.is_err() => self.endpoint.state().doubt(),
            None => {}
        }
        let carried = self.carried.take();
        outcome.map(|response| response.map(|answer| answer.carried(carried)))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Given up before its head was there: it would have taken at least so long.
        if let Some(begun) = self.begun {
            self.endpoint.gave_up(begun);
        }
    }
}
