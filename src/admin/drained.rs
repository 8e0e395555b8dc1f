//! When an endpoint that was drained is taken back by itself: when it has gone away and is there
//! again, as a restart is. Or, if it never goes, when whoever drained it has left it for too long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::upstream::plan::{Address, EndpointPlan};
use crate::upstream::state::{EndpointState, Health, Need};
use crate::upstream::transport::is_local;

/// How often it is looked at: no server restarts faster.
const LOOK: Duration = Duration::from_millis(200);
/// Nobody means longer, and no clock can be set to all that may be asked for.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// A connect that takes this long says nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// The endpoints that are drained, and who looks after them.
#[derive(Debug, Default)]
pub struct Drained(Mutex<HashMap<Name, Watched>>);

/// Cluster and endpoint.
type Name = (Arc<str>, Arc<str>);

/// Whoever looks after an endpoint, and until when at most.
#[derive(Debug)]
struct Watched(AbortHandle, Instant);

/// A drain that goes on in the process that takes over: who upgrades Ravelin has not taken the
/// endpoint back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// The cluster's name.
    pub cluster: String,
    /// The endpoint's.
    pub endpoint: String,
    /// How long it lasts yet, if the endpoint does not go away and come back.
    pub left: Duration,
}

impl Drained {
    /// Looks after an endpoint that was just drained, until it is back, or for `lasting`. An earlier
    /// drain of it is forgotten.
    pub fn watch(
        &self,
        endpoint: &Arc<EndpointState>,
        plan: Option<EndpointPlan>,
        lasting: Duration,
    ) {
        let state = Arc::clone(endpoint);
        let until = Instant::now() + lasting.min(LONGEST);
        let watching = tokio::spawn(async move {
            let why = match timeout_at(until, back(&state, plan.as_ref())).await {
                Ok(()) => "it has been away and is back",
                Err(_) => "it has been drained for too long",
            };
            state.set_draining(false);
            tracing::info!(upstream.cluster = %state.cluster, upstream.endpoint = %state.name, why, "undrained");
        });
        self.replace(endpoint, Some(Watched(watching.abort_handle(), until)));
    }

    /// Leaves an endpoint alone that was taken back.
    pub(super) fn forget(&self, endpoint: &EndpointState) {
        self.replace(endpoint, None);
    }

    /// Every drain that is not over.
    pub fn all(&self) -> Vec<Drain> {
        let watching = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = watching.iter().filter(|(_, Watched(task, _))| !task.is_finished());
        let drain = |((cluster, endpoint), Watched(_, until)): (&Name, &Watched)| Drain {
            cluster: cluster.to_string(),
            endpoint: endpoint.to_string(),
            left: until.saturating_duration_since(Instant::now()),
        };
        under_way.map(drain).collect()
    }

    fn replace(&self, endpoint: &EndpointState, next: Option<Watched>) {
        let name = (Arc::clone(&endpoint.cluster), Arc::clone(&endpoint.name));
        let mut watching = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watching.retain(|_, Watched(task, _)| !task.is_finished());
        let last = match next {
            Some(next) => watching.insert(name, next),
            None => watching.remove(&name),
        };
        if let Some(Watched(last, _)) = last {
            last.abort();
        }
    }
}

/// Waits until an endpoint has gone away and come back: by its checks where it is checked, else when
/// it can be connected to.
async fn back(state: &EndpointState, plan: Option<&EndpointPlan>) {
    let mut away = false;
    loop {
        sleep(LOOK).await;
        let open = match plan {
            Some(plan) => connects(&plan.address).await,
            None => None,
        };
        if open == Some(false) {
            // What the checks said before is over.
            state.refused("connection refused");
        }
        let down = state.health(Need::Rpc) == Health::Down;
        away |= down || open == Some(false);
        let ready = if state.is_checked() { !down } else { open == Some(true) };
        if away && ready {
            return;
        }
    }
}

/// Whether somebody listens there; `None`: it cannot be told.
async fn connects(address: &Address) -> Option<bool> {
    let connecting = async {
        match address {
            Address::Tcp { host, port } => TcpStream::connect((&**host, *port)).await.map(drop),
            Address::Unix(path) => UnixStream::connect(path).await.map(drop),
            // Endpoints come of these; they are none themselves.
            Address::Dns { .. } | Address::Srv(_) | Address::File(_) => return None,
        }
        // A name that does not resolve is gone as well: Kubernetes and Compose forget it with its pod.
        .map_or_else(|error| (!is_local(&error)).then_some(false), |()| Some(true))
    };
    timeout(PATIENCE, connecting).await.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::plan::Protocol;

    fn state() -> Arc<EndpointState> {
        EndpointState::new("c".into(), "e".into())
    }

    async fn until(what: &str, is: impl Fn() -> bool) {
        let began = std::time::Instant::now();
        while !is() {
            assert!(began.elapsed() < Duration::from_secs(5), "never: {what}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn it_is_taken_back_when_it_listens_again() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let plan = EndpointPlan {
            name: "e".into(),
            protocol: Protocol::H2c,
            address: Address::Tcp { host: "127.0.0.1".into(), port: address.port() },
        };
        let (drained, state) = (Drained::default(), state());
        state.set_draining(true);
        drained.watch(&state, Some(plan), Duration::from_secs(60));
        sleep(LOOK * 3).await;
        assert!(state.is_draining(), "it has not been away");
        drop(listener);
        sleep(LOOK * 3).await;
        assert!(state.is_draining(), "it is not back");
        let _listener = std::net::TcpListener::bind(address).unwrap();
        until("undrained", || !state.is_draining()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_checked_one_is_taken_back_when_its_checks_say_so() {
        let (drained, state) = (Drained::default(), state());
        state.check_begins();
        state.set_health(Need::Rpc, Health::Ready, None);
        state.set_draining(true);
        drained.watch(&state, None, Duration::from_secs(60));
        sleep(LOOK * 2).await;
        state.set_health(Need::Rpc, Health::Down, Some("412"));
        sleep(LOOK * 2).await;
        assert!(state.is_draining());
        state.set_health(Need::Rpc, Health::Ready, None);
        sleep(LOOK * 2).await;
        assert!(!state.is_draining());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_goes_is_taken_back_in_the_end_and_the_last_drain_counts() {
        let (drained, state) = (Drained::default(), state());
        state.set_draining(true);
        drained.watch(&state, None, Duration::from_secs(10));
        drained.watch(&state, None, Duration::from_secs(60));
        sleep(Duration::from_secs(59)).await;
        assert!(state.is_draining());
        sleep(Duration::from_secs(2)).await;
        assert!(!state.is_draining());
        state.set_draining(true);
        drained.watch(&state, None, Duration::MAX);
        drained.watch(&state, None, Duration::from_secs(10));
        drained.forget(&state);
        sleep(Duration::from_secs(60)).await;
        assert!(state.is_draining(), "taken back and drained by somebody else");
    }
}
