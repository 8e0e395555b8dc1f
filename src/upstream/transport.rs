//! Dials an endpoint: name → address → TCP or Unix socket → TLS, under the cluster's connect clock.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::plan::{Address, EndpointPlan};
use crate::error::{Error, Kind};
use crate::io::{Io, Socket};

/// How long one address may take before the next is tried beside it (RFC 8305 §5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// Unacknowledged data older than this ends the connection: a peer that vanished without a word.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// An idle connection is probed after this.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Connects, and shakes hands where the endpoint wants TLS.
///
/// `h2`: which protocol is asked for by ALPN; an answer without it is refused, since speaking
/// HTTP/2 to a server that did not agree would only look like garbage later.
pub async fn dial(
    endpoint: &EndpointPlan,
    tls: Option<&Tls>,
    h2: bool,
    within: Duration,
) -> Result<Io, Error> {
    tokio::time::timeout(within, connect(endpoint, tls, h2))
        .await
        .unwrap_or_else(|_| Err(Error::new(Kind::ConnectTimeout)))
}

/// How TLS is spoken to an endpoint.
#[derive(Clone)]
pub struct Tls {
    /// For HTTP/2: ALPN `h2`.
    pub h2: Arc<rustls::ClientConfig>,
    /// For HTTP/1.1: ALPN `http/1.1`.
    pub http: Arc<rustls::ClientConfig>,
    /// The name to ask for and to verify.
    pub server_name: ServerName<'static>,
}

impl Tls {
    /// Whether both come from the same files, read at the same time.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.h2, &other.h2) && self.server_name == other.server_name
    }

    /// The same towards a server of another name; none where that is no name.
    pub fn towards(&self, name: &str) -> Option<Self> {
        let server_name = ServerName::try_from(name.to_owned()).ok()?;
        Some(Self { server_name, ..self.clone() })
    }
}

/// A byte stream that may change threads.
pub trait Wire: Socket + Send {}
impl<T: Socket + Send> Wire for T {}

async fn socket(endpoint: &EndpointPlan) -> Result<Box<dyn Wire>, Error> {
    Ok(match &endpoint.address {
        Address::Tcp { host, port } | Address::Dns { host, port } => {
            Box::new(tcp(host, *port).await.map_err(failed)?)
        }
        Address::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(failed)?),
        Address::Srv(_) | Address::File(_) => {
            return Err(Error::with(Kind::NoEndpoint, "endpoints are found there, it is none"));
        }
    })
}

async fn secured(
    socket: Box<dyn Wire>,
    tls: &Tls,
    h2: bool,
) -> Result<tokio_rustls::client::TlsStream<Box<dyn Wire>>, Error> {
    let config = if h2 { &tls.h2 } else { &tls.http };
    let stream = TlsConnector::from(Arc::clone(config))
        .connect(tls.server_name.clone(), socket)
        .await
        .map_err(|error| Error::with(Kind::UpstreamTls, error))?;
    if h2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(Error::with(Kind::UpstreamTls, "the server did not agree to h2 by ALPN"));
    }
    Ok(stream)
}

/// Connects as [`dial`] does, without a clock, for those who are not on a worker.
///
/// # Errors
/// As [`dial`].
pub async fn reach(
    endpoint: &EndpointPlan,
    tls: Option<&Tls>,
    h2: bool,
) -> Result<Box<dyn Wire>, Error> {
    let socket = socket(endpoint).await?;
    Ok(match tls.filter(|_| endpoint.protocol.is_tls()) {
        None => socket,
        Some(tls) => Box::new(secured(socket, tls, h2).await?),
    })
}

async fn connect(endpoint: &EndpointPlan, tls: Option<&Tls>, h2: bool) -> Result<Io, Error> {
    let socket = socket(endpoint).await?;
    let Some(tls) = tls.filter(|_| endpoint.protocol.is_tls()) else {
        return Ok(Io::new(socket, None, Bytes::new(), true));
    };
    let (socket, session) = secured(socket, tls, h2).await?.into_inner();
    Ok(Io::new(socket, Some(session.into()), Bytes::new(), true))
}

fn failed(error: io::Error) -> Error {
    Error::with(if is_local(&error) { Kind::NoSocket } else { Kind::Connect }, error)
}

/// Whether a connect failed for want of something of our own: files, ports, memory, or leave.
pub fn is_local(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let ours =
        [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL, Errno::PERM];
    Errno::from_io_error(error).is_some_and(|errno| ours.contains(&errno))
}

/// Whether a failed connect says that nobody is there: the port or the path refused it. Everything
/// else, a clock that ran out above all, may be the network's fault or chance.
pub fn is_refusal(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    let io = source.and_then(|source| source.downcast_ref::<io::Error>());
    error.kind() == Kind::Connect && io.is_some_and(refuses)
}

fn refuses(error: &io::Error) -> bool {
    use rustix::io::Errno;
    // NOENT is a Unix socket's; a name without an address is no error of the system's.
    let refusals = [Errno::CONNREFUSED, Errno::CONNRESET, Errno::NOENT];
    Errno::from_io_error(error).is_some_and(|errno| refusals.contains(&errno))
}

/// The first address that answers, each given a head start over the next (RFC 8305).
async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut addresses = tokio::net::lookup_host((host, port)).await?;
    let mut attempts = FuturesUnordered::new();
    // What is told of several: all of them must refuse before the name does.
    let mut why: Option<io::Error> = None;
    if let Some(address) = addresses.next() {
        attempts.push(attempt(address));
    }
    loop {
        tokio::select! {
            Some(outcome) = attempts.next() => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    why = why.filter(|_| refuses(&error)).or(Some(error));
                    if let Some(address) = addresses.next() {
                        attempts.push(attempt(address));
                    }
                }
            },
            () = tokio::time::sleep(NEXT_ADDRESS), if !attempts.is_empty() => {
                if let Some(address) = addresses.next() {
                    attempts.push(attempt(address));
                }
            }
            else => {
                let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                return Err(why.unwrap_or_else(none));
            }
        }
    }
}

async fn attempt(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(&stream);
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEPALIVE))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::plan::Protocol;

    async fn failure(address: Address) -> Error {
        let plan = EndpointPlan { name: "e".into(), protocol: Protocol::H2c, address };
        let dialled = dial(&plan, None, true, Duration::from_secs(5)).await;
        dialled.err().expect("nobody is there")
    }

    #[tokio::test]
    async fn a_closed_port_and_a_path_that_is_not_there_refuse() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert!(is_refusal(&failure(Address::Tcp { host: "127.0.0.1".into(), port }).await));
        let folder = tempfile::tempdir().unwrap();
        assert!(is_refusal(&failure(Address::Unix(folder.path().join("none"))).await));
        let nowhere = Address::Tcp { host: "nowhere.invalid".into(), port: 1 };
        assert!(!is_refusal(&failure(nowhere).await), "a name may be unknown for a moment");
    }

    #[test]
    fn what_ravelin_itself_lacks_and_what_took_too_long_are_no_refusals() {
        use rustix::io::Errno;
        for (errno, refusal, kind) in [
            (Errno::CONNREFUSED, true, Kind::Connect),
            (Errno::CONNRESET, true, Kind::Connect),
            (Errno::NOENT, true, Kind::Connect),
            (Errno::TIMEDOUT, false, Kind::Connect),
            (Errno::HOSTUNREACH, false, Kind::Connect),
            (Errno::MFILE, false, Kind::NoSocket),
            (Errno::NFILE, false, Kind::NoSocket),
            (Errno::ADDRNOTAVAIL, false, Kind::NoSocket),
            (Errno::NOBUFS, false, Kind::NoSocket),
        ] {
            let error = failed(errno.into());
            assert_eq!((is_refusal(&error), error.kind()), (refusal, kind), "{errno:?}");
        }
        assert!(!is_refusal(&Error::new(Kind::ConnectTimeout)));
    }
}
