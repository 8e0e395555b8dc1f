//! Tells when files have come to hold something else, however that came about.
//!
//! Folders are watched rather than files, because files are replaced more often than written: a
//! rename over the old one, or Kubernetes' swap of the `..data` link that the file's own link goes
//! through. What counts is what the files hold: a touch changes nothing. Where the kernel says nothing
//! (network file systems, a folder made anew), they are looked at every half minute.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// How often files are looked at where the kernel says nothing.
pub const POLL: Duration = Duration::from_secs(30);
/// After the last of a burst of events: an editor writes in pieces, a certificate and its key are two.
const QUIET: Duration = Duration::from_millis(200);
/// A folder that never rests must not keep what is new from being used.
const QUIET_AT_MOST: Duration = Duration::from_secs(2);
/// As much of a file is looked at.
const LOOK: u64 = 64 << 20;

/// Watches as long as it lives.
#[derive(Debug)]
pub struct Watch {
    wake: Sender<Wake>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
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

/// What files hold, in short, or that they cannot be read.
pub fn fingerprint<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        match read(file, &mut hasher) {
            Ok(length) => hasher.write_u64(length),
            Err(error) => hasher.write_i32(error.raw_os_error().unwrap_or(-1)),
        }
    }
    hasher.finish()
}

fn read(file: &Path, hasher: &mut DefaultHasher) -> io::Result<u64> {
    let mut file = File::open(file)?.take(LOOK);
    let (mut length, mut buffer) = (0, [0; 8192]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(count) => {
                hasher.write(buffer.get(..count).unwrap_or_default());
                length += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Calls `changed`, on a thread with this name, whenever the files have come to hold something else
/// than what had the fingerprint `seen`: the one of the moment before they were read.
///
/// # Errors
/// Where no thread can be had.
pub fn watch(
    name: &str,
    files: Vec<PathBuf>,
    seen: u64,
    changed: impl FnMut() + Send + 'static,
) -> io::Result<Watch> {
    watch_every(POLL, name, files, seen, changed)
}

/// The same with another pause between looks of its own accord.
///
/// # Errors
/// As [`watch`].
pub fn watch_every(
    poll: Duration,
    name: &str,
    files: Vec<PathBuf>,
    mut seen: u64,
    mut changed: impl FnMut() + Send + 'static,
) -> io::Result<Watch> {
    let (wake, woken) = mpsc::channel();
    let mut folders = Folders::new(wake.clone());
    folders.follow(&files);
    let run = move || {
        loop {
            // Looked at before it is read: a change in between is a change the next time.
            let current = fingerprint(&files);
            if current != seen {
                seen = current;
                changed();
            }
            folders.follow(&files);
            if !wait(&woken, poll) {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
    Ok(Watch { wake, thread: Some(thread) })
}

/// Waits until it is time to look; false where the end has come.
fn wait(woken: &Receiver<Wake>, poll: Duration) -> bool {
    match woken.recv_timeout(poll) {
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
    /// The names of the files in them.
    names: Arc<Mutex<BTreeSet<OsString>>>,
}

impl Folders {
    fn new(wake: Sender<Wake>) -> Self {
        let names = Arc::<Mutex<BTreeSet<OsString>>>::default();
        let known = Arc::clone(&names);
        let on_event = move |event: notify::Result<Event>| {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if event.map_or(true, |event| is_change(&event, &known)) {
                drop(wake.send(Wake::Changed));
            }
        };
        let watcher = notify::recommended_watcher(on_event)
            .inspect_err(|error| tracing::warn!(%error, "files are not watched, only polled"))
            .ok();
        Self { watcher, followed: BTreeSet::new(), names }
    }

    /// Follows the folders in which the files, and what they link to, are now. Asked again for a
    /// folder that is followed already, the kernel follows the one that has this name now.
    fn follow(&mut self, files: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else { return };
        let all = files.iter().flat_map(|file| [Some(file.clone()), fs::canonicalize(file).ok()]);
        let all: Vec<PathBuf> = all.flatten().collect();
        let names = all.iter().filter_map(|file| file.file_name().map(OsString::from));
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names.collect();
        let wanted: BTreeSet<PathBuf> = all
            .iter()
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

/// Reading a file is an event too: our own reading must not wake us. Nor must what is written to another
/// file of the folder, which may be the access record.
fn is_change(event: &Event, names: &BTreeSet<OsString>) -> bool {
    let ours = || {
        let mut paths = event.paths.iter().filter_map(|path| path.file_name());
        paths.any(|name| names.contains(name))
    };
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => ours(),
        EventKind::Access(_) => false,
        EventKind::Modify(ModifyKind::Data(_)) => ours(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const NO_POLL: Duration = Duration::from_secs(3600);
    const LONG: Duration = Duration::from_secs(20);

    fn watched(files: &[PathBuf], seen: u64, poll: Duration) -> (Watch, Receiver<()>) {
        let (tell, told) = mpsc::channel();
        let changed = move || {
            let _ = tell.send(());
        };
        (watch_every(poll, "test", files.to_vec(), seen, changed).unwrap(), told)
    }

    #[test]
    fn kubernetes_swap_of_links_and_a_rename_are_changes_and_a_touch_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, text) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("file"), text).unwrap();
        }
        symlink("..1", path("..data")).unwrap();
        symlink("..data/file", path("file")).unwrap();
        let files = [path("file")];
        let (watch, told) = watched(&files, fingerprint(&files), NO_POLL);
        symlink("..2", path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
        fs::remove_dir_all(path("..1")).unwrap();
        told.recv_timeout(LONG).expect("a swapped link");
        fs::write(path("new"), "three").unwrap();
        fs::rename(path("new"), path("file")).unwrap();
        told.recv_timeout(LONG).expect("a rename over it");
        fs::write(path("file"), "three").unwrap();
        fs::write(path("beside"), "x").unwrap();
        fs::write(path("file"), "four").unwrap();
        told.recv_timeout(LONG).expect("written in place");
        drop(watch);
        assert!(told.recv().is_err(), "each change once, and the thread has ended");
    }

    #[test]
    fn what_is_written_to_another_file_of_the_folder_wakes_nobody() {
        use notify::event::{CreateKind, DataChange, RemoveKind};
        let names = BTreeSet::from([OsString::from("tls.crt")]);
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        for (kind, name, expected) in [
            (written, "access.log", false),
            (closed, "access.log", false),
            (written, "tls.crt", true),
            (closed, "tls.crt", true),
            (EventKind::Access(AccessKind::Open(AccessMode::Any)), "tls.crt", false),
            // What comes and goes may be what a link goes through.
            (EventKind::Create(CreateKind::Any), "..data_tmp", true),
            (EventKind::Remove(RemoveKind::Any), "..1", true),
        ] {
            let event = Event::new(kind).add_path(Path::new("/etc/ravelin").join(name));
            assert_eq!(is_change(&event, &names), expected, "{kind:?} {name}");
        }
    }

    #[test]
    fn what_had_changed_before_it_began_is_told_and_so_is_what_the_kernel_does_not_say() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let files = [inner.join("file")];
        fs::write(&files[0], "one").unwrap();
        let seen = fingerprint(&files);
        fs::write(&files[0], "two").unwrap();
        let (_watch, told) = watched(&files, seen, Duration::from_millis(20));
        told.recv_timeout(LONG).expect("changed since it was read");
        fs::remove_dir_all(&inner).unwrap();
        told.recv_timeout(LONG).expect("it is gone");
        fs::create_dir(&inner).unwrap();
        fs::write(&files[0], "three").unwrap();
        told.recv_timeout(LONG).expect("in a folder made anew");
    }

    #[test]
    fn a_fingerprint_tells_contents_and_their_borders_apart() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a", "b"].map(|name| folder.path().join(name));
        let of = |a: &str, b: &str| {
            fs::write(&files[0], a).unwrap();
            fs::write(&files[1], b).unwrap();
            fingerprint(&files)
        };
        let one = of("xy", "z");
        assert_eq!(of("xy", "z"), one);
        assert_ne!(of("x", "yz"), one);
        fs::remove_file(&files[1]).unwrap();
        let without = fingerprint(&files);
        assert_ne!(of("x", ""), without, "an empty one is not a missing one");
    }
}
