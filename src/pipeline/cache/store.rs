//! Where answers are kept: one map for all workers, weighed by the bytes of everything in it, which
//! forgets what has not been used for longest.
//!
//! Entries stand under their address, with scheme and full authority, so that no host is answered
//! with another's; bodies stand under their hash, so that a thousand hosts share one. An entry whose
//! body has been forgotten is a miss. Which entry answers a request is not decided here.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use http::header::HeaderValue;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::content::{self, Content, Hash, Variant};
use super::entry::{Entry, Fields, Head};
use crate::pipeline::plan::StorePlan;

/// How many answers of one address are told apart by request fields and route.
const CHOICES: usize = 16;
/// How long it is remembered that an address is not worth waiting for.
const PASS: Duration = Duration::from_secs(10);
/// For how many addresses.
const PASSES: u64 = 4_096;
/// How many shared values are known before the dead ones are looked for.
const SHARED: usize = 4_096;

/// The name of something kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// `https://id.example.com/ui/console/main.js?x=1`.
    Address(Box<str>),
    /// A body.
    Body(Hash),
}

/// Every answer of one address.
pub type Choices = Arc<[Arc<Entry>]>;

#[derive(Clone)]
enum Item {
    Entries(Choices),
    Content(Arc<Content>),
}

/// What to forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    /// Everything.
    All,
    /// Every address of a host: `id.example.com` whatever its port, `id.example.com:8443` exactly.
    Host(String),
    /// One address, with its scheme. Case counts in its path alone, and the scheme's own port is none.
    Address(String),
}

/// The store.
pub struct Store {
    items: Cache<Key, Item>,
    passes: Cache<Box<str>, ()>,
    plan: StorePlan,
    /// Bytes of what is on its way in.
    filling: AtomicU64,
    evicted: Arc<AtomicU64>,
    fields: Mutex<HashMap<Hash, Weak<Fields>>>,
    policies: Mutex<HashMap<Hash, HeaderValue>>,
}

impl Store {
    /// An empty one.
    pub fn new(plan: StorePlan) -> Arc<Self> {
        let evicted = Arc::<AtomicU64>::default();
        let count = Arc::clone(&evicted);
        let items = Cache::builder()
            .max_capacity(plan.memory)
            .weigher(|key: &Key, item: &Item| weight(key, item))
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
            fields: Mutex::default(),
            policies: Mutex::default(),
        })
    }

    /// The answers of an address.
    pub fn entries(&self, key: &Key) -> Option<Choices> {
        match self.items.get(key)? {
            Item::Entries(entries) => Some(entries),
            Item::Content(_) => None,
        }
    }

    /// A body.
    pub fn content(&self, hash: &Hash) -> Option<Arc<Content>> {
        match self.items.get(&Key::Body(*hash))? {
            Item::Content(content) => Some(content),
            Item::Entries(_) => None,
        }
    }

    /// Keeps an answer, in the place of one of the same route that was chosen by the same fields.
    pub fn put(&self, key: Key, entry: Arc<Entry>) {
        self.items.entry(key).and_compute_with(|known| {
            let known = known.map(|known| known.into_value());
            let mut all = match &known {
                Some(Item::Entries(entries)) => entries.to_vec(),
                Some(Item::Content(_)) | None => Vec::new(),
            };
            let (route, chosen) = (&entry.head.source.route, &entry.head.chosen);
            all.retain(|one| one.head.source.route != *route || one.head.chosen != *chosen);
            // The newest first: where two apply, it does (RFC 9111 §4.1).
            all.insert(0, Arc::clone(&entry));
            all.truncate(CHOICES);
            Op::Put(Item::Entries(all.into()))
        });
    }

    /// Keeps a body; one that is known stays, with the variants that it has. Either is returned.
    pub fn put_content(&self, content: Content) -> Arc<Content> {
        let key = Key::Body(content.hash);
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
        self.items.entry(Key::Body(*hash)).and_compute_with(|known| {
            match known.map(|known| known.into_value()) {
                Some(Item::Content(known)) => Op::Put(Item::Content(Arc::new(known.with(variant)))),
                _ => Op::Nop,
            }
        });
    }

    /// Forgets every answer of an address; whether there was one.
    pub fn forget(&self, key: &Key) -> bool {
        self.items.remove(key).is_some()
    }

    /// What it was told.
    pub const fn plan(&self) -> &StorePlan {
        &self.plan
    }

    /// Forgets these paths, whatever the host; how many answers went.
    pub fn forget_paths(&self, paths: &HashSet<String>) -> usize {
        let mut gone = 0;
        for (key, item) in &self.items {
            let (Key::Address(address), Item::Entries(entries)) = (&*key, item) else { continue };
            let path = address.find("://").and_then(|at| {
                let rest = address.get(at + 3..)?;
                rest.get(rest.find('/')?..)
            });
            if path.is_some_and(|path| paths.contains(path)) {
                gone += entries.len();
                self.items.invalidate(&*key);
            }
        }
        gone
    }

    /// Forgets; how many answers went. Bodies go with the last one by and by, but all at once with
    /// [`Purge::All`].
    pub fn purge(&self, purge: &Purge) -> usize {
        let mut gone = 0;
        for (key, item) in &self.items {
            let Item::Entries(entries) = item else { continue };
            if purge.matches(&key) {
                gone += entries.len();
                self.items.invalidate(&*key);
            }
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

    /// The head with its fields shared with other heads'.
    pub fn shared(&self, mut head: Head) -> Head {
        let hash = head.fields.hash();
        let mut all = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(&hash).and_then(Weak::upgrade) {
            Some(known) => head.fields = known,
            None => {
                if all.len() >= SHARED {
                    all.retain(|_, fields| fields.strong_count() > 0);
                }
                all.insert(hash, Arc::downgrade(&head.fields));
            }
        }
        drop(all);
        for (name, value) in &mut head.own {
            if *name == http::header::CONTENT_SECURITY_POLICY {
                *value = self.policy(value);
            }
        }
        head
    }

    /// The first policy seen with the same directives: ZITADEL writes them in a new order each time
    /// (zitadel.md §13.3), though they mean the same.
    fn policy(&self, value: &HeaderValue) -> HeaderValue {
        let mut directives: Vec<&[u8]> =
            value.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii).collect();
        directives.sort_unstable();
        let hash = content::hash(&directives.join(&b';'));
        let mut all = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SHARED {
            all.clear();
        }
        all.entry(hash).or_insert_with(|| value.clone()).clone()
    }

    /// Bytes kept, about.
    pub fn used(&self) -> u64 {
        self.items.run_pending_tasks();
        self.items.weighted_size()
    }

    /// Items kept: addresses and bodies.
    pub fn items(&self) -> u64 {
        self.items.entry_count()
    }

    /// Items that went to make room, since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

fn weight(key: &Key, item: &Item) -> u32 {
    let key = match key {
        Key::Address(address) => address.len(),
        Key::Body(_) => 0,
    };
    let item = match item {
        Item::Entries(entries) => entries.iter().map(|entry| entry.weight()).sum(),
        Item::Content(content) => content.weight(),
    };
    u32::try_from(key + item).unwrap_or(u32::MAX)
}

impl Purge {
    pub(super) fn matches(&self, key: &Key) -> bool {
        let Key::Address(address) = key else { return false };
        let Some(kept) = Parts::of(address) else { return false };
        match self {
            Self::All => true,
            Self::Address(asked) => Parts::of(asked).is_some_and(|asked| asked == kept),
            Self::Host(asked) => {
                let (host, port) = host_and_port(asked);
                kept.host.eq_ignore_ascii_case(host)
                    && port.is_none_or(|port| kept.port == Some(port))
            }
        }
    }
}

/// An address in parts that can be compared.
struct Parts<'a> {
    scheme: &'a str,
    host: &'a str,
    /// Written, or the scheme's own.
    port: Option<&'a str>,
    /// Path and query.
    target: &'a str,
}

impl<'a> Parts<'a> {
    fn of(address: &'a str) -> Option<Self> {
        let (scheme, rest) = address.split_once("://")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end)?;
        let (host, port) = host_and_port(authority);
        let usual = match scheme {
            scheme if scheme.eq_ignore_ascii_case("https") => Some("443"),
            scheme if scheme.eq_ignore_ascii_case("http") => Some("80"),
            _ => None,
        };
        let target = if target.is_empty() { "/" } else { target };
        Some(Self { scheme, host, port: port.or(usual), target })
    }
}

impl PartialEq for Parts<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port == other.port
            && self.target == other.target
    }
}

/// The colons of `[::1]` are the host's own.
fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    }
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
