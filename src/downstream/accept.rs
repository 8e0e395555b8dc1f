//! How a worker takes connections off a listener: as long as it is told to, never spinning, never
//! ending on an error, never over the caps.

pub mod gate;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{self, Either};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::Instant;

use self::gate::{Gate, Permit, Refused};
use super::bind::Listener;
use super::stream::Stream;

/// Between the first pause after an error and the longest (EMFILE may last for minutes).
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// At most one line about errors in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// How many connections that the kernel had already greeted are still taken at the end.
const LAST_ONES: usize = 1024;

/// What becomes of connections that the kernel has greeted and nobody has taken yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// They are taken: closing the listening socket would reset them.
    Take,
    /// They stay: another process accepts on the same socket.
    Leave,
}

/// Takes connections until `stop` is ready, and then those that wait, if it says so.
///
/// `on_connection` gets the socket, the peer's address (IPv4 in its own form on a dual-stack
/// listener; none for a Unix socket) and its place, which is given back when dropped, or why there
/// is none for it: the socket is then closed by dropping it. It must not wait: a connection's work
/// belongs in a task of its own. Fails only where the runtime cannot take
/// the socket over.
pub async fn accept_loop(
    listener: Listener,
    gate: Arc<Gate>,
    stop: impl Future<Output = Waiting>,
    mut on_connection: impl FnMut(Stream, Option<SocketAddr>, Result<Permit, Refused>),
) -> io::Result<()> {
    let mut admit = |stream, peer: Option<SocketAddr>| {
        on_connection(stream, peer, gate.admit(peer.map(|peer| peer.ip())));
    };
    match listener {
        Listener::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            let accept = async || accept_tcp(&listener).await;
            let waiting = accept_from(accept, &gate, stop, &mut admit).await;
            let listener = listener.into_std()?;
            for (stream, peer) in last_ones(waiting, || listener.accept()) {
                stream.set_nonblocking(true)?;
                admit(Stream::Tcp(TcpStream::from_std(stream)?), Some(canonical(peer)));
            }
        }
        Listener::Unix(listener) => {
            let listener = UnixListener::from_std(listener)?;
            let accept =
                async || listener.accept().await.map(|(stream, _)| (Stream::Unix(stream), None));
            let waiting = accept_from(accept, &gate, stop, &mut admit).await;
            let listener = listener.into_std()?;
            for (stream, _) in last_ones(waiting, || listener.accept()) {
                stream.set_nonblocking(true)?;
                admit(Stream::Unix(UnixStream::from_std(stream)?), None);
            }
        }
    }
    Ok(())
}

/// What waits at this moment. The socket itself is asked: the runtime may not have heard of a
/// connection that came since it last looked.
fn last_ones<T>(
    waiting: Waiting,
    accept: impl FnMut() -> io::Result<T>,
) -> impl Iterator<Item = T> {
    let most = if waiting == Waiting::Take { LAST_ONES } else { 0 };
    std::iter::repeat_with(accept).take(most).map_while(Result::ok)
}

async fn accept_tcp(listener: &TcpListener) -> io::Result<(Stream, Option<SocketAddr>)> {
    let (stream, peer) = listener.accept().await?;
    // Elsewhere than on Linux not every option is inherited; failing means the client has gone.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    super::bind::configure(&socket2::SockRef::from(&stream))?;
    Ok((Stream::Tcp(stream), Some(canonical(peer))))
}

/// The address with IPv4 in its own form, where a dual-stack socket gave it mapped (RFC 4291
/// §2.5.5.2): caps, CIDRs and headers speak of the client, not of the socket.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

async fn accept_from<S>(
    accept: impl AsyncFn() -> io::Result<(S, Option<SocketAddr>)>,
    gate: &Gate,
    stop: impl Future<Output = Waiting>,
    mut admit: impl FnMut(S, Option<SocketAddr>),
) -> Waiting {
    let mut stop = std::pin::pin!(stop);
    let mut trouble = Trouble::default();
    loop {
        let pause = {
            let accepted = std::pin::pin!(accept());
            match future::select(stop.as_mut(), accepted).await {
                Either::Left((waiting, _)) => return waiting,
                Either::Right((Ok((stream, peer)), _)) => {
                    trouble.over();
                    admit(stream, peer);
                    continue;
                }
                Either::Right((Err(error), _)) => {
                    gate.counters.errors.fetch_add(1, Ordering::Relaxed);
                    trouble.pause(&error, Instant::now())
                }
            }
        };
        if let Some(pause) = pause {
            let sleep = std::pin::pin!(tokio::time::sleep(pause));
            if let Either::Left((waiting, _)) = future::select(stop.as_mut(), sleep).await {
                return waiting;
            }
        }
    }
}

/// How long to wait after errors of accepting, and when to speak about them.
#[derive(Default)]
struct Trouble {
    pause: Duration,
    logged: Option<Instant>,
    unlogged: u64,
}

impl Trouble {
    fn over(&mut self) {
        self.pause = Duration::ZERO;
    }

    /// How long to wait after `error`; not at all where only that one connection had failed.
    fn pause(&mut self, error: &io::Error, now: Instant) -> Option<Duration> {
        if concerns_one_connection(error.kind()) {
            return None;
        }
        self.pause = (self.pause * 2).clamp(PAUSES.0, PAUSES.1);
        self.unlogged += 1;
        if self.logged.is_none_or(|last| now.duration_since(last) >= LOG_INTERVAL) {
            tracing::warn!(%error, errors = self.unlogged, "cannot accept connections, trying on");
            self.logged = Some(now);
            self.unlogged = 0;
        }
        Some(self.pause)
    }
}

/// Errors that belonged to one waiting connection, which is gone with them (`accept(2)`).
const fn concerns_one_connection(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests;
