//! A named set of endpoints, and whose turn it is.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};

use super::endpoint::Endpoint;
use super::plan::ClusterPlan;
use super::transport::Tls;
use super::{Answer, http1, http2};
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::exchange::Interim;
use crate::telemetry::Telemetry;

/// One worker's view of a cluster.
pub struct Cluster {
    /// Its name.
    pub name: Arc<str>,
    endpoints: Vec<Rc<Endpoint>>,
    next: Cell<usize>,
}

impl Cluster {
    /// A cluster without connections. `tls` has one entry per endpoint.
    pub fn new(plan: &ClusterPlan, tls: &[Option<Tls>], telemetry: &Telemetry) -> Rc<Self> {
        let endpoints = plan
            .endpoints
            .iter()
            .enumerate()
            .map(|(i, endpoint)| {
                Endpoint::new(endpoint.clone(), plan, tls.get(i).cloned().flatten(), telemetry)
            })
            .collect();
        Rc::new(Self { name: Arc::clone(&plan.name), endpoints, next: Cell::new(0) })
    }

    /// Its endpoints.
    pub fn endpoints(&self) -> &[Rc<Endpoint>] {
        &self.endpoints
    }

    /// The next endpoint by turn that is not backing off and not in `tried`; when all are, the
    /// next by turn, since asking is the only way to learn that it is back.
    pub fn pick(&self, tried: &[Rc<Endpoint>]) -> Result<Rc<Endpoint>, Error> {
        let n = self.endpoints.len();
        let start = self.next.get();
        self.next.set(start.wrapping_add(1));
        let by_turn = || (0..n).filter_map(|i| self.endpoints.get(start.wrapping_add(i) % n));
        let untried =
            |endpoint: &&Rc<Endpoint>| !tried.iter().any(|tried| Rc::ptr_eq(tried, endpoint));
        by_turn()
            .find(|endpoint| untried(endpoint) && !endpoint.backing_off())
            .or_else(|| by_turn().find(untried))
            .or_else(|| by_turn().next())
            .cloned()
            .ok_or_else(|| Error::new(Kind::NoEndpoint))
    }
}

/// Sends one request to one endpoint in the protocol that it speaks.
pub async fn send(
    endpoint: &Rc<Endpoint>,
    head: Request<()>,
    body: Body,
    interim: Option<&Interim>,
) -> Result<Response<Answer>, Error> {
    let _carried = endpoint.carry();
    if endpoint.plan.protocol.is_h2() {
        let lease = endpoint.lease_h2().await?;
        http2::send(lease, head, body, interim).await
    } else {
        // Boxed: the larger of the two ways, and the rarer.
        Box::pin(send_h1(endpoint, head, body, interim)).await
    }
}

/// Sends one request over HTTP/1.1, whatever the endpoint's protocol: WebSockets need its upgrade,
/// and servers that speak HTTP/2 on a port speak HTTP/1.1 there too.
pub async fn send_h1(
    endpoint: &Rc<Endpoint>,
    head: Request<()>,
    body: Body,
    interim: Option<&Interim>,
) -> Result<Response<Answer>, Error> {
    let lease = endpoint.lease_h1().await?;
    http1::send(lease, head, body, interim).await
}
