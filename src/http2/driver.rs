//! The task's side of a connection: reads frames, and writes out what was collected.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::time::{Instant, Sleep};

use super::core::{Core, Role};
use super::error::{Error, Reason};
use super::frame::{HEAD, Head, PREFACE, kind};
use super::receive::{Accepted, Fault, Partial};
use crate::io::{Handle, Io};

/// Bytes read at once.
const READ: usize = 64 * 1024;
/// Bytes read before others have their turn.
const TURN: usize = 512 * 1024;

/// How long a peer is still read to whom all was said.
const LINGER: Duration = Duration::from_secs(1);
/// How long the beginning of a TLS record may wait for its rest, in the midst of a body.
const HOLD: Duration = Duration::from_millis(1);

thread_local! {
    /// The buffer of the connection that was read last. The next one reads into it: an idle
    /// connection holds none.
    static SPARE: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// A connection, to be polled by its task.
pub(super) struct Driver {
    core: Rc<RefCell<Core>>,
    io: Io,
    handle: Handle,
    buffer: BytesMut,
    partial: Option<Partial>,
    /// The client's preface is still to come.
    preface: bool,
    /// The peer sends no more.
    ended: bool,
    /// What is left is to write out and close.
    finishing: bool,
    /// Until when the beginning of a TLS record waits for its rest.
    hold: Option<Pin<Box<Sleep>>>,
    holding: bool,
    /// All is said: until when the peer may still say something.
    lingers: Option<Pin<Box<Sleep>>>,
}

impl Driver {
    /// Drives `io` for `core`.
    pub(super) fn new(core: Rc<RefCell<Core>>, io: Io) -> Self {
        let preface = core.borrow().role == Role::Server;
        Self {
            core,
            handle: io.handle(),
            io,
            buffer: BytesMut::new(),
            partial: None,
            preface,
            ended: false,
            finishing: false,
            hold: None,
            holding: false,
            lingers: None,
        }
    }

    /// The shared state.
    pub(super) const fn core(&self) -> &Rc<RefCell<Core>> {
        &self.core
    }

    /// Reads frames until a stream is opened or there is nothing to read. Ready without a stream:
    /// the connection is over.
    pub(super) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Accepted>> {
        let mut turn = TURN;
        // What is written meanwhile goes out with this poll.
        let waker = self.core.borrow_mut().driver.take();
        loop {
            if self.finishing {
                return Poll::Ready(None);
            }
            match self.parse() {
                Ok(Some(accepted)) => return Poll::Ready(Some(accepted)),
                Ok(None) => {}
                Err(Fault(reason, why)) => {
                    tracing::debug!(%reason, why, "an HTTP/2 connection is at fault");
                    self.core.borrow_mut().abort(reason);
                }
            }
            if self.core.borrow_mut().is_done_for_good() {
                self.finishing = true;
                return Poll::Ready(None);
            }
            // Who does not take answers is not asked for more. A server is always read: it may do
            // the same, and both would wait.
            let may_wait = self.core.borrow().role == Role::Server;
            if may_wait && self.handle.room() == 0 && self.handle.drain(cx).is_pending() {
                break;
            }
            if turn == 0 {
                cx.waker().wake_by_ref();
                break;
            }
            match self.poll_read(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => self.end(std::io::ErrorKind::UnexpectedEof.into()),
                Poll::Ready(Ok(n)) => turn = turn.saturating_sub(n),
                Poll::Ready(Err(error)) => self.end(error.into()),
            }
        }
        self.rest();
        let mut core = self.core.borrow_mut();
        core.driver = waker;
        super::stream::remember(&mut core.driver, cx.waker());
        Poll::Pending
    }

    /// Writes out what was collected, and lets streams go on that waited for room. Ready once the
    /// connection is closed.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let held = self.poll_hold(cx).is_pending();
        let written = if held { self.handle.drain_full(cx) } else { self.handle.drain(cx) };
        match written {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => self.end(error.into()),
            Poll::Pending => return Poll::Pending,
        }
        if !self.finishing {
            self.core.borrow_mut().grant();
            return Poll::Pending;
        }
        if self.ended {
            return Poll::Ready(());
        }
        if self.lingers.is_none() {
            let _ = ready!(Pin::new(&mut self.io).poll_shutdown(cx));
        }
        self.poll_linger(cx)
    }

    /// Reads what the peer still sends, and forgets it: were the socket closed before, TCP would
    /// answer with a reset, which takes from the peer what it has not read yet.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.lingers.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            self.buffer.clear();
            match ready!(self.poll_read(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
    }

    /// Whether it is closed once all is written.
    pub(super) const fn is_finishing(&self) -> bool {
        self.finishing
    }

    /// Pending: what does not fill a record may wait for more of the same body, which is on its way.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let may = !self.finishing && self.core.borrow().amid_body && self.handle.has_full();
        if !may {
            self.holding = false;
            return Poll::Ready(());
        }
        let timer = self.hold.get_or_insert_with(|| Box::pin(tokio::time::sleep(HOLD)));
        if !self.holding {
            self.holding = true;
            timer.as_mut().reset(Instant::now() + HOLD);
        }
        ready!(timer.as_mut().poll(cx));
        self.holding = false;
        Poll::Ready(())
    }

    fn end(&mut self, error: Error) {
        self.ended = true;
        self.core.borrow_mut().fail(&error);
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if self.buffer.capacity() == 0 {
            self.buffer = SPARE.take();
        }
        if self.buffer.capacity() - self.buffer.len() < READ / 2 {
            self.buffer.reserve(READ);
        }
        pin!(self.io.read_buf(&mut self.buffer)).poll(cx)
    }

    /// Lets go of the buffer while there is nothing in it.
    fn rest(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > 0 {
            SPARE.set(std::mem::take(&mut self.buffer));
        }
    }

    /// Takes frames out of what was read, until one opens a stream.
    fn parse(&mut self) -> Result<Option<Accepted>, Fault> {
        let mut core = self.core.borrow_mut();
        if core.over.is_some() {
            self.buffer.clear();
            return Ok(None);
        }
        if self.preface {
            let seen = self.buffer.len().min(PREFACE.len());
            if self.buffer.get(..seen) != PREFACE.get(..seen) {
                return Err(Fault(Reason::PROTOCOL_ERROR, "no preface"));
            }
            if seen < PREFACE.len() {
                return Ok(None);
            }
            self.buffer.advance(seen);
            self.preface = false;
        }
        loop {
            if let Some(partial) = &mut self.partial {
                if !partial.take(&mut self.buffer, &mut core) {
                    return Ok(None);
                }
                self.partial = None;
            }
            let Some(head) = Head::read(&self.buffer) else { return Ok(None) };
            if head.length > core.local.max_frame {
                return Err(Fault(Reason::FRAME_SIZE_ERROR, "a frame longer than allowed"));
            }
            if head.kind == kind::DATA {
                match Partial::begin(head, &self.buffer, &mut core)? {
                    Some((partial, read)) => {
                        self.buffer.advance(read);
                        self.partial = Some(partial);
                        continue;
                    }
                    None => return Ok(None),
                }
            }
            let Some(payload) = self.buffer.get(HEAD..HEAD + head.length) else {
                let missing = HEAD + head.length - self.buffer.len();
                self.buffer.reserve(missing);
                return Ok(None);
            };
            let accepted = core.frame(head, payload);
            self.buffer.advance(HEAD + head.length);
            if let Some(accepted) = accepted? {
                return Ok(Some(accepted));
            }
        }
    }
}
