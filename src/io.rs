//! The byte stream under an HTTP connection: a socket, with or without TLS, that writes late.
//!
//! h2 asks for a flush after nearly every DATA frame, and each flush through TLS becomes a system
//! call. So writes are collected here, [`Io`] answers `poll_flush` with Ready, and whoever polls
//! the connection's future calls [`Handle::drain`] once after each poll (see [`Driven`]). What is
//! large is not copied: it goes through with what was collected before it, in full TLS records;
//! only the rest that does not fill a record waits for the next write or for the drain.
//!
//! rustls is driven here directly rather than through tokio-rustls (which does the handshake):
//! that one writes to the socket after every record and reads 4 KiB at a time.

mod collect;
mod tls;

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use collect::{Inner, Insertion};
use tls::Tls;

/// Anything that bytes can be read from and written to.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Socket for T {}

/// The stream that an HTTP implementation reads and writes.
pub struct Io {
    inner: Rc<RefCell<Inner>>,
    deferred: bool,
}

/// The other end of an [`Io`], kept by the task that polls the connection.
#[derive(Clone)]
pub struct Handle {
    inner: Rc<RefCell<Inner>>,
}

impl Io {
    /// A stream over `socket`. `replay` is read first. `deferred`: flushes wait for the drain.
    pub fn new(
        socket: Box<dyn Socket>,
        tls: Option<rustls::Connection>,
        replay: Bytes,
        deferred: bool,
    ) -> Self {
        let tls = tls.map(Tls::new);
        let inner = Inner {
            socket,
            tls,
            replay,
            full: false,
            out: Vec::new(),
            closing: false,
            received: 0,
            insertion: None,
            taken: 0,
            blocked: false,
        };
        Self { inner: Rc::new(RefCell::new(inner)), deferred }
    }

    /// Puts back bytes that an HTTP/1.1 implementation read past its last message, before those that
    /// were read ahead.
    pub fn unread(&self, bytes: Bytes) {
        let mut inner = self.inner.borrow_mut();
        inner.replay = if inner.replay.is_empty() {
            bytes
        } else {
            [&bytes[..], &inner.replay[..]].concat().into()
        };
    }

    /// Lets `frames` follow the peer's HTTP/2 preface and first frame.
    pub fn insert_after_preface(&self, frames: Bytes) {
        self.inner.borrow_mut().insertion = Some(Insertion { head: Vec::new(), frames });
    }

    /// From now on a flush is a flush: for what is no HTTP connection any more.
    pub fn flush_at_once(&mut self) {
        self.deferred = false;
    }

    /// The other end.
    pub fn handle(&self) -> Handle {
        Handle { inner: Rc::clone(&self.inner) }
    }
}

impl Handle {
    /// Writes out what was collected. Pending: the socket is full and the task will be woken.
    pub fn drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.borrow_mut().poll_drain(cx)
    }

    /// Appends to what is collected. Small things only: nothing bounds it but [`Handle::room`].
    pub fn with_out<T>(&self, append: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        append(self.inner.borrow_mut().out())
    }

    /// Collects `head` and `payload`, of which what is large is not copied: it is encrypted, or
    /// written, at once. A failure shows itself at the next drain.
    pub fn put(&self, head: &[u8], payload: &[u8]) {
        self.inner.borrow_mut().put(head, payload);
    }

    /// Whether full TLS records were made since the last drain, and something is collected behind them.
    pub fn has_full(&self) -> bool {
        self.inner.borrow().has_full()
    }

    /// Writes out full records alone; what is collected behind them stays. Pending as [`Handle::drain`].
    pub fn drain_full(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.borrow_mut().poll_drain_full(cx)
    }

    /// How many bytes are collected that the socket has not taken.
    pub fn backlog(&self) -> usize {
        self.inner.borrow().backlog()
    }

    /// How many bytes more may be collected before the socket has taken some.
    pub fn room(&self) -> usize {
        self.inner.borrow().room()
    }

    /// Looks for what the peer sends while nobody reads, a little of which is kept to be read later.
    /// Ready with an error when the connection is gone, and without one when the peer sends no more.
    pub fn read_ahead(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.borrow_mut().poll_ahead(cx)
    }

    /// Bytes taken from the writer so far.
    pub fn taken(&self) -> u64 {
        self.inner.borrow().taken
    }

    /// Bytes read by the HTTP implementation so far.
    pub fn received(&self) -> u64 {
        self.inner.borrow().received
    }

    /// While a write waits for the socket: bytes taken from the writer before it.
    pub fn blocked(&self) -> Option<u64> {
        let inner = self.inner.borrow();
        inner.blocked.then_some(inner.taken)
    }

    /// Puts bytes between two messages of an HTTP/1.1 connection (an interim answer, which hyper
    /// cannot send). Refused while earlier bytes wait for the socket, since hyper may then hold
    /// part of the message before.
    pub fn inject(&self, bytes: &[u8]) -> bool {
        let mut inner = self.inner.borrow_mut();
        if inner.backlog() > 0 {
            return false;
        }
        inner.out.extend_from_slice(bytes);
        true
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner.borrow_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.inner.borrow_mut();
        let polled = inner.poll_write(cx, bufs);
        inner.blocked = polled.is_pending();
        if let Poll::Ready(Ok(n)) = polled {
            inner.taken += n as u64;
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deferred { Poll::Ready(Ok(())) } else { self.inner.borrow_mut().poll_drain(cx) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.borrow_mut().poll_shutdown(cx)
    }
}

pin_project_lite::pin_project! {
    /// A connection's future that drains its stream after each poll.
    pub struct Driven<F> {
        #[pin]
        future: F,
        handle: Handle,
    }
}

impl<F> Driven<F> {
    /// Drives `future`, draining `handle`.
    pub fn new(future: F, handle: Handle) -> Self {
        Self { future, handle }
    }
}

impl<F: Future> Future for Driven<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let output = this.future.poll(cx);
        // A failed write shows itself to the future at its next read or write.
        let _ = this.handle.drain(cx);
        output
    }
}

#[cfg(test)]
mod tests;
