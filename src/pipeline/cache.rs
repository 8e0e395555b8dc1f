//! The shared cache (RFC 9111): answers from memory what may be, asks upstream once for what many
//! want, and keeps what may be kept.
//!
//! What may be is decided in files without a wait in them: `never` (what is never kept), `policy`
//! (keep it? for how long?), `reuse` (use it now?), `vary`, `conditional`, `range`. Around them:
//! `store` keeps, `flight` and `fill` share what is on its way, `fetch` asks upstream, `variants`
//! codes behind the clients' backs. `generation` knows which build of an application is served, `warm`
//! asks for its files before clients do.
//!
//! One for all workers. A hit takes no lock of ours and waits for nobody.

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
pub mod never;
pub mod policy;
pub mod range;
pub mod reuse;
pub mod shield;
mod spare;
pub mod status;
pub mod store;
pub mod variants;
pub mod vary;
mod wait;
mod warm;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, Request, Response, StatusCode};

use self::answer::{Client, Made};
use self::ask::{Ask, Found, address, applied, applies, client, moment};
use self::directives::Asked;
use self::entry::{Entry, Head, Source};
use self::fetch::Fetch;
use self::flight::{Flights, Lead, Phase, Role};
use self::generation::{Generations, Piece, Which};
use self::reuse::Reuse;
use self::shield::Shield;
use self::status::Told;
use self::store::{Key, Purge, Store};
use self::variants::Variants;
use self::wait::{News, Waiter};
use super::coding::load::Load;
use super::coding::shelf::Shelf;
use super::path::decode::{Sight, sight};
use super::plan::{CachePlan, StorePlan};
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::exchange::{CacheUse, Class, Exchange};

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
    /// Those of `next`.
    pub async fn handle(
        self: &Arc<Self>,
        plan: &Arc<CachePlan>,
        source: &Arc<Source>,
        request: Request<Body>,
        exchange: &mut Exchange,
        next: &impl Next,
    ) -> Result<Response<Body>, Error> {
        let is_get = *request.method() == Method::GET;
        if is_get && plan.shield && shield::concerns(sight(request.uri().path())?.path()) {
            return self.shielded(request, exchange, next).await;
        }
        let page = match plan.app.is_some() && is_get {
            true => Some(self.asked(plan, source, &request, exchange)?),
            false => None,
        };
        let mut response = self.serve(plan, source, request, exchange, next).await?;
        if let Some(ask) = page.filter(|ask| ask.app == Some(Piece::Page)) {
            self.learn(&ask, exchange, &mut response, next);
        }
        Ok(response)
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

    async fn serve(
        self: &Arc<Self>,
        plan: &Arc<CachePlan>,
        source: &Arc<Source>,
        request: Request<Body>,
        exchange: &mut Exchange,
        next: &impl Next,
    ) -> Result<Response<Body>, Error> {
        let method = request.method();
        if *method != Method::GET && *method != Method::HEAD {
            return self.unsafe_or_other(plan, request, exchange, next).await;
        }
        let ask = self.asked(plan, source, &request, exchange)?;
        exchange.elsewhere = ask.app == Some(Piece::Hashed);
        let (path, says) = (&ask.path, &ask.says);
        let empty = http_body::Body::is_end_stream(request.body());
        let why = never::request(plan, path, request.headers());
        let why = why.or_else(|| (!empty).then_some("body"));
        if let Some(why) = why.or_else(|| says.no_store.then_some("no-store")) {
            let verdict = match why {
                "authorization" => CacheUse::Authorization,
                "cookie" => CacheUse::Cookie,
                "no-store" => CacheUse::Wanted,
                _ => CacheUse::Never,
            };
            return pass(verdict, Some(why), request, exchange, next).await;
        }
        self.answer(ask, request, exchange, next).await
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

    /// How what is kept may be used, else why not: too old by what was said, or perhaps of another
    /// generation of its application than the one that is served.
    fn judge(&self, ask: &Ask, head: &Head, now: Instant, waited: bool) -> Result<Reuse, CacheUse> {
        let mutable = matches!(ask.app, Some(Piece::Page | Piece::Plain));
        if mutable && self.generations.app(&ask.source.route).outdates(head.since, now) {
            return Err(CacheUse::Expired);
        }
        match reuse::reuse(&ask.says, &head.life, head.age(now)) {
            Reuse::Wanted if !waited => Err(CacheUse::Wanted),
            Reuse::Ask | Reuse::Wanted => Err(CacheUse::Expired),
            usable => Ok(usable),
        }
    }

    /// What is kept for a request, else why there is nothing.
    fn find(&self, ask: &Ask, headers: &HeaderMap) -> (Option<Found>, CacheUse) {
        let key = Key::Address(ask.address.as_str().into());
        let Some(entries) = self.store.entries(&key) else { return (None, CacheUse::Miss) };
        let entry = entries.iter().find(|entry| applies(&entry.head, ask, headers));
        let Some(entry) = entry else { return (None, CacheUse::VaryMiss) };
        match self.whole(entry) {
            Some(found) => (Some(found), CacheUse::Expired),
            None => (None, CacheUse::Miss),
        }
    }

    /// What the route kept before it was configured anew, of a file that never changes.
    fn former(&self, ask: &Ask, headers: &HeaderMap) -> Option<Found> {
        if ask.app != Some(Piece::Hashed) {
            return None;
        }
        let entries = self.store.entries(&Key::Address(ask.address.as_str().into()))?;
        self.whole(entries.iter().find(|entry| applied(&entry.head, ask, headers))?)
    }

    fn whole(&self, entry: &Arc<Entry>) -> Option<Found> {
        let content = self.store.content(&entry.body)?;
        Some(Found { entry: Arc::clone(entry), content })
    }

    /// Answers from what is kept.
    fn hit(
        self: &Arc<Self>,
        ask: &Ask,
        usable: Reuse,
        found: &Found,
        request: Request<Body>,
        exchange: &mut Exchange,
        next: &impl Next,
    ) -> Response<Body> {
        let verdict = match usable {
            Reuse::Stale => CacheUse::Stale,
            Reuse::Revalidating => CacheUse::Revalidating,
            Reuse::Fresh | Reuse::Ask | Reuse::Wanted => CacheUse::Hit,
        };
        let client = client(&request);
        if usable == Reuse::Revalidating {
            fetch::behind(self, ask, found, request, exchange, next);
        }
        if found.entry.head.codable {
            self.variants.want(&found.content);
        }
        self.kept(&client, found, verdict, Told::default(), exchange)
    }

    /// The answer from what is kept, with what is told of it.
    fn kept(
        &self,
        client: &Client,
        found: &Found,
        verdict: CacheUse,
        told: Told,
        exchange: &mut Exchange,
    ) -> Response<Body> {
        let now = moment(exchange, verdict != CacheUse::Hit);
        let head = &found.entry.head;
        let Made { mut response, saved } = answer::kept(client, &found.entry, &found.content, now);
        let ttl = status::ttl(head.life.fresh, head.age(now));
        status::tell(response.headers_mut(), verdict, Told { ttl, ..told });
        exchange.cache = Some(verdict);
        exchange.cache_saved = saved;
        response
    }

    /// What is kept in the place of a failure, where that is allowed.
    fn instead(
        &self,
        ask: &Ask,
        client: &Client,
        found: Option<&Found>,
        failed: Option<StatusCode>,
        exchange: &mut Exchange,
    ) -> Option<Response<Body>> {
        let found = found?;
        let head = &found.entry.head;
        let age = head.age(Instant::now());
        if !reuse::despite_error(&ask.says, &head.life, age, ask.plan.stale_if_error) {
            return None;
        }
        let fwd_status = failed.map(|status| status.as_u16());
        let told = Told { fwd_status, detail: Some("stale-if-error"), ..Told::default() };
        Some(self.kept(client, found, CacheUse::Error, told, exchange))
    }

    /// The answer that another asked for, if it is for this request too.
    fn share(
        &self,
        ask: &Ask,
        client: &Client,
        phase: Phase,
        load: &Load,
        exchange: &mut Exchange,
    ) -> Option<Response<Body>> {
        let told = Told::default();
        match phase {
            Phase::Filling(fill) if applies(&fill.head, ask, &client.headers) => {
                let mut response = answer::filling(client, &fill, load.level(), Instant::now());
                status::tell(response.headers_mut(), CacheUse::Collapsed, told);
                exchange.cache = Some(CacheUse::Collapsed);
                Some(response)
            }
            Phase::Kept(entry, content) if applies(&entry.head, ask, &client.headers) => {
                let found = Found { entry, content };
                Some(self.kept(client, &found, CacheUse::Collapsed, told, exchange))
            }
            _ => None,
        }
    }

    /// ZITADEL's keys and discovery: always upstream's own answer, but when it fails.
    async fn shielded(
        &self,
        request: Request<Body>,
        exchange: &mut Exchange,
        next: &impl Next,
    ) -> Result<Response<Body>, Error> {
        let Some(name) = Shield::name(&address(&request, exchange), request.headers()) else {
            return pass(CacheUse::Authorization, Some("authorization"), request, exchange, next)
                .await;
        };
        let result = pass(CacheUse::Never, Some("shield"), request, exchange, next).await;
        let failed = match &result {
            Ok(response) => reuse::is_failure(response.status()),
            Err(error) => fetch::of_everybody(error.kind()).is_some(),
        };
        if !failed {
            return result.map(|response| self.shield.copy(name, response, Instant::now()));
        }
        let Some(mut response) = self.shield.instead(&name, Instant::now()) else { return result };
        let fwd_status = result.ok().map(|response| response.status().as_u16());
        let told = Told { fwd_status, detail: Some("shield"), ..Told::default() };
        status::tell(response.headers_mut(), CacheUse::Error, told);
        exchange.cache = Some(CacheUse::Error);
        Ok(response)
    }

    /// Every other method goes upstream; one that is not safe may make what is kept untrue
    /// (RFC 9111 §4.4).
    async fn unsafe_or_other(
        &self,
        plan: &CachePlan,
        request: Request<Body>,
        exchange: &mut Exchange,
        next: &impl Next,
    ) -> Result<Response<Body>, Error> {
        let path = sight(request.uri().path())?;
        let writes = !request.method().is_safe() && plan.is_written(path.path());
        let address = address(&request, exchange);
        let response = pass(CacheUse::Method, None, request, exchange, next).await?;
        if writes && response.status().as_u16() < 400 {
            let headers = response.headers();
            let named = [LOCATION, CONTENT_LOCATION]
                .into_iter()
                .filter_map(|name| fetch::resolved(&address, headers.get(name)?.to_str().ok()?));
            for address in named.chain([address.clone()]) {
                self.store.forget(&Key::Address(address.into()));
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
    response.headers_mut().insert(http::header::CONTENT_LENGTH, 0.into());
    response
}

#[cfg(test)]
mod tests;
