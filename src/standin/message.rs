//! A request and its answer in one shape for both HTTP versions.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use tokio::sync::mpsc::UnboundedSender;

use super::state::{Counted, Shared};
use super::wire::{Ahead, Control};

/// An exchange that ends otherwise than with an answer.
#[derive(Debug)]
pub(super) enum Cut {
    /// Reset the stream with this code; over HTTP/1.1 close the connection.
    Reset(Reason),
    /// Reset the whole connection.
    Die,
    /// The client has gone away.
    Gone,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Cut {}

pub(super) type Body = UnsyncBoxBody<Bytes, Cut>;
pub(super) type Reply = Response<Body>;
pub(super) type Answer = Result<Reply, Cut>;

/// The way to send an informational response before the answer.
#[derive(Clone)]
pub(super) enum Hints {
    H2(UnboundedSender<Response<()>>),
    H1(Ahead),
}

impl Hints {
    pub(super) fn send(&self, response: Response<()>) {
        match self {
            Self::H2(stream) => {
                // A stream that is gone needs no hints.
                let _ = stream.send(response);
            }
            Self::H1(ahead) => {
                let reason = response.status().canonical_reason().unwrap_or_default();
                let mut head =
                    format!("HTTP/1.1 {} {reason}\r\n", response.status().as_u16()).into_bytes();
                for (name, value) in response.headers() {
                    head.extend_from_slice(name.as_str().as_bytes());
                    head.extend_from_slice(b": ");
                    head.extend_from_slice(value.as_bytes());
                    head.extend_from_slice(b"\r\n");
                }
                head.extend_from_slice(b"\r\n");
                ahead.push(&head);
            }
        }
    }
}

/// Where a request's body comes from.
pub(super) enum Source {
    H2(RecvStream),
    H1(Incoming),
    Whole(Option<Bytes>),
}

/// A request's body.
pub(super) struct Inbound {
    pub(super) source: Source,
    pub(super) counted: Arc<Counted>,
    /// Set while the client waits for a 100: sent when reading begins, as net/http does. hyper
    /// does it by itself.
    pub(super) expects: Option<Hints>,
    pub(super) trailing: bool,
}

impl Inbound {
    pub(super) async fn frame(&mut self) -> Option<Result<Frame<Bytes>, Cut>> {
        if let Some(hints) = self.expects.take() {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::CONTINUE;
            hints.send(response);
        }
        let frame = match &mut self.source {
            Source::Whole(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Source::H1(body) => body.frame().await.map(|frame| frame.map_err(|_| Cut::Gone)),
            Source::H2(body) => next_h2(body, &mut self.trailing).await,
        };
        match &frame {
            None => self.counted.end(),
            Some(Ok(frame)) if frame.is_trailers() => self.counted.end(),
            Some(Ok(frame)) => self.counted.add(frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(_)) => {}
        }
        frame
    }

    /// Reads to the end; at most `limit` bytes are kept, the rest is counted and dropped. The flag
    /// says whether something was dropped.
    pub(super) async fn read(&mut self, limit: usize) -> Result<(Bytes, bool), Cut> {
        let mut all = BytesMut::new();
        let mut over = false;
        while let Some(frame) = self.frame().await {
            if let Ok(data) = frame?.into_data() {
                let room = limit.saturating_sub(all.len()).min(data.len());
                all.extend_from_slice(&data[..room]);
                over |= room < data.len();
            }
        }
        Ok((all.freeze(), over))
    }

    /// The frames as a stream, for bodies that go on while the answer does.
    pub(super) fn into_frames(
        self,
    ) -> impl Stream<Item = Result<Frame<Bytes>, Cut>> + Send + 'static {
        stream::unfold(
            self,
            |mut body| async move { body.frame().await.map(|frame| (frame, body)) },
        )
    }
}

async fn next_h2(body: &mut RecvStream, trailing: &mut bool) -> Option<Result<Frame<Bytes>, Cut>> {
    if !*trailing {
        match body.data().await {
            Some(Ok(data)) => {
                // Fails only for a stream that is gone, which the next read will say.
                let _ = body.flow_control().release_capacity(data.len());
                return Some(Ok(Frame::data(data)));
            }
            Some(Err(_)) => return Some(Err(Cut::Gone)),
            None => *trailing = true,
        }
    }
    match body.trailers().await {
        Ok(Some(trailers)) => Some(Ok(Frame::trailers(trailers))),
        Ok(None) => None,
        Err(_) => Some(Err(Cut::Gone)),
    }
}

/// A request with all that a handler may want to know.
pub(super) struct Call {
    pub(super) head: Parts,
    /// The path as it was sent.
    pub(super) path: String,
    /// The path, percent-decoded once.
    pub(super) decoded: String,
    /// `:authority` or `Host`, byte for byte.
    pub(super) authority: String,
    pub(super) peer: SocketAddr,
    pub(super) body: Inbound,
    pub(super) shared: Arc<Shared>,
    pub(super) hints: Hints,
    pub(super) control: Arc<Control>,
}

impl Call {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }

    pub(super) fn is_http2(&self) -> bool {
        self.head.version == Version::HTTP_2
    }

    /// The value of a query parameter, percent-decoded.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        let query = self.head.uri.query()?;
        let value = query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })?;
        percent_decode(&value.replace('+', " "))
    }

    /// The bearer token: none, the right one, or another.
    pub(super) fn token(&self) -> Token {
        match self.header("authorization") {
            None | Some("") => Token::Missing,
            Some("Bearer demo") => Token::Good,
            Some(SYSTEM_TOKEN) => Token::System,
            Some(_) => Token::Bad,
        }
    }
}

/// What the `Authorization` header says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Missing,
    Bad,
    Good,
    /// A system user's, whom no quota and no block concerns.
    System,
}

/// What a system user sends: a JWT that its subject, `robot`, has issued. The signature is not looked at.
pub const SYSTEM_TOKEN: &str = "Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJyb2JvdCIsInN1YiI6InJvYm90IiwiYXVkIjoiaHR0cHM6Ly9sb2NhbGhvc3Q6ODQ0MyJ9.c2lnbmF0dXJl";

/// Decodes `%XX` once; `None` for what net/url would refuse.
pub(super) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    // Go's strings carry any bytes; for matching against ASCII routes a lossy one does as well.
    Some(String::from_utf8_lossy(&decoded).into_owned())
}

pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

pub(super) fn streamed(
    frames: impl Stream<Item = Result<Frame<Bytes>, Cut>> + Send + 'static,
) -> Body {
    StreamBody::new(frames).boxed_unsync()
}

/// A body of these frames, whether or not the last holds trailers.
pub(super) fn frames(list: Vec<Frame<Bytes>>) -> Body {
    streamed(stream::iter(list.into_iter().map(Ok)))
}

/// An answer with a content type and a body of known length.
pub(super) fn reply(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let body = body.into();
    let length = body.len();
    let mut reply = Response::new(full(body));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if !content_type.is_empty() {
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if status != 304 && status != 204 {
        reply.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    reply
}

/// What Go's `http.Error` writes.
pub(super) fn go_error(status: u16, text: &str) -> Reply {
    let mut reply = reply(status, "text/plain; charset=utf-8", format!("{text}\n"));
    set(reply.headers_mut(), "x-content-type-options", "nosniff");
    reply
}

/// What Go's `http.Redirect` writes for a GET.
pub(super) fn redirect(status: u16, location: &str) -> Reply {
    let text = match status {
        301 => "Moved Permanently",
        307 => "Temporary Redirect",
        _ => "Found",
    };
    let escaped = location.replace('&', "&amp;").replace('"', "&#34;").replace('<', "&lt;");
    let mut reply =
        reply(status, "text/html; charset=utf-8", format!("<a href=\"{escaped}\">{text}</a>.\n\n"));
    set(reply.headers_mut(), "location", location);
    reply
}

/// Sets a header; a value that no header can carry is left out, as net/http does.
pub(super) fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// Adds a header beside what is there.
pub(super) fn add(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.append(HeaderName::from_static(name), value);
    }
}
