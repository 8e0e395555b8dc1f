//! `ravelin warm`: makes the best coded variants of a Console ahead of time, for an image layer or a
//! volume that replicas share, so that none of them pays for it.

mod fetch;
mod summary;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::ArgMatches;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::fs::{Access, access};

use self::fetch::File;
use self::summary::size;
use crate::command::{USAGE, print};
use crate::config::parse;
use crate::pipeline::coding::encode::{Unfinished, encode};
use crate::pipeline::coding::shelf::{Shelf, hash};
use crate::pipeline::coding::{Coding, Level, media};
use crate::upstream::plan::{Address, EndpointPlan, TlsPlan};

/// The most expensive first, so that the last thread to end has the least to do.
const CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

/// What the user wants.
#[derive(Debug)]
pub struct Order {
    upstream: String,
    domain: String,
    path: String,
    into: PathBuf,
    ca: Option<PathBuf>,
    jobs: Option<u16>,
}

impl Order {
    /// What the arguments say.
    pub fn new(matches: &ArgMatches) -> Self {
        let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
        Self {
            upstream: text("upstream"),
            domain: text("domain"),
            path: text("path"),
            into: matches.get_one::<PathBuf>("into").cloned().unwrap_or_default(),
            ca: matches.get_one::<PathBuf>("ca").cloned(),
            jobs: matches.get_one::<u16>("jobs").copied(),
        }
    }
}

/// Fetches, codes, writes, and says what it saves.
pub fn warm(order: &Order) -> ExitCode {
    let Some(endpoint) = endpoint(&order.upstream) else {
        return wrong("--upstream", &order.upstream, "an address such as h2c://127.0.0.1:8080");
    };
    if parse::authority(&order.domain).is_none() {
        return wrong("--domain", &order.domain, "a host such as id.example.com");
    }
    if !order.path.starts_with('/') {
        return wrong("--path", &order.path, "a path such as /ui/console/");
    }
    // Before minutes of work are spent on what cannot be written.
    if let Err(why) = writable(&order.into) {
        eprintln!("warm: {}: {why}", order.into.display());
        return ExitCode::FAILURE;
    }
    let tls = TlsPlan { ca: order.ca.clone(), ..TlsPlan::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let files = match runtime {
        Ok(runtime) => runtime.block_on(fetch::all(&endpoint, &tls, &order.domain, &order.path)),
        Err(error) => Err(error.to_string()),
    };
    let files = match files {
        Ok(files) => files,
        Err(why) => {
            eprintln!("warm: {}: {why}", order.upstream);
            return ExitCode::FAILURE;
        }
    };
    let shelf = Shelf::new(order.into.clone(), u64::MAX);
    match code(&files, &shelf, order.jobs) {
        Ok(sizes) => print(&summary::table(&files, &sizes)),
        Err(why) => {
            eprintln!("warm: {}: {why}", order.into.display());
            ExitCode::FAILURE
        }
    }
}

fn writable(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    Ok(access(folder, Access::WRITE_OK)?)
}

fn wrong(flag: &str, found: &str, expected: &str) -> ExitCode {
    eprintln!("{flag}: found \"{}\", expected {expected}", found.escape_debug());
    USAGE.into()
}

fn endpoint(text: &str) -> Option<EndpointPlan> {
    let (protocol, address) = match parse::endpoint(text)? {
        // One replica of several is as good as any other.
        parse::Endpoint::Tcp(protocol, host, port) | parse::Endpoint::Dns(protocol, host, port) => {
            (protocol, Address::Tcp { host, port })
        }
        parse::Endpoint::Unix(protocol, path) => (protocol, Address::Unix(path.into())),
        _ => return None,
    };
    Some(EndpointPlan { name: text.into(), protocol, address })
}

/// Bytes of each variant, by file and coding; the plain body's where coding does not pay.
type Sizes = BTreeMap<(usize, Coding), usize>;

/// Codes all that is worth it, several at once.
fn code(files: &[File], shelf: &Shelf, jobs: Option<u16>) -> Result<Sizes, String> {
    let mut tasks: Vec<(usize, Coding)> = Vec::new();
    for coding in CODINGS {
        let worth = files.iter().enumerate().filter(|(_, file)| file.shrinks());
        tasks.extend(worth.map(|(index, _)| (index, coding)));
    }
    let plain = |index: usize| files.get(index).map_or(0, |file| file.body.len());
    let total = tasks.iter().map(|(index, _)| plain(*index) as u64).sum();
    let progress = Progress::new(total);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = jobs.map_or(processors, usize::from).min(tasks.len());
    let (next, sizes) = (AtomicUsize::new(0), Mutex::new(Sizes::new()));
    let failed = Mutex::new(None::<String>);
    let work = || {
        while let Some((index, coding)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Some(file) = files.get(*index) else { return };
            match one(file, *coding, shelf) {
                Ok(coded) => {
                    progress.done(file, *coding, coded);
                    let mut sizes = sizes.lock().unwrap_or_else(PoisonError::into_inner);
                    sizes.insert((*index, *coding), coded);
                }
                Err(why) => {
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    failed.get_or_insert(why);
                    next.store(tasks.len(), Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(work);
        }
    });
    progress.end();
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(why) => Err(why),
        None => Ok(sizes.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

/// Makes one variant, unless it is there; its size, or the plain one where it does not pay.
fn one(file: &File, coding: Coding, shelf: &Shelf) -> Result<usize, String> {
    let hash = hash(&file.body);
    if let Some(there) = shelf.get(&hash, file.body.len(), coding) {
        return Ok(there.len());
    }
    let coded = encode(coding, Level::Best, &file.body, || true).map_err(|error| match error {
        Unfinished::Stopped => "stopped".to_owned(),
        Unfinished::Failed(error) => error.to_string(),
    })?;
    if !media::pays(file.body.len() as u64, coded.len() as u64) {
        return Ok(file.body.len());
    }
    shelf.put(&hash, coding, &coded).map_err(|error| error.to_string())?;
    Ok(coded.len())
}

/// A bar on a terminal, a line for each variant elsewhere; on standard error.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn new(total: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        if let Ok(style) =
            ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {elapsed} {msg}")
        {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    fn done(&self, file: &File, coding: Coding, coded: usize) {
        let (name, plain) = (file.name(), file.body.len());
        match &self.0 {
            Some(bar) => {
                bar.set_message(format!("{name} {}", coding.name()));
                bar.inc(plain as u64);
            }
            None => eprintln!("{name} {}: {} of {}", coding.name(), size(coded), size(plain)),
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
