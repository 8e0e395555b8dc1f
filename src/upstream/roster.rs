//! Which endpoints there are: those of each cluster now ([`Members`]), and the state of each, which
//! outlives reloads ([`Roster`]).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::availability;
use super::discovery::{self, Found};
use super::eject::Charge;
use super::health;
use super::plan::{ClusterPlan, EndpointPlan};
use super::state::{EndpointState, Need};
use super::tls::{self, Fault};
use super::transport::Tls;
use crate::telemetry::metrics::EndpointKnown;

/// How often a drain looks whether something is still in flight.
const LOOK: Duration = Duration::from_millis(10);

/// The state of every endpoint, by the names of its cluster and its own. The server keeps one as
/// long as it lives.
#[derive(Debug, Default)]
pub struct Roster {
    known: Mutex<Vec<Arc<EndpointState>>>,
    /// That an endpoint has come, gone, gone down or come back.
    news: watch::Sender<()>,
}

impl Roster {
    /// The state of an endpoint: the one it had before, or a new one.
    pub fn state(&self, cluster: &Arc<str>, endpoint: &Arc<str>) -> Arc<EndpointState> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Whom nobody else holds any more has left its cluster, and its last exchange has ended. One that
        // comes later by the same name is another: a drain of the one was not meant for it.
        known.retain(|state| Arc::strong_count(state) > 1);
        let same =
            |state: &&Arc<EndpointState>| *state.cluster == **cluster && *state.name == **endpoint;
        if let Some(state) = known.iter().find(same) {
            return Arc::clone(state);
        }
        let (cluster, endpoint) = (Arc::clone(cluster), Arc::clone(endpoint));
        let state = EndpointState::telling(cluster, endpoint, self.news.clone());
        known.push(Arc::clone(&state));
        state
    }

    /// Every endpoint with this cluster's name and this name; `None` stands for all. Those that
    /// have left their cluster are among them while exchanges are in flight there.
    pub fn find(&self, cluster: Option<&str>, endpoint: Option<&str>) -> Vec<Arc<EndpointState>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let meant = |state: &&Arc<EndpointState>| {
            cluster.is_none_or(|name| *state.cluster == *name)
                && endpoint.is_none_or(|name| *state.name == *name)
        };
        known.iter().filter(meant).map(Arc::clone).collect()
    }

    /// What is known of every endpoint, for the metrics. One that has left its cluster is neither well
    /// nor ill: nobody checks it any more, and nobody means it.
    pub fn known(&self, clusters: &[Arc<Members>]) -> Vec<EndpointKnown> {
        let lists: Vec<_> = clusters.iter().map(|members| members.list()).collect();
        let is_member = |state: &Arc<EndpointState>| {
            lists.iter().flat_map(|list| list.iter()).any(|one| Arc::ptr_eq(&one.state, state))
        };
        let healthy = |state: &Arc<EndpointState>| {
            let each = Need::ALL.map(|need| (need.label(), state.is_asked(need)));
            if is_member(state) { each.into() } else { Vec::new() }
        };
        let one = |state: &Arc<EndpointState>| {
            let (good, bad) = state.checks();
            EndpointKnown {
                cluster: Arc::clone(&state.cluster),
                endpoint: Arc::clone(&state.name),
                healthy: healthy(state),
                in_flight: state.in_flight(),
                waiting: state.waiting(),
                shed: state.shed(),
                ejections: Charge::ALL.map(|one| (one.label(), state.ejections(one))).into(),
                checks: vec![("ok", good), ("failed", bad)],
            }
        };
        self.find(None, None).iter().map(one).collect()
    }

    /// Takes endpoints down on purpose, or takes them back: those that [`Roster::find`] finds, which
    /// are returned. What is in flight there goes on.
    pub fn set_draining(
        &self,
        cluster: Option<&str>,
        endpoint: Option<&str>,
        draining: bool,
    ) -> Vec<Arc<EndpointState>> {
        let meant = self.find(cluster, endpoint);
        for state in &meant {
            state.set_draining(draining);
        }
        meant
    }
}

/// Waits until nothing is in flight at any of these.
///
/// Twice in a row, since a worker may just have chosen one when it was taken down.
pub async fn idle(endpoints: &[Arc<EndpointState>]) {
    let mut quiet = 0;
    while quiet < 2 {
        tokio::time::sleep(LOOK).await;
        quiet = if endpoints.iter().all(|state| state.in_flight() == 0) { quiet + 1 } else { 0 };
    }
}

/// One endpoint of a cluster, as workers take it up.
#[derive(Clone)]
pub struct Member {
    /// What it is.
    pub plan: EndpointPlan,
    /// TLS towards it, where its protocol wants it.
    pub tls: Option<Tls>,
    /// Its share of the requests beside the others'; at least 1.
    pub weight: u16,
    /// What is known of it.
    pub state: Arc<EndpointState>,
}

impl Member {
    /// Whether a worker may go on with the connections that it has to `other`.
    pub fn is_same(&self, other: &Self) -> bool {
        self.plan == other.plan
            && match (&self.tls, &other.tls) {
                (None, None) => true,
                (Some(one), Some(other)) => one.is_same(other),
                _ => false,
            }
    }
}

/// The endpoints of a cluster. Discovery changes them while workers look on: a worker compares a
/// number, which is all that it costs where nothing changes.
pub struct Members {
    /// What the cluster is told.
    pub plan: Arc<ClusterPlan>,
    roster: Arc<Roster>,
    /// Those that the plan names.
    fixed: Vec<Member>,
    sources: Vec<Source>,
    version: AtomicU64,
    list: ArcSwap<Vec<Member>>,
    changed: Arc<Notify>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// Where endpoints are found, and those that were.
struct Source {
    plan: EndpointPlan,
    tls: Option<Tls>,
    found: Mutex<Whom>,
}

/// What a source has said last, and whom that means.
#[derive(Default)]
struct Whom {
    found: BTreeSet<Found>,
    members: Vec<Member>,
}

impl Drop for Members {
    fn drop(&mut self) {
        for task in self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

impl Members {
    /// The endpoints that the plan names.
    ///
    /// # Errors
    /// Where TLS towards one of them cannot be set up.
    pub fn new(plan: &Arc<ClusterPlan>, roster: &Arc<Roster>) -> Result<Arc<Self>, Fault> {
        let member = |endpoint: &EndpointPlan| {
            let tls = endpoint.protocol.is_tls().then(|| tls::client(&plan.tls, endpoint));
            Ok(Member {
                plan: endpoint.clone(),
                tls: tls.transpose()?,
                weight: 1,
                state: roster.state(&plan.name, &endpoint.name),
            })
        };
        let (sources, fixed): (Vec<_>, Vec<_>) =
            plan.endpoints.iter().partition(|endpoint| endpoint.address.is_source());
        let fixed = fixed.into_iter().map(member).collect::<Result<Vec<_>, Fault>>()?;
        let source = |source: &EndpointPlan| {
            let tls = source.protocol.is_tls().then(|| tls::client(&plan.tls, source));
            Ok(Source { plan: source.clone(), tls: tls.transpose()?, found: Mutex::default() })
        };
        let sources = sources.into_iter().map(source).collect::<Result<Vec<_>, Fault>>()?;
        Ok(Arc::new(Self {
            plan: Arc::clone(plan),
            roster: Arc::clone(roster),
            list: ArcSwap::from_pointee(fixed.clone()),
            fixed,
            sources,
            version: AtomicU64::new(0),
            changed: Arc::default(),
            tasks: Mutex::default(),
        }))
    }

    /// Begins to look for endpoints and to check them, where the plan says so, and to say when none is
    /// left. Must be called on the control runtime; it ends when nobody has these members any more.
    pub fn tend(self: &Arc<Self>) {
        let told = availability::tell(Arc::downgrade(self), self.roster.news.subscribe());
        let mut tasks = vec![tokio::spawn(told).abort_handle()];
        if self.plan.health.is_some() {
            let checks = health::supervise(Arc::downgrade(self), Arc::clone(&self.changed));
            tasks.push(tokio::spawn(checks).abort_handle());
        }
        for source in &self.sources {
            let resolver = self.plan.resolver;
            let follow = discovery::follow(Arc::downgrade(self), source.plan.clone(), resolver);
            tasks.push(tokio::spawn(follow).abort_handle());
        }
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(tasks);
    }

    /// Grows with every change.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The endpoints now.
    pub fn list(&self) -> Arc<Vec<Member>> {
        self.list.load_full()
    }

    /// Begins with what these members have found where both look for endpoints: whoever has to ask
    /// may have to wait for an answer, and nothing says that there is another one.
    pub fn begin_with(&self, before: &Self) {
        for source in &self.sources {
            let known = before.sources.iter().find(|known| known.plan == source.plan);
            let last = known.map(|known| {
                known.found.lock().unwrap_or_else(PoisonError::into_inner).found.clone()
            });
            if let Some(last) = last.filter(|last| !last.is_empty()) {
                self.found(&source.plan, &last, false);
            }
        }
    }

    /// Takes up what was found at a source in the place of what was found there before. `late`: who
    /// is new begins slowly. Workers keep what is in both.
    pub(super) fn found(&self, source: &EndpointPlan, found: &BTreeSet<Found>, late: bool) {
        let Some(source) = self.sources.iter().find(|known| known.plan == *source) else { return };
        let before = self.list();
        let members = found.iter().filter_map(|one| self.member(source, one));
        let members: Vec<_> = members
            .inspect(|member| {
                let known = before.iter().any(|one| Arc::ptr_eq(&one.state, &member.state));
                if late && !known {
                    member.state.begin();
                }
            })
            .collect();
        *source.found.lock().unwrap_or_else(PoisonError::into_inner) =
            Whom { found: found.clone(), members };
        let mut list = self.fixed.clone();
        for source in &self.sources {
            for member in &source.found.lock().unwrap_or_else(PoisonError::into_inner).members {
                if !list.iter().any(|known| known.plan.name == member.plan.name) {
                    list.push(member.clone());
                }
            }
        }
        self.list.store(Arc::new(list));
        self.version.fetch_add(1, Ordering::Release);
        self.changed.notify_one();
        self.roster.news.send_replace(());
    }
}

impl Members {
    fn member(&self, source: &Source, found: &Found) -> Option<Member> {
        let protocol = source.plan.protocol;
        let tls = match &source.tls {
            // A configured name holds for all.
            Some(tls) if self.plan.tls.server_name.is_some() => Some(tls.clone()),
            Some(tls) => Some(tls.towards(found.server_name.as_ref().unwrap_or(&found.host))?),
            None => None,
        };
        let plan = found.endpoint(protocol);
        let state = self.roster.state(&self.plan.name, &plan.name);
        Some(Member { state, plan, tls, weight: found.weight })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_until_nothing_is_in_flight() {
        let roster = Roster::default();
        let (cluster, name): (Arc<str>, Arc<str>) = ("c".into(), "e".into());
        let state = roster.state(&cluster, &name);
        let other = roster.state(&cluster, &"f".into());
        assert!(Arc::ptr_eq(&state, &roster.state(&cluster, &name)), "a reload finds it again");
        let burden = state.burden();
        burden.more();
        let meant = roster.set_draining(Some("c"), Some("e"), true);
        assert!(meant.len() == 1 && state.is_draining() && !other.is_draining());
        let drained = tokio::time::timeout(Duration::from_secs(60), idle(&meant));
        assert!(drained.await.is_err());
        burden.less();
        tokio::time::timeout(Duration::from_secs(1), idle(&meant)).await.unwrap();
        assert_eq!(roster.set_draining(None, None, false).len(), 2);
        assert!(!state.is_draining());
    }

    #[test]
    fn a_drain_is_not_meant_for_whoever_comes_later_by_the_same_name() {
        let roster = Roster::default();
        let (cluster, name): (Arc<str>, Arc<str>) = ("c".into(), "10.0.0.7:8080".into());
        let state = roster.state(&cluster, &name);
        roster.set_draining(Some("c"), None, true);
        assert!(roster.state(&cluster, &name).is_draining(), "it is still there");
        drop(state);
        assert!(!roster.state(&cluster, &name).is_draining());
    }

    #[test]
    fn whoever_has_left_is_forgotten_when_the_last_holder_is_gone() {
        let roster = Roster::default();
        let kept = roster.state(&"c".into(), &"kept".into());
        drop(roster.state(&"c".into(), &"left".into()));
        roster.state(&"c".into(), &"new".into());
        let names: Vec<_> = roster.find(Some("c"), None).iter().map(|s| s.name.clone()).collect();
        assert_eq!(names, [kept.name.clone(), "new".into()]);
    }
}
