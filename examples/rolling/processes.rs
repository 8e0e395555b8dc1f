//! The processes: replicas that live and die as ZITADEL does, and Ravelin before them.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ravelin::standin::{Options, Standin};
use tokio::signal::unix::{SignalKind, signal};

use crate::{Failure, admin};

/// How long ZITADEL lives after SIGTERM with h2c.
const LAST: Duration = Duration::from_millis(10);
/// How long its REST answers 503 after it is ready.
const DIALS: Duration = Duration::from_secs(1);
/// Longer than any process needs to start or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a replica is stopped.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    Term,
    Kill,
}

/// A replica's own process: serves until SIGTERM.
pub async fn replica(arguments: Vec<String>) -> Result<(), Failure> {
    let [address, ledger] = arguments.as_slice() else { return Err("ADDRESS LEDGER".into()) };
    let mut term = signal(SignalKind::terminate())?;
    let _standin = Standin::start(Options {
        address: address.parse()?,
        external_secure: false,
        external_port: 80,
        rest_after: Some(DIALS),
        ledger: Some(ledger.into()),
        ..Options::default()
    })
    .await?;
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
    child: Child,
}

impl Replica {
    /// Starts one at a free port, and waits until it says that it is ready.
    pub async fn start(ledger: &Path) -> Result<Self, Failure> {
        let address = free()?;
        let child = spawn(address, ledger)?;
        let mut replica = Self { address, ledger: ledger.into(), child };
        replica.ready().await?;
        Ok(replica)
    }

    /// Its name in Ravelin.
    pub fn endpoint(&self) -> String {
        format!("h2c://{}", self.address)
    }

    /// Stops it and waits for its end.
    pub async fn stop(&mut self, signal: Signal) -> Result<(), Failure> {
        match signal {
            Signal::Kill => self.child.kill()?,
            Signal::Term => {
                let pid = self.child.id().to_string();
                Command::new("kill").args(["-TERM", &pid]).status()?;
            }
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
        self.child = spawn(self.address, &self.ledger)?;
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

fn spawn(address: SocketAddr, ledger: &Path) -> Result<Child, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["replica", &address.to_string()]).arg(ledger).stdin(Stdio::null());
    Ok(command.spawn()?)
}

/// A port that was free a moment ago.
fn free() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Ravelin before the replicas, with what the preset brings.
pub struct Ravelin {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    child: Child,
    log: PathBuf,
}

impl Ravelin {
    /// Starts it and waits until it is ready.
    pub async fn start(
        program: &Path,
        replicas: &[Replica],
        folder: &Path,
    ) -> Result<Self, Failure> {
        let (address, admin) = (free()?, free()?);
        let endpoints: Vec<String> = replicas.iter().map(Replica::endpoint).collect();
        let (config, log) = (folder.join("ravelin.yaml"), folder.join("access.log"));
        let text = format!(
            "workers: 2\nlisten: \"{address}\"\nadmin: \"{admin}\"\n\
             zitadel: {{upstream: [\"{}\"], domain: localhost, tls_mode: disabled}}\n\
             access_log: {{format: json, output: \"{}\"}}\n",
            endpoints.join("\", \""),
            log.display()
        );
        std::fs::write(&config, text)?;
        let errors = std::fs::File::create(folder.join("ravelin.err"))?;
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(&config).stdin(Stdio::null()).stderr(errors);
        let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        let mut ravelin = Self { address, admin, child, log };
        let deadline = Instant::now() + PATIENCE;
        while admin::get(admin, "/readyz").await.is_err() {
            if Instant::now() > deadline || ravelin.child.try_wait()?.is_some() {
                let said = std::fs::read_to_string(folder.join("ravelin.err"))?;
                return Err(format!("Ravelin does not start: {said}").into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(ravelin)
    }

    /// The records of exchanges that failed.
    pub fn records(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().filter(|line| line.contains("\"cause\"")).map(str::to_owned).collect()
    }
}

impl Drop for Ravelin {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
