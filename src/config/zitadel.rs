//! What `zitadel` means: an installation → its clusters and routes. Pure; the settings have been
//! judged (`compile::zitadel`), and whatever is said here can be replaced by name afterwards.
//!
//! Guards are asked before routes of the user's own, everything else behind them.

mod kept;
pub mod exposure;
pub mod guards;
pub mod pieces;
pub mod reads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use ipnet::IpNet;

use crate::pipeline::plan::{
    CompressPlan, ForwardPlan, HeaderEdits, HostPattern, IdentityPlan, LimitsPlan, QuotaPlan,
    RatePlan, RetryPlan, RoutePlan, SiteHost, Timeouts,
};
use crate::upstream::plan::{
    Caps, ClusterPlan, EndpointPlan, HashBy, HealthPlan, Protocol, TlsPlan,
};

/// ZITADEL's `--tlsMode` (`cmd/tls/tls.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `TLS.Enabled: false`, `ExternalSecure: false`: http everywhere.
    Disabled,
    /// `TLS.Enabled: false`, `ExternalSecure: true`: TLS ends in front, h2c behind.
    External,
    /// `TLS.Enabled: true`, `ExternalSecure: true`: TLS on both legs.
    Enabled,
}

impl Mode {
    /// ZITADEL's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::External => "external",
            Self::Enabled => "enabled",
        }
    }

    /// How ZITADEL is spoken to.
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::Disabled | Self::External => Protocol::H2c,
            Self::Enabled => Protocol::H2,
        }
    }

    /// The scheme of public addresses.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Disabled => "http",
            Self::External | Self::Enabled => "https",
        }
    }

    /// The port that public addresses need not name.
    pub const fn usual_port(self) -> u16 {
        match self {
            Self::Disabled => 80,
            Self::External | Self::Enabled => 443,
        }
    }
}

/// One ZITADEL installation: settings with every default filled in.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The name of its cluster and of its last route; the beginning of all its other names.
    pub name: Arc<str>,
    /// How TLS is spoken, and where.
    pub mode: Mode,
    /// ZITADEL.
    pub upstream: Vec<EndpointPlan>,
    /// How its replicas are checked.
    pub health: Option<HealthPlan>,
    /// What leads an exchange to its replica.
    pub hash: Option<HashBy>,
    /// What one replica is given at most.
    pub caps: Caps,
    /// The name server that is asked in the place of the system's.
    pub resolver: Option<SocketAddr>,
    /// How ZITADEL's certificate is judged.
    pub tls: TlsPlan,
    /// The login application; none: its pages say that it is missing.
    pub login: Vec<EndpointPlan>,
    /// The public hosts.
    pub hosts: Vec<SiteHost>,
    /// The hosts of a login on a domain of its own.
    pub login_hosts: Vec<SiteHost>,
    /// The instance whatever the client asked for.
    pub instance_host: Option<HeaderValue>,
    /// What is not for everyone.
    pub guards: Guards,
    /// What a request may cost.
    pub limits: Limits,
    /// Whether files are kept in memory.
    pub cache: bool,
    /// Whether keys and discovery are kept for when ZITADEL fails.
    pub shield: bool,
    /// Limits at the top of the configuration, where `limits` says nothing.
    pub base: LimitsPlan,
    /// What is sent again.
    pub retry: RetryPlan,
    /// Edits of every request's headers.
    pub request_headers: HeaderEdits,
    /// Edits of every answer's headers.
    pub response_headers: HeaderEdits,
}

/// What is not for everyone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guards {
    /// Exceptions.
    pub open: Vec<Opening>,
    /// Whether everyone may ask for health.
    pub health: bool,
    /// Who may import and export; empty: everyone.
    pub import_export: Vec<IpNet>,
}

/// An exception from the guards.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opening {
    /// Whole guards, by their words.
    pub names: Vec<&'static str>,
    /// Single paths, and what is below them.
    pub paths: Vec<Box<str>>,
    /// On these listeners alone.
    pub listeners: Vec<Arc<str>>,
    /// For these clients alone.
    pub clients: Vec<IpNet>,
}

/// What a request may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an upload to `/assets/v1`.
    pub assets: Option<u64>,
    /// Bytes of a SCIM request.
    pub scim: Option<u64>,
    /// Bytes of one gRPC message.
    pub grpc_message: Option<u32>,
    /// How long a client may be silent within its body.
    pub body_idle: Option<Duration>,
    /// Whether ZITADEL Cloud's request rates hold.
    pub cloud_rate: bool,
    /// Answer for ZITADEL while an instance may ask no more.
    pub quota: Option<Arc<QuotaPlan>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // The upload's own check is at 512 KiB, but its form has no cap (`internal/api/assets`).
            assets: Some(1 << 20),
            // ZITADEL's `SCIM.MaxRequestBodySize`.
            scim: Some(1_000_000),
            // grpc-go's default, which ZITADEL does not change.
            grpc_message: Some(4 << 20),
            body_idle: Some(Duration::from_secs(60)),
            cloud_rate: false,
            quota: None,
        }
    }
}

/// What an installation comes to.
#[derive(Debug)]
pub struct Expansion {
    /// ZITADEL, and the login if there is one.
    pub clusters: Vec<ClusterPlan>,
    /// Exceptions and refusals, to be asked first.
    pub guards: Vec<RoutePlan>,
    /// All others; the last one takes everything of its hosts.
    pub routes: Vec<RoutePlan>,
}

impl Installation {
    /// Its clusters and routes; `clocks` are those of routes that have none of their own.
    pub fn expand(&self, clocks: Timeouts) -> Expansion {
        let cluster = |name: Arc<str>, endpoints: &[EndpointPlan]| ClusterPlan {
            endpoints: endpoints.to_vec(),
            resolver: self.resolver,
            ..crate::config::compile::clusters::bare(name)
        };
        let mut clusters = vec![ClusterPlan {
            tls: self.tls.clone(),
            health: self.health.clone(),
            hash: self.hash.clone(),
            caps: self.caps,
            ..cluster(Arc::clone(&self.name), &self.upstream)
        }];
        if !self.login.is_empty() {
            clusters.push(cluster(self.piece("login"), &self.login));
        }
        Expansion {
            clusters,
            guards: exposure::guards(self, clocks),
            routes: pieces::routes(self, clocks),
        }
    }

    /// The name of one of its pieces.
    pub fn piece(&self, what: &str) -> Arc<str> {
        format!("{}-{what}", self.name).into()
    }

    /// Its hosts, without ports.
    pub fn host_patterns(&self) -> Vec<HostPattern> {
        patterns(&self.hosts)
    }

    /// To ZITADEL, with what holds for every request.
    pub fn forward(&self, clocks: Timeouts) -> ForwardPlan {
        ForwardPlan {
            request_headers: self.request_headers.clone(),
            response_headers: self.response_headers.clone(),
            timeouts: clocks,
            hosts: self.hosts.clone(),
            identity: IdentityPlan {
                zitadel: true,
                instance_host: self.instance_host.clone(),
                ..IdentityPlan::default()
            },
            limits: LimitsPlan {
                grpc_message: self.limits.grpc_message,
                body_idle: self.limits.body_idle,
                rate: self.rate(),
                ..self.base.clone()
            },
            // ZITADEL codes nothing itself but Connect's unary calls.
            compress: Some(CompressPlan::default()),
            retry: self.retry.clone(),
            quota: self.limits.quota.clone(),
            ..ForwardPlan::to(Arc::clone(&self.name))
        }
    }

    /// How often one client may ask.
    pub(super) fn rate(&self) -> Option<RatePlan> {
        if self.limits.cloud_rate { Some(RatePlan::ZitadelCloud) } else { self.base.rate }
    }

    /// The address under which a client finds a host; none for a wildcard.
    pub fn origin(&self, host: &SiteHost) -> Option<String> {
        Some(format!("{}://{}", self.mode.scheme(), authority(host)?))
    }
}

/// The host as ZITADEL sees it, with its port where that is not the scheme's own.
pub fn authority(host: &SiteHost) -> Option<String> {
    match &host.pattern {
        HostPattern::Exact(name) if host.shows_port => Some(format!("{name}:{}", host.port)),
        HostPattern::Exact(name) => Some(name.to_string()),
        HostPattern::Suffix(_) => None,
    }
}

/// Hosts without ports, each once.
fn patterns(hosts: &[SiteHost]) -> Vec<HostPattern> {
    let mut patterns: Vec<HostPattern> = Vec::new();
    for host in hosts {
        if !patterns.contains(&host.pattern) {
            patterns.push(host.pattern.clone());
        }
    }
    patterns
}
