//! What is told about exchanges: counters, the access record, and the ids that tie it to others'.
//!
//! A worker writes into its own [`metrics::Shard`] and its own [`access::AccessLog`]; nothing here
//! takes a lock or looks a name up on the path of a request.

pub mod access;
pub mod grpc_status;
pub mod log;
pub mod metrics;
pub mod plan;
pub mod redact;
pub mod reloads;
pub mod trace;
pub mod recorder;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use access::AccessLog;
use metrics::{Gauge, ListenerId, Metrics, Refusal, Shard, TlsVersion};

use crate::exchange::Tls;

/// Where one worker tells what happens.
pub struct Telemetry {
    /// Its counters.
    pub shard: Rc<Shard>,
    /// Its access record.
    pub access: AccessLog,
    /// What all workers' counters add up to, and the ids to count under.
    pub metrics: Arc<Metrics>,
    /// Exchanges that the worker has cut.
    cut: Cell<u64>,
}

impl Telemetry {
    /// A worker's telemetry, to be finished on its thread.
    pub fn prepare(
        metrics: &Arc<Metrics>,
        access: AccessLog,
    ) -> impl FnOnce() -> Self + Send + 'static {
        let metrics = Arc::clone(metrics);
        let shard = metrics.shard();
        move || Self { shard: Rc::new(shard), access, metrics, cut: Cell::new(0) }
    }

    /// Hands over what has been collected; called some times a second.
    pub fn tick(&self) {
        self.access.flush();
    }

    /// How many exchanges the worker has cut.
    pub fn cut(&self) -> u64 {
        self.cut.get()
    }

    /// An exchange was dropped before its end, by us or by its client.
    fn dropped(&self, by_us: bool) {
        self.cut.set(self.cut.get() + u64::from(by_us));
    }

    /// A connection that is open until the guard is dropped.
    pub fn connection(&self, listener: ListenerId) -> Gauge {
        self.shard.connection(listener)
    }

    /// A connection that a cap kept out.
    pub fn connection_refused(&self, listener: ListenerId, cap: Refusal) {
        self.shard.refused(listener, cap);
    }

    /// A TLS handshake that came to its end.
    pub fn handshaken(&self, listener: ListenerId, tls: &Tls) {
        let version = if tls.version == "TLSv1.2" { TlsVersion::Tls12 } else { TlsVersion::Tls13 };
        self.shard.handshake(listener, version, tls.resumed);
    }

    /// A connection that came to nothing before HTTP.
    pub fn handshake_failed(&self, listener: ListenerId, cause: &str) {
        self.shard.handshake_failed(listener, cause);
    }
}
