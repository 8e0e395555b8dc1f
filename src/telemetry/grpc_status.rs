//! How a gRPC exchange ended: read out of headers, trailers, or the bytes of a gRPC-Web body.
//!
//! The scanner only watches: the bytes pass on as they came. It keeps nothing of data frames and
//! at most 8 KiB of the trailer frame.

use crate::body::base64::Group;
use crate::message::Fields;
use crate::message::name::GRPC_STATUS;

/// UNKNOWN: what a client makes of a code it does not know (gRPC's `statuscodes.md`).
const UNKNOWN: u8 = 2;
/// How much of a trailer frame is kept.
const TRAILER_MAX: usize = 8 * 1024;

/// `grpc-status` of headers (Trailers-Only) or trailers; codes that gRPC does not define count as
/// UNKNOWN, as its clients do.
pub fn from_headers(headers: &Fields) -> Option<u8> {
    headers.get(&GRPC_STATUS).map(|value| parse(value.as_bytes()))
}

fn parse(value: &[u8]) -> u8 {
    if let [digit @ b'0'..=b'9'] = value {
        return digit - b'0';
    }
    let code = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
    code.filter(|code| *code <= 16).unwrap_or(UNKNOWN)
}

/// Watches a gRPC-Web body, chunk by chunk, for the `grpc-status` of its trailer frame
/// (gRPC's `PROTOCOL-WEB.md`: flag `0x80`, then lines of HTTP/1 header text).
#[derive(Debug)]
pub struct WebTrailerScanner {
    base64: Option<Group>,
    frames: Frames,
}

impl WebTrailerScanner {
    /// For `application/grpc-web`.
    pub const fn binary() -> Self {
        Self { base64: None, frames: Frames::new() }
    }

    /// For `application/grpc-web-text`: base64, padded wherever the sender chose to.
    pub const fn text() -> Self {
        Self { base64: Some(Group::new()), frames: Frames::new() }
    }

    /// Looks at the next bytes of the body.
    pub fn feed(&mut self, chunk: &[u8]) {
        let Some(group) = &mut self.base64 else { return self.frames.feed(chunk) };
        for byte in chunk {
            if matches!(self.frames.state, State::Whole | State::Unreadable) {
                return;
            }
            match group.push(*byte) {
                Ok(None) => {}
                Ok(Some((bytes, length))) => {
                    self.frames.feed(bytes.get(..length).unwrap_or_default());
                }
                Err(()) => self.frames.state = State::Unreadable,
            }
        }
    }

    /// Whether the next byte begins a frame: where an end of our own may be put.
    pub const fn between_frames(&self) -> bool {
        matches!(self.frames.state, State::Head { have: 0, .. })
            && match &self.base64 {
                Some(group) => group.is_empty(),
                None => true,
            }
    }

    /// Whether the trailer frame has come, or what came cannot be read here (a compressed trailer):
    /// there is no status to be missed any more.
    pub const fn is_over(&self) -> bool {
        matches!(self.frames.state, State::Whole | State::Unreadable)
    }

    /// Whether the frame that ends the body has come to its end (gRPC-Web's trailers, Connect's
    /// `EndStreamResponse`): whatever happens now, the caller has its answer.
    pub const fn is_whole(&self) -> bool {
        matches!(self.frames.state, State::Whole)
    }

    /// The status, once the trailer frame was there whole.
    pub const fn status(&self) -> Option<u8> {
        self.frames.status
    }
}

#[derive(Debug)]
enum State {
    /// Within a frame's five bytes.
    Head { bytes: [u8; 5], have: usize },
    /// Within a data frame.
    Data { left: usize },
    /// Within the trailer frame.
    Trailer { left: usize, kept: Vec<u8>, cut: bool },
    /// Within a last frame that is not read here: a compressed trailer, the end of a Connect stream.
    Last { left: usize },
    /// The last frame was there whole.
    Whole,
    /// Neither gRPC-Web nor Connect: nothing to see.
    Unreadable,
}

#[derive(Debug)]
struct Frames {
    state: State,
    status: Option<u8>,
}

impl Frames {
    const fn new() -> Self {
        Self { state: State::Head { bytes: [0; 5], have: 0 }, status: None }
    }

    fn feed(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() {
            match &mut self.state {
                State::Whole | State::Unreadable => return,
                State::Head { bytes, have } => {
                    let (taken, rest) = take(chunk, 5 - *have);
                    for (slot, byte) in bytes.iter_mut().skip(*have).zip(taken) {
                        *slot = *byte;
                    }
                    *have += taken.len();
                    chunk = rest;
                    if *have == 5 {
                        self.state = after_head(*bytes);
                    }
                }
                State::Data { left } => {
                    let (taken, rest) = take(chunk, *left);
                    *left -= taken.len();
                    chunk = rest;
                    if *left == 0 {
                        self.state = Self::new().state;
                    }
                }
                State::Trailer { left, kept, cut } => {
                    let (taken, rest) = take(chunk, *left);
                    *left -= taken.len();
                    chunk = rest;
                    let (fits, beyond) = take(taken, TRAILER_MAX.saturating_sub(kept.len()));
                    kept.extend_from_slice(fits);
                    *cut |= !beyond.is_empty();
                    if *left == 0 {
                        self.status = read_trailer(kept, *cut);
                        self.state = State::Whole;
                    }
                }
                State::Last { left } => {
                    let (taken, rest) = take(chunk, *left);
                    *left -= taken.len();
                    chunk = rest;
                    if *left == 0 {
                        self.state = State::Whole;
                    }
                }
            }
        }
    }
}

fn take(bytes: &[u8], most: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(most).unwrap_or((bytes, &[]))
}

fn after_head([flags, length @ ..]: [u8; 5]) -> State {
    let left = u32::from_be_bytes(length) as usize;
    match (flags, left) {
        (0 | 1, 0) => Frames::new().state,
        (0 | 1, left) => State::Data { left },
        (0x80, 1..) => State::Trailer { left, kept: Vec::new(), cut: false },
        // A trailer (0x81: compressed), and what ends a Connect stream.
        (0x80 | 0x81 | 2 | 3, 0) => State::Whole,
        (0x81 | 2 | 3, left) => State::Last { left },
        _ => State::Unreadable,
    }
}

/// The status in a trailer's lines; of a trailer that was cut the last line is not whole.
fn read_trailer(text: &[u8], cut: bool) -> Option<u8> {
    let whole = if cut { text.iter().rposition(|byte| *byte == b'\n')? } else { text.len() };
    text.get(..whole)?.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        name.trim_ascii()
            .eq_ignore_ascii_case(b"grpc-status")
            .then(|| parse(value.get(1..).unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn frame(flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![flags];
        bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn scan(mut scanner: WebTrailerScanner, body: &[u8], chunk: usize) -> Option<u8> {
        body.chunks(chunk).for_each(|chunk| scanner.feed(chunk));
        scanner.status()
    }

    #[test]
    fn a_header_s_status_is_read_and_unknown_codes_are_unknown() {
        for (value, code) in [("0", 0), ("16", 16), ("17", 2), ("x", 2), ("", 2), ("-1", 2)] {
            let mut headers = Fields::new();
            headers.insert("grpc-status", value.parse().unwrap());
            assert_eq!(from_headers(&headers), Some(code), "{value}");
        }
        assert_eq!(from_headers(&Fields::new()), None);
    }

    #[test]
    fn the_trailer_frame_is_found_behind_data_frames() {
        let table: [(&[u8], Option<u8>); 7] = [
            (b"grpc-status:0\r\ngrpc-message:\r\n", Some(0)),
            (b"Grpc-Status: 5\r\n", Some(5)),
            (b"grpc-message: grpc-status:3\r\ngrpc-status:7", Some(7)),
            (b"grpc-status:99\r\n", Some(2)),
            (b"grpc-status-details-bin:1\r\n", None),
            (b"nothing", None),
            (b"", None),
        ];
        for (trailer, status) in table {
            let body =
                [frame(0, b"hello"), frame(0, b""), frame(1, b"x"), frame(0x80, trailer)].concat();
            assert_eq!(scan(WebTrailerScanner::binary(), &body, 3), status);
            assert_eq!(
                scan(WebTrailerScanner::text(), STANDARD.encode(&body).as_bytes(), 3),
                status
            );
        }
    }

    #[test]
    fn a_compressed_trailer_is_an_end_although_it_cannot_be_read() {
        let mut scanner = WebTrailerScanner::binary();
        scanner.feed(&frame(1, b"message"));
        assert!(!scanner.is_over());
        scanner.feed(&frame(0x81, b"compressed"));
        assert!(scanner.is_over());
        assert_eq!(scanner.status(), None);
    }

    #[test]
    fn a_trailer_that_is_too_long_or_compressed_or_cut_short_gives_no_wrong_status() {
        let mut long = b"grpc-status:4\r\nx:".to_vec();
        long.resize(100_000, b'a');
        assert_eq!(scan(WebTrailerScanner::binary(), &frame(0x80, &long), 1000), Some(4));
        let mut late = vec![b'a'; TRAILER_MAX - 14];
        late.extend(b"\ngrpc-status:10\r\n");
        assert_eq!(scan(WebTrailerScanner::binary(), &frame(0x80, &late), 1000), None);
        assert_eq!(scan(WebTrailerScanner::binary(), &frame(0x81, b"grpc-status:0"), 9), None);
        let whole = frame(0x80, b"grpc-status:13");
        assert_eq!(scan(WebTrailerScanner::binary(), &whole[..whole.len() - 1], 9), None);
        assert_eq!(scan(WebTrailerScanner::text(), b"{\"code\":5}", 4), None);
        assert_eq!(scan(WebTrailerScanner::text(), b"=AAA", 4), None);
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_status(
            data in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4),
            status in 0u8..17, sizes in proptest::collection::vec(1usize..20, 1..8), text: bool,
        ) {
            let trailer = format!("grpc-message:m\r\ngrpc-status:{status}\r\n");
            let mut frames: Vec<_> = data.iter().map(|data| frame(0, data)).collect();
            frames.push(frame(0x80, trailer.as_bytes()));
            // Text mode pads every frame by itself, as senders that flush do.
            let body = if text {
                frames.iter().map(|frame| STANDARD.encode(frame)).collect::<String>().into_bytes()
            } else {
                frames.concat()
            };
            let mut scanner = if text { WebTrailerScanner::text() } else { WebTrailerScanner::binary() };
            let (mut rest, mut sizes) = (&body[..], sizes.iter().cycle());
            while !rest.is_empty() {
                let (chunk, after) = take(rest, *sizes.next().unwrap());
                scanner.feed(chunk);
                rest = after;
            }
            prop_assert_eq!(scanner.status(), Some(status));
        }

        #[test]
        fn no_bytes_at_all_make_the_scanner_fail(body: Vec<u8>, text: bool) {
            let mut scanner = if text { WebTrailerScanner::text() } else { WebTrailerScanner::binary() };
            scanner.feed(&body);
            let _ = scanner.status();
        }
    }
}
