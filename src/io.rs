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

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Anything that bytes can be read from and written to.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Socket for T {}

/// Plaintext of one full TLS record (RFC 8446 §5.1).
const RECORD: usize = 16 * 1024;
/// Collected bytes from which on the socket is tried before the drain.
const BATCH: usize = 128 * 1024;
/// Collected bytes above which writes wait for the socket: the bound of a slow reader's memory.
const HIGH: usize = 256 * 1024;
/// Bytes read from the socket at once under TLS.
const READ: usize = 32 * 1024;
/// Decrypted bytes above which rustls takes no more input (its own limit).
const PLAINTEXT_LIMIT: usize = 16 * 1024;
/// What an emptied buffer may keep.
const KEEP: usize = 4 * 1024;

thread_local! {
    /// One buffer for all connections of a worker, so that an idle connection holds none.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

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

struct Inner {
    socket: Box<dyn Socket>,
    tls: Option<Tls>,
    /// Read before anything from the socket: what was looked at to tell the protocol.
    replay: Bytes,
    /// Collected plaintext, not yet handed to TLS or to the socket.
    out: Vec<u8>,
    closing: bool,
    /// Bytes given to the reader so far.
    received: u64,
    insertion: Option<Insertion>,
    /// Bytes taken from the writer so far.
    taken: u64,
    /// The last write has to wait for the socket.
    blocked: bool,
}

struct Tls {
    session: Box<rustls::Connection>,
    /// Ciphertext that was read but did not fit.
    input: Vec<u8>,
    /// Decrypted bytes waiting in the session.
    readable: usize,
    /// Plaintext bytes encrypted since the session's output was last empty.
    queued: usize,
}

impl Io {
    /// A stream over `socket`. `replay` is read first. `deferred`: flushes wait for the drain.
    pub fn new(
        socket: Box<dyn Socket>,
        tls: Option<rustls::Connection>,
        replay: Bytes,
        deferred: bool,
    ) -> Self {
        let tls = tls.map(|mut session| {
            // The bound is kept here, before encryption.
            session.set_buffer_limit(None);
            let readable = match session.process_new_packets() {
                Ok(state) => state.plaintext_bytes_to_read(),
                Err(_) => 0,
            };
            Tls { session: Box::new(session), input: Vec::new(), readable, queued: 0 }
        });
        let inner = Inner {
            socket,
            tls,
            replay,
            out: Vec::new(),
            closing: false,
            received: 0,
            insertion: None,
            taken: 0,
            blocked: false,
        };
        Self { inner: Rc::new(RefCell::new(inner)), deferred }
    }

    /// Puts back bytes that an HTTP/1.1 implementation read past its last message.
    pub fn unread(&self, bytes: Bytes) {
        self.inner.borrow_mut().replay = bytes;
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

/// Bytes to be read between two frames that the peer sends.
struct Insertion {
    /// The preface and the first frame, as far as they have come.
    head: Vec<u8>,
    frames: Bytes,
}

impl Insertion {
    /// The length of an HTTP/2 preface (RFC 9113 §3.4).
    const PREFACE: usize = 24;
    /// The length of a frame's head (RFC 9113 §4.1).
    const FRAME: usize = 9;

    /// How many bytes are missing until preface and first frame are whole.
    fn missing(&self) -> usize {
        let whole = Self::PREFACE + Self::FRAME;
        let whole = match self.head.get(Self::PREFACE..whole) {
            Some([a, b, c, ..]) => whole + u32::from_be_bytes([0, *a, *b, *c]) as usize,
            _ => whole,
        };
        whole.saturating_sub(self.head.len())
    }
}

impl Inner {
    fn backlog(&self) -> usize {
        self.out.len() + self.tls.as_ref().map_or(0, |tls| tls.queued)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.insertion.is_some() {
            ready!(self.poll_insertion(cx))?;
        }
        let polled = self.poll_read_next(cx, buf);
        self.received += (buf.filled().len() - before) as u64;
        polled
    }

    /// Reads the peer's preface and first frame, then puts the frames behind them.
    fn poll_insertion(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(missing) =
            self.insertion.as_ref().map(Insertion::missing).filter(|missing| *missing > 0)
        {
            let mut chunk = [0; 512];
            let mut buf = ReadBuf::new(&mut chunk[..missing.min(512)]);
            ready!(self.poll_read_next(cx, &mut buf))?;
            let Some(insertion) = self.insertion.as_mut().filter(|_| !buf.filled().is_empty())
            else {
                break;
            };
            insertion.head.extend_from_slice(buf.filled());
            if insertion.head.len() > RECORD {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
        if let Some(mut insertion) = self.insertion.take() {
            insertion.head.extend_from_slice(&insertion.frames);
            insertion.head.extend_from_slice(&self.replay);
            self.replay = insertion.head.into();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read_next(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.replay.is_empty() {
            let n = self.replay.len().min(buf.remaining());
            buf.put_slice(&self.replay[..n]);
            self.replay.advance(n);
            if self.replay.is_empty() {
                self.replay = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        match &mut self.tls {
            None => Pin::new(&mut self.socket).poll_read(cx, buf),
            Some(tls) => tls.poll_read(&mut self.socket, cx, buf),
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.backlog() + total > HIGH && self.backlog() > 0 {
            ready!(self.poll_drain(cx))?;
        }
        if self.out.len() + total < RECORD {
            for buf in bufs {
                self.out.extend_from_slice(buf);
            }
            return Poll::Ready(Ok(total));
        }
        if self.tls.is_some() {
            self.write_records(cx, bufs, total)
        } else {
            self.write_plain(cx, bufs)
        }
    }

    /// Encrypts as many full records as there are; the rest waits in `out`.
    fn write_records(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        total: usize,
    ) -> Poll<io::Result<usize>> {
        let Some(tls) = &mut self.tls else { return Poll::Ready(Ok(0)) };
        let mut full = (self.out.len() + total) / RECORD * RECORD;
        let mut slices = Vec::with_capacity(bufs.len() + 1);
        let mut rest = Vec::new();
        slices.push(IoSlice::new(&self.out));
        full -= self.out.len();
        for buf in bufs {
            let (now, later) = buf.split_at(full.min(buf.len()));
            full -= now.len();
            slices.push(IoSlice::new(now));
            rest.extend_from_slice(later);
        }
        let written = tls.session.writer().write_vectored(&slices)?;
        tls.queued += written;
        self.out.clear();
        self.out.extend_from_slice(&rest);
        if tls.queued >= BATCH
            && let Poll::Ready(Err(error)) = tls.poll_write_socket(&mut self.socket, cx)
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(total))
    }

    /// Writes what was collected and `bufs` in one system call, as far as the socket takes it.
    fn write_plain(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.out.is_empty() {
            return Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        }
        let mut slices = Vec::with_capacity(bufs.len() + 1);
        slices.push(IoSlice::new(&self.out));
        slices.extend(bufs.iter().map(|buf| IoSlice::new(buf)));
        let written = ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, &slices))?;
        let before = self.out.len();
        if written < before {
            self.out.drain(..written);
            // Nothing of `bufs` went: the socket is full, ask it again to be woken.
            ready!(self.poll_drain(cx))?;
            return self.poll_write(cx, bufs);
        }
        self.out.clear();
        if written == before {
            return Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        }
        Poll::Ready(Ok(written - before))
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.tls {
            Some(tls) => {
                if !self.out.is_empty() {
                    tls.session.writer().write_all(&self.out)?;
                    tls.queued += self.out.len();
                    self.out.clear();
                    self.out.shrink_to(KEEP);
                }
                ready!(tls.poll_write_socket(&mut self.socket, cx))?;
            }
            None => {
                while !self.out.is_empty() {
                    let n = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.out))?;
                    if n == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    self.out.drain(..n);
                }
                self.out.shrink_to(KEEP);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        if let Some(tls) = &mut self.tls {
            if !self.closing {
                self.closing = true;
                tls.session.send_close_notify();
            }
            ready!(tls.poll_write_socket(&mut self.socket, cx))?;
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Tls {
    fn poll_read(
        &mut self,
        socket: &mut Box<dyn Socket>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let want = if self.readable > 0 {
                buf.remaining().min(self.readable)
            } else {
                1.min(buf.remaining())
            };
            if want == 0 {
                return Poll::Ready(Ok(()));
            }
            match self.session.reader().read(buf.initialize_unfilled_to(want)) {
                Ok(n) => {
                    self.readable = self.readable.saturating_sub(n);
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                // Many peers close without close_notify; HTTP's own framing tells what is whole.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                Err(_) => {}
            }
            ready!(self.poll_input(socket, cx))?;
        }
    }

    /// Gives the session more ciphertext: what was kept, else what the socket has.
    fn poll_input(
        &mut self,
        socket: &mut Box<dyn Socket>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.input.is_empty() {
            let input = std::mem::take(&mut self.input);
            return Poll::Ready(self.feed(socket, cx, &input));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *socket).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                self.session.read_tls(&mut io::empty())?;
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(self.feed(socket, cx, buf.filled()))
        })
    }

    fn feed(
        &mut self,
        socket: &mut Box<dyn Socket>,
        cx: &mut Context<'_>,
        mut input: &[u8],
    ) -> io::Result<()> {
        while !input.is_empty() && self.readable < PLAINTEXT_LIMIT {
            self.session.read_tls(&mut input)?;
            match self.session.process_new_packets() {
                Ok(state) => self.readable = state.plaintext_bytes_to_read(),
                Err(error) => {
                    // The alert that tells the peer why, as far as the socket takes it.
                    let _ = self.poll_write_socket(socket, cx);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        }
        self.input.extend_from_slice(input);
        Ok(())
    }

    fn poll_write_socket(
        &mut self,
        socket: &mut Box<dyn Socket>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Blocking { socket, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.queued = 0;
        Poll::Ready(Ok(()))
    }
}

/// `std::io::Write` over a socket, for rustls: Pending becomes `WouldBlock`.
struct Blocking<'a, 'b> {
    socket: &'a mut Box<dyn Socket>,
    cx: &'a mut Context<'b>,
}

impl Blocking<'_, '_> {
    fn settle(poll: Poll<io::Result<usize>>) -> io::Result<usize> {
        match poll {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Blocking<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Self::settle(Pin::new(&mut *self.socket).poll_write(self.cx, buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        Self::settle(Pin::new(&mut *self.socket).poll_write_vectored(self.cx, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
