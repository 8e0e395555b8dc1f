//! Handing the listening sockets to the next process, through a Unix socket (the door).
//!
//! The next process connects, is given every listening socket, starts on them, and says that it is
//! ready; only then does this one leave. Both accept on the very same sockets meanwhile, so that no
//! connection is refused, and none that waits in a queue is reset. One that does not get that far
//! changes nothing.
//!
//! ```text
//! next                                         this
//!      connects, "ravelin 1\n"          →
//!                                       ←      what there is (JSON), then the sockets
//!      opens the rest, starts workers
//!      "ready\n"                        →
//!                                       ←      "leaving\n", and drains
//! ```

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, vec};

use serde::{Deserialize, Serialize};

use self::descriptors::{receive, send};
use super::legacy::{Handed, Legacy};
use crate::admin::Drain;
use crate::downstream::bind::{self, Listener, Ours, SocketFile};
use crate::downstream::plan::Address;

mod descriptors;

/// What the next process says first; the number grows when the rest is no longer understood.
const HELLO: &[u8] = b"ravelin 1\n";
const READY: &[u8] = b"ready\n";
const LEAVING: &[u8] = b"leaving\n";
/// How long each step may take that needs nothing but the other's attention.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the next process may take to start.
const START: Duration = Duration::from_secs(60);
/// A manifest is far smaller: thousands of listeners.
const MANIFEST: u32 = 1 << 20;

/// What is handed over, in the order of the descriptors: the listeners', the admin listener's, the
/// door's.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    listeners: Vec<Entry>,
    admin: Option<SocketAddr>,
    /// A version that does not know of it hands none over.
    #[serde(default)]
    drained: Vec<Drain>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    address: Place,
    owns_file: bool,
    sockets: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Where the next process knocks.
pub(super) struct Door {
    listener: tokio::net::UnixListener,
    copy: UnixListener,
    file: SocketFile,
    owner: u32,
}

/// A process that has started on our sockets.
pub(super) struct Successor {
    stream: UnixStream,
    /// Its number, where the system tells.
    pub(super) pid: Option<u32>,
}

/// What the process before this one has handed over.
pub(super) struct Inheritance {
    pub(super) legacy: Legacy,
    door: UnixListener,
    stream: UnixStream,
    ours: Ours,
}

impl Door {
    /// Opens the door, or goes on with the one that was handed over.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub(super) fn open(path: &Path, inherited: Option<(UnixListener, Ours)>) -> io::Result<Self> {
        let (copy, file) = match inherited {
            Some((door, ours)) => (door, SocketFile::adopt(path, &ours)?),
            None => {
                let mut bound = bind::unix(path)?;
                // Whoever comes through it gets every socket: its owner alone.
                fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
                match (bound.sockets.pop(), bound.file) {
                    (Some(Listener::Unix(door)), Some(file)) => (door, file),
                    _ => return Err(io::ErrorKind::InvalidInput.into()),
                }
            }
        };
        copy.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(copy.try_clone()?)?;
        Ok(Self { listener, copy, file, owner: fs::metadata(path)?.uid() })
    }

    /// The next one who knocks and may.
    pub(super) async fn knock(&self) -> (UnixStream, Option<u32>) {
        loop {
            match self.listener.accept().await.and_then(|(stream, _)| self.let_in(stream)) {
                Ok(next) => return next,
                Err(error) => {
                    tracing::warn!(%error, "upgrade: somebody at the door was not let in");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn let_in(&self, stream: tokio::net::UnixStream) -> io::Result<(UnixStream, Option<u32>)> {
        let peer = stream.peer_cred()?;
        if peer.uid() != self.owner {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        Ok((stream, peer.pid().and_then(|pid| u32::try_from(pid).ok())))
    }

    /// One more descriptor of it, for the next process.
    ///
    /// # Errors
    /// Where the system has no more descriptors.
    pub(super) fn copy(&self) -> io::Result<UnixListener> {
        self.copy.try_clone()
    }

    /// It is the next process's from now on.
    pub(super) fn leave(self) {
        self.file.leave();
    }
}

/// Hands everything to whoever has knocked, and waits until it is ready. Blocks.
///
/// # Errors
/// Where it went away or took too long: nothing has changed then.
pub(super) fn offer(
    mut stream: UnixStream,
    pid: Option<u32>,
    legacy: &Legacy,
    door: &UnixListener,
) -> io::Result<Successor> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    expect(&mut stream, HELLO)?;
    let manifest = serde_json::to_vec(&manifest(legacy))?;
    let length = u32::try_from(manifest.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&manifest)?;
    let sockets = legacy.listeners.iter().flat_map(|handed| &handed.sockets).map(AsFd::as_fd);
    let admin = legacy.admin.iter().map(|(_, socket)| socket.as_fd());
    let all: Vec<BorrowedFd<'_>> = sockets.chain(admin).chain([door.as_fd()]).collect();
    send(&stream, &all)?;
    stream.set_read_timeout(Some(START))?;
    expect(&mut stream, READY)?;
    Ok(Successor { stream, pid })
}

impl Successor {
    /// Tells it that it is alone from now on.
    pub(super) fn farewell(mut self) {
        // It goes on in any case: it has all that it needs.
        if let Err(error) = self.stream.write_all(LEAVING) {
            tracing::debug!(%error, "upgrade: the next process was not told");
        }
    }
}

/// What the process behind this door hands over; `None`: there is no such process.
///
/// # Errors
/// Where there is one, and it does not hand over.
pub(super) fn inherit(path: &Path) -> io::Result<Option<Inheritance>> {
    let mut stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(HELLO)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MANIFEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut manifest = vec![0; length as usize];
    stream.read_exact(&mut manifest)?;
    let manifest: Manifest = serde_json::from_slice(&manifest)?;
    let count = manifest.listeners.iter().map(|entry| entry.sockets).sum::<usize>();
    let all = receive(&stream, count + usize::from(manifest.admin.is_some()) + 1)?;
    let (legacy, door) = sort(manifest, all.into_iter()).ok_or(io::ErrorKind::InvalidData)?;
    let ours = legacy.ours.clone();
    Ok(Some(Inheritance { legacy, door, stream, ours }))
}

impl Inheritance {
    /// The sockets; what is left is asked for later.
    pub(super) fn take(&mut self) -> Legacy {
        std::mem::take(&mut self.legacy)
    }

    /// The door, where our own successor will come.
    ///
    /// # Errors
    /// Where the system has no more descriptors.
    pub(super) fn door(&self) -> io::Result<(UnixListener, Ours)> {
        Ok((self.door.try_clone()?, self.ours.clone()))
    }

    /// Tells the process before this one that it may leave. The files of its sockets stay its own until
    /// it says that it does.
    pub(super) fn ready(mut self) {
        match self.stream.write_all(READY).and_then(|()| expect(&mut self.stream, LEAVING)) {
            Ok(()) => self.ours.become_true(),
            // It accepts on the same sockets as long as it is there: nothing is lost.
            Err(error) => {
                tracing::warn!(%error, "upgrade: the process before this one does not say that it leaves");
            }
        }
    }
}

fn expect(stream: &mut UnixStream, words: &[u8]) -> io::Result<()> {
    let mut said = vec![0; words.len()];
    stream.read_exact(&mut said)?;
    if said == words { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn manifest(legacy: &Legacy) -> Manifest {
    let entry = |handed: &Handed| Entry {
        name: handed.name.clone(),
        address: match &handed.address {
            Address::Tcp(address) => Place::Tcp(*address),
            Address::Unix(path) => Place::Unix(path.clone()),
        },
        owns_file: handed.owns_file,
        sockets: handed.sockets.len(),
    };
    Manifest {
        listeners: legacy.listeners.iter().map(entry).collect(),
        admin: legacy.admin.as_ref().map(|(address, _)| *address),
        drained: legacy.drained.clone(),
    }
}

/// Which descriptor is what; `None`: there are not as many as there should be.
fn sort(manifest: Manifest, mut all: vec::IntoIter<OwnedFd>) -> Option<(Legacy, UnixListener)> {
    let mut listeners = Vec::new();
    for entry in manifest.listeners {
        let tcp = matches!(entry.address, Place::Tcp(_));
        let mut sockets = Vec::new();
        for _ in 0..entry.sockets {
            let next = all.next()?;
            sockets.push(if tcp {
                Listener::Tcp(next.into())
            } else {
                Listener::Unix(next.into())
            });
        }
        let address = match entry.address {
            Place::Tcp(address) => Address::Tcp(address),
            Place::Unix(path) => Address::Unix(path),
        };
        listeners.push(Handed { name: entry.name, address, owns_file: entry.owns_file, sockets });
    }
    let admin = match manifest.admin {
        Some(address) => Some((address, TcpListener::from(all.next()?))),
        None => None,
    };
    let door = UnixListener::from(all.next()?);
    Some((Legacy { listeners, admin, drained: manifest.drained, ours: Ours::default() }, door))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legacy(sockets: usize) -> Legacy {
        let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
        let handed = Handed {
            name: "public".into(),
            address: Address::Tcp("127.0.0.1:0".parse().unwrap()),
            owns_file: false,
            sockets: (0..sockets).map(|_| Listener::Tcp(listener())).collect(),
        };
        let admin = listener();
        let admin = Some((admin.local_addr().unwrap(), admin));
        let left = Duration::from_secs(60);
        let drained = Drain { cluster: "up".into(), endpoint: "h2c://a:1".into(), left };
        Legacy { listeners: vec![handed], admin, drained: vec![drained], ours: Ours::default() }
    }

    #[tokio::test]
    async fn every_socket_arrives_and_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("door");
        assert!(inherit(&path).unwrap().is_none(), "nobody is there");
        let door = Door::open(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // More than one batch of descriptors.
        let legacy = legacy(150);
        let addresses = |legacy: &Legacy| -> Vec<_> {
            let sockets = legacy.listeners.iter().flat_map(|handed| &handed.sockets);
            sockets.map(|socket| socket.address().unwrap()).collect()
        };
        let (sent, drained) = (addresses(&legacy), legacy.drained.clone());
        let next = tokio::task::spawn_blocking({
            let path = path.clone();
            move || {
                let mut inheritance = inherit(&path).unwrap().unwrap();
                let (legacy, door) = (inheritance.take(), inheritance.door().unwrap());
                inheritance.ready();
                (legacy, door)
            }
        });
        let (stream, pid) = door.knock().await;
        assert_eq!(pid, Some(std::process::id()));
        let copy = door.copy().unwrap();
        let offered = tokio::task::spawn_blocking(move || offer(stream, pid, &legacy, &copy));
        offered.await.unwrap().unwrap().farewell();
        let (received, inherited) = next.await.unwrap();
        assert_eq!(addresses(&received), sent);
        assert_eq!(received.listeners[0].name, "public");
        assert_eq!(received.drained, drained);
        let (address, admin) = received.admin.unwrap();
        assert_eq!(admin.local_addr().unwrap(), address);
        // The door stays open, and its file is the next one's.
        let again = Door::open(&path, Some(inherited)).unwrap();
        door.leave();
        assert!(path.exists());
        drop(again);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn one_that_goes_away_or_speaks_otherwise_gets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("door");
        let door = Door::open(&path, None).unwrap();
        for said in [&b""[..], b"GET / HTTP/1.1\r\n", HELLO] {
            let mut wrong = UnixStream::connect(&path).unwrap();
            wrong.write_all(said).unwrap();
            let (stream, pid) = door.knock().await;
            let copy = door.copy().unwrap();
            let offered =
                tokio::task::spawn_blocking(move || offer(stream, pid, &legacy(1), &copy));
            drop(wrong);
            assert!(offered.await.unwrap().is_err(), "{said:?}");
        }
    }
}
