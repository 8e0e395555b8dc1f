//! What listeners stand on: sockets, certificates, caps. Held by control for all workers, from one
//! plan to the next.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use super::legacy::{Legacy, place_of};
use crate::downstream::accept::gate::Gate;
use crate::downstream::bind::{self, Bound, Listener};
use crate::downstream::certificates::{Store, Watch, watch as watch_certificates};
use crate::downstream::connection::Secured;
use crate::downstream::handshake;
use crate::downstream::handshake::trust::Trust;
use crate::downstream::plan::{Address, ListenerPlan};
use crate::worker::{Ground, Order, Told, Worker};

/// The listeners of the plan in force.
#[derive(Default)]
pub(super) struct Grounds {
    laid: Vec<Laid>,
    next: u64,
}

/// One listener.
struct Laid {
    id: u64,
    plan: Arc<ListenerPlan>,
    bound: Bound,
    gate: Arc<Gate>,
    tls: Option<Watched>,
}

/// TLS, and the watch over its files.
struct Watched {
    secured: Secured,
    _watch: Watch,
}

/// What becomes of one listener of the next plan.
enum Step {
    /// Nothing: it is as it was. Its place among those there are.
    Keep(usize),
    /// Its socket stays, its connections are told something new. `Some`: with other TLS.
    Tell(usize, Arc<ListenerPlan>, Option<Option<Watched>>),
    /// It is new. Its sockets, worker by worker, are ready.
    Open(Laid, Vec<Vec<Listener>>),
}

/// A way to the next plan's listeners that nothing stands in any more.
pub(super) struct Steps(Vec<Step>);

impl Grounds {
    /// Makes ready what the listeners of a plan need beyond what there is; changes nothing.
    /// Sockets are taken from `legacy` where they are among it.
    ///
    /// # Errors
    /// Everything that keeps it from working.
    pub(super) fn prepare(
        &self,
        plans: &[Arc<ListenerPlan>],
        workers: usize,
        legacy: &mut Legacy,
    ) -> Result<Steps, Vec<StartError>> {
        let mut taken = Vec::new();
        let (mut steps, mut errors) = (Vec::new(), Vec::new());
        for plan in plans {
            let known = self.laid.iter().enumerate();
            let free = known.filter(|(place, _)| !taken.contains(place));
            let held = free.map(|(place, laid)| (place, &*laid.plan.name, &laid.plan.address));
            let step = match place_of(&plan.name, &plan.address, held) {
                Some(place) => {
                    taken.push(place);
                    self.stay(place, plan)
                }
                None => lay(plan, workers, legacy),
            };
            match step {
                Ok(step) => steps.push(step),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Steps(steps)) } else { Err(errors) }
    }

    fn stay(&self, place: usize, plan: &Arc<ListenerPlan>) -> Result<Step, StartError> {
        let Some(laid) = self.laid.get(place).filter(|laid| laid.plan != *plan) else {
            return Ok(Step::Keep(place));
        };
        let tls = (laid.plan.tls != plan.tls).then(|| secure(plan)).transpose()?;
        Ok(Step::Tell(place, Arc::clone(plan), tls))
    }

    /// Tells the workers. Listeners that no step names are closed; what their connections carry may
    /// end within `grace`.
    pub(super) fn follow(&mut self, steps: Steps, workers: &[Worker], grace: Duration) {
        let mut known: Vec<_> = std::mem::take(&mut self.laid).into_iter().map(Some).collect();
        let mut take = |place: usize| known.get_mut(place).and_then(Option::take);
        for step in steps.0 {
            match step {
                Step::Keep(place) => self.laid.extend(take(place)),
                Step::Tell(place, plan, tls) => {
                    let Some(mut laid) = take(place) else { continue };
                    laid.gate.follow(&plan);
                    laid.plan = plan;
                    if let Some(tls) = tls {
                        laid.tls = tls;
                    }
                    for worker in workers {
                        let _ = worker.orders.send(Order::Tell(laid.id, laid.told()));
                    }
                    self.laid.push(laid);
                }
                Step::Open(mut laid, sockets) => {
                    laid.id = self.next;
                    self.next += 1;
                    for (worker, sockets) in workers.iter().zip(sockets) {
                        let gate = Arc::clone(&laid.gate);
                        let ground = Ground { id: laid.id, told: laid.told(), sockets, gate };
                        let _ = worker.orders.send(Order::Open(ground));
                    }
                    self.laid.push(laid);
                }
            }
        }
        for gone in known.into_iter().flatten() {
            let id = gone.id;
            // First of all our own descriptors: the last worker to close its own ends the socket,
            // having taken what waits in it.
            drop(gone);
            for worker in workers {
                let _ = worker.orders.send(Order::Close(id, grace));
            }
        }
    }

    /// Asks every connection that there is to go.
    pub(super) fn part(&self, workers: &[Worker]) {
        for laid in &self.laid {
            for worker in workers {
                let _ = worker.orders.send(Order::Tell(laid.id, laid.told()));
            }
        }
    }

    /// Name and real address of every listener.
    pub(super) fn listening(&self) -> Vec<(Arc<str>, Address)> {
        let each = |laid: &Laid| (Arc::clone(&laid.plan.name), laid.bound.address.clone());
        self.laid.iter().map(each).collect()
    }

    /// The certificates of every listener that has some.
    pub(super) fn stores(&self) -> Vec<(Arc<str>, Arc<Store>)> {
        let store = |laid: &Laid| {
            let tls = laid.tls.as_ref()?;
            Some((Arc::clone(&laid.plan.name), Arc::clone(&tls.secured.store)))
        };
        self.laid.iter().filter_map(store).collect()
    }

    /// One more descriptor of every socket, for another process.
    ///
    /// # Errors
    /// Where the system has no more descriptors.
    pub(super) fn copies(&self) -> std::io::Result<Vec<super::legacy::Handed>> {
        let copy = |laid: &Laid| {
            let sockets = laid.bound.sockets.iter().map(Listener::try_clone);
            Ok(super::legacy::Handed {
                name: laid.plan.name.to_string(),
                address: laid.plan.address.clone(),
                owns_file: laid.bound.file.is_some(),
                sockets: sockets.collect::<std::io::Result<_>>()?,
            })
        };
        self.laid.iter().map(copy).collect()
    }

    /// Lets go of everything. Files of Unix sockets stay where another process has the socket now.
    pub(super) fn clear(&mut self, handed_over: bool) {
        for laid in self.laid.drain(..) {
            if let Some(file) = laid.bound.file.filter(|_| handed_over) {
                file.leave();
            }
        }
    }
}

impl Laid {
    fn told(&self) -> Told {
        let tls = self.tls.as_ref().map(|tls| tls.secured.clone());
        Told { plan: Arc::clone(&self.plan), tls }
    }
}

fn lay(plan: &Arc<ListenerPlan>, workers: usize, legacy: &mut Legacy) -> Result<Step, StartError> {
    let tls = secure(plan)?;
    let failed = |error| StartError::new(format_args!("listener {}", plan.name), error);
    let bound = match legacy.take(plan).map_err(failed)? {
        Some(bound) => bound,
        None => bind::listeners(plan, workers).map_err(|error| StartError::caused(&error))?,
    };
    let sockets = bind::spread(&bound.sockets, workers).map_err(failed)?;
    // The number is given when it is opened.
    let laid = Laid { id: 0, plan: Arc::clone(plan), bound, gate: Gate::new(plan), tls };
    Ok(Step::Open(laid, sockets))
}

fn secure(plan: &ListenerPlan) -> Result<Option<Watched>, StartError> {
    let Some(tls) = &plan.tls else { return Ok(None) };
    let failed =
        |error: &dyn fmt::Display| StartError::new(format_args!("listener {}", plan.name), error);
    let beside = tls.client_auth.ca().cloned();
    let store = Store::load_beside(&tls.certificates, beside, handshake::provider())
        .map_err(|error| failed(&error))?;
    let trust = Trust::new(tls, &store).map_err(|error| failed(&error))?;
    let config = trust.config();
    let watch = watch_certificates(Arc::clone(&store), trust.renewed());
    let watch = watch.map_err(|error| failed(&error))?;
    Ok(Some(Watched { secured: Secured { config, store }, _watch: watch }))
}
