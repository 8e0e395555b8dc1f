//! The server's end of a connection.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::core::{Core, Local, Role};
use super::driver::Driver;
use super::ends::{self, Receiver, Sender};
use super::error::{Error, Reason};
use super::frame::setting;
use crate::io::Io;
use crate::message::Request;

/// A request: its head, whether that is incomplete since it was too large, and the stream.
pub struct Accepted {
    /// The head.
    pub request: Request<()>,
    /// Fields are missing from it.
    pub over: bool,
    /// The answer's half.
    pub sender: Sender,
    /// The request's half.
    pub receiver: Receiver,
}

/// A connection to a client.
pub struct Connection {
    driver: Driver,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Nobody reads or writes any more: whatever is still under way fails with it.
        self.driver.core().borrow_mut().fail(&Error::Closed);
    }
}

impl Connection {
    /// Begins it: our SETTINGS go out with the first flush, the client's preface is awaited.
    /// `list`: the size of heads that the client is told of (RFC 9113 §6.5.2).
    pub fn new(io: Io, local: Local, list: u32) -> Self {
        let hello = [
            (setting::MAX_CONCURRENT_STREAMS, u32::try_from(local.streams).unwrap_or(u32::MAX)),
            (setting::INITIAL_WINDOW_SIZE, local.stream_window),
            (setting::MAX_HEADER_LIST_SIZE, list),
            (setting::ENABLE_CONNECT_PROTOCOL, 1),
        ];
        let core = Core::new(Role::Server, io.handle(), local, &hello);
        Self { driver: Driver::new(Rc::new(RefCell::new(core)), io) }
    }

    /// The next request; `None` when the connection is over but for [`Connection::poll_flush`].
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Accepted>> {
        self.driver.poll_accept(cx).map(|accepted| {
            accepted.map(|accepted| {
                let (sender, receiver) = ends::ends(self.driver.core(), accepted.key);
                let super::receive::Accepted { request, over, .. } = accepted;
                Accepted { request, over, sender, receiver }
            })
        })
    }

    /// Writes out what was collected; to be called whenever the connection was polled. Ready once
    /// it is closed.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.driver.poll_flush(cx)
    }

    /// Bytes that the socket has not taken yet.
    pub fn backlog(&self) -> usize {
        self.driver.core().borrow().io.backlog()
    }

    /// Whether the client's SETTINGS have come.
    pub fn is_settled(&self) -> bool {
        self.driver.core().borrow().settled
    }

    /// Lets go of what a connection that carries nothing need not hold.
    pub fn trim(&mut self) {
        self.driver.core().borrow_mut().streams.trim();
    }

    /// Tells the client to go, in two steps (RFC 9113 §6.8): no stream that it opens meanwhile is lost.
    pub fn leave(&mut self) {
        self.driver.core().borrow_mut().leave();
    }

    /// Ends the connection and all its streams.
    pub fn abort(&mut self, reason: Reason) {
        self.driver.core().borrow_mut().abort(reason);
    }
}
