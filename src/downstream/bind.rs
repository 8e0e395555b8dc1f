//! Which sockets a listener has, and which worker accepts on which of them.
//!
//! On Linux there is one for each worker with `SO_REUSEPORT`, so that the kernel spreads connections
//! and no lock is shared. Elsewhere one socket is cloned into all workers: macOS gives every
//! connection of a shared port to the last socket bound, and the BSDs differ among each other;
//! whoever wakes first then accepts. Unix sockets are always cloned.
//!
//! Closing a socket resets what waits in its queue. So sockets that come from somewhere else (an
//! earlier process, systemd) are all accepted on, however many workers there are ([`spread`]).

mod file;
mod open;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::{error, fmt};

pub use self::file::{Ours, SocketFile};
pub use self::open::{bind, configure};
use self::open::{listening, open_tcp};
use super::plan::{Address, ListenerPlan};

/// Whether the kernel spreads connections over sockets that share a port.
const KERNEL_SPREADS: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// A bound, listening, non-blocking socket, to be made tokio's in its worker.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// One more descriptor of the same socket, with the same queue.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener) => Self::Unix(listener.try_clone()?),
        })
    }

    /// Where it really listens.
    ///
    /// # Errors
    /// Also for a Unix socket without a path.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().ok_or(io::ErrorKind::AddrNotAvailable)?;
                Ok(Address::Unix(path.to_owned()))
            }
        }
    }

    /// Makes it ready for a runtime, whoever opened it.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.set_nonblocking(true),
            Self::Unix(listener) => listener.set_nonblocking(true),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// The sockets of one listener.
#[derive(Debug)]
pub struct Bound {
    /// Where it really listens: a port of 0 has become the system's choice.
    pub address: Address,
    /// Each with a queue of its own: one for each worker, or one for all.
    pub sockets: Vec<Listener>,
    /// The file of a Unix socket; hold it as long as the listener is to be found.
    pub file: Option<SocketFile>,
}

/// What each of `workers` (at least one) accepts on. Every worker has a socket and every socket a
/// worker: with fewer sockets than workers some are shared, with more some workers have several.
pub fn spread(sockets: &[Listener], workers: usize) -> io::Result<Vec<Vec<Listener>>> {
    let workers = workers.max(1);
    let mut spread: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
    let places = (0..sockets.len().max(workers)).zip(sockets.iter().cycle());
    for (place, socket) in places {
        if let Some(worker) = spread.get_mut(place % workers) {
            worker.push(socket.try_clone()?);
        }
    }
    Ok(spread)
}

/// A listener that could not be opened.
#[derive(Debug)]
pub struct BindError {
    /// The listener's name.
    pub listener: String,
    /// Where it should listen.
    pub address: Address,
    source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listener {} cannot listen on ", self.listener)?;
        match &self.address {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl error::Error for BindError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.source)
    }
}

impl BindError {
    /// What the system said: [`io::ErrorKind::AddrInUse`] where somebody else listens there.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// Opens the sockets of a listener for `workers` (at least one).
///
/// An address that another process listens on is an error, even where that process shares its port.
pub fn listeners(plan: &ListenerPlan, workers: usize) -> Result<Bound, BindError> {
    let workers = workers.max(1);
    let opened = match &plan.address {
        Address::Tcp(address) => tcp(*address, workers),
        Address::Unix(path) => unix(path),
    };
    opened.map_err(|source| BindError {
        listener: plan.name.to_string(),
        address: plan.address.clone(),
        source,
    })
}

fn tcp(address: SocketAddr, workers: usize) -> io::Result<Bound> {
    let share = KERNEL_SPREADS && workers > 1;
    let own = if share { workers } else { 1 };
    if share && address.port() != 0 {
        // With SO_REUSEPORT a second process of the same user would silently get half of the
        // connections; a socket without it is refused beside any that listens.
        drop(open_tcp(address, false)?);
    }
    let first: TcpListener = listening(open_tcp(address, share)?)?.into();
    let real = first.local_addr()?;
    let mut sockets = Vec::with_capacity(own);
    sockets.push(Listener::Tcp(first));
    for _ in 1..own {
        sockets.push(Listener::Tcp(listening(open_tcp(real, true)?)?.into()));
    }
    Ok(Bound { address: Address::Tcp(real), sockets, file: None })
}

/// A Unix socket, which all workers share.
pub fn unix(path: &Path) -> io::Result<Bound> {
    let first: UnixListener = bind(&Address::Unix(path.to_owned()), false)?.into();
    let file = SocketFile::own(path)?;
    let sockets = vec![Listener::Unix(first)];
    Ok(Bound { address: Address::Unix(path.to_owned()), sockets, file: Some(file) })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::TcpStream;
    use std::os::unix::fs::PermissionsExt;

    use super::open::{SOCKET_MODE, USER_TIMEOUT};
    use super::*;
    use crate::downstream::plan::Limits;

    fn plan(address: Address) -> ListenerPlan {
        ListenerPlan {
            name: "public".into(),
            address,
            tls: None,
            proxy_protocol: Vec::new(),
            trusted_proxies: std::sync::Arc::default(),
            redirect_to_https: None,
            limits: Limits::default(),
        }
    }

    fn tcp_plan(address: &str) -> ListenerPlan {
        plan(Address::Tcp(address.parse().unwrap()))
    }

    fn port(bound: &Bound) -> u16 {
        match &bound.address {
            Address::Tcp(address) => address.port(),
            Address::Unix(_) => panic!("not TCP"),
        }
    }

    #[test]
    fn four_workers_share_one_port_that_the_system_chose() {
        let bound = listeners(&tcp_plan("127.0.0.1:0"), 4).unwrap();
        assert_eq!(bound.sockets.len(), 4);
        assert_ne!(port(&bound), 0);
        for listener in &bound.sockets {
            let Listener::Tcp(listener) = listener else { panic!("not TCP") };
            assert_eq!(listener.local_addr().unwrap().port(), port(&bound));
            let error = listener.accept().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn a_port_that_another_listener_shares_is_in_use_all_the_same() {
        let held = listeners(&tcp_plan("127.0.0.1:0"), 2).unwrap();
        let again = tcp_plan(&format!("127.0.0.1:{}", port(&held)));
        for workers in [1, 2] {
            let error = listeners(&again, workers).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            assert_eq!(
                error.to_string(),
                format!("listener public cannot listen on 127.0.0.1:{}", port(&held))
            );
        }
    }

    #[test]
    fn every_worker_has_a_socket_and_every_socket_a_worker() {
        let of = |listener: &Listener| listener.address().unwrap();
        for (sockets, workers) in [(1, 1), (1, 4), (4, 1), (2, 3), (3, 2), (4, 4)] {
            let bound: Vec<_> = (0..sockets)
                .map(|_| listeners(&tcp_plan("127.0.0.1:0"), 1).unwrap().sockets.remove(0))
                .collect();
            let spread = spread(&bound, workers).unwrap();
            assert_eq!(spread.len(), workers);
            assert!(spread.iter().all(|own| !own.is_empty()), "{sockets} {workers}");
            for socket in &bound {
                let taken = spread.iter().flatten().filter(|other| of(other) == of(socket));
                assert!(taken.count() >= 1, "{sockets} {workers}");
            }
            for own in &spread {
                let mut addresses: Vec<_> =
                    own.iter().map(|one| format!("{:?}", of(one))).collect();
                addresses.sort();
                addresses.dedup();
                assert_eq!(addresses.len(), own.len(), "none twice");
            }
        }
    }

    #[test]
    fn the_unspecified_v6_address_also_takes_v4_and_loopback_only_v6() {
        let Ok(dual) = listeners(&tcp_plan("[::]:0"), 1) else { return };
        TcpStream::connect(("127.0.0.1", port(&dual))).unwrap();
        let Ok(only) = listeners(&tcp_plan("[::1]:0"), 1) else { return };
        TcpStream::connect(("::1", port(&only))).unwrap();
        TcpStream::connect(("127.0.0.1", port(&only))).unwrap_err();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_accepted_connection_inherits_its_options() {
        let bound = listeners(&tcp_plan("127.0.0.1:0"), 1).unwrap();
        let Some(Listener::Tcp(listener)) = bound.sockets.first() else { panic!("not TCP") };
        listener.set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(("127.0.0.1", port(&bound))).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = socket2::SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ravelin.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves a stale file behind");

        let bound = listeners(&plan(Address::Unix(path.clone())), 2).unwrap();
        assert_eq!(bound.sockets.len(), 1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        let error = listeners(&plan(Address::Unix(path.clone())), 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);

        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_file_of_somebody_else_and_a_plain_file_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ravelin.sock");
        let bound = listeners(&plan(Address::Unix(path.clone())), 1).unwrap();
        fs::rename(&path, folder.path().join("old.sock")).unwrap();
        let _successor = UnixListener::bind(&path).unwrap();
        drop(bound);
        assert!(path.exists());

        let plain = folder.path().join("plain");
        fs::write(&plain, "data").unwrap();
        let error = listeners(&plan(Address::Unix(plain.clone())), 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&plain).unwrap(), b"data");
    }
}
