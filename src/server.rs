//! Composition and life: Plan → listeners and workers → run, reload → drain.
//!
//! The control runtime (this thread) carries no request: it has the admin listener, the signals,
//! and the watch over certificates and the configuration.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use self::changes::Changes;
use self::clusters::Clusters;
use self::grounds::Grounds;
use self::hurry::Hurry;
use self::legacy::Legacy;
use crate::admin::calls::Control;
use crate::admin::{self, Admin, Drained, Readiness};
use crate::config::plan::Plan;
use crate::downstream::plan::Address;
use crate::pipeline::admit::rate::Rates;
use crate::pipeline::cache::Cache;
use crate::pipeline::cache::generation::Which;
use crate::pipeline::cache::purge::Purge;
use crate::pipeline::quota::Quotas;
use crate::telemetry::Telemetry;
use crate::telemetry::access::AccessWriter;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::reloads::Reloads;
use crate::upstream::roster::Roster;
use crate::worker::{self, Live, Order, Worker};

pub mod hurry;
pub mod life;
pub mod changes;
pub mod legacy;
mod activation;
mod clusters;
mod grounds;
mod handover;
mod leave;
mod status;
mod succession;

/// Why Ravelin did not start.
#[derive(Debug)]
pub struct StartError(String);

impl StartError {
    fn new(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }

    /// Several, of which each keeps it from starting.
    fn all(errors: Vec<Self>) -> Self {
        let errors: Vec<_> = errors.into_iter().map(|error| error.0).collect();
        Self(errors.join("; "))
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
    grounds: Grounds,
    clusters: Clusters,
    admin: Option<SocketAddr>,
    /// One more descriptor of the admin listener, for the next process.
    admin_socket: Option<std::net::TcpListener>,
    readiness: Arc<Readiness>,
    drained: Arc<Drained>,
    workers: Vec<Worker>,
    access: AccessWriter,
    metrics: Arc<Metrics>,
    live: Arc<ArcSwap<Live>>,
    face: Arc<ArcSwap<Face>>,
    reloads: Arc<Reloads>,
    stop_admin: Option<oneshot::Sender<()>>,
    hurry: Hurry,
}

/// What control alone knows, for the status page and the metrics.
#[derive(Default)]
struct Face {
    /// Name and real address of every listener.
    listening: Vec<(Arc<str>, Address)>,
    stores: status::Stores,
}

impl Server {
    /// Binds every listener, loads every file and starts the workers. Must be called on the
    /// control runtime.
    ///
    /// # Errors
    /// What cannot be bound, read or started; nothing is left behind.
    pub async fn start(plan: Plan) -> Result<Self, StartError> {
        Self::start_on(plan, &mut Legacy::default(), None).await
    }

    /// As [`Server::start`], on sockets that are open already, as far as the plan asks for them; the
    /// others are left where they are.
    /// `control` is asked what admin calls ask for that concerns the whole.
    ///
    /// # Errors
    /// As there.
    pub async fn start_on(
        plan: Plan,
        legacy: &mut Legacy,
        control: Option<Control>,
    ) -> Result<Self, StartError> {
        let grounds = Grounds::default();
        let steps = grounds.prepare(&plan.listeners, plan.workers, legacy);
        let steps = steps.map_err(StartError::all)?;
        let mut clusters = Clusters::default();
        let next = clusters.prepare(&plan.clusters).map_err(StartError::all)?;
        let members = next.members();
        clusters.follow(next);
        let rates = Arc::new(Rates::new(&plan.routes));
        let quotas = Quotas::for_plan(None, &plan.routes);
        let cache = plan.keeps().then(|| Cache::new(plan.cache.clone()));
        let live = Arc::new(Live { plan, clusters: members, rates, quotas, cache });
        let plan = &live.plan;
        let metrics = Metrics::new();
        let access = AccessWriter::spawn(&plan.access, metrics.dropped_records())
            .map_err(|error| StartError::new("access record", error))?;
        let mut workers = Vec::new();
        for index in 0..plan.workers.max(1) {
            let telemetry = Telemetry::prepare(&metrics, access.log());
            let worker = worker::spawn(index, Arc::clone(&live), telemetry)
                .map_err(|error| StartError::new("worker", error))?;
            workers.push(worker);
        }
        let mut server = Self {
            grounds,
            clusters,
            admin: None,
            admin_socket: None,
            readiness: Arc::new(Readiness::default()),
            drained: Arc::default(),
            workers,
            access,
            metrics,
            live: Arc::new(ArcSwap::new(Arc::clone(&live))),
            face: Arc::default(),
            reloads: Arc::default(),
            stop_admin: None,
            hurry: Hurry::new(),
        };
        // The last that can fail comes before the first connection is taken.
        server.open_admin(legacy, control).await?;
        server.keep_drained(std::mem::take(&mut legacy.drained));
        server.grounds.follow(steps, &server.workers, Duration::ZERO);
        server.show();
        let face = Arc::clone(&server.face);
        let known = Arc::clone(server.roster());
        server.metrics.set_cache(status::cache(Arc::clone(&server.live)));
        let live = Arc::clone(&server.live);
        server.metrics.set_endpoints(move || known.known(&live.load().clusters));
        let reloads = status::reloads(&server.reloads, &face);
        server.metrics.set_reloads(reloads);
        server.metrics.set_certificates(move || status::certificates(&face.load().stores));
        server.readiness.set(admin::Phase::Ready);
        Ok(server)
    }

    async fn open_admin(
        &mut self,
        legacy: &mut Legacy,
        control: Option<Control>,
    ) -> Result<(), StartError> {
        let live = self.live.load_full();
        let Some(address) = live.plan.admin else { return Ok(()) };
        let failed = |error| StartError::new(format_args!("admin listener {address}"), error);
        let socket = match legacy.take_admin(address) {
            Some(socket) => socket,
            None => {
                TcpListener::bind(address).await.and_then(TcpListener::into_std).map_err(failed)?
            }
        };
        socket.set_nonblocking(true).map_err(failed)?;
        self.admin_socket = Some(socket.try_clone().map_err(failed)?);
        let listener = TcpListener::from_std(socket).map_err(failed)?;
        self.admin = Some(listener.local_addr().map_err(failed)?);
        let (stop, stopped) = oneshot::channel::<()>();
        let admin = Admin {
            readiness: Arc::clone(&self.readiness),
            metrics: Arc::clone(&self.metrics),
            status: status::reporter(
                Arc::clone(&self.live),
                Arc::clone(&self.face),
                &self.metrics,
                &self.reloads,
            ),
            roster: Arc::clone(self.roster()),
            clusters: {
                let live = Arc::clone(&self.live);
                Arc::new(move || live.load().clusters.clone())
            },
            drained: Arc::clone(&self.drained),
            control,
            purge: forget(Arc::clone(&self.live)),
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

    /// Puts another plan in force, and returns when every worker follows it. What is the same in
    /// both goes on untouched; what is under way ends with the plan that it began with.
    ///
    /// # Errors
    /// Everything that cannot be bound or read; the plan in force stays.
    pub async fn reload(&mut self, mut plan: Plan) -> Result<Changes, Vec<StartError>> {
        let live = self.live.load_full();
        let changes = Changes::between(&live.plan, &mut plan);
        let mut none = Legacy::default();
        let steps = self.grounds.prepare(&plan.listeners, plan.workers, &mut none);
        let clusters = self.clusters.prepare(&plan.clusters);
        let (steps, clusters) = match (steps, clusters) {
            (Ok(steps), Ok(clusters)) => (steps, clusters),
            (steps, clusters) => {
                let errors = steps.err().into_iter().chain(clusters.err());
                return Err(errors.flatten().collect());
            }
        };
        let rates = Arc::new(live.rates.for_plan(&plan.routes));
        let grace = plan.shutdown.grace;
        let cache = kept(&live, &plan);
        let quotas = Quotas::for_plan(live.quotas.as_ref(), &plan.routes);
        let clusters_of = clusters.members();
        let next = Arc::new(Live { plan, clusters: clusters_of, rates, quotas, cache });
        self.live.store(Arc::clone(&next));
        self.clusters.follow(clusters);
        self.grounds.follow(steps, &self.workers, grace);
        let mut following = Vec::new();
        for worker in &self.workers {
            let (tell, told) = oneshot::channel();
            let _ = worker.orders.send(Order::Follow(Arc::clone(&next), tell));
            following.push(told);
        }
        for told in following {
            let _ = told.await;
        }
        self.show();
        Ok(changes)
    }

    /// Asks every client's connection to go when what it carries is done: clients that come again
    /// are taken, here or wherever they are sent.
    pub fn part(&self) {
        self.grounds.part(&self.workers);
    }

    /// Shows what control knows now.
    fn show(&self) {
        let (listening, stores) = (self.grounds.listening(), self.grounds.stores());
        self.face.store(Arc::new(Face { listening, stores }));
    }

    /// Name and real address of every listener.
    pub fn listening(&self) -> Vec<(Arc<str>, Address)> {
        self.grounds.listening()
    }

    /// The address of the listener with this name; none for a Unix socket.
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        let listening = self.listening();
        let address = listening.into_iter().find(|(known, _)| &**known == name)?.1;
        match address {
            Address::Tcp(address) => Some(address),
            Address::Unix(_) => None,
        }
    }

    /// Where the admin listener listens.
    pub const fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// What is counted.
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// How reloads of the configuration went; told by whoever reads it.
    pub const fn reloads(&self) -> &Arc<Reloads> {
        &self.reloads
    }

    /// What is known of every endpoint.
    pub const fn roster(&self) -> &Arc<Roster> {
        self.clusters.roster()
    }

    /// Reopens the access record's file.
    pub fn reopen(&self) {
        self.access.reopen();
    }

    /// One more descriptor of every socket, for the process that takes over.
    ///
    /// # Errors
    /// Where the system has no more descriptors.
    pub fn legacy(&self) -> std::io::Result<Legacy> {
        let admin = match (self.live.load().plan.admin, &self.admin_socket) {
            (Some(address), Some(socket)) => Some((address, socket.try_clone()?)),
            _ => None,
        };
        Ok(Legacy {
            listeners: self.grounds.copies()?,
            admin,
            drained: self.drained.all(),
            ..Legacy::default()
        })
    }
}

/// The cache of the next plan: the one that is there, unless its bounds are others; what it holds is
/// lost then, since a store cannot shrink.
fn kept(live: &Live, plan: &Plan) -> Option<Arc<Cache>> {
    let same = live.plan.cache == plan.cache;
    let there = live.cache.clone().filter(|_| same);
    plan.keeps().then(|| there.unwrap_or_else(|| Cache::new(plan.cache.clone())))
}

/// The admin listener's way to purge the cache of the plan in force.
fn forget(live: Arc<ArcSwap<Live>>) -> admin::Forget {
    Arc::new(move |what| {
        let live = live.load();
        let Some(cache) = &live.cache else { return admin::Purged::NoCache };
        let purge = match what {
            admin::Purge::All => Purge::All,
            admin::Purge::Host(host) => Purge::Host(host.clone()),
            admin::Purge::Address(address) => Purge::Address(address.clone()),
            admin::Purge::Generation(id) => {
                let which = if id == "old" { Which::Earlier } else { Which::One(id.clone()) };
                return cache
                    .retire(&which)
                    .map_or_else(admin::Purged::Unknown, admin::Purged::Count);
            }
        };
        admin::Purged::Count(cache.purge(&purge))
    })
}
