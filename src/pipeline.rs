//! The stages, in the order in which a request meets them: admit (may it enter, and as what?), quota
//! (may its instance ask?), cache (is the answer here already?), forward; its answer then meets
//! quota again, and compress. A stage never names another stage; their order stands here, and what
//! two of them must agree on (`plan`, `authority`, `path`, `coding`, `console`) stands beside them.

pub mod plan;
pub mod authority;
pub mod path;
pub mod coding;
pub mod console;
pub mod admit;
pub mod quota;
pub mod preflight;
pub mod cache;
pub mod forward;
pub mod compress;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use self::admit::rate::Rates;
use self::admit::route::RouteTable;
use self::cache::Cache;
use self::cache::entry::Source;
use self::cache::generation::Origin;
use self::coding::load::Load;
use self::forward::Target;
use self::forward::retry::budget::Retries;
use self::plan::{Action, CachePlan, ForwardPlan, RespondPlan, RoutePlan};
use self::quota::{Hearing, Met, Quotas};
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::exchange::Exchange;
use crate::message::name::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use crate::message::{Request, Response};
use crate::telemetry::metrics::Metrics;
use crate::upstream::cluster::Cluster;

/// As how many hosts of one route an application is asked for ahead.
const AHEAD: usize = 16;
/// Where ZITADEL sends those who would sign in to an instance that may ask no more.
const CONSOLE: HeaderValue = HeaderValue::from_static("/ui/console/");

/// One worker's pipeline: the routes, and the clusters that they lead to.
pub struct Pipeline {
    table: RouteTable,
    /// By route; `None` where a route does not forward.
    targets: Vec<Option<Target>>,
    rates: Arc<Rates>,
    /// By route: its number in the metrics.
    ids: Vec<usize>,
    /// By route: as what it is known to the cache; `None` where it keeps nothing.
    sources: Vec<Option<Arc<Source>>>,
    /// Shared by all workers; `None`: no route has one.
    cache: Option<Arc<Cache>>,
    /// Shared by all workers; `None`: no route asks for it.
    quotas: Option<Arc<Quotas>>,
    /// This worker's time for coding.
    load: Rc<Load>,
}

impl Pipeline {
    /// Routes asked in their order; `rates` are theirs, shared by all workers; `cluster` finds a
    /// worker's cluster by name.
    pub fn new(
        routes: &[Arc<RoutePlan>],
        rates: Arc<Rates>,
        metrics: &Metrics,
        cluster: impl Fn(&str) -> Option<Rc<Cluster>>,
    ) -> Self {
        let mut known: HashMap<Arc<str>, Rc<Retries>> = HashMap::new();
        let mut target = |name: &Arc<str>| {
            let retries = Rc::clone(known.entry(Arc::clone(name)).or_default());
            Some(Target { cluster: cluster(name)?, retries })
        };
        let targets = routes
            .iter()
            .map(|route| match &route.action {
                Action::Forward(plan) => target(&plan.cluster),
                Action::Redirect(_) | Action::Respond(_) | Action::Deny => None,
            })
            .collect();
        let ids = routes.iter().map(|route| metrics.route(&route.name).0).collect();
        let sources = routes.iter().map(|route| source(route)).collect();
        let load = Rc::new(Load::new(std::time::Instant::now()));
        let table = RouteTable::new(routes.to_vec());
        Self { table, targets, rates, ids, sources, load, cache: None, quotas: None }
    }

    /// The same, with the cache of all workers.
    pub fn with_cache(self, cache: Option<Arc<Cache>>) -> Self {
        Self { cache, ..self }
    }

    /// Asks ahead for the applications that routes lead to, as the hosts that they know; `https`:
    /// as clients that come over TLS. Whether each is known; `None`: there is none.
    pub async fn tend(&self, https: bool) -> Option<bool> {
        let cache = self.cache.as_ref()?;
        let mut known = None;
        for (index, route) in self.table.routes().enumerate() {
            let Action::Forward(plan) = &route.action else { continue };
            let Some(kept) = plan.cache.as_ref().filter(|kept| kept.app.is_some()) else {
                continue;
            };
            let Some(source) = self.sources.get(index).and_then(Option::as_ref) else { continue };
            let target = self.targets.get(index).and_then(Option::as_ref);
            let next = self.onward(route, target, self.quotas.as_ref());
            let hosts = plan.hosts.iter().filter_map(admit::site::exact).take(AHEAD);
            let origins =
                hosts.map(|host| Origin { host: host.clone(), authority: Some(host), https });
            let one = cache.tend(kept, source, origins, &next).await;
            known = Some(known.unwrap_or(true) && one);
        }
        known
    }

    /// The same, with what all workers know of quotas.
    pub fn with_quotas(self, quotas: Option<Arc<Quotas>>) -> Self {
        Self { quotas, ..self }
    }

    /// The cache, what a route keeps in it, and as what; `None`: nothing.
    fn kept<'a>(
        &'a self,
        index: usize,
        plan: &'a ForwardPlan,
    ) -> Option<(&'a Arc<Cache>, &'a Arc<CachePlan>, &'a Arc<Source>)> {
        let source = self.sources.get(index)?.as_ref()?;
        Some((self.cache.as_ref()?, plan.cache.as_ref()?, source))
    }

    fn onward(
        &self,
        route: &Arc<RoutePlan>,
        target: Option<&Target>,
        quotas: Option<&Arc<Quotas>>,
    ) -> Onward {
        let (route, load) = (Arc::clone(route), Rc::clone(&self.load));
        Onward { route, target: target.cloned(), quotas: quotas.cloned(), load }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// Whatever keeps it from an answer; the caller turns it into one.
    #[expect(clippy::manual_async_fn, reason = "an async fn would hold its arguments twice")]
    pub fn handle<'a>(
        &'a self,
        request: Request<Body>,
        exchange: &'a mut Exchange,
    ) -> impl Future<Output = Result<Response<Body>, Error>> + 'a {
        async move {
            let admitted = admit::admit(&self.table, &request, exchange)?;
            let (index, route) = match admitted {
                admit::Admitted::Elsewhere(location) => {
                    return Ok(moved(StatusCode::PERMANENT_REDIRECT, location));
                }
                admit::Admitted::Route(index, route) => (index, route),
            };
            exchange.route = Some(Arc::clone(&route.name));
            exchange.route_id = self.ids.get(index).copied();
            self.rates.check(index, request.uri().path(), exchange.client)?;
            match &route.action {
                Action::Forward(plan) => {
                    let preflight = plan.preflight.as_ref();
                    let answer = preflight.and_then(|_| preflight::answer(preflight, &request));
                    if let Some(answer) = answer {
                        return Ok(answer);
                    }
                    let quotas = self.quotas.as_ref().filter(|_| plan.quota.is_some());
                    if let Some(quotas) = quotas
                        && quotas.meet(plan, &request, exchange)? == Met::Console
                    {
                        return Ok(moved(StatusCode::FOUND, CONSOLE));
                    }
                    let target = self.targets.get(index).and_then(Option::as_ref);
                    let compress = plan.compress.as_ref();
                    let asked = compress.and_then(|compress| {
                        Some((compress, compress::Asked::of(exchange.class, &request)?))
                    });
                    let response = if let Some((cache, kept, source)) = self.kept(index, plan)
                        && Cache::concerns(kept, exchange.class, request.uri().path())
                    {
                        let route = &route;
                        let next = move || self.onward(route, target, quotas);
                        cache.handle(kept, source, request, exchange, next).await?
                    } else {
                        let hearing =
                            quotas.and_then(|quotas| quotas.hear(plan, &request, exchange));
                        let path = &route.matcher.path;
                        let answer =
                            forward::forward(plan, path, target, request, exchange).await?;
                        heard(hearing, answer)
                    };
                    Ok(match asked {
                        Some((compress, asked)) => asked.answer(compress, &self.load, response),
                        None => response,
                    })
                }
                Action::Redirect(plan) => {
                    let location = admit::location(plan, &route.matcher.path, &request, exchange)?;
                    Ok(moved(plan.status, location))
                }
                Action::Deny => {
                    preflight::answer(None, &request).ok_or_else(|| Kind::Forbidden.into())
                }
                Action::Respond(plan) => Ok(respond(plan)),
            }
        }
    }
}

/// As what a route is known to the cache.
fn source(route: &RoutePlan) -> Option<Arc<Source>> {
    let Action::Forward(plan) = &route.action else { return None };
    plan.cache.as_ref()?;
    Some(Arc::new(Source { route: Arc::clone(&route.name), print: route.print() }))
}

/// The way to upstream, for the cache.
#[derive(Clone)]
struct Onward {
    route: Arc<RoutePlan>,
    target: Option<Target>,
    quotas: Option<Arc<Quotas>>,
    load: Rc<Load>,
}

impl cache::Next for Onward {
    async fn send(
        &self,
        request: Request<Body>,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Error> {
        let Action::Forward(plan) = &self.route.action else { return Err(Kind::Internal.into()) };
        let path = &self.route.matcher.path;
        let quotas = self.quotas.as_ref();
        let hearing = quotas.and_then(|quotas| quotas.hear(plan, &request, exchange));
        let target = self.target.as_ref();
        let answer = forward::forward(plan, path, target, request, exchange).await?;
        Ok(heard(hearing, answer))
    }

    fn load(&self) -> Rc<Load> {
        Rc::clone(&self.load)
    }
}

fn respond(plan: &RespondPlan) -> Response<Body> {
    let mut response = Response::new(Body::from(plan.body.clone()));
    *response.status_mut() = plan.status;
    // A HEAD is told the size too (RFC 9110 §9.3.2), which HTTP/2 does not add by itself.
    if ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&plan.status) {
        response.headers_mut().insert(CONTENT_LENGTH, plan.body.len().into());
    }
    response.headers_mut().insert(CONTENT_TYPE, plan.content_type.clone());
    // As Ravelin's own errors: what is missing now may be there the next time.
    if plan.status.is_client_error() || plan.status.is_server_error() {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

fn heard(hearing: Option<Box<Hearing>>, answer: Response<Body>) -> Response<Body> {
    match hearing {
        Some(hearing) => hearing.answer(answer),
        None => answer,
    }
}

fn moved(status: StatusCode, location: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response.headers_mut().insert(LOCATION, location);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
