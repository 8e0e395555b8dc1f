//! What the pipeline is told: routes and what each does. Filled by `config`, immutable.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use regex::Regex;

/// One route: when, and what then. Routes are asked in the order of the configuration; the first
/// that matches wins.
#[derive(Debug)]
pub struct RoutePlan {
    /// Its name in records and metrics; unique.
    pub name: Arc<str>,
    /// When.
    pub matcher: Matcher,
    /// What then.
    pub action: Action,
}

/// When a route applies: every part that is given must hold; an empty list holds always.
#[derive(Debug, Default)]
pub struct Matcher {
    /// Names of listeners.
    pub listeners: Vec<Arc<str>>,
    /// Hosts, without port.
    pub hosts: Vec<HostPattern>,
    /// The path, without query.
    pub path: PathPattern,
    /// Methods.
    pub methods: Vec<Method>,
    /// Headers.
    pub headers: Vec<HeaderPattern>,
    /// The gRPC (or gRPC-Web, or Connect) service and method, which are the path's two segments.
    pub grpc: Option<GrpcPattern>,
}

/// A host, lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This host.
    Exact(Box<str>),
    /// `*.example.com`, held as `.example.com`: one or more labels before it.
    Suffix(Box<str>),
}

/// A path.
#[derive(Clone, Debug, Default)]
pub enum PathPattern {
    /// Every path.
    #[default]
    Any,
    /// This path.
    Exact(Box<str>),
    /// This path and everything below it: `/ui` holds for `/ui` and `/ui/x`, not for `/uix`.
    Prefix(Box<str>),
    /// The whole path matches (anchored on both sides).
    Regex(Regex),
}

/// A header of the request.
#[derive(Clone, Debug)]
pub struct HeaderPattern {
    /// Its name.
    pub name: HeaderName,
    /// One of its values must hold this; `None`: it must be present.
    pub value: Option<HeaderValue>,
}

/// A gRPC service, and one of its methods or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcPattern {
    /// Full name, `zitadel.user.v2.UserService`.
    pub service: Box<str>,
    /// `GetUserByID`; `None`: every method.
    pub method: Option<Box<str>>,
}

/// What a route does.
#[derive(Debug)]
pub enum Action {
    /// Send it to a cluster.
    Forward(ForwardPlan),
    /// Send the client elsewhere.
    Redirect(RedirectPlan),
    /// Answer at once.
    Respond(RespondPlan),
}

/// How a request leaves.
#[derive(Debug)]
pub struct ForwardPlan {
    /// The cluster's name; it exists.
    pub cluster: Arc<str>,
    /// Put in the place of the matched prefix (or of the whole path, for other patterns).
    pub rewrite_path: Option<Box<str>>,
    /// The authority upstream sees; `None`: what the client asked for.
    pub authority: Option<HeaderValue>,
    /// Edits of the request's headers, after Ravelin's own.
    pub request_headers: HeaderEdits,
    /// Edits of the answer's headers.
    pub response_headers: HeaderEdits,
    /// The clocks.
    pub timeouts: Timeouts,
}

/// Edits of headers: removals first, then sets, then additions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderEdits {
    /// Names that go.
    pub remove: Vec<HeaderName>,
    /// One value in the place of all.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// One more value.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderEdits {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// The clocks of an exchange; connecting has its own in the cluster. `None`: no such clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request's head (later: its last byte) until the answer's head.
    pub first_byte: Option<Duration>,
    /// Without a byte of body in either direction, once the answer's head is there.
    pub idle: Option<Duration>,
    /// For the whole exchange.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Some(Duration::from_secs(60)),
            idle: Some(Duration::from_secs(600)),
            total: None,
        }
    }
}

/// Where a client is sent.
#[derive(Clone, Debug)]
pub struct RedirectPlan {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// Absolute, or a path on the same host.
    pub to: Uri,
    /// Append the request's path (without the matched prefix) and query.
    pub keep_path: bool,
}

/// A fixed answer.
#[derive(Clone, Debug)]
pub struct RespondPlan {
    /// Its status.
    pub status: StatusCode,
    /// Its media type.
    pub content_type: HeaderValue,
    /// Its body.
    pub body: bytes::Bytes,
}
