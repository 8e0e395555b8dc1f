//! One thread that carries requests: its runtime, its listeners, its pipeline and its upstream
//! connections. Nothing of it is shared; a request never changes threads.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response};
use tokio::sync::{Notify, watch};

use crate::body::Body;
use crate::config::plan::Plan;
use crate::downstream::accept::accept_loop;
use crate::downstream::accept::gate::Gate;
use crate::downstream::bind::Listener;
use crate::downstream::connection::{Listening, Secured, serve};
use crate::downstream::exchange::Service;
use crate::downstream::plan::ListenerPlan;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::pipeline::Pipeline;
use crate::pipeline::admit::rate::Rates;
use crate::pipeline::cache::Cache;
use crate::telemetry::Telemetry;
use crate::upstream::cluster::Cluster;
use crate::upstream::roster::Members;

/// How often a worker hands over what it has collected.
const TICK: Duration = Duration::from_millis(100);

/// The plan, and what was made of its files once for all workers.
pub struct Live {
    /// What was configured.
    pub plan: Plan,
    /// The endpoints of each cluster, in the plan's order.
    pub clusters: Vec<Arc<Members>>,
    /// How often each client has asked.
    pub rates: Arc<Rates>,
    /// What is kept of answers; `None`: no route keeps any.
    pub cache: Option<Arc<Cache>>,
}

/// How far the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Takes requests.
    Running,
    /// Takes no new connections; ends when those it has are done, at the latest after this.
    Draining(Duration),
}

/// One worker's end of a listener, before it is on its thread.
pub struct Ground {
    /// What the listener is told.
    pub plan: Arc<ListenerPlan>,
    /// Its socket.
    pub socket: Listener,
    /// Its caps, shared by all workers.
    pub gate: Arc<Gate>,
    /// Its TLS, shared by all workers.
    pub tls: Option<Secured>,
}

/// Starts a worker's thread. It ends when `phase` says so.
///
/// # Errors
/// Where no thread can be had.
pub fn spawn(
    index: usize,
    live: Arc<ArcSwap<Live>>,
    grounds: Vec<Ground>,
    phase: watch::Receiver<Phase>,
    telemetry: impl FnOnce() -> Telemetry + Send + 'static,
) -> io::Result<JoinHandle<io::Result<()>>> {
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())?;
        runtime.block_on(run(live, grounds, phase, Rc::new(telemetry())));
        Ok(())
    })
}

async fn run(
    live: Arc<ArcSwap<Live>>,
    grounds: Vec<Ground>,
    mut phase: watch::Receiver<Phase>,
    telemetry: Rc<Telemetry>,
) {
    let service = Rc::new(Composed::new(live, &telemetry));
    let (leave, drain) = watch::channel(false);
    let open = Rc::new(Open::default());
    let accepting: Vec<_> = grounds
        .into_iter()
        .map(|ground| {
            let listening = Rc::new(Listening {
                id: telemetry.metrics.listener(&ground.plan.name),
                plan: ground.plan,
                tls: ground.tls,
                service: Rc::clone(&service),
                drain: drain.clone(),
                telemetry: Rc::clone(&telemetry),
            });
            let mut drain = drain.clone();
            let stop = async move { drain.wait_for(|draining| *draining).await.map_or((), |_| ()) };
            let open = Rc::clone(&open);
            tokio::task::spawn_local(accept_loop(
                ground.socket,
                ground.gate,
                stop,
                move |stream, peer, permit| {
                    let permit = match permit {
                        Ok(permit) => permit,
                        Err(refused) => return listening.refused(refused),
                    };
                    let one = One::new(&open);
                    let serving = serve(Rc::clone(&listening), stream, peer, permit);
                    tokio::task::spawn_local(async move {
                        serving.await;
                        drop(one);
                    });
                },
            ))
        })
        .collect();
    let ticking = Rc::clone(&telemetry);
    tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(TICK).await;
            ticking.tick();
        }
    });
    let grace = match phase.wait_for(|phase| *phase != Phase::Running).await.as_deref() {
        Ok(Phase::Draining(grace)) => *grace,
        Ok(Phase::Running) | Err(_) => Duration::ZERO,
    };
    let _ = leave.send(true);
    for loops in accepting {
        let _ = loops.await;
    }
    if tokio::time::timeout(grace, open.none()).await.is_err() {
        tracing::warn!(connections = open.count.get(), "the grace is over: cutting what is left");
    }
    telemetry.tick();
}

/// Connections that are still carried.
#[derive(Default)]
struct Open {
    count: Cell<usize>,
    less: Notify,
}

impl Open {
    async fn none(&self) {
        while self.count.get() > 0 {
            self.less.notified().await;
        }
    }
}

struct One(Rc<Open>);

impl One {
    fn new(open: &Rc<Open>) -> Self {
        open.count.set(open.count.get() + 1);
        Self(Rc::clone(open))
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        self.0.less.notify_one();
    }
}

/// The pipeline of the plan that is in force. A new plan is taken up by the next request; what is
/// under way ends with the one it began with.
struct Composed {
    telemetry: Rc<Telemetry>,
    live: Arc<ArcSwap<Live>>,
    current: RefCell<Current>,
}

#[derive(Clone)]
struct Current {
    live: Arc<Live>,
    pipeline: Rc<Pipeline>,
}

impl Current {
    fn new(live: Arc<Live>, telemetry: &Rc<Telemetry>) -> Self {
        let clusters: Vec<_> =
            live.clusters.iter().map(|members| Cluster::new(members, telemetry)).collect();
        let by_name = |name: &str| clusters.iter().find(|cluster| &*cluster.name == name).cloned();
        let rates = Arc::clone(&live.rates);
        let pipeline = Pipeline::new(&live.plan.routes, rates, &telemetry.metrics, by_name);
        let pipeline = Rc::new(pipeline.with_cache(live.cache.clone()));
        Self { live, pipeline }
    }
}

impl Composed {
    fn new(live: Arc<ArcSwap<Live>>, telemetry: &Rc<Telemetry>) -> Self {
        let current = RefCell::new(Current::new(live.load_full(), telemetry));
        Self { telemetry: Rc::clone(telemetry), live, current }
    }

    fn pipeline(&self) -> Rc<Pipeline> {
        let live = self.live.load();
        if !Arc::ptr_eq(&live, &self.current.borrow().live) {
            let next = Current::new(Arc::clone(&live), &self.telemetry);
            self.current.replace(next);
        }
        Rc::clone(&self.current.borrow().pipeline)
    }
}

impl Service for Composed {
    async fn call(
        &self,
        request: Request<Body>,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Error> {
        self.pipeline().handle(request, exchange).await
    }
}
