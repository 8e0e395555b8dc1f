//! The compiled configuration: immutable, with nothing left to parse and no default left to apply.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::zitadel::Installation;
use crate::downstream::plan::ListenerPlan;
use crate::pipeline::plan::{Action, RoutePlan, StorePlan};
use crate::telemetry::plan::AccessPlan;
use crate::upstream::plan::ClusterPlan;

/// Everything a running Ravelin needs to know.
#[derive(Debug)]
pub struct Plan {
    /// Threads that carry requests.
    pub workers: usize,
    /// At least one.
    pub listeners: Vec<Arc<ListenerPlan>>,
    /// In the order in which they are asked.
    pub routes: Vec<Arc<RoutePlan>>,
    /// At least one, unless no route forwards.
    pub clusters: Vec<Arc<ClusterPlan>>,
    /// ZITADEL's installations, whose clusters and routes are among those above.
    pub zitadel: Vec<Installation>,
    /// What stands as an installation brought it.
    pub preset: FromPreset,
    /// The store that routes with a cache share.
    pub cache: StorePlan,
    /// Where health, readiness and metrics are served; `None`: nowhere.
    pub admin: Option<SocketAddr>,
    /// The access record.
    pub access: AccessPlan,
    /// How it leaves.
    pub shutdown: ShutdownPlan,
    /// The Unix socket through which it hands over to the next process; `None`: it does not.
    pub upgrade: Option<PathBuf>,
}

impl Plan {
    /// Whether any route keeps answers.
    pub fn keeps(&self) -> bool {
        let keeps = |route: &Arc<RoutePlan>| match &route.action {
            Action::Forward(plan) => plan.cache.is_some(),
            Action::Redirect(_) | Action::Respond(_) | Action::Deny => false,
        };
        self.routes.iter().any(keeps)
    }
}

/// Names of what stands as an installation brought it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FromPreset {
    /// Of routes.
    pub routes: Vec<Arc<str>>,
    /// Of clusters.
    pub clusters: Vec<Arc<str>>,
}

/// How Ravelin leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownPlan {
    /// From unready until the listeners close, for load balancers to notice.
    pub delay: Duration,
    /// From then until what still runs is cut.
    pub grace: Duration,
}

impl Default for ShutdownPlan {
    fn default() -> Self {
        Self { delay: Duration::ZERO, grace: Duration::from_secs(30) }
    }
}
