//! Which pipeline answers: the one of the plan in force, made of what the last one leaves whole.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};

use super::{Live, Reached};
use crate::body::Body;
use crate::downstream::exchange::Service;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::pipeline::Pipeline;
use crate::telemetry::Telemetry;
use crate::upstream::cluster::Cluster;

/// The pipeline of the plan that is in force. A new plan is for the next request; what is under way
/// ends with the one it began with.
pub(super) struct Composed {
    current: RefCell<Current>,
}

struct Current {
    clusters: Vec<Known>,
    pipeline: Rc<Pipeline>,
}

/// A cluster, and what it was made of.
struct Known {
    cluster: Rc<Cluster>,
    reached: Arc<Reached>,
}

impl Composed {
    pub(super) fn new(live: &Live, telemetry: &Telemetry) -> Self {
        Self { current: RefCell::new(Current::new(live, &[], telemetry)) }
    }

    /// Takes up another plan. Clusters that are the same keep their connections and what they know.
    pub(super) fn follow(&self, live: &Live, telemetry: &Telemetry) {
        let next = Current::new(live, &self.current.borrow().clusters, telemetry);
        self.current.replace(next);
    }
}

impl Current {
    fn new(live: &Live, known: &[Known], telemetry: &Telemetry) -> Self {
        let clusters: Vec<_> = live
            .plan
            .clusters
            .iter()
            .zip(&live.clusters)
            .map(|(plan, reached)| {
                let same = known.iter().find(|known| Arc::ptr_eq(&known.reached, reached));
                let cluster = match same {
                    Some(same) => Rc::clone(&same.cluster),
                    None => Cluster::new(plan, &reached.tls, telemetry),
                };
                Known { cluster, reached: Arc::clone(reached) }
            })
            .collect();
        let by_name = |name: &str| {
            let found = clusters.iter().find(|known| &*known.cluster.name == name);
            found.map(|known| Rc::clone(&known.cluster))
        };
        let pipeline = Rc::new(Pipeline::new(
            &live.plan.routes,
            Arc::clone(&live.rates),
            &telemetry.metrics,
            by_name,
        ));
        Self { clusters, pipeline }
    }
}

impl Service for Composed {
    async fn call(
        &self,
        request: Request<Body>,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Error> {
        let pipeline = Rc::clone(&self.current.borrow().pipeline);
        pipeline.handle(request, exchange).await
    }
}
