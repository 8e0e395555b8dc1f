//! One replica that misbehaves while the others serve; and all of them gone for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::calls::{Effect, Kind};
use crate::changes::verdict;
use crate::load::{Load, Outcome};
use crate::processes::Signal;
use crate::report::Report;
use crate::spans::Span;
use crate::{BEFORE, Failure, Options, SETTLED, Scene};

/// By then everything must be well again.
const RECOVERED: Duration = Duration::from_secs(5);
/// How long it is watched after that.
const AFTER: Duration = Duration::from_secs(6);
/// How soon Ravelin must have noticed that a replica is back.
const NOTICED: Duration = Duration::from_secs(1);
/// How much memory may be added while nobody answers.
const MEMORY: u64 = 64 * 1024;

/// What is wrong with a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It takes half a second longer for everything.
    Slow,
    /// Its connections are taken, and nobody answers.
    Held,
    /// Its packets are dropped. Needs root.
    Blackholed,
    /// It resets every stream.
    Resets,
    /// It answers 503 to everything.
    Unavailable,
}

impl Fault {
    /// The fault with this name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "slow" => Self::Slow,
            "held" => Self::Held,
            "blackholed" => Self::Blackholed,
            "resets" => Self::Resets,
            "503" => Self::Unavailable,
            _ => return None,
        })
    }
}

/// Lets the last replica misbehave.
pub async fn run(options: &Options, fault: Fault) -> Result<(), Failure> {
    let apart = fault == Fault::Blackholed;
    let Scene { ravelin, mut replicas, ledger, _folder } = Scene::open_with(options, apart).await?;
    let load = Load::begin(ravelin.address, options.rate);
    sleep(SETTLED).await;
    let began = Instant::now();
    sleep(BEFORE).await;
    let replica = replicas.last_mut().ok_or("there is no replica")?;
    let broken = Instant::now();
    match fault {
        Fault::Slow => replica.obey("slow-head=500")?,
        Fault::Held => replica.hold()?,
        Fault::Blackholed => replica.vanish()?,
        Fault::Resets => replica.obey("reset")?,
        Fault::Unavailable => replica.obey("status=503")?,
    }
    let recovered = broken + RECOVERED;
    sleep(RECOVERED + AFTER).await;
    let ended = Instant::now();
    let seen = load.end().await;
    let report = Report::of(&seen.outcomes, &crate::processes::ledger(&ledger), false);
    report.print(&crate::admin::metrics(ravelin.admin).await?);
    let before = Span::of(&seen.outcomes, began, broken);
    let after = Span::of(&seen.outcomes, recovered, ended);
    println!("fault                                       {fault:?}");
    println!("before                                      {before}");
    let during = Span::of(&seen.outcomes, broken, recovered);
    println!("its first five seconds                      {during}");
    println!("after them                                  {after}");
    let failed = after.failed_reads > 0 || after.is_slow(&before) || report.twice() > 0;
    verdict(&ravelin, failed)
}

/// Kills every replica, and starts them again when the time is over.
pub async fn gone(options: &Options, time: Duration) -> Result<(), Failure> {
    let Scene { ravelin, mut replicas, ledger, _folder } = Scene::open(options).await?;
    let load = Load::begin(ravelin.address, options.rate);
    sleep(SETTLED + BEFORE).await;
    let memory = ravelin.memory();
    for replica in &mut replicas {
        replica.stop(Signal::Kill).await?;
    }
    let (left, mut most) = (Instant::now(), memory);
    while left.elapsed() < time {
        sleep(Duration::from_millis(200)).await;
        most = most.max(ravelin.memory());
    }
    for replica in &mut replicas {
        replica.start_again().await?;
    }
    let back = Instant::now();
    sleep(RECOVERED).await;
    let ended = Instant::now();
    let seen = load.end().await;
    let report = Report::of(&seen.outcomes, &crate::processes::ledger(&ledger), false);
    report.print(&crate::admin::metrics(ravelin.admin).await?);
    // REST is back a second after the rest: that is how long ZITADEL takes for it.
    let rest = back + NOTICED + crate::processes::DIALS;
    let late = |one: &&Outcome| {
        let since = if one.kind.is_rest() { rest } else { back + NOTICED };
        (since..ended).contains(&one.began) && one.told.is_err()
    };
    let late = seen.outcomes.iter().filter(late).count();
    let silent: Vec<&Outcome> = seen.outcomes.iter().filter(|one| is_silent(one)).collect();
    let longest = seen.outcomes.iter().filter(|one| one.kind.effect != Effect::Stream);
    let longest = longest.map(|one| one.took).max().unwrap_or_default();
    println!("upstream gone for                           {time:?}");
    println!(
        "memory before, most, after                  {memory}, {most}, {} KiB",
        ravelin.memory()
    );
    println!("longest wait for an answer                  {} ms", longest.as_millis());
    println!("calls without an answer                     {}", silent.len());
    println!("failed although it was back for a second    {late}");
    let mut statuses = BTreeMap::<String, u64>::new();
    for one in seen.outcomes.iter().filter(|one| one.told.is_err()) {
        *statuses.entry(status(one.kind, &one.told)).or_default() += 1;
    }
    println!("answered with                               {statuses:?}");
    let failed = late > 0
        || !silent.is_empty()
        || most > memory + MEMORY
        || report.twice() > 0
        || statuses.keys().any(|status| !RIGHT.contains(&&**status));
    verdict(&ravelin, failed)
}

/// What may be answered when nobody is there, or one has gone away meanwhile.
const RIGHT: [&str; 4] = ["200: 14", "200: grpc-status: 14", "503", "502"];

fn is_silent(one: &Outcome) -> bool {
    one.told.as_ref().is_err_and(|told| told.contains("no answer"))
}

/// The answer's status, and gRPC's own where it has one.
fn status(kind: &Kind, told: &Result<(), String>) -> String {
    let told = told.as_ref().err().map_or("", |told| told);
    if kind.is_http() {
        return told.chars().take_while(char::is_ascii_digit).collect();
    }
    let status = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    match told.split_once("grpc-status: ") {
        Some((_, rest)) => format!("200: grpc-status: {}", status(rest)),
        None => {
            let (first, rest) = told.split_once(": ").unwrap_or((told, ""));
            format!("{first}: {}", status(rest))
        }
    }
}
