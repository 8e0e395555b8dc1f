//! What is counted, and by which labels.
//!
//! A worker counts into its own [`Shard`]: plain loads and stores of its own cells, no lock, no
//! shared cache line, no string. Names become small ids once, when a plan is loaded
//! ([`Metrics::route`], [`Metrics::listener`], [`Metrics::endpoint`]), and ids become names again
//! at the scrape ([`Metrics::expose`]), which sums the shards. Labels come from the configuration
//! and from fixed tables only: no client can make a series.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

mod cells;
mod expose;
mod families;
mod reloads;
mod shard;
mod upstreams;

pub use cells::BUCKETS;
pub use expose::TextFormat;
pub use reloads::ReloadsKnown;
pub use shard::{ExchangeKey, Gauge, Refusal, Shard, TlsVersion};
pub use upstreams::EndpointKnown;

use cells::Cells;

/// A route, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteId(pub usize);

/// Why connections come to nothing before HTTP: the words of `downstream`'s failures.
pub const HANDSHAKE_FAILURES: [&str; 11] = [
    "timeout",
    "eof",
    "no_shared_cipher",
    "no_shared_protocol",
    "unknown_name",
    "client_certificate",
    "client_alert",
    "not_tls",
    "other",
    "untrusted",
    "invalid",
];

/// A listener, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(usize);

/// An endpoint of a cluster, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointId(usize);

/// How long a certificate still holds.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificateLeft {
    /// The listener that serves it.
    pub listener: Arc<str>,
    /// Its first name.
    pub name: String,
    /// Days until it expires; negative when it has.
    pub days: f64,
}

/// What the cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheState {
    /// Bytes, about.
    pub bytes: u64,
    /// Addresses and bodies.
    pub items: u64,
    /// Bodies whose best variants are still to be made.
    pub pending: u64,
    /// Best variants that were made, since the start.
    pub made: u64,
    /// Best variants that were read from the directory, since the start.
    pub read: u64,
    /// Addresses and bodies that went to make room, since the start.
    pub evicted: u64,
}

type AskCache = Box<dyn Fn() -> CacheState + Send + Sync>;
type Certificates = Box<dyn Fn() -> Vec<CertificateLeft> + Send + Sync>;
type AskReloads = Box<dyn Fn() -> ReloadsKnown + Send + Sync>;
type Endpoints = Box<dyn Fn() -> Vec<EndpointKnown> + Send + Sync>;

/// Everything that is counted in this process.
pub struct Metrics {
    shards: Mutex<Vec<Arc<Cells>>>,
    names: Mutex<Names>,
    dropped_records: Arc<AtomicU64>,
    certificates: OnceLock<Certificates>,
    cache: OnceLock<AskCache>,
    endpoints: OnceLock<Endpoints>,
    reloads: OnceLock<AskReloads>,
    started: SystemTime,
}

/// Names by id. The first of each stands for "none", and for what came beyond the bound.
#[derive(Debug)]
struct Names {
    routes: Vec<Arc<str>>,
    listeners: Vec<Arc<str>>,
    endpoints: Vec<(Arc<str>, Arc<str>)>,
}

impl Metrics {
    /// Nothing counted yet; the process starts now.
    pub fn new() -> Arc<Self> {
        let none: Arc<str> = Arc::from("none");
        Arc::new(Self {
            shards: Mutex::default(),
            names: Mutex::new(Names {
                routes: vec![Arc::clone(&none)],
                listeners: vec![Arc::clone(&none)],
                endpoints: vec![(Arc::clone(&none), none)],
            }),
            dropped_records: Arc::default(),
            certificates: OnceLock::new(),
            cache: OnceLock::new(),
            endpoints: OnceLock::new(),
            reloads: OnceLock::new(),
            started: SystemTime::now(),
        })
    }

    /// A place to count for one thread.
    pub fn shard(&self) -> Shard {
        let cells = Arc::<Cells>::default();
        lock(&self.shards).push(Arc::clone(&cells));
        Shard::new(cells)
    }

    /// The id of a route; the same name has the same id also after a reload.
    pub fn route(&self, name: &Arc<str>) -> RouteId {
        RouteId(id(&mut lock(&self.names).routes, name))
    }

    /// The id of a listener.
    pub fn listener(&self, name: &Arc<str>) -> ListenerId {
        ListenerId(id(&mut lock(&self.names).listeners, name))
    }

    /// The id of an endpoint.
    pub fn endpoint(&self, cluster: &Arc<str>, endpoint: &Arc<str>) -> EndpointId {
        let names = (Arc::clone(cluster), Arc::clone(endpoint));
        EndpointId(id(&mut lock(&self.names).endpoints, &names))
    }

    /// Counts access records that were dropped; given to the access log's writer.
    pub fn dropped_records(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped_records)
    }

    /// Who knows how long certificates still hold; asked at every scrape. Only the first counts.
    pub fn set_certificates(&self, ask: impl Fn() -> Vec<CertificateLeft> + Send + Sync + 'static) {
        let _ = self.certificates.set(Box::new(ask));
    }

    /// Who knows what the cache holds; asked at every scrape. Only the first counts.
    pub fn set_cache(&self, ask: impl Fn() -> CacheState + Send + Sync + 'static) {
        let _ = self.cache.set(Box::new(ask));
    }

    /// Who knows how endpoints stand; asked at every scrape. Only the first counts.
    pub fn set_endpoints(&self, ask: impl Fn() -> Vec<EndpointKnown> + Send + Sync + 'static) {
        let _ = self.endpoints.set(Box::new(ask));
    }

    /// Who knows how reloads went; asked at every scrape. Only the first counts.
    pub fn set_reloads(&self, ask: impl Fn() -> ReloadsKnown + Send + Sync + 'static) {
        let _ = self.reloads.set(Box::new(ask));
    }

    /// When the process began.
    pub const fn started(&self) -> SystemTime {
        self.started
    }

    /// Connections of clients that are open on a listener now, for the status page.
    pub fn open_connections(&self, listener: ListenerId) -> u64 {
        let shards = self.cells();
        let open =
            |cells: &Arc<Cells>| Some(cells.listeners.at(listener.0)?.open.load(Ordering::Relaxed));
        shards.iter().filter_map(open).fold(0, u64::wrapping_add)
    }

    /// Connections to an endpoint that are open now, and whether a worker cannot reach it.
    pub fn endpoint_state(&self, endpoint: EndpointId) -> (u64, bool) {
        let shards = self.cells();
        let sum = |read: &dyn Fn(&cells::EndpointCells) -> u64| {
            let rows = shards.iter().filter_map(|cells| cells.endpoints.at(endpoint.0));
            rows.map(read).fold(0, u64::wrapping_add)
        };
        let open = sum(&|row| row.open.load(Ordering::Relaxed));
        (open, sum(&|row| row.failing.load(Ordering::Relaxed)) > 0)
    }

    /// Exchanges that are in flight now.
    pub fn in_flight(&self) -> u64 {
        let shards = self.cells();
        shards
            .iter()
            .map(|cells| cells.in_flight.load(Ordering::Relaxed))
            .fold(0, u64::wrapping_add)
    }

    fn cells(&self) -> Vec<Arc<Cells>> {
        lock(&self.shards).clone()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("names", &self.names).finish_non_exhaustive()
    }
}

/// The index of `name`, which is appended when new, while there is room.
fn id<T: Clone + PartialEq>(names: &mut Vec<T>, name: &T) -> usize {
    if let Some(known) = names.iter().skip(1).position(|known| known == name) {
        return known + 1;
    }
    if names.len() >= cells::TABLE_MAX {
        return 0;
    }
    names.push(name.clone());
    names.len() - 1
}

/// A panic elsewhere leaves these lists whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
