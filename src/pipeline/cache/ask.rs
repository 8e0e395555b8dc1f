//! A request as the cache sees it: under which address, by which route, and what is kept for it.

use std::sync::Arc;
use std::time::Instant;

use super::answer::Client;
use super::content::Content;
use super::directives::Asked;
use super::entry::{Entry, Head, Source};
use super::generation::Piece;
use super::vary;
use crate::body::Body;
use crate::exchange::Exchange;
use crate::message::name::HOST;
use crate::message::{Fields, Request};
use crate::pipeline::coding::Coding;
use crate::pipeline::coding::accept::Accepted;
use crate::pipeline::plan::CachePlan;

/// A request as the cache sees it.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) plan: Arc<CachePlan>,
    pub(super) source: Arc<Source>,
    /// Decoded, without query.
    pub(super) path: String,
    /// Scheme, authority, path and query.
    pub(super) address: String,
    pub(super) says: Asked,
    /// What it is of the route's application.
    pub(super) app: Option<Piece>,
}

/// What is kept for a request.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) entry: Arc<Entry>,
    pub(super) content: Arc<Content>,
}

/// The moment by which ages are told: the exchange's start, which was read anyway, unless it has
/// waited since.
pub(super) fn moment(exchange: &Exchange, waited: bool) -> Instant {
    if waited { Instant::now() } else { exchange.started.into_std() }
}

/// Whether an answer is for this request, and of its route as that is now.
pub(super) fn applies(head: &Head, ask: &Ask, headers: &Fields) -> bool {
    head.source == ask.source && suits(head, headers)
}

/// Whether an answer is for this request, but of its route as that was before.
pub(super) fn applied(head: &Head, ask: &Ask, headers: &Fields) -> bool {
    head.source.route == ask.source.route && suits(head, headers)
}

fn suits(head: &Head, headers: &Fields) -> bool {
    let readable = || match head.coded.as_ref().filter(|_| head.by_coding) {
        Some(coded) => Coding::named(coded.as_bytes())
            .is_some_and(|coding| Accepted::of(headers).allows(coding)),
        None => true,
    };
    vary::matches(&head.chosen, headers) && readable()
}

pub(super) fn client(request: &Request<Body>) -> Client {
    Client { method: request.method().clone(), headers: request.headers().clone() }
}

/// Under which address a request's answer is kept: scheme, full authority as upstream sees it, path
/// and query as they were sent.
pub(super) fn address(request: &Request<Body>, exchange: &Exchange) -> String {
    let uri = request.uri();
    let known = exchange.authority.as_ref().or_else(|| request.headers().get(HOST));
    let known = known.and_then(|value| value.to_str().ok());
    let asked = uri.authority().map(http::uri::Authority::as_str);
    let authority = match &exchange.authority {
        Some(_) => known.or(asked),
        None => asked.or(known),
    };
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let (scheme, authority) = (exchange.identity().scheme(), authority.unwrap_or_default());
    let mut address = String::with_capacity(scheme.len() + 3 + authority.len() + path.len());
    for part in [scheme, "://", authority, path] {
        address.push_str(part);
    }
    address
}
