//! The replicas: processes that live and die as ZITADEL does.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ravelin::standin::{Options, Standin};
use tokio::signal::unix::{SignalKind, signal};

use crate::net::Net;
use crate::{Failure, admin};

/// How long ZITADEL lives after SIGTERM with h2c.
const LAST: Duration = Duration::from_millis(10);
/// How long its REST answers 503 after it is ready.
pub const DIALS: Duration = Duration::from_secs(1);
/// Longer than any process needs to start or to end.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How a replica is stopped.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    Term,
    Kill,
}

/// Sends a signal to a process of ours.
pub fn tell(child: &Child, signal: &str) -> Result<(), Failure> {
    Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status()?;
    Ok(())
}

/// A replica's own process: serves until SIGTERM.
pub async fn replica(arguments: Vec<String>) -> Result<(), Failure> {
    let [address, ledger] = arguments.as_slice() else { return Err("ADDRESS LEDGER".into()) };
    let mut term = signal(SignalKind::terminate())?;
    let standin = Standin::start(Options {
        address: address.parse()?,
        external_secure: false,
        external_port: 80,
        rest_after: Some(DIALS),
        ledger: Some(ledger.into()),
        ..Options::default()
    })
    .await?;
    // Each line is what it has to do to every request from now on.
    std::thread::spawn(move || {
        for orders in std::io::stdin().lock().lines().map_while(Result::ok) {
            standin.obey(&orders);
        }
        // Whoever started it has gone.
        std::process::exit(1);
    });
    term.recv().await;
    tokio::time::sleep(LAST).await;
    // The system closes what is open: no GOAWAY, no answer.
    std::process::exit(0);
}

/// How often each write was done, by its id.
pub fn ledger(path: &Path) -> HashMap<String, usize> {
    let mut written = HashMap::new();
    for id in std::fs::read_to_string(path).unwrap_or_default().lines() {
        *written.entry(id.to_owned()).or_default() += 1;
    }
    written
}

/// A replica as this process sees it.
pub struct Replica {
    pub address: SocketAddr,
    ledger: PathBuf,
    net: Option<Net>,
    child: Child,
}

impl Replica {
    /// Starts one at a free port, and waits until it says that it is ready.
    pub async fn start(ledger: &Path) -> Result<Self, Failure> {
        Self::start_at(free()?, None, ledger).await
    }

    /// The same behind a network of its own, whose packets can be dropped. Needs root.
    pub async fn start_apart(ledger: &Path) -> Result<Self, Failure> {
        let net = Net::open()?;
        let address = SocketAddr::new(net.address(), free()?.port());
        Self::start_at(address, Some(net), ledger).await
    }

    async fn start_at(
        address: SocketAddr,
        net: Option<Net>,
        ledger: &Path,
    ) -> Result<Self, Failure> {
        let child = spawn(address, net.as_ref(), ledger)?;
        let mut replica = Self { address, ledger: ledger.into(), net, child };
        replica.ready().await?;
        Ok(replica)
    }

    /// From now on it does this to every request: the words of the stand-in's orders.
    pub fn obey(&mut self, orders: &str) -> Result<(), Failure> {
        let stdin = self.child.stdin.as_mut().ok_or("a replica does not listen")?;
        Ok(writeln!(stdin, "{orders}")?)
    }

    /// Holds it: the system takes connections for it, and nobody answers.
    pub fn hold(&self) -> Result<(), Failure> {
        tell(&self.child, "STOP")
    }

    /// Drops what it sends: from outside it is as if its machine were gone.
    pub fn vanish(&self) -> Result<(), Failure> {
        self.net.as_ref().ok_or("it has no network of its own")?.drop_all()
    }

    /// Its name in Ravelin.
    pub fn endpoint(&self) -> String {
        format!("h2c://{}", self.address)
    }

    /// Stops it and waits for its end.
    pub async fn stop(&mut self, signal: Signal) -> Result<(), Failure> {
        match signal {
            Signal::Kill => self.child.kill()?,
            Signal::Term => tell(&self.child, "TERM")?,
        }
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err("a replica does not end".into());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Starts it again where it was.
    pub async fn start_again(&mut self) -> Result<(), Failure> {
        self.child = spawn(self.address, self.net.as_ref(), &self.ledger)?;
        self.ready().await
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while admin::get(self.address, "/debug/ready").await.is_err() {
            if Instant::now() > deadline || self.child.try_wait()?.is_some() {
                return Err("a replica does not start".into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn spawn(address: SocketAddr, net: Option<&Net>, ledger: &Path) -> Result<Child, Failure> {
    let program = std::env::current_exe()?;
    let mut command = match net {
        Some(net) => net.command(&program),
        None => Command::new(&program),
    };
    command.args(["replica", &address.to_string()]).arg(ledger).stdin(Stdio::piped());
    Ok(command.spawn()?)
}

/// A port that was free a moment ago.
pub fn free() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

pub fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
