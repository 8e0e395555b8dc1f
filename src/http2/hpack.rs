//! HPACK (RFC 7541): what heads are packed into on a connection, with what both ends remember.

pub mod decode;
pub mod encode;
pub mod huffman;

/// What an entry costs beyond its bytes (RFC 7541 §4.1).
pub const ENTRY_OVERHEAD: usize = 32;
/// The size that both ends begin with (RFC 9113 §6.5.2), and all that is ever used here.
pub const TABLE_SIZE: usize = 4096;

/// The static table (RFC 7541 Appendix A); its first entry has the index 1.
pub const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// Reads an integer with a prefix of `bits` bits (RFC 7541 §5.1), whose first byte is `first`; `None`:
/// it ends too early or is larger than anything that may be meant.
pub fn read_integer(first: u8, bits: u32, rest: &mut &[u8]) -> Option<usize> {
    let most = (1_usize << bits) - 1;
    let mut value = usize::from(first) & most;
    if value < most {
        return Some(value);
    }
    let mut shift = 0;
    loop {
        let (byte, later) = rest.split_first()?;
        *rest = later;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
        shift += 7;
        // Four bytes say what is up to 256 MiB.
        if shift > 21 {
            return None;
        }
    }
}

/// Writes an integer with a prefix of `bits` bits, above which stands `mark`.
pub fn write_integer(value: usize, bits: u32, mark: u8, out: &mut Vec<u8>) {
    let most = (1_usize << bits) - 1;
    if value < most {
        out.push(mark | value as u8);
        return;
    }
    out.push(mark | most as u8);
    let mut rest = value - most;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_those_of_rfc_7541() {
        // Appendix C.1, and the largest and one beyond.
        for (value, bits, bytes) in [
            (10, 5, &[0x0a][..]),
            (1337, 5, &[0x1f, 0x9a, 0x0a]),
            (42, 8, &[0x2a]),
            (127, 7, &[0x7f, 0x00]),
            (268_435_455 + 127, 7, &[0x7f, 0xff, 0xff, 0xff, 0x7f]),
        ] {
            let mut out = Vec::new();
            write_integer(value, bits, 0, &mut out);
            assert_eq!(out, bytes);
            let mut rest = &bytes[1..];
            assert_eq!(read_integer(bytes[0], bits, &mut rest), Some(value));
            assert!(rest.is_empty());
        }
        for (bytes, why) in [
            (&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x01][..], "too large"),
            (&[0x7f, 0x80], "cut off"),
            (&[0x7f], "cut off at once"),
        ] {
            assert_eq!(read_integer(bytes[0], 7, &mut &bytes[1..]), None, "{why}");
        }
    }
}
