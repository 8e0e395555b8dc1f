//! A request's head as it leaves.

use std::borrow::Cow;

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Method, Uri, Version};

use super::headers::Passage;
use super::relay::Deadline;
use super::{deadline, expect, headers, identity};
use crate::error::{Error, Kind};
use crate::exchange::{Class, Exchange};
use crate::message::heads::Asking;
use crate::message::name::{EXPECT, HOST};
use crate::message::{Fields, Request};
use crate::pipeline::authority;
use crate::pipeline::path::rewrite_path;
use crate::pipeline::plan::{ForwardPlan, PathPattern};
use crate::upstream::cluster::Cluster;
use crate::upstream::plan::Protocol;

/// A request's head as it leaves, before it is known to which endpoint.
pub(super) struct Leaving<'a> {
    pub(super) plan: &'a ForwardPlan,
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    /// Whether the client waits for 100 before it sends its body.
    pub(super) expects: bool,
    /// What leads it to its endpoint, where the cluster balances by hash.
    pub(super) key: Option<u64>,
    asked: HeaderValue,
    asked_port: Option<u16>,
    authority: HeaderValue,
    /// As the client has named it, which is most often the same, read already.
    named: Option<http::uri::Authority>,
    fields: State,
}

/// The fields.
enum State {
    /// As they came: endpoints of several protocols get different ones.
    Came(Box<Asking>),
    /// As they leave, whichever endpoint it is: nothing of them is copied for the first.
    Leave(Request<()>),
}

impl<'a> Leaving<'a> {
    /// `way`: to whom, and until when.
    pub(super) fn new(
        plan: &'a ForwardPlan,
        pattern: &PathPattern,
        mut parts: Box<Asking>,
        (cluster, deadline): (&Cluster, Option<Deadline>),
        exchange: &Exchange,
    ) -> Result<Self, Error> {
        let asked = asked(&parts, exchange)?;
        let trusted = exchange.connection.trusted.is_some();
        identity::settle(&mut parts.headers, &plan.identity, &asked, trusted);
        let port = asked.to_str().ok().and_then(authority::port);
        let path = parts.uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let path = rewrite_path(plan, pattern, &path)?.unwrap_or(path);
        debug_assert!(exchange.attempts == 0);
        let mut leaving = Self {
            plan,
            method: parts.method.clone(),
            path,
            expects: expect::expects_continue(&parts.headers),
            key: cluster.key(&parts.headers, exchange.client),
            asked_port: port,
            authority: plan.authority.clone().unwrap_or_else(|| asked.clone()),
            asked,
            named: parts.uri.authority().cloned(),
            fields: State::Came(Box::default()),
        };
        // A WebSocket is asked for by an upgrade, whatever the endpoint speaks besides.
        let protocol = cluster.protocol().filter(|_| exchange.class != Class::WebSocket);
        leaving.fields = match protocol {
            Some(protocol) => {
                let head = leaving.made(parts, protocol, deadline, exchange)?;
                State::Leave(head)
            }
            None => State::Came(parts),
        };
        Ok(leaving)
    }

    /// The head for one attempt at an endpoint that is spoken to so. `waited`: some time has passed since
    /// it was made, of which upstream is told.
    pub(super) fn head(
        &self,
        protocol: Protocol,
        waited: bool,
        deadline: Option<Deadline>,
        exchange: &Exchange,
    ) -> Result<Cow<'_, Request<()>>, Error> {
        match &self.fields {
            State::Leave(head) if !waited => Ok(Cow::Borrowed(head)),
            State::Leave(head) => {
                let mut again = Request::clone(head);
                // What the route says of it has been said.
                if !deadline::field(exchange.class)
                    .is_some_and(|name| self.plan.request_headers.names(name))
                {
                    pass_on(again.headers_mut(), deadline, exchange);
                }
                Ok(Cow::Owned(again))
            }
            State::Came(fields) => {
                self.made(fields.clone(), protocol, deadline, exchange).map(Cow::Owned)
            }
        }
    }

    fn made(
        &self,
        mut head: Box<Asking>,
        protocol: Protocol,
        deadline: Option<Deadline>,
        exchange: &Exchange,
    ) -> Result<Request<()>, Error> {
        let h2 = protocol.is_h2();
        let received = head.version;
        let headers = &mut head.headers;
        headers::request(
            headers,
            &Passage {
                received,
                upstream_h2: h2,
                class: exchange.class,
                identity: exchange.identity(),
                asked: &self.asked,
                asked_port: self.asked_port,
                authority: &self.authority,
                request_id: exchange.request_id.as_deref(),
            },
        )?;
        if self.expects {
            headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        } else {
            headers.remove(EXPECT);
        }
        pass_on(headers, deadline, exchange);
        headers::edit(headers, &self.plan.request_headers);
        head.version = if h2 { Version::HTTP_2 } else { Version::HTTP_11 };
        head.uri =
            if h2 { self.absolute(protocol.is_tls())? } else { Uri::from(self.path.clone()) };
        Ok(Request::from_parts(head, ()))
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

/// Tells upstream how long the caller still waits, where it is the caller that says so.
fn pass_on(headers: &mut Fields, deadline: Option<Deadline>, exchange: &Exchange) {
    if let Some(Deadline { at, kind: Kind::Deadline }) = deadline {
        let left = at.saturating_duration_since(tokio::time::Instant::now());
        deadline::pass_on(exchange.class, headers, left);
    }
}

/// The authority that was asked for, in the route's own spelling where it has one.
fn asked(parts: &Asking, exchange: &Exchange) -> Result<HeaderValue, Error> {
    if let Some(authority) = &exchange.authority {
        return Ok(authority.clone());
    }
    match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str())
            .map_err(|error| Error::with(Kind::BadRequest, error)),
        None => Ok(parts.headers.get(HOST).ok_or(Kind::BadRequest)?.clone()),
    }
}
