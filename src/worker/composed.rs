//! Which pipeline answers: the one of the plan in force, made of what the last one leaves whole.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::Live;
use crate::body::Body;
use crate::downstream::exchange::Service;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::message::{Request, Response};
use crate::pipeline::Pipeline;
use crate::telemetry::Telemetry;
use crate::upstream::cluster::Cluster;
use crate::upstream::roster::Members;

/// The pipeline of the plan that is in force. A new plan is for the next request; what is under way
/// ends with the one it began with.
pub(super) struct Composed {
    current: RefCell<Current>,
}

struct Current {
    clusters: Vec<Rc<Cluster>>,
    pipeline: Rc<Pipeline>,
    /// Clients come over TLS, to Ravelin or to a proxy in front.
    https: bool,
}

impl Composed {
    pub(super) fn new(live: &Live, telemetry: &Rc<Telemetry>) -> Self {
        Self { current: RefCell::new(Current::new(live, &[], telemetry)) }
    }

    /// Asks ahead for applications, by the plan in force; `None`: there are none.
    pub(super) async fn tend(&self) -> Option<bool> {
        let (pipeline, https) = {
            let current = self.current.borrow();
            (Rc::clone(&current.pipeline), current.https)
        };
        pipeline.tend(https).await
    }

    /// Takes up another plan. Clusters that are the same stay; those that have changed keep what
    /// connections they can.
    pub(super) fn follow(&self, live: &Live, telemetry: &Rc<Telemetry>) {
        let next = Current::new(live, &self.current.borrow().clusters, telemetry);
        self.current.replace(next);
    }
}

impl Current {
    fn new(live: &Live, known: &[Rc<Cluster>], telemetry: &Rc<Telemetry>) -> Self {
        let cluster = |members: &Arc<Members>| {
            let before = known.iter().find(|known| known.name == members.plan.name);
            match before {
                Some(before) if before.is_of(members) => Rc::clone(before),
                _ => Cluster::renewed(members, telemetry, before.map(|before| &**before)),
            }
        };
        let clusters: Vec<_> = live.clusters.iter().map(cluster).collect();
        let by_name = |name: &str| clusters.iter().find(|known| &*known.name == name).cloned();
        let rates = Arc::clone(&live.rates);
        let pipeline = Pipeline::new(&live.plan.routes, rates, &telemetry.metrics, by_name);
        let pipeline = pipeline.with_cache(live.cache.clone()).with_quotas(live.quotas.clone());
        let pipeline = Rc::new(pipeline);
        let https = live.plan.listeners.iter().any(|listener| {
            listener.tls.is_some()
                || !listener.trusted_proxies.is_empty()
                || !listener.proxy_protocol.is_empty()
        });
        Self { clusters, pipeline, https }
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
