//! The client's end of a connection.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::core::{Core, Local, Role};
use super::driver::Driver;
use super::ends::{self, Receiver, Sender};
use super::error::Error;
use super::frame::{self, setting};
use crate::io::Io;
use crate::message::Request;

/// Opens streams. Dropped, it lets the connection end with its last stream.
pub struct Requests {
    core: Rc<RefCell<Core>>,
}

/// The connection's task: ends when the connection does, with an error if that was one.
pub struct Connection {
    driver: Driver,
}

/// Begins a connection to a server. Streams may be opened at once; how many at a time is known when
/// its SETTINGS have come ([`Requests::is_settled`]).
pub fn open(io: Io, local: Local, list: u32) -> (Requests, Connection) {
    let hello = [
        (setting::ENABLE_PUSH, 0),
        (setting::INITIAL_WINDOW_SIZE, local.stream_window),
        (setting::MAX_FRAME_SIZE, u32::try_from(local.max_frame).unwrap_or(1 << 14)),
        (setting::MAX_HEADER_LIST_SIZE, list),
    ];
    let core = Rc::new(RefCell::new(Core::new(Role::Client, io.handle(), local, &hello)));
    let requests = Requests { core: Rc::clone(&core) };
    (requests, Connection { driver: Driver::new(core, io) })
}

impl Requests {
    /// Opens a stream. An error says that nothing of it was sent.
    pub fn send(&self, request: &Request<()>, ends: bool) -> Result<(Sender, Receiver), Error> {
        let key = self.core.borrow_mut().request(request, ends)?;
        Ok(ends::ends(&self.core, key))
    }

    /// Whether the server's SETTINGS have come.
    pub fn is_settled(&self) -> bool {
        self.core.borrow().settled
    }

    /// How many streams the server allows at once.
    pub fn limit(&self) -> usize {
        self.core.borrow().remote.streams.map_or(usize::MAX, |streams| streams as usize)
    }

    /// Whether streams can still be opened: the server has not said GOAWAY, and numbers are left.
    pub fn is_open(&self) -> bool {
        let core = self.core.borrow();
        core.over.is_none() && !core.left && core.last <= frame::MAX_STREAM
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        let mut core = self.core.borrow_mut();
        core.closing = true;
        core.wake_driver();
    }
}

impl Connection {
    /// Lets go of what a connection that carries nothing need not hold.
    pub fn trim(&self) {
        self.driver.core().borrow_mut().streams.trim();
    }

    /// Asks for a PING's answer; any byte that comes is a sign of life.
    pub fn ping(&self) {
        let mut core = self.driver.core().borrow_mut();
        core.io.with_out(|out| frame::write(out, frame::kind::PING, 0, 0, &[0; 8]));
        core.wake_driver();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Whatever is still under way fails with it.
        self.driver.core().borrow_mut().fail(&Error::Closed);
    }
}

impl Future for Connection {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        while let Poll::Ready(Some(_)) = self.driver.poll_accept(cx) {}
        // Nobody is waited for who does not take the goodbye.
        if self.driver.poll_flush(cx).is_pending() && !self.driver.is_finishing() {
            return Poll::Pending;
        }
        let core = self.driver.core().borrow();
        Poll::Ready(core.over.clone().map_or(Ok(()), Err))
    }
}
