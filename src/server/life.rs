//! The process: start, tell the world, wait for a signal, leave.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::{Server, StartError};
use crate::config::plan::Plan;
use crate::downstream::plan::Address;

/// A signal within this time of the first is the same one: a supervisor that signals a process and its
/// group delivers it twice. Nobody's second Ctrl-C is as quick.
const SAME_SIGNAL: Duration = Duration::from_millis(200);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What was under way has ended, or the grace was over.
    Drained,
    /// A second signal did not wait for it.
    Cut,
}

/// Runs until a signal has ended it. `started` is called when every listener is open.
///
/// The first SIGTERM or SIGINT drains; a second one, a moment later, cuts what is left: the
/// caller must then let the process end, since workers are still at it. SIGHUP reopens the access record.
///
/// # Errors
/// What kept it from starting.
pub fn run(plan: Plan, started: impl FnOnce(&Server)) -> Result<End, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::new("control runtime", error))?;
    let ended = runtime.block_on(live(plan, started));
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

async fn live(plan: Plan, started: impl FnOnce(&Server)) -> Result<End, StartError> {
    let mut signals = Signals::new().map_err(|error| StartError::new("signals", error))?;
    let server = Server::start(plan).await?;
    announce(&server);
    started(&server);
    notify(&[sd_notify::NotifyState::Ready]);
    loop {
        match signals.next().await {
            "SIGHUP" => server.reopen(),
            name => {
                tracing::info!(signal = name, "draining");
                break;
            }
        }
    }
    let first = Instant::now();
    notify(&[sd_notify::NotifyState::Stopping]);
    let drained = server.drain();
    tokio::pin!(drained);
    loop {
        tokio::select! {
            () = &mut drained => {
                tracing::info!("drained");
                return Ok(End::Drained);
            }
            name = signals.next() => if name != "SIGHUP" && first.elapsed() >= SAME_SIGNAL {
                tracing::warn!(signal = name, "second signal: cutting what is left");
                return Ok(End::Cut);
            },
        }
    }
}

fn announce(server: &Server) {
    for (name, address) in server.listening() {
        match address {
            Address::Tcp(address) => tracing::info!(%name, %address, "listening"),
            Address::Unix(path) => tracing::info!(%name, address = %path.display(), "listening"),
        }
    }
    if let Some(address) = server.admin() {
        tracing::info!(name = "admin", %address, "listening");
    }
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The name of the next signal.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.hangup.recv() => "SIGHUP",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
