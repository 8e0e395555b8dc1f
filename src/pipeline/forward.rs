//! The request leaves: what its head and the answer's head look like on the other leg, and how
//! long the caller is willing to wait.

pub mod attempts;
pub mod framing;
pub mod headers;
pub mod identity;
mod leaving;
pub mod deadline;
pub mod expect;
pub mod limit;
pub mod relay;
pub mod retry;
pub mod status;
pub mod translate;
pub mod websocket;

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use self::leaving::Leaving;
use self::limit::Watch;
use self::relay::{Deadline, Relay};
use self::retry::budget::Retries;
use self::retry::peek::Peeked;
use self::translate::Translation;
use super::plan::{ForwardPlan, PathPattern};
use crate::body::{Body, Frames};
use crate::error::{Error, Kind};
use crate::exchange::{Class, Exchange, Protocol};
use crate::message::{Request, Response};
use crate::upstream::Answer;
use crate::upstream::cluster::Cluster;

/// Sends a request to its cluster and brings back the answer.
///
/// # Errors
/// Of the way there, of the wait for the answer's head, and of an answer that is not sound.
#[expect(clippy::manual_async_fn, reason = "an async fn would hold its arguments twice")]
pub fn forward<'a>(
    plan: &'a ForwardPlan,
    pattern: &'a PathPattern,
    target: Option<&'a Target>,
    request: Request<Body>,
    exchange: &'a mut Exchange,
) -> impl Future<Output = Result<Response<Body>, Error>> + 'a {
    async move {
        let target = target.ok_or(Kind::NoEndpoint)?;
        exchange.cluster = Some(Arc::clone(&target.cluster.name));
        framing::request_framing(request.version(), request.headers())?;
        if exchange.class == Class::Grpc && exchange.connection.protocol == Protocol::H1 {
            return Err(Error::with(Kind::Unsupported, "gRPC came over HTTP/1.1"));
        }
        let asked = deadline::asked(exchange.class, request.headers());
        let deadline = Deadline::earliest(exchange.started, asked, plan.timeouts.total);
        // A client that takes nothing of its answer never comes to the clock of its body.
        exchange.deadline = deadline.map(|deadline| (deadline.at, deadline.kind));
        let (mut parts, body) = request.into_parts();
        let (body, watch) = limit::limit(&plan.limits, exchange.class, &parts.headers, body)?;
        let (translation, body) =
            translate::request(plan, exchange.class, &mut parts.headers, body);
        let way = (&*target.cluster, deadline);
        let leaving = Leaving::new(plan, pattern, parts, way, exchange)?;
        let moved = Rc::clone(&exchange.bytes_in);
        // The clock is read once for each end of the wait: each reading costs as much as a route.
        let started = exchange.started;
        let response = {
            let attempts = pin!(attempts::attempts(&leaving, target, body, deadline, exchange));
            let waits = || watch.as_ref().is_some_and(|watch| watch.waits());
            relay::until_head(started, attempts, &plan.timeouts, deadline, &moved, waits).await?
        };
        let now = Instant::now();
        exchange.upstream_head = Some(now.saturating_duration_since(started));
        if let Some(watch) = &watch {
            watch.answered();
        }
        arrive(plan, (response, now), deadline, watch, translation.as_ref(), exchange)
    }
}

/// Where a route leads: a cluster, and what this worker affords itself of sending again there.
#[derive(Clone)]
pub struct Target {
    /// The cluster.
    pub cluster: Rc<Cluster>,
    /// The same for all routes to it.
    pub retries: Rc<Retries>,
}

/// What comes back behind an answer's head.
pub enum Far {
    /// The far end of a WebSocket.
    Tunnel(Body),
    /// Upstream's answer.
    Answer(Answer),
    /// Upstream's answer, of which the beginning was looked at.
    Peeked(Box<Peeked>),
}

type Arrived = Response<Far>;

fn arrive(
    plan: &ForwardPlan,
    (response, now): (Arrived, Instant),
    deadline: Option<Deadline>,
    watch: Option<Rc<Watch>>,
    translation: Option<&Translation>,
    exchange: &mut Exchange,
) -> Result<Response<Body>, Error> {
    let (mut parts, far) = response.into_parts();
    framing::response_framing(parts.version, &parts.headers)?;
    let moved = Rc::clone(&exchange.bytes_in);
    let timed = match far {
        Far::Tunnel(tunnel) => Err(tunnel),
        Far::Answer(answer) if Frames::is_end_stream(&answer) => Ok(Body::Empty),
        Far::Answer(answer) => {
            Ok(Body::boxed(Relay::new(now, answer, &plan.timeouts, deadline, moved, watch)))
        }
        Far::Peeked(peeked) => {
            Ok(Body::boxed(Relay::new(now, peeked, &plan.timeouts, deadline, moved, watch)))
        }
    };
    let body = match timed {
        Err(tunnel) => tunnel,
        Ok(mut body) => {
            headers::response(&mut parts.headers, parts.version);
            if (exchange.class == Class::Grpc || translation.is_some())
                && let Some(was) = status::settle(&mut parts)
            {
                exchange.remark = Some(was);
                // Cancels what of it is still to come.
                body = Body::Empty;
            }
            match translation {
                Some(translation) => translation.answer(&mut parts, body),
                None => body,
            }
        }
    };
    headers::edit(&mut parts.headers, &plan.response_headers);
    Ok(Response::from_parts(parts, body))
}
