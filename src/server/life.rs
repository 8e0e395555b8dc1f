//! The process: start, tell the world, follow the configuration, wait for a signal, leave.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::hurry::Hurry;
use super::legacy::Legacy;
use super::succession::{Before, Succession};
use super::{Server, StartError, activation};
use crate::admin::calls::{Ask, Control, Reloaded};
use crate::config::plan::Plan;
use crate::config::{self, Source};
use crate::downstream::plan::Address;
use crate::watch::{Watch, fingerprint, watch};

/// A signal within this time of the first is the same one: a supervisor that signals a process and its
/// group delivers it twice. Nobody's second Ctrl-C is as quick.
const SAME_SIGNAL: Duration = Duration::from_millis(200);

/// How long a second signal waits for what it cuts to be recorded.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What was under way has ended, or the grace was over.
    Drained,
    /// A second signal did not wait for it.
    Cut,
}

/// Runs until a signal has ended it, or another process has taken over. `started` is called when every
/// listener is open. `source` is where the plan came from, to be read again; `None`: it stays as it is.
///
/// The first SIGTERM or SIGINT drains; a second one, a moment later or more, cuts what is left and records
/// it: the caller must then let the process end, since a worker may still be at it. SIGHUP reopens the access record
/// and reads the configuration again. SIGUSR2 starts the process that takes over.
///
/// # Errors
/// What kept it from starting.
pub fn run(
    plan: Plan,
    source: Option<Source>,
    started: impl FnOnce(&Server),
) -> Result<End, StartError> {
    // Before there is a thread: variables are removed.
    let activated = activation::sockets(&plan);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::new("control runtime", error))?;
    let ended = runtime.block_on(live(plan, source, activated, started));
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

async fn live(
    plan: Plan,
    source: Option<Source>,
    activated: Legacy,
    started: impl FnOnce(&Server),
) -> Result<End, StartError> {
    let mut signals = Signals::new().map_err(|error| StartError::new("signals", error))?;
    let (ask, mut asked) = mpsc::channel(1);
    let mut configuration = source.map(Configuration::new);
    let (mut changed, _watch) = follow(configuration.as_ref())?;
    let (mut server, mut succession) = begin(plan, activated, ask).await?;
    announce(&server);
    started(&server);
    notify(&[sd_notify::NotifyState::Ready]);
    let successor = loop {
        tokio::select! {
            name = signals.next() => match name {
                "SIGHUP" => {
                    server.reopen();
                    if let Some(configuration) = &mut configuration {
                        let _ = configuration.reload(&mut server, name).await;
                    }
                }
                "SIGUSR2" => succession.start(),
                _ => {
                    draining(name, &server);
                    break None;
                }
            },
            successor = succession.next(&server) => break Some(successor),
            Some(()) = changed.recv() => {
                if let Some(configuration) = &mut configuration {
                    configuration.follow(&mut server).await;
                }
            }
            Some(ask) = asked.recv() => match ask {
                Ask::Reload(tell) => {
                    let outcome = match &mut configuration {
                        Some(it) => it.reload(&mut server, "asked on the admin listener").await,
                        None => Err(vec!["there is no configuration to read again".to_owned()]),
                    };
                    let _ = tell.send(outcome);
                }
                Ask::Part(tell) => {
                    server.part();
                    let _ = tell.send(());
                }
            },
        }
    };
    // Whoever asks now is told that it is not running.
    drop(asked);
    match successor {
        Some(successor) => {
            succession.leave(successor);
            leave(server.hurry(), server.hand_over(), &mut signals).await
        }
        None => {
            drop(succession);
            notify(&[sd_notify::NotifyState::Stopping]);
            leave(server.hurry(), server.drain(), &mut signals).await
        }
    }
}

/// What it waits for, for whoever sits before a terminal and wonders.
fn draining(signal: &str, server: &Server) {
    match server.metrics().in_flight() {
        0 => tracing::info!(signal, "draining"),
        exchanges => tracing::info!(
            signal,
            exchanges,
            grace = %humantime::format_duration(server.grace()),
            "draining: waiting for what is under way, until the grace is over; another signal cuts it"
        ),
    }
}

/// Starts on what is there already, and lets the process before this one go.
async fn begin(
    plan: Plan,
    activated: Legacy,
    ask: Control,
) -> Result<(Server, Succession), StartError> {
    let mut before = Before::find(plan.upgrade.clone(), activated)?;
    let mut legacy = before.take();
    let server = Server::start_on(plan, &mut legacy, Some(ask)).await?;
    let succession = before.succeed()?;
    legacy.clear_away();
    Ok((server, succession))
}

async fn leave(
    hurry: Hurry,
    drained: impl Future<Output = u64>,
    signals: &mut Signals,
) -> Result<End, StartError> {
    let first = Instant::now();
    tokio::pin!(drained);
    loop {
        tokio::select! {
            cut = &mut drained => {
                left(cut);
                return Ok(End::Drained);
            }
            name = signals.next() => {
                let ends = matches!(name, "SIGTERM" | "SIGINT");
                if ends && first.elapsed() >= SAME_SIGNAL {
                    tracing::warn!(signal = name, "second signal: cutting what is left");
                    break;
                }
            }
        }
    }
    hurry.now();
    if let Ok(cut) = tokio::time::timeout(LAST_WORDS, drained).await {
        left(cut);
    }
    Ok(End::Cut)
}

fn left(cut: u64) {
    match cut {
        0 => tracing::info!("drained"),
        exchanges => tracing::warn!(exchanges, "left: these were cut before they had ended"),
    }
}

/// Told whenever the configuration's file has changed.
fn follow(
    configuration: Option<&Configuration>,
) -> Result<(mpsc::Receiver<()>, Option<Watch>), StartError> {
    let (tell, told) = mpsc::channel(1);
    let file = configuration.and_then(|it| Some((it.source.file.clone()?, it.seen)));
    let watch = file.map(|(file, seen)| {
        // One that waits already stands for this one too.
        watch("configuration", vec![file], seen, move || {
            let _ = tell.try_send(());
        })
    });
    let watch = watch.transpose().map_err(|error| StartError::new("configuration watch", error))?;
    Ok((told, watch))
}

/// Where the plan in force came from.
struct Configuration {
    source: Source,
    /// What its file held when it was read last, in short.
    seen: u64,
}

impl Configuration {
    fn new(source: Source) -> Self {
        let seen = fingerprint(&source.file);
        Self { source, seen }
    }

    /// Its file has changed: puts it in force, unless somebody has asked for that meanwhile, and whether
    /// it was taken or refused.
    async fn follow(&mut self, server: &mut Server) {
        // A file that is away for a moment is being replaced.
        let there = self.source.file.as_ref().is_some_and(|file| file.exists());
        if there && fingerprint(&self.source.file) != self.seen {
            let _ = self.reload(server, "its file has changed").await;
        } else {
            tracing::debug!("the configuration's file has changed, and was read meanwhile");
        }
    }

    /// Reads it again, under the flags and variables of the start, and puts it in force.
    ///
    /// # Errors
    /// Everything that is wrong with it; the old one stays in force. All of it has been logged.
    async fn reload(&mut self, server: &mut Server, why: &str) -> Result<Reloaded, Vec<String>> {
        // Looked at before it is read: a change in between is a change the next time.
        self.seen = fingerprint(&self.source.file);
        let outcome = match config::load(self.source.clone()) {
            Ok(plan) => server.reload(plan).await.map_err(|errors| words(&errors)),
            Err(faults) => Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>()),
        };
        server.reloads().note(outcome.as_ref().err().map(|faults| faults.join("; ")));
        match outcome {
            Ok(changes) => {
                tracing::info!(why, "reloaded: {changes}");
                Ok(Reloaded { changed: changes.changed, not_live: changes.not_live })
            }
            Err(faults) => {
                for fault in &faults {
                    tracing::error!("not reloaded: {fault}");
                }
                tracing::error!(
                    why,
                    faults = faults.len(),
                    "not reloaded: the old configuration stays in force"
                );
                Err(faults)
            }
        }
    }
}

fn words(errors: &[StartError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
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

pub(super) fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined2())?,
        })
    }

    /// The name of the next signal.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.hangup.recv() => "SIGHUP",
            _ = self.user.recv() => "SIGUSR2",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
