//! The request leaves: what its head and the answer's head look like on the other leg, and how
//! long the caller is willing to wait.

pub mod framing;
pub mod headers;
pub mod identity;
pub mod deadline;
pub mod expect;
pub mod limit;
pub mod relay;
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
use self::translate::Translation;
use super::authority::Authority;
use super::path::rewrite_path;
use super::plan::{ForwardPlan, PathPattern};
use crate::body::Body;
use crate::body::replay::Replay;
use crate::error::{Error, Kind, Retry};
use crate::exchange::{Class, Exchange, Protocol};
use crate::upstream::Answer;
use crate::upstream::cluster::{Ask, Cluster, send};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::state::Need;

/// How often one request is sent at most.
const ATTEMPTS: usize = 3;

/// Sends a request to its cluster and brings back the answer.
///
/// # Errors
/// Of the way there, of the wait for the answer's head, and of an answer that is not sound.
pub async fn forward(
    plan: &ForwardPlan,
    pattern: &PathPattern,
    cluster: Option<&Rc<Cluster>>,
    request: Request<Body>,
    exchange: &mut Exchange,
) -> Result<Response<Body>, Error> {
    let cluster = cluster.ok_or(Kind::NoEndpoint)?;
    exchange.cluster = Some(Arc::clone(&cluster.name));
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
    let (translation, body) = translate::request(plan, exchange.class, &mut parts.headers, body);
    let leaving = Leaving::new(plan, pattern, parts, exchange)?;
    let moved = Rc::clone(&exchange.bytes_in);
    let response = {
        let attempts = pin!(attempts(&leaving, cluster, body, deadline, exchange));
        let waits = || watch.as_ref().is_some_and(|watch| watch.waits());
        relay::until_head(attempts, &plan.timeouts, deadline, &moved, waits).await?
    };
    exchange.upstream_head = Some(exchange.started.elapsed());
    if let Some(watch) = &watch {
        watch.answered();
    }
    arrive(plan, response, deadline, watch, translation.as_ref(), exchange)
}

/// What comes back: upstream's answer, or the far end of a WebSocket.
type Arrived = Response<Result<Body, Answer>>;

fn arrive(
    plan: &ForwardPlan,
    response: Arrived,
    deadline: Option<Deadline>,
    watch: Option<Rc<Watch>>,
    translation: Option<&Translation>,
    exchange: &mut Exchange,
) -> Result<Response<Body>, Error> {
    let (mut parts, body) = response.into_parts();
    framing::response_framing(parts.version, &parts.headers)?;
    let body = match body {
        Ok(tunnel) => tunnel,
        Err(answer) => {
            headers::response(&mut parts.headers, parts.version);
            let mut body = if http_body::Body::is_end_stream(&answer) {
                Body::Empty
            } else {
                let moved = Rc::clone(&exchange.bytes_in);
                Body::boxed(Relay::new(answer, &plan.timeouts, deadline, moved, watch))
            };
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

/// Tries endpoints until one has answered, as long as nothing sent may have been processed.
async fn attempts(
    leaving: &Leaving<'_>,
    cluster: &Rc<Cluster>,
    body: Body,
    deadline: Option<Deadline>,
    exchange: &mut Exchange,
) -> Result<Arrived, Error> {
    if exchange.class == Class::WebSocket {
        // Boxed: rare, and large enough to weigh on every exchange.
        return Box::pin(switch(leaving, cluster, body, deadline, exchange)).await;
    }
    let (body, interim) = if expect::expects_continue(&leaving.headers) {
        let (body, interim) = expect::gate(body, exchange.interim.take());
        (body, Some(interim))
    } else {
        (body, exchange.interim.take())
    };
    exchange.interim = interim;
    // A body that is not there needs no keeping.
    let replay = (!http_body::Body::is_end_stream(&body)).then(|| Replay::new(body));
    let key = cluster.key(&leaving.headers, exchange.client);
    let mut tried: Vec<Rc<Endpoint>> = Vec::new();
    loop {
        let attempt = cluster.pick(&ask(exchange, key, &tried, deadline))?;
        let endpoint = Rc::clone(attempt.endpoint());
        let h2 = endpoint.plan.protocol.is_h2();
        if !h2
            && (exchange.class == Class::Grpc || translate::applies(leaving.plan, exchange.class))
        {
            return Err(Error::new(Kind::NotHttp2));
        }
        let head = leaving.head(&endpoint, h2, deadline, exchange)?;
        let body = match &replay {
            None => Body::Empty,
            Some(replay) => Body::Replay(replay.again().ok_or(Kind::Reset)?),
        };
        let error = match send(attempt, head, body, exchange).await {
            Ok(response) => {
                if let Some(replay) = &replay {
                    replay.settle();
                }
                return Ok(response.map(Err));
            }
            Err(error) => error,
        };
        tried.push(Rc::clone(&endpoint));
        let replayable = replay.as_ref().is_none_or(|replay| replay.again().is_some());
        if !replayable || !is_worth_another(&error, tried.len(), cluster) {
            return Err(error);
        }
        endpoint.retried(error.kind());
    }
}

/// What the exchange asks of its cluster.
fn ask<'a>(
    exchange: &Exchange,
    key: Option<u64>,
    tried: &'a [Rc<Endpoint>],
    deadline: Option<Deadline>,
) -> Ask<'a> {
    let deadline = deadline.map(|deadline| deadline.at);
    Ask { tried, key, deadline, ..Ask::first(Need::of(exchange.class)) }
}

/// Whether a request that failed unsent may find better luck elsewhere, or here.
fn is_worth_another(error: &Error, tried: usize, cluster: &Cluster) -> bool {
    error.kind().retry() == Retry::Unsent
        && tried < ATTEMPTS
        // Asking the only endpoint that cannot be reached once more would only be told the same.
        && (error.kind() == Kind::Refused || tried < cluster.endpoints().len())
}

/// The same for a WebSocket, whose client says nothing before its tunnel is open.
async fn switch(
    leaving: &Leaving<'_>,
    cluster: &Rc<Cluster>,
    client: Body,
    deadline: Option<Deadline>,
    exchange: &mut Exchange,
) -> Result<Arrived, Error> {
    let key = cluster.key(&leaving.headers, exchange.client);
    let mut tried: Vec<Rc<Endpoint>> = Vec::new();
    loop {
        let attempt = cluster.pick(&ask(exchange, key, &tried, deadline))?;
        let endpoint = Rc::clone(attempt.endpoint());
        let head = leaving.head(&endpoint, false, deadline, exchange)?;
        let error = match websocket::open(attempt, head, exchange).await {
            Ok(response) => {
                let (head, far) = response.into_parts();
                let far = match far {
                    Ok(far) => Ok(websocket::tunnel(far, client)),
                    Err(answer) => Err(answer),
                };
                return Ok(Response::from_parts(head, far));
            }
            Err(error) => error,
        };
        tried.push(Rc::clone(&endpoint));
        if !is_worth_another(&error, tried.len(), cluster) {
            return Err(error);
        }
        endpoint.retried(error.kind());
    }
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
        uri.authority = Some(
            self.authority
                .as_bytes()
                .try_into()
                .map_err(|error| Error::with(Kind::BadRequest, error))?,
        );
        uri.path_and_query = Some(self.path.clone());
        Uri::from_parts(uri).map_err(|error| Error::with(Kind::BadRequest, error))
    }
}
