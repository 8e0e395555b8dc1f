//! Asks endpoints whether they serve, and tells their state. On the control runtime only.
//!
//! While all is well an endpoint is asked now and then; when it is in doubt (a connect was refused,
//! a stream was reset, the check's own connection ended) it is asked at once, and while it is down
//! some times a second, so that its return is noticed within one.

pub mod judge;
pub mod probe;

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use self::judge::{Finding, Judge};
use self::probe::Session;
use super::plan::HealthPlan;
use super::roster::{Member, Members};
use super::state::{EndpointState, Health, Need};

/// How often an endpoint is asked that is down or in doubt; up to twice that by chance.
const AGAIN: Duration = Duration::from_millis(100);
/// Never more often than this, whatever happens.
const LEAST: Duration = Duration::from_millis(50);

/// Checks every endpoint of a cluster, those that come later included, until it is dropped.
/// `changed` tells when the endpoints have changed.
pub async fn supervise(members: Weak<Members>, changed: Arc<Notify>) {
    let mut checks: Vec<(Member, Check)> = Vec::new();
    loop {
        let Some((list, plan)) =
            members.upgrade().map(|members| (members.list(), members.plan.health.clone()))
        else {
            return;
        };
        let Some(plan) = plan else { return };
        checks.retain(|(known, _)| list.iter().any(|member| member.is_same(known)));
        for member in list.iter() {
            if !checks.iter().any(|(known, _)| known.is_same(member)) {
                checks.push((member.clone(), Check::begin(member.clone(), plan.clone())));
            }
        }
        changed.notified().await;
    }
}

/// The check of one endpoint, which ends when this is dropped.
struct Check(AbortHandle);

impl Check {
    fn begin(member: Member, plan: HealthPlan) -> Self {
        Self(tokio::spawn(check(Checked::new(&member.state), member, plan)).abort_handle())
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Its endpoint is checked until this is dropped.
struct Checked(Arc<EndpointState>);

impl Checked {
    fn new(state: &Arc<EndpointState>) -> Self {
        state.check_begins();
        Self(Arc::clone(state))
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        self.0.check_ends();
    }
}

async fn check(checked: Checked, member: Member, plan: HealthPlan) {
    let state = &checked.0;
    let mut session = Session::new(member, plan.check, plan.timeout);
    let mut judges = [Judge::default(), Judge::default()];
    loop {
        let [rpc, rest] = session.ask().await;
        let well = rpc == Finding::Good && rest == Finding::Good;
        for ((need, judge), finding) in Need::ALL.iter().zip(&mut judges).zip([rpc, rest]) {
            if let Some(health) = judge.hear(&finding) {
                tell(state, *need, health, &finding);
            }
        }
        state.count_check(well);
        let pause = if well {
            plan.interval.mul_f64(0.8 + fastrand::f64() * 0.4)
        } else {
            AGAIN.mul_f64(1.0 + fastrand::f64())
        };
        let least = tokio::time::sleep(LEAST);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = state.doubted() => least.await,
            () = session.ended() => least.await,
        }
    }
}

fn tell(state: &EndpointState, need: Need, health: Health, finding: &Finding) {
    let why = finding.why();
    if !state.set_health(need, health, why) {
        return;
    }
    let (cluster, endpoint, need) = (&state.cluster, &state.name, need.label());
    match health {
        Health::Down => {
            let why = why.unwrap_or_default();
            tracing::warn!(%cluster, upstream.endpoint = %endpoint, need, why, "upstream is down");
        }
        Health::Ready | Health::Unknown => {
            tracing::info!(%cluster, upstream.endpoint = %endpoint, need, "upstream is ready");
        }
    }
}
