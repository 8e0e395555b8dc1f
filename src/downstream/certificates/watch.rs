//! When to load certificates anew: soon after their files change, however they change.
//!
//! Folders are watched rather than files, because files are replaced more often than written: a
//! rename over the old one, or Kubernetes' swap of the `..data` link that the file's own link goes
//! through. Where the kernel says nothing (network file systems, a folder made anew), the contents
//! are compared every half minute.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::{Report, Store};

/// After the last of a burst of events: a certificate and its key are two files.
const QUIET: Duration = Duration::from_millis(200);
/// A folder that never rests must not keep a new certificate from being used.
const QUIET_AT_MOST: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_secs(30);

/// Watches as long as it lives.
#[derive(Debug)]
pub struct Watch {
    wake: Sender<Wake>,
    thread: Option<JoinHandle<()>>,
}

enum Wake {
    Changed,
    End,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Both fail only where the thread has ended already.
        drop(self.wake.send(Wake::End));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Watches the files of `store` on a thread of its own and reloads them when they change.
/// `on_reload` is told what came of it, after it has been logged; fails where no thread can be had.
pub fn watch(
    store: Arc<Store>,
    on_reload: impl FnMut(&Report) + Send + 'static,
) -> std::io::Result<Watch> {
    watch_every(store, POLL, on_reload)
}

pub(super) fn watch_every(
    store: Arc<Store>,
    poll: Duration,
    on_reload: impl FnMut(&Report) + Send + 'static,
) -> std::io::Result<Watch> {
    let (wake, woken) = mpsc::channel();
    let mut folders = Folders::new(wake.clone());
    // Before the thread begins: what changes from here on is noticed.
    let seen = fingerprint(&store);
    folders.follow(&store);
    let thread = std::thread::Builder::new()
        .name("certificates".to_owned())
        .spawn(move || run(&store, seen, &mut folders, &woken, poll, on_reload))?;
    Ok(Watch { wake, thread: Some(thread) })
}

fn run(
    store: &Store,
    mut seen: u64,
    folders: &mut Folders,
    woken: &Receiver<Wake>,
    poll: Duration,
    mut on_reload: impl FnMut(&Report),
) {
    // Once at the start: the store may be older than the first look at its files.
    let mut first = true;
    loop {
        // Looked at before it is loaded: a change in between is a change the next time.
        let current = fingerprint(store);
        if first || current != seen {
            seen = current;
            let report = store.reload();
            log(&report);
            if !first || !report.changed.is_empty() || !report.failed.is_empty() {
                on_reload(&report);
            }
            first = false;
        }
        folders.follow(store);
        match woken.recv_timeout(poll) {
            Ok(Wake::Changed) if settle(woken) => {}
            Err(RecvTimeoutError::Timeout) => {}
            _ => return,
        }
    }
}

/// Waits until it is quiet; false where the end has come.
fn settle(woken: &Receiver<Wake>) -> bool {
    let latest = Instant::now() + QUIET_AT_MOST;
    loop {
        let wait = QUIET.min(latest.saturating_duration_since(Instant::now()));
        match woken.recv_timeout(wait) {
            Ok(Wake::Changed) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            _ => return false,
        }
    }
}

fn log(report: &Report) {
    for file in &report.changed {
        tracing::info!(file = %file.display(), "a new certificate is in use");
    }
    for error in &report.failed {
        tracing::error!(%error, "a new certificate is not used; the last good one stays");
    }
}

/// What the files hold, or that they cannot be read.
fn fingerprint(store: &Store) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in store.files() {
        fs::read(file).map_err(|error| error.kind() as u8).hash(&mut hasher);
    }
    hasher.finish()
}

/// The folders that the kernel watches for us.
struct Folders {
    watcher: Option<RecommendedWatcher>,
    followed: BTreeSet<PathBuf>,
}

impl Folders {
    fn new(wake: Sender<Wake>) -> Self {
        let on_event = move |event: notify::Result<Event>| {
            if event.map_or(true, |event| is_change(event.kind)) {
                drop(wake.send(Wake::Changed));
            }
        };
        let watcher = notify::recommended_watcher(on_event)
            .inspect_err(|error| tracing::warn!(%error, "files are not watched, only polled"))
            .ok();
        Self { watcher, followed: BTreeSet::new() }
    }

    /// Follows the folders in which the files, and what they link to, are now. Asked again for a
    /// folder that is followed already, the kernel follows the one that has this name now.
    fn follow(&mut self, store: &Store) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: BTreeSet<PathBuf> = store
            .files()
            .flat_map(|file| [Some(file.clone()), fs::canonicalize(file).ok()])
            .flatten()
            .filter_map(|file| file.parent().map(PathBuf::from))
            .map(|folder| if folder.as_os_str().is_empty() { ".".into() } else { folder })
            .collect();
        for folder in self.followed.difference(&wanted) {
            // Gone already, as an old `..data` target is.
            drop(watcher.unwatch(folder));
        }
        for folder in &wanted {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                tracing::debug!(folder = %folder.display(), %error, "a folder is only polled");
            }
        }
        self.followed = wanted;
    }
}

/// Reading a file is an event too: our own reading must not wake us.
const fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(kind) => matches!(kind, AccessKind::Close(AccessMode::Write)),
        _ => true,
    }
}
