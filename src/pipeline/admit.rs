//! May it enter, and as what? The pure decisions on a request's head, in the order in which they
//! are asked: is the target sound, what class is it, which route takes it.
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

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request};

use self::route::RouteTable;
use super::plan::{PathPattern, RedirectPlan, RoutePlan};
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::exchange::Exchange;
use crate::telemetry::trace;

/// What an admitted request is to get.
pub enum Admitted {
    /// It came without TLS to a listener that wants TLS: go there.
    Secure(HeaderValue),
    /// This route, and its place in the table.
    Route(usize, Arc<RoutePlan>),
}

/// Decides on a request's head, and writes into `exchange` what was decided.
///
/// # Errors
/// `BadRequest` and `Unsupported` for what is malformed, `HeadersTooLarge` for too many fields,
/// `Misdirected` for a coalesced connection whose certificate does not cover the host, `UnknownHost`
/// (`NoHost` without TLS) for a host or port that no route is about or the route's site does not
/// know, and `NoRoute`.
pub fn admit(
    table: &RouteTable,
    request: &Request<Body>,
    exchange: &mut Exchange,
) -> Result<Admitted, Error> {
    let (method, version, uri, headers) =
        (request.method(), request.version(), request.uri(), request.headers());
    let extended = request.extensions().get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str);
    // First of all, since it decides how every refusal looks.
    exchange.class = classify::classify(method, version, uri, headers, extended);
    identify(headers, exchange);
    client::believe(headers, exchange);
    if let Some(kind) = exchange.refused {
        return Err(kind.into());
    }
    let authority = normalise::target(method, version, uri, headers, extended)?;
    let https = exchange.identity().https();
    if let Some(port) = exchange.connection.redirect_to_https.filter(|_| !https) {
        return Ok(Admitted::Secure(redirect::https_location(&authority, port, uri)));
    }
    if let Some(tls) = &exchange.connection.tls {
        let asked_by_name =
            tls.sni.as_deref().is_some_and(|sni| !sni.eq_ignore_ascii_case(authority.host));
        if asked_by_name && !coverage::covers(&tls.names, authority.host) {
            return Err(Kind::Misdirected.into());
        }
    }
    let listener = &exchange.connection.listener;
    match table.find(listener, authority.host, method, uri.path(), headers) {
        Some((index, route)) => {
            exchange.authority = match table.site(index).map(|site| site.find(&authority, https)) {
                Some(Some(known)) => Some(known),
                Some(None) => return Err(unknown_host(exchange)),
                None => None,
            };
            Ok(Admitted::Route(index, Arc::clone(route)))
        }
        None if table.serves(listener, authority.host) => Err(Kind::NoRoute.into()),
        None => Err(unknown_host(exchange)),
    }
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
fn identify(headers: &HeaderMap, exchange: &mut Exchange) {
    exchange.trace_id = headers
        .get("traceparent")
        .and_then(|value| trace::trace_id(value.as_bytes()))
        .map(Box::from);
    let given = headers
        .get("x-request-id")
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
    let host = || request.headers().get(http::header::HOST)?.to_str().ok();
    request.uri().authority().map(http::uri::Authority::as_str).or_else(host)
}
