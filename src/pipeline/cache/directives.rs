//! Reads `Cache-Control` (RFC 9111 §5.2), of requests and of answers.
//!
//! What cannot be read is taken the careful way: a lifetime that is no number of seconds is no
//! lifetime at all (§4.2.1), and the first of two counts.

mod targeted;

use std::time::Duration;

use crate::message::name::{CACHE_CONTROL, PRAGMA};
use crate::message::{FieldName, Fields};

/// The largest number of seconds that is told apart (§1.2.2).
const MOST: u64 = 1 << 31;

/// What an answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache` without fields: ask before each use.
    pub no_cache: bool,
    /// `no-cache` with fields: those are not to be reused.
    pub no_cache_fields: Vec<FieldName>,
    /// `private`, with fields or without: we keep neither.
    pub private: bool,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `no-transform`.
    pub no_transform: bool,
    /// `max-age`.
    pub max_age: Option<Duration>,
    /// `s-maxage`.
    pub s_maxage: Option<Duration>,
    /// `stale-while-revalidate` (RFC 5861).
    pub stale_while_revalidate: Option<Duration>,
    /// `stale-if-error` (RFC 5861).
    pub stale_if_error: Option<Duration>,
    /// It was said to caches like this one alone: `Expires` counts for nothing (RFC 9213 §2.2).
    pub targeted: bool,
}

/// What a request says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache`, or `Pragma: no-cache` where there is no `Cache-Control` (§5.4).
    pub no_cache: bool,
    /// `only-if-cached`.
    pub only_if_cached: bool,
    /// `max-age`.
    pub max_age: Option<Duration>,
    /// `min-fresh`.
    pub min_fresh: Option<Duration>,
    /// `max-stale`; without a value: any.
    pub max_stale: Option<Duration>,
    /// `stale-if-error`.
    pub stale_if_error: Option<Duration>,
}

impl Answer {
    /// What these headers say.
    pub fn of(headers: &Fields) -> Self {
        let all = Self::of_all(headers);
        match targeted::of(headers) {
            Some(found) => Self { no_transform: found.no_transform || all.no_transform, ..found },
            None => all,
        }
    }

    /// What they say to all caches.
    fn of_all(headers: &Fields) -> Self {
        let mut found = Self::default();
        each(headers, |name, value| match name {
            b"no-store" => found.no_store = true,
            b"no-cache" => match value {
                None => found.no_cache = true,
                Some(fields) => found.no_cache_fields.extend(names(fields)),
            },
            b"private" => found.private = true,
            b"public" => found.public = true,
            b"must-revalidate" => found.must_revalidate = true,
            b"proxy-revalidate" => found.proxy_revalidate = true,
            b"must-understand" => found.must_understand = true,
            b"no-transform" => found.no_transform = true,
            b"max-age" => first(&mut found.max_age, value),
            b"s-maxage" => first(&mut found.s_maxage, value),
            b"stale-while-revalidate" => first(&mut found.stale_while_revalidate, value),
            b"stale-if-error" => first(&mut found.stale_if_error, value),
            _ => {}
        });
        found
    }
}

impl Asked {
    /// What these headers say.
    pub fn of(headers: &Fields) -> Self {
        let mut found = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            let pragma = headers.get_all(PRAGMA).iter();
            found.no_cache = pragma
                .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
                .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"no-cache"));
            return found;
        }
        each(headers, |name, value| match name {
            b"no-store" => found.no_store = true,
            b"no-cache" => found.no_cache = true,
            b"only-if-cached" => found.only_if_cached = true,
            b"max-age" => first(&mut found.max_age, value),
            b"min-fresh" => first(&mut found.min_fresh, value),
            b"max-stale" => match value {
                None => found.max_stale = Some(Duration::from_secs(MOST)),
                some => first(&mut found.max_stale, some),
            },
            b"stale-if-error" => first(&mut found.stale_if_error, value),
            _ => {}
        });
        found
    }
}

/// A number of seconds; `None` for what is none. Too many are `MOST`.
pub fn seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = text.iter().fold(0_u64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')).min(MOST)
    });
    Some(Duration::from_secs(value))
}

/// Only the first counts, and what cannot be read is stale.
fn first(place: &mut Option<Duration>, value: Option<&[u8]>) {
    if place.is_none() {
        *place = Some(value.and_then(seconds).unwrap_or_default());
    }
}

fn names(fields: &[u8]) -> impl Iterator<Item = FieldName> + '_ {
    let fields = fields.split(|byte| *byte == b',');
    fields.filter_map(|name| FieldName::from_bytes(name.trim_ascii()).ok())
}

/// Every directive, its name in lower case, its value without quotes.
fn each(headers: &Fields, mut visit: impl FnMut(&[u8], Option<&[u8]>)) {
    for line in headers.get_all(CACHE_CONTROL) {
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            let (directive, after) = cut(rest);
            rest = after;
            let directive = directive.trim_ascii();
            let mut parts = directive.splitn(2, |byte| *byte == b'=');
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let value = parts.next().map(unquoted);
            if !name.is_empty() {
                visit(&name, value);
            }
        }
    }
}

/// Up to the next comma outside quotes, and what is behind it.
fn cut(text: &[u8]) -> (&[u8], &[u8]) {
    let (mut quoted, mut escaped) = (false, false);
    for (i, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                return (text.get(..i).unwrap_or_default(), text.get(i + 1..).unwrap_or_default());
            }
            _ => {}
        }
    }
    (text, &[])
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(lines: &[&'static str]) -> Fields {
        let mut headers = Fields::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
        }
        headers
    }

    fn age(lines: &[&'static str]) -> Option<u64> {
        Answer::of(&with(lines)).max_age.map(|age| age.as_secs())
    }

    #[test]
    fn a_lifetime_is_a_number_of_seconds_or_none() {
        for (line, expected) in [
            ("max-age=3600", Some(3600)),
            ("MaX-aGe=3600", Some(3600)),
            ("max-age=\"3600\"", Some(3600)),
            ("max-age=003600", Some(3600)),
            ("foobar, max-age=3600", Some(3600)),
            ("max-age=99999999999999999999", Some(1 << 31)),
            ("max-age=-3600", Some(0)),
            ("max-age='3600'", Some(0)),
            ("max-age=3600a", Some(0)),
            ("max-age=3600.0", Some(0)),
            ("max-age= 3600", Some(0)),
            ("max-age", Some(0)),
            ("max-age =3600", None),
            ("max-age=1, max-age=1800", Some(1)),
            ("max-age=1, extension=\"max-age=3600\"", Some(1)),
            ("extension=\"max-age=3600\", max-age=1", Some(1)),
            ("extension=\"a\\\", max-age=3600\"", None),
            (", ,", None),
        ] {
            assert_eq!(age(&[line]), expected, "{line}");
        }
        assert_eq!(age(&["max-age=1", "max-age=1800"]), Some(1));
    }

    #[test]
    fn directives_with_and_without_fields_are_told_apart() {
        let answer = Answer::of(&with(&["No-Cache=\"a, b\", private=\"x\"", "s-maxage=5"]));
        assert!(!answer.no_cache && answer.private);
        assert_eq!(answer.no_cache_fields, ["a", "b"]);
        assert_eq!(answer.s_maxage, Some(Duration::from_secs(5)));
        let answer = Answer::of(&with(&["nO-StOrE, No-CaChE,must-understand , no-transform"]));
        assert!(answer.no_store && answer.no_cache && answer.must_understand);
        assert!(answer.no_transform && !answer.private);
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        let mut headers = Fields::new();
        headers.insert(PRAGMA, HeaderValue::from_static("x, no-cache"));
        assert!(Asked::of(&headers).no_cache);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-stale"));
        let asked = Asked::of(&headers);
        assert!(!asked.no_cache && asked.max_stale.is_some());
    }
}
