//! One socket: opened, with its options, listening.

use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::file::remove_stale;
use crate::downstream::plan::Address;

/// How many connections the kernel holds until they are accepted; it caps this at its own limit
/// (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// After how long without a sign of life the kernel asks whether a client is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long sent bytes may stay unacknowledged until the connection is given up (RFC 5482).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Who may connect to a Unix socket: its owner and its group.
pub(super) const SOCKET_MODE: u32 = 0o660;

/// One listening, non-blocking socket.
///
/// `[::]` also takes IPv4; any other IPv6 address takes IPv6 only. `reuse_port` sets
/// `SO_REUSEPORT` and means nothing to a Unix socket, whose stale file is replaced.
pub fn bind(address: &Address, reuse_port: bool) -> io::Result<Socket> {
    match address {
        Address::Tcp(address) => listening(open_tcp(*address, reuse_port)?),
        Address::Unix(path) => {
            remove_stale(path)?;
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&socket2::SockAddr::unix(path)?)?;
            fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
            listening(socket)
        }
    }
}

pub(super) fn open_tcp(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let SocketAddr::V6(v6) = address {
        socket.set_only_v6(*v6.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    configure(&socket)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

pub(super) fn listening(socket: Socket) -> io::Result<Socket> {
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Sets the options of a connection. On Linux an accepted socket inherits them from its listener
/// (`tcp(7)`), which saves five system calls for each connection.
pub fn configure(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL),
    )?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}
