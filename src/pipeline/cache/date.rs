//! Dates in header fields (RFC 9110 §5.6.7), read as leniently as is safe.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::line::Line;

/// Seconds since 1970.
pub type Seconds = u64;

/// A date in any of the three forms; `UTC` is taken for `GMT`, since ZITADEL's `/assets/v1` writes
/// its `Last-Modified` so (zitadel.md §3.4).
pub fn parse(value: &HeaderValue) -> Option<Seconds> {
    let text = value.to_str().ok()?.trim();
    let date = match text.strip_suffix("UTC") {
        Some(text) => httpdate::parse_http_date(&format!("{text}GMT")),
        None => httpdate::parse_http_date(text),
    };
    Some(of(date.ok()?))
}

/// The date of a field that is there once.
pub fn field(headers: &HeaderMap, name: &HeaderName) -> Option<Seconds> {
    headers.get(name).and_then(parse)
}

/// As a field's value.
pub fn value(seconds: Seconds) -> HeaderValue {
    let date = httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds));
    Line::value(format_args!("{date}"))
}

/// A moment in whole seconds.
pub fn of(moment: SystemTime) -> Seconds {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_and_zitadel_s_own_are_read() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 UTC",
        ] {
            assert_eq!(parse(&HeaderValue::from_static(text)), Some(784_111_777), "{text}");
        }
        for text in ["0", "", "Sun, 06 Nov 1994 08:49:37 CET", "yesterday"] {
            assert_eq!(parse(&HeaderValue::from_static(text)), None, "{text}");
        }
        assert_eq!(value(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
