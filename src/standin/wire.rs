//! The sockets' side: a stream that can be cut with a reset, and one that can be read ahead of and
//! written ahead into.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;

use super::state::Shared;

/// What HTTP/2 by prior knowledge begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection may be told while it runs.
pub(super) enum Command {
    /// End gracefully: GOAWAY, or `Connection: close`.
    GoAway,
    /// End now, with a TCP reset.
    Cut,
}

/// The handle to a running connection.
pub(super) struct Control {
    commands: UnboundedSender<Command>,
    reset: AtomicBool,
}

impl Control {
    pub(super) fn new(commands: UnboundedSender<Command>) -> Self {
        Self { commands, reset: AtomicBool::new(false) }
    }

    pub(super) fn go_away(&self) {
        // A connection that is gone needs no orders.
        let _ = self.commands.send(Command::GoAway);
    }

    pub(super) fn cut(&self) {
        self.reset.store(true, Ordering::SeqCst);
        let _ = self.commands.send(Command::Cut);
    }
}

/// A TCP stream which closes with a reset (SO_LINGER 0) if it was cut or the stand-in was killed.
pub(super) struct Wire {
    stream: TcpStream,
    control: Arc<Control>,
    shared: Arc<Shared>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, control: Arc<Control>, shared: Arc<Shared>) -> Self {
        Self { stream, control, shared }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.control.reset.load(Ordering::SeqCst) || self.shared.is_killed() {
            // Failing that, the peer sees an ordinary close.
            let _ =
                socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO));
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Bytes to be written ahead of whatever the HTTP/1.1 machine writes next: hyper's server has no
/// way to send a 103.
#[derive(Clone, Default)]
pub(super) struct Ahead(Arc<Mutex<(BytesMut, Option<Waker>)>>);

impl Ahead {
    pub(super) fn push(&self, bytes: &[u8]) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0.extend_from_slice(bytes);
        if let Some(waker) = inner.1.take() {
            waker.wake();
        }
    }
}

/// A stream that gives back what was read ahead, and writes first what was put ahead.
pub(super) struct Tap<T> {
    inner: T,
    read: Bytes,
    ahead: Ahead,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Tap<T> {
    /// Reads until it is clear whether this is HTTP/2, and says so.
    pub(super) async fn sniff(mut inner: T) -> io::Result<(Self, bool)> {
        let mut read = BytesMut::with_capacity(1024);
        let is_http2 = loop {
            if inner.read_buf(&mut read).await? == 0 {
                break false;
            }
            let compared = read.len().min(PREFACE.len());
            if read[..compared] != PREFACE[..compared] {
                break false;
            }
            if compared == PREFACE.len() {
                break true;
            }
        };
        Ok((Self { inner, read: read.freeze(), ahead: Ahead::default() }, is_http2))
    }

    /// A stream whose protocol is known.
    pub(super) fn plain(inner: T) -> Self {
        Self { inner, read: Bytes::new(), ahead: Ahead::default() }
    }

    pub(super) fn ahead(&self) -> Ahead {
        self.ahead.clone()
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ahead = self.ahead.clone();
        let mut pending = ahead.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.1 = Some(cx.waker().clone());
        let mut wrote = false;
        while !pending.0.is_empty() {
            match Pin::new(&mut self.inner).poll_write(cx, &pending.0) {
                Poll::Ready(Ok(n)) => pending.0.advance(n),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            wrote = true;
        }
        if wrote {
            return Pin::new(&mut self.inner).poll_flush(cx);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tap<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper keeps a read pending while the handler works: the moment to send what is ahead.
        if let Poll::Ready(Err(error)) = self.poll_ahead(cx) {
            return Poll::Ready(Err(error));
        }
        if !self.read.is_empty() {
            let n = self.read.len().min(buf.remaining());
            let part = self.read.split_to(n);
            buf.put_slice(&part);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tap<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_ahead(cx))?;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_ahead(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
