//! Ravelin's own changes: reloads and upgrades under load, of which no client may notice anything.

use tokio::time::{Instant, sleep};

use crate::front::{By, Ravelin};
use crate::load::Load;
use crate::report::Report;
use crate::spans::Span;
use crate::{BEFORE, Failure, Options, PAUSE, SETTLED, Scene};

/// What changes.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// The configuration, told by file, signal and call in turn.
    Configuration,
    /// The process.
    Process,
}

/// So many changes, one after the other.
pub async fn run(options: &Options, change: Change, times: usize) -> Result<(), Failure> {
    let Scene { mut ravelin, replicas, ledger, _folder } = Scene::open(options).await?;
    let load = Load::begin(ravelin.address, options.rate);
    sleep(SETTLED).await;
    let began = Instant::now();
    sleep(BEFORE).await;
    let changed = Instant::now();
    for version in 0..times {
        match change {
            Change::Configuration => {
                let by = [By::File, By::Hangup, By::Call][version % 3];
                ravelin.reload(version, by).await?;
            }
            Change::Process => ravelin.upgrade().await?,
        }
        sleep(PAUSE).await;
    }
    let ended = Instant::now();
    let seen = load.end().await;
    let written = crate::processes::ledger(&ledger);
    let report = Report::of(&seen.outcomes, &written, true);
    report.print(&crate::admin::metrics(ravelin.admin).await?);
    let before = Span::of(&seen.outcomes, began, changed);
    let during = Span::of(&seen.outcomes, changed, ended);
    println!("changes                                     {times} ({change:?})");
    println!("before                                      {before}");
    println!("during                                      {during}");
    println!("connections opened, broken                  {}, {}", seen.opened, seen.broken);
    drop(replicas);
    let slow = during.is_slow(&before);
    verdict(&ravelin, report.failed() || seen.broken > 0 || slow)
}

/// The end of a run; shows Ravelin's own records where something was wrong.
pub fn verdict(ravelin: &Ravelin, failed: bool) -> Result<(), Failure> {
    if !failed {
        return Ok(());
    }
    let records = ravelin.records();
    println!("records of Ravelin's failures, the last of them:");
    records.iter().rev().take(20).rev().for_each(|line| println!("  {line}"));
    Err("an expectation was not met".into())
}
