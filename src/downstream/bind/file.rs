//! The file of a Unix socket: whose it is, and when it goes.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Removes a Unix socket's file when dropped, unless another process has replaced it.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
    ours: Ours,
}

/// Whether files that another process has made are this one's to remove: once that process is known
/// to leave.
#[derive(Clone, Debug, Default)]
pub struct Ours(Arc<AtomicBool>);

impl Ours {
    /// The other process leaves.
    pub fn become_true(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = self.ours.0.load(Ordering::Acquire);
        if ours && identity(&self.path).is_ok_and(|found| found == self.identity) {
            // Nobody is left to be told if this fails; the next start replaces the stale file.
            drop(fs::remove_file(&self.path));
        }
    }
}

impl SocketFile {
    /// The file of a socket that this process has opened.
    ///
    /// # Errors
    /// Where there is no such file.
    pub fn own(path: &Path) -> io::Result<Self> {
        let ours = Ours::default();
        ours.become_true();
        Self::adopt(path, &ours)
    }

    /// The file of a socket that another process has opened, and leaves to this one in time.
    ///
    /// # Errors
    /// Where there is no such file.
    pub fn adopt(path: &Path, ours: &Ours) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)?, ours: ours.clone() })
    }

    /// Leaves the file where it is: another process has the socket now.
    pub fn leave(mut self) {
        // No file has this identity.
        self.identity = (0, 0);
    }
}

/// Removes a socket that nobody accepts on; whatever else is there is left alone.
pub(super) fn remove_stale(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file that is no socket is in the way",
        ));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}
