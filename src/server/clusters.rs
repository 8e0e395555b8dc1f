//! Clusters, from one plan to the next: which are the same, and go on with all that is known of them.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::StartError;
use crate::upstream::plan::{ClusterPlan, TlsPlan};
use crate::upstream::roster::{Members, Roster};

/// The clusters of the plan in force.
#[derive(Default)]
pub(super) struct Clusters {
    roster: Arc<Roster>,
    known: Vec<Cluster>,
}

/// One cluster.
#[derive(Clone)]
struct Cluster {
    members: Arc<Members>,
    /// What the files of its TLS held, in short.
    files: u64,
}

/// The clusters of a plan that nothing stands in any more.
pub(super) struct Next(Vec<Cluster>);

impl Next {
    /// In the plan's order.
    pub(super) fn members(&self) -> Vec<Arc<Members>> {
        self.0.iter().map(|cluster| Arc::clone(&cluster.members)).collect()
    }
}

impl Clusters {
    /// What is known of every endpoint; it outlives plans.
    pub(super) const fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Makes ready what a plan's clusters need; changes nothing. One whose plan and files are the
    /// same stays the very same, and with it its connections.
    ///
    /// # Errors
    /// Everything that keeps it from working.
    pub(super) fn prepare(&self, plans: &[Arc<ClusterPlan>]) -> Result<Next, Vec<StartError>> {
        let (mut next, mut errors) = (Vec::new(), Vec::new());
        for plan in plans {
            // Looked at before they are loaded: a change in between is a change the next time.
            let files = fingerprint(&plan.tls);
            let same = |known: &&Cluster| known.files == files && known.members.plan == *plan;
            let cluster = match self.known.iter().find(same) {
                Some(known) => Ok(known.clone()),
                None => self.open(plan).map(|members| Cluster { members, files }),
            };
            match cluster {
                Ok(cluster) => next.push(cluster),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Next(next)) } else { Err(errors) }
    }

    fn open(&self, plan: &Arc<ClusterPlan>) -> Result<Arc<Members>, StartError> {
        if plan.tls.insecure_skip_verify {
            tracing::warn!(cluster = %plan.name, "INSECURE: the certificates of this cluster are NOT verified (tls.insecure_skip_verify)");
        }
        let members = Members::new(plan, &self.roster)
            .map_err(|error| StartError::new(format_args!("cluster {}", plan.name), error))?;
        let before = self.known.iter().find(|known| known.members.plan.name == plan.name);
        if let Some(before) = before {
            members.begin_with(&before.members);
        }
        Ok(members)
    }

    /// The clusters are these from now on. The checks of those that are new begin; those of the others go
    /// on, or end when the last worker has let go of them.
    pub(super) fn follow(&mut self, next: Next) {
        for cluster in &next.0 {
            let same = |known: &Cluster| Arc::ptr_eq(&known.members, &cluster.members);
            if !self.known.iter().any(same) {
                cluster.members.tend();
            }
        }
        self.known = next.0;
    }
}

/// What the files hold, or that they cannot be read.
fn fingerprint(plan: &TlsPlan) -> u64 {
    let pair = plan.client_certificate.iter().flat_map(|(chain, key)| [chain, key]);
    let mut hasher = DefaultHasher::new();
    for file in plan.ca.iter().chain(pair) {
        fs::read(file).map_err(|error| error.kind() as u8).hash(&mut hasher);
    }
    hasher.finish()
}
