//! Composition and life: Plan → listeners and workers → run → drain.
//!
//! The control runtime (this thread) carries no request: it has the admin listener, the signals,
//! and the watch over certificates.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::admin::{self, Admin, Readiness};
use crate::config::plan::Plan;
use crate::downstream::accept::gate::Gate;
use crate::downstream::bind::{self, SocketFile};
use crate::downstream::certificates::Store;
use crate::downstream::certificates::watch::{Watch, watch as watch_certificates};
use crate::downstream::connection::Secured;
use crate::downstream::handshake;
use crate::downstream::plan::{Address, ListenerPlan};
use crate::telemetry::access::AccessWriter;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{Telemetry, metrics};
use crate::upstream::plan::ClusterPlan;
use crate::upstream::tls;
use crate::worker::{self, Ground, Live, Phase};

mod life;
mod status;

/// Why Ravelin did not start.
#[derive(Debug)]
pub struct StartError(String);

impl StartError {
    fn new(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// A running Ravelin. It goes on until [`Server::drain`] is called; dropping it cuts everything.
pub struct Server {
    /// Name and real address of every listener.
    listening: Vec<(Arc<str>, Address)>,
    admin: Option<SocketAddr>,
    readiness: Arc<Readiness>,
    phase: watch::Sender<Phase>,
    workers: Vec<JoinHandle<std::io::Result<()>>>,
    access: AccessWriter,
    metrics: Arc<Metrics>,
    live: Arc<ArcSwap<Live>>,
    stop_admin: Option<oneshot::Sender<()>>,
    _files: Vec<SocketFile>,
    _watches: Vec<Watch>,
}
