//! DATA, which is taken as it comes, not frame by frame (RFC 9113 §6.1).

use bytes::{Buf, BytesMut};

use super::{Done, Fault, fault};
use crate::http2::core::Core;
use crate::http2::error::Reason;
use crate::http2::frame::{HEAD, Head, flag};
use crate::http2::stream::Data;

/// DATA whose payload is not whole yet.
pub(in crate::http2) struct Partial {
    head: Head,
    /// Payload that is still to come, without padding.
    left: usize,
    padding: usize,
    /// Padding that is still to come.
    padding_left: usize,
}

impl Partial {
    /// Begins a DATA frame, and tells how many bytes of `buffer` it took for that; `None`: its
    /// padding's length has not come yet.
    pub(in crate::http2) fn begin(
        head: Head,
        buffer: &[u8],
        core: &mut Core,
    ) -> Result<Option<(Self, usize)>, Fault> {
        let (mut left, mut padding, mut read) = (head.length, 0, HEAD);
        if head.has(flag::PADDED) {
            if head.length == 0 {
                return Err(Fault(Reason::FRAME_SIZE_ERROR, "DATA without its padding's length"));
            }
            let Some(length) = buffer.get(HEAD) else { return Ok(None) };
            padding = usize::from(*length);
            read += 1;
            left -= 1;
            if padding > left {
                return Err(Fault(Reason::PROTOCOL_ERROR, "DATA shorter than its padding"));
            }
            left -= padding;
        }
        core.data_head(head)?;
        let extra = read - HEAD;
        let partial = Self { head, left, padding: padding + extra, padding_left: padding };
        Ok(Some((partial, read)))
    }

    /// Takes what has come of it; `true` when it is whole.
    pub(in crate::http2) fn take(&mut self, buffer: &mut BytesMut, core: &mut Core) -> bool {
        let now = self.left.min(buffer.len());
        if now > 0 {
            if Data::is_small(now) {
                core.data_part(
                    self.head.stream,
                    Data::Small(buffer.get(..now).unwrap_or_default()),
                );
                buffer.advance(now);
            } else {
                core.data_part(self.head.stream, Data::Large(buffer.split_to(now).freeze()));
            }
            self.left -= now;
        }
        if self.left > 0 {
            return false;
        }
        let padding = self.padding_left.min(buffer.len());
        buffer.advance(padding);
        self.padding_left -= padding;
        if self.padding_left > 0 {
            return false;
        }
        core.data_end(self.head, self.padding);
        true
    }
}

impl Core {
    /// The head of DATA: windows and state. Its payload follows by [`Core::data_part`].
    fn data_head(&mut self, head: Head) -> Done {
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
    fn data_part(&mut self, id: u32, data: Data<'_>) {
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
    fn data_end(&mut self, head: Head, padding: usize) {
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
}
