//! Frames (RFC 9113 §4.1, §6): their heads, and those that are no more than a few bytes.

use super::error::Reason;

/// The length of a frame's head.
pub const HEAD: usize = 9;
/// What every client's connection begins with (RFC 9113 §3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest payload that every peer accepts (RFC 9113 §4.2).
pub const DEFAULT_MAX_FRAME: usize = 16_384;
/// The window that streams and connection begin with (RFC 9113 §6.9.2).
pub const DEFAULT_WINDOW: i64 = 65_535;
/// The largest window there may be (RFC 9113 §6.9.1).
pub const MAX_WINDOW: i64 = (1 << 31) - 1;
/// The largest stream identifier.
pub const MAX_STREAM: u32 = (1 << 31) - 1;

/// Types of frames.
pub mod kind {
    #![allow(missing_docs, reason = "RFC 9113 §6 tells")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    #![allow(missing_docs, reason = "RFC 9113 §6 tells")]
    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// Settings (RFC 9113 §6.5.2, RFC 8441 §3).
pub mod setting {
    #![allow(missing_docs, reason = "RFC 9113 §6.5.2 tells")]
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of payload.
    pub length: usize,
    /// See [`kind`].
    pub kind: u8,
    /// See [`flag`].
    pub flags: u8,
    /// 0: the connection.
    pub stream: u32,
}

impl Head {
    /// The head that `bytes` begin with, if it is there whole.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, rest @ ..] = bytes.first_chunk::<HEAD>()?;
        Some(Self {
            length: u32::from_be_bytes([0, *a, *b, *c]) as usize,
            kind: *kind,
            flags: *flags,
            stream: u32::from_be_bytes(*rest) & MAX_STREAM,
        })
    }

    /// As it is written.
    pub const fn bytes(self) -> [u8; HEAD] {
        let [_, a, b, c] = (self.length as u32).to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }

    /// Whether a flag is set.
    pub const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Writes a frame that is already there.
pub fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&Head { length: payload.len(), kind, flags, stream }.bytes());
    out.extend_from_slice(payload);
}

/// Writes SETTINGS.
pub fn settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    let mut payload = Vec::with_capacity(6 * settings.len());
    for (name, value) in settings {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    write(out, kind::SETTINGS, 0, 0, &payload);
}

/// Writes RST_STREAM.
pub fn reset(out: &mut Vec<u8>, stream: u32, reason: Reason) {
    write(out, kind::RST_STREAM, 0, stream, &u32::from(reason).to_be_bytes());
}

/// Writes WINDOW_UPDATE.
pub fn window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    write(out, kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
}

/// Writes GOAWAY.
pub fn go_away(out: &mut Vec<u8>, last: u32, reason: Reason) {
    let [a, b, c, d] = last.to_be_bytes();
    let [e, f, g, h] = u32::from(reason).to_be_bytes();
    write(out, kind::GOAWAY, 0, 0, &[a, b, c, d, e, f, g, h]);
}

/// Writes a header block as HEADERS and, where the peer's frames are too short, CONTINUATION.
/// `encode` appends the block.
pub fn headers(
    out: &mut Vec<u8>,
    stream: u32,
    ends: bool,
    max_frame: usize,
    encode: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    encode(out);
    let block = start + HEAD;
    let length = out.len() - block;
    let flags = if ends { flag::END_STREAM } else { 0 };
    if length <= max_frame {
        let head = Head { length, kind: kind::HEADERS, flags: flags | flag::END_HEADERS, stream };
        if let Some(place) = out.get_mut(start..block) {
            place.copy_from_slice(&head.bytes());
        }
        return;
    }
    let whole = out.split_off(block);
    out.truncate(start);
    let mut parts = whole.chunks(max_frame).peekable();
    let (mut kind, mut flags) = (kind::HEADERS, flags);
    while let Some(part) = parts.next() {
        let last = if parts.peek().is_none() { flag::END_HEADERS } else { 0 };
        write(out, kind, flags | last, stream, part);
        (kind, flags) = (kind::CONTINUATION, 0);
    }
}

/// Takes padding and priority off the payload of HEADERS or DATA; `None` when the padding is longer
/// than the frame, or the frame too short. Tells the stream that it is said to depend on.
pub fn unpadded(head: Head, payload: &[u8]) -> Option<(&[u8], Option<u32>)> {
    let mut payload = payload;
    if head.has(flag::PADDED) {
        let (padding, rest) = payload.split_first()?;
        payload = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
    }
    if head.kind != kind::HEADERS || !head.has(flag::PRIORITY) {
        return Some((payload, None));
    }
    let (priority, rest) = payload.split_first_chunk::<5>()?;
    let [a, b, c, d, _] = *priority;
    Some((rest, Some(u32::from_be_bytes([a, b, c, d]) & MAX_STREAM)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        let head = Head { length: 0x1_02_03, kind: 1, flags: 0x25, stream: MAX_STREAM };
        assert_eq!(Head::read(&head.bytes()), Some(head));
        assert_eq!(head.bytes(), [1, 2, 3, 1, 0x25, 0x7f, 0xff, 0xff, 0xff]);
        assert_eq!(Head::read(&head.bytes()[..8]), None);
        // The reserved bit is ignored.
        assert_eq!(Head::read(&[0, 0, 0, 0, 0, 0x80, 0, 0, 1]).unwrap().stream, 1);
    }

    #[test]
    fn a_block_longer_than_a_frame_goes_on_in_continuations() {
        let mut out = vec![9; 3];
        headers(&mut out, 5, true, 16_384, |out| out.resize(out.len() + 40_000, 7));
        let mut rest = &out[3..];
        let mut seen = Vec::new();
        while let Some(head) = Head::read(rest) {
            assert!(rest[HEAD..HEAD + head.length].iter().all(|byte| *byte == 7));
            seen.push((head.kind, head.flags, head.length, head.stream));
            rest = &rest[HEAD + head.length..];
        }
        assert_eq!(seen, [(1, 1, 16_384, 5), (9, 0, 16_384, 5), (9, 4, 7_232, 5)]);
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let head = |flags| Head { length: 0, kind: kind::HEADERS, flags, stream: 1 };
        let all = [2, 0x80, 0, 0, 3, 16, b'x', 0, 0];
        assert_eq!(unpadded(head(flag::PADDED | flag::PRIORITY), &all), Some((&b"x"[..], Some(3))));
        assert_eq!(unpadded(head(flag::PADDED), &[3, b'x', 0]), None, "longer than the frame");
        assert_eq!(unpadded(head(flag::PADDED), &[]), None);
        assert_eq!(unpadded(head(flag::PRIORITY), &[0, 0, 0, 3]), None);
        assert_eq!(unpadded(head(0), b"x"), Some((&b"x"[..], None)));
    }
}
