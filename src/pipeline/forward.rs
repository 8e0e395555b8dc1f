//! The request leaves: what its head and the answer's head look like on the other leg, and how
//! long the caller is willing to wait.

pub mod attempts;
pub mod framing;
pub mod headers;
pub mod identity;
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

use http::header::{EXPECT, HOST, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, Uri, Version};

use self::headers::Passage;
use self::limit::Watch;
use self::relay::{Deadline, Relay};
use self::retry::budget::Retries;
use self::retry::peek::Peeked;
use self::translate::Translation;
use super::authority::Authority;
use super::path::rewrite_path;
use super::plan::{ForwardPlan, PathPattern};
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::exchange::{Class, Exchange, Protocol};
use crate::upstream::Answer;
use crate::upstream::cluster::Cluster;
use crate::upstream::endpoint::Endpoint;

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
        let leaving = Leaving::new(plan, pattern, parts, exchange)?;
        let moved = Rc::clone(&exchange.bytes_in);
        let response = {
            let attempts = pin!(attempts::attempts(&leaving, target, body, deadline, exchange));
            let waits = || watch.as_ref().is_some_and(|watch| watch.waits());
            relay::until_head(attempts, &plan.timeouts, deadline, &moved, waits).await?
        };
        exchange.upstream_head = Some(exchange.started.elapsed());
        if let Some(watch) = &watch {
            watch.answered();
        }
        arrive(plan, response, deadline, watch, translation.as_ref(), exchange)
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
    response: Arrived,
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
        Far::Answer(answer) if http_body::Body::is_end_stream(&answer) => Ok(Body::Empty),
        Far::Answer(answer) => {
            Ok(Body::boxed(Relay::new(answer, &plan.timeouts, deadline, moved, watch)))
        }
        Far::Peeked(peeked) => {
            Ok(Body::boxed(Relay::new(peeked, &plan.timeouts, deadline, moved, watch)))
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
    parts.extensions.clear();
    Ok(Response::from_parts(parts, body))
}

/// The authority that was asked for, in the route's own spelling where it has one.
fn asked(parts: &http::request::Parts, exchange: &Exchange) -> Result<HeaderValue, Error> {
    if let Some(authority) = &exchange.authority {
        return Ok(authority.clone());
    }
    match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str())
            .map_err(|error| Error::with(Kind::BadRequest, error)),
        None => Ok(parts.headers.get(HOST).ok_or(Kind::BadRequest)?.clone()),
    }
}

/// A request's head as it leaves, before it is known to which endpoint.
struct Leaving<'a> {
    plan: &'a ForwardPlan,
    method: Method,
    version: Version,
    headers: HeaderMap,
    path: PathAndQuery,
    extensions: Option<h2::ext::Protocol>,
    asked: HeaderValue,
    asked_port: Option<u16>,
    authority: HeaderValue,
    /// As the client has named it, which is most often the same, read already.
    named: Option<http::uri::Authority>,
}

impl<'a> Leaving<'a> {
    fn new(
        plan: &'a ForwardPlan,
        pattern: &PathPattern,
        mut parts: http::request::Parts,
        exchange: &Exchange,
    ) -> Result<Self, Error> {
        let asked = asked(&parts, exchange)?;
        identity::settle(
            &mut parts.headers,
            &plan.identity,
            &asked,
            exchange.connection.trusted.is_some(),
        );
        let asked_port =
            asked.to_str().ok().and_then(Authority::parse).and_then(|asked| asked.port);
        let path = parts.uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let path = rewrite_path(plan, pattern, &path)?.unwrap_or(path);
        let authority = plan.authority.clone().unwrap_or_else(|| asked.clone());
        debug_assert!(exchange.attempts == 0);
        Ok(Self {
            plan,
            method: parts.method,
            version: parts.version,
            headers: parts.headers,
            path,
            extensions: parts.extensions.get::<h2::ext::Protocol>().cloned(),
            asked,
            asked_port,
            authority,
            named: parts.uri.authority().cloned(),
        })
    }

    /// The head for one attempt.
    fn head(
        &self,
        endpoint: &Endpoint,
        h2: bool,
        deadline: Option<Deadline>,
        exchange: &Exchange,
    ) -> Result<Request<()>, Error> {
        let mut headers = self.headers.clone();
        headers::request(
            &mut headers,
            &Passage {
                received: self.version,
                upstream_h2: h2,
                class: exchange.class,
                identity: exchange.identity(),
                asked: &self.asked,
                asked_port: self.asked_port,
                authority: &self.authority,
                request_id: exchange.request_id.as_deref(),
            },
        )?;
        if expect::expects_continue(&self.headers) {
            headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        } else {
            headers.remove(EXPECT);
        }
        if let Some(Deadline { at, kind: Kind::Deadline }) = deadline {
            let left = at.saturating_duration_since(tokio::time::Instant::now());
            deadline::pass_on(exchange.class, &mut headers, left);
        }
        headers::edit(&mut headers, &self.plan.request_headers);
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.version_mut() = if h2 { Version::HTTP_2 } else { Version::HTTP_11 };
        *request.uri_mut() = if h2 {
            self.absolute(endpoint.plan.protocol.is_tls())?
        } else {
            Uri::from(self.path.clone())
        };
        *request.headers_mut() = headers;
        if let Some(protocol) = &self.extensions {
            request.extensions_mut().insert(protocol.clone());
        }
        Ok(request)
    }

    /// The target with its authority: HTTP/2's pseudo-header fields are made of it.
    fn absolute(&self, tls: bool) -> Result<Uri, Error> {
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
        uri.authority = Some(match &self.named {
            Some(named) if named.as_str().as_bytes() == self.authority.as_bytes() => named.clone(),
            _ => self
                .authority
                .as_bytes()
                .try_into()
                .map_err(|error| Error::with(Kind::BadRequest, error))?,
        });
        uri.path_and_query = Some(self.path.clone());
        Uri::from_parts(uri).map_err(|error| Error::with(Kind::BadRequest, error))
    }
}
