//! One question to one endpoint, in any of the protocols that it may speak, each on a connection
//! of its own.

use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;

use crate::error::Kind;
use crate::io::Io;
use crate::upstream::plan::{EndpointPlan, Protocol, TlsPlan};
use crate::upstream::tls;
use crate::upstream::transport::dial;

/// From the first packet to the end of the TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);
/// For the whole answer. Whoever does not speak the protocol says nothing at all, perhaps.
const ANSWER: Duration = Duration::from_secs(5);
/// Bytes of an answer: discovery is some KiB.
const LARGEST: usize = 1 << 20;

/// A whole answer.
#[derive(Debug)]
pub(in crate::command) struct Reply {
    pub(in crate::command) status: StatusCode,
    pub(in crate::command) headers: HeaderMap,
    pub(in crate::command) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
pub(in crate::command) enum Failure {
    /// Nobody is there.
    Unreachable(String),
    /// Somebody is there and does not speak so.
    Other(String),
}

impl Failure {
    /// The cause.
    pub(in crate::command) fn text(&self) -> &str {
        match self {
            Self::Unreachable(text) | Self::Other(text) => text,
        }
    }
}

fn other(error: impl ToString) -> Failure {
    Failure::Other(error.to_string())
}

/// Sends a GET of `uri` (absolute) with these headers, by `protocol`, whatever the plan says.
pub(super) async fn ask(
    endpoint: &EndpointPlan,
    protocol: Protocol,
    tls: &TlsPlan,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Reply, Failure> {
    let endpoint = EndpointPlan { protocol, ..endpoint.clone() };
    fetch(&endpoint, tls, uri, headers, Most { time: ANSWER, bytes: LARGEST }).await
}

/// What an answer may cost.
#[derive(Clone, Copy, Debug)]
pub(in crate::command) struct Most {
    /// From the request to the end of the answer.
    pub(in crate::command) time: Duration,
    /// Of its body.
    pub(in crate::command) bytes: usize,
}

/// Sends a GET of `uri` (absolute) with these headers to an endpoint.
pub(in crate::command) async fn fetch(
    endpoint: &EndpointPlan,
    tls: &TlsPlan,
    uri: &Uri,
    headers: &HeaderMap,
    most: Most,
) -> Result<Reply, Failure> {
    let protocol = endpoint.protocol;
    let tls =
        if protocol.is_tls() { Some(tls::client(tls, endpoint).map_err(other)?) } else { None };
    let mut io =
        dial(endpoint, tls.as_ref(), protocol.is_h2(), CONNECT).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let text = cause.unwrap_or_else(|| error.to_string());
            match error.kind() {
                Kind::UpstreamTls => Failure::Other(text),
                _ => Failure::Unreachable(text),
            }
        })?;
    io.flush_at_once();
    let mut request = Request::new(());
    request.headers_mut().clone_from(headers);
    *request.uri_mut() = uri.clone();
    let answer = async {
        if protocol.is_h2() {
            Box::pin(http2(io, request, most.bytes)).await
        } else {
            Box::pin(http1(io, request, most.bytes)).await
        }
    };
    match tokio::time::timeout(most.time, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::Other("no answer".to_owned())),
    }
}

async fn http2(io: Io, request: Request<()>, most: usize) -> Result<Reply, Failure> {
    let (send, connection) = h2::client::handshake(io).await.map_err(other)?;
    let exchange = async {
        let mut send = send.ready().await.map_err(other)?;
        let (answer, _) = send.send_request(request, true).map_err(other)?;
        let (head, mut stream) = answer.await.map_err(other)?.into_parts();
        let mut body = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data.map_err(other)?;
            let _ = stream.flow_control().release_capacity(data.len());
            body.extend_from_slice(&data);
            if body.len() > most {
                return Err(other("too large an answer"));
            }
        }
        Ok(Reply { status: head.status, headers: head.headers, body: body.into() })
    };
    tokio::select! {
        biased;
        answer = exchange => answer,
        ended = connection => Err(match ended {
            Err(error) => other(error),
            Ok(()) => other("the connection was closed"),
        }),
    }
}

async fn http1(io: Io, mut request: Request<()>, most: usize) -> Result<Reply, Failure> {
    let authority = request.uri().authority().and_then(|text| text.as_str().parse().ok());
    request.headers_mut().extend(authority.map(|authority| (HOST, authority)));
    let path = request.uri().path_and_query().map(|path| path.as_str().parse::<Uri>());
    *request.uri_mut() = path.unwrap_or_else(|| Ok(Uri::from_static("/"))).map_err(other)?;
    let (mut send, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(io)).await.map_err(other)?;
    let exchange = async {
        let request = request.map(|()| Empty::<Bytes>::new());
        let (head, body) = send.send_request(request).await.map_err(other)?.into_parts();
        let body = Limited::new(body, most).collect().await.map_err(other)?.to_bytes();
        Ok(Reply { status: head.status, headers: head.headers, body })
    };
    tokio::pin!(connection, exchange);
    // The connection may end with the answer's head while its body is still to be taken.
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        _ = &mut connection => exchange.await,
    }
}
