//! The best coded forms of what is kept, made once each, behind the clients' backs.
//!
//! A few threads of the lowest priority, which rest as long as they work: br 11 of ZITADEL's `main.js`
//! costs half a minute of a processor (zitadel.md §13.3), and no request is to notice. They start with
//! the first thing to do, and end when the cache goes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::content::{Content, Hash, Variant};
use super::spare;
use super::store::Store;
use crate::pipeline::coding::encode::{self, Unfinished, encode};
use crate::pipeline::coding::{Coding, Level, media};

/// How many bodies may wait; one that finds no place is asked for again with its next use.
const QUEUE: usize = 4_096;
/// The cheap ones first: gzip and zstd of a large script are there in seconds.
const ORDER: [Coding; 3] = [Coding::Gzip, Coding::Zstd, Coding::Brotli];
/// How long one rest lasts at most, so that the end of the cache is noticed.
const REST: Duration = Duration::from_millis(250);

/// Who makes them.
pub struct Variants {
    store: Weak<Store>,
    queue: OnceLock<SyncSender<Hash>>,
    pending: Arc<AtomicU64>,
}

impl Variants {
    /// Nobody works yet.
    pub fn new(store: &Arc<Store>) -> Self {
        Self { store: Arc::downgrade(store), queue: OnceLock::new(), pending: Arc::default() }
    }

    /// Asks for the best variants of a body, unless they are there or about to be.
    pub fn want(&self, content: &Content) {
        let size = content.plain.len() as u64;
        if size < media::MIN_SIZE || content.queued.load(Ordering::Relaxed) {
            return;
        }
        if content.queued.swap(true, Ordering::Relaxed) || content.is_complete() {
            return;
        }
        self.pending.fetch_add(1, Ordering::Relaxed);
        if self.queue.get_or_init(|| self.hire()).try_send(content.hash).is_err() {
            self.pending.fetch_sub(1, Ordering::Relaxed);
            content.queued.store(false, Ordering::Relaxed);
        }
    }

    /// Bodies whose best variants are still to be made.
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    /// One thread for four processors.
    fn hire(&self) -> SyncSender<Hash> {
        let (queue, jobs) = sync_channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for i in 0..processors.div_ceil(4) {
            let (store, jobs) = (Weak::clone(&self.store), Arc::clone(&jobs));
            let pending = Arc::clone(&self.pending);
            let work = move || work(&store, &jobs, &pending);
            let thread = std::thread::Builder::new().name(format!("variants-{i}"));
            if let Err(error) = thread.spawn(work) {
                tracing::warn!(%error, "no thread for coded variants: files stay as they are");
            }
        }
        queue
    }
}

fn work(store: &Weak<Store>, jobs: &Mutex<Receiver<Hash>>, pending: &AtomicU64) {
    if let Err(error) = rustix::process::nice(19) {
        tracing::debug!(%error, "the priority of a variants thread stays as it is");
    }
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(hash) = job else { return };
        let alive = make(store, &hash);
        pending.fetch_sub(1, Ordering::Relaxed);
        if !alive {
            return;
        }
    }
}

/// Makes what is missing; `false`: the cache has gone.
fn make(store: &Weak<Store>, hash: &Hash) -> bool {
    for coding in ORDER {
        let Some(kept) = store.upgrade() else { return false };
        let Some(content) = kept.content(hash) else { return true };
        drop(kept);
        let best = |known: &Variant| known.coding == coding && known.level == Level::Best;
        if content.variants.iter().any(best) {
            continue;
        }
        // Half of what is free: the rest is for those who are served meanwhile.
        let needs = encode::memory(coding, Level::Best, content.plain.len() as u64);
        if spare::bytes().is_some_and(|free| needs > free / 2) {
            tracing::debug!(
                coding = coding.name(),
                needs,
                "too little memory for the best variant"
            );
            continue;
        }
        let mut since = Instant::now();
        let coded = encode(coding, Level::Best, &content.plain, || rest(store, &mut since));
        let bytes = match coded {
            Ok(bytes) => Some(bytes),
            Err(Unfinished::Stopped) => return false,
            Err(Unfinished::Failed(error)) => {
                tracing::warn!(%error, coding = coding.name(), "a variant could not be made");
                None
            }
        };
        let bytes =
            bytes.filter(|bytes| media::pays(content.plain.len() as u64, bytes.len() as u64));
        let Some(kept) = store.upgrade() else { return false };
        kept.put_variant(hash, &Variant { coding, level: Level::Best, bytes });
    }
    true
}

/// Rests as long as was worked since `since`; `false` when the cache has gone.
fn rest(store: &Weak<Store>, since: &mut Instant) -> bool {
    let mut left = since.elapsed();
    while !left.is_zero() && store.strong_count() > 0 {
        let some = left.min(REST);
        std::thread::sleep(some);
        left -= some;
    }
    *since = Instant::now();
    store.strong_count() > 0
}
