//! Answers for ZITADEL while an instance may ask no more (`zitadel.md` §6): its quota is used up, or it
//! was blocked. Learned from what ZITADEL itself answers, host by host, for a short time; never from
//! the cookie that ZITADEL gives browsers, which a client may forge or leave out.
//!
//! What answers mean is decided in [`words`], who is asked nevertheless in [`exempt`], for how long in
//! [`hosts`].

pub mod exempt;
pub mod hosts;
pub mod watch;
pub mod words;

use std::sync::Arc;

use http::HeaderValue;
use tokio::time::Instant;

use self::exempt::Exempt;
use self::hosts::{Hosts, Verdict};
use self::watch::Watch;
use self::words::{Said, Told};
use super::plan::{Action, ForwardPlan, QuotaPlan, RoutePlan};
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::exchange::{Class, Exchange};
use crate::message::{Request, Response};

/// What is known of all hosts; shared by the workers.
#[derive(Debug)]
pub struct Quotas {
    hosts: Hosts,
    started: Instant,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Met {
    /// It goes on.
    Through,
    /// To the Console, which says what is the matter.
    Console,
}

impl Quotas {
    /// For a plan: what `before` knows stays known. `None` where no route asks for it.
    pub fn for_plan(before: Option<&Arc<Self>>, routes: &[Arc<RoutePlan>]) -> Option<Arc<Self>> {
        let asks = |route: &Arc<RoutePlan>| match &route.action {
            Action::Forward(plan) => plan.quota.is_some(),
            Action::Redirect(_) | Action::Respond(_) | Action::Deny => false,
        };
        let new = || Arc::new(Self { hosts: Hosts::default(), started: Instant::now() });
        routes.iter().any(asks).then(|| before.cloned().unwrap_or_else(new))
    }

    /// Whether a request may go on.
    ///
    /// # Errors
    /// [`Kind::Exhausted`], with the time after which ZITADEL is asked again.
    pub fn meet(
        &self,
        plan: &ForwardPlan,
        request: &Request<Body>,
        exchange: &Exchange,
    ) -> Result<Met, Error> {
        let known = |host: &&HeaderValue| self.hosts.knows(host.as_bytes());
        let Some(host) = host(plan, exchange).filter(known) else {
            return Ok(Met::Through);
        };
        let now = exchange.started.saturating_duration_since(self.started);
        let exempt = self.exempt(host, plan.quota.as_deref(), request);
        match self.hosts.check(host.as_bytes(), exempt, now) {
            Verdict::Through => Ok(Met::Through),
            Verdict::Wait(_) if exempt::is_login(request.uri().path()) => Ok(Met::Console),
            Verdict::Wait(seconds) => Err(Error::new(Kind::Exhausted).after(seconds)),
        }
    }

    /// Whose answer is to be heard; none where it is not known which instance is asked.
    pub fn hear(
        self: &Arc<Self>,
        plan: &ForwardPlan,
        request: &Request<Body>,
        exchange: &Exchange,
    ) -> Option<Box<Hearing>> {
        let host = host(plan, exchange)?;
        // Boxed, so that exchanges that nobody hears do not carry its state.
        Some(Box::new(Hearing {
            quotas: Arc::clone(self),
            host: host.clone(),
            exempt: self.exempt(host, plan.quota.as_deref(), request),
            class: exchange.class,
            began: exchange.started,
        }))
    }

    fn exempt(
        &self,
        host: &HeaderValue,
        plan: Option<&QuotaPlan>,
        request: &Request<Body>,
    ) -> Exempt {
        // Tokens are read only while it matters: what began before a refusal proves nothing.
        if self.hosts.knows(host.as_bytes()) && exempt::has_system_token(request.headers()) {
            return Exempt::Always;
        }
        let paths = plan.map_or(&[][..], |plan| &plan.exempt);
        exempt::of(request.method(), request.uri().path(), paths)
    }
}

/// The instance as ZITADEL finds it: in a spelling of the configuration's, never in the client's.
fn host<'a>(plan: &'a ForwardPlan, exchange: &'a Exchange) -> Option<&'a HeaderValue> {
    plan.identity.instance_host.as_ref().or(exchange.authority.as_ref())
}

/// A request whose answer may tell something.
#[derive(Debug)]
pub struct Hearing {
    quotas: Arc<Quotas>,
    host: HeaderValue,
    exempt: Exempt,
    class: Class,
    began: Instant,
}

impl Hearing {
    /// Looks at an answer as ZITADEL gave it; where the head does not tell, at its body on the way.
    pub fn answer(self: Box<Self>, response: Response<Body>) -> Response<Body> {
        match words::head(self.class, response.status(), response.headers()) {
            Told::Now(said) => {
                self.said(said);
                response
            }
            Told::Within(place) => response.map(|body| Body::boxed(Watch::new(body, self, place))),
        }
    }

    fn said(&self, said: Said) {
        let hosts = &self.quotas.hosts;
        let since = |at: Instant| at.saturating_duration_since(self.quotas.started);
        match said {
            Said::Nothing => {}
            Said::Served => hosts.served(self.host.as_bytes(), self.exempt, since(self.began)),
            Said::Refused(why) => {
                hosts.refused(self.host.as_bytes(), why, self.exempt, since(Instant::now()));
            }
        }
    }
}
