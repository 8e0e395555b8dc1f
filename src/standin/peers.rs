//! Servers that are no servers: one that talks garbage, one that never says a word, one that is
//! not there.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Accepts on a thread of its own until dropped.
struct Listening {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Listening {
    fn start(on_connection: impl Fn(TcpStream) + Send + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let accepted = Arc::new(AtomicUsize::new(0));
        let stopped = Arc::new(AtomicBool::new(false));
        let open = Arc::new(Mutex::new(Vec::new()));
        let (count, stop, kept) = (accepted.clone(), stopped.clone(), open.clone());
        std::thread::Builder::new().name("standin-peer".to_owned()).spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                count.fetch_add(1, Ordering::SeqCst);
                if let Ok(handle) = stream.try_clone() {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
                }
                on_connection(stream);
            }
        })?;
        Ok(Self { address, accepted, stopped, open })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread out of accept; it then sees the flag.
        let _ = TcpStream::connect(self.address);
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Writes the same bytes to whoever connects, and closes when the other side does.
pub struct Garbage(Listening);

impl Garbage {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port or thread can be had.
    pub fn start(bytes: impl Into<Vec<u8>>) -> io::Result<Self> {
        let bytes = bytes.into();
        Listening::start(move |mut stream| {
            let bytes = bytes.clone();
            // Each in its own thread: one that does not read must not hold up the next.
            std::thread::spawn(move || {
                if stream.write_all(&bytes).is_ok() {
                    let mut sink = [0; 4096];
                    while matches!(stream.read(&mut sink), Ok(n) if n > 0) {}
                }
                // The handle kept for the end holds the socket open; this does not wait for it.
                let _ = stream.shutdown(Shutdown::Both);
            });
        })
        .map(Self)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Connections accepted so far.
    pub fn connections_total(&self) -> usize {
        self.0.accepted.load(Ordering::SeqCst)
    }
}

/// Accepts, and never says or reads a word.
pub struct Blackhole(Listening);

impl Blackhole {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port or thread can be had.
    pub fn start() -> io::Result<Self> {
        // The handle that is kept holds the connection open.
        Listening::start(drop).map(Self)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Connections accepted so far.
    pub fn connections_total(&self) -> usize {
        self.0.accepted.load(Ordering::SeqCst)
    }
}

/// An address where connections are refused: bound, so that nobody else takes it, but not
/// listening.
pub struct Refusing {
    address: SocketAddr,
    _socket: socket2::Socket,
}

impl Refusing {
    /// Takes a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start() -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("not an IP address"))?;
        Ok(Self { address, _socket: socket })
    }

    /// Where nobody listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
