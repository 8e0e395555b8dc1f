//! What the pipeline is told: routes and what each does. Filled by `config`, immutable.

mod cache;
mod limits;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, Uri};
use ipnet::IpNet;
use regex::Regex;

use super::coding::Coding;
use crate::message::FieldName;

pub use self::cache::{CachePlan, StorePlan};
pub use self::limits::{BanRule, LimitsPlan, Rate, RatePlan};

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

impl RoutePlan {
    /// What decides on the answers of this route, in short: the same for two plans of which neither
    /// asks elsewhere, or makes something else of what it is told.
    pub fn print(&self) -> u64 {
        let Action::Forward(plan) = &self.action else { return 0 };
        let mut hasher = DefaultHasher::new();
        plan.cluster.hash(&mut hasher);
        plan.rewrite_path.hash(&mut hasher);
        plan.authority.hash(&mut hasher);
        plan.request_headers.hash(&mut hasher);
        plan.response_headers.hash(&mut hasher);
        plan.identity.instance_host.hash(&mut hasher);
        // An expression has no hash; nor is anything secret in these.
        let rest = (&self.matcher.path, &plan.hosts, &plan.cache);
        let identity = (plan.identity.zitadel, plan.identity.login);
        format!("{rest:?}{identity:?}").hash(&mut hasher);
        hasher.finish()
    }
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
    /// Client addresses.
    pub clients: Vec<IpNet>,
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

/// A path, percent-decoded: patterns are held against what `path::decode` sees.
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
    pub name: FieldName,
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
#[expect(clippy::large_enum_variant, reason = "one for each route, and most forward")]
pub enum Action {
    /// Send it to a cluster.
    Forward(ForwardPlan),
    /// Send the client elsewhere.
    Redirect(RedirectPlan),
    /// Answer at once.
    Respond(RespondPlan),
    /// Refuse, as if nothing were there: a guard.
    Deny,
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
    /// The hosts that upstream knows, in its own spelling. Not empty: the authority that it sees is
    /// the one of these that the client asked for, and other hosts or ports are unknown.
    pub hosts: Vec<SiteHost>,
    /// What upstream is told about the client, and what the client may not say itself.
    pub identity: IdentityPlan,
    /// What a request may cost.
    pub limits: LimitsPlan,
    /// What becomes of gRPC-Web.
    pub grpc_web: GrpcWeb,
    /// Answer CORS preflights here, allowing what upstream would.
    pub preflight: Option<PreflightPlan>,
    /// What of its answers may be kept; `None`: nothing.
    pub cache: Option<Arc<CachePlan>>,
    /// Code answers on their way to the client.
    pub compress: Option<CompressPlan>,
    /// What is sent again.
    pub retry: RetryPlan,
    /// Answer for ZITADEL while it said of late that the instance may ask no more.
    pub quota: Option<Arc<QuotaPlan>>,
}

impl ForwardPlan {
    /// To this cluster, with every default.
    pub fn to(cluster: Arc<str>) -> Self {
        Self {
            cluster,
            rewrite_path: None,
            authority: None,
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            timeouts: Timeouts::default(),
            hosts: Vec::new(),
            identity: IdentityPlan::default(),
            limits: LimitsPlan::default(),
            grpc_web: GrpcWeb::default(),
            preflight: None,
            cache: None,
            compress: None,
            retry: RetryPlan::default(),
            quota: None,
        }
    }
}

/// A host as upstream knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteHost {
    /// The host, without port.
    pub pattern: HostPattern,
    /// The public port. A client that names another asks for another site.
    pub port: u16,
    /// Whether the port is part of the authority: upstream sees it, and clients must name it.
    /// `false` where it is the public scheme's own: upstream does not see it, clients may leave it
    /// out or name it (443; without TLS also 80).
    pub shows_port: bool,
}

/// Headers that say who asks, and from where.
///
/// ZITADEL finds its instance by the first of `x-zitadel-instance-host`, forwarded hosts and `Host`,
/// and builds issuer, links and redirects on `x-zitadel-public-host` where that is given, else on
/// the instance's host (`internal/api/http/middleware/origin_interceptor.go`). So there are three
/// set-ups:
///
/// - *The public host is a domain of the instance* (the ordinary one): `zitadel` alone. Upstream sees
///   the authority asked for as `Host` and `X-Forwarded-Host`, and no `x-zitadel-*-host`.
/// - *One instance, whatever is asked for*: `zitadel` and `instance_host`. Every host reaches that
///   instance, and issuer and links name it.
/// - *The public host is another than the instance's* (a trusted domain, the login on a domain of its
///   own): `login` and `instance_host`, also on the route to ZITADEL itself. Both headers are set:
///   the instance's from `instance_host`, the public one from the authority asked for (in the
///   spelling of [`ForwardPlan::hosts`]). ZITADEL refuses a public host that is neither a domain nor
///   a trusted domain of the instance, so `hosts` must name nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityPlan {
    /// Remove what chooses ZITADEL's instance, origin or metadata from what clients send.
    pub zitadel: bool,
    /// As `zitadel`, and tell upstream the instance's and the public host: ZITADEL's login builds
    /// its links and its calls to ZITADEL on them.
    pub login: bool,
    /// The instance whatever the client asked for (`force_instance_host`).
    pub instance_host: Option<HeaderValue>,
}

/// What becomes of gRPC-Web.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GrpcWeb {
    /// It goes upstream as it is: ZITADEL speaks it.
    #[default]
    Pass,
    /// It becomes gRPC, for servers that speak only that.
    Translate,
}

/// How answers are coded on their way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressPlan {
    /// Which codings there are; the first of those that a client wants alike is taken. Not empty.
    pub order: Vec<Coding>,
}

impl Default for CompressPlan {
    /// zstd first: for what is made anew with every answer it takes a fifth of brotli's CPU, for a
    /// tenth more bytes.
    fn default() -> Self {
        Self { order: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip] }
    }
}

/// How it is answered for ZITADEL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaPlan {
    /// Prefixes of paths, beyond ZITADEL's usual ones, that it answers though a quota is used up: its
    /// `OIDC.CustomEndpoints` and `SAML.ProviderConfig`.
    pub exempt: Vec<Box<str>>,
}

/// The answer to a CORS preflight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreflightPlan {
    /// How long a browser may remember it.
    pub max_age: Duration,
}

/// What is sent again, and how long a request waits for somebody to send it to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryPlan {
    /// What may be sent again at all.
    pub policy: RetryPolicy,
    /// What is a read beyond what its method or its name says.
    pub reads: Vec<ReadPattern>,
    /// What is none, though its method, its name or `reads` says so.
    pub writes: Vec<ReadPattern>,
    /// How long a request waits while no endpoint of its cluster can be reached; zero: not at all.
    pub hold: Duration,
    /// A read without an answer after so long is asked of a second endpoint too.
    pub hedge: Option<Duration>,
}

/// What may be sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryPolicy {
    /// Nothing.
    Never,
    /// What upstream provably has not processed.
    #[default]
    Unsent,
    /// That, and reads that got no answer.
    Reads,
}

/// A request that reads, whatever it looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadPattern {
    /// A method of gRPC, gRPC-Web or Connect.
    Rpc {
        /// Full name of the service.
        service: Box<str>,
        /// Name of the method.
        name: Box<str>,
    },
    /// A request of HTTP.
    Http {
        /// Its method.
        method: Method,
        /// Its path as upstream sees it, without query: `*` is one segment, `**` one or more.
        path: Box<str>,
    },
}

/// Edits of headers: removals first, then sets, then additions.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub struct HeaderEdits {
    /// Names that go.
    pub remove: Vec<FieldName>,
    /// One value in the place of all.
    pub set: Vec<(FieldName, HeaderValue)>,
    /// One more value.
    pub add: Vec<(FieldName, HeaderValue)>,
}

impl HeaderEdits {
    /// Whether they say something of this header.
    pub fn names(&self, name: &FieldName) -> bool {
        let added = self.set.iter().chain(&self.add).map(|(name, _)| name);
        self.remove.iter().chain(added).any(|one| one == name)
    }

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

#[cfg(test)]
mod tests;
