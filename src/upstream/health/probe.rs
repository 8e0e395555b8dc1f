//! Puts a check's question to an endpoint, over connections of the check's own.
//!
//! An HTTP/2 connection is kept from one check to the next: its end tells at once that a server has
//! died, also where nobody asks anything of it.

use std::future::pending;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

use super::judge::{self, Finding};
use crate::error::Kind;
use crate::upstream::plan::{self, Address, Check, EndpointPlan};
use crate::upstream::roster::Member;
use crate::upstream::transport::{self, Wire};

/// Bytes of an answer that are read.
const READ: usize = 8 * 1024;

/// The checks of one endpoint.
pub struct Session {
    member: Member,
    check: Check,
    timeout: Duration,
    h2: Option<Connection>,
}

/// An HTTP/2 connection, kept.
struct Connection {
    send: h2::client::SendRequest<Bytes>,
    ended: oneshot::Receiver<()>,
    watch: Watch,
}

/// `Health/Watch`, whose messages tell that `Check` would answer something new.
enum Watch {
    /// Not asked for yet.
    Unasked,
    /// Its messages.
    Open(h2::RecvStream),
    /// The server has none, or has ended it: asked again at once it would end at once.
    Over,
}

/// An answer.
struct Fetched {
    status: StatusCode,
    /// Of the head, and behind it of the trailers.
    headers: HeaderMap,
    body: Bytes,
}

/// Why there is none.
enum Failure {
    /// Nobody is there.
    Refused(String),
    /// Ravelin could not ask.
    Unasked(String),
    /// Something else.
    Other(String),
}

impl Failure {
    fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }

    fn finding(self) -> Finding {
        match self {
            Self::Refused(why) => Finding::Bad(why),
            Self::Unasked(why) => Finding::Nothing(why),
            Self::Other(why) => Finding::Doubtful(why),
        }
    }
}

impl Session {
    /// Nothing is open yet.
    pub const fn new(member: Member, check: Check, timeout: Duration) -> Self {
        Self { member, check, timeout, h2: None }
    }

    /// What is found now, for each need in the order of `Need::ALL`.
    pub async fn ask(&mut self) -> [Finding; 2] {
        match self.check.clone() {
            Check::Tcp => {
                // Where TLS agrees on a protocol, a server of another one declines.
                let h2 = self.member.plan.protocol.is_h2();
                let found = match self.within(open(&self.member, h2)).await {
                    Ok(_) => Finding::Good,
                    Err(failure) => failure.finding(),
                };
                [found.clone(), found]
            }
            Check::Http { path, status, host } => {
                let fetched = self.fetch(get(&path, host.as_deref())).await;
                let found = found(fetched, |fetched| judge::http(fetched.status, status));
                [found.clone(), found]
            }
            Check::Grpc { service } => {
                let fetched = self.fetch(health("Check", &service)).await;
                let found = found(fetched, |fetched| {
                    let status = fetched.headers.get("grpc-status").map(HeaderValue::to_str);
                    judge::grpc(status.and_then(Result::ok), &fetched.body)
                });
                self.watch(&service).await;
                [found.clone(), found]
            }
            Check::Zitadel { host } => {
                let fetched = self.fetch(get("/debug/ready", host.as_deref())).await;
                let rpc = found(fetched, |fetched| judge::ready(fetched.status));
                if rpc != Finding::Good {
                    return [rpc.clone(), rpc];
                }
                let fetched = self.fetch(get("/admin/v1/healthz", host.as_deref())).await;
                [rpc, found(fetched, |fetched| judge::rest(fetched.status, &fetched.body))]
            }
        }
    }

    /// Ends when the connection has, or says that there is news; never where none is kept.
    pub async fn ended(&mut self) {
        let Some(Connection { ended, watch, .. }) = &mut self.h2 else { return pending().await };
        let news = async {
            match watch {
                Watch::Open(stream) => match stream.data().await {
                    Some(Ok(data)) => stream.flow_control().release_capacity(data.len()).is_ok(),
                    _ => false,
                },
                Watch::Unasked | Watch::Over => pending().await,
            }
        };
        let goes_on = tokio::select! {
            _ = ended => {
                self.h2 = None;
                return;
            }
            goes_on = news => goes_on,
        };
        if !goes_on {
            *watch = Watch::Over;
        }
    }

    async fn within<T>(
        &self,
        asked: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::time::timeout(self.timeout, asked).await.unwrap_or_else(|_| {
            let within = humantime::format_duration(self.timeout);
            Err(Failure::Other(format!("no answer within {within}")))
        })
    }

    /// Asks in the endpoint's own protocol.
    async fn fetch(&mut self, request: Request<Bytes>) -> Result<Fetched, Failure> {
        let request = addressed(request, &self.member.plan);
        if !self.member.plan.protocol.is_h2() {
            return self.within(over_h1(&self.member, request)).await;
        }
        let mut kept = self.h2.take();
        let fetched = self
            .within(async {
                let connection = match &mut kept {
                    Some(connection) => connection,
                    none => none.insert(connect(&self.member).await?),
                };
                over_h2(connection, request).await
            })
            .await;
        // After a failure nobody knows what becomes of it; the next check has its own.
        self.h2 = kept.filter(|_| fetched.is_ok());
        fetched
    }

    /// Opens `Health/Watch` where it is not; a server without it ends the stream, and is not asked
    /// again on this connection.
    async fn watch(&mut self, service: &str) {
        let unasked = |kept: &&mut Connection| matches!(kept.watch, Watch::Unasked);
        let Some(connection) = self.h2.as_mut().filter(unasked) else { return };
        let request = addressed(health("Watch", service), &self.member.plan);
        let opened = async {
            let (answer, mut stream) = begin(connection, &request).await?;
            stream.send_data(request.into_body(), true).map_err(Failure::other)?;
            answer.await.map_err(Failure::other)
        };
        connection.watch = match tokio::time::timeout(self.timeout, opened).await {
            Ok(Ok(answer)) if !answer.headers().contains_key("grpc-status") => {
                Watch::Open(answer.into_body())
            }
            _ => Watch::Over,
        };
    }
}

fn found(fetched: Result<Fetched, Failure>, judged: impl FnOnce(&Fetched) -> Finding) -> Finding {
    match fetched {
        Ok(fetched) => judged(&fetched),
        Err(failure) => failure.finding(),
    }
}

fn get(path: &str, host: Option<&str>) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("Ravelin (health check)"));
    if let Ok(path) = path.parse() {
        *request.uri_mut() = path;
    }
    if let Some(host) = host.and_then(|host| HeaderValue::from_str(host).ok()) {
        request.headers_mut().insert(HOST, host);
    }
    request
}

/// A call of `grpc.health.v1.Health` about a service (gRPC Health Checking Protocol).
fn health(method: &str, service: &str) -> Request<Bytes> {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        // Field 1, length-delimited.
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or_default());
    frame.put_slice(&message);
    let mut request = get(&format!("/grpc.health.v1.Health/{method}"), None);
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    request.map(|_| frame.freeze())
}

/// The request with its authority, as the endpoint's protocol wants it.
fn addressed(mut request: Request<Bytes>, endpoint: &EndpointPlan) -> Request<Bytes> {
    let named = request.headers_mut().remove(HOST);
    let authority = match (named, &endpoint.address) {
        (Some(host), _) => host,
        (None, Address::Tcp { host, port }) => HeaderValue::try_from(plan::authority(host, *port))
            .unwrap_or(HeaderValue::from_static("localhost")),
        (None, _) => HeaderValue::from_static("localhost"),
    };
    if !endpoint.protocol.is_h2() {
        request.headers_mut().insert(HOST, authority);
        return request;
    }
    *request.version_mut() = http::Version::HTTP_2;
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    uri.scheme = if endpoint.protocol.is_tls() { "https" } else { "http" }.parse().ok();
    uri.authority = authority.as_bytes().try_into().ok();
    if let Ok(uri) = http::Uri::from_parts(uri) {
        *request.uri_mut() = uri;
    }
    request
}

async fn open(member: &Member, h2: bool) -> Result<Box<dyn Wire>, Failure> {
    transport::reach(&member.plan, member.tls.as_ref(), h2).await.map_err(|error| {
        let why = error.detail().unwrap_or_else(|| error.to_string());
        match error.kind() {
            Kind::NoSocket => Failure::Unasked(why),
            _ if transport::is_refusal(&error) => Failure::Refused(why),
            _ => Failure::Other(why),
        }
    })
}

async fn connect(member: &Member) -> Result<Connection, Failure> {
    let io = open(member, true).await?;
    let (send, driver) = h2::client::Builder::new()
        .enable_push(false)
        .handshake(io)
        .await
        .map_err(Failure::other)?;
    let (tell, ended) = oneshot::channel();
    tokio::spawn(async move {
        let _ = driver.await;
        let _ = tell.send(());
    });
    Ok(Connection { send, ended, watch: Watch::Unasked })
}

async fn begin(
    connection: &Connection,
    request: &Request<Bytes>,
) -> Result<(h2::client::ResponseFuture, h2::SendStream<Bytes>), Failure> {
    let mut send = connection.send.clone().ready().await.map_err(Failure::other)?;
    let (parts, ()) = request.clone().map(|_| ()).into_parts();
    let ends = request.body().is_empty();
    send.send_request(Request::from_parts(parts, ()), ends).map_err(Failure::other)
}

async fn over_h2(connection: &Connection, request: Request<Bytes>) -> Result<Fetched, Failure> {
    let (answer, mut stream) = begin(connection, &request).await?;
    if !request.body().is_empty() {
        stream.send_data(request.into_body(), true).map_err(Failure::other)?;
    }
    let (head, mut incoming) = answer.await.map_err(Failure::other)?.into_parts();
    let (mut body, mut headers) = (BytesMut::new(), head.headers);
    while let Some(data) = incoming.data().await {
        let data = data.map_err(Failure::other)?;
        incoming.flow_control().release_capacity(data.len()).map_err(Failure::other)?;
        if body.len() + data.len() > READ {
            // More is not needed to judge it by; the rest is reset, and with it the trailers.
            return Ok(Fetched { status: head.status, headers, body: body.freeze() });
        }
        body.extend_from_slice(&data);
    }
    if let Ok(Some(trailers)) = incoming.trailers().await {
        headers.extend(trailers);
    }
    Ok(Fetched { status: head.status, headers, body: body.freeze() })
}

async fn over_h1(member: &Member, request: Request<Bytes>) -> Result<Fetched, Failure> {
    let io = TokioIo::new(open(member, false).await?);
    let (mut send, driver) =
        hyper::client::conn::http1::handshake(io).await.map_err(Failure::other)?;
    let asked = async {
        let answer = send.send_request(request.map(Full::new)).await.map_err(Failure::other)?;
        let (head, mut incoming) = answer.into_parts();
        let (mut body, mut headers) = (BytesMut::new(), head.headers);
        while let Some(frame) = incoming.frame().await {
            match frame.map_err(Failure::other)?.into_data() {
                // As above: the connection is closed.
                Ok(data) if body.len() + data.len() > READ => break,
                Ok(data) => body.extend_from_slice(&data),
                Err(frame) => headers.extend(frame.into_trailers().unwrap_or_default()),
            }
        }
        Ok(Fetched { status: head.status, headers, body: body.freeze() })
    };
    tokio::select! {
        biased;
        fetched = asked => fetched,
        ended = driver => Err(Failure::Other(match ended {
            Ok(()) => "the connection ended before an answer".to_owned(),
            Err(error) => error.to_string(),
        })),
    }
}
