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
    /// When it was chosen; only where there is a choice, and until it is sent.
    chosen: Option<Instant>,
    /// When it was sent: what never was says nothing of its endpoint.
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
    /// An exchange begins at `endpoint`, `chosen` where it matters how long its head takes.
    pub(super) fn begin(
        endpoint: &Rc<Endpoint>,
        ask: &Ask<'_>,
        chosen: Option<Instant>,
        other: f32,
    ) -> Self {
        endpoint.burden().more();
        let carried = Some(Carried { endpoint: Rc::clone(endpoint), place: None });
        Self {
            endpoint: Rc::clone(endpoint),
            carried,
            need: ask.need,
            deadline: ask.deadline,
            chosen,
            begun: None,
            other,
        }
    }

    /// Where.
    pub const fn endpoint(&self) -> &Rc<Endpoint> {
        &self.endpoint
    }

    /// Waits for a place, where the endpoint's are counted; then it is sent.
    pub(super) async fn enter(&mut self) -> Result<(), Error> {
        // What it waits here is not the endpoint's latency, nor is giving up a word on it.
        let place = self.endpoint.queue().enter(self.need, self.deadline).await?;
        let counted = place.is_some();
        self.begun = self.chosen.map(|chosen| if counted { Instant::now() } else { chosen });
        if let Some(carried) = &mut self.carried {
            carried.place = place;
        }
        Ok(())
    }

    /// How it goes is no word for or against the endpoint.
    pub(super) fn says_nothing(&mut self) {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use super::*;
    use crate::telemetry::Telemetry;
    use crate::telemetry::access::AccessWriter;
    use crate::telemetry::metrics::Metrics;
    use crate::telemetry::plan::{AccessPlan, Format, Output};
    use crate::upstream::plan::{Address, Caps, ClusterPlan, EndpointPlan, Protocol, TlsPlan};
    use crate::upstream::roster::{Member, Roster};

    fn endpoint() -> Rc<Endpoint> {
        let long = Duration::from_secs(60);
        let address = Address::Tcp { host: "a".into(), port: 1 };
        let plan = EndpointPlan { name: "a".into(), protocol: Protocol::H2c, address };
        let cluster = ClusterPlan {
            name: "c".into(),
            endpoints: vec![plan.clone()],
            tls: TlsPlan::default(),
            connect_timeout: long,
            idle: long,
            max_age: long,
            keepalive: long,
            health: None,
            hash: None,
            resolver: None,
            caps: Caps::default(),
        };
        let state = Roster::default().state(&cluster.name, &plan.name);
        let off = AccessPlan { format: Format::Off, output: Output::Stdout };
        let log = AccessWriter::spawn(&off, Arc::new(AtomicU64::new(0))).unwrap().log();
        let telemetry = Telemetry::prepare(&Metrics::new(), log)();
        Endpoint::new(Member { plan, tls: None, weight: 1, state }, &cluster, &telemetry)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_never_sent_says_nothing_of_how_long_the_endpoint_takes() {
        for sent in [false, true] {
            let endpoint = endpoint();
            let now = Some(Instant::now());
            let mut attempt = Attempt::begin(&endpoint, &Ask::first(Need::Rpc), now, 0.0);
            if sent {
                attempt.enter().await.unwrap();
            }
            tokio::time::advance(Duration::from_millis(3)).await;
            drop(attempt);
            let seen = endpoint.latency().seen(Instant::now());
            assert_eq!(seen > 0.0, sent, "{seen} ms");
        }
    }
}
