//! What the stand-in remembers: which requests came, how many are in flight, which were left.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::{HeaderMap, Method, Version};
use tokio::sync::watch;

use super::bundle::Files;
use super::wire::Control;
use super::{Limited, Options};

const KEPT: usize = 10_000;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// Path and query, byte for byte.
    pub target: String,
    /// HTTP/1.x or HTTP/2.
    pub version: Version,
    /// The header fields, without pseudo header fields.
    pub headers: HeaderMap,
    /// `:authority`, or `Host` over HTTP/1.1.
    pub authority: String,
    /// The client's end of the connection.
    pub peer: SocketAddr,
    /// Bytes of the body, once it has been read to its end; `None` before, or if nobody read it.
    pub body: Option<u64>,
}

/// The length of a body while it is read.
#[derive(Default)]
pub(super) struct Counted {
    bytes: AtomicU64,
    whole: AtomicBool,
}

impl Counted {
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.whole.store(true, Ordering::Release);
    }

    fn total(&self) -> Option<u64> {
        self.whole.load(Ordering::Acquire).then(|| self.bytes.load(Ordering::Relaxed))
    }
}

/// The stand-in's stages of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum Phase {
    Serving,
    Draining,
    Killed,
}

/// Everything that connections and the handle share.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) address: SocketAddr,
    pub(super) console: Files,
    pub(super) started: Instant,
    pub(super) open: AtomicUsize,
    pub(super) accepted: AtomicUsize,
    pub(super) in_flight: AtomicUsize,
    pub(super) cancelled: AtomicUsize,
    pub(super) stopped: AtomicBool,
    seen: Mutex<VecDeque<(Seen, Arc<Counted>)>>,
    refused: Mutex<HashSet<String>>,
    /// Orders that come with every request.
    standing: Mutex<String>,
    limited: Mutex<Option<Limited>>,
    pub(super) unready: AtomicBool,
    controls: Mutex<HashMap<usize, Arc<Control>>>,
    changed: watch::Sender<()>,
    phase: watch::Sender<Phase>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(options: Options, address: SocketAddr, console: Files) -> Self {
        Self {
            options,
            address,
            console,
            started: Instant::now(),
            open: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            seen: Mutex::new(VecDeque::new()),
            refused: Mutex::new(HashSet::new()),
            standing: Mutex::default(),
            limited: Mutex::new(None),
            unready: AtomicBool::new(false),
            controls: Mutex::new(HashMap::new()),
            changed: watch::Sender::new(()),
            phase: watch::Sender::new(Phase::Serving),
        }
    }

    pub(super) fn requests(&self) -> Vec<Seen> {
        let with_body =
            |(seen, body): &(Seen, Arc<Counted>)| Seen { body: body.total(), ..seen.clone() };
        lock(&self.seen).iter().map(with_body).collect()
    }

    pub(super) fn count(&self, prefix: &str) -> usize {
        lock(&self.seen).iter().filter(|(seen, _)| seen.target.starts_with(prefix)).count()
    }

    /// Notes a request and counts it as in flight until the ticket is finished or dropped.
    pub(super) fn arrive(self: &Arc<Self>, seen: Seen) -> (Ticket, Arc<Counted>) {
        let body = Arc::new(Counted::default());
        let mut ring = lock(&self.seen);
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back((seen, body.clone()));
        drop(ring);
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        self.changed.send_replace(());
        (Ticket { shared: self.clone(), finished: false }, body)
    }

    /// Orders that come with every request.
    pub(super) fn standing(&self) -> String {
        lock(&self.standing).clone()
    }

    pub(super) fn set_standing(&self, orders: &str) {
        orders.clone_into(&mut lock(&self.standing));
    }

    pub(super) fn limited(&self) -> Option<Limited> {
        *lock(&self.limited)
    }

    pub(super) fn limit(&self, limited: Option<Limited>) {
        *lock(&self.limited) = limited;
    }

    /// Whether this key is asked for the first time.
    pub(super) fn first_time(&self, key: &str) -> bool {
        lock(&self.refused).insert(key.to_owned())
    }

    pub(super) fn enter(&self, phase: Phase) {
        // Never back: a kill stays a kill.
        self.phase.send_if_modified(|now| {
            let later = phase > *now;
            if later {
                *now = phase;
            }
            later
        });
    }

    pub(super) fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(super) fn is_killed(&self) -> bool {
        *self.phase.borrow() == Phase::Killed
    }

    pub(super) fn opened(self: &Arc<Self>, control: Arc<Control>) -> Opened {
        let id = self.accepted.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_add(1, Ordering::SeqCst);
        lock(&self.controls).insert(id, control);
        self.changed.send_replace(());
        Opened { shared: self.clone(), id }
    }

    pub(super) fn controls(&self) -> Vec<Arc<Control>> {
        lock(&self.controls).values().cloned().collect()
    }

    pub(super) fn touch(&self) {
        self.changed.send_replace(());
    }

    pub(super) async fn wait_until(&self, reached: impl Fn(&Self) -> bool) {
        let mut changes = self.changed.subscribe();
        while !reached(self) {
            // The sender lives in `self`, so this cannot fail.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

/// An open connection; closes the count when dropped.
pub(super) struct Opened {
    shared: Arc<Shared>,
    id: usize,
}

impl Drop for Opened {
    fn drop(&mut self) {
        lock(&self.shared.controls).remove(&self.id);
        self.shared.open.fetch_sub(1, Ordering::SeqCst);
        self.shared.touch();
    }
}

/// One exchange in flight. Dropped unfinished, it counts as left by the client.
pub(super) struct Ticket {
    shared: Arc<Shared>,
    finished: bool,
}

impl Ticket {
    /// The exchange ended by our own doing, well or by order.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.in_flight.fetch_sub(1, Ordering::SeqCst);
        let ours = self.shared.is_killed() || self.shared.stopped.load(Ordering::SeqCst);
        if !self.finished && !ours {
            self.shared.cancelled.fetch_add(1, Ordering::SeqCst);
        }
        self.shared.touch();
    }
}
