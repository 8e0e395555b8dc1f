//! Decides whether an answer may be coded, and is worth it, from its head alone.

use http::StatusCode;

use crate::message::name::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE};
use crate::message::{FieldName, Fields};
use crate::pipeline::coding::media::{MIN_SIZE, shrinks};

/// Whether an answer with this head, of `size` bytes where that is known, may be coded and shrinks.
///
/// Not: what has no body or is a part of one (206, 416 and whatever has `Content-Range`), what is
/// coded already, what is `no-transform` (RFC 9110 §7.7), and what is small.
pub fn worth(status: StatusCode, headers: &Fields, size: Option<u64>) -> bool {
    let whole = !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
                | StatusCode::RANGE_NOT_SATISFIABLE
        );
    whole
        && size.is_none_or(|size| size >= MIN_SIZE)
        && shrinks(headers.get(CONTENT_TYPE))
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && !no_transform(headers)
}

/// Whether `Cache-Control`, or `CDN-Cache-Control` (RFC 9213), forbids to change the content; in a request too
/// (RFC 9111 §5.2.1.6).
pub fn no_transform(headers: &Fields) -> bool {
    const CDN: FieldName = FieldName::from_static("cdn-cache-control");
    has_directive(headers, "no-transform") || says(headers, &CDN, "no-transform")
}

/// Whether `Cache-Control` has a directive of this name, without an argument.
pub fn has_directive(headers: &Fields, name: &str) -> bool {
    says(headers, &CACHE_CONTROL, name)
}

fn says(headers: &Fields, field: &FieldName, name: &str) -> bool {
    headers
        .get_all(field)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> Fields {
        let field = |(name, value): &(&'static str, &'static str)| {
            (FieldName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn whole_plain_bodies_that_shrink_are_worth_it() {
        const JSON: (&str, &str) = ("content-type", "application/json");
        for (status, fields, size, expected) in [
            (200, &[JSON][..], Some(5_000), true),
            (200, &[JSON], None, true),
            (404, &[JSON], Some(5_000), true),
            (500, &[JSON], None, true),
            (302, &[("content-type", "text/html")], Some(5_000), true),
            (200, &[JSON], Some(MIN_SIZE), true),
            (200, &[JSON], Some(MIN_SIZE - 1), false),
            (200, &[JSON], Some(0), false),
            (200, &[], Some(5_000), false),
            (200, &[("content-type", "image/png")], Some(5_000), false),
            (200, &[("content-type", "application/grpc+json")], None, false),
            (204, &[JSON], None, false),
            (205, &[JSON], None, false),
            (206, &[JSON], Some(5_000), false),
            (304, &[JSON], Some(5_000), false),
            (416, &[JSON], Some(5_000), false),
            (101, &[JSON], None, false),
            (200, &[JSON, ("content-range", "bytes 0-1/2")], Some(5_000), false),
            (200, &[JSON, ("content-encoding", "gzip")], Some(5_000), false),
            (200, &[JSON, ("content-encoding", "identity")], Some(5_000), false),
            (200, &[JSON, ("cache-control", "no-transform")], Some(5_000), false),
            (200, &[JSON, ("cache-control", "public, No-Transform")], Some(5_000), false),
            (200, &[JSON, ("cdn-cache-control", "max-age=5, no-transform")], Some(5_000), false),
            (200, &[JSON, ("cache-control", "public, max-age=5")], Some(5_000), true),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                worth(status, &headers(fields), size),
                expected,
                "{status} {fields:?} {size:?}"
            );
        }
    }
}
