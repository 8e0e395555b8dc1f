//! Asks upstream on behalf of everybody who wants the same: with the validators of what is kept, and
//! without what is about this one client. Decides what becomes of the answer.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderValue, Method, StatusCode};

use super::answer::{self, Client};
use super::ask::{self, Ask, Found};
use super::drive::{Along, Drive, SMALL};
use super::entry::{Entry, Head};
use super::fill::Fill;
use super::flight::{Lead, Role};
use super::freshen::freshened;
use super::generation::{self, Piece};
use super::status::{self, Told};
use super::store::Reserved;
use super::{Cache, Next, date, policy, reuse};
use crate::body::{Body, Frames};
use crate::error::{Error, Kind, Origin};
use crate::exchange::{CacheUse, Exchange};
use crate::message::name::{
    ACCEPT_ENCODING, AGE, CONTENT_LENGTH, COOKIE, DATE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TRANSFER_ENCODING,
};
use crate::message::{Fields, Request, Response};
use crate::pipeline::coding::load::Load;

/// How many answers one worker asks for anew behind its clients' backs at a time.
const BEHIND: usize = 32;

thread_local! {
    static ASKING: Cell<usize> = const { Cell::new(0) };
}

/// One question to upstream.
pub(super) struct Fetch<'a> {
    pub(super) cache: &'a Arc<Cache>,
    pub(super) ask: Ask,
    pub(super) client: Client,
    pub(super) stale: Option<Found>,
    /// What the route kept as it was configured before, of a file that never changes.
    pub(super) former: Option<Found>,
    pub(super) lead: Lead,
}

/// What frameworks take for another host, path or method than those asked for. They are not in the
/// key, so one client could put what it likes before all others (cache poisoning).
const UNKEYED: [&str; 9] = [
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
];

impl Fetch<'_> {
    /// Asks, keeps what may be kept, and answers the one who asked.
    pub(super) async fn run(
        mut self,
        verdict: CacheUse,
        request: Request<Body>,
        exchange: &mut Exchange,
        next: &impl Next,
    ) -> Result<Response<Body>, Error> {
        exchange.cache = Some(verdict);
        let asked_at = Instant::now();
        let request = self.prepared(request);
        let result = next.send(request, exchange).await;
        if let Some(response) = self.despite(&result, exchange) {
            return Ok(response);
        }
        let response = result?;
        let came = (asked_at, date::of(SystemTime::now()));
        if response.status() == StatusCode::NOT_MODIFIED
            && let Some(found) = self.stale.clone()
        {
            return Ok(self.confirmed(&found, response.headers(), came, exchange));
        }
        self.take(verdict, response, came, exchange, &next.load()).await
    }

    /// The request as everybody would ask it.
    fn prepared(&self, mut request: Request<Body>) -> Request<Body> {
        let headers = request.headers_mut();
        for name in
            [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_MATCH, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE]
        {
            headers.remove(name);
        }
        // Ravelin codes what it keeps, and what does not depend on cookies needs none.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.remove(COOKIE);
        for name in UNKEYED {
            headers.remove(name);
        }
        if let Some(found) = &self.stale {
            let head = &found.entry.head;
            if let Some(tag) = &head.tag {
                headers.insert(IF_NONE_MATCH, tag.clone());
            }
            if let Some(modified) = head.modified {
                headers.insert(IF_MODIFIED_SINCE, date::value(modified));
            }
        }
        request
    }

    /// What is kept in the place of a failure, where that is allowed. Those who wait are told of the
    /// failure: they may be served the same way, and need not all ask.
    fn despite(
        &mut self,
        result: &Result<Response<Body>, Error>,
        exchange: &mut Exchange,
    ) -> Option<Response<Body>> {
        let status = result.as_ref().ok().map(Response::status);
        let kind = match result {
            Ok(response) if !reuse::is_failure(response.status()) => return None,
            Ok(_) => Some(Kind::Failing),
            Err(error) => of_everybody(error.kind()),
        };
        let found = self.stale.as_ref();
        let response = self.cache.instead(&self.ask, &self.client, found, status, exchange);
        if let Some(kind) = kind.filter(|_| response.is_some() || result.is_err()) {
            self.let_go().failed(kind);
        }
        response
    }

    /// The lead, so that this goes on for its own client alone.
    fn let_go(&mut self) -> Lead {
        std::mem::replace(&mut self.lead, Lead::alone())
    }

    /// How long it lives: for ever where it never changes, also when it was asked for again.
    fn lasting(
        &self,
        status: StatusCode,
        headers: &mut Fields,
        life: (policy::Life, Duration),
    ) -> (policy::Life, Duration) {
        match self.ask.app == Some(Piece::Hashed) {
            true => generation::lasting(status, headers, life),
            false => life,
        }
    }

    /// 304: what is kept lives on (RFC 9111 §4.3.4).
    fn confirmed(
        self,
        found: &Found,
        news: &Fields,
        came: (Instant, date::Seconds),
        exchange: &mut Exchange,
    ) -> Response<Body> {
        let old = &found.entry.head;
        let mut headers = freshened(old.headers(), news);
        let ask = &self.ask;
        let (life, mut age) = match policy::keep(&ask.plan, &ask.path, old.status, &headers, came.1)
        {
            Ok(life) => life,
            // It may be used this once, for who asked; upstream says that nobody else may have it.
            Err(why) => {
                self.cache.store.forget(&ask.address);
                let told = Told { fwd_status: Some(304), detail: Some(why), ..Told::default() };
                let use_once = CacheUse::Revalidated;
                let response = self.cache.kept(&self.client, found, use_once, told, exchange);
                self.lead.pass();
                return response;
            }
        };
        // An age that was kept is of the old answer.
        if !news.contains_key(AGE) && !news.contains_key(DATE) {
            age = Duration::ZERO;
        }
        let (life, age) = self.lasting(old.status, &mut headers, (life, age));
        let source = &self.ask.source;
        let head = Head::new(source, &self.client.headers, old.status, headers, (life, age), came);
        let entry = Arc::new(Entry::new(self.cache.store.shared(head), &found.content));
        self.cache.store.put(&self.ask.address, Arc::clone(&entry));
        let found = Found { entry, content: Arc::clone(&found.content) };
        let told = Told { fwd_status: Some(304), stored: true, ..Told::default() };
        let response = self.cache.kept(&self.client, &found, CacheUse::Revalidated, told, exchange);
        self.lead.kept(&found.entry, &found.content);
        response
    }

    /// Any other answer: kept if it may be, else the client's alone.
    async fn take(
        self,
        verdict: CacheUse,
        response: Response<Body>,
        came: (Instant, date::Seconds),
        exchange: &mut Exchange,
        load: &Rc<Load>,
    ) -> Result<Response<Body>, Error> {
        let (status, headers) = (response.status(), response.headers());
        let ask = &self.ask;
        let hashed = ask.app == Some(Piece::Hashed);
        if hashed && status.is_client_error() {
            return Ok(self.missing(verdict, response, exchange));
        }
        let length = length(headers, response.body());
        let room = policy::keep(&ask.plan, &ask.path, status, headers, came.1).and_then(|life| {
            let store = &self.cache.store;
            let room = store.reserve(length.unwrap_or(0)).ok_or("too-large")?;
            Ok((life, room))
        });
        match room {
            Err(why) => Ok(self.let_pass(verdict, why, response)),
            Ok((life, room)) => {
                let (mut parts, body) = response.into_parts();
                let life = self.lasting(status, &mut parts.headers, life);
                let client = &self.client.headers;
                let head = Head::new(&ask.source, client, status, parts.headers, life, came);
                let head = Arc::new(self.cache.store.shared(head));
                let fill = Fill::new(head, length);
                let room = Arc::new(room);
                fill.hold(Arc::clone(&room));
                self.fill(verdict, fill, body, room, exchange, load).await
            }
        }
    }

    /// A file that never changes, which upstream lacks: of the generation before, or another replica
    /// may have it. What is kept of it by a route that has been configured anew since is as good.
    fn missing(
        self,
        verdict: CacheUse,
        response: Response<Body>,
        exchange: &mut Exchange,
    ) -> Response<Body> {
        let gone = matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::GONE);
        let Some(former) = self.former.as_ref().filter(|_| gone) else {
            return self.let_pass(verdict, "status", response);
        };
        let fwd_status = Some(response.status().as_u16());
        let told = Told { fwd_status, detail: Some("former"), ..Told::default() };
        let response = self.cache.kept(&self.client, former, CacheUse::Error, told, exchange);
        // Those who wait find it the same way, all at once.
        self.lead.pass();
        response
    }

    fn let_pass(
        self,
        verdict: CacheUse,
        why: &'static str,
        mut response: Response<Body>,
    ) -> Response<Body> {
        let status = response.status();
        if status.as_u16() < 500 && self.ask.app != Some(Piece::Hashed) {
            self.cache.store.pass(&self.ask.address);
        }
        if status.is_success() && self.stale.is_some() {
            // Upstream has said something newer, which may not be kept.
            self.cache.store.forget(&self.ask.address);
        }
        status::tell(
            response.headers_mut(),
            verdict,
            Told { detail: Some(why), ..Told::default() },
        );
        match reuse::is_failure(status) {
            true => self.lead.failed(Kind::Failing),
            false => self.lead.pass(),
        }
        response
    }

    /// Lets the body in, and reads along.
    async fn fill(
        mut self,
        verdict: CacheUse,
        fill: Arc<Fill>,
        body: Body,
        room: Arc<Reserved>,
        exchange: &mut Exchange,
        load: &Rc<Load>,
    ) -> Result<Response<Body>, Error> {
        let life = &fill.head.life;
        if life.fresh <= fill.head.first_age || life.no_cache {
            // Kept for its validator alone: each of those who wait must ask for itself (RFC 9111 §4).
            self.let_go().pass();
        }
        let told = Told { stored: true, ..Told::default() };
        let small = fill.length.is_some_and(|length| length <= SMALL);
        let known = fill.length.is_some();
        if known && !small {
            self.lead.filling(&fill);
        }
        // Before anything comes, so that the coding that is wanted here is made along.
        let mut response = answer::filling(&self.client, &fill, load.level(), Instant::now());
        let past = Rc::default();
        let drive = Drive {
            cache: Arc::clone(self.cache),
            address: self.ask.address,
            fill,
            body,
            lead: self.lead,
            room,
            past: Rc::clone(&past),
            load: Rc::clone(load),
        };
        if small {
            let (entry, content) = drive.run().await.ok_or(Kind::Incomplete)?;
            let found = Found { entry, content };
            return Ok(self.cache.kept(&self.client, &found, verdict, told, exchange));
        }
        tokio::task::spawn_local(drive.run());
        status::tell(response.headers_mut(), verdict, told);
        if known {
            return Ok(response);
        }
        Ok(response.map(|body| Body::boxed(Along::new(body, past))))
    }
}

/// Asks anew for what has just been served stale, unless somebody does already.
pub(super) fn behind(
    cache: &Arc<Cache>,
    ask: &Ask,
    found: &Found,
    request: Request<Body>,
    exchange: &Exchange,
    next: &impl Next,
) {
    if ASKING.get() >= BEHIND || *request.method() != Method::GET {
        return;
    }
    let Role::Lead(lead) = cache.flights.join(&ask.address) else { return };
    let mut own = Exchange::new(Rc::clone(&exchange.connection));
    own.client = exchange.client;
    own.forwarded.clone_from(&exchange.forwarded);
    own.authority.clone_from(&exchange.authority);
    own.class = exchange.class;
    own.request_id.clone_from(&exchange.request_id);
    let client = ask::client(&request);
    let (cache, ask, stale) = (Arc::clone(cache), ask.clone(), Some(found.clone()));
    let next = next.clone();
    let one = Asking::new();
    tokio::task::spawn_local(async move {
        let fetch = Fetch { cache: &cache, ask, client, stale, former: None, lead };
        // Whatever is kept of it is kept; the client has its answer.
        let _ = fetch.run(CacheUse::Revalidating, request, &mut own, &next).await;
        drop(one);
    });
}

/// One question behind a client's back.
struct Asking;

impl Asking {
    fn new() -> Self {
        ASKING.set(ASKING.get() + 1);
        Self
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        ASKING.set(ASKING.get().saturating_sub(1));
    }
}

/// A failure that everybody who asks would have, not this client alone.
pub(super) fn of_everybody(kind: Kind) -> Option<Kind> {
    let own = matches!(kind, Kind::Deadline | Kind::TotalTimeout | Kind::IdleTimeout);
    (kind.origin() == Origin::Upstream && !own).then_some(kind)
}

/// The length of a body as it is sent; `None`: not known before its end.
fn length(headers: &Fields, body: &Body) -> Option<u64> {
    if Frames::is_end_stream(body) {
        return Some(0);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
