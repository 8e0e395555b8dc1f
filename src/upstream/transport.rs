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
            Box::new(tcp(host, *port).await.map_err(refused)?)
        }
        Address::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(refused)?),
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

fn refused(error: io::Error) -> Error {
    Error::with(Kind::Connect, error)
}

/// The first address that answers, each given a head start over the next (RFC 8305).
async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut addresses = tokio::net::lookup_host((host, port)).await?;
    let mut attempts = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    if let Some(address) = addresses.next() {
        attempts.push(attempt(address));
    }
    loop {
        tokio::select! {
            Some(outcome) = attempts.next() => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    last = error;
                    match addresses.next() {
                        Some(address) => attempts.push(attempt(address)),
                        None if attempts.is_empty() => return Err(last),
                        None => {}
                    }
                }
            },
            () = tokio::time::sleep(NEXT_ADDRESS), if !attempts.is_empty() => {
                if let Some(address) = addresses.next() {
                    attempts.push(attempt(address));
                }
            }
            else => return Err(last),
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
