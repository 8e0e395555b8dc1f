//! What can go wrong on the path of a request, and the only table of what follows from it.
//!
//! A [`Kind`] is flat and knows no room. Its methods decide origin, HTTP status, gRPC code, retry
//! rule and label, each as an exhaustive match, so that a new kind does not compile until every
//! question about it is answered. The answer's shape in the caller's protocol is made in
//! `downstream/rescue`, from these values only.

use std::fmt;
use std::num::NonZeroU32;

use http::StatusCode;

/// One failure of an exchange: what it is, and what caused it.
pub struct Error {
    kind: Kind,
    retry_after: Option<NonZeroU32>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A failure of this kind without a deeper cause.
    pub const fn new(kind: Kind) -> Self {
        Self { kind, retry_after: None, source: None }
    }

    /// A failure of this kind, with what caused it (kept whole for the access record).
    pub fn with(kind: Kind, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind, retry_after: None, source: Some(source.into()) }
    }

    /// The same, where it is known after how many seconds the client may ask again.
    pub fn after(self, seconds: NonZeroU32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// After how many seconds the client may ask again, where that helps (RFC 9110 §10.2.3).
    pub fn retry_after(&self) -> Option<u32> {
        self.retry_after.map(NonZeroU32::get).or_else(|| self.kind.retry_after())
    }

    /// What went wrong.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The chain of causes as one line for the access record; never shown to a client.
    pub fn detail(&self) -> Option<String> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> =
            self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static));
        let mut line = String::new();
        while let Some(error) = cause {
            let text = error.to_string();
            if !line.contains(&text) {
                if !line.is_empty() {
                    line.push_str(": ");
                }
                line.push_str(&text);
            }
            cause = error.source();
        }
        (!line.is_empty()).then_some(line)
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("kind", &self.kind).field("source", &self.source).finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.message())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The client, or what it asked for.
    Downstream,
    /// The server behind Ravelin, or the way to it.
    Upstream,
    /// Ravelin itself.
    Internal,
}

/// When the same request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Never.
    Never,
    /// Upstream provably has not processed it: any method may be sent again.
    Unsent,
    /// Upstream may have seen it: only what is declared a read may be sent again.
    Reads,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $origin:ident, $status:literal, $grpc:literal, $retry:ident, $label:literal, $message:literal;)*) => {
        /// The kinds of failure, in the order of the path.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// Every kind, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Who is to blame.
            pub const fn origin(self) -> Origin {
                match self { $(Self::$name => Origin::$origin,)* }
            }

            const fn status_code(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The gRPC status code of the answer.
            pub const fn grpc_code(self) -> u8 {
                match self { $(Self::$name => $grpc,)* }
            }

            /// Whether the same request may be sent again.
            pub const fn retry(self) -> Retry {
                match self { $(Self::$name => Retry::$retry,)* }
            }

            /// The stable word for logs and metrics.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// What the client is told: plain, and never about what is behind.
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }
        }
    };
}

kinds! {
    // name: origin, HTTP status, gRPC code, retry, label, message
    /// The request is malformed (RFC 9112 §3, RFC 9113 §8.1.1).
    BadRequest: Downstream, 400, 3, Never, "bad_request", "The request is malformed.";
    /// The host is not one this listener serves.
    UnknownHost: Downstream, 421, 5, Never, "unknown_host", "This host is not served here.";
    /// The same without TLS: no connection is about a host then, and 421 would only bring the client
    /// back (RFC 9110 §15.5.20).
    NoHost: Downstream, 404, 5, Never, "no_host", "This host is not served here.";
    /// A coalesced connection named a host its certificate does not cover (RFC 9110 §15.5.20).
    Misdirected: Downstream, 421, 14, Never, "misdirected", "This connection's certificate does not cover the requested host.";
    /// No route matches.
    NoRoute: Downstream, 404, 12, Never, "no_route", "Nothing is served at this address.";
    /// A guard refused the path.
    Forbidden: Downstream, 404, 12, Never, "forbidden", "Nothing is served at this address.";
    /// A client certificate is required here.
    Unauthorized: Downstream, 403, 7, Never, "client_certificate", "A client certificate is required.";
    /// The request's head is larger than allowed (RFC 6585 §5).
    HeadersTooLarge: Downstream, 431, 8, Never, "headers_too_large", "The request's headers are too large.";
    /// The request's body is larger than allowed.
    BodyTooLarge: Downstream, 413, 8, Never, "body_too_large", "The request's body is too large.";
    /// The client asked too often.
    RateLimited: Downstream, 429, 8, Never, "rate_limited", "Too many requests.";
    /// The client asked far too often for minutes, and is not answered for one.
    RateBanned: Downstream, 429, 8, Never, "rate_banned", "Too many requests for too long.";
    /// Upstream said of late that this instance may ask no more (`zitadel.md` §6).
    Exhausted: Downstream, 429, 8, Never, "exhausted", "This instance has used up what it may ask, or is blocked.";
    /// The client was too slow in sending its body.
    RequestTimeout: Downstream, 408, 1, Never, "request_timeout", "The request was not received in time.";
    /// The client went away before the end: ordinary, no error.
    ClientGone: Downstream, 499, 1, Never, "client_gone", "The client closed the request.";
    /// The client takes nothing of its answer for too long.
    ClientStalled: Downstream, 408, 1, Never, "client_stalled", "The answer was not taken in time.";
    /// The way this request wants to be carried is not offered (gRPC over HTTP/1.1, say).
    Unsupported: Downstream, 501, 12, Never, "unsupported", "This kind of request is not supported here.";
    /// Connecting to upstream failed: nothing was sent.
    Connect: Upstream, 503, 14, Unsent, "upstream_connect", "The service cannot be reached at the moment.";
    /// Connecting to upstream took too long: nothing was sent.
    ConnectTimeout: Upstream, 503, 14, Unsent, "upstream_connect_timeout", "The service cannot be reached at the moment.";
    /// Ravelin has no socket to connect with (files, ports or memory are used up): nothing was sent, and
    /// it says nothing of upstream.
    NoSocket: Internal, 503, 14, Unsent, "no_socket", "The service is busy.";
    /// The TLS handshake with upstream failed: nothing was sent.
    UpstreamTls: Upstream, 502, 14, Unsent, "upstream_tls", "The service cannot be reached safely.";
    /// What listens there does not begin to speak HTTP/2: nothing was sent.
    NoPreface: Upstream, 502, 13, Unsent, "upstream_no_preface", "The service's answer could not be understood.";
    /// Upstream refused the stream unprocessed (REFUSED_STREAM, or GOAWAY below it; RFC 9113 §8.7).
    Refused: Upstream, 503, 14, Unsent, "upstream_refused", "The service is busy.";
    /// Upstream's own gateway says that its server is not up yet, or not any more: nothing was
    /// processed (`zitadel.md` §13.5). Told to a client only in upstream's own words.
    Starting: Upstream, 503, 14, Unsent, "upstream_starting", "The service is not ready yet.";
    /// A gateway behind says that its server is away (502, 503, 504). Told as [`Kind::Starting`] is.
    Gateway: Upstream, 502, 14, Reads, "upstream_gateway", "The service is away.";
    /// A replica does not have a file that another may have (`zitadel.md` §3.8): nothing came of
    /// asking. Told as [`Kind::Starting`] is.
    Missing: Upstream, 404, 5, Unsent, "upstream_missing", "Nothing is served at this address.";
    /// The cluster speaks HTTP/1.1 only, over which gRPC does not work.
    NotHttp2: Upstream, 502, 13, Never, "upstream_not_http2", "The service behind this address does not speak HTTP/2, which gRPC needs.";
    /// Upstream reset the stream or closed the connection before its answer began.
    Reset: Upstream, 502, 14, Reads, "upstream_reset", "The service ended the exchange before it answered; the request may have been processed.";
    /// Upstream's words are not HTTP.
    Protocol: Upstream, 502, 13, Reads, "upstream_protocol", "The service's answer could not be understood.";
    /// Upstream's answer did not begin in time.
    FirstByteTimeout: Upstream, 504, 14, Reads, "upstream_timeout", "The service did not answer in time; the request may have been processed.";
    /// Nothing moved in either direction for too long.
    IdleTimeout: Upstream, 504, 14, Never, "idle_timeout", "The exchange was idle for too long.";
    /// The whole exchange took longer than the route allows.
    TotalTimeout: Upstream, 504, 14, Never, "total_timeout", "The exchange took longer than allowed.";
    /// The deadline that the caller named (`grpc-timeout`, `connect-timeout-ms`) has passed.
    Deadline: Upstream, 504, 4, Never, "deadline", "The deadline has passed.";
    /// Upstream failed another who asked for the same, and again when asked once more.
    Failing: Upstream, 503, 14, Never, "upstream_failing", "The service is failing at the moment.";
    /// Upstream died after its answer began.
    Incomplete: Upstream, 502, 14, Never, "upstream_incomplete", "The service ended its answer before it was whole.";
    /// No endpoint is there to ask.
    NoEndpoint: Upstream, 503, 14, Unsent, "no_endpoint", "The service is not available at the moment.";
    /// Upstream carries as much as it may, and as many wait as may.
    UpstreamFull: Upstream, 503, 14, Never, "upstream_full", "The service is busy.";
    /// Ravelin carries as much as it may.
    Overloaded: Internal, 503, 14, Never, "overloaded", "The service is busy.";
    /// Ravelin is about to leave.
    Draining: Internal, 503, 14, Never, "draining", "The service is restarting.";
    /// Ravelin left before the exchange had ended: its grace was over, or a second signal cut it.
    Cut: Internal, 503, 14, Never, "cut", "The service is restarting.";
    /// The request has come back to Ravelin too often (RFC 5842 §7.2): an upstream leads to Ravelin.
    Loop: Internal, 508, 13, Never, "loop", "The request went in a circle.";
    /// A bug.
    Internal: Internal, 500, 13, Never, "internal", "Something went wrong here.";
}

impl Kind {
    /// The HTTP status of the answer.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.status_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// After how many seconds the client may ask again where nothing tells more exactly.
    pub const fn retry_after(self) -> Option<u32> {
        match self.status_code() {
            429 | 503 => Some(1),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_valid_status_and_a_label_of_its_own() {
        let mut labels: Vec<_> = Kind::ALL.iter().map(|kind| kind.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert_eq!(kind.status().as_u16(), kind.status_code());
            assert!(kind.grpc_code() <= 16, "{kind:?}");
        }
    }

    #[test]
    fn every_cause_is_in_the_documentation_as_it_is() {
        let document = include_str!("../docs/records.md");
        let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
        let rows: Vec<_> = rows.filter(|row| row.split(" | ").count() == 4).collect();
        let expected = Kind::ALL.iter().map(|kind| {
            let (status, grpc) = (kind.status().as_u16(), kind.grpc_code());
            format!("{}` | {status} | {grpc} | ", kind.label())
        });
        let expected: Vec<_> = expected.collect();
        assert_eq!(rows.len(), expected.len(), "one row for each cause, in their order");
        for (row, expected) in rows.iter().zip(expected) {
            assert!(row.starts_with(&expected), "{row:?} does not begin with {expected:?}");
        }
    }

    #[test]
    fn the_detail_holds_the_whole_chain_once() {
        let error = Error::with(Kind::Connect, std::io::Error::other("refused"));
        assert_eq!(error.detail().as_deref(), Some("refused"));
        assert_eq!(Error::new(Kind::Connect).detail(), None);
    }
}
