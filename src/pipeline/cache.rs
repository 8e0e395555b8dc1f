//! The shared cache (RFC 9111): answers from memory what may be, asks upstream once for what many
//! want, and keeps what may be kept.
//!
//! What may be is decided in files without a wait in them: `never` (what is never kept), `policy`
//! (keep it? for how long?), `reuse` (use it now?), `vary`, `conditional`, `range`. Around them:
//! `store` keeps (with `sites` and `pool`, so that many hosts of one application cost little), `flight`,
//! `wait` and `fill` share what is on its way, `fetch` asks upstream, `variants`
//! codes behind the clients' backs. `generation` knows which build of an application is served, `warm`
//! asks for its files before clients do; `shield` stands in for ZITADEL's keys while it restarts.
//!
//! One for all workers. A hit waits for nobody, but for a moment for who keeps an answer of the same
//! path.

pub mod answer;
mod ask;
pub mod conditional;
pub mod content;
pub mod date;
pub mod directives;
pub mod drive;
pub mod entry;
pub mod fetch;
pub mod fill;
pub mod flight;
pub mod freshen;
pub mod generation;
mod kept;
mod line;
pub mod never;
pub mod policy;
mod pool;
pub mod purge;
pub mod range;
mod reference;
pub mod reuse;
pub mod shield;
pub mod sites;
mod spare;
pub mod status;
pub mod store;
pub mod variants;
pub mod vary;
mod wait;
mod warm;

use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::{Either, ready};
use http::{Method, StatusCode};

use self::answer::Client;
use self::ask::{Ask, address, client, moment};
use self::directives::Asked;
use self::entry::Source;
use self::fetch::Fetch;
use self::flight::{Flights, Lead, Phase, Role};
use self::generation::{Generations, Piece, Which};
use self::purge::Purge;
use self::reuse::Reuse;
use self::shield::Shield;
use self::status::Told;
use self::store::Store;
use self::variants::Variants;
use self::wait::{News, Waiter};
use super::coding::load::Load;
use super::coding::shelf::Shelf;
use super::path::decode::{Sight, sight};
use super::plan::{CachePlan, StorePlan};
use crate::body::{Body, Frames as _};
use crate::error::{Error, Kind};
use crate::exchange::{CacheUse, Class, Exchange};
use crate::message::name::{CONTENT_LENGTH, CONTENT_LOCATION, LOCATION};
use crate::message::{Request, Response};

/// Bytes of variants that a folder holds at most: some hundred Consoles.
const SHELF: u64 = 1 << 30;

/// What stands behind the cache: the way to upstream.
pub trait Next: Clone + 'static {
    /// Asks upstream.
    fn send(
        &self,
        request: Request<Body>,
        exchange: &mut Exchange,
    ) -> impl Future<Output = Result<Response<Body>, Error>>;

    /// The worker's time for coding.
    fn load(&self) -> Rc<Load>;
}

/// The cache of all workers.
pub struct Cache {
    store: Arc<Store>,
    flights: Arc<Flights>,
    variants: Variants,
    generations: Generations,
    shield: Arc<Shield>,
}

impl Cache {
    /// An empty one.
    pub fn new(plan: StorePlan) -> Arc<Self> {
        let shelf = plan.directory.clone().map(|folder| Shelf::new(folder, SHELF));
        let store = Store::new(plan);
        let variants = Variants::new(&store, shelf);
        let generations = Generations::default();
        let (flights, shield) = (Arc::default(), Arc::default());
        Arc::new(Self { store, flights, variants, generations, shield })
    }

    /// What it keeps.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Bodies whose best variants are still to be made.
    pub fn pending(&self) -> u64 {
        self.variants.pending()
    }

    /// Best variants that were made, since the start.
    pub fn made(&self) -> u64 {
        self.variants.made()
    }

    /// Best variants that were read from the folder in which they outlive the process.
    pub fn read(&self) -> u64 {
        self.variants.read()
    }

    /// Forgets; how many answers went.
    pub fn purge(&self, purge: &Purge) -> usize {
        self.store.purge(purge) + self.shield.purge(purge)
    }

    /// Forgets the hashed files of generations, whatever the application; how many answers went.
    ///
    /// # Errors
    /// No application has such a generation: those that there are.
    pub fn retire(&self, which: &Which) -> Result<usize, Vec<String>> {
        let apps = self.generations.all();
        let files: Vec<_> = apps.iter().filter_map(|app| app.retire(which)).collect();
        if files.is_empty() && *which != Which::Earlier {
            return Err(apps.iter().flat_map(|app| app.ids()).collect());
        }
        Ok(self.store.forget_paths(&files.into_iter().flatten().collect()))
    }

    /// Whether a route's cache is about this request at all. RPCs and WebSockets never are.
    pub fn concerns(plan: &CachePlan, class: Class, path: &str) -> bool {
        let page = matches!(class, Class::Page | Class::Asset | Class::Rest);
        let about = |path: &str| plan.covers(path) || (plan.shield && shield::concerns(path));
        page && matches!(sight(path), Ok(Sight::Clear(path)) if about(&path))
    }

    /// Answers a request that [`Cache::concerns`] the route `source`.
    ///
    /// # Errors
    /// Those of what `next` makes.
    pub fn handle<'a, N: Next, F: FnOnce() -> N>(
        self: &'a Arc<Self>,
        plan: &Arc<CachePlan>,
        source: &Arc<Source>,
        mut request: Request<Body>,
        exchange: &'a mut Exchange,
        next: F,
    ) -> impl Future<Output = Result<Response<Body>, Error>> + use<'a, N, F> {
        let ask = match self.asked(plan, source, &request, exchange) {
            Ok(ask) => ask,
            Err(error) => return Either::Left(ready(Err(error))),
        };
        let get = *request.method() == Method::GET;
        let shielded = get && plan.shield && shield::concerns(&ask.path);
        let kept = get || *request.method() == Method::HEAD;
        if kept
            && !shielded
            && let Some(response) = self.at_once(&ask, &mut request, exchange)
        {
            return Either::Left(ready(Ok(response)));
        }
        let next = next();
        // Boxed, so that a hit, and an exchange without a cache, does not carry their state.
        Either::Right(Box::pin(async move {
            match (kept, shielded) {
                (false, _) => self.unsafe_or_other(ask, request, exchange, &next).await,
                (_, true) => self.shielded(ask, request, exchange, &next).await,
                _ => self.serve(ask, request, exchange, &next).await,
            }
        }))
    }

    /// The answer where one is kept that may be used as it is: nearly always, and without a wait. Pages
    /// of applications are looked at more closely.
    fn at_once(
        &self,
        ask: &Ask,
        request: &mut Request<Body>,
        exchange: &mut Exchange,
    ) -> Option<Response<Body>> {
        if ask.app == Some(Piece::Page) || passes_by(ask, request).is_some() {
            return None;
        }
        let found = self.find(ask, request.headers()).0?;
        let usable = self.judge(ask, &found.entry.head, moment(exchange, false), false);
        if usable != Ok(Reuse::Fresh) {
            return None;
        }
        let headers = std::mem::take(request.headers_mut());
        let client = Client { method: request.method().clone(), headers };
        self.improve(&found);
        Some(self.kept(&client, &found, CacheUse::Hit, Told::default(), exchange))
    }

    /// A request as the cache sees it.
    fn asked(
        &self,
        plan: &Arc<CachePlan>,
        source: &Arc<Source>,
        request: &Request<Body>,
        exchange: &Exchange,
    ) -> Result<Ask, Error> {
        let path = sight(request.uri().path())?.path().to_owned();
        let app = generation::piece(self.store.plan(), plan, &path);
        let (says, address) = (Asked::of(request.headers()), address(request, exchange));
        Ok(Ask { plan: Arc::clone(plan), source: Arc::clone(source), path, address, says, app })
    }

    /// Answers from what is kept or by asking, and learns from pages of applications.
    async fn serve(
        self: &Arc<Self>,
        ask: Ask,
        request: Request<Body>,
        exchange: &mut Exchange,
        next: &impl Next,
    ) -> Result<Response<Body>, Error> {
        exchange.elsewhere = ask.app == Some(Piece::Hashed);
        let page = ask.app == Some(Piece::Page) && *request.method() == Method::GET;
        let page = page.then(|| ask.clone());
        let mut response = match passes_by(&ask, &request) {
            Some((verdict, why)) => pass(verdict, Some(why), request, exchange, next).await?,
            None => self.answer(ask, request, exchange, next).await?,
        };
        if let Some(ask) = page {
            self.learn(&ask, exchange, &mut response, next);
        }
        Ok(response)
    }

    async fn answer(
        self: &Arc<Self>,
        ask: Ask,
        request: Request<Body>,
        exchange: &mut Exchange,
        next: &impl Next,
    ) -> Result<Response<Body>, Error> {
        let mut waiter = Waiter::default();
        loop {
            let waited = waiter.has_waited();
            let (found, verdict) = self.find(&ask, request.headers());
            let verdict = match &found {
                None => verdict,
                Some(found) => {
                    match self.judge(&ask, &found.entry.head, moment(exchange, waited), waited) {
                        Ok(usable) => {
                            return Ok(self.hit(&ask, usable, found, request, exchange, next));
                        }
                        Err(verdict) => verdict,
                    }
                }
            };
            if ask.says.only_if_cached {
                exchange.cache = Some(CacheUse::Only);
                return Ok(only_if_cached());
            }
            if *request.method() == Method::HEAD {
                return pass(verdict, None, request, exchange, next).await;
            }
            if self.store.passes(&ask.address) {
                return pass(verdict, Some("pass"), request, exchange, next).await;
            }
            if !waited {
                self.hint(&ask, exchange);
            }
            // Whoever wants it anew may take what is on its way: it is newer than what is kept.
            let client = client(&request);
            let lead = match self.flights.join(&ask.address) {
                Role::Lead(lead) => lead,
                Role::Alone => Lead::alone(),
                Role::Wait(waiting) => match waiter.news(waiting).await {
                    News::Again => continue,
                    News::Alone => Lead::alone(),
                    News::Told(Phase::Failed(kind)) => {
                        let kept = self.instead(&ask, &client, found.as_ref(), None, exchange);
                        match kept {
                            Some(response) => return Ok(response),
                            None if waiter.gives_up() => return Err(failing(kind, exchange)),
                            None => continue,
                        }
                    }
                    News::Told(phase) => {
                        match self.share(&ask, &client, phase, &next.load(), exchange) {
                            Some(response) => return Ok(response),
                            None => Lead::alone(),
                        }
                    }
                },
            };
            let former = if found.is_none() { self.former(&ask, request.headers()) } else { None };
            let fetch = Fetch { cache: self, ask, client, stale: found, former, lead };
            return fetch.run(verdict, request, exchange, next).await;
        }
    }

    /// Every other method goes upstream; one that is not safe may make what is kept untrue
    /// (RFC 9111 §4.4).
    async fn unsafe_or_other(
        &self,
        ask: Ask,
        request: Request<Body>,
        exchange: &mut Exchange,
        next: &impl Next,
    ) -> Result<Response<Body>, Error> {
        let writes = !request.method().is_safe() && ask.plan.is_written(&ask.path);
        let address = &ask.address;
        let response = pass(CacheUse::Method, None, request, exchange, next).await?;
        if writes && response.status().as_u16() < 400 {
            let headers = response.headers();
            let named = [LOCATION, CONTENT_LOCATION]
                .into_iter()
                .filter_map(|name| reference::resolved(address, headers.get(name)?.to_str().ok()?));
            for address in named.chain([address.clone()]) {
                self.store.forget(&address);
            }
        }
        Ok(response)
    }
}

/// What those are told who waited for another, when upstream has failed it.
fn failing(kind: Kind, exchange: &mut Exchange) -> Error {
    exchange.cache = Some(CacheUse::Collapsed);
    Error::with(kind, "upstream failed those who asked for the same before")
}

/// Whether a request may neither be answered from the cache nor fill it, and why.
fn passes_by(ask: &Ask, request: &Request<Body>) -> Option<(CacheUse, &'static str)> {
    let why = never::request(&ask.plan, &ask.path, request.headers());
    let why = why.or_else(|| (!request.body().is_end_stream()).then_some("body"));
    let why = why.or_else(|| ask.says.no_store.then_some("no-store"))?;
    Some((bypass(why), why))
}

/// As what an exchange counts that goes past the cache.
fn bypass(why: &str) -> CacheUse {
    match why {
        "authorization" => CacheUse::Authorization,
        "cookie" => CacheUse::Cookie,
        "no-store" => CacheUse::Wanted,
        _ => CacheUse::Never,
    }
}

/// Goes past the cache.
async fn pass(
    verdict: CacheUse,
    detail: Option<&'static str>,
    request: Request<Body>,
    exchange: &mut Exchange,
    next: &impl Next,
) -> Result<Response<Body>, Error> {
    exchange.cache = Some(verdict);
    let mut response = next.send(request, exchange).await?;
    status::tell(response.headers_mut(), verdict, Told { detail, ..Told::default() });
    Ok(response)
}

/// RFC 9111 §5.2.1.7.
fn only_if_cached() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    let told = Told { detail: Some("only-if-cached"), ..Told::default() };
    status::tell(response.headers_mut(), CacheUse::Only, told);
    response.headers_mut().insert(CONTENT_LENGTH, 0.into());
    response
}

#[cfg(test)]
mod tests;
