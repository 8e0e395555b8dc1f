//! What each frame of the peer does, and what it may not (RFC 9113 §5, §6).

mod data;
mod heads;

pub(super) use data::Partial;
pub(super) use heads::Accepted;

use super::core::{Core, LEAVING_PING, Leaving, Role};
use super::error::{By, Error, Reason};
use super::frame::{self, Head, MAX_WINDOW, flag, kind, setting};
use super::stream::Key;

/// A fault that ends the connection.
#[derive(Debug)]
pub(super) struct Fault(pub Reason, pub &'static str);

type Done = Result<(), Fault>;

/// Settings that a frame may have at no cost: there are not so many kinds.
const SETTINGS: usize = 16;
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
