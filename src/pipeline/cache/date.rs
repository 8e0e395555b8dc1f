//! Dates in header fields (RFC 9110 §5.6.7), read as leniently as is safe.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

use super::line::Line;
use crate::message::{FieldName, Fields};

/// Seconds since 1970.
pub type Seconds = u64;

/// A date in any of the three forms, whatever the case of its letters (RFC 9111 §4.2).
pub fn strict(value: &HeaderValue) -> Option<Seconds> {
    read(value.to_str().ok()?.trim())
}

/// The same, but `UTC` is taken for `GMT`, since ZITADEL's `/assets/v1` writes its `Last-Modified` so (zitadel.md
/// §3.4).
pub fn parse(value: &HeaderValue) -> Option<Seconds> {
    let text = value.to_str().ok()?.trim();
    match text.strip_suffix("UTC") {
        Some(rest) => read(&format!("{rest}GMT")),
        None => read(text),
    }
}

fn read(text: &str) -> Option<Seconds> {
    let date = httpdate::parse_http_date(text);
    let date = date.or_else(|_| httpdate::parse_http_date(&usual_case(text).replace("Gmt", "GMT")));
    Some(of(date.ok()?))
}

/// Every word with a capital and small letters.
fn usual_case(text: &str) -> String {
    let mut within = false;
    let letters = text.chars().map(|letter| {
        let first = !std::mem::replace(&mut within, letter.is_ascii_alphabetic());
        if first { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
    });
    letters.collect()
}

/// The date of a field that is there once.
pub fn field(headers: &Fields, name: &FieldName) -> Option<Seconds> {
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
            "sun, 06 NOV 1994 08:49:37 gMT",
            "SUN NOV  6 08:49:37 1994",
        ] {
            assert_eq!(parse(&HeaderValue::from_static(text)), Some(784_111_777), "{text}");
        }
        for text in ["0", "", "Sun, 06 Nov 1994 08:49:37 CET", "yesterday"] {
            assert_eq!(parse(&HeaderValue::from_static(text)), None, "{text}");
        }
        assert_eq!(
            strict(&HeaderValue::from_static("sun, 06 nov 1994 08:49:37 gmt")),
            Some(784_111_777)
        );
        assert_eq!(strict(&HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 UTC")), None);
        assert_eq!(value(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
