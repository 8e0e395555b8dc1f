//! Decides how a failure looks in the caller's protocol: the one place where an [`Error`] becomes an
//! answer (before the head) or an ending (after it). What it says comes from the table in `error.rs`
//! alone, never from the cause, which may speak of what is behind.

mod connect;
mod grpc;
mod page;
mod problem;
mod status_details;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use crate::error::{Error, Kind};
use crate::exchange::Class;
use crate::message::name::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ORIGIN, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
    X_REQUEST_ID,
};
use crate::message::{Fields, Response};

/// What an answer must know of the request. Kept from before the request is passed on; the values
/// are shared, not copied.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What the exchange is.
    pub class: Class,
    /// Whether the caller asked for the head alone.
    pub head_only: bool,
    /// `Origin`, where the answer is one that a browser's script reads (gRPC-Web, Connect, REST).
    pub origin: Option<HeaderValue>,
    /// The request's media type, where the answer has to repeat it (gRPC-Web, Connect streams).
    pub content_type: Option<HeaderValue>,
}

impl Caller {
    /// The caller behind a request's head whose class is not known yet.
    pub fn any(method: &Method, headers: &Fields) -> Self {
        Self {
            class: Class::default(),
            head_only: *method == Method::HEAD,
            origin: headers.get(ORIGIN).cloned(),
            content_type: headers.get(CONTENT_TYPE).cloned(),
        }
    }

    /// The caller behind a request's head.
    pub fn new(class: Class, method: &Method, headers: &Fields) -> Self {
        let value = |wanted: bool, name| wanted.then(|| headers.get(name)).flatten().cloned();
        Self {
            class,
            head_only: *method == Method::HEAD,
            origin: value(is_scripted(class), ORIGIN),
            content_type: value(repeats_media_type(class), CONTENT_TYPE),
        }
    }
}

/// How an answer ends whose head is already on its way.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// gRPC: these trailers, then the end of the stream.
    Trailers(Fields),
    /// gRPC-Web: this last piece of body (base64 in text mode), then the end. Only where the body
    /// stands between two frames; inside of one it would be read as a message: reset then.
    WebFrame(Bytes),
    /// Connect streams: this end-of-stream envelope, then the end. Only between two envelopes.
    ConnectEnd(Bytes),
    /// Everything else: the stream is reset (HTTP/1.1: the connection cut), since a silent end would
    /// pass for a whole answer.
    Reset,
}

/// One answer in the making.
struct Answer {
    status: StatusCode,
    content_type: HeaderValue,
    body: Bytes,
    headers: Fields,
}

impl Answer {
    fn new(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        Self { status, content_type, body: body.into(), headers: Fields::new() }
    }
}

/// The whole answer to a request that failed before the head of its answer.
pub fn rescue(error: &Error, caller: &Caller, request_id: Option<&str>) -> Response<Bytes> {
    let kind = error.kind();
    let answer = match caller.class {
        Class::Grpc => grpc::trailers_only(error, caller),
        Class::GrpcWeb | Class::GrpcWebText => grpc::web(error, caller),
        Class::Connect => connect::unary(error),
        Class::ConnectStream => connect::stream(error, caller),
        Class::Rest => problem::json(kind, request_id),
        Class::Page => page::html(kind, request_id),
        Class::Asset | Class::WebSocket => plain(kind),
    };
    finish(answer, error, caller, request_id)
}

/// How an answer ends that failed after its head.
pub fn trailers(error: &Error, caller: &Caller) -> Ending {
    match caller.class {
        Class::Grpc => Ending::Trailers(grpc::status(error)),
        Class::GrpcWeb | Class::GrpcWebText => {
            Ending::WebFrame(grpc::web_frame(error, caller.class))
        }
        Class::ConnectStream => Ending::ConnectEnd(connect::end_of_stream(error)),
        Class::Connect | Class::Rest | Class::Asset | Class::Page | Class::WebSocket => {
            Ending::Reset
        }
    }
}

fn plain(kind: Kind) -> Answer {
    Answer::new(
        kind.status(),
        HeaderValue::from_static("text/plain; charset=utf-8"),
        format!("{}\n", kind.message()),
    )
}

/// What all answers have in common.
fn finish(
    answer: Answer,
    error: &Error,
    caller: &Caller,
    request_id: Option<&str>,
) -> Response<Bytes> {
    let Answer { status, content_type, body, mut headers } = answer;
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(seconds) = error.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(id) = request_id.and_then(|id| HeaderValue::from_str(id).ok()) {
        headers.insert(&X_REQUEST_ID, id);
    }
    if let Some(origin) = caller.origin.as_ref().filter(|_| is_scripted(caller.class)) {
        allow(&mut headers, origin);
    }
    // A Trailers-Only answer has no length: it is a head that ends the stream.
    if caller.class != Class::Grpc {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let mut response = Response::new(if caller.head_only { Bytes::new() } else { body });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Lets the script that asked read the answer, as ZITADEL's own answers do
/// (`internal/api/http/middleware/cors_interceptor.go`).
fn allow(headers: &mut Fields, origin: &HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "grpc-status,grpc-message,grpc-status-details-bin,retry-after,x-request-id",
        ),
    );
    headers.insert(VARY, HeaderValue::from_static("Origin"));
}

const fn is_scripted(class: Class) -> bool {
    match class {
        Class::GrpcWeb
        | Class::GrpcWebText
        | Class::Connect
        | Class::ConnectStream
        | Class::Rest => true,
        Class::Grpc | Class::Asset | Class::Page | Class::WebSocket => false,
    }
}

const fn repeats_media_type(class: Class) -> bool {
    matches!(class, Class::Grpc | Class::GrpcWeb | Class::GrpcWebText | Class::ConnectStream)
}

/// The request's media type, without parameters, where it begins as it must; else `otherwise`.
fn repeated(caller: &Caller, beginning: &str, otherwise: &'static str) -> HeaderValue {
    let asked =
        caller.content_type.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = asked.split_once(';').map_or(asked, |(media, _)| media).trim();
    let fits =
        media.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning));
    fits.then(|| HeaderValue::from_str(media).ok())
        .flatten()
        .unwrap_or_else(|| HeaderValue::from_static(otherwise))
}

/// A frame of gRPC-Web or an envelope of Connect: flags, length, payload.
fn framed(flags: u8, payload: &[u8]) -> Vec<u8> {
    // The payloads are a line or two of our own.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(payload.len() + 5);
    frame.push(flags);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The words for a status, also for the one that has none in the registry.
fn phrase(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Client Closed Request")
}

#[cfg(test)]
mod tests;
