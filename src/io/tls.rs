//! TLS of a stream: rustls driven directly, with one read buffer for all connections of a worker.

use std::cell::RefCell;
use std::io::{self, BufRead, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::Socket;

/// Bytes read from the socket at once.
const READ: usize = 32 * 1024;
/// Decrypted bytes above which rustls takes no more input (its own limit).
const PLAINTEXT_LIMIT: usize = 16 * 1024;

thread_local! {
    /// One buffer for all connections of a worker, so that an idle connection holds none.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

pub(super) struct Tls {
    pub(super) session: Box<rustls::Connection>,
    /// Ciphertext that was read but did not fit.
    pub(super) input: Vec<u8>,
    /// Decrypted bytes waiting in the session.
    pub(super) readable: usize,
    /// The socket has not taken all of the last write.
    pub(super) stalled: bool,
    /// Bytes that were encrypted and that the socket has not taken; what records add is not counted.
    pub(super) queued: usize,
}

impl Tls {
    /// Goes on where the handshake ended; what it decrypted beyond is not lost.
    pub(super) fn new(mut session: rustls::Connection) -> Self {
        // The bound is kept in front of the session, before encryption.
        session.set_buffer_limit(None);
        let readable = match session.process_new_packets() {
            Ok(state) => state.plaintext_bytes_to_read(),
            Err(_) => 0,
        };
        Self { session: Box::new(session), input: Vec::new(), readable, queued: 0, stalled: false }
    }

    pub(super) fn poll_read(
        &mut self,
        socket: &mut Box<dyn Socket>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut read = false;
        let serves = matches!(*self.session, rustls::Connection::Server(_));
        loop {
            if buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            // Record by record: `read` would want the buffer initialized, which is one more pass
            // over all that is received.
            let mut reader = self.session.reader();
            match reader.fill_buf() {
                Ok(record) => {
                    let part = record.get(..buf.remaining()).unwrap_or(record);
                    let n = part.len();
                    buf.put_slice(part);
                    reader.consume(n);
                    self.readable = self.readable.saturating_sub(n);
                    if n == 0 || self.readable == 0 || buf.remaining() == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    read = true;
                    continue;
                }
                // What was read before is not to be forgotten, whatever comes after it.
                Err(_) if read => return Poll::Ready(Ok(())),
                // Many clients close without close_notify, and their requests are framed. An answer may
                // end with its connection, and is whole only behind a close_notify (RFC 9112 §9.8).
                Err(error) if serves && error.kind() == io::ErrorKind::UnexpectedEof => {
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
            if self.session.read_tls(&mut input)? == 0 {
                // Behind a close_notify the session takes no more: it is nobody's (RFC 8446 §6.1).
                return Ok(());
            }
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

    pub(super) fn poll_write_socket(
        &mut self,
        socket: &mut Box<dyn Socket>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Blocking { socket, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => self.queued = self.queued.saturating_sub(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stalled = true;
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.stalled = false;
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
