//! May it enter, and as what? The pure decisions on a request's head, in the order in which they
//! are asked: what class is it, is the target sound, can the path be read in one way only, which route
//! takes it.
//!
//! Nothing here waits, and an ordinary request allocates nothing.

pub mod client;
pub mod coverage;
pub mod normalise;
pub mod classify;
pub mod route;
pub mod redirect;
pub mod rate;
pub mod site;

use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderValue, Method};

use self::route::RouteTable;
use super::path::decode::{Sight, sight};
use super::plan::{PathPattern, RedirectPlan, RoutePlan};
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::exchange::{Class, Exchange};
use crate::message::name::{HOST, TRACEPARENT, X_REQUEST_ID};
use crate::message::{Fields, Request};
use crate::telemetry::trace;

/// What an admitted request is to get.
#[derive(Debug)]
pub enum Admitted {
    /// A permanent redirect there: it came without TLS to a listener that wants TLS, or its path has
    /// empty or dot segments.
    Elsewhere(HeaderValue),
    /// This route, and its place in the table.
    Route(usize, Arc<RoutePlan>),
}

/// Decides on a request's head, and writes into `exchange` what was decided.
///
/// # Errors
/// Those of [`decide`], and `HeadersTooLarge`.
pub fn admit(
    table: &RouteTable,
    request: &Request<Body>,
    exchange: &mut Exchange,
) -> Result<Admitted, Error> {
    let extended = extended(request);
    // First of all, since it decides how every refusal looks.
    exchange.class = classify::classify(
        request.method(),
        request.version(),
        request.uri(),
        request.headers(),
        extended,
    );
    identify(request.headers(), exchange);
    client::believe(request.headers(), exchange);
    if let Some(kind) = exchange.refused {
        return Err(kind.into());
    }
    decide(table, request, exchange)
}

/// Decides on the head of a request whose class and client are known; allocates nothing for an
/// ordinary one.
///
/// # Errors
/// `BadRequest` and `Unsupported` for what is malformed, `Misdirected` for a coalesced connection
/// whose certificate does not cover the host, `UnknownHost` (`NoHost` without TLS) for a host or port
/// that no route is about or the route's site does not know, and `NoRoute`.
pub fn decide(
    table: &RouteTable,
    request: &Request<Body>,
    exchange: &mut Exchange,
) -> Result<Admitted, Error> {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let connection = Rc::clone(&exchange.connection);
    let authority = normalise::target(method, request.version(), uri, headers, extended(request))?;
    let https = exchange.identity().https();
    if let Some(port) = connection.redirect_to_https.filter(|_| !https) {
        return Ok(Admitted::Elsewhere(redirect::https_location(&authority, port, uri)));
    }
    if let Some(tls) = &connection.tls {
        let asked_by_name =
            tls.sni.as_deref().is_some_and(|sni| !sni.eq_ignore_ascii_case(authority.host));
        if asked_by_name && !coverage::covers(&tls.names, authority.host) {
            return Err(Kind::Misdirected.into());
        }
    }
    let path = match sight(uri.path())? {
        Sight::Clear(path) => path,
        Sight::Detour(clean) => {
            may_be_redirected(method, exchange.class)?;
            if !table.serves(&connection.listener, authority.host) {
                return Err(unknown_host(exchange));
            }
            return Ok(Admitted::Elsewhere(redirect::clean_location(clean, uri)));
        }
    };
    let found =
        table.find(&connection.listener, authority.host, exchange.client, method, &path, headers);
    match found {
        Some((index, route)) => {
            exchange.authority = match table.site(index).map(|site| site.find(&authority, https)) {
                Some(Some(known)) => Some(known),
                Some(None) => return Err(unknown_host(exchange)),
                None => None,
            };
            Ok(Admitted::Route(index, Arc::clone(route)))
        }
        None if table.serves(&connection.listener, authority.host) => Err(Kind::NoRoute.into()),
        None => Err(unknown_host(exchange)),
    }
}

/// The `:protocol` of an extended CONNECT.
fn extended(request: &Request<Body>) -> Option<&str> {
    request.protocol()
}

/// Only what a browser or a REST client reads is redirected: an RPC client does not follow, and a
/// write would be sent twice.
fn may_be_redirected(method: &Method, class: Class) -> Result<(), Error> {
    let reads = *method == Method::GET || *method == Method::HEAD;
    if reads && matches!(class, Class::Page | Class::Asset | Class::Rest) {
        return Ok(());
    }
    Err(Error::with(Kind::BadRequest, "the path has empty or dot segments"))
}

/// 421 tells the client to come again on a connection of its own (RFC 9110 §15.5.20): without TLS no
/// connection is about a host, and it would only come again.
fn unknown_host(exchange: &Exchange) -> Error {
    match exchange.connection.tls {
        Some(_) => Kind::UnknownHost.into(),
        None => Kind::NoHost.into(),
    }
}

/// The request's id and trace, as far as the client named sound ones.
fn identify(headers: &Fields, exchange: &mut Exchange) {
    exchange.trace_id = headers
        .get(&TRACEPARENT)
        .and_then(|value| trace::trace_id(value.as_bytes()))
        .map(Box::from);
    let given = headers
        .get(&X_REQUEST_ID)
        .and_then(|value| trace::request_id(value.as_bytes()))
        .map(Box::from);
    exchange.request_id = Some(given.unwrap_or_else(trace::new_request_id));
}

/// Where a redirecting route sends a request.
///
/// # Errors
/// As [`admit`], which has accepted the request before.
pub fn location(
    plan: &RedirectPlan,
    path: &PathPattern,
    request: &Request<Body>,
    exchange: &Exchange,
) -> Result<HeaderValue, Error> {
    let authority = authority_text(request).ok_or(Kind::BadRequest)?;
    let scheme = exchange.identity().scheme();
    Ok(redirect::redirect_location(plan, path, scheme, authority, request.uri()))
}

/// The authority as the client wrote it.
pub fn authority_text(request: &Request<Body>) -> Option<&str> {
    let host = || request.headers().get(HOST)?.to_str().ok();
    request.uri().authority().map(http::uri::Authority::as_str).or_else(host)
}
