//! Decides whether a client's message tells its length in two ways (RFC 9112 §6.1): `Content-Length`
//! beside `Transfer-Encoding` is how requests are smuggled past a proxy. hyper drops the length and
//! goes on, so that nobody behind it can tell; here the heads are looked at as they come in.
//!
//! It follows the messages of one connection in their order: heads line by line, bodies by their
//! length or their chunks. What it cannot follow it doubts.

/// As much of a line as is looked at: a length's name, its digits, and some space.
const LOOKED_AT: usize = 96;

/// Where the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In a head; the request line has been seen or not.
    Head { begun: bool },
    /// In a body, with so many bytes to come.
    Body(u64),
    /// In the line before a chunk.
    Size,
    /// In a chunk and the line's end behind it.
    Chunk(u64),
    /// Behind the last chunk.
    Trailers,
    /// Nobody knows.
    Lost,
}

/// What one connection's client has sent.
#[derive(Debug)]
pub(super) struct Framing {
    at: At,
    /// The beginning of a line whose end has not come.
    line: [u8; LOOKED_AT],
    kept: usize,
    /// Heads that have come whole.
    heads: u32,
    length: Option<u64>,
    told: bool,
    coded: bool,
    /// The first head in doubt.
    doubtful: Option<u32>,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            at: At::Head { begun: false },
            line: [0; LOOKED_AT],
            kept: 0,
            heads: 0,
            length: None,
            told: false,
            coded: false,
            doubtful: None,
        }
    }
}

impl Framing {
    /// Whether the end of this request, the first being 1, is in doubt.
    pub(super) fn doubts(&self, request: u32) -> bool {
        let lost = self.at == At::Lost && request > self.heads;
        lost || self.doubtful.is_some_and(|first| first <= request)
    }

    /// What comes next from the client.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.at {
                At::Lost => return,
                At::Body(left) => {
                    let taken;
                    (taken, bytes) = skip(bytes, left);
                    self.at = if taken == left {
                        At::Head { begun: false }
                    } else {
                        At::Body(left - taken)
                    };
                }
                At::Chunk(left) => {
                    let taken;
                    (taken, bytes) = skip(bytes, left);
                    self.at = if taken == left { At::Size } else { At::Chunk(left - taken) };
                }
                At::Head { .. } | At::Size | At::Trailers => bytes = self.take_line(bytes),
            }
        }
    }

    /// Takes in a line, or what there is of it; returns what follows.
    fn take_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.keep(bytes);
            return &[];
        };
        let (line, rest) = bytes.split_at(end);
        if self.kept == 0 {
            self.whole(line);
        } else {
            self.keep(line);
            let (line, kept) = (self.line, self.kept);
            self.kept = 0;
            self.whole(line.get(..kept).unwrap_or_default());
        }
        rest.get(1..).unwrap_or_default()
    }

    fn keep(&mut self, part: &[u8]) {
        let room = self.line.get_mut(self.kept..).unwrap_or_default();
        let count = room.len().min(part.len());
        for (to, from) in room.iter_mut().zip(part) {
            *to = *from;
        }
        self.kept += count;
    }

    /// Takes in the beginning of a line that has come whole.
    fn whole(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.at {
            At::Head { begun: false } => self.at = At::Head { begun: !line.is_empty() },
            At::Head { begun: true } if line.is_empty() => self.end_of_head(),
            At::Head { begun: true } => self.field(line),
            At::Size => {
                self.at = match size(line) {
                    Some(0) => At::Trailers,
                    Some(size) => size.checked_add(2).map_or(At::Lost, At::Chunk),
                    None => At::Lost,
                };
            }
            At::Trailers if line.is_empty() => self.at = At::Head { begun: false },
            At::Trailers | At::Body(_) | At::Chunk(_) | At::Lost => {}
        }
    }

    fn field(&mut self, line: &[u8]) {
        // Nearly every line is told by its first letter.
        if !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T')) {
            return;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.coded = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.told = true;
            let digits = value.get(1..).unwrap_or_default().trim_ascii();
            self.length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        }
    }

    fn end_of_head(&mut self) {
        self.heads = self.heads.saturating_add(1);
        if self.told && self.coded {
            self.doubtful.get_or_insert(self.heads);
        }
        self.at = match (self.coded, self.told, self.length) {
            (true, ..) => At::Size,
            (false, true, None) => At::Lost,
            (false, _, None | Some(0)) => At::Head { begun: false },
            (false, _, Some(length)) => At::Body(length),
        };
        (self.told, self.coded, self.length) = (false, false, None);
    }
}

/// As many of `bytes` as `left` allows, and what follows them.
fn skip(bytes: &[u8], left: u64) -> (u64, &[u8]) {
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (count as u64, bytes.get(count..).unwrap_or_default())
}

/// The size of a chunk (RFC 9112 §7.1), extensions aside.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    // `from_str_radix` would take a sign.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CL: &str = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc\r\n";
    const TE: &str =
        "POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n";
    const GET: &str = "\r\nGET /c HTTP/1.1\nHost: h\n\n";
    const BOTH: &str =
        "POST / HTTP/1.1\r\ncontent-LENGTH: 4\r\ntransfer-ENCODING: chunked\r\n\r\n0\r\n\r\n";

    /// Fed in pieces of every length, the answer is the same.
    fn first_doubt(text: &str) -> Option<u32> {
        let mut answers = Vec::new();
        for step in [1, 2, 3, 7, 50, text.len().max(1)] {
            let mut framing = Framing::default();
            for piece in text.as_bytes().chunks(step) {
                framing.feed(piece);
            }
            answers.push((1..20).find(|request| framing.doubts(*request)));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{text}");
        answers.pop().flatten()
    }

    #[test]
    fn the_request_that_tells_its_length_twice_is_found_wherever_it_stands() {
        for (text, expected) in [
            (format!("{CL}{TE}{GET}{CL}"), None),
            (BOTH.to_owned(), Some(1)),
            (format!("{CL}{BOTH}"), Some(2)),
            (format!("{TE}{GET}{BOTH}{GET}"), Some(3)),
            (format!("{GET}{GET}{CL}{TE}{BOTH}"), Some(5)),
            // What only looks like it is not: in a body, in a longer name, in two messages.
            ("POST / HTTP/1.1\r\nContent-Length: 28\r\n\r\n\nTransfer-Encoding: chunked\n".to_owned(), None),
            ("GET / HTTP/1.1\r\nContent-Length-X: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), None),
            // Lost: what follows is in doubt, what came before is not.
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(), Some(2)),
        ] {
            assert_eq!(first_doubt(&text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_fall(bytes: Vec<u8>) {
            Framing::default().feed(&bytes);
        }

        #[test]
        fn sound_messages_are_never_in_doubt(order: Vec<u8>) {
            let text: String = order.iter().map(|n| [CL, TE, GET][usize::from(n % 3)]).collect();
            let mut framing = Framing::default();
            framing.feed(text.as_bytes());
            let requests = u32::try_from(order.len()).unwrap() + 1;
            proptest::prop_assert!(!framing.doubts(requests));
        }
    }
}
