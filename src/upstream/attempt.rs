//! One request at one endpoint: counted there while it lasts, and how it went is told.

use std::rc::Rc;

use http::Response;
use tokio::time::Instant;

use super::Answer;
use super::endpoint::Endpoint;
use super::state::Need;
use crate::error::Error;

/// An exchange at an endpoint, from the choice until the answer's head. Dropped before that, it was
/// given up: by its caller, or by a clock.
#[must_use = "the exchange counts as in flight until this is dropped"]
pub struct Attempt {
    carried: Carried,
    need: Need,
    /// Measured only where there is a choice.
    begun: Option<Instant>,
}

/// An exchange counts as in flight at its endpoint until this is dropped.
pub struct Carried {
    endpoint: Rc<Endpoint>,
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.endpoint.burden().less();
    }
}

impl Attempt {
    /// An exchange begins at `endpoint`. `measured`: how long its head takes matters.
    pub(super) fn begin(endpoint: &Rc<Endpoint>, need: Need, measured: bool) -> Self {
        endpoint.burden().more();
        Self {
            carried: Carried { endpoint: Rc::clone(endpoint) },
            need,
            begun: measured.then(Instant::now),
        }
    }

    /// Where.
    pub const fn endpoint(&self) -> &Rc<Endpoint> {
        &self.carried.endpoint
    }

    /// Tells the endpoint how it went; the exchange goes on to count there until the answer ends.
    pub(super) fn settle(
        mut self,
        outcome: Result<Response<Answer>, Error>,
    ) -> Result<Response<Answer>, Error> {
        let took = self.begun.take().map(|begun| begun.elapsed());
        let heard = outcome.as_ref().map(Response::status).map_err(Error::kind);
        self.carried.endpoint.heard(self.need, heard, took);
        outcome.map(|response| response.map(|answer| answer.carried(self.carried)))
    }
}
