//! Whether a cluster has an endpoint left that may be asked, and saying so when that changes.
//!
//! Only what checks and operators say counts. An ejection is a guess of one worker, and when all are
//! ejected all are asked.

use std::fmt;
use std::sync::{Arc, Weak};

use tokio::sync::watch;

use super::roster::{Member, Members};
use super::state::{EndpointState, Need};

/// How the endpoints of a cluster stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Availability {
    endpoints: usize,
    down: usize,
    drained: usize,
}

impl Availability {
    /// How they stand now, or would if those for which `leaves` is true were drained.
    pub fn of(members: &[Member], leaves: impl Fn(&Arc<EndpointState>) -> bool) -> Self {
        let mut all = Self { endpoints: members.len(), down: 0, drained: 0 };
        for Member { state, .. } in members {
            if state.is_draining() || leaves(state) {
                all.drained += 1;
            } else if !Need::ALL.iter().any(|need| state.takes(*need)) {
                all.down += 1;
            }
        }
        all
    }

    /// Whether nobody is left. A cluster whose endpoints have not been found yet is another matter.
    pub const fn is_none(&self) -> bool {
        self.endpoints > 0 && self.down + self.drained == self.endpoints
    }
}

impl fmt::Display for Availability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.down, self.drained) {
            (0, 0) => write!(f, "{} endpoints", self.endpoints),
            (down, 0) => write!(f, "{down} of {} endpoints down", self.endpoints),
            (0, drained) => write!(f, "{drained} of {} endpoints drained", self.endpoints),
            (down, drained) => {
                write!(f, "{down} of {} endpoints down, {drained} drained", self.endpoints)
            }
        }
    }
}

/// Logs when the last endpoint of a cluster goes and when the first is back, until nobody has the cluster
/// any more. `news` tells when to look.
pub async fn tell(members: Weak<Members>, mut news: watch::Receiver<()>) {
    let mut none = false;
    while let Some(members) = members.upgrade() {
        let (now, cluster) = (Availability::of(&members.list(), |_| false), &members.plan.name);
        match (none, now.is_none()) {
            (false, true) => {
                tracing::warn!(%cluster, state = %now, "no endpoint of the cluster is left: its requests wait, or are refused");
            }
            (true, false) => tracing::info!(%cluster, "the cluster has an endpoint again"),
            _ => {}
        }
        none = now.is_none();
        drop(members);
        if news.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::plan::{Address, EndpointPlan, Protocol};
    use crate::upstream::state::Health;

    fn member(name: &str) -> Member {
        let address = Address::Tcp { host: name.into(), port: 1 };
        let plan = EndpointPlan { name: name.into(), protocol: Protocol::H2c, address };
        Member { plan, tls: None, weight: 1, state: EndpointState::new("c".into(), name.into()) }
    }

    fn standing(members: &[Member]) -> (bool, String) {
        let now = Availability::of(members, |_| false);
        (now.is_none(), now.to_string())
    }

    #[test]
    fn a_cluster_is_gone_when_each_endpoint_is_down_for_all_or_drained() {
        assert!(!standing(&[]).0, "nothing was found yet");
        let both = [member("a"), member("b")];
        let [a, b] = both.each_ref().map(|one| &one.state);
        assert!(!standing(&both).0);
        a.set_draining(true);
        b.set_health(Need::Rest, Health::Down, Some("no gateway"));
        assert_eq!(standing(&both), (false, "1 of 2 endpoints drained".into()));
        b.set_health(Need::Rpc, Health::Down, Some("412"));
        assert_eq!(standing(&both), (true, "1 of 2 endpoints down, 1 drained".into()));
        a.set_draining(false);
        assert_eq!(standing(&both), (false, "1 of 2 endpoints down".into()));
        assert!(Availability::of(&both, |state| Arc::ptr_eq(state, a)).is_none());
    }
}
