//! Composition and life: Plan → listeners and workers → run → drain.
//!
//! The control runtime (this thread) carries no request: it has the admin listener, the signals,
//! and the watch over certificates.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

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
use crate::downstream::handshake::trust::Trust;
use crate::downstream::plan::{Address, ListenerPlan};
use crate::pipeline::admit::rate::Rates;
use crate::telemetry::Telemetry;
use crate::telemetry::access::AccessWriter;
use crate::telemetry::metrics::Metrics;
use crate::upstream::plan::ClusterPlan;
use crate::upstream::roster::{Members, Roster};
use crate::worker::{self, Ground, Live, Phase};

pub mod life;
mod status;

/// Why Ravelin did not start.
#[derive(Debug)]
pub struct StartError(String);

impl StartError {
    fn new(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }

    /// An error that leaves its cause to be asked for.
    fn caused(error: &dyn std::error::Error) -> Self {
        match error.source() {
            Some(cause) => Self::new(error, cause),
            None => Self(error.to_string()),
        }
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
    roster: Arc<Roster>,
    stop_admin: Option<oneshot::Sender<()>>,
    _files: Vec<SocketFile>,
    _watches: Vec<Watch>,
}

impl Server {
    /// Binds every listener, loads every file and starts the workers. Must be called on the
    /// control runtime.
    ///
    /// # Errors
    /// What cannot be bound, read or started; nothing is left behind.
    pub async fn start(plan: Plan) -> Result<Self, StartError> {
        let roster = Arc::new(Roster::default());
        let clusters = members(&plan.clusters, &roster)?;
        let rates = Arc::new(Rates::new(&plan.routes));
        let live = Arc::new(Live { plan, clusters, rates });
        let plan = &live.plan;
        let metrics = Metrics::new();
        let access = AccessWriter::spawn(&plan.access, metrics.dropped_records())
            .map_err(|error| StartError::new("access record", error))?;
        let mut ground = Foundation::default();
        for listener in &plan.listeners {
            ground.lay(listener, plan.workers)?;
        }
        metrics.set_certificates(status::certificates(&ground.stores));
        let known = Arc::clone(&roster);
        metrics.set_endpoints(move || known.known());
        let (phase, watching) = watch::channel(Phase::Running);
        let live = Arc::new(ArcSwap::new(live));
        let mut workers = Vec::new();
        for (index, grounds) in ground.workers.into_iter().enumerate() {
            let telemetry = Telemetry::prepare(&metrics, access.log());
            let worker =
                worker::spawn(index, Arc::clone(&live), grounds, watching.clone(), telemetry)
                    .map_err(|error| StartError::new("worker", error))?;
            workers.push(worker);
        }
        let mut server = Self {
            listening: ground.listening,
            admin: None,
            readiness: Arc::new(Readiness::default()),
            phase,
            workers,
            access,
            metrics,
            live,
            roster,
            stop_admin: None,
            _files: ground.files,
            _watches: ground.watches,
        };
        server.open_admin(ground.stores).await?;
        server.readiness.set(admin::Phase::Ready);
        Ok(server)
    }

    async fn open_admin(&mut self, stores: Vec<(Arc<str>, Arc<Store>)>) -> Result<(), StartError> {
        let live = self.live.load_full();
        let Some(address) = live.plan.admin else { return Ok(()) };
        let failed = |error| StartError::new(format_args!("admin listener {address}"), error);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        self.admin = Some(listener.local_addr().map_err(failed)?);
        let (stop, stopped) = oneshot::channel::<()>();
        let admin = Admin {
            readiness: Arc::clone(&self.readiness),
            metrics: Arc::clone(&self.metrics),
            status: status::reporter(
                Arc::clone(&self.live),
                self.listening.clone(),
                stores,
                &self.metrics,
            ),
        };
        self.stop_admin = Some(stop);
        tokio::spawn(async move {
            let stopped = async move {
                let _ = stopped.await;
            };
            if let Err(error) = admin::serve(listener, admin, stopped).await {
                tracing::error!(%error, "the admin listener ended");
            }
        });
        Ok(())
    }

    /// Name and real address of every listener.
    pub fn listening(&self) -> &[(Arc<str>, Address)] {
        &self.listening
    }

    /// The address of the listener with this name; none for a Unix socket.
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        self.listening.iter().find(|(known, _)| &**known == name).and_then(|(_, address)| {
            match address {
                Address::Tcp(address) => Some(*address),
                Address::Unix(_) => None,
            }
        })
    }

    /// Where the admin listener listens.
    pub const fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// What is counted.
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What is known of every endpoint.
    pub const fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Reopens the access record's file.
    pub fn reopen(&self) {
        self.access.reopen();
    }

    /// Leaves: unready, wait for load balancers, no new connections, GOAWAY, wait for what is
    /// under way, at the latest until the grace is over.
    pub async fn drain(mut self) {
        let shutdown = self.live.load().plan.shutdown;
        self.readiness.set(admin::Phase::Draining);
        tokio::time::sleep(shutdown.delay).await;
        let _ = self.phase.send(Phase::Draining(shutdown.grace));
        let workers = std::mem::take(&mut self.workers);
        let joined = tokio::task::spawn_blocking(move || {
            for worker in workers {
                if let Ok(Err(error)) = worker.join() {
                    tracing::error!(%error, "a worker ended badly");
                }
            }
        });
        let _ = joined.await;
        if let Some(stop) = self.stop_admin.take() {
            let _ = stop.send(());
        }
        self.access.close();
    }
}

/// What listeners stand on, while they are laid one by one.
#[derive(Default)]
struct Foundation {
    listening: Vec<(Arc<str>, Address)>,
    workers: Vec<Vec<Ground>>,
    stores: Vec<(Arc<str>, Arc<Store>)>,
    files: Vec<SocketFile>,
    watches: Vec<Watch>,
}

impl Foundation {
    fn lay(&mut self, plan: &Arc<ListenerPlan>, workers: usize) -> Result<(), StartError> {
        let tls = self.secure(plan)?;
        let bound = bind::listeners(plan, workers).map_err(|error| StartError::caused(&error))?;
        let gate = Gate::new(plan);
        self.listening.push((Arc::clone(&plan.name), bound.address));
        self.files.extend(bound.file);
        self.workers.resize_with(workers, Vec::new);
        for (worker, socket) in self.workers.iter_mut().zip(bound.listeners) {
            worker.push(Ground {
                plan: Arc::clone(plan),
                socket,
                gate: Arc::clone(&gate),
                tls: tls.clone(),
            });
        }
        Ok(())
    }

    fn secure(&mut self, plan: &ListenerPlan) -> Result<Option<Secured>, StartError> {
        let Some(tls) = &plan.tls else { return Ok(None) };
        let failed = |error: &dyn fmt::Display| {
            StartError::new(format_args!("listener {}", plan.name), error)
        };
        let beside = tls.client_auth.ca().cloned();
        let store = Store::load_beside(&tls.certificates, beside, handshake::provider())
            .map_err(|error| failed(&error))?;
        let trust = Trust::new(tls, &store).map_err(|error| failed(&error))?;
        let config = trust.config();
        let watch = watch_certificates(Arc::clone(&store), trust.renewed());
        self.watches.push(watch.map_err(|error| failed(&error))?);
        self.stores.push((Arc::clone(&plan.name), Arc::clone(&store)));
        Ok(Some(Secured { config, store }))
    }
}

/// The endpoints of every cluster, with the state that `roster` knows of them.
fn members(
    clusters: &[Arc<ClusterPlan>],
    roster: &Arc<Roster>,
) -> Result<Vec<Arc<Members>>, StartError> {
    let each = |cluster: &Arc<ClusterPlan>| {
        if cluster.tls.insecure_skip_verify {
            tracing::warn!(cluster = %cluster.name, "INSECURE: the certificates of this cluster are NOT verified (tls.insecure_skip_verify)");
        }
        let members = Members::new(cluster, roster)
            .map_err(|error| StartError::new(format_args!("cluster {}", cluster.name), error))?;
        members.tend();
        Ok(members)
    };
    clusters.iter().map(each).collect()
}
