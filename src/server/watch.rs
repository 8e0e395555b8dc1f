//! When to read the configuration again: soon after its file has changed, however it changes.
//!
//! As with certificates, folders are watched rather than the file: editors and deployments replace
//! it, and Kubernetes swaps the `..data` link that its own link goes through. What counts is what
//! the file holds: a touch changes nothing. Where the kernel says nothing, it is looked at every
//! half minute.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};

/// After the last of a burst of events: an editor writes in pieces.
const QUIET: Duration = Duration::from_millis(200);
/// A folder that never rests must not keep a new configuration from being read.
const QUIET_AT_MOST: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_secs(30);

/// Watches as long as it lives.
pub(super) struct Watch {
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

/// Calls `changed`, on a thread of its own, after the file has come to hold something else.
///
/// # Errors
/// Where no thread can be had.
pub(super) fn watch(file: PathBuf, changed: impl Fn() + Send + 'static) -> std::io::Result<Watch> {
    let (wake, woken) = mpsc::channel();
    // Before the thread begins: what changes from here on is noticed.
    let mut seen = fs::read(&file).ok();
    let mut folders = Folders::new(wake.clone());
    folders.follow(&file);
    let run = move || {
        while wait(&woken) {
            let now = fs::read(&file).ok();
            // A file that is away for a moment is being replaced.
            if now.is_some() && now != seen {
                seen = now;
                changed();
            }
            folders.follow(&file);
        }
    };
    let thread = std::thread::Builder::new().name("configuration".to_owned()).spawn(run)?;
    Ok(Watch { wake, thread: Some(thread) })
}

/// Waits until it is time to look; false where the end has come.
fn wait(woken: &Receiver<Wake>) -> bool {
    match woken.recv_timeout(POLL) {
        Err(RecvTimeoutError::Timeout) => return true,
        Ok(Wake::Changed) => {}
        _ => return false,
    }
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

/// The folders that the kernel watches for us.
struct Folders {
    watcher: Option<RecommendedWatcher>,
    followed: BTreeSet<PathBuf>,
}

impl Folders {
    fn new(wake: Sender<Wake>) -> Self {
        let on_event = move |event: notify::Result<Event>| {
            // Reading is an event too: our own must not wake us.
            if event.map_or(true, |event| !event.kind.is_access()) {
                drop(wake.send(Wake::Changed));
            }
        };
        let watcher = notify::recommended_watcher(on_event)
            .inspect_err(
                |error| tracing::warn!(%error, "the configuration is not watched, only polled"),
            )
            .ok();
        Self { watcher, followed: BTreeSet::new() }
    }

    /// Follows the folders in which the file, and what it links to, are now.
    fn follow(&mut self, file: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        let places = [Some(file.to_owned()), fs::canonicalize(file).ok()];
        let folder = |file: PathBuf| {
            let folder = file.parent().map(Path::to_owned)?;
            Some(if folder.as_os_str().is_empty() { ".".into() } else { folder })
        };
        let wanted: BTreeSet<_> = places.into_iter().flatten().filter_map(folder).collect();
        for folder in self.followed.difference(&wanted) {
            // Gone already, as an old `..data` target is.
            drop(watcher.unwatch(folder));
        }
        // Asked again for a folder, the kernel follows the one that has this name now.
        for folder in &wanted {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                tracing::debug!(folder = %folder.display(), %error, "a folder is only polled");
            }
        }
        self.followed = wanted;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn told(woken: &Receiver<()>) -> bool {
        woken.recv_timeout(Duration::from_secs(5)).is_ok()
    }

    #[test]
    fn kubernetes_swap_of_links_and_a_rename_are_changes_and_a_touch_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, text) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("ravelin.yaml"), text).unwrap();
        }
        symlink("..1", path("..data")).unwrap();
        symlink("..data/ravelin.yaml", path("ravelin.yaml")).unwrap();
        let (tell, woken) = mpsc::channel();
        let tell = move || {
            let _ = tell.send(());
        };
        let _watch = watch(path("ravelin.yaml"), tell).unwrap();
        symlink("..2", path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
        fs::remove_dir_all(path("..1")).unwrap();
        assert!(told(&woken), "a swapped link");
        fs::write(path("new"), "three").unwrap();
        fs::rename(path("new"), path("ravelin.yaml")).unwrap();
        assert!(told(&woken), "a rename over it");
        fs::write(path("ravelin.yaml"), "three").unwrap();
        fs::write(path("beside"), "x").unwrap();
        fs::write(path("ravelin.yaml"), "four").unwrap();
        assert!(told(&woken), "written in place");
        assert!(woken.recv_timeout(Duration::from_millis(300)).is_err(), "each change once");
    }
}
