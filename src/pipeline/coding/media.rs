//! What is worth coding: media types that shrink, and sizes from which it pays.

use http::HeaderValue;

/// Bodies below this are sent as they are: with its head such an answer is one packet either way.
/// In bytes.
pub const MIN_SIZE: u64 = 1_024;

/// What a coding must save to be worth keeping, in bytes: its own headers, and the work of
/// decoding.
const SAVES_AT_LEAST: u64 = 64;

/// Types that shrink beside `text/*`, `*+json`, `*+xml` and `*+text`. Those that are compressed
/// already (WOFF, WOFF2, PNG, JPEG, archives) are left out, and so are Protobuf messages: they are
/// small, and their protocols have codings of their own.
const SHRINKS: [&str; 33] = [
    "application/ecmascript",
    "application/eot",
    "application/font",
    "application/font-sfnt",
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/jsonml",
    "application/manifest",
    "application/ndjson",
    "application/opentype",
    "application/otf",
    "application/truetype",
    "application/ttf",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-font-opentype",
    "application/x-font-otf",
    "application/x-font-truetype",
    "application/x-font-ttf",
    "application/x-javascript",
    "application/x-json",
    "application/x-ndjson",
    "application/x-yaml",
    "application/xml",
    "application/yaml",
    "font/collection",
    "font/eot",
    "font/otf",
    "font/sfnt",
    "font/ttf",
    "image/bmp",
    "image/vnd.microsoft.icon",
];

/// Whether a body of this `Content-Type` shrinks enough to be coded. What says nothing is left
/// alone, and so is every form of gRPC and of Connect's streams, which code their messages
/// themselves and would not look for a coding of the whole.
pub fn shrinks(content_type: Option<&HeaderValue>) -> bool {
    let Some(value) = content_type else { return false };
    let Some(essence) = value.as_bytes().split(|byte| *byte == b';').next() else { return false };
    let essence = essence.trim_ascii();
    let starts = |with: &str| {
        essence.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
    };
    let ends = |with: &str| {
        let from = essence.len().saturating_sub(with.len());
        essence.get(from..).is_some_and(|end| end.eq_ignore_ascii_case(with.as_bytes()))
    };
    if starts("application/grpc") || starts("application/connect+") || starts("multipart/") {
        return false;
    }
    let is = |known: &&str| essence.eq_ignore_ascii_case(known.as_bytes());
    starts("text/")
        || ends("+json")
        || ends("+xml")
        || ends("+text")
        || SHRINKS.iter().any(is)
        || is(&"image/x-icon")
}

/// Whether a variant of `coded` bytes is worth keeping beside `plain` ones.
pub const fn pays(plain: u64, coded: u64) -> bool {
    coded.saturating_add(SAVES_AT_LEAST) < plain && coded < plain - plain / 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_zitadel_sends_is_judged_right() {
        for (content_type, expected) in [
            // The Console (zitadel.md §3.8, §13.6): scripts are text/javascript, the manifest and
            // environment.json text/plain.
            ("text/html; charset=utf-8", true),
            ("text/javascript; charset=utf-8", true),
            ("text/css; charset=utf-8", true),
            ("text/plain; charset=utf-8", true),
            ("image/svg+xml", true),
            ("font/ttf", true),
            ("application/vnd.ms-fontobject", true),
            ("image/x-icon", true),
            ("font/woff2", false),
            ("font/woff", false),
            ("application/font-woff2", false),
            ("image/png", false),
            ("image/jpeg", false),
            ("image/webp", false),
            // API.
            ("application/json", true),
            ("APPLICATION/JSON;charset=UTF-8", true),
            ("application/problem+json", true),
            ("application/scim+json", true),
            ("application/jwk-set+json", true),
            ("application/samlmetadata+xml", true),
            ("text/xml", true),
            ("text/event-stream", true),
            ("application/manifest+json", true),
            ("application/wasm", true),
            ("application/proto", false),
            ("application/jwt", false),
            // gRPC in every form, and Connect's streams.
            ("application/grpc", false),
            ("application/grpc+json", false),
            ("application/grpc-web+json", false),
            ("application/grpc-web-text", false),
            ("Application/GRPC-Web+JSON", false),
            ("application/connect+json", false),
            // Compressed already, or unknown.
            ("application/gzip", false),
            ("application/zip", false),
            ("application/pdf", false),
            ("application/octet-stream", false),
            ("video/mp4", false),
            ("multipart/byteranges; boundary=x", false),
            ("texture/plain", false),
            ("", false),
            ("+json", true),
            ("json", false),
        ] {
            let value = HeaderValue::from_static(content_type);
            assert_eq!(shrinks(Some(&value)), expected, "{content_type}");
        }
        assert!(!shrinks(None));
    }

    #[test]
    fn a_variant_pays_if_it_saves_bytes_enough() {
        for (plain, coded, expected) in [
            (10_000, 2_000, true),
            (10_000, 9_499, true),
            (10_000, 9_500, false),
            (10_000, 10_100, false),
            (1_000, 935, true),
            (1_000, 936, false),
            (0, 0, false),
            (u64::MAX, u64::MAX, false),
        ] {
            assert_eq!(pays(plain, coded), expected, "{plain} → {coded}");
        }
    }
}
