//! Tries endpoints until one has answered, as long as `retry` allows; what is decided there is done
//! here.

mod hedge;

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use http::StatusCode;
use tokio::time::Instant;

use super::headers;
use super::leaving::Leaving;
use super::relay::Deadline;
use super::retry::budget::Held;
use super::retry::{self, Failed, Next, peek, reads};
use super::{Arrived, Far, Target, expect, translate, websocket};
use crate::body::replay::Replay;
use crate::body::{Body, Frames};
use crate::error::{Error, Kind};
use crate::exchange::{Class, Exchange, Interim, TRIED, Tried};
use crate::message::{Request, Response};
use crate::pipeline::plan::RetryPolicy;
use crate::upstream::Answer;
use crate::upstream::attempt::Attempt;
use crate::upstream::cluster::{Ask, send};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::plan::Protocol;
use crate::upstream::state::Need;

/// Sends a request until an endpoint has answered it.
///
/// # Errors
/// Of the last attempt.
pub(super) async fn attempts(
    leaving: &Leaving<'_>,
    target: &Target,
    body: Body,
    deadline: Option<Deadline>,
    exchange: &mut Exchange,
) -> Result<Arrived, Error> {
    target.retries.exchange(exchange.started);
    if exchange.class == Class::WebSocket {
        // Boxed: rare, and large enough to weigh on every exchange.
        return Box::pin(switch(leaving, target, body, deadline, exchange)).await;
    }
    let (body, interim) = if leaving.expects {
        let (body, interim) = expect::gate(body, exchange.interim.take());
        (body, Some(interim))
    } else {
        (body, exchange.interim.take())
    };
    exchange.interim = interim;
    // A body that is not there needs no keeping.
    let replay = (!Frames::is_end_stream(&body)).then(|| Replay::new(body));
    let mut tries = Tries::new(leaving, target, deadline);
    // An answer that says its server is away, for when nobody has a better one; and whose it is.
    let mut spare: Option<(Option<Arc<str>>, Arrived)> = None;
    loop {
        let (cause, endpoint, outcome) = match tries.once(replay.as_ref(), exchange).await? {
            Once::Answered(response) => {
                if let Some(replay) = &replay {
                    replay.settle();
                }
                return Ok(response);
            }
            Once::Away(kind, endpoint, response) => (kind, Some(endpoint), Ok(response)),
            Once::Failed(endpoint, error) => (error.kind(), endpoint, Err(error)),
        };
        let replayable = replay.as_ref().is_none_or(|replay| match cause {
            // That endpoint may still be reading.
            Kind::Gateway | Kind::Missing => replay.is_whole(),
            _ => replay.again().is_some(),
        });
        if !tries.again(cause, endpoint, replayable, exchange).await {
            return match outcome {
                Ok(response) => Ok(response),
                Err(error) => {
                    let (endpoint, response) = spare.ok_or(error)?;
                    exchange.endpoint = endpoint;
                    Ok(response)
                }
            };
        }
        if let Ok(response) = outcome {
            spare = Some((exchange.endpoint.clone(), response));
        }
    }
}

/// The same for a WebSocket, whose client says nothing before its tunnel is open.
async fn switch(
    leaving: &Leaving<'_>,
    target: &Target,
    client: Body,
    deadline: Option<Deadline>,
    exchange: &mut Exchange,
) -> Result<Arrived, Error> {
    let mut tries = Tries::new(leaving, target, deadline);
    loop {
        let (endpoint, error) = match tries.choose(&tries.asked, exchange.class) {
            Err(error) => (None, error),
            Ok(attempt) => {
                let endpoint = Rc::clone(attempt.endpoint());
                // Whatever the endpoint speaks besides: an upgrade is HTTP/1.1's.
                let head = leaving.head(Protocol::Http, true, deadline, exchange)?.into_owned();
                count(&endpoint, exchange);
                match websocket::open(attempt, head).await {
                    Ok(response) => {
                        return Ok(response.map(|far| match far {
                            Ok(far) => Far::Tunnel(websocket::tunnel(
                                far,
                                client,
                                &exchange.connection.ending,
                            )),
                            Err(answer) => Far::Answer(answer),
                        }));
                    }
                    Err(error) => (Some(endpoint), error),
                }
            }
        };
        if !tries.again(error.kind(), endpoint, true, exchange).await {
            return Err(error);
        }
    }
}

/// What comes of sending a request to an endpoint.
type Outcome = Result<Response<Answer>, Error>;

/// What one attempt came to.
enum Once {
    Answered(Arrived),
    /// An answer that says its server is away.
    Away(Kind, Rc<Endpoint>, Arrived),
    /// No answer; no endpoint either, where none could be chosen.
    Failed(Option<Rc<Endpoint>>, Error),
}

/// The attempts of one exchange.
struct Tries<'a> {
    leaving: &'a Leaving<'a>,
    target: &'a Target,
    deadline: Option<Deadline>,
    /// Endpoints that were asked since the last pause.
    asked: Vec<Rc<Endpoint>>,
    sent: u32,
    pauses: u32,
    /// When the first attempt came to nothing.
    since: Option<Instant>,
    held: Option<Held>,
}

impl<'a> Tries<'a> {
    fn new(leaving: &'a Leaving<'a>, target: &'a Target, deadline: Option<Deadline>) -> Self {
        Self {
            leaving,
            target,
            deadline,
            asked: Vec::new(),
            sent: 0,
            pauses: 0,
            since: None,
            held: None,
        }
    }

    /// The one place where an endpoint is chosen, where there is one that was not `asked`.
    fn choose(&self, asked: &[Rc<Endpoint>], class: Class) -> Result<Attempt, Error> {
        let deadline = self.deadline.map(|deadline| deadline.at);
        let need = Need::of(class, self.leaving.path.path());
        let cluster = &self.target.cluster;
        // Where nobody speaks it, the refusal says so.
        let http2 = self.needs_http2(class)
            && cluster.endpoints().iter().any(|one| one.plan.protocol.is_h2());
        let ask = Ask { tried: asked, key: self.leaving.key, http2, deadline, ..Ask::first(need) };
        Ok(cluster.pick(&ask)?)
    }

    /// gRPC never goes over HTTP/1.1.
    fn needs_http2(&self, class: Class) -> bool {
        class == Class::Grpc || translate::applies(self.leaving.plan, class)
    }

    /// One attempt at an endpoint of the cluster's choice.
    async fn once(
        &mut self,
        replay: Option<&Replay>,
        exchange: &mut Exchange,
    ) -> Result<Once, Error> {
        let attempt = match self.choose(&self.asked, exchange.class) {
            Ok(attempt) => attempt,
            Err(error) => return Ok(Once::Failed(None, error)),
        };
        let endpoint = Rc::clone(attempt.endpoint());
        let (head, body) = self.ready(&endpoint, replay, exchange)?;
        count(&endpoint, exchange);
        let interim = interims(&endpoint, exchange);
        let (endpoint, outcome) = match self.leaving.plan.retry.hedge {
            Some(after) if self.may_hedge(exchange) => {
                let first = send(attempt, &head, body, interim.as_ref());
                let hedged = self.hedged(Rc::clone(&endpoint), first, after, replay, exchange);
                let (won, outcome, lost) = Box::pin(hedged).await;
                if let Some((endpoint, cause)) = lost {
                    self.note(&endpoint, cause);
                    note_tried(&endpoint, cause, exchange);
                }
                (won, outcome)
            }
            _ => (endpoint, send(attempt, &head, body, interim.as_ref()).await),
        };
        match outcome {
            Ok(response) => Ok(self.looked_at(endpoint, response, exchange).await),
            Err(error) => Ok(Once::Failed(Some(endpoint), error)),
        }
    }

    /// Head and body as they go to this endpoint.
    fn ready(
        &self,
        endpoint: &Endpoint,
        replay: Option<&Replay>,
        exchange: &Exchange,
    ) -> Result<(Cow<'a, Request<()>>, Body), Error> {
        let protocol = endpoint.plan.protocol;
        if !protocol.is_h2() && self.needs_http2(exchange.class) {
            return Err(Error::new(Kind::NotHttp2));
        }
        let waited = exchange.attempts > 0 || self.pauses > 0;
        let head = self.leaving.head(protocol, waited, self.deadline, exchange)?;
        let body = match replay {
            None => Body::Empty,
            Some(replay) => Body::Replay(replay.again().ok_or(Kind::Reset)?),
        };
        Ok((head, body))
    }

    /// Whether an answer is one, or says that its server is away.
    async fn looked_at(
        &self,
        endpoint: Rc<Endpoint>,
        response: Response<Answer>,
        exchange: &Exchange,
    ) -> Once {
        let policy = self.leaving.plan.retry.policy;
        if policy == RetryPolicy::Never {
            return Once::Answered(response.map(Far::Answer));
        }
        if exchange.elsewhere && response.status() == StatusCode::NOT_FOUND {
            return Once::Away(Kind::Missing, endpoint, response.map(Far::Answer));
        }
        match self.peek(&response, exchange) {
            peek::Head::Answer => Once::Answered(response.map(Far::Answer)),
            peek::Head::Gateway => Once::Away(Kind::Gateway, endpoint, response.map(Far::Answer)),
            peek::Head::Body => {
                let (kind, response) = Box::pin(peek::body(response)).await;
                let response = response.map(|peeked| Far::Peeked(Box::new(peeked)));
                Once::Away(kind, endpoint, response)
            }
        }
    }

    /// What an answer's head says of its server.
    fn peek(&self, response: &Response<Answer>, exchange: &Exchange) -> peek::Head {
        // What is translated comes as gRPC.
        let grpc = translate::applies(self.leaving.plan, exchange.class);
        let class = if grpc { Class::Grpc } else { exchange.class };
        let zitadel = self.leaving.plan.identity.zitadel;
        peek::head(class, zitadel, response.status(), response.headers())
    }

    /// An endpoint was asked, in vain.
    fn note(&mut self, endpoint: &Rc<Endpoint>, cause: Kind) {
        self.asked.push(Rc::clone(endpoint));
        self.sent += u32::from(!retry::is_absent(cause));
    }

    /// Whether the request is to be sent again, once it has waited as long as it must.
    async fn again(
        &mut self,
        cause: Kind,
        endpoint: Option<Rc<Endpoint>>,
        replayable: bool,
        exchange: &mut Exchange,
    ) -> bool {
        match &endpoint {
            Some(endpoint) => self.note(endpoint, cause),
            None => self.sent += u32::from(!retry::is_absent(cause)),
        }
        let now = Instant::now();
        let failed = self.failed(cause, endpoint.is_some(), replayable, now, exchange);
        let next = retry::next(&failed);
        if next == Next::Give {
            return false;
        }
        if retry::costs(&failed) && !self.target.retries.spend(now) {
            endpoint.iter().for_each(|endpoint| endpoint.unafforded());
            return false;
        }
        if let Next::Later(pause) = next {
            self.held = self.held.take().or_else(|| self.target.retries.hold());
            if self.held.is_none() {
                return false;
            }
            // Half of it by chance: those that wait do not all come at once.
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            self.pauses += 1;
            self.asked.clear();
        }
        if let Some(endpoint) = &endpoint {
            endpoint.retried(cause);
            note_tried(endpoint, cause, exchange);
        }
        true
    }

    /// Whether somebody is there who was not asked yet.
    fn another(&self, cause: Kind, class: Class) -> bool {
        let endpoints = self.target.cluster.endpoints();
        if !matches!(cause, Kind::Gateway | Kind::Missing) {
            // Counted, not looked up: an endpoint may be chosen again while others must not be.
            return self.asked.len() < endpoints.len();
        }
        // The same one again would only say the same again.
        let need = Need::of(class, self.leaving.path.path());
        let new = |one: &Rc<Endpoint>| !self.asked.iter().any(|asked| Rc::ptr_eq(asked, one));
        endpoints.iter().any(|one| new(one) && one.state().takes(need))
    }

    fn failed(
        &mut self,
        cause: Kind,
        chosen: bool,
        replayable: bool,
        now: Instant,
        exchange: &Exchange,
    ) -> Failed {
        let Leaving { plan, method, path, .. } = self.leaving;
        let retry = &plan.retry;
        let since = *self.since.get_or_insert(now);
        Failed {
            cause,
            policy: retry.policy,
            read: reads::is_read(exchange.class, method, path.path(), retry),
            replayable,
            sent: self.sent,
            asked: self.asked.len(),
            another: chosen && self.another(cause, exchange.class),
            pauses: self.pauses,
            hold: retry.hold.saturating_sub(now.saturating_duration_since(since)),
            left: self.deadline.map(|deadline| deadline.at.saturating_duration_since(now)),
        }
    }
}

/// How interim answers of this endpoint reach the client. HTTP/2 has no fields of one connection alone
/// (RFC 9113 §8.2.2): what it says needs no copy to be made of it.
fn interims(endpoint: &Endpoint, exchange: &Exchange) -> Option<Interim> {
    let interim = exchange.interim.clone()?;
    if endpoint.plan.protocol.is_h2() {
        return Some(interim);
    }
    Some(Rc::new(move |status, fields| interim(status, &headers::interim(fields))))
}

/// Takes down for the record that an attempt came to nothing and another follows.
fn note_tried(endpoint: &Endpoint, cause: Kind, exchange: &mut Exchange) {
    if exchange.tried.len() < TRIED {
        exchange.tried.push(Tried { endpoint: Arc::clone(&endpoint.plan.name), cause });
    }
}

fn count(endpoint: &Endpoint, exchange: &mut Exchange) {
    exchange.attempts += 1;
    exchange.endpoint = Some(Arc::clone(&endpoint.plan.name));
}
