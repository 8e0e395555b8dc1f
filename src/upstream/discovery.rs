//! Finds out which endpoints there are: every address of a name, the targets of a service, the lines
//! of a file. On the control runtime only; workers take up what has changed.
//!
//! What cannot be found out changes nothing: the last good answer is kept.

pub mod dns;
pub mod file;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use self::dns::Resolver;
use super::plan::{Address, EndpointPlan, Protocol, authority};
use super::roster::Members;
use crate::watch::{Watch, fingerprint, watch};

/// How soon a source is asked again that could not answer.
const AGAIN: Duration = Duration::from_secs(2);
/// A name is not asked for more often than this, whatever its TTL.
const TTL_MIN: Duration = Duration::from_secs(1);
/// A name is asked for at least so often.
const TTL_MAX: Duration = Duration::from_secs(300);
/// How often a file is read anew though nobody says that it has changed.
const LOOK: Duration = Duration::from_secs(30);

/// One endpoint of a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// DNS name or IP address, without brackets.
    pub host: Box<str>,
    /// Port.
    pub port: u16,
    /// Its share beside the others'.
    pub weight: u16,
    /// The name that its certificate is for, where it is not `host`.
    pub server_name: Option<Box<str>>,
}

impl Found {
    /// The endpoint that it is, spoken to as its source is.
    pub fn endpoint(&self, protocol: Protocol) -> EndpointPlan {
        let name = format!("{}://{}", protocol.scheme(), authority(&self.host, self.port)).into();
        let address = Address::Tcp { host: self.host.clone(), port: self.port };
        EndpointPlan { name, protocol, address }
    }
}

/// What is found at a source now.
///
/// # Errors
/// Why it cannot be found out.
pub async fn once(
    source: &EndpointPlan,
    resolver: Option<SocketAddr>,
) -> Result<BTreeSet<Found>, String> {
    let asked = Asked::new(resolver).ask(&source.address).await;
    asked.map(|(found, _)| found)
}

/// An answer, and when it is to be asked for anew.
type Answer = Result<(BTreeSet<Found>, Instant), String>;

/// Keeps one source of a cluster's endpoints up to date, until nobody has the cluster any more.
pub async fn follow(members: Weak<Members>, source: EndpointPlan, resolver: Option<SocketAddr>) {
    let mut asked = Asked::new(resolver);
    let changed = Arc::new(Notify::new());
    let _watch = watched(&source, &changed);
    let mut known = None;
    let mut failing = false;
    loop {
        let (next, answer) = match asked.ask(&source.address).await {
            Ok((found, next)) => (next, Ok(found)),
            Err(why) => (Instant::now() + AGAIN, Err(why)),
        };
        let Some(members) = members.upgrade() else { return };
        match answer {
            Ok(found) => {
                if known.as_ref() != Some(&found) {
                    tell(&members, &source, known.as_ref(), &found);
                    members.found(&source, &found, known.is_some());
                    known = Some(found);
                }
                failing = false;
            }
            Err(why) if !failing => {
                failing = true;
                tracing::error!(cluster = %members.plan.name, source = %source.name, why, "the endpoints cannot be found out; those that were known are kept");
            }
            Err(_) => {}
        }
        drop(members);
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = changed.notified() => {}
        }
    }
}

/// Tells `changed` when the file of a source has changed.
fn watched(source: &EndpointPlan, changed: &Arc<Notify>) -> Option<Watch> {
    let Address::File(path) = &source.address else { return None };
    let (files, changed) = (vec![path.clone()], Arc::clone(changed));
    let seen = fingerprint(&files);
    watch("endpoints", files, seen, move || changed.notify_one())
        .inspect_err(|error| {
            tracing::warn!(source = %source.name, %error, "a file of endpoints is only polled");
        })
        .ok()
}

fn tell(
    members: &Arc<Members>,
    source: &EndpointPlan,
    known: Option<&BTreeSet<Found>>,
    found: &BTreeSet<Found>,
) {
    let none = BTreeSet::new();
    let known = known.unwrap_or(&none);
    let (come, gone) = (found.difference(known).count(), known.difference(found).count());
    tracing::info!(cluster = %members.plan.name, source = %source.name, come, gone, endpoints = found.len(), "endpoints have changed");
}

/// How a source is asked.
#[derive(Default)]
struct Asked {
    /// The name server in the place of the system's.
    server: Option<SocketAddr>,
    /// Made anew after a failure: the system's name servers may be others by then (a laptop in another
    /// network, a container that was not given any yet).
    resolver: Option<Box<Resolver>>,
    file: file::Reader,
}

impl Asked {
    fn new(server: Option<SocketAddr>) -> Self {
        Self { server, ..Self::default() }
    }

    async fn ask(&mut self, address: &Address) -> Answer {
        if let Address::File(path) = address {
            return Ok((self.file.read(path.clone()).await?, Instant::now() + LOOK));
        }
        let resolver = match self.resolver.take() {
            Some(resolver) => resolver,
            None => Box::new(Resolver::new(self.server)?),
        };
        let (found, until) = match address {
            Address::Dns { host, port } => resolver.addresses(host, *port).await?,
            Address::Srv(name) => resolver.service(name).await?,
            _ => return Err("it is no source of endpoints".into()),
        };
        self.resolver = Some(resolver);
        Ok((found, asked_again(until)))
    }
}

/// When a name is asked for again whose answer is good until then.
fn asked_again(until: Instant) -> Instant {
    let now = Instant::now();
    until.clamp(now + TTL_MIN, now + TTL_MAX)
}
