//! A worker: one thread with a runtime of its own, its listeners' sockets, its upstream connections
//! and its counters. A request never leaves it.
//!
//! It does what control says by [`Order`], one after the other; between two of them requests see
//! either all of a new plan or nothing of it.

mod composed;
mod listening;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};

use self::composed::Composed;
use self::listening::{Connections, Opened};
use crate::config::plan::Plan;
use crate::downstream::accept::Waiting;
use crate::downstream::accept::gate::Gate;
use crate::downstream::bind::Listener;
use crate::downstream::connection::Secured;
use crate::downstream::plan::ListenerPlan;
use crate::pipeline::admit::rate::Rates;
use crate::pipeline::cache::Cache;
use crate::pipeline::quota::Quotas;
use crate::telemetry::Telemetry;
use crate::upstream::roster::Members;

/// How often a worker hands over what it has collected.
const TICK: Duration = Duration::from_millis(100);

/// How soon an application whose index did not come is asked for once more.
const SOON: Duration = Duration::from_secs(1);
/// How often it is looked for another generation of it.
const AGAIN: Duration = Duration::from_secs(10);

/// The plan, and what was made of its files once for all workers.
pub struct Live {
    /// What was configured.
    pub plan: Plan,
    /// The endpoints of each cluster, in the plan's order.
    pub clusters: Vec<Arc<Members>>,
    /// How often each client has asked.
    pub rates: Arc<Rates>,
    /// Which instances may ask no more; `None`: no route wants to know.
    pub quotas: Option<Arc<Quotas>>,
    /// What is kept of answers; `None`: no route keeps any.
    pub cache: Option<Arc<Cache>>,
}

/// What control tells a worker.
pub enum Order {
    /// Accept on one more listener.
    Open(Ground),
    /// What the next connections of the listener with this number are told. Those it has are asked
    /// to go when what they carry is done.
    Tell(u64, Told),
    /// Accept no more on the listener with this number; its connections end when what they carry is
    /// done, at the latest after this.
    Close(u64, Duration),
    /// Another plan for the next request. Told back when it is in force.
    Follow(Arc<Live>, oneshot::Sender<()>),
    /// Accept nothing more, and end when what is carried is done, at the latest after this.
    Leave(Duration, Waiting),
    /// End at once, whatever is carried.
    Cut,
}

/// What a listener's connections are told.
#[derive(Clone)]
pub struct Told {
    /// Its plan.
    pub plan: Arc<ListenerPlan>,
    /// Its TLS, shared by all workers.
    pub tls: Option<Secured>,
}

/// One worker's end of a listener, before it is on its thread.
pub struct Ground {
    /// Its number, which it keeps whatever it is called.
    pub id: u64,
    /// What its connections are told.
    pub told: Told,
    /// Its sockets, at least one.
    pub sockets: Vec<Listener>,
    /// Its caps, shared by all workers.
    pub gate: Arc<Gate>,
}

/// A worker's thread, and the way to it.
pub struct Worker {
    /// What it is to do. Dropped: it cuts everything and ends.
    pub orders: mpsc::UnboundedSender<Order>,
    /// Its end, and how many exchanges it has cut.
    pub thread: JoinHandle<io::Result<u64>>,
}

/// Starts a worker's thread. It ends when it is told to [`Order::Leave`].
///
/// # Errors
/// Where no thread can be had, or not what it needs of the system (descriptors, say).
pub fn spawn(
    index: usize,
    live: Arc<Live>,
    telemetry: impl FnOnce() -> Telemetry + Send + 'static,
) -> io::Result<Worker> {
    let (orders, told) = mpsc::unbounded_channel();
    let (begun, begins) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default());
        // Whoever starts it waits to be told.
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = begun.send(Err(error));
                return Ok(0);
            }
        };
        let _ = begun.send(Ok(()));
        let telemetry = Rc::new(telemetry());
        let before = runtime.block_on(run(index, live, told, Rc::clone(&telemetry)));
        // What is cut ends, and is recorded, with the runtime that carries it.
        drop(runtime);
        Ok(telemetry.cut() - before)
    })?;
    begins.recv().map_err(io::Error::other)??;
    Ok(Worker { orders, thread })
}

/// Until it is told to leave; how many exchanges had been cut before that, with listeners that were closed.
async fn run(
    index: usize,
    live: Arc<Live>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    telemetry: Rc<Telemetry>,
) -> u64 {
    let service = Rc::new(Composed::new(&live, &telemetry));
    drop(live);
    let connections = Rc::new(Connections::default());
    let mut opened: Vec<Opened<Composed>> = Vec::new();
    let ticking = Rc::clone(&telemetry);
    tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(TICK).await;
            ticking.tick();
        }
    });
    // The cache is one for all workers.
    if index == 0 {
        let service = Rc::clone(&service);
        tokio::task::spawn_local(async move {
            loop {
                let known = service.tend().await;
                tokio::time::sleep(if known == Some(false) { SOON } else { AGAIN }).await;
            }
        });
    }
    let (grace, waiting) = loop {
        match orders.recv().await {
            Some(Order::Open(ground)) => {
                opened.push(Opened::new(ground, &service, &telemetry, &connections));
            }
            Some(Order::Tell(id, told)) => {
                if let Some(one) = opened.iter().find(|one| one.id() == id) {
                    one.tell(told, &service, &telemetry);
                }
            }
            Some(Order::Close(id, grace)) => {
                for one in opened.extract_if(.., |one| one.id() == id) {
                    one.close(grace);
                }
            }
            Some(Order::Follow(live, followed)) => {
                service.follow(&live, &telemetry);
                // Whoever has stopped waiting for it need not be told.
                let _ = followed.send(());
            }
            Some(Order::Leave(grace, waiting)) => break (grace, waiting),
            Some(Order::Cut) | None => break (Duration::ZERO, Waiting::Take),
        }
    };
    join_all(opened.into_iter().map(|one| one.leave(waiting))).await;
    let why = tokio::select! {
        biased;
        () = connections.none() => None,
        () = tokio::time::sleep(grace) => Some("the grace is over"),
        () = told_to_cut(orders) => Some("told to cut"),
    };
    if let Some(why) = why {
        tracing::warn!(why, connections = connections.count(), "cutting what is left");
        connections.cut_all();
    }
    telemetry.tick();
    telemetry.cut()
}

/// Also when nobody is left to tell.
async fn told_to_cut(mut orders: mpsc::UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        if matches!(order, Order::Cut) {
            return;
        }
    }
}
