//! Restarts a rolling set of ZITADEL stand-ins behind Ravelin under open-loop load, and counts what
//! that costs its clients. Or it changes Ravelin, or lets a replica misbehave, or takes all away.
//!
//! ```text
//! rolling --ravelin target/release/ravelin [--replicas 3] [--rate 200]
//!         [--restarts 10] [--signal term|kill|both] [--drain] [--pause 1500ms]
//!         | --reloads 5 | --upgrades 5 | --fault slow|held|blackholed|resets|503 | --gone 60s
//! ```
//!
//! The replicas are processes of their own that begin and end as the real server does: REST answers
//! 503 for a second after they are ready, SIGTERM cuts every connection after 10 ms without a GOAWAY
//! (`zitadel.md` §13.4, §13.5). One restart is one round through all replicas. Every write has an id,
//! which the replica puts into a common ledger when it has done it: whatever stands there twice was
//! done twice, and a write that failed and does not stand there was not done.
//!
//! Fails (1) when a read failed, when a write was done twice or failed although it provably was not
//! processed, or when a stream ended without a status; with `--drain`, reloads and upgrades when
//! anything failed at all. Reloads and upgrades also fail when a connection broke, or when calls took
//! three times as long as before. A fault may cost something for five seconds, then no read and no
//! time. When all are gone every call must be answered, within bounded memory, and all is well a
//! second after they are back.

#![allow(unreachable_pub, reason = "a program of several files, not a library")]

mod admin;
mod calls;
mod changes;
mod faults;
mod front;
mod load;
mod net;
mod processes;
mod report;
mod spans;

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::changes::Change;
use crate::faults::Fault;
use crate::front::Ravelin;
use crate::load::Load;
use crate::processes::{Replica, Signal};

/// How often something is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(10);
/// Until connections are open, and REST is up.
const SETTLED: Duration = Duration::from_millis(1500);
/// How long is measured before something happens.
const BEFORE: Duration = Duration::from_secs(4);
/// Between two changes.
const PAUSE: Duration = Duration::from_millis(300);

/// What a run is told.
pub struct Options {
    ravelin: PathBuf,
    event: Event,
    signals: Vec<Signal>,
    drain: bool,
    replicas: usize,
    rate: u32,
    pause: Duration,
}

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    Restarts(usize),
    Changes(Change, usize),
    Fault(Fault),
    Gone(Duration),
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq("replica").is_some() {
        return processes::replica(arguments.collect()).await;
    }
    let options = options(arguments)?;
    match options.event {
        Event::Restarts(times) => restarts(&options, times).await,
        Event::Changes(change, times) => changes::run(&options, change, times).await,
        Event::Fault(fault) => faults::run(&options, fault).await,
        Event::Gone(time) => faults::gone(&options, time).await,
    }
}

/// Ravelin and what is behind it.
pub struct Scene {
    ravelin: Ravelin,
    replicas: Vec<Replica>,
    ledger: PathBuf,
    _folder: TempDir,
}

impl Scene {
    /// Starts everything.
    async fn open(options: &Options) -> Result<Self, Failure> {
        Self::open_with(options, false).await
    }

    /// `apart`: the last replica has a network of its own.
    async fn open_with(options: &Options, apart: bool) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let ledger = folder.path().join("ledger");
        let mut replicas = Vec::new();
        for place in 1..=options.replicas {
            let replica = if apart && place == options.replicas {
                Replica::start_apart(&ledger).await
            } else {
                Replica::start(&ledger).await
            };
            replicas.push(replica?);
        }
        let ravelin = Ravelin::start(&options.ravelin, &replicas, folder.path()).await?;
        Ok(Self { ravelin, replicas, ledger, _folder: folder })
    }
}

async fn restarts(options: &Options, times: usize) -> Result<(), Failure> {
    let Scene { ravelin, mut replicas, ledger, _folder } = Scene::open(options).await?;
    let load = Load::begin(ravelin.address, options.rate);
    tokio::time::sleep(SETTLED).await;
    for round in 0..times {
        let signal = options.signals[round % options.signals.len()];
        for replica in &mut replicas {
            restart(replica, signal, options, &ravelin).await?;
        }
    }
    let seen = load.end().await;
    let written = processes::ledger(&ledger);
    let report = report::Report::of(&seen.outcomes, &written, options.drain);
    report.print(&admin::metrics(ravelin.admin).await?);
    changes::verdict(&ravelin, report.failed())
}

/// One replica, as an orchestrator does it: the next goes when this one is ready.
async fn restart(
    replica: &mut Replica,
    signal: Signal,
    options: &Options,
    ravelin: &Ravelin,
) -> Result<(), Failure> {
    if options.drain {
        admin::drain(ravelin.admin, &replica.endpoint()).await?;
    }
    replica.stop(signal).await?;
    replica.start_again().await?;
    if options.drain {
        admin::undrain(ravelin.admin, &replica.endpoint()).await?;
    }
    tokio::time::sleep(options.pause).await;
    Ok(())
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, Failure> {
    let mut options = Options {
        ravelin: "target/release/ravelin".into(),
        event: Event::Restarts(10),
        signals: vec![Signal::Term, Signal::Kill],
        drain: false,
        replicas: 3,
        rate: 200,
        // Shorter than a second and REST is up nowhere most of the time.
        pause: Duration::from_millis(1500),
    };
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name}: a value is missing"));
        match name.as_str() {
            "--ravelin" => options.ravelin = value()?.into(),
            "--restarts" => options.event = Event::Restarts(value()?.parse()?),
            "--reloads" => {
                options.event = Event::Changes(Change::Configuration, value()?.parse()?);
            }
            "--upgrades" => options.event = Event::Changes(Change::Process, value()?.parse()?),
            "--fault" => {
                let name = value()?;
                options.event = Event::Fault(Fault::named(&name).ok_or(name)?);
            }
            "--gone" => options.event = Event::Gone(humantime::parse_duration(&value()?)?),
            "--replicas" => options.replicas = value()?.parse()?,
            "--rate" => options.rate = value()?.parse()?,
            "--pause" => options.pause = humantime::parse_duration(&value()?)?,
            "--drain" => options.drain = true,
            "--signal" => {
                options.signals = match value()?.as_str() {
                    "term" => vec![Signal::Term],
                    "kill" => vec![Signal::Kill],
                    "both" => vec![Signal::Term, Signal::Kill],
                    other => return Err(format!("--signal: {other}").into()),
                }
            }
            other => return Err(format!("unknown: {other}").into()),
        }
    }
    Ok(options)
}
