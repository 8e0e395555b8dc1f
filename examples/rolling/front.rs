//! Ravelin before the replicas, with what the preset brings; reloaded and replaced while it serves.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::processes::{PATIENCE, Replica, end, free, tell};
use crate::{Failure, LOOK, admin};

/// A running Ravelin.
pub struct Ravelin {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    program: PathBuf,
    folder: PathBuf,
    yaml: String,
    child: Child,
}

/// How Ravelin learns that its configuration has changed.
#[derive(Clone, Copy, Debug)]
pub enum By {
    File,
    Hangup,
    Call,
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
        let yaml = format!(
            "workers: 2\nlisten: \"{address}\"\nadmin: \"{admin}\"\n\
             zitadel: {{upstream: [\"{}\"], domain: localhost, tls_mode: disabled}}\n\
             access_log: {{format: json, output: \"{}\"}}\n\
             upgrade: {{socket: \"{}\"}}\n",
            endpoints.join("\", \""),
            folder.join("access.log").display(),
            folder.join("next").display()
        );
        std::fs::write(folder.join("ravelin.yaml"), &yaml)?;
        let child = spawn(program, folder)?;
        let (program, folder) = (program.into(), folder.into());
        let mut ravelin = Self { address, admin, program, folder, yaml, child };
        ravelin
            .wait("it does not start", async |_| admin::get(admin, "/readyz").await.is_ok())
            .await?;
        Ok(ravelin)
    }

    /// Changes a route, tells it, and waits until it has taken that up.
    pub async fn reload(&mut self, version: usize, by: By) -> Result<(), Failure> {
        let route = format!(
            "routes:\n  - {{name: touched, match: {{path: /touched}}, \
             respond: {{status: 200, body: \"v{version}\"}}}}\n"
        );
        // As editors and orchestrators do it: another file in its place.
        let next = self.folder.join("next.yaml");
        std::fs::write(&next, format!("{}{route}", self.yaml))?;
        std::fs::rename(next, self.folder.join("ravelin.yaml"))?;
        match by {
            By::File => {}
            By::Hangup => tell(&self.child, "HUP")?,
            By::Call => admin::post(self.admin, "/reload").await?,
        }
        let (address, expected) = (self.address, format!("v{version}"));
        self.wait("a reload is not taken up", async |_| {
            admin::get(address, "/touched").await.is_ok_and(|body| body == expected)
        })
        .await
    }

    /// Starts another process that takes over, and waits until this one has left.
    pub async fn upgrade(&mut self) -> Result<(), Failure> {
        let next = spawn(&self.program, &self.folder)?;
        let mut old = std::mem::replace(&mut self.child, next);
        let left = self
            .wait("the old process does not leave", async |_| !matches!(old.try_wait(), Ok(None)));
        let left = left.await;
        let status = old.try_wait();
        end(&mut old);
        left?;
        match status? {
            Some(status) if status.success() => Ok(()),
            status => Err(format!("the old process ended with {status:?}").into()),
        }
    }

    async fn wait(
        &mut self,
        what: &str,
        mut is_so: impl AsyncFnMut(&Self) -> bool,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self).await {
            if Instant::now() > deadline || self.child.try_wait()?.is_some() {
                let said = std::fs::read_to_string(self.folder.join("ravelin.err"))?;
                return Err(format!("{what}: {said}").into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Its memory, in KiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or_default()
    }

    /// The records of exchanges that failed.
    pub fn records(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("access.log")).unwrap_or_default();
        text.lines().filter(|line| line.contains("\"cause\"")).map(str::to_owned).collect()
    }
}

fn spawn(program: &Path, folder: &Path) -> Result<Child, Failure> {
    let errors: File =
        OpenOptions::new().create(true).append(true).open(folder.join("ravelin.err"))?;
    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(folder.join("ravelin.yaml"));
    let child = command.stdin(Stdio::null()).stderr(errors).spawn();
    child.map_err(|error| format!("{}: {error}", program.display()).into())
}

impl Drop for Ravelin {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
