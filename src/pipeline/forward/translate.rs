//! gRPC-Web on the client's leg becomes gRPC on the other (gRPC's `PROTOCOL-WEB.md`), for servers
//! that speak only that: the media types, base64 in text mode, and the trailers, which become the
//! last frame of the body.
//!
//! Nothing is collected: what comes in one piece leaves in one piece, so that a server's stream
//! stays one. The exchange stays gRPC-Web for the record and for whatever fails under way.

mod text;
mod web;

use http::{HeaderValue, StatusCode};

use self::text::Decoded;
use self::web::{Framed, trailer_frame};
use crate::body::{Body, Frames};
use crate::exchange::Class;
use crate::message::heads::Answering;
use crate::message::name::{
    ACCEPT, ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_LENGTH, CONTENT_TYPE, GRPC_STATUS, ORIGIN, TE, TRAILER,
    VARY, X_GRPC_WEB,
};
use crate::message::{FieldName, Fields};
use crate::pipeline::plan::{ForwardPlan, GrpcWeb};

/// What a script of another origin may read, in ZITADEL's own words
/// (`internal/api/http/middleware/cors_interceptor.go`).
const EXPOSED: &str =
    "Location, Content-Length, Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin";

/// Whether requests of this class are translated on this route.
pub fn applies(plan: &ForwardPlan, class: Class) -> bool {
    plan.grpc_web == GrpcWeb::Translate && matches!(class, Class::GrpcWeb | Class::GrpcWebText)
}

/// What the answer's translation must know of the request.
#[derive(Debug)]
pub struct Translation {
    /// The answer's media type: the request's, without parameters.
    media: HeaderValue,
    text: bool,
    /// Who asked, where Ravelin stands in for the server's CORS.
    origin: Option<HeaderValue>,
}

/// Makes a gRPC request of a gRPC-Web one; `None` where [`applies`] says no.
pub fn request(
    plan: &ForwardPlan,
    class: Class,
    headers: &mut Fields,
    body: Body,
) -> (Option<Translation>, Body) {
    if !applies(plan, class) {
        return (None, body);
    }
    let text = class == Class::GrpcWebText;
    let suffix = suffix(headers);
    let web = if text { "application/grpc-web-text" } else { "application/grpc-web" };
    let media = |base: &str| {
        // The suffix has been part of a field's value before.
        HeaderValue::try_from(format!("{base}{suffix}"))
            .unwrap_or_else(|_| HeaderValue::from_static("application/grpc"))
    };
    let origin = plan.preflight.as_ref().and_then(|_| headers.get(ORIGIN)).cloned();
    let translation = Translation { media: media(web), text, origin };
    headers.insert(CONTENT_TYPE, media("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.remove(CONTENT_LENGTH);
    headers.remove(&X_GRPC_WEB);
    // gRPC knows neither, and an encoded body could not be given a last frame.
    headers.remove(ACCEPT);
    headers.remove(ACCEPT_ENCODING);
    let decodes = text && !Frames::is_end_stream(&body);
    (Some(translation), if decodes { Body::boxed(Decoded::new(body)) } else { body })
}

/// `+proto`, `+json`, or nothing.
fn suffix(headers: &Fields) -> String {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split_once(';').map_or(media, |(media, _)| media).trim();
    media
        .split_once('+')
        .map(|(_, suffix)| format!("+{}", suffix.to_ascii_lowercase()))
        .unwrap_or_default()
}

impl Translation {
    /// Makes a gRPC-Web answer of a gRPC one, whose head is sound (see `status`).
    ///
    /// A head that carries the status (Trailers-Only) gives it to a frame of the body and keeps none
    /// of it: a script of another origin may read it there without being allowed to, and clients
    /// that find it in both places take it for two.
    pub fn answer(&self, parts: &mut Answering, body: Body) -> Body {
        // Clients look at no status of gRPC behind any other.
        parts.status = StatusCode::OK;
        let headers = &mut parts.headers;
        headers.insert(CONTENT_TYPE, self.media.clone());
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRAILER);
        self.allow(headers);
        if headers.contains_key(&GRPC_STATUS) {
            let frame = trailer_frame(&take_metadata(headers));
            return if self.text { text::encode(&frame) } else { frame }.into();
        }
        Body::boxed(Framed::new(body, self.text))
    }

    /// A route that answers preflights for the server keeps what it promised there, unless the
    /// server has its own word.
    fn allow(&self, headers: &mut Fields) {
        let Some(origin) = &self.origin else { return };
        if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            return;
        }
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}

/// Takes out of a Trailers-Only head what is the call's: the status and the server's metadata.
fn take_metadata(headers: &mut Fields) -> Fields {
    let (kept, taken) = std::mem::take(headers).into_iter().partition(|(name, _)| is_http(name));
    *headers = kept;
    taken
}

/// Whether a field is HTTP's own, or a proxy's, rather than metadata of the call.
fn is_http(name: &FieldName) -> bool {
    const NAMES: &[&str] = &[
        "age",
        "cache-control",
        "cdn-cache-control",
        "date",
        "expires",
        "grpc-accept-encoding",
        "grpc-encoding",
        "link",
        "pragma",
        "retry-after",
        "server",
        "server-timing",
        "set-cookie",
        "strict-transport-security",
        "vary",
        "via",
        "www-authenticate",
        "x-content-type-options",
        "x-frame-options",
        "x-request-id",
        "x-robots-tag",
    ];
    const BEGINNINGS: &[&str] = &["access-control-", "content-", "cross-origin-", "x-envoy-"];
    let name = name.as_str();
    NAMES.contains(&name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests;
