//! Follows one exchange from its request's head to the last byte of its answer, and tells the
//! access record and the metrics once, at the end: whether it came whole, failed, or was dropped.

use std::rc::Rc;
use std::time::SystemTime;

use http::{HeaderValue, Method, StatusCode, Uri};

use super::Telemetry;
use super::access::Record;
use super::grpc_status::{self, WebTrailerScanner};
use super::metrics::{ExchangeKey, Gauge, RouteId};
use crate::error::{Error, Kind};
use crate::exchange::{CacheUse, Class, Exchange};
use crate::message::name::{CONTENT_TYPE, HOST, REFERER, USER_AGENT};
use crate::message::{Fields, Request};

/// What an exchange is counted as whose client left before there was a status (nginx's word).
const CLIENT_CLOSED: u16 = 499;

/// What the record needs of a request that has gone upstream.
pub struct Subject {
    method: Method,
    uri: Uri,
    host: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
}

impl Subject {
    /// Keeps what the record shows; values are shared, not copied.
    pub fn new<B>(request: &Request<B>) -> Self {
        let header = |name| request.headers().get(name).cloned();
        let host = if request.uri().authority().is_none() { header(HOST) } else { None };
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            host,
            user_agent: header(USER_AGENT),
            referer: header(REFERER),
        }
    }

    /// A request whose head could not be read.
    pub fn unread() -> Self {
        Self {
            method: Method::from_bytes(b"-").unwrap_or_default(),
            uri: Uri::default(),
            host: None,
            user_agent: None,
            referer: None,
        }
    }
}

/// Follows one exchange; writes its record when dropped.
pub struct Recorder {
    telemetry: Rc<Telemetry>,
    exchange: Exchange,
    subject: Subject,
    status: u16,
    grpc_status: Option<u8>,
    web: Option<WebTrailerScanner>,
    bytes_out: u64,
    failure: Option<(Kind, Option<String>)>,
    finished: bool,
    silent: bool,
    on_end: Option<Box<dyn FnOnce()>>,
    in_flight: Option<Gauge>,
}

impl Recorder {
    /// An exchange that has just begun.
    ///
    /// Boxed, since it goes from hand to hand: from the request to the pipeline to the answer's body.
    pub fn new(telemetry: Rc<Telemetry>, exchange: Exchange, subject: Subject) -> Box<Self> {
        let in_flight = Some(telemetry.shard.in_flight());
        Box::new(Self {
            telemetry,
            exchange,
            subject,
            status: 0,
            grpc_status: None,
            web: None,
            bytes_out: 0,
            failure: None,
            finished: false,
            silent: false,
            on_end: None,
            in_flight,
        })
    }

    /// The exchange's facts.
    pub fn exchange(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    /// When the exchange ends whatever happens, and as what.
    pub fn deadline(&self) -> Option<(tokio::time::Instant, Kind)> {
        self.exchange.deadline
    }

    /// What the exchange is.
    pub fn class(&self) -> Class {
        self.exchange.class
    }

    /// Called when the exchange is over, whichever way.
    pub fn on_end(&mut self, end: impl FnOnce() + 'static) {
        self.on_end = Some(Box::new(end));
    }

    /// This was no exchange after all.
    pub fn discard(mut self: Box<Self>) {
        self.silent = true;
    }

    /// The answer's head.
    pub fn head(&mut self, status: StatusCode, headers: &Fields) {
        self.status = status.as_u16();
        self.grpc_status = grpc_status::from_headers(headers);
        let scans =
            matches!(self.class(), Class::GrpcWeb | Class::GrpcWebText | Class::ConnectStream);
        if scans && self.grpc_status.is_none() {
            let text = headers
                .get(CONTENT_TYPE)
                .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc-web-text"));
            let scanner =
                if text { WebTrailerScanner::text() } else { WebTrailerScanner::binary() };
            self.web = Some(scanner);
        }
    }

    /// A piece of the answer's body.
    pub fn data(&mut self, data: &[u8]) {
        self.bytes_out += data.len() as u64;
        if let Some(web) = &mut self.web {
            web.feed(data);
        }
    }

    /// The answer's trailers.
    pub fn trailers(&mut self, trailers: &Fields) {
        if let Some(status) = grpc_status::from_headers(trailers) {
            self.grpc_status = Some(status);
        }
    }

    /// Whether a gRPC-Web answer's body stands between two frames, where an end of our own may go.
    pub fn between_frames(&self) -> bool {
        self.web.as_ref().is_none_or(WebTrailerScanner::between_frames)
    }

    /// Whether a gRPC status has been seen, wherever it stood, or was there but cannot be read.
    pub fn has_status(&self) -> bool {
        self.grpc_status.is_some() || self.web.as_ref().is_some_and(WebTrailerScanner::is_over)
    }

    /// Whether the frame that ends a gRPC-Web or Connect body has been given out to its end.
    pub fn is_whole(&self) -> bool {
        self.web.as_ref().is_some_and(WebTrailerScanner::is_whole)
    }

    /// What went wrong; the first word counts.
    pub fn failed(&mut self, error: &Error) {
        if self.failure.is_none() {
            self.failure = Some((error.kind(), error.detail()));
        }
    }

    /// The answer's last byte has been handed over.
    pub fn finished(&mut self) {
        self.finished = true;
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.in_flight.take());
        if let Some(end) = self.on_end.take() {
            end();
        }
        if self.silent {
            return;
        }
        if !self.finished && self.failure.is_none() {
            let cut = self.exchange.cut.as_ref().and_then(|cut| cut.take());
            let by_us = self.exchange.connection.ending.is_cut();
            self.telemetry.dropped(by_us);
            let otherwise = if by_us { Kind::Cut } else { Kind::ClientGone };
            self.failure = Some((cut.unwrap_or(otherwise), None));
        }
        if let Some(status) = self.web.as_ref().and_then(WebTrailerScanner::status) {
            self.grpc_status = Some(status);
        }
        let duration = self.exchange.started.elapsed();
        let cause = self.failure.as_ref().map(|(kind, _)| *kind);
        let exchange = &self.exchange;
        let bytes_in = exchange.bytes_in.get();
        let key = ExchangeKey {
            route: exchange.route_id.map(RouteId),
            class: exchange.class,
            protocol: exchange.connection.protocol,
            status: if self.status == 0 { CLIENT_CLOSED } else { self.status },
            grpc_status: self.grpc_status,
            cause,
        };
        self.telemetry.shard.exchange(&key, duration, bytes_in, self.bytes_out);
        if let Some(verdict) = exchange.cache {
            self.telemetry.shard.cache(verdict, exchange.cache_saved);
        }
        if self.telemetry.access.enabled() {
            self.write(duration, bytes_in, cause);
        }
    }
}

impl Recorder {
    fn write(&self, duration: std::time::Duration, bytes_in: u64, cause: Option<Kind>) {
        let (exchange, subject) = (&self.exchange, &self.subject);
        let connection = &exchange.connection;
        let host = || subject.host.as_ref().and_then(|host| host.to_str().ok());
        self.telemetry.access.write(&Record {
            started: SystemTime::now() - duration,
            duration,
            listener: &connection.listener,
            client: exchange.client,
            peer: connection.client,
            protocol: connection.protocol,
            tls: connection.tls.as_ref().map(|tls| tls.version),
            class: exchange.class,
            method: subject.method.as_str(),
            authority: subject.uri.authority().map(|it| it.as_str()).or_else(host).unwrap_or(""),
            path: subject.uri.path_and_query().map_or("", |path| path.as_str()),
            status: self.status,
            grpc_status: self.grpc_status,
            cause,
            detail: self
                .failure
                .as_ref()
                .and_then(|(_, detail)| detail.as_deref())
                .or(exchange.remark.as_deref()),
            route: exchange.route.as_deref(),
            cache: exchange.cache.map(CacheUse::reason),
            cluster: exchange.cluster.as_deref(),
            endpoint: exchange.endpoint.as_deref(),
            attempts: exchange.attempts,
            tried: &exchange.tried,
            bytes_in,
            bytes_out: self.bytes_out,
            upstream_head: exchange.upstream_head,
            request_id: exchange.request_id.as_deref(),
            trace_id: exchange.trace_id.as_deref(),
            user_agent: subject.user_agent.as_ref().map(HeaderValue::as_bytes),
            referer: subject.referer.as_ref().map(HeaderValue::as_bytes),
        });
    }
}
