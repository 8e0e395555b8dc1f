//! What coding changes in the head of an answer (RFC 9110 §8, §12.5.5; RFC 9530).

use http::HeaderValue;

use crate::message::name::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, VARY,
};
use crate::message::{FieldName, Fields};

/// Digests of the bytes that were to be sent, and of the representation with its coding. Both are
/// other bytes now.
static DIGESTS: [FieldName; 4] = [
    FieldName::from_static("content-digest"),
    FieldName::from_static("repr-digest"),
    FieldName::from_static("digest"),
    FieldName::from_static("content-md5"),
];

/// The body is coded now. Ranges and the size are those of other bytes; the validator is no longer
/// one of bytes, but still one of meaning.
pub fn coded(headers: &mut Fields, coding: HeaderValue) {
    headers.insert(CONTENT_ENCODING, coding);
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    without_digests(headers);
    weaken(headers);
}

/// Takes digests of the plain body out of a head or of trailers.
pub fn without_digests(headers: &mut Fields) {
    for name in &DIGESTS {
        headers.remove(name);
    }
}

/// Says that another client may get another coding; also where this one got none.
pub fn varies(headers: &mut Fields) {
    let said = headers.get_all(VARY).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(|name| {
            name == b"*" || name.eq_ignore_ascii_case(ACCEPT_ENCODING.as_str().as_bytes())
        })
    });
    if !said {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// A 304 says what the 200 would have said (RFC 9110 §15.4.5). What the client has was coded here
/// if the validator that it sent is the weak form of upstream's strong one.
pub fn not_modified(headers: &mut Fields, asked: Option<&HeaderValue>) {
    let (Some(now), Some(asked)) = (headers.get(ETAG), asked) else { return };
    let now = now.as_bytes();
    let mut had = asked.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let strong = now.starts_with(b"\"");
    if strong && had.any(|tag| tag.strip_prefix(b"W/") == Some(now)) {
        weaken(headers);
        varies(headers);
    }
}

/// Makes a strong validator a weak one; what is neither is no validator, and goes.
fn weaken(headers: &mut Fields) {
    let Some(tag) = headers.get(ETAG) else { return };
    if tag.as_bytes().starts_with(b"W/") {
        return;
    }
    let weak = [b"W/", tag.as_bytes()].concat();
    match HeaderValue::from_bytes(&weak) {
        Ok(weak) if tag.as_bytes().starts_with(b"\"") => headers.insert(ETAG, weak),
        _ => headers.remove(ETAG),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> Fields {
        let mut headers = Fields::new();
        for (name, value) in fields {
            headers.append(FieldName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_coded_head_says_nothing_of_the_plain_body() {
        let mut head = headers(&[
            ("content-type", "application/json"),
            ("content-length", "5000"),
            ("accept-ranges", "bytes"),
            ("etag", "\"a\""),
            ("content-digest", "sha-256=:x:"),
            ("repr-digest", "sha-256=:x:"),
            ("digest", "sha-256=x"),
            ("content-md5", "x"),
            ("last-modified", "Thu, 02 Oct 2025 08:00:00 GMT"),
        ]);
        coded(&mut head, HeaderValue::from_static("br"));
        let expected = headers(&[
            ("content-type", "application/json"),
            ("content-encoding", "br"),
            ("etag", "W/\"a\""),
            ("last-modified", "Thu, 02 Oct 2025 08:00:00 GMT"),
        ]);
        assert_eq!(head, expected);
    }

    #[test]
    fn validators_become_weak_once() {
        for (etag, expected) in [
            ("\"a\"", Some("W/\"a\"")),
            ("W/\"a\"", Some("W/\"a\"")),
            ("a", None),
            ("\"\"", Some("W/\"\"")),
        ] {
            let mut head = headers(&[("etag", etag)]);
            coded(&mut head, HeaderValue::from_static("br"));
            assert_eq!(head.get(ETAG).map(|tag| tag.to_str().unwrap()), expected, "{etag}");
        }
    }

    #[test]
    fn vary_is_merged() {
        for (before, lines) in [
            (&[][..], 1),
            (&[("vary", "Origin")], 2),
            (&[("vary", "Origin"), ("vary", "Cookie")], 3),
            (&[("vary", "Accept-Encoding")], 1),
            (&[("vary", "Origin, accept-encoding")], 1),
            (&[("vary", "*")], 1),
            (&[("vary", "X-Accept-Encoding")], 2),
        ] {
            let mut head = headers(before);
            varies(&mut head);
            assert_eq!(head.get_all(VARY).iter().count(), lines, "{before:?}");
            let again = head.clone();
            varies(&mut head);
            assert_eq!(head, again, "{before:?}");
        }
    }

    #[test]
    fn a_304_names_the_validator_that_the_client_has() {
        for (etag, asked, expected) in [
            ("\"a\"", Some("W/\"a\""), "W/\"a\""),
            ("\"a\"", Some("\"b\", W/\"a\""), "W/\"a\""),
            ("\"a\"", Some("\"a\""), "\"a\""),
            ("\"a\"", Some("*"), "\"a\""),
            ("\"a\"", None, "\"a\""),
            ("W/\"a\"", Some("W/\"a\""), "W/\"a\""),
        ] {
            let mut head = headers(&[("etag", etag)]);
            let asked = asked.map(HeaderValue::from_static);
            not_modified(&mut head, asked.as_ref());
            assert_eq!(head[ETAG], expected, "{etag} {asked:?}");
            assert_eq!(head.contains_key(VARY), expected != etag, "{etag} {asked:?}");
        }
    }
}
