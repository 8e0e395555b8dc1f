//! Asks ahead for what an application's index names: at start before any client does, and when
//! another generation appears. Through the cache's own way to upstream, so that a client who asks at
//! the same time waits for the same answer.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, StatusCode};

use super::ask::Ask;
use super::content::{Content, Hash};
use super::entry::{Entry, Source};
use super::generation::{App, Origin, Piece, is_html, piece};
use super::{Cache, Next};
use crate::body::{Body, Frames as _};
use crate::exchange::{Class, Connection, Ending, Exchange, Identity, Protocol};
use crate::message::name::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, HOST, LINK, USER_AGENT};
use crate::message::{Fields, Request, Response};
use crate::pipeline::console::{self, Kind, Reference};
use crate::pipeline::path::decode::{Sight, sight};
use crate::pipeline::plan::CachePlan;

/// The largest index that is read, in bytes.
const INDEX: usize = 256 * 1024;
/// How many files of one generation are asked for ahead.
const FILES: usize = 512;
/// How many of them are under way at a time; over all applications they share a smaller number.
const BATCH: usize = 8;
/// How often what did not come is asked for.
const ROUNDS: u32 = 3;
/// The pause before that.
const PAUSE: Duration = Duration::from_secs(2);

/// Whose application is asked for, and how.
struct Errand<'a, N> {
    cache: &'a Arc<Cache>,
    plan: &'a Arc<CachePlan>,
    source: &'a Arc<Source>,
    origin: &'a Origin,
    next: &'a N,
}

impl Cache {
    /// Looks at the answer to a request for a page of an application: learns a generation that is
    /// new, and tells the browser what it loads.
    pub(super) fn learn(
        self: &Arc<Self>,
        ask: &Ask,
        exchange: &Exchange,
        response: &mut Response<Body>,
        next: &impl Next,
    ) {
        if response.status() != StatusCode::OK {
            return;
        }
        let Some((entry, content)) = self.page(ask) else { return };
        let (app, now) = (self.generations.app(&ask.source.route), Instant::now());
        if app.outdates(entry.head.since, now) {
            return;
        }
        let root = ask.plan.app.as_deref().map(|app| app.trim_end_matches('/'));
        if root == Some(ask.path.trim_end_matches('/'))
            && let Ok(html) = std::str::from_utf8(&content.plain)
        {
            app.meet(self.store.plan(), &entry.body, html, &ask.path, now);
        }
        let current = app.now();
        if current.index != Some(entry.body) {
            return;
        }
        if let Some(origin) = origin(ask, exchange)
            && app.greet(&origin)
        {
            let (cache, ask, next) = (Arc::clone(self), ask.clone(), next.clone());
            tokio::task::spawn_local(async move {
                let Ask { plan, source, path, .. } = &ask;
                let errand = Errand { cache: &cache, plan, source, origin: &origin, next: &next };
                errand.fetch_all(&app, &entry.body, &content, path).await;
            });
        }
        for link in &current.links {
            response.headers_mut().append(LINK, link.clone());
        }
    }

    /// The index that is kept for a request.
    fn page(&self, ask: &Ask) -> Option<(Arc<Entry>, Arc<Content>)> {
        let entries = self.store.entries(&ask.address)?;
        let entry = entries.as_slice().iter().find(|entry| entry.head.source == ask.source)?;
        let page = entry.head.status == StatusCode::OK
            && entry.head.content_type.as_ref().is_some_and(is_html)
            && entry.length <= INDEX as u64;
        Some((Arc::clone(entry), self.store.content(&entry.body).filter(|_| page)?))
    }

    /// Tells a browser what a page loads before upstream has answered for it (RFC 8297). Not over
    /// HTTP/1.1, where there are clients that take it for the answer.
    pub(super) fn hint(&self, ask: &Ask, exchange: &Exchange) {
        let page = ask.app == Some(Piece::Page) && exchange.class == Class::Page;
        let Some(interim) = exchange.interim.as_ref().filter(|_| page) else { return };
        let now = self.generations.app(&ask.source.route).now();
        if exchange.connection.protocol != Protocol::H2 || now.links.is_empty() {
            return;
        }
        let links = now.links.iter().map(|link| (LINK, link.clone()));
        interim(StatusCode::EARLY_HINTS, &links.collect::<Fields>());
    }

    /// Asks for an application's index, as each of `hosts` that has not been seen yet, and as one
    /// of them anew; forgets what is over. Whether the index is known.
    pub async fn tend(
        self: &Arc<Self>,
        plan: &Arc<CachePlan>,
        source: &Arc<Source>,
        hosts: impl Iterator<Item = Origin>,
        next: &impl Next,
    ) -> bool {
        let Some(root) = self.store.plan().generations.and(plan.app.as_deref()) else {
            return true;
        };
        let root =
            format!("{}/", crate::pipeline::path::decode::encoded(root.trim_end_matches('/')));
        let app = self.generations.app(&source.route);
        let lapsed = app.lapsed(Instant::now());
        if !lapsed.is_empty() {
            self.store.forget_paths(&lapsed);
        }
        let known = app.asked_as();
        if let Some(origin) = &known {
            let errand = Errand { cache: self, plan, source, origin, next };
            errand.index(&root, true).await;
            for path in app.earlier() {
                errand.kept(&path);
                tokio::task::coop::consume_budget().await;
            }
        }
        if known.is_none() || app.now().index.is_none() {
            for origin in hosts {
                let errand = Errand { cache: self, plan, source, origin: &origin, next };
                errand.index(&root, false).await;
            }
        }
        app.asked_as().is_some()
    }
}

/// As whom a request was answered.
fn origin(ask: &Ask, exchange: &Exchange) -> Option<Origin> {
    let (scheme, rest) = ask.address.split_once("://")?;
    let host = HeaderValue::from_str(rest.split(['/', '?']).next()?).ok()?;
    Some(Origin { host, authority: exchange.authority.clone(), https: scheme == "https" })
}

impl<N: Next> Errand<'_, N> {
    /// Everything that an index names, and what that names.
    async fn fetch_all(&self, app: &App, index: &Hash, content: &Content, at: &str) {
        let Ok(html) = std::str::from_utf8(&content.plain) else { return };
        let mut seen = HashSet::new();
        let mut waiting: VecDeque<(Reference, u32)> = VecDeque::new();
        let mut room = self.cache.store.plan().memory / 2;
        let mut add = |waiting: &mut VecDeque<(Reference, u32)>, found: Vec<Reference>| {
            for one in found {
                if seen.len() < FILES && self.is_its(&one.path) && seen.insert(one.path.clone()) {
                    waiting.push_back((one, 0));
                }
            }
        };
        add(&mut waiting, console::index(html, at));
        while !waiting.is_empty() && app.now().index == Some(*index) {
            let batch: Vec<_> = waiting.drain(..waiting.len().min(BATCH)).collect();
            if batch.iter().all(|(_, round)| *round > 0) {
                tokio::time::sleep(PAUSE).await;
            }
            let got = join_all(batch.iter().map(|(one, _)| self.file(&one.path))).await;
            for ((one, round), content) in batch.into_iter().zip(got) {
                match content {
                    Some(content) => {
                        if console::is_hashed(&one.path) {
                            app.has(index, &one.path);
                        }
                        room = room.saturating_sub(content.plain.len() as u64);
                        add(&mut waiting, named(one, content.plain.clone()).await);
                    }
                    None if round + 1 < ROUNDS => waiting.push_back((one, round + 1)),
                    None => tracing::debug!(
                        path = one.path,
                        "a file that the index names is not to be had"
                    ),
                }
            }
            if room == 0 {
                tracing::info!(route = %self.source.route, "an application larger than the cache's memory: the rest is not asked for ahead");
                return;
            }
        }
    }

    /// Whether a path is one of the application's files, to be kept.
    fn is_its(&self, path: &str) -> bool {
        let path = path.split('?').next().unwrap_or_default();
        let Ok(Sight::Clear(path)) = sight(path) else { return false };
        let piece = piece(self.cache.store.plan(), self.plan, &path);
        self.plan.covers(&path) && matches!(piece, Some(Piece::Hashed | Piece::Plain))
    }

    /// What is kept of a path.
    fn kept(&self, path: &str) -> Option<Arc<Content>> {
        let scheme = if self.origin.https { "https" } else { "http" };
        let host = self.origin.host.to_str().ok()?;
        let entries = self.cache.store.entries(&format!("{scheme}://{host}{path}"))?;
        let entry = entries.as_slice().iter().find(|entry| entry.head.source == *self.source)?;
        self.cache.store.content(&entry.body)
    }

    /// A file, once it is kept whole.
    async fn file(&self, path: &str) -> Option<Arc<Content>> {
        let _leave = self.cache.generations.room.acquire().await.ok()?;
        let mut request = self.request(path)?;
        // What nearly every browser will ask for: coded along as it comes.
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("br"));
        self.send(request, Class::Asset).await?;
        self.kept(path)
    }

    /// The index; `anew`: as upstream has it now.
    async fn index(&self, path: &str, anew: bool) -> Option<()> {
        let mut request = self.request(path)?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/html"));
        if anew {
            request.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        self.send(request, Class::Page).await
    }

    fn request(&self, path: &str) -> Option<Request<Body>> {
        const AGENT: &str = concat!("Ravelin/", env!("CARGO_PKG_VERSION"));
        let mut request = Request::new(Body::Empty);
        *request.uri_mut() = path.parse().ok()?;
        request.headers_mut().insert(HOST, self.origin.host.clone());
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        Some(request)
    }

    /// To the end of its answer.
    async fn send(&self, request: Request<Body>, class: Class) -> Option<()> {
        let mut exchange = Exchange::new(Rc::new(Connection {
            listener: "ahead".into(),
            client: None,
            protocol: Protocol::H2,
            identity: Identity::new(None, self.origin.https),
            trusted: None,
            redirect_to_https: None,
            tls: None,
            ending: Ending::channel().1,
        }));
        exchange.class = class;
        exchange.authority.clone_from(&self.origin.authority);
        exchange.route = Some(Arc::clone(&self.source.route));
        let ask = self.cache.asked(self.plan, self.source, &request, &exchange).ok()?;
        let page = (class == Class::Page).then(|| ask.clone());
        let sent = self.cache.serve(ask, request, &mut exchange, self.next);
        let mut response = sent.await.ok()?;
        while let Some(frame) = response.body_mut().frame().await {
            frame.ok()?;
        }
        // Once more, where it has come to be kept only now.
        if let Some(ask) = page {
            self.cache.learn(&ask, &exchange, &mut response, self.next);
        }
        Some(())
    }
}

/// What a script or a style names. Read beside the worker: ZITADEL's `main.js` has 9 MB.
async fn named(file: Reference, plain: Bytes) -> Vec<Reference> {
    if !matches!(file.kind, Kind::Script | Kind::Module | Kind::Style) {
        return Vec::new();
    }
    let reading = tokio::task::spawn_blocking(move || {
        let Ok(text) = std::str::from_utf8(&plain) else { return Vec::new() };
        match file.kind {
            Kind::Style => console::style(text, &file.path),
            _ => console::chunks(text, &file.path),
        }
    });
    reading.await.unwrap_or_default()
}
