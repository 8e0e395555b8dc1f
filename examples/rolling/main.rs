//! Restarts a rolling set of ZITADEL stand-ins behind Ravelin under open-loop load, and counts what
//! that costs its clients.
//!
//! ```text
//! rolling --ravelin target/release/ravelin [--restarts 10] [--signal term|kill|both] [--drain]
//!         [--replicas 3] [--rate 200] [--pause 1500ms]
//! ```
//!
//! The replicas are processes of their own that begin and end as the real server does: REST answers
//! 503 for a second after they are ready, SIGTERM cuts every connection after 10 ms without a GOAWAY
//! (`zitadel.md` §13.4, §13.5). One restart is one round through all replicas. Every write has an id,
//! which the replica puts into a common ledger when it has done it: whatever stands there twice was
//! done twice, and a write that failed and does not stand there was not done.
//!
//! Fails (1) when a read failed, when a write was done twice or failed although it provably was not
//! processed, or when a stream ended without a status; with `--drain` when anything failed at all.

#![allow(unreachable_pub, reason = "a program of several files, not a library")]

mod admin;
mod calls;
mod load;
mod processes;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use crate::load::Load;
use crate::processes::{Ravelin, Replica, Signal};

/// What a run is told.
pub struct Options {
    ravelin: PathBuf,
    restarts: usize,
    signals: Vec<Signal>,
    drain: bool,
    replicas: usize,
    rate: u32,
    pause: Duration,
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq("replica").is_some() {
        return processes::replica(arguments.collect()).await;
    }
    let options = options(arguments)?;
    let folder = tempfile::tempdir()?;
    let ledger = folder.path().join("ledger");
    let mut replicas = Vec::new();
    for _ in 0..options.replicas {
        replicas.push(Replica::start(&ledger).await?);
    }
    let ravelin = Ravelin::start(&options.ravelin, &replicas, folder.path()).await?;
    let load = Load::begin(ravelin.address, options.rate);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for round in 0..options.restarts {
        let signal = options.signals[round % options.signals.len()];
        for replica in &mut replicas {
            restart(replica, signal, &options, &ravelin).await?;
        }
    }
    let calls = load.end().await;
    let retries = admin::metrics(ravelin.admin).await?;
    let written = processes::ledger(&ledger);
    let report = report::Report::of(calls, &written, options.drain);
    report.print(&retries);
    if report.failed() {
        let records = ravelin.records();
        println!("records of Ravelin's failures, the last of them:");
        records.iter().rev().take(20).rev().for_each(|line| println!("  {line}"));
        return Err("an expectation was not met".into());
    }
    Ok(())
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
        restarts: 10,
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
            "--restarts" => options.restarts = value()?.parse()?,
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
