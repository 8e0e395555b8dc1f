//! The best coded forms of what is kept, made once each, behind the clients' backs.
//!
//! A few threads of the lowest priority, which rest as long as they work: br 11 of ZITADEL's `main.js`
//! costs half a minute of a processor (zitadel.md §13.3), and no request is to notice. They start with
//! the first thing to do, and end when the cache goes.
//!
//! Where there is a folder for them, they outlive the process: what it has is read, what is made goes
//! into it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::content::{self, Coded, Content, Hash, Variant};
use super::spare;
use super::store::Store;
use crate::pipeline::coding::encode::{self, Unfinished, encode};
use crate::pipeline::coding::shelf::Shelf;
use crate::pipeline::coding::{Coding, Level, media};

/// How many bodies may wait; one that finds no place is asked for again with its next use.
const QUEUE: usize = 4_096;
/// The cheap ones first: gzip and zstd of a large script are there in seconds.
const ORDER: [Coding; 3] = [Coding::Gzip, Coding::Zstd, Coding::Brotli];
/// After how long a body is taken up once more for which there was too little memory.
const LATER: Duration = Duration::from_secs(30);
/// How long one rest lasts at most, so that the end of the cache is noticed.
const REST: Duration = Duration::from_millis(250);

/// Who makes them.
pub struct Variants {
    queue: OnceLock<SyncSender<Hash>>,
    bench: Arc<Bench>,
}

/// What the threads work with.
struct Bench {
    store: Weak<Store>,
    shelf: Option<Shelf>,
    pending: AtomicU64,
    made: AtomicU64,
    read: AtomicU64,
    /// Whether it has been said that the folder takes nothing.
    told: AtomicBool,
    /// Bytes of memory that are free; `None`: nobody says.
    spare: fn() -> Option<u64>,
    /// For what there was too little memory, and since when: taken up again when nothing else is to do.
    later: Mutex<VecDeque<(Instant, Hash)>>,
}

impl Variants {
    /// Nobody works yet. On `shelf` they outlive the process.
    pub fn new(store: &Arc<Store>, shelf: Option<Shelf>) -> Self {
        let bench = Arc::new(Bench::new(store, shelf, spare::bytes));
        Self { queue: OnceLock::new(), bench }
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
        self.bench.pending.fetch_add(1, Ordering::Relaxed);
        if self.queue.get_or_init(|| self.hire()).try_send(content.hash).is_err() {
            self.bench.pending.fetch_sub(1, Ordering::Relaxed);
            content.queued.store(false, Ordering::Relaxed);
        }
    }

    /// Bodies whose best variants are still to be made.
    pub fn pending(&self) -> u64 {
        self.bench.pending.load(Ordering::Relaxed)
    }

    /// Best variants that were made, since the start.
    pub fn made(&self) -> u64 {
        self.bench.made.load(Ordering::Relaxed)
    }

    /// Best variants that were read from the shelf, since the start.
    pub fn read(&self) -> u64 {
        self.bench.read.load(Ordering::Relaxed)
    }

    /// One thread for four processors.
    fn hire(&self) -> SyncSender<Hash> {
        let (queue, jobs) = sync_channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for i in 0..processors.div_ceil(4) {
            let (bench, jobs) = (Arc::clone(&self.bench), Arc::clone(&jobs));
            let thread = std::thread::Builder::new().name(format!("variants-{i}"));
            if let Err(error) = thread.spawn(move || bench.work(&jobs)) {
                tracing::warn!(%error, "no thread for coded variants: files stay as they are");
            }
        }
        queue
    }
}

impl Bench {
    fn new(store: &Arc<Store>, shelf: Option<Shelf>, spare: fn() -> Option<u64>) -> Self {
        Self {
            store: Arc::downgrade(store),
            shelf,
            pending: AtomicU64::new(0),
            made: AtomicU64::new(0),
            read: AtomicU64::new(0),
            told: AtomicBool::new(false),
            spare,
            later: Mutex::default(),
        }
    }

    fn work(&self, jobs: &Mutex<Receiver<Hash>>) {
        if let Err(error) = rustix::process::nice(19) {
            tracing::debug!(%error, "the priority of a variants thread stays as it is");
        }
        loop {
            let jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
            // Behind the lock: who waits for it would come with a pause that is over.
            let job = jobs.recv_timeout(self.pause(Instant::now()));
            drop(jobs);
            let hash = match job {
                Ok(hash) => hash,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => match self.due(Instant::now()) {
                    Some(hash) => hash,
                    None => continue,
                },
            };
            match self.complete(&hash) {
                Done::All => drop(self.pending.fetch_sub(1, Ordering::Relaxed)),
                Done::Some => self.postpone(hash, Instant::now()),
                Done::Gone => return,
            }
        }
    }

    /// How long there is nothing to do but what is newly wanted.
    fn pause(&self, now: Instant) -> Duration {
        let later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        later.front().map_or(LATER, |(since, _)| (*since + LATER).saturating_duration_since(now))
    }

    /// A body that has waited long enough for memory.
    fn due(&self, now: Instant) -> Option<Hash> {
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, hash) = later.pop_front_if(|(since, _)| now.duration_since(*since) >= LATER)?;
        Some(hash)
    }

    /// Takes a body up another time. Of more than may wait, the first is asked for with its next use.
    fn postpone(&self, hash: Hash, now: Instant) {
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        later.push_back((now, hash));
        if later.len() <= QUEUE {
            return;
        }
        let Some((_, over)) = later.pop_front() else { return };
        drop(later);
        self.pending.fetch_sub(1, Ordering::Relaxed);
        if let Some(content) = self.store.upgrade().and_then(|store| store.content(&over)) {
            content.queued.store(false, Ordering::Relaxed);
        }
    }

    /// Makes what is missing.
    fn complete(&self, hash: &Hash) -> Done {
        let mut done = Done::All;
        for coding in ORDER {
            let Some(kept) = self.store.upgrade() else { return Done::Gone };
            let Some(content) = kept.content(hash) else { return Done::All };
            drop(kept);
            let best = |known: &Variant| known.coding == coding && known.level == Level::Best;
            if content.variants.iter().any(best) {
                continue;
            }
            let bytes = match self.fetched(&content, coding) {
                Some(bytes) => Some(bytes),
                None => match self.make(&content, coding) {
                    Made::Best(bytes) => bytes,
                    Made::Later => {
                        done = Done::Some;
                        continue;
                    }
                    Made::Gone => return Done::Gone,
                },
            };
            let Some(kept) = self.store.upgrade() else { return Done::Gone };
            let coded = bytes.map(|bytes| {
                let own = content::hash(&bytes);
                Coded::new(hash, coding, bytes, &own)
            });
            kept.put_variant(hash, &Variant { coding, level: Level::Best, coded });
        }
        done
    }

    /// What another time or another process has made.
    fn fetched(&self, content: &Content, coding: Coding) -> Option<Bytes> {
        let size = content.plain.len();
        let bytes = self.shelf.as_ref()?.get(&content.hash, size, coding)?;
        let pays = media::pays(size as u64, bytes.len() as u64);
        self.read.fetch_add(u64::from(pays), Ordering::Relaxed);
        pays.then_some(bytes)
    }

    fn make(&self, content: &Content, coding: Coding) -> Made {
        let (plain, size) = (&content.plain, content.plain.len() as u64);
        // Half of what is free: the rest is for those who are served meanwhile.
        let needs = encode::memory(coding, Level::Best, size);
        if (self.spare)().is_some_and(|free| needs > free / 2) {
            let coding = coding.name();
            tracing::debug!(coding, needs, "too little memory for the best variant");
            return Made::Later;
        }
        let mut since = Instant::now();
        let coded = encode(coding, Level::Best, plain, || rest(&self.store, &mut since));
        match coded {
            Err(Unfinished::Stopped) => Made::Gone,
            Err(Unfinished::Failed(error)) => {
                tracing::warn!(%error, coding = coding.name(), "a variant could not be made");
                Made::Best(None)
            }
            Ok(bytes) => {
                self.made.fetch_add(1, Ordering::Relaxed);
                let bytes = Some(bytes).filter(|bytes| media::pays(size, bytes.len() as u64));
                if let Some(bytes) = &bytes {
                    self.shelve(&content.hash, coding, bytes);
                }
                Made::Best(bytes)
            }
        }
    }

    /// Keeps a variant for another time. A folder that takes nothing is told of once.
    fn shelve(&self, hash: &Hash, coding: Coding, bytes: &[u8]) {
        let Some(shelf) = &self.shelf else { return };
        if let Err(error) = shelf.put(hash, coding, bytes)
            && !self.told.swap(true, Ordering::Relaxed)
        {
            let directory = shelf.folder().display();
            tracing::warn!(%error, %directory, "coded variants do not outlive this process");
        }
    }
}

/// What came of making all variants of a body.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    /// There is nothing more to make, or nothing to make it of.
    All,
    /// For some there was too little memory.
    Some,
    /// The cache has gone.
    Gone,
}

/// What came of making a variant.
enum Made {
    /// It; `None` where it does not pay.
    Best(Option<Bytes>),
    /// Nothing now; perhaps another time.
    Later,
    /// The cache has gone.
    Gone,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::plan::StorePlan;

    static FREE: AtomicU64 = AtomicU64::new(0);

    #[test]
    fn what_there_was_too_little_memory_for_is_made_another_time() {
        let store = Store::new(StorePlan::default());
        let bench = Bench::new(&store, None, || Some(FREE.load(Ordering::Relaxed)));
        let text = "const value = call(1);\n".repeat(200);
        let hash = content::hash(text.as_bytes());
        store.put_content(Content::new(hash, text.into(), Box::default()));
        assert_eq!(bench.complete(&hash), Done::Some);
        assert!(store.content(&hash).unwrap().variants.is_empty());
        let since = Instant::now();
        bench.postpone(hash, since);
        assert_eq!(bench.due(since), None, "not at once");
        FREE.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(bench.due(since + LATER), Some(hash));
        assert_eq!(bench.complete(&hash), Done::All);
        assert!(store.content(&hash).unwrap().is_complete());
        assert_eq!(bench.due(since + LATER), None, "once");
        drop(store);
        assert_eq!(bench.complete(&hash), Done::Gone);
    }

    #[test]
    fn bodies_that_are_due_are_taken_up_one_after_another_without_a_pause() {
        let store = Store::new(StorePlan::default());
        let bench = Bench::new(&store, None, || Some(0));
        let since = Instant::now();
        assert_eq!(bench.pause(since), LATER, "nothing waits");
        let hashes = [content::hash(b"one"), content::hash(b"other")];
        hashes.iter().for_each(|hash| bench.postpone(*hash, since));
        assert_eq!(bench.pause(since + LATER / 3), LATER - LATER / 3);
        for hash in hashes {
            assert_eq!(bench.pause(since + LATER), Duration::ZERO);
            assert_eq!(bench.due(since + LATER), Some(hash));
        }
        assert_eq!(bench.pause(since + LATER), LATER);
    }
}
