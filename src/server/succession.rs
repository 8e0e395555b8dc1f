//! From one process to the next: what this one takes over when it starts, and to whom it leaves.
//!
//! One way for every shape: a second process is started with the same `upgrade.socket`, by whoever
//! deploys or by SIGUSR2, as nginx's is. The rest is between the two ([`super::handover`]).

use std::io;
use std::path::PathBuf;
use std::process::Command;

use tokio::task::JoinHandle;

use super::handover::{Door, Inheritance, Successor, inherit, offer};
use super::legacy::Legacy;
use super::life::notify;
use super::{Server, StartError};

/// What was there when this process started.
pub(super) struct Before {
    path: Option<PathBuf>,
    inheritance: Option<Inheritance>,
    activated: Legacy,
}

/// Who comes after.
pub(super) struct Succession {
    door: Option<Door>,
    /// The one who is starting.
    offered: Option<JoinHandle<io::Result<Successor>>>,
}

impl Before {
    /// Asks the process behind the door, if there is one; what systemd has opened counts otherwise.
    ///
    /// # Errors
    /// Where there is a process that does not hand over.
    pub(super) fn find(path: Option<PathBuf>, activated: Legacy) -> Result<Self, StartError> {
        let inheritance = match &path {
            Some(path) => {
                inherit(path).map_err(|error| StartError::new("upgrade.socket", error))?
            }
            None => None,
        };
        Ok(Self { path, inheritance, activated })
    }

    /// The sockets.
    pub(super) fn take(&mut self) -> Legacy {
        match &mut self.inheritance {
            Some(inheritance) => inheritance.take(),
            None => std::mem::take(&mut self.activated),
        }
    }

    /// Accepting has begun: the process before this one may leave. Its successors come to us.
    ///
    /// # Errors
    /// Where there can be no successor.
    pub(super) fn succeed(self) -> Result<Succession, StartError> {
        let Some(path) = self.path else { return Ok(Succession { door: None, offered: None }) };
        let failed =
            |error| StartError::new(format_args!("upgrade.socket {}", path.display()), error);
        let Some(inheritance) = self.inheritance else {
            return Ok(Succession {
                door: Some(Door::open(&path, None).map_err(failed)?),
                offered: None,
            });
        };
        // All that can fail comes before the other is let go.
        let door =
            inheritance.door().and_then(|door| Door::open(&path, Some(door))).map_err(failed)?;
        inheritance.ready();
        tracing::info!("took over from the process before this one");
        Ok(Succession { door: Some(door), offered: None })
    }
}

impl Succession {
    /// Starts the program that this process was started from, as it was started. It takes over when
    /// it can.
    pub(super) fn start(&self) {
        if self.door.is_none() {
            tracing::warn!("SIGUSR2: there is no upgrade.socket to hand over through");
            return;
        }
        let mut arguments = std::env::args_os();
        let Some(program) = arguments.next() else { return };
        match Command::new(&program).args(arguments).spawn() {
            Ok(mut child) => {
                tracing::info!(pid = child.id(), program = %program.display(), "SIGUSR2: started the next process");
                // Somebody must take note of its end, should it come first.
                std::thread::spawn(move || match child.wait() {
                    Ok(status) => tracing::warn!(%status, "the next process has ended"),
                    Err(error) => tracing::debug!(%error, "the next process cannot be waited for"),
                });
            }
            Err(error) => {
                tracing::error!(program = %program.display(), %error, "SIGUSR2: cannot start the next process");
            }
        }
    }

    /// The process that has taken over, when there is one. One that does not get that far is told of
    /// in the log.
    pub(super) async fn next(&mut self, server: &Server) -> Successor {
        let Some(door) = &self.door else { return std::future::pending().await };
        loop {
            let Some(offered) = &mut self.offered else {
                let (stream, pid) = door.knock().await;
                match server.legacy().and_then(|all| Ok((all, door.copy()?))) {
                    Ok((legacy, copy)) => {
                        tracing::info!(pid, "upgrade: handing the sockets to the next process");
                        let offering = move || offer(stream, pid, &legacy, &copy);
                        self.offered = Some(tokio::task::spawn_blocking(offering));
                    }
                    Err(error) => tracing::error!(%error, "upgrade: the sockets cannot be copied"),
                }
                continue;
            };
            let outcome = offered.await;
            self.offered = None;
            match outcome.map_err(io::Error::other).and_then(|outcome| outcome) {
                Ok(successor) => return successor,
                Err(error) => {
                    tracing::error!(%error, "upgrade: the next process did not take over, everything stays as it is");
                }
            }
        }
    }

    /// Leaves to whoever has taken over.
    pub(super) fn leave(self, successor: Successor) {
        tracing::info!(pid = successor.pid, "another process has taken over: draining");
        if let Some(pid) = successor.pid {
            // From the process that systemd knows; the next one says that it is ready itself.
            notify(&[sd_notify::NotifyState::MainPid(pid)]);
        }
        if let Some(door) = self.door {
            door.leave();
        }
        successor.farewell();
    }
}
