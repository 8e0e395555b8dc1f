//! `ravelin dev`: https that this machine trusts before a ZITADEL on it, in one command.

pub mod authority;
pub mod facts;
pub mod stores;
pub mod trust;
pub mod wiring;
pub mod words;

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::authority::Authority;
use self::stores::{Surroundings, act};
use self::trust::{Action, Anchor};
use self::wiring::Upstreams;
use self::words::Words;
use crate::config::plan::Plan;
use crate::server::life;
use crate::telemetry::log;
use crate::upstream::plan::{Address, EndpointPlan};

/// How long between two looks for a ZITADEL that is not there yet.
const LOOK: Duration = Duration::from_millis(500);

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Order {
    /// Where to go.
    pub upstreams: Upstreams,
    /// Where to serve; 0: any.
    pub port: u16,
    /// Names besides those of this machine.
    pub names: Vec<String>,
    /// Where the CA and its certificates are.
    pub folder: PathBuf,
    /// Whether to change what this machine trusts.
    pub trust: Option<Action>,
    /// Where the machine's files are.
    pub root: PathBuf,
    /// How often certificates are looked after.
    pub check_every: Duration,
}

impl Order {
    /// As it was typed.
    pub fn new(matches: &ArgMatches) -> Self {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let path = |name: &str| matches.get_one::<PathBuf>(name).cloned().unwrap_or_default();
        let trust = match (matches.get_flag("trust"), matches.get_flag("untrust")) {
            (_, true) => Some(Action::Untrust),
            (true, _) => Some(Action::Trust),
            _ => None,
        };
        Self {
            upstreams: Upstreams {
                zitadel: text("zitadel").unwrap_or_default(),
                login: text("login"),
            },
            port: matches.get_one("port").copied().unwrap_or_default(),
            names: matches.get_many("name").into_iter().flatten().cloned().collect(),
            folder: path("dir"),
            trust,
            root: path("root"),
            check_every: matches.get_one("check-every").copied().unwrap_or(LOOK),
        }
    }
}

/// A name that a certificate can have, in lower case.
///
/// # Errors
/// It is none.
pub fn name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let host = name.strip_prefix("*.").unwrap_or(&name);
    let sound =
        host.len() <= 253 && host.split('.').all(label) && !host.ends_with(char::is_numeric);
    if sound || name.parse::<IpAddr>().is_ok() {
        Ok(name)
    } else {
        Err("expected a host such as id.test or *.dev.test, or an IP address".into())
    }
}

/// Does as ordered.
pub fn dev(order: &Order) -> ExitCode {
    let done = match order.trust {
        Some(Action::Untrust) => untrust(order),
        _ => serve(order),
    };
    done.unwrap_or_else(|error| {
        eprintln!("ravelin dev: {error}");
        ExitCode::FAILURE
    })
}

fn serve(order: &Order) -> Result<ExitCode, Box<dyn std::error::Error>> {
    log::init(log::LogFormat::Text)?;
    let authority = Authority::new(&order.folder, &order.names);
    let prepared = authority.prepare(authority::now())?;
    words::prepared(&authority, &prepared);
    if order.trust == Some(Action::Trust) {
        trust(order, &authority)?;
    }
    let port = if order.port == 0 { wiring::free_port(0)? } else { order.port };
    let plan = match wiring::plan(port, &order.upstreams, &authority) {
        Ok(plan) => plan,
        Err(faults) => return Ok(super::report(&faults)),
    };
    let endpoint = zitadel(&plan);
    let end = life::run(plan, None, |server| {
        let words = Words { port, upstreams: &order.upstreams, authority: &authority };
        println!("{words}");
        if let Some(admin) = server.admin() {
            println!("How it stands: http://{admin}/   what it counts: http://{admin}/metrics\n");
        }
        println!("Below is one line for each exchange. Ctrl-C ends it.");
        tokio::spawn(look_after(authority.clone(), order.check_every));
        if let Some(endpoint) = endpoint {
            tokio::spawn(look_for(endpoint));
        }
    })?;
    Ok(match end {
        life::End::Drained => ExitCode::SUCCESS,
        life::End::Cut => ExitCode::FAILURE,
    })
}

fn zitadel(plan: &Plan) -> Option<EndpointPlan> {
    let cluster = plan.clusters.iter().find(|cluster| &*cluster.name == "zitadel")?;
    cluster.endpoints.first().cloned()
}

/// Renews certificates before they expire; the listeners' watch takes them over. The clock on the
/// wall is asked, since a laptop sleeps.
async fn look_after(authority: Authority, every: Duration) {
    let mut ticks = interval(every.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let authority = authority.clone();
        let renewed = tokio::task::spawn_blocking(move || authority.renew(authority::now())).await;
        match renewed {
            Ok(Ok(files)) => {
                for (file, _) in files {
                    tracing::info!(file = %file.display(), "renewed before it expires");
                }
            }
            Ok(Err(error)) => tracing::error!(%error, "certificates cannot be renewed"),
            Err(error) => tracing::error!(%error, "certificates are no longer looked after"),
        }
    }
}

/// Says once that ZITADEL is not there, and once that it is.
async fn look_for(endpoint: EndpointPlan) {
    let mut told = false;
    loop {
        let there = match &endpoint.address {
            Address::Tcp { host, port } | Address::Dns { host, port } => {
                TcpStream::connect((&**host, *port)).await.map(drop)
            }
            Address::Unix(path) => UnixStream::connect(path).await.map(drop),
            Address::Srv(_) | Address::File(_) => Ok(()),
        };
        match there {
            Ok(()) if told => return tracing::info!(at = %endpoint.name, "ZITADEL is there now"),
            Ok(()) => return,
            Err(error) if !told => {
                tracing::warn!(at = %endpoint.name, %error, "ZITADEL is not there yet: requests are answered with an error until it is");
                told = true;
            }
            Err(_) => {}
        }
        sleep(LOOK).await;
    }
}

/// Trusts the CA and no longer those that it has replaced.
fn trust(order: &Order, authority: &Authority) -> io::Result<()> {
    let surroundings = Surroundings::own(order.root.clone());
    for file in authority.replaced()? {
        forget(&file, &surroundings)?;
    }
    if let Some(anchor) = anchor(&authority.ca())? {
        let done = act(Action::Trust, &anchor, &surroundings);
        words::trusted(&anchor, done);
    }
    Ok(())
}

fn untrust(order: &Order) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let authority = Authority::new(&order.folder, &order.names);
    let surroundings = Surroundings::own(order.root.clone());
    let mut all = true;
    let replaced = if order.folder.exists() { authority.replaced()? } else { Vec::new() };
    for file in replaced {
        all &= forget(&file, &surroundings)?;
    }
    let ca = authority.ca();
    match anchor(&ca)? {
        Some(anchor) => all &= act(Action::Untrust, &anchor, &surroundings),
        None => println!("There is no CA in {}: nothing to undo.", order.folder.display()),
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Untrusts a CA that was replaced; its file goes when that is done everywhere.
fn forget(file: &Path, surroundings: &Surroundings) -> io::Result<bool> {
    let done = match anchor(file)? {
        Some(anchor) => act(Action::Untrust, &anchor, surroundings),
        None => true,
    };
    if done {
        fs::remove_file(file)?;
    }
    Ok(done)
}

/// The certificate in a file; `None` where there is none.
fn anchor(file: &Path) -> io::Result<Option<Anchor>> {
    match fs::read_to_string(file) {
        Ok(pem) => Ok(Anchor::new(file.to_owned(), pem)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hosts_wildcards_and_addresses() {
        for good in ["id.test", "ID.test", "*.dev.test", "a_b", "192.168.1.7", "fd00::1", "*.test"]
        {
            assert_eq!(name(good), Ok(good.to_ascii_lowercase()));
        }
        for bad in ["", "a..b", "-a", "a.*.b", "https://a", "a:1", "a b", "a/b", "1.2.3", "\"a"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
