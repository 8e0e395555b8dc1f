//! Decides which paths of ZITADEL are private, and to whom they are open: the guards, as a list of
//! matchers in the order in which they are to be asked, before every other route of the site.
//!
//! ZITADEL serves them on its public port (`cmd/start/start.go`, `internal/api/api.go`): metrics and
//! diagnosis without any authentication, the API that makes and deletes instances, reflection,
//! experiments. What is said here holds for every spelling that ZITADEL understands, since matchers
//! look at the path as [`decode`](crate::pipeline::path::decode) sees it, and for every protocol,
//! since a service is guarded by the path that all of them ask for.

use std::sync::Arc;

use http::Method;
use ipnet::IpNet;
use regex::Regex;

use crate::pipeline::plan::{HostPattern, Matcher, PathPattern};

/// One part of ZITADEL that is guarded as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Area {
    /// `/debug`: health, metrics, validation; open to anybody who reaches the port.
    Debug,
    /// The system API: instances, their domains, quotas and limits.
    System,
    /// gRPC reflection, v1 and v1alpha; without authentication.
    Reflection,
    /// Services and REST paths of v3alpha: experiments behind feature flags.
    V3alpha,
    /// Import and export of whole organisations: huge, and never for a browser.
    Transfer,
}

impl Area {
    /// What nobody outside needs.
    pub const DEFAULT: [Self; 4] = [Self::Debug, Self::System, Self::Reflection, Self::V3alpha];

    /// Every area.
    pub const ALL: [Self; 5] =
        [Self::Debug, Self::System, Self::Reflection, Self::V3alpha, Self::Transfer];

    /// Its name in a configuration and in the names of routes.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::System => "system",
            Self::Reflection => "reflection",
            Self::V3alpha => "v3alpha",
            Self::Transfer => "transfer",
        }
    }

    fn paths(self) -> Vec<(&'static str, PathPattern)> {
        let below = |name, path: &str| (name, PathPattern::Prefix(path.into()));
        match self {
            Self::Debug => vec![below("", "/debug")],
            Self::System => {
                vec![below("", "/system/v1"), below("grpc", "/zitadel.system.v1.SystemService")]
            }
            Self::Reflection => vec![
                below("v1", "/grpc.reflection.v1.ServerReflection"),
                below("v1alpha", "/grpc.reflection.v1alpha.ServerReflection"),
            ],
            Self::V3alpha => vec![
                below("", "/v3alpha"),
                below("resources", "/resources/v3alpha"),
                ("grpc", PathPattern::Regex(v3alpha_services())),
            ],
            Self::Transfer => vec![
                below("import", "/admin/v1/import"),
                below("export", "/admin/v1/export"),
                below("import-grpc", "/zitadel.admin.v1.AdminService/ImportData"),
                below("export-grpc", "/zitadel.admin.v1.AdminService/ExportData"),
            ],
        }
    }
}

/// `zitadel.resources.user.v3alpha.ZITADELUsers` and whatever else has that version in its package,
/// written as the configuration anchors expressions.
fn v3alpha_services() -> Regex {
    #[expect(clippy::expect_used, reason = "a constant, and the tests compile it")]
    Regex::new(r"^(?:/zitadel\.(?:[^/]*\.)?v3alpha\.[^/]*(?:/.*)?)$").expect("a sound expression")
}

/// A path of `/debug` that load balancers ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// `/debug/healthz`: the process runs; says nothing else.
    Live,
    /// `/debug/ready`: the database answers. When it does not, the answer names the error.
    Ready,
}

impl Health {
    /// Its path.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Live => "/debug/healthz",
            Self::Ready => "/debug/ready",
        }
    }

    /// Its name in a configuration and in the names of routes.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Live => "healthz",
            Self::Ready => "ready",
        }
    }
}

/// To whom an area is open: what is given must all hold, and nothing given opens nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// What is opened.
    pub area: Area,
    /// On these listeners.
    pub listeners: Vec<Arc<str>>,
    /// To these clients.
    pub clients: Vec<IpNet>,
}

/// What of a site is guarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarding {
    /// The site's hosts; empty: whatever host is asked for.
    pub hosts: Vec<HostPattern>,
    /// The listeners that the site is on; empty: all.
    pub listeners: Vec<Arc<str>>,
    /// What is guarded.
    pub areas: Vec<Area>,
    /// Health paths that anybody may read, with GET and HEAD.
    pub health: Vec<Health>,
    /// Exceptions.
    pub openings: Vec<Opening>,
}

impl Default for Guarding {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            listeners: Vec::new(),
            areas: Area::DEFAULT.to_vec(),
            health: Vec::new(),
            openings: Vec::new(),
        }
    }
}

/// What becomes of a request that a guard's matcher takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is forwarded as the site's other requests are.
    Open,
    /// [`Action::Deny`](crate::pipeline::plan::Action::Deny).
    Deny,
}

/// One route of the guards, without what it does.
#[derive(Debug)]
pub struct Guard {
    /// Unique within the list: `open-debug-1`, `guard-system-grpc`.
    pub name: String,
    /// When.
    pub matcher: Matcher,
    /// What then.
    pub verdict: Verdict,
}

/// The guards in the order in which they are to be asked: what is open first.
pub fn guards(guarding: &Guarding) -> Vec<Guard> {
    let mut list = Vec::new();
    if guarding.areas.contains(&Area::Debug) {
        list.extend(guarding.health.iter().map(|health| open_health(guarding, *health)));
    }
    let guarded = |area: Area| guarding.areas.contains(&area);
    for (i, opening) in guarding.openings.iter().enumerate() {
        let nobody = opening.listeners.is_empty() && opening.clients.is_empty();
        if guarded(opening.area) && !nobody {
            list.extend(open(guarding, i + 1, opening));
        }
    }
    for area in Area::ALL.into_iter().filter(|area| guarded(*area)) {
        list.extend(area.paths().into_iter().map(|(part, path)| Guard {
            name: name("guard", area, part),
            matcher: matcher(guarding, path),
            verdict: Verdict::Deny,
        }));
    }
    list
}

fn open_health(guarding: &Guarding, health: Health) -> Guard {
    let path = PathPattern::Exact(health.path().into());
    let methods = vec![Method::GET, Method::HEAD];
    Guard {
        name: format!("open-{}", health.label()),
        matcher: Matcher { methods, ..matcher(guarding, path) },
        verdict: Verdict::Open,
    }
}

fn open(guarding: &Guarding, number: usize, opening: &Opening) -> Vec<Guard> {
    let guard = |(part, path)| {
        let mut matcher = matcher(guarding, path);
        if !opening.listeners.is_empty() {
            matcher.listeners.clone_from(&opening.listeners);
        }
        matcher.clients.clone_from(&opening.clients);
        let name = format!("{}-{number}", name("open", opening.area, part));
        Guard { name, matcher, verdict: Verdict::Open }
    };
    opening.area.paths().into_iter().map(guard).collect()
}

fn matcher(guarding: &Guarding, path: PathPattern) -> Matcher {
    Matcher {
        hosts: guarding.hosts.clone(),
        listeners: guarding.listeners.clone(),
        path,
        ..Matcher::default()
    }
}

fn name(verdict: &str, area: Area, part: &str) -> String {
    let dash = if part.is_empty() { "" } else { "-" };
    format!("{verdict}-{}{dash}{part}", area.label())
}

#[cfg(test)]
mod tests;
