//! A worker's end of a listener while it accepts, and the connections that came of it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinHandle};

use super::{Ground, Told};
use crate::downstream::accept::gate::{Permit, Refused};
use crate::downstream::accept::{Waiting, accept_loop};
use crate::downstream::connection::{Listening, serve};
use crate::downstream::exchange::Service;
use crate::downstream::stream::Stream;
use crate::exchange::Ending;
use crate::telemetry::Telemetry;

/// A listener that is accepted on.
pub(super) struct Opened<S> {
    id: u64,
    current: Rc<RefCell<Current<S>>>,
    stop: watch::Sender<Option<Waiting>>,
    accepting: Vec<JoinHandle<std::io::Result<()>>>,
    connections: Rc<Connections>,
}

/// What the next connection is told.
struct Current<S> {
    listening: Rc<Listening<S>>,
    /// Turns true for all connections that were told the same.
    leave: watch::Sender<bool>,
}

impl<S: Service + 'static> Current<S> {
    fn new(
        told: Told,
        (leave, drain): (watch::Sender<bool>, Ending),
        service: &Rc<S>,
        telemetry: &Rc<Telemetry>,
    ) -> Self {
        let listening = Rc::new(Listening {
            id: telemetry.metrics.listener(&told.plan.name),
            plan: told.plan,
            tls: told.tls,
            service: Rc::clone(service),
            drain,
            telemetry: Rc::clone(telemetry),
        });
        Self { listening, leave }
    }
}

impl<S: Service + 'static> Opened<S> {
    pub(super) fn new(
        ground: Ground,
        service: &Rc<S>,
        telemetry: &Rc<Telemetry>,
        connections: &Rc<Connections>,
    ) -> Self {
        let current = Current::new(ground.told, Ending::channel(), service, telemetry);
        let current = Rc::new(RefCell::new(current));
        let (stop, stopped) = watch::channel(None);
        let id = ground.id;
        let accepting = ground.sockets.into_iter().map(|socket| {
            let (current, connections) = (Rc::clone(&current), Rc::clone(connections));
            let take = move |stream, peer, permit: Result<Permit, Refused>| {
                let listening = Rc::clone(&current.borrow().listening);
                match permit {
                    Ok(permit) => connections.carry(id, listening, stream, peer, permit),
                    Err(refused) => listening.refused(refused),
                }
            };
            let stop = told_to_stop(stopped.clone());
            tokio::task::spawn_local(accept_loop(socket, Arc::clone(&ground.gate), stop, take))
        });
        let accepting = accepting.collect();
        Self { id, current, stop, accepting, connections: Rc::clone(connections) }
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// What connections are told from now on; those told otherwise are asked to go.
    pub(super) fn tell(&self, told: Told, service: &Rc<S>, telemetry: &Rc<Telemetry>) {
        let ending = self.current.borrow().listening.drain.renewed();
        let next = Current::new(told, ending, service, telemetry);
        let last = self.current.replace(next);
        last.leave.send_replace(true);
    }

    /// Accepts no more; what is carried may end within `grace`.
    pub(super) fn close(self, grace: Duration) {
        tokio::task::spawn_local(async move {
            let (id, connections) = (self.id, Rc::clone(&self.connections));
            self.leave(Waiting::Take).await;
            tokio::time::sleep(grace).await;
            connections.cut(id);
        });
    }

    /// Accepts no more, and asks every connection to go.
    pub(super) async fn leave(self, waiting: Waiting) {
        self.stop.send_replace(Some(waiting));
        // Before the last ones are taken, so that they know from their beginning.
        self.current.borrow().leave.send_replace(true);
        for accepting in self.accepting {
            if let Ok(Err(error)) = accepting.await {
                tracing::error!(%error, "a listener ended badly");
            }
        }
    }
}

async fn told_to_stop(mut stop: watch::Receiver<Option<Waiting>>) -> Waiting {
    let told = stop.wait_for(Option::is_some).await;
    told.ok().and_then(|told| *told).unwrap_or(Waiting::Take)
}

/// A connection: its listener's number, and how to cut it.
struct Carried {
    listener: u64,
    ending: Ending,
    task: AbortHandle,
}

/// Every connection that a worker carries.
#[derive(Default)]
pub(super) struct Connections {
    next: Cell<u64>,
    /// By number.
    open: RefCell<HashMap<u64, Carried>>,
    less: Notify,
}

impl Connections {
    fn carry<S: Service + 'static>(
        self: &Rc<Self>,
        listener: u64,
        listening: Rc<Listening<S>>,
        stream: Stream,
        peer: Option<std::net::SocketAddr>,
        permit: Permit,
    ) {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let one = One(number, Rc::clone(self));
        let ending = listening.drain.clone();
        let serving = serve(listening, stream, peer, permit);
        let task = tokio::task::spawn_local(async move {
            serving.await;
            drop(one);
        });
        let carried = Carried { listener, ending, task: task.abort_handle() };
        self.open.borrow_mut().insert(number, carried);
    }

    /// Ends those of a listener, whatever they carry.
    fn cut(&self, listener: u64) {
        let open = self.open.borrow();
        let left: Vec<_> = open.values().filter(|one| one.listener == listener).collect();
        if !left.is_empty() {
            tracing::warn!(
                connections = left.len(),
                "the grace of a closed listener is over: cutting what is left"
            );
        }
        for Carried { ending, task, .. } in left {
            // First, so that records tell whose doing it is.
            ending.cut();
            task.abort();
        }
    }

    /// Whatever they carry was cut by Ravelin, once the runtime that carries them goes.
    pub(super) fn cut_all(&self) {
        self.open.borrow().values().for_each(|one| one.ending.cut());
    }

    pub(super) fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// When there is none.
    pub(super) async fn none(&self) {
        while self.count() > 0 {
            self.less.notified().await;
        }
    }
}

/// A connection, until it has ended or was cut.
struct One(u64, Rc<Connections>);

impl Drop for One {
    fn drop(&mut self) {
        self.1.open.borrow_mut().remove(&self.0);
        self.1.less.notify_one();
    }
}
