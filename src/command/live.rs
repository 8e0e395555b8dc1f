//! `ravelin check --live`: do ZITADEL's settings and Ravelin's agree? Asked of ZITADEL itself and of
//! its login; what disagrees is one line that names the setting to change. `run` asks the same once,
//! beside its start.

pub(in crate::command) mod ask;
mod judge;

use std::process::ExitCode;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use self::ask::{Failure, Reply, ask};
use crate::command::{USAGE, print, report};
use crate::config::plan::Plan;
use crate::config::zitadel::{Installation, authority, pieces};
use crate::config::{self, Source};
use crate::upstream::discovery;
use crate::upstream::plan::{ClusterPlan, EndpointPlan, Protocol, TlsPlan};

/// Answers without an instance and without a database (`internal/api/api.go`).
const ALIVE: &str = "/debug/healthz";
const DISCOVERY: &str = "/.well-known/openid-configuration";
const ENVIRONMENT: &str = "/ui/console/assets/environment.json";
/// The login's health, and what needs ZITADEL.
const LOGIN_HEALTH: &str = "/healthy";
const LOGIN_SECURITY: &str = "/security";

/// Whom to ask, and what should be so.
#[derive(Debug)]
pub struct Questions {
    sites: Vec<Installation>,
    clusters: Vec<Arc<ClusterPlan>>,
}

/// What came of asking one installation.
#[derive(Debug)]
struct Findings {
    /// The installation's name.
    name: Arc<str>,
    /// What was found in order.
    good: Vec<String>,
    /// What disagrees, each with the setting to change.
    bad: Vec<String>,
}

/// Loads a source and asks. Exit code 0: all agrees. 1: something does not. 64: there is nobody to
/// ask, or the configuration has faults.
pub fn check(source: Source) -> ExitCode {
    let plan = match config::load(source) {
        Ok(plan) => plan,
        Err(faults) => return report(&faults),
    };
    let questions = Questions::of(&plan);
    if questions.sites.is_empty() {
        eprintln!("ravelin: nobody to ask: the configuration has no \"zitadel\"");
        return USAGE.into();
    }
    let Some(findings) = questions.run() else {
        eprintln!("ravelin: cannot ask: no runtime");
        return ExitCode::FAILURE;
    };
    let mut text = String::new();
    for one in &findings {
        if one.bad.is_empty() {
            text += &format!("{}: ok ({})\n", one.name, one.good.join(", "));
        }
        for line in &one.bad {
            text += &format!("{}: {line}\n", one.name);
        }
    }
    let shown = print(&text);
    if findings.iter().all(|one| one.bad.is_empty()) { shown } else { ExitCode::FAILURE }
}

impl Questions {
    /// What a plan gives to ask.
    pub fn of(plan: &Plan) -> Self {
        Self { sites: plan.zitadel.clone(), clusters: plan.clusters.clone() }
    }

    /// Asks once on a thread of its own, and warns of each disagreement; returns at once.
    pub fn warn_beside(self) {
        if self.sites.is_empty() {
            return;
        }
        let asked = std::thread::Builder::new().name("live".to_owned()).spawn(move || {
            for one in self.run().into_iter().flatten() {
                for line in one.bad {
                    tracing::warn!(zitadel = %one.name, "{line}");
                }
            }
        });
        if let Err(error) = asked {
            tracing::debug!(%error, "ZITADEL's settings were not asked for");
        }
    }

    fn run(&self) -> Option<Vec<Findings>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        Some(runtime.block_on(async {
            let mut findings = Vec::new();
            for site in &self.sites {
                findings.push(Box::pin(self.examine(site)).await);
            }
            findings
        }))
    }

    fn cluster(&self, name: &str) -> Option<&ClusterPlan> {
        self.clusters.iter().find(|cluster| &*cluster.name == name).map(|cluster| &**cluster)
    }

    async fn examine(&self, site: &Installation) -> Findings {
        let mut findings =
            Findings { name: Arc::clone(&site.name), good: Vec::new(), bad: Vec::new() };
        let mut answering = None;
        if let Some(cluster) = self.cluster(&site.name) {
            for (endpoint, tls) in endpoints(cluster, &mut findings.bad).await {
                match spoken(site, &endpoint, &tls).await {
                    Ok(()) => {
                        findings.good.push(format!("{} answers", endpoint.name));
                        answering = answering.or(Some((endpoint, tls)));
                    }
                    Err(line) => findings.bad.push(line),
                }
            }
        }
        if let Some((endpoint, tls)) = &answering {
            for host in
                site.hosts.iter().filter_map(|host| Some((authority(host)?, site.origin(host)?)))
            {
                match instance(site, endpoint, tls, &host.0, &host.1).await {
                    lines if lines.is_empty() => findings.good.push(host.1),
                    lines => findings.bad.extend(lines),
                }
            }
        }
        if let Some(cluster) = self.cluster(&site.piece("login")) {
            for (endpoint, tls) in endpoints(cluster, &mut findings.bad).await {
                match login(site, &endpoint, &tls).await {
                    None => findings.good.push(format!("{} answers", endpoint.name)),
                    Some(line) => findings.bad.push(line),
                }
            }
        }
        findings
    }
}

/// The endpoints of a cluster, those that are found now in the place of where they are found, each with
/// how its certificate is judged. What cannot be found goes to `bad`.
async fn endpoints(cluster: &ClusterPlan, bad: &mut Vec<String>) -> Vec<(EndpointPlan, TlsPlan)> {
    let mut all = Vec::new();
    for endpoint in &cluster.endpoints {
        if !endpoint.address.is_source() {
            all.push((endpoint.clone(), cluster.tls.clone()));
            continue;
        }
        match discovery::once(endpoint, cluster.resolver).await {
            Err(why) => bad.push(judge::not_found(&endpoint.name, &why)),
            Ok(found) => all.extend(found.iter().map(|one| {
                let mut tls = cluster.tls.clone();
                tls.server_name = tls.server_name.or_else(|| one.server_name.clone());
                (one.endpoint(endpoint.protocol), tls)
            })),
        }
    }
    all
}

/// Whether the endpoint speaks what is configured; else what it speaks instead.
async fn spoken(site: &Installation, endpoint: &EndpointPlan, tls: &TlsPlan) -> Result<(), String> {
    let host = site.hosts.iter().find_map(authority).unwrap_or_else(|| "localhost".to_owned());
    let uri = address(site, &host, ALIVE);
    let none = HeaderMap::new();
    let failure = match ask(endpoint, endpoint.protocol, tls, &uri, &none).await {
        Ok(_) => return Ok(()),
        Err(Failure::Unreachable(cause)) => {
            return Err(judge::unreachable(&endpoint.name, &cause));
        }
        Err(failure) => failure,
    };
    // Whose certificate it is does not matter for what is spoken.
    let server_name = tls.server_name.clone().or_else(|| Some("localhost".into()));
    let anyone = TlsPlan { insecure_skip_verify: true, server_name, ..TlsPlan::default() };
    // TLS before HTTP/1.1 in plaintext, which a Go server with TLS answers too, by a 400.
    for protocol in [Protocol::H2, Protocol::H2c, Protocol::Https, Protocol::Http] {
        let may = protocol != endpoint.protocol || protocol.is_tls();
        if may && ask(endpoint, protocol, &anyone, &uri, &none).await.is_ok() {
            return Err(judge::speaks(site.mode, endpoint, protocol, failure.text()));
        }
    }
    Err(judge::speaks_nothing(endpoint, failure.text()))
}

/// What an instance says of itself under one of its hosts.
async fn instance(
    site: &Installation,
    endpoint: &EndpointPlan,
    tls: &TlsPlan,
    host: &str,
    origin: &str,
) -> Vec<String> {
    let headers = said(site, host);
    let get = async |path| {
        let uri = address(site, host, path);
        ask(endpoint, endpoint.protocol, tls, &uri, &headers).await
    };
    let discovery = match get(DISCOVERY).await {
        Ok(reply) => reply,
        Err(failure) => return vec![format!("{DISCOVERY}: {}", failure.text())],
    };
    let issuer = match judge::issuer(host, &discovery) {
        Ok(issuer) => issuer,
        Err(line) => return vec![line],
    };
    let mut lines: Vec<String> = judge::origin(site.mode, origin, &issuer).into_iter().collect();
    match get(ENVIRONMENT).await {
        Ok(reply) => lines.extend(judge::environment(site.mode, origin, &issuer, &reply)),
        Err(failure) => lines.push(format!("{ENVIRONMENT}: {}", failure.text())),
    }
    lines
}

/// Whether the login is there and reaches ZITADEL.
async fn login(site: &Installation, endpoint: &EndpointPlan, tls: &TlsPlan) -> Option<String> {
    let host = site.hosts.iter().find_map(authority)?;
    let mut headers = said(site, &host);
    if let Ok(value) = HeaderValue::try_from(&host) {
        headers.insert(HeaderName::from_static("x-zitadel-instance-host"), value);
    }
    let get = async |path: &str| {
        let uri = address(site, &host, &format!("{}{path}", pieces::LOGIN));
        ask(endpoint, endpoint.protocol, tls, &uri, &headers).await
    };
    let health: Result<Reply, Failure> = get(LOGIN_HEALTH).await;
    match &health {
        Ok(reply) if reply.status.is_success() => {}
        Ok(reply) => return Some(judge::login_status(&endpoint.name, reply.status)),
        Err(failure) => return Some(judge::login_unreachable(&endpoint.name, failure.text())),
    }
    match get(LOGIN_SECURITY).await {
        // Not every version has it.
        Ok(reply) if reply.status.is_success() || reply.status == http::StatusCode::NOT_FOUND => {
            None
        }
        Ok(reply) => Some(judge::login_without_api(&endpoint.name, reply.status.as_str(), &host)),
        Err(failure) => Some(judge::login_without_api(&endpoint.name, failure.text(), &host)),
    }
}

/// What Ravelin says of a client: where it came to, and how.
fn said(site: &Installation, host: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(host) = HeaderValue::try_from(host) {
        headers.insert(HeaderName::from_static("x-forwarded-host"), host);
    }
    let scheme = HeaderValue::from_static(site.mode.scheme());
    headers.insert(HeaderName::from_static("x-forwarded-proto"), scheme);
    let instance = site.instance_host.clone();
    headers.extend(instance.map(|host| (HeaderName::from_static("x-zitadel-instance-host"), host)));
    headers
}

fn address(site: &Installation, host: &str, path: &str) -> Uri {
    let path = PathAndQuery::try_from(path).unwrap_or_else(|_| PathAndQuery::from_static("/"));
    let parts = Uri::builder().scheme(site.mode.scheme()).authority(host).path_and_query(path);
    parts.build().unwrap_or_default()
}
