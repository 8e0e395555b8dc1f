//! Both directions of a stream: what is read before the socket, and what is collected before it.

use std::cell::Cell;
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::Socket;
use super::tls::Tls;

/// Plaintext of one full TLS record (RFC 8446 §5.1).
pub(super) const RECORD: usize = 16 * 1024;
/// Collected bytes from which on the socket is tried before the drain.
const BATCH: usize = 128 * 1024;
/// Collected bytes above which writes wait for the socket: the bound of a slow reader's memory.
pub(super) const HIGH: usize = 256 * 1024;
/// What is shorter is copied even where a record is full: it is less work than a call.
const DIRECT: usize = 4 * 1024;
/// Read while nobody reads, to see whether the peer is there.
const AHEAD: usize = 1024;

thread_local! {
    /// The buffer of the connection that was drained last. The next one that has something to write
    /// collects in it: an idle connection holds none, and a busy one does not grow its own anew.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

pub(super) struct Inner {
    pub(super) socket: Box<dyn Socket>,
    pub(super) tls: Option<Tls>,
    /// Read before anything from the socket: what was looked at to tell the protocol.
    pub(super) replay: Bytes,
    /// Full TLS records were made by [`Inner::put`] since the last drain.
    pub(super) full: bool,
    /// Collected plaintext, not yet handed to TLS or to the socket.
    pub(super) out: Vec<u8>,
    pub(super) closing: bool,
    /// Bytes given to the reader so far.
    pub(super) received: u64,
    pub(super) insertion: Option<Insertion>,
    /// Bytes taken from the writer so far.
    pub(super) taken: u64,
    /// The last write has to wait for the socket.
    pub(super) blocked: bool,
}

/// Bytes to be read between two frames that the peer sends.
pub(super) struct Insertion {
    /// The preface and the first frame, as far as they have come.
    pub(super) head: Vec<u8>,
    pub(super) frames: Bytes,
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
    pub(super) fn backlog(&self) -> usize {
        self.out.len() + self.tls.as_ref().map_or(0, |tls| tls.queued)
    }

    pub(super) fn room(&self) -> usize {
        HIGH.saturating_sub(self.backlog())
    }

    /// The collected plaintext, to be appended to.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        if self.out.capacity() == 0 {
            self.out = SPARE.take();
        }
        &mut self.out
    }

    /// See [`super::Handle::put`].
    pub(super) fn put(&mut self, head: &[u8], payload: &[u8]) {
        let out = self.out();
        out.extend_from_slice(head);
        let total = out.len() + payload.len();
        if total < RECORD || payload.len() < DIRECT {
            out.extend_from_slice(payload);
            return;
        }
        let mut rest = payload;
        match &mut self.tls {
            Some(tls) => {
                // Full records now; what does not fill one waits for more.
                let now = (total / RECORD * RECORD).saturating_sub(self.out.len());
                let (full, later) = payload.split_at(now.min(payload.len()));
                let records = [IoSlice::new(&self.out), IoSlice::new(full)];
                if let Ok(written) = tls.session.writer().write_vectored(&records) {
                    tls.queued += written;
                    self.out.clear();
                    self.full = true;
                    rest = later;
                }
                if tls.queued >= BATCH {
                    let cx = &mut Context::from_waker(Waker::noop());
                    let _ = tls.poll_write_socket(&mut self.socket, cx);
                }
            }
            None => rest = self.put_plain(payload),
        }
        self.out.extend_from_slice(rest);
    }

    pub(super) fn has_full(&self) -> bool {
        self.full && !self.out.is_empty()
    }

    pub(super) fn poll_drain_full(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.tls {
            Some(tls) => tls.poll_write_socket(&mut self.socket, cx),
            None => self.poll_drain(cx),
        }
    }

    /// Writes what was collected and `payload` at once; gives back what the socket did not take.
    fn put_plain<'a>(&mut self, payload: &'a [u8]) -> &'a [u8] {
        // Whoever drains asks again, with a waker that matters.
        let cx = &mut Context::from_waker(Waker::noop());
        let both = [IoSlice::new(&self.out), IoSlice::new(payload)];
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, &both);
        let Poll::Ready(Ok(written)) = written else { return payload };
        let before = self.out.len();
        self.out.drain(..written.min(before));
        payload.get(written.saturating_sub(before)..).unwrap_or_default()
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
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

    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.replay.is_empty() || self.insertion.is_some() {
            return Poll::Pending;
        }
        let mut chunk = [0; AHEAD];
        let mut buf = ReadBuf::new(&mut chunk);
        ready!(self.poll_read_next(cx, &mut buf))?;
        if buf.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.replay = Bytes::copy_from_slice(buf.filled());
        // Whoever has begun to read meanwhile is not woken by the socket any more.
        cx.waker().wake_by_ref();
        Poll::Pending
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

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.tls.is_some() {
            return self.write_secure(cx, bufs);
        }
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.backlog() + total > HIGH && self.backlog() > 0 {
            ready!(self.poll_drain(cx))?;
        }
        if self.out().len() + total < RECORD {
            for buf in bufs {
                self.out.extend_from_slice(buf);
            }
            return Poll::Ready(Ok(total));
        }
        self.write_plain(cx, bufs)
    }

    /// Takes as much of `bufs` as there is room for: what is encrypted is held until the socket takes
    /// it, however long that is.
    fn write_secure(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.room() == 0 {
            ready!(self.poll_drain(cx))?;
        }
        let mut taken = 0;
        for buf in bufs {
            let now = buf.get(..self.room()).unwrap_or(buf);
            self.put(&[], now);
            taken += now.len();
            if now.len() < buf.len() {
                break;
            }
        }
        Poll::Ready(Ok(taken))
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

    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.full = false;
        match &mut self.tls {
            Some(tls) => {
                // What does not fill a record would have to wait for the socket too: until then more
                // may come that fills it.
                if tls.stalled {
                    ready!(tls.poll_write_socket(&mut self.socket, cx))?;
                }
                if !self.out.is_empty() {
                    tls.session.writer().write_all(&self.out)?;
                    tls.queued += self.out.len();
                    self.out.clear();
                }
                spare(&mut self.out);
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
                spare(&mut self.out);
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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

/// Gives an emptied buffer to whoever writes next.
fn spare(out: &mut Vec<u8>) {
    if out.capacity() > 0 {
        SPARE.set(std::mem::take(out));
    }
}
