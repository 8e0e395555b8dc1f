//! Ranges of what is kept (RFC 9110 §14): which bytes, and how several are put together.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::HeaderValue;

use crate::message::Fields;
use crate::message::name::RANGE;

/// How many ranges one request may name; more is an attack (CVE-2011-3192) and served whole.
const MOST: usize = 32;

/// What a request for ranges comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// The whole, with 200: there is no `Range`, or one that need not be followed.
    Whole,
    /// These parts, each within the body and not empty, in the order asked for.
    Parts(Vec<Range<u64>>),
    /// None of it is there: 416.
    Outside,
}

/// Reads `Range` about a body of `length` bytes.
pub fn ranges(headers: &Fields, length: u64) -> Ranges {
    let mut lines = headers.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Ranges::Whole };
    let Some((unit, set)) = line.to_str().ok().and_then(|text| text.split_once('=')) else {
        return Ranges::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Ranges::Whole;
    }
    let mut parts: Vec<Range<u64>> = Vec::new();
    for (i, one) in set.split(',').map(str::trim).filter(|one| !one.is_empty()).enumerate() {
        match span(one, length) {
            _ if i >= MOST => return Ranges::Whole,
            None => return Ranges::Whole,
            Some(part) if part.is_empty() => {}
            Some(part) => parts.push(part),
        }
    }
    let total: u64 = parts.iter().map(|part| part.end - part.start).sum();
    // Overlapping ranges that add up to more than the whole are cheaper as the whole (§14.2).
    if parts.len() > 1 && total > length {
        return Ranges::Whole;
    }
    if parts.is_empty() { Ranges::Outside } else { Ranges::Parts(parts) }
}

/// One range; empty where it lies outside, `None` where it cannot be read.
fn span(text: &str, length: u64) -> Option<Range<u64>> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // Too large for a number is beyond every body.
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        return Some(length.saturating_sub(number(last)?)..length);
    }
    let first = number(first)?;
    let end = match last {
        "" => length,
        last => match number(last)? {
            last if last < first => return None,
            last => last.saturating_add(1).min(length),
        },
    };
    Some(first.min(end)..end)
}

/// `Content-Range` of a part.
pub fn content_range(part: &Range<u64>, length: u64) -> HeaderValue {
    text(format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1)))
}

/// `Content-Range` of a 416.
pub fn outside(length: u64) -> HeaderValue {
    text(format!("bytes */{length}"))
}

fn text(text: String) -> HeaderValue {
    // Digits and plain words.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// The bytes of a part; empty where it is not within the body.
pub fn slice(body: &Bytes, part: &Range<u64>) -> Bytes {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(body.len());
    body.slice(at(part.start)..at(part.end).max(at(part.start)))
}

/// Several parts as `multipart/byteranges` (RFC 9110 §14.6): the body's pieces, which share the
/// memory of the whole, and its media type.
pub fn multipart(
    body: &Bytes,
    parts: &[Range<u64>],
    content_type: Option<&HeaderValue>,
    boundary: &str,
) -> (Vec<Bytes>, HeaderValue) {
    let length = body.len() as u64;
    let mut pieces = Vec::with_capacity(parts.len() * 2 + 1);
    for part in parts {
        let mut head = BytesMut::with_capacity(128);
        head.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
        if let Some(content_type) = content_type {
            head.extend_from_slice(b"content-type: ");
            head.extend_from_slice(content_type.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"content-range: ");
        head.extend_from_slice(content_range(part, length).as_bytes());
        head.extend_from_slice(b"\r\n\r\n");
        pieces.push(head.freeze());
        pieces.push(slice(body, part));
    }
    pieces.push(format!("\r\n--{boundary}--\r\n").into());
    (pieces, text(format!("multipart/byteranges; boundary={boundary}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(value: &str, length: u64) -> Ranges {
        let mut headers = Fields::new();
        headers.insert(RANGE, HeaderValue::from_str(value).unwrap());
        ranges(&headers, length)
    }

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        let parts = |parts: &[(u64, u64)]| {
            Ranges::Parts(parts.iter().map(|(start, end)| *start..*end).collect())
        };
        for (value, expected) in [
            ("bytes=0-1", parts(&[(0, 2)])),
            ("bytes=1-", parts(&[(1, 10)])),
            ("bytes=-1", parts(&[(9, 10)])),
            ("bytes=-99", parts(&[(0, 10)])),
            ("bytes=5-99999999999999999999999", parts(&[(5, 10)])),
            ("Bytes=0-0, 9-9", parts(&[(0, 1), (9, 10)])),
            ("bytes=0-0,20-30", parts(&[(0, 1)])),
            ("bytes=10-", Ranges::Outside),
            ("bytes=-0", Ranges::Outside),
            ("bytes=99999999999999999999999-", Ranges::Outside),
            ("bytes=5-4", Ranges::Whole),
            ("bytes=a-b", Ranges::Whole),
            ("bytes=5", Ranges::Whole),
            ("bytes=0-9,0-9", Ranges::Whole),
            ("lines=0-1", Ranges::Whole),
            ("0-1", Ranges::Whole),
        ] {
            assert_eq!(asked(value, 10), expected, "{value}");
        }
        assert_eq!(asked("bytes=0-0", 0), Ranges::Outside);
        let many = format!("bytes={}", (0..40).map(|i| format!("{i}-{i},")).collect::<String>());
        assert_eq!(asked(&many, 1000), Ranges::Whole);
        assert_eq!(ranges(&Fields::new(), 10), Ranges::Whole);
    }

    #[test]
    fn several_parts_stand_between_boundaries() {
        let body = Bytes::from_static(b"0123456789");
        let kind = HeaderValue::from_static("text/plain");
        let (pieces, media) = multipart(&body, &[0..2, 8..10], Some(&kind), "B");
        assert_eq!(media, "multipart/byteranges; boundary=B");
        assert_eq!(
            String::from_utf8(pieces.concat()).unwrap(),
            "\r\n--B\r\ncontent-type: text/plain\r\ncontent-range: bytes 0-1/10\r\n\r\n01\
             \r\n--B\r\ncontent-type: text/plain\r\ncontent-range: bytes 8-9/10\r\n\r\n89\
             \r\n--B--\r\n"
        );
    }

    proptest! {
        #[test]
        fn a_part_always_lies_within_the_body(text in "bytes=[0-9,\\- ]{0,24}", length in 0_u64..40) {
            if let Ranges::Parts(parts) = asked(&text, length) {
                for part in parts {
                    prop_assert!(part.start < part.end && part.end <= length, "{:?}", part);
                }
            }
        }
    }
}
