//! The cells of one shard. One thread writes, the scraper reads: relaxed atomics without
//! read-modify-write, so that counting costs what a plain addition costs.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::Kind;
use crate::exchange::{CacheUse, Class};

/// Upper bounds of the latency histogram, in seconds; what is longer falls into `+Inf`.
pub const BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The same in microseconds, for comparing without floating point.
const BUCKET_MICROS: [u64; 15] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

const CHUNK: usize = 64;
/// How many routes, listeners or endpoints are told apart.
pub(super) const TABLE_MAX: usize = CHUNK * CHUNK;
/// Classes × protocols.
pub(super) const KINDS_OF_EXCHANGE: usize = Class::ALL.len() * 2;
pub(super) const HANDSHAKES: usize = super::HANDSHAKE_FAILURES.len();
pub(super) const CAUSES: usize = Kind::ALL.len();
pub(super) const CACHE_USES: usize = CacheUse::ALL.len();
/// gRPC's 17 codes, and one for what is none.
pub(super) const GRPC_CODES: usize = 18;
pub(super) const FIRST_STATUS: usize = 100;

/// A table that grows without moving: readers need no lock.
#[derive(Debug)]
pub(super) struct Table<T>(Box<[Chunk<T>]>);

type Chunk<T> = OnceLock<Box<[OnceLock<Box<T>>]>>;

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self((0..CHUNK).map(|_| OnceLock::new()).collect())
    }
}

impl<T: Default> Table<T> {
    /// The row, made when first asked for.
    pub(super) fn row(&self, index: usize) -> Option<&T> {
        let chunk = self.0.get(index / CHUNK)?;
        let rows = chunk.get_or_init(|| (0..CHUNK).map(|_| OnceLock::new()).collect());
        Some(rows.get(index % CHUNK)?.get_or_init(Box::default))
    }

    /// The row, where there is one.
    pub(super) fn at(&self, index: usize) -> Option<&T> {
        self.0.get(index / CHUNK)?.get()?.get(index % CHUNK)?.get().map(|row| &**row)
    }
}

/// A fixed number of counters.
#[derive(Debug)]
pub(super) struct Counters<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; N])
    }
}

impl<const N: usize> Counters<N> {
    pub(super) fn bump(&self, index: usize) {
        if let Some(counter) = self.0.get(index) {
            add(counter, 1);
        }
    }

    pub(super) fn read(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

/// Only the shard's own thread writes, so nothing can come between load and store.
pub(super) fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

/// One thread's counters.
#[derive(Debug, Default)]
pub(super) struct Cells {
    pub(super) routes: Table<RouteCells>,
    pub(super) listeners: Table<ListenerCells>,
    pub(super) endpoints: Table<EndpointCells>,
    pub(super) causes: Counters<CAUSES>,
    pub(super) in_flight: AtomicU64,
    pub(super) cache: Counters<CACHE_USES>,
    pub(super) cache_saved: AtomicU64,
}

/// One route, by class and protocol.
#[derive(Debug)]
pub(super) struct RouteCells([OnceLock<Box<ExchangeCells>>; KINDS_OF_EXCHANGE]);

impl Default for RouteCells {
    fn default() -> Self {
        Self([const { OnceLock::new() }; KINDS_OF_EXCHANGE])
    }
}

impl RouteCells {
    pub(super) fn row(&self, index: usize) -> Option<&ExchangeCells> {
        Some(self.0.get(index)?.get_or_init(Box::default))
    }

    pub(super) fn at(&self, index: usize) -> Option<&ExchangeCells> {
        self.0.get(index)?.get().map(|cells| &**cells)
    }
}

/// Exchanges of one route, class and protocol.
#[derive(Debug, Default)]
pub(super) struct ExchangeCells {
    /// By hundreds, so that a route which only ever says 200 stays small.
    statuses: [OnceLock<Box<Counters<100>>>; 5],
    pub(super) grpc: Counters<GRPC_CODES>,
    pub(super) durations: Counters<{ BUCKETS.len() + 1 }>,
    pub(super) nanoseconds: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
}

impl ExchangeCells {
    /// Counts a status; what is none counts as the nearest, 100 or 599.
    pub(super) fn status(&self, status: u16) {
        let index = usize::from(status.clamp(100, 599)) - FIRST_STATUS;
        if let Some(hundred) = self.statuses.get(index / 100) {
            hundred.get_or_init(Box::default).bump(index % 100);
        }
    }

    /// How often this status was counted.
    pub(super) fn status_count(&self, index: usize) -> u64 {
        let hundred = self.statuses.get(index / 100).and_then(OnceLock::get);
        hundred.map_or(0, |hundred| hundred.read(index % 100))
    }

    pub(super) fn duration(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        // Up to the bound, the bound included; the remainder below a microsecond is lost in it.
        self.durations.bump(BUCKET_MICROS.partition_point(|bound| *bound < micros));
        add(&self.nanoseconds, u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// One listener.
#[derive(Debug, Default)]
pub(super) struct ListenerCells {
    pub(super) opened: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) refused: Counters<2>,
    /// Failed handshakes by cause, and the good ones behind them.
    pub(super) handshakes: Counters<{ HANDSHAKES + 1 }>,
    /// By version, then by whether it was resumed.
    pub(super) sessions: Counters<4>,
}

/// One endpoint.
#[derive(Debug, Default)]
pub(super) struct EndpointCells {
    pub(super) open: AtomicU64,
    pub(super) streams: AtomicU64,
    /// Workers that cannot connect.
    pub(super) failing: AtomicU64,
    pub(super) requests: AtomicU64,
    /// Failed connects by cause, and the good ones behind them.
    pub(super) connects: Counters<{ CAUSES + 1 }>,
    pub(super) retries: Counters<CAUSES>,
    pub(super) unafforded: AtomicU64,
    pub(super) hedges: AtomicU64,
}
