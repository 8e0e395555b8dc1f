//! Generations of a single-page application: which one is served, what it loads first, which came
//! before it, and what of the cache an upgrade makes untrue. No wait in here; `warm` asks.
//!
//! A file whose name holds its hash is true for ever: it is kept past its upstream's word, until its
//! generation has been gone for as long as configured. Every other file may change with an upgrade,
//! though ZITADEL lets caches keep it for a week (zitadel.md §3.1): it is asked for anew then.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::{HeaderValue, StatusCode};
use tokio::sync::Semaphore;

use super::content::Hash;
use super::policy::Life;
use crate::message::Fields;
use crate::message::name::{CACHE_CONTROL, CONTENT_TYPE, EXPIRES};
use crate::pipeline::console::{self, Kind, Reference};
use crate::pipeline::plan::{CachePlan, StorePlan};

/// How long a rollout may mix replicas: what was fetched within it after a change is asked for once
/// more at its end.
const SETTLE: Duration = Duration::from_secs(300);
/// How long a hashed file is fresh.
const FOREVER: Duration = Duration::from_secs(31_536_000);
/// How many earlier generations are remembered.
const PAST: usize = 16;
/// For how many origins of one application files are asked for ahead.
const ORIGINS: usize = 256;
/// How many files are asked for ahead at a time, over all applications.
const PARALLEL: usize = 4;

/// What a path of an application is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Its index, or a route of it.
    Page,
    /// A file that never changes.
    Hashed,
    /// A file that may change with an upgrade.
    Plain,
}

/// What `path` (decoded) is; `None`: of no application.
pub fn piece(store: &StorePlan, plan: &CachePlan, path: &str) -> Option<Piece> {
    store.generations?;
    plan.in_app(path).then(|| match path {
        path if console::is_hashed(path) => Piece::Hashed,
        path if console::is_page(path) => Piece::Page,
        _ => Piece::Plain,
    })
}

/// Lets the answer for a hashed file live for ever, here and in browsers. One that is a page is none:
/// servers that answer everything with the index do so for files that are gone.
pub fn lasting(
    status: StatusCode,
    headers: &mut Fields,
    (life, age): (Life, Duration),
) -> (Life, Duration) {
    let page = headers.get(CONTENT_TYPE).is_some_and(is_html);
    if status != StatusCode::OK || page || life.no_cache {
        return (life, age);
    }
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(CACHE_CONTROL, forever);
    headers.remove(EXPIRES);
    headers.remove("cdn-cache-control");
    (Life { fresh: FOREVER, strict: false, shared: false, ..life }, Duration::ZERO)
}

pub(super) fn is_html(kind: &HeaderValue) -> bool {
    kind.as_bytes().get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html"))
}

/// Whether what came at `since` may be of another generation than the one that was first seen at
/// `changed`.
pub fn outdated(changed: Instant, since: Instant, now: Instant) -> bool {
    let settled = changed + SETTLE;
    since < changed || (now >= settled && since < settled)
}

/// The fields `Link` that tell a browser of the first screen's files (RFC 8288). A module is a
/// `modulepreload`: as `preload` it would be loaded twice.
fn links(first: &[Reference]) -> Box<[HeaderValue]> {
    let link = |one: &Reference| {
        let what = match one.kind {
            Kind::Module => "rel=modulepreload",
            Kind::Script => "rel=preload; as=script",
            Kind::Style => "rel=preload; as=style",
            Kind::Font | Kind::Other => return None,
        };
        let plain = !one.path.contains(['<', '>', ' ']);
        plain.then(|| HeaderValue::try_from(format!("<{}>; {what}", one.path)).ok())?
    };
    first.iter().filter_map(link).collect()
}

/// Which generations are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All but the one that is served.
    Earlier,
    /// The one that [`id`] calls so.
    One(String),
}

/// What a generation is called: the beginning of the hash of its index.
pub fn id(index: &Hash) -> String {
    index.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Whom an application is asked as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The authority that is asked for.
    pub host: HeaderValue,
    /// The one that upstream sees, where the route knows its hosts.
    pub authority: Option<HeaderValue>,
    /// Its scheme.
    pub https: bool,
}

/// The applications, by route.
pub struct Generations {
    apps: ArcSwap<HashMap<Arc<str>, Arc<App>>>,
    /// Leave to ask for a file ahead.
    pub(super) room: Semaphore,
}

impl Default for Generations {
    fn default() -> Self {
        Self { apps: ArcSwap::default(), room: Semaphore::new(PARALLEL) }
    }
}

impl Generations {
    /// The application of a route, which is new where it was not known.
    pub fn app(&self, route: &Arc<str>) -> Arc<App> {
        if let Some(app) = self.apps.load().get(route) {
            return Arc::clone(app);
        }
        self.apps.rcu(|apps| {
            let mut apps = HashMap::clone(apps);
            apps.entry(Arc::clone(route)).or_default();
            apps
        });
        self.apps.load().get(route).cloned().unwrap_or_default()
    }

    /// Every application.
    pub fn all(&self) -> Vec<Arc<App>> {
        self.apps.load().values().cloned().collect()
    }
}

/// The application of one route.
#[derive(Default)]
pub struct App {
    now: ArcSwap<Now>,
    ledger: Mutex<Ledger>,
}

/// The generation that is served.
#[derive(Default)]
pub struct Now {
    /// The hash of its index; `None`: no index was seen yet.
    pub index: Option<Hash>,
    /// When it took the place of another.
    changed: Option<Instant>,
    /// What browsers are told of it.
    pub links: Box<[HeaderValue]>,
}

#[derive(Default)]
struct Ledger {
    /// Who has got what this generation names.
    greeted: Vec<Origin>,
    /// Whom the index is asked as.
    asked_as: Option<Origin>,
    /// The hashed files of this generation.
    files: HashSet<String>,
    past: Vec<Past>,
}

struct Past {
    index: Hash,
    files: HashSet<String>,
    until: Instant,
}

impl App {
    /// The generation that is served.
    pub fn now(&self) -> Arc<Now> {
        self.now.load_full()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what came at `since` has to be asked for anew.
    pub fn outdates(&self, since: Instant, now: Instant) -> bool {
        self.now.load().changed.is_some_and(|changed| outdated(changed, since, now))
    }

    /// An index was seen: if it is another than the last, a new generation begins.
    pub fn meet(&self, plan: &StorePlan, index: &Hash, html: &str, at: &str, now: Instant) {
        let Some(keep) = plan.generations.filter(|_| self.now.load().index != Some(*index)) else {
            return;
        };
        let generation = id(index);
        tracing::info!(generation, at, "an application is served in a generation that is new here");
        let mut ledger = self.ledger();
        let before = self.now.load();
        if before.index == Some(*index) {
            return;
        }
        let files = std::mem::take(&mut ledger.files);
        if let Some(index) = before.index {
            ledger.past.push(Past { index, files, until: now + keep });
        }
        if ledger.past.len() > PAST {
            ledger.past.remove(0);
        }
        ledger.greeted.clear();
        let first = if plan.early_hints { console::first_screen(html, at) } else { Vec::new() };
        let changed = before.index.map(|_| now);
        self.now.store(Arc::new(Now { index: Some(*index), changed, links: links(&first) }));
    }

    /// Whether an origin is to get what this generation names; once for each.
    pub fn greet(&self, origin: &Origin) -> bool {
        let mut ledger = self.ledger();
        if ledger.greeted.len() >= ORIGINS || ledger.greeted.contains(origin) {
            return false;
        }
        ledger.greeted.push(origin.clone());
        ledger.asked_as.get_or_insert_with(|| origin.clone());
        true
    }

    /// Whom the index is asked as; `None`: nobody has asked yet.
    pub fn asked_as(&self) -> Option<Origin> {
        self.ledger().asked_as.clone()
    }

    /// A hashed file belongs to the generation with this index.
    pub fn has(&self, index: &Hash, path: &str) {
        let mut ledger = self.ledger();
        if self.now.load().index == Some(*index) {
            ledger.files.insert(path.to_owned());
        }
    }

    /// The files of earlier generations, so that they are not what was used least recently.
    pub fn earlier(&self) -> Vec<String> {
        self.ledger().past.iter().flat_map(|past| past.files.iter().cloned()).collect()
    }

    /// The generations that are known, the one that is served first.
    pub fn ids(&self) -> Vec<String> {
        let ledger = self.ledger();
        let served = self.now.load().index;
        let past = ledger.past.iter().rev().map(|past| past.index);
        served.into_iter().chain(past).map(|index| id(&index)).collect()
    }

    /// The hashed files of one generation, or of all earlier ones, that no other has; earlier ones are
    /// no longer known then. `None`: there is no such generation.
    pub fn retire(&self, which: &Which) -> Option<HashSet<String>> {
        let mut ledger = self.ledger();
        let Ledger { files, past, .. } = &mut *ledger;
        let served = self.now.load().index;
        if let Which::One(asked) = which
            && served.is_some_and(|index| id(&index) == *asked)
        {
            let others = |path: &String| past.iter().any(|past| past.files.contains(path));
            return Some(files.iter().filter(|path| !others(path)).cloned().collect());
        }
        let asked = |past: &mut Past| match which {
            Which::Earlier => true,
            Which::One(asked) => id(&past.index) == *asked,
        };
        let gone: Vec<Past> = past.extract_if(.., asked).collect();
        let known = *which == Which::Earlier || !gone.is_empty();
        known.then(|| ledger.without_others(gone))
    }

    /// Files that no generation has any more whose time is not over.
    pub fn lapsed(&self, now: Instant) -> HashSet<String> {
        let mut ledger = self.ledger();
        let over: Vec<Past> = ledger.past.extract_if(.., |past| past.until <= now).collect();
        ledger.without_others(over)
    }
}

impl Ledger {
    /// The files of generations that have gone, but for those that others have too.
    fn without_others(&self, gone: Vec<Past>) -> HashSet<String> {
        let alive = |path: &String| {
            self.files.contains(path) || self.past.iter().any(|past| past.files.contains(path))
        };
        gone.into_iter().flat_map(|past| past.files).filter(|path| !alive(path)).collect()
    }
}

#[cfg(test)]
mod tests;
