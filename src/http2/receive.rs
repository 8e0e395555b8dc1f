//! What each frame of the peer does, and what it may not (RFC 9113 §5, §6).

use http::Request;

use super::core::{Block, Core, LEAVING_PING, Leaving, Role};
use super::error::{By, Error, Reason};
use super::frame::{self, Head, MAX_WINDOW, flag, kind, setting};
use super::head::{Asked, Builder, Malformed};
use super::stream::{Data, Key};

/// A fault that ends the connection.
#[derive(Debug)]
pub(super) struct Fault(pub Reason, pub &'static str);

type Done = Result<(), Fault>;

/// Settings that a frame may have at no cost: there are not so many kinds.
const SETTINGS: usize = 16;
/// Interim heads that an answer may have; further ones are let go of.
const INTERIMS: u8 = 16;
/// Frames that bring nothing which each stream affords. Go's client opens the window of a stream for what
/// it has read of the answer, also when that has ended: a call of it brings one such frame or two.
const LATE: u32 = 8;
/// Room for the fields of trailers…
const TRAILERS: usize = 3;
/// …for those that are added to a head on its way…
const ADDED: usize = 2;
/// …and for no more than this many before they have come.
const MOST_FIELDS: usize = 32;

/// A stream that the client has opened.
pub(super) struct Accepted {
    /// The head.
    pub(super) request: Request<()>,
    /// Fields are missing from it, since it was too large.
    pub(super) over: bool,
    /// The stream.
    pub(super) key: Key,
}

const fn fault<T>(reason: Reason, why: &'static str) -> Result<T, Fault> {
    Err(Fault(reason, why))
}

impl Core {
    /// Takes a whole frame other than DATA.
    pub(super) fn frame(&mut self, head: Head, payload: &[u8]) -> Result<Option<Accepted>, Fault> {
        if !self.settled && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
            return fault(Reason::PROTOCOL_ERROR, "the first frame is not SETTINGS");
        }
        match &self.block {
            Some(block) if head.kind != kind::CONTINUATION || head.stream != block.stream => {
                return fault(Reason::PROTOCOL_ERROR, "a frame within a header block");
            }
            None if head.kind == kind::CONTINUATION => {
                return fault(Reason::PROTOCOL_ERROR, "CONTINUATION without HEADERS");
            }
            _ => {}
        }
        let mut accepted = None;
        match head.kind {
            kind::HEADERS => accepted = self.headers(head, payload)?,
            kind::CONTINUATION => accepted = self.continuation(head, payload)?,
            kind::WINDOW_UPDATE => self.window_update(head, payload)?,
            kind::RST_STREAM => self.rst_stream(head, payload)?,
            kind::SETTINGS => self.settings(head, payload)?,
            kind::PING => self.ping(head, payload)?,
            kind::GOAWAY => self.go_away(head, payload)?,
            kind::PRIORITY => self.priority(head, payload)?,
            kind::PUSH_PROMISE => return fault(Reason::PROTOCOL_ERROR, "a push nobody allowed"),
            // Unknown types are ignored (RFC 9113 §4.1).
            _ => self.brings_nothing()?,
        }
        self.bears_resets()?;
        Ok(accepted)
    }

    fn brings_nothing(&mut self) -> Done {
        if self.idle_frames.spend() {
            return Ok(());
        }
        fault(Reason::ENHANCE_YOUR_CALM, "too many frames that bring nothing")
    }

    /// A stream that the peer has reset, or that ended by its fault. A server that does so costs us no
    /// more than its answers would.
    fn costs_a_reset(&mut self) {
        if self.role == Role::Server {
            self.resets.spend();
        }
    }

    /// To be asked after every frame: what was begun for a stream that is reset costs, too.
    fn bears_resets(&self) -> Done {
        if self.resets.is_overdrawn() {
            return fault(Reason::ENHANCE_YOUR_CALM, "too many streams that were reset");
        }
        Ok(())
    }

    fn headers(&mut self, head: Head, payload: &[u8]) -> Result<Option<Accepted>, Fault> {
        if head.stream == 0 {
            return fault(Reason::PROTOCOL_ERROR, "HEADERS without a stream");
        }
        let Some((part, dependency)) = frame::unpadded(head, payload) else {
            return fault(Reason::PROTOCOL_ERROR, "HEADERS shorter than their padding");
        };
        let block = Block {
            stream: head.stream,
            ends: head.has(flag::END_STREAM),
            malformed: dependency == Some(head.stream),
            bytes: Vec::new(),
        };
        if head.has(flag::END_HEADERS) {
            return self.block(&block, part);
        }
        self.block = Some(Block { bytes: part.to_vec(), ..block });
        Ok(None)
    }

    fn continuation(&mut self, head: Head, payload: &[u8]) -> Result<Option<Accepted>, Fault> {
        if payload.is_empty() {
            self.brings_nothing()?;
        }
        let Some(mut block) = self.block.take() else { return Ok(None) };
        // What is packed into more than may be held once unpacked is never going to be right.
        if block.bytes.len() + payload.len() > self.local.bounds.bytes {
            return fault(Reason::ENHANCE_YOUR_CALM, "a header block without end");
        }
        block.bytes.extend_from_slice(payload);
        if head.has(flag::END_HEADERS) {
            let bytes = std::mem::take(&mut block.bytes);
            return self.block(&block, &bytes);
        }
        self.block = Some(block);
        Ok(None)
    }

    /// A whole header block. It is decoded whatever comes of it, since later ones build on it.
    fn block(&mut self, block: &Block, bytes: &[u8]) -> Result<Option<Accepted>, Fault> {
        let bounds = self.local.bounds;
        let known = self.streams.find(block.stream).map(|(key, stream)| {
            (key, stream.recv_closed, stream.has_head || self.role == Role::Server)
        });
        // Room for as many fields as the last head had, and those that a proxy adds.
        let trailers = matches!(known, Some((_, _, true)));
        let mut builder = Builder::new(if trailers { TRAILERS } else { self.fields });
        if self.decoder.decode(bytes, |field, size| builder.take(field, size, bounds)).is_err() {
            return fault(Reason::COMPRESSION_ERROR, "a header block that cannot be decoded");
        }
        if !trailers {
            self.fields = (builder.fields() + ADDED).min(MOST_FIELDS);
        }
        match known {
            Some((key, true, _)) => self.stream_fault(key, Reason::STREAM_CLOSED),
            Some((key, false, true)) => {
                let trailers = builder.into_trailers();
                match trailers {
                    Ok(trailers) if block.ends && !block.malformed => {
                        if let Some(stream) = self.streams.get(key) {
                            stream.trailers = Some(trailers);
                        }
                        self.ended(key);
                    }
                    _ => self.stream_fault(key, Reason::PROTOCOL_ERROR),
                }
            }
            Some((key, false, false)) => self.answered(key, block, builder),
            None if self.role == Role::Client => self.unknown(block.stream)?,
            None => return self.opened(block, builder),
        }
        Ok(None)
    }

    /// The head of an answer.
    fn answered(&mut self, key: Key, block: &Block, builder: Builder) {
        let answer = builder.into_response().ok().filter(|_| !block.malformed);
        let Some((response, length)) = answer else {
            return self.stream_fault(key, Reason::PROTOCOL_ERROR);
        };
        let interim = response.status().is_informational();
        if interim && (block.ends || response.status() == http::StatusCode::SWITCHING_PROTOCOLS) {
            return self.stream_fault(key, Reason::PROTOCOL_ERROR);
        }
        let Some(stream) = self.streams.get(key) else { return };
        if interim {
            // Each is written to the client at once, whatever it has room for.
            if stream.interims < INTERIMS {
                stream.interims += 1;
                stream.interim.push_back(response);
            }
            return stream.wake_reader();
        }
        stream.has_head = true;
        // HEAD and 304 tell a length that does not come.
        let none = stream.asks_head || response.status() == http::StatusCode::NOT_MODIFIED;
        stream.expected = length.filter(|_| !none);
        if block.ends && stream.expected.is_some_and(|expected| expected > 0) {
            return self.stream_fault(key, Reason::PROTOCOL_ERROR);
        }
        stream.head = Some(response);
        if block.ends {
            return self.ended(key);
        }
        stream.wake_reader();
    }

    /// A stream of the client.
    fn opened(&mut self, block: &Block, builder: Builder) -> Result<Option<Accepted>, Fault> {
        let id = block.stream;
        if id.is_multiple_of(2) {
            return fault(Reason::PROTOCOL_ERROR, "a client's stream has an odd number");
        }
        if id <= self.last {
            if self.is_forgotten(id) {
                self.brings_nothing()?;
                return Ok(None);
            }
            let reason =
                if id == self.last { Reason::STREAM_CLOSED } else { Reason::PROTOCOL_ERROR };
            return fault(reason, "HEADERS of a stream that is over");
        }
        if matches!(self.leaving, Leaving::Told(_)) {
            // Whoever was told which stream is the last sends others elsewhere. What follows of this
            // one is on its way already.
            self.last = id;
            self.forget(id);
            self.brings_nothing()?;
            return Ok(None);
        }
        self.last = id;
        let asked = builder.into_request().and_then(|asked| {
            let wrong = block.malformed || block.ends && asked.length.unwrap_or_default() > 0;
            if wrong { Err(Malformed) } else { Ok(asked) }
        });
        let refused = match &asked {
            _ if self.streams.open() >= self.local.streams => Some(Reason::REFUSED_STREAM),
            // Those that were reset are not over before they are let go of.
            _ if self.streams.held() >= 2 * self.local.streams => Some(Reason::REFUSED_STREAM),
            Err(Malformed) => Some(Reason::PROTOCOL_ERROR),
            Ok(_) => None,
        };
        if let Some(reason) = refused {
            self.refuse(id, reason)?;
            return Ok(None);
        }
        Ok(asked.ok().map(|asked| self.accept(id, block.ends, asked)))
    }

    fn accept(&mut self, id: u32, ends: bool, asked: Asked) -> Accepted {
        // Many clients send a few frames behind each stream that come when it has ended.
        self.idle_frames.earn(LATE);
        let key = self.streams.insert(id, |stream| {
            stream.handles = 2;
            stream.recv_closed = ends;
            stream.has_head = true;
            stream.expected = asked.length;
            stream.send_window = self.remote.window;
            stream.recv_window = i64::from(self.local.stream_window);
        });
        Accepted { request: asked.request, over: asked.over, key }
    }

    /// Resets a stream that was not taken in.
    fn refuse(&mut self, id: u32, reason: Reason) -> Done {
        self.io.with_out(|out| frame::reset(out, id, reason));
        self.forget(id);
        self.costs_a_reset();
        self.brings_nothing()
    }

    /// Ends a stream for what the peer did on it, which counts as if it had reset it itself: else it could
    /// have work begun and ended without limit (CVE-2025-8671).
    fn stream_fault(&mut self, key: Key, reason: Reason) {
        self.costs_a_reset();
        self.reset(key, reason);
    }

    /// The peer has ended its half.
    fn ended(&mut self, key: Key) {
        let Some(stream) = self.streams.get(key) else { return };
        if stream.expected.is_some_and(|expected| expected > 0) {
            return self.stream_fault(key, Reason::PROTOCOL_ERROR);
        }
        stream.recv_closed = true;
        stream.wake_reader();
        if stream.send_closed {
            self.close(key);
        }
    }

    /// A frame of a stream that is not there: it was, or it never was.
    fn unknown(&self, id: u32) -> Done {
        let idle = match self.role {
            Role::Client => id >= self.last || id.is_multiple_of(2),
            Role::Server => id > self.last || id.is_multiple_of(2),
        };
        if idle {
            fault(Reason::PROTOCOL_ERROR, "a frame of a stream that was never opened")
        } else {
            Ok(())
        }
    }

    /// The head of DATA: windows and state. Its payload follows by [`Core::data_part`].
    pub(super) fn data_head(&mut self, head: Head) -> Done {
        if !self.settled || self.block.is_some() {
            return fault(Reason::PROTOCOL_ERROR, "DATA where it may not be");
        }
        let length = head.length as i64;
        if head.stream == 0 {
            return fault(Reason::PROTOCOL_ERROR, "DATA without a stream");
        }
        if length > self.recv_window {
            return fault(Reason::FLOW_CONTROL_ERROR, "more than the connection's window");
        }
        self.recv_window -= length;
        if head.length == 0 && !head.has(flag::END_STREAM) {
            self.brings_nothing()?;
        }
        let Some((key, stream)) = self.streams.find(head.stream) else {
            self.unknown(head.stream)?;
            if self.is_forgotten(head.stream) {
                return if head.length == 0 { self.brings_nothing() } else { Ok(()) };
            }
            return self.refuse(head.stream, Reason::STREAM_CLOSED);
        };
        if stream.recv_closed {
            self.stream_fault(key, Reason::STREAM_CLOSED);
        } else if !stream.has_head {
            self.stream_fault(key, Reason::PROTOCOL_ERROR);
        } else if length > stream.recv_window {
            self.stream_fault(key, Reason::FLOW_CONTROL_ERROR);
        } else {
            stream.recv_window -= length;
        }
        self.bears_resets()
    }

    /// A part of DATA's payload, as much as has come.
    pub(super) fn data_part(&mut self, id: u32, data: Data<'_>) {
        let length = data.len();
        let Some((key, stream)) = self.streams.find(id) else { return self.give_back(length) };
        let left = match stream.expected {
            None => None,
            Some(expected) => match expected.checked_sub(length as u64) {
                Some(left) => Some(left),
                None => {
                    self.give_back(length);
                    return self.stream_fault(key, Reason::PROTOCOL_ERROR);
                }
            },
        };
        stream.expected = left;
        if stream.deaf {
            return self.give_back(length);
        }
        stream.received.push(data);
        stream.wake_reader();
    }

    /// DATA is whole; `padding` bytes of it were none of the body.
    pub(super) fn data_end(&mut self, head: Head, padding: usize) {
        match self.streams.find(head.stream) {
            Some((key, _)) => {
                if padding > 0 {
                    self.taken(key, padding);
                }
                if head.has(flag::END_STREAM) {
                    self.ended(key);
                }
            }
            None => self.give_back(padding),
        }
    }

    fn window_update(&mut self, head: Head, payload: &[u8]) -> Done {
        let Ok(increment) = <[u8; 4]>::try_from(payload) else {
            return fault(Reason::FRAME_SIZE_ERROR, "WINDOW_UPDATE has four bytes");
        };
        let increment = i64::from(u32::from_be_bytes(increment) & frame::MAX_STREAM);
        if head.stream == 0 {
            if increment == 0 {
                return fault(Reason::PROTOCOL_ERROR, "a window opened by nothing");
            }
            if self.send_window + increment > MAX_WINDOW {
                return fault(Reason::FLOW_CONTROL_ERROR, "a window beyond 2^31-1");
            }
            self.send_window += increment;
            self.grant();
            return Ok(());
        }
        let Some((key, stream)) = self.streams.find(head.stream) else {
            self.unknown(head.stream)?;
            return self.brings_nothing();
        };
        if increment == 0 {
            self.stream_fault(key, Reason::PROTOCOL_ERROR);
        } else if stream.send_window + increment > MAX_WINDOW {
            self.stream_fault(key, Reason::FLOW_CONTROL_ERROR);
        } else {
            let shut = stream.send_window <= 0;
            stream.send_window += increment;
            if shut && stream.send_window > 0 {
                stream.wake_writer();
            }
        }
        Ok(())
    }

    fn rst_stream(&mut self, head: Head, payload: &[u8]) -> Done {
        let Ok(code) = <[u8; 4]>::try_from(payload) else {
            return fault(Reason::FRAME_SIZE_ERROR, "RST_STREAM has four bytes");
        };
        if head.stream == 0 {
            return fault(Reason::PROTOCOL_ERROR, "RST_STREAM without a stream");
        }
        let Some((key, stream)) = self.streams.find(head.stream) else {
            self.unknown(head.stream)?;
            return self.brings_nothing();
        };
        let reason = Reason::from(u32::from_be_bytes(code));
        stream.error.get_or_insert(Error::Reset(reason, By::Peer));
        stream.wake();
        self.costs_a_reset();
        self.close(key);
        Ok(())
    }

    fn settings(&mut self, head: Head, payload: &[u8]) -> Done {
        if head.stream != 0 {
            return fault(Reason::PROTOCOL_ERROR, "SETTINGS of a stream");
        }
        if head.has(flag::ACK) {
            let empty = payload.is_empty();
            return if empty {
                Ok(())
            } else {
                fault(Reason::FRAME_SIZE_ERROR, "an ACK with settings")
            };
        }
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return fault(Reason::FRAME_SIZE_ERROR, "SETTINGS come by six bytes");
        }
        self.brings_nothing()?;
        for (n, [a, b, c, d, e, f]) in settings.iter().enumerate() {
            if n >= SETTINGS {
                self.brings_nothing()?;
            }
            self.setting(u16::from_be_bytes([*a, *b]), u32::from_be_bytes([*c, *d, *e, *f]))?;
        }
        self.settled = true;
        self.io.with_out(|out| frame::write(out, kind::SETTINGS, flag::ACK, 0, &[]));
        Ok(())
    }

    fn setting(&mut self, name: u16, value: u32) -> Done {
        match name {
            setting::HEADER_TABLE_SIZE => self.encoder.resize(value as usize),
            setting::ENABLE_PUSH if value > 1 || value == 1 && self.role == Role::Client => {
                return fault(Reason::PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1");
            }
            setting::MAX_CONCURRENT_STREAMS => self.remote.streams = Some(value),
            setting::INITIAL_WINDOW_SIZE => return self.initial_window(i64::from(value)),
            setting::MAX_FRAME_SIZE => {
                if !(1 << 14..1 << 24).contains(&value) {
                    return fault(Reason::PROTOCOL_ERROR, "MAX_FRAME_SIZE is not in its bounds");
                }
                self.remote.max_frame = value as usize;
            }
            setting::ENABLE_CONNECT_PROTOCOL => match value {
                0 | 1 => self.remote.connect_protocol = value == 1,
                _ => return fault(Reason::PROTOCOL_ERROR, "ENABLE_CONNECT_PROTOCOL is 0 or 1"),
            },
            _ => {}
        }
        Ok(())
    }

    /// Windows of streams that are open change by as much (RFC 9113 §6.9.2).
    fn initial_window(&mut self, window: i64) -> Done {
        if window > MAX_WINDOW {
            return fault(Reason::FLOW_CONTROL_ERROR, "a window beyond 2^31-1");
        }
        let more = window - self.remote.window;
        self.remote.window = window;
        for (_, stream) in self.streams.each() {
            stream.send_window += more;
            if stream.send_window > MAX_WINDOW {
                return fault(Reason::FLOW_CONTROL_ERROR, "a window beyond 2^31-1");
            }
            if more > 0 {
                stream.wake_writer();
            }
        }
        Ok(())
    }

    fn ping(&mut self, head: Head, payload: &[u8]) -> Done {
        let Ok(payload) = <[u8; 8]>::try_from(payload) else {
            return fault(Reason::FRAME_SIZE_ERROR, "PING has eight bytes");
        };
        if head.stream != 0 {
            return fault(Reason::PROTOCOL_ERROR, "PING of a stream");
        }
        if !head.has(flag::ACK) {
            self.brings_nothing()?;
            self.io.with_out(|out| frame::write(out, kind::PING, flag::ACK, 0, &payload));
        } else if payload == *LEAVING_PING && self.leaving == Leaving::Announced {
            self.leaving = Leaving::Told(self.last);
            self.io.with_out(|out| frame::go_away(out, self.last, Reason::NO_ERROR));
        }
        Ok(())
    }

    fn go_away(&mut self, head: Head, payload: &[u8]) -> Done {
        let Some((last, rest)) = payload.split_first_chunk::<4>() else {
            return fault(Reason::FRAME_SIZE_ERROR, "GOAWAY has eight bytes");
        };
        let Some((code, _)) = rest.split_first_chunk::<4>() else {
            return fault(Reason::FRAME_SIZE_ERROR, "GOAWAY has eight bytes");
        };
        if head.stream != 0 {
            return fault(Reason::PROTOCOL_ERROR, "GOAWAY of a stream");
        }
        self.left = true;
        if self.role == Role::Client {
            let last = u32::from_be_bytes(*last) & frame::MAX_STREAM;
            let reason = Reason::from(u32::from_be_bytes(*code));
            self.end_streams(&Error::GoAway(reason, By::Peer), |id| id > last);
        }
        Ok(())
    }

    fn priority(&mut self, head: Head, payload: &[u8]) -> Done {
        if head.stream == 0 {
            return fault(Reason::PROTOCOL_ERROR, "PRIORITY without a stream");
        }
        self.brings_nothing()?;
        let wrong = match payload {
            [a, b, c, d, _] => {
                let on = u32::from_be_bytes([*a, *b, *c, *d]) & frame::MAX_STREAM;
                (on == head.stream).then_some(Reason::PROTOCOL_ERROR)
            }
            _ => Some(Reason::FRAME_SIZE_ERROR),
        };
        let Some(reason) = wrong else { return Ok(()) };
        match self.streams.find(head.stream).map(|(key, _)| key) {
            Some(key) => self.stream_fault(key, reason),
            None => self.io.with_out(|out| frame::reset(out, head.stream, reason)),
        }
        Ok(())
    }
}
