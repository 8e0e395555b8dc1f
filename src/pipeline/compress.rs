//! Codes answers on their way to the client, where the route asks for it and it is safe: piece by
//! piece as upstream sends them, with nothing held back.
//!
//! What comes out of a store is none of this stage's business: it has variants of its own. What an
//! upstream has coded itself passes untouched.

pub mod coded;
pub mod eligible;
pub mod head;
pub mod secret;

use std::rc::Rc;

use http::{HeaderValue, Method, StatusCode};

use self::coded::Coded;
use super::coding::accept::Accepted;
use super::coding::load::Load;
use super::coding::stream::Encoder;
use super::plan::CompressPlan;
use crate::body::{Body, Frames as _};
use crate::exchange::Class;
use crate::message::name::{CONTENT_LENGTH, IF_NONE_MATCH};
use crate::message::{Fields, Request, Response};

/// What a request says that matters once its answer is there.
#[derive(Debug)]
pub struct Asked {
    accepted: Accepted,
    head_only: bool,
    ambient: secret::Ambient,
    if_none_match: Option<HeaderValue>,
}

impl Asked {
    /// `None`: whatever comes back is not to be coded. gRPC, gRPC-Web, Connect's streams and
    /// WebSockets end here, after one look at their class.
    pub fn of<B>(class: Class, request: &Request<B>) -> Option<Self> {
        let coded = matches!(class, Class::Rest | Class::Asset | Class::Page | Class::Connect);
        if !coded
            || eligible::no_transform(request.headers())
            || *request.method() == Method::CONNECT
        {
            return None;
        }
        Some(Self {
            accepted: Accepted::of(request.headers()),
            head_only: *request.method() == Method::HEAD,
            ambient: secret::Ambient::of(request.method(), request.uri().path(), request.headers()),
            if_none_match: request.headers().get(IF_NONE_MATCH).cloned(),
        })
    }

    /// The answer as the client gets it.
    pub fn answer(
        &self,
        plan: &CompressPlan,
        load: &Rc<Load>,
        response: Response<Body>,
    ) -> Response<Body> {
        let (mut parts, body) = response.into_parts();
        if parts.status == StatusCode::NOT_MODIFIED {
            head::not_modified(&mut parts.headers, self.if_none_match.as_ref());
            return Response::from_parts(parts, body);
        }
        let size = length(&parts.headers);
        let there = if self.head_only { size } else { size.or_else(|| body.size_hint().exact()) };
        if eligible::worth(parts.status, &parts.headers, there)
            && !self.ambient.makes_secret(&parts.headers)
        {
            head::varies(&mut parts.headers);
            return self.code(plan, load, there, Response::from_parts(parts, body));
        }
        Response::from_parts(parts, body)
    }

    /// Codes an answer that is worth it, if the client takes a coding and the worker has the time.
    fn code(
        &self,
        plan: &CompressPlan,
        load: &Rc<Load>,
        size: Option<u64>,
        response: Response<Body>,
    ) -> Response<Body> {
        let chosen = self.accepted.choose(&plan.order);
        let named = chosen.and_then(|coding| Some((coding, coding.header()?)));
        let (Some((coding, name)), Some(level)) = (named, load.level()) else { return response };
        if self.head_only {
            // As its GET would be answered, which only its size can tell.
            return if size.is_some() { with_head(response, name) } else { response };
        }
        // Without memory for an encoder the answer is as good as it is.
        let hint = size.map(|size| size.min(coded::WINDOW));
        let Ok(encoder) = Encoder::new(coding, level, hint) else { return response };
        let load = Rc::clone(load);
        with_head(response, name).map(|body| Body::boxed(Coded::new(body, encoder, load)))
    }
}

fn with_head(mut response: Response<Body>, coding: HeaderValue) -> Response<Body> {
    head::coded(response.headers_mut(), coding);
    response
}

fn length(headers: &Fields) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
