//! Reads `CDN-Cache-Control` (RFC 9213): what an origin says to the caches in front of it alone, in the
//! place of `Cache-Control` and `Expires`. The field goes on as it came, for a cache before this one.

use std::time::Duration;

use sfv::{Dictionary, ListEntry, Parser};

use super::{Answer, MOST, names};
use crate::message::Fields;
use crate::message::name::CDN_CACHE_CONTROL;

/// What the field says; `None` where it is not there, is empty, or is no structured dictionary: then it
/// counts for nothing (RFC 9213 §2.2). A directive that allows something is passed over where its value is of
/// another type; one that forbids something is heeded, unless it says that it is not so.
pub(super) fn of(headers: &Fields) -> Option<Answer> {
    let mut lines = headers.get_all(&CDN_CACHE_CONTROL).iter().peekable();
    lines.peek()?;
    let lines: Vec<&[u8]> = lines.map(|line| line.as_bytes()).collect();
    let says: Dictionary = Parser::new(&lines.join(&b","[..])).parse().ok()?;
    if says.is_empty() {
        return None;
    }
    let mut found = Answer { targeted: true, ..Answer::default() };
    for (name, value) in &says {
        take(&mut found, name.as_str(), &Value::of(value));
    }
    Some(found)
}

/// A value as what it may be taken for.
struct Value<'a> {
    /// It is true.
    flag: bool,
    /// It is anything but false.
    said: bool,
    seconds: Option<i64>,
    fields: Option<&'a str>,
}

impl<'a> Value<'a> {
    fn of(value: &'a ListEntry) -> Self {
        let ListEntry::Item(item) = value else {
            return Self { flag: false, said: true, seconds: None, fields: None };
        };
        let item = &item.bare_item;
        let text = item.as_string().map(|text| text.as_str());
        Self {
            flag: item.as_boolean().unwrap_or_default(),
            said: item.as_boolean().unwrap_or(true),
            seconds: item.as_integer().map(i64::from),
            fields: text.or_else(|| item.as_token().map(|token| token.as_str())),
        }
    }

    /// Below zero is stale, as it is in `Cache-Control`.
    fn duration(&self) -> Option<Duration> {
        let seconds = u64::try_from(self.seconds?).unwrap_or_default();
        Some(Duration::from_secs(seconds.min(MOST)))
    }
}

fn take(found: &mut Answer, name: &str, value: &Value<'_>) {
    match name {
        "no-store" => found.no_store = value.said,
        "no-cache" => {
            found.no_cache = value.said && value.fields.is_none();
            let fields = value.fields.unwrap_or_default();
            found.no_cache_fields.extend(names(fields.as_bytes()));
        }
        "private" => found.private = value.said,
        "public" => found.public = value.flag,
        "must-revalidate" => found.must_revalidate = value.said,
        "proxy-revalidate" => found.proxy_revalidate = value.said,
        "must-understand" => found.must_understand = value.flag,
        "no-transform" => found.no_transform = value.said,
        "max-age" => found.max_age = value.duration(),
        "s-maxage" => found.s_maxage = value.duration(),
        "stale-while-revalidate" => found.stale_while_revalidate = value.duration(),
        "stale-if-error" => found.stale_if_error = value.duration(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::message::name::CACHE_CONTROL;

    fn says(lines: &[&'static str], control: &'static str) -> Answer {
        let mut headers = Fields::new();
        for line in lines {
            headers.append(&CDN_CACHE_CONTROL, HeaderValue::from_static(line));
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(control));
        Answer::of(&headers)
    }

    #[test]
    fn it_stands_in_the_place_of_cache_control() {
        for (lines, expected) in [
            (&["max-age=60"][..], Some(60)),
            (&["max-age=60;ext=1, foo=bar"], Some(60)),
            (&["no-store", "max-age=60"], Some(60)),
            (&["max-age=99999999999"], Some(MOST)),
            (&["max-age=-1"], Some(0)),
            (&["max-age=\"60\""], None),
            (&["max-age=60.5"], None),
            (&["max-age=(60)"], None),
            (&["max-age"], None),
            (&["foo"], None),
        ] {
            let answer = says(lines, "max-age=5, no-cache");
            let age = answer.max_age.map(|age| age.as_secs());
            assert_eq!(
                (age, answer.no_cache, answer.targeted),
                (expected, false, true),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn what_is_no_dictionary_counts_for_nothing() {
        for line in [
            "",
            " ",
            "max-age=60,",
            "Max-Age=60",
            "max-age=",
            "max-age=60 foo",
            "max-age=1000000000000000",
            "max-age=60;",
        ] {
            let answer = says(&[line], "max-age=5");
            let age = answer.max_age.map(|age| age.as_secs());
            assert_eq!((age, answer.targeted), (Some(5), false), "{line:?}");
        }
    }

    #[test]
    fn every_directive_has_its_place() {
        let all = "no-store, no-cache, private, public, must-revalidate, proxy-revalidate, must-understand, \
                   no-transform, max-age=1, s-maxage=2, stale-while-revalidate=3, stale-if-error=4";
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let expected = Answer {
            no_store: true,
            no_cache: true,
            no_cache_fields: Vec::new(),
            private: true,
            public: true,
            must_revalidate: true,
            proxy_revalidate: true,
            must_understand: true,
            no_transform: true,
            max_age: seconds(1),
            s_maxage: seconds(2),
            stale_while_revalidate: seconds(3),
            stale_if_error: seconds(4),
            targeted: true,
        };
        assert_eq!(says(&[all], ""), expected);
        let fields = says(&["no-cache=\"a, b\", private=\"x\", public=?0"], "");
        assert!(!fields.no_cache && fields.private && !fields.public);
        assert_eq!(fields.no_cache_fields, ["a", "b"]);
        let fields = says(&["no-cache=a, private=x-user, max-age=60"], "");
        assert!(!fields.no_cache && fields.private);
        assert_eq!(fields.no_cache_fields, ["a"]);
        let odd = says(&["no-store=1, no-cache=(\"a\"), private=(\"a\"), public=1"], "");
        assert!(odd.no_store && odd.no_cache && odd.private && !odd.public);
        let not = says(&["no-store=?0, no-cache=?0, private=?0, max-age=1"], "");
        assert!(!not.no_store && !not.no_cache && !not.private);
        // It says nothing of caches, so that it is for whoever reads it.
        assert!(says(&["max-age=1"], "no-transform").no_transform);
    }
}
