//! How an endpoint stands among the others: its load, its latency, and what exchanges tell of it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::Endpoint;
use crate::error::Kind;
use crate::upstream::balance::{self, Cost, Latency};
use crate::upstream::eject::{self, Charge, Word};
use crate::upstream::queue::Queue;
use crate::upstream::roster::Member;
use crate::upstream::state::{Burden, EndpointState, Need};

/// What a head that nobody waited for counts as, at most.
const GIVEN_UP: Duration = Duration::from_secs(5);

impl Endpoint {
    /// As the cluster names it.
    pub(in crate::upstream) const fn member(&self) -> &Member {
        &self.member
    }

    /// What all workers know of it.
    pub fn state(&self) -> &Arc<EndpointState> {
        &self.member.state
    }

    /// This worker's count of exchanges there.
    pub(in crate::upstream) fn burden(&self) -> &Burden {
        &self.burden
    }

    /// Its queue.
    pub(in crate::upstream) const fn queue(&self) -> &Rc<Queue> {
        &self.queue
    }

    /// Whether as many wait for a place as may.
    pub(in crate::upstream) fn is_full(&self) -> bool {
        self.burden.waiting() >= self.pending
    }

    /// Whether it would be asked, were it not full.
    pub(in crate::upstream) fn sheds(&self, need: Need) -> bool {
        self.is_full() && self.state().takes(need)
    }

    /// It has left its cluster: connections end with what is under way on them, and what waits for a
    /// place goes elsewhere.
    pub(in crate::upstream) fn retire(&self) {
        self.h1.borrow_mut().clear();
        self.state().places().dismiss(None);
        for connection in self.h2.take() {
            connection.retire();
        }
    }

    /// Its place among the others for keys.
    pub(in crate::upstream) const fn key(&self) -> u64 {
        self.key
    }

    /// How long its answers take to begin.
    pub(in crate::upstream) const fn latency(&self) -> &Latency {
        &self.latency
    }

    /// What speaks against it beside the others.
    pub(in crate::upstream) fn cost(&self, now: Instant) -> Cost {
        Cost { load: self.burden.get(), latency: self.latency.at(now) }
    }

    /// How much of the requests it is to have, as it was found last (RFC 2782).
    pub(in crate::upstream) const fn weight(&self) -> u16 {
        self.weight.get()
    }

    /// It was found with another weight, or the same.
    pub(in crate::upstream) fn weigh(&self, weight: u16) {
        self.weight.set(weight);
    }

    /// Its share of the requests beside the others'.
    pub(in crate::upstream) fn share(&self) -> f32 {
        let whole = f32::from(self.weight());
        match self.state().age() {
            None => whole,
            Some(age) => match balance::ramp(age) {
                Some(part) => whole * part,
                None => {
                    self.state().warm();
                    whole
                }
            },
        }
    }

    /// How an attempt went that began at `begun`: the answer's status, or what failed. `other`: how
    /// many milliseconds the endpoint needs that could have been chosen in its place.
    pub(in crate::upstream) fn heard(
        &self,
        need: Need,
        heard: Result<StatusCode, Kind>,
        begun: Instant,
        other: f32,
    ) {
        let now = Instant::now();
        let took = now.saturating_duration_since(begun);
        if heard.is_ok() {
            self.latency.observe(took, now);
        }
        let [rpc, rest] = &self.bad;
        let bad = if need == Need::Rpc { rpc } else { rest };
        let charge = match eject::word(heard, Some(took), other) {
            Word::None => return,
            Word::Good => {
                bad.set(0);
                if self.state().on_probation(need) && !self.state().is_ejected(need) {
                    self.state().redeem(need);
                    tracing::info!(upstream.endpoint = %self.plan.name, need = need.label(), "upstream answers well again");
                }
                return;
            }
            Word::Bad(charge) => charge,
        };
        self.state().doubt();
        bad.set(bad.get().saturating_add(1));
        if bad.get() < charge.enough() && !self.state().on_probation(need) {
            return;
        }
        bad.set(0);
        self.eject(need, charge);
    }

    fn eject(&self, need: Need, charge: Charge) {
        let kinds = if charge.is_of_all() { &Need::ALL[..] } else { std::slice::from_ref(&need) };
        for need in kinds {
            let chance = fastrand::f32();
            if self.state().eject(*need, charge, |times| eject::pause(times, chance)) {
                tracing::warn!(upstream.endpoint = %self.plan.name, need = need.label(), reason = charge.label(), "upstream is left alone for a while");
            }
        }
    }

    /// An attempt that began at `begun` was given up before its head was there.
    pub(in crate::upstream) fn gave_up(&self, begun: Instant) {
        let now = Instant::now();
        let took = now.saturating_duration_since(begun);
        // Nothing is known but that it takes longer. What is long by its nature, a stream that says
        // nothing at first, must not weigh for minutes.
        if took.as_secs_f32() * 1_000.0 > self.latency.at(now) {
            self.latency.observe(took.min(GIVEN_UP), now);
        }
    }
}
