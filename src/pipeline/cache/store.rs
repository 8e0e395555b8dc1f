//! Where answers are kept: one map for all workers, weighed by the bytes of everything in it, which
//! forgets what has not been used for longest.
//!
//! Entries stand under their path, and there under scheme and full authority, so that no host is
//! answered with another's; bodies stand under their hash, so that a thousand hosts share one. An entry
//! whose body has been forgotten is a miss. Which entry answers a request is not decided here.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::content::{Content, Hash, Variant};
use super::entry::{Brings, Entry, Field, Head, Shape};
use super::pool::Pool;
use super::purge::Purge;
use super::sites::{Choices, Sites};
use crate::message::name::{CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY_REPORT_ONLY};
use crate::pipeline::plan::StorePlan;

/// How long it is remembered that an address is not worth waiting for.
const PASS: Duration = Duration::from_secs(10);
/// For how many addresses.
const PASSES: u64 = 4_096;
/// What is weighed for a path beside its answers: the map's own and ours.
const PATH: usize = 384;

#[derive(Clone)]
enum Item {
    Sites(Arc<Sites>),
    Content(Arc<Content>),
}

/// The key of a body. Those of paths begin with a slash.
fn body_key(hash: &Hash) -> [u8; 33] {
    let mut key = [0; 33];
    if let Some(rest) = key.get_mut(1..) {
        rest.copy_from_slice(hash);
    }
    key
}

/// An address: scheme with authority, and path with query. `https://a/b` is `https://a` and `/b`.
pub(super) fn split(address: &str) -> (&str, &str) {
    let start = address.find("://").map_or(0, |at| at + 3);
    let path = address.get(start..).and_then(|rest| rest.find(['/', '?']));
    address
        .split_at_checked(path.map_or(address.len(), |path| start + path))
        .unwrap_or((address, ""))
}

/// The store.
pub struct Store {
    items: Cache<Box<[u8]>, Item>,
    passes: Cache<Box<str>, ()>,
    plan: StorePlan,
    /// Bytes of what is on its way in.
    filling: AtomicU64,
    evicted: Arc<AtomicU64>,
    shapes: Pool<Shape>,
    own: Pool<[Field]>,
    sites: Pool<str>,
}

impl Store {
    /// An empty one.
    pub fn new(plan: StorePlan) -> Arc<Self> {
        let evicted = Arc::<AtomicU64>::default();
        let count = Arc::clone(&evicted);
        let items = Cache::<Box<[u8]>, Item>::builder()
            .max_capacity(plan.memory)
            .weigher(|key, item| weight(key, item))
            // Predictable, and a new generation of files is not turned away for the fame of the old.
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build();
        let passes = Cache::builder().max_capacity(PASSES).time_to_live(PASS).build();
        Arc::new(Self {
            items,
            passes,
            plan,
            filling: AtomicU64::new(0),
            evicted,
            shapes: Pool::default(),
            own: Pool::default(),
            sites: Pool::default(),
        })
    }

    /// The answers of an address.
    pub fn entries(&self, address: &str) -> Option<Choices> {
        let (site, path) = split(address);
        match self.items.get(path.as_bytes())? {
            Item::Sites(sites) => sites.get(site),
            Item::Content(_) => None,
        }
    }

    /// A body.
    pub fn content(&self, hash: &Hash) -> Option<Arc<Content>> {
        match self.items.get(&body_key(hash)[..])? {
            Item::Content(content) => Some(content),
            Item::Sites(_) => None,
        }
    }

    /// Keeps an answer, in the place of one of the same route that was chosen by the same fields.
    pub fn put(&self, address: &str, entry: Arc<Entry>) {
        let (site, path) = split(address);
        let (site, _) = self.sites.share(site, site.into(), PartialEq::eq);
        self.items.entry(path.as_bytes().into()).and_compute_with(|known| {
            let sites = match known.map(|known| known.into_value()) {
                Some(Item::Sites(sites)) => sites,
                Some(Item::Content(_)) | None => Arc::default(),
            };
            sites.put(site, entry, self.plan.largest());
            // Put once more, so that it is weighed again.
            Op::Put(Item::Sites(sites))
        });
    }

    /// Keeps a body; one that is known stays, with the variants that it has. Either is returned.
    pub fn put_content(&self, content: Content) -> Arc<Content> {
        let key = body_key(&content.hash)[..].into();
        let known = self.items.entry(key).and_compute_with(|known| {
            match known.map(|known| known.into_value()) {
                Some(Item::Content(known)) => {
                    let merged = content.variants.iter().fold(None, |merged, variant| {
                        Some(merged.as_ref().unwrap_or(&*known).with(variant))
                    });
                    merged.map_or(Op::Nop, |merged| Op::Put(Item::Content(Arc::new(merged))))
                }
                _ => Op::Put(Item::Content(Arc::new(Content {
                    hash: content.hash,
                    tag: content.tag.clone(),
                    plain: content.plain.clone(),
                    variants: content.variants.clone(),
                    queued: std::sync::atomic::AtomicBool::new(false),
                }))),
            }
        });
        match known.into_entry().map(|entry| entry.into_value()) {
            Some(Item::Content(known)) => known,
            _ => Arc::new(content),
        }
    }

    /// Adds a variant to a body, if that is still kept. Those who are reading the old go on with it.
    pub fn put_variant(&self, hash: &Hash, variant: &Variant) {
        self.items.entry(body_key(hash)[..].into()).and_compute_with(|known| {
            match known.map(|known| known.into_value()) {
                Some(Item::Content(known)) => Op::Put(Item::Content(Arc::new(known.with(variant)))),
                _ => Op::Nop,
            }
        });
    }

    /// Forgets every answer of an address; whether there was one.
    pub fn forget(&self, address: &str) -> bool {
        let (site, path) = split(address);
        self.forget_in(path.as_bytes(), |sites| sites.forget_one(site)) > 0
    }

    /// Forgets some of a path's answers; how many went.
    fn forget_in(&self, path: &[u8], forget: impl FnOnce(&Sites) -> usize) -> usize {
        let mut gone = 0;
        self.items.entry(path.into()).and_compute_with(|known| {
            let Some(Item::Sites(sites)) = known.map(|known| known.into_value()) else {
                return Op::Nop;
            };
            gone = forget(&sites);
            match (gone, sites.is_empty()) {
                (_, true) => Op::Remove,
                (0, false) => Op::Nop,
                (_, false) => Op::Put(Item::Sites(sites)),
            }
        });
        gone
    }

    /// What it was told.
    pub const fn plan(&self) -> &StorePlan {
        &self.plan
    }

    /// Forgets these paths, whatever the host; how many answers went.
    pub fn forget_paths(&self, paths: &HashSet<String>) -> usize {
        let all = |sites: &Sites| sites.forget(|_| true);
        paths.iter().map(|path| self.forget_in(path.as_bytes(), all)).sum()
    }

    /// Forgets; how many answers went. Bodies go with the last one by and by, but all at once with
    /// [`Purge::All`].
    pub fn purge(&self, purge: &Purge) -> usize {
        let mut gone = 0;
        for (key, item) in &self.items {
            let (Item::Sites(_), Ok(path)) = (item, std::str::from_utf8(&key)) else { continue };
            gone += self.forget_in(&key, |sites| sites.forget(|site| purge.matches(site, path)));
        }
        if *purge == Purge::All {
            self.items.invalidate_all();
        }
        self.items.run_pending_tasks();
        gone
    }

    /// Whether an address was lately found not to be worth waiting for.
    pub fn passes(&self, address: &str) -> bool {
        self.passes.contains_key(address)
    }

    /// Remembers for a while that it is not.
    pub fn pass(&self, address: &str) {
        self.passes.insert(address.into(), ());
    }

    /// Room for a body on its way in, or none: too large, or too much is on its way already.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reserved> {
        if bytes > self.plan.largest() {
            return None;
        }
        let reserved = Reserved { store: Arc::clone(self), bytes: AtomicU64::new(0) };
        reserved.grow(bytes).then_some(reserved)
    }

    /// The head with all shared that others have too.
    pub fn shared(&self, head: Head) -> Head {
        let by = Arc::clone(&head.shape);
        let (shape, new_shape) = self.shapes.share(&*by, head.shape, PartialEq::eq);
        let by = Arc::clone(&head.own);
        let (own, new_own) = match normal(&by) {
            Some(normal_own) => {
                self.own.share(&normal_own, head.own, |one, other| normal(one) == normal(other))
            }
            None => (head.own, true),
        };
        let brings = Brings { shape: new_shape, own: new_own };
        Head { shape, own, brings, ..head }
    }

    /// Bytes kept, about.
    pub fn used(&self) -> u64 {
        self.items.run_pending_tasks();
        self.items.weighted_size()
    }

    /// Items kept: paths and bodies.
    pub fn items(&self) -> u64 {
        self.items.entry_count()
    }

    /// Items that went to make room, since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

/// Policies by their directives: ZITADEL writes them in a new order each time (zitadel.md §13.3),
/// though they mean the same. `None`: there are other fields, which are of one answer alone.
fn normal(own: &[Field]) -> Option<Vec<(&str, Directives<'_>)>> {
    own.iter().map(|field| Some((field.0.as_str(), directives(field)?))).collect()
}

type Directives<'a> = Vec<&'a [u8]>;

fn directives((name, value): &Field) -> Option<Directives<'_>> {
    if *name != CONTENT_SECURITY_POLICY && *name != CONTENT_SECURITY_POLICY_REPORT_ONLY {
        return None;
    }
    let directives = value.as_bytes().split(|byte| *byte == b';');
    let mut directives: Vec<_> = directives.map(<[u8]>::trim_ascii).collect();
    directives.sort_unstable();
    Some(directives)
}

fn weight(key: &[u8], item: &Item) -> u32 {
    let item = match item {
        Item::Sites(sites) => PATH + sites.weight(),
        Item::Content(content) => content.weight(),
    };
    u32::try_from(key.len() + item).unwrap_or(u32::MAX)
}

/// Room that is held for a body on its way in; given back when dropped.
pub struct Reserved {
    store: Arc<Store>,
    bytes: AtomicU64,
}

impl Reserved {
    /// Takes so much more; whether there was room. What is on its way may never be more than the
    /// memory of the whole store.
    pub fn grow(&self, bytes: u64) -> bool {
        let all = self.store.filling.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let own = self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        all <= self.store.plan.memory && own <= self.store.plan.largest()
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.store.filling.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
