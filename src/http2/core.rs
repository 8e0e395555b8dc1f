//! What a connection's task and the ends of its streams share: the streams, the windows, both HPACK
//! tables and the way out.

use std::collections::VecDeque;
use std::task::Waker;

use super::budget::Budget;
use super::error::{By, Error, Reason};
use super::frame::{self, DEFAULT_MAX_FRAME, DEFAULT_WINDOW, kind};
use super::head::Bounds;
use super::hpack::decode::Decoder;
use super::hpack::encode::Encoder;
use super::stream::{Key, Streams};
use crate::io::Handle;

/// Streams that we have reset, whose frames may still be on their way.
const FORGOTTEN: usize = 1024;
/// Frames that bring nothing (PING, SETTINGS, PRIORITY, empty DATA …): how many a peer has in store, and
/// how many it earns a second.
const IDLE_FRAMES: (u32, u32) = (10_000, 1_000);
/// Frames that bring nothing which each stream affords. Go's client opens the window of a stream for what
/// it has read of the answer, also when that has ended: a call of it brings one such frame or two.
pub(super) const LATE: u32 = 8;
/// The same of streams that a client resets, or that end by its fault. Beyond it is Rapid Reset
/// (CVE-2023-44487, CVE-2025-8671), whose streams cost upstream work although each counts as closed.
const RESETS: (u32, u32) = (500, 50);

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It asks.
    Client,
    /// It answers.
    Server,
}

/// What we let the peer do.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    /// Window of each stream, in bytes.
    pub stream_window: u32,
    /// Window of the connection, in bytes.
    pub connection_window: u32,
    /// The longest frame.
    pub max_frame: usize,
    /// Streams at once.
    pub streams: usize,
    /// What is kept of a head.
    pub bounds: Bounds,
    /// Whether literals are Huffman-coded.
    pub huffman: bool,
}

/// What the peer lets us do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote {
    /// The window that streams begin with.
    pub(super) window: i64,
    /// The longest frame.
    pub(super) max_frame: usize,
    /// Streams at once; `None`: it has not said.
    pub(super) streams: Option<u32>,
    /// Whether it knows extended CONNECT (RFC 8441).
    pub(super) connect_protocol: bool,
}

/// How far a server is in telling its client to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It is not.
    No,
    /// It has said that it will, and asked for a PING.
    Announced,
    /// It has said which stream was the last.
    Told(u32),
}

/// A header block that is not whole yet.
pub(super) struct Block {
    pub(super) stream: u32,
    pub(super) ends: bool,
    pub(super) malformed: bool,
    pub(super) bytes: Vec<u8>,
}

/// The shared state.
pub(super) struct Core {
    pub(super) role: Role,
    pub(super) io: Handle,
    pub(super) local: Local,
    pub(super) remote: Remote,
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    pub(super) streams: Streams,
    /// The highest stream that the peer has opened, or the next one that we open.
    pub(super) last: u32,
    pub(super) send_window: i64,
    pub(super) recv_window: i64,
    pub(super) owed: usize,
    pub(super) line: VecDeque<Key>,
    forgotten: VecDeque<u32>,
    pub(super) block: Option<Block>,
    pub(super) fields: usize,
    pub(super) settled: bool,
    pub(super) leaving: Leaving,
    /// The peer's GOAWAY has come.
    pub(super) left: bool,
    /// Nobody will open streams any more.
    pub(super) closing: bool,
    /// Why the connection is over.
    pub(super) over: Option<Error>,
    /// The last thing that was written is the middle of a body whose length is known: nobody can use
    /// it before more has come.
    pub(super) amid_body: bool,
    pub(super) resets: Budget,
    pub(super) idle_frames: Budget,
    pub(super) driver: Option<Waker>,
}

impl Core {
    /// A connection that has begun: `hello` is our preface and SETTINGS.
    pub(super) fn new(role: Role, io: Handle, local: Local, hello: &[(u16, u32)]) -> Self {
        io.with_out(|out| {
            if role == Role::Client {
                out.extend_from_slice(frame::PREFACE);
            }
            frame::settings(out, hello);
            let more = i64::from(local.connection_window) - DEFAULT_WINDOW;
            if more > 0 {
                frame::window_update(out, 0, more as u32);
            }
        });
        Self {
            role,
            io,
            local,
            remote: Remote {
                window: DEFAULT_WINDOW,
                max_frame: DEFAULT_MAX_FRAME,
                streams: None,
                connect_protocol: false,
            },
            decoder: Decoder::default(),
            encoder: Encoder::new(local.huffman),
            streams: Streams::default(),
            last: if role == Role::Client { 1 } else { 0 },
            send_window: DEFAULT_WINDOW,
            recv_window: i64::from(local.connection_window).max(DEFAULT_WINDOW),
            owed: 0,
            line: VecDeque::new(),
            forgotten: VecDeque::new(),
            block: None,
            fields: 8,
            settled: false,
            leaving: Leaving::No,
            left: false,
            closing: false,
            over: None,
            amid_body: false,
            resets: Budget::new(RESETS.0, RESETS.1),
            idle_frames: Budget::new(IDLE_FRAMES.0, IDLE_FRAMES.1),
            driver: None,
        }
    }

    /// Something waits to be written, or the connection may be over.
    pub(super) fn wake_driver(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// Neither half goes on.
    pub(super) fn close(&mut self, key: Key) {
        self.streams.close(key);
        if self.streams.open() == 0 {
            self.wake_driver();
        }
    }

    /// Ends a stream that the peer knows of, and tells it why.
    pub(super) fn reset(&mut self, key: Key, reason: Reason) {
        let Some(stream) = self.streams.get(key).filter(|stream| !stream.closed) else { return };
        let id = stream.id;
        stream.error.get_or_insert(Error::Reset(reason, By::Us));
        stream.wake();
        self.io.with_out(|out| frame::reset(out, id, reason));
        self.forget(id);
        self.close(key);
        self.wake_driver();
    }

    /// Frames of this stream may still be on their way, and mean nothing.
    pub(super) fn forget(&mut self, id: u32) {
        if self.forgotten.len() >= FORGOTTEN {
            self.forgotten.pop_front();
        }
        self.forgotten.push_back(id);
    }

    /// Whether we have reset this stream not long ago.
    pub(super) fn is_forgotten(&self, id: u32) -> bool {
        self.forgotten.contains(&id)
    }

    /// Nobody sends on it any more: its turn is another's.
    pub(super) fn mute(&mut self, key: Key) {
        let Some(stream) = self.streams.get(key) else { return };
        stream.in_line = false;
        if std::mem::take(&mut stream.granted) {
            self.grant();
        }
    }

    /// Nobody reads it any more: what came and what comes is the connection's window again.
    pub(super) fn deafen(&mut self, key: Key) {
        let Some(stream) = self.streams.get(key) else { return };
        stream.deaf = true;
        let unread = std::mem::take(&mut stream.received).len();
        if unread > 0 {
            self.give_back(unread);
        }
    }

    /// An end of a stream is not held any more.
    pub(super) fn dropped(&mut self, key: Key) {
        let Some(stream) = self.streams.get(key) else { return };
        stream.handles = stream.handles.saturating_sub(1);
        if stream.handles > 0 {
            return;
        }
        let (closed, whole) = (stream.closed, stream.send_closed);
        if closed {
            self.streams.remove(key);
        } else {
            // Who has been answered need not send the rest of a body (RFC 9113 §8.1).
            let done = whole && self.role == Role::Server;
            self.reset(key, if done { Reason::NO_ERROR } else { Reason::CANCEL });
        }
    }

    /// Ends the connection: tells the peer why, and every stream.
    pub(super) fn abort(&mut self, reason: Reason) {
        if self.over.is_some() {
            return;
        }
        let last = match (self.role, self.leaving) {
            (Role::Client, _) => 0,
            (Role::Server, Leaving::Told(last)) => last,
            (Role::Server, _) => self.last,
        };
        self.io.with_out(|out| frame::go_away(out, last, reason));
        self.fail(&Error::GoAway(reason, By::Us));
    }

    /// The connection is over.
    pub(super) fn fail(&mut self, error: &Error) {
        if self.over.is_none() {
            self.over = Some(error.clone());
        }
        self.end_streams(error, |_| true);
        self.line.clear();
        self.wake_driver();
    }

    /// Ends the streams with these identifiers.
    pub(super) fn end_streams(&mut self, error: &Error, which: impl Fn(u32) -> bool) {
        let keys: Vec<Key> = self
            .streams
            .each()
            .filter(|(_, stream)| which(stream.id))
            .map(|(key, stream)| {
                stream.error.get_or_insert_with(|| error.clone());
                stream.wake();
                key
            })
            .collect();
        for key in keys {
            self.close(key);
        }
    }

    /// Tells the client to go: what it sends until it has heard is still served.
    pub(super) fn leave(&mut self) {
        if self.leaving == Leaving::No && self.over.is_none() {
            self.leaving = Leaving::Announced;
            self.io.with_out(|out| {
                frame::go_away(out, frame::MAX_STREAM, Reason::NO_ERROR);
                frame::write(out, kind::PING, 0, 0, LEAVING_PING);
            });
            self.wake_driver();
        }
    }

    /// Whether all is done that was to be done. A client says goodbye then.
    pub(super) fn is_done_for_good(&mut self) -> bool {
        if self.over.is_some() {
            return true;
        }
        let goes = self.closing || self.left || matches!(self.leaving, Leaving::Told(_));
        let done = goes && self.streams.open() == 0;
        if done && self.role == Role::Client {
            self.io.with_out(|out| frame::go_away(out, 0, Reason::NO_ERROR));
        }
        done
    }
}

/// Its answer says that the client has heard that it is to go.
pub(super) const LEAVING_PING: &[u8; 8] = b"ravelin!";
