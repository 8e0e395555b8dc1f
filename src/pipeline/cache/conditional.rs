//! Entity tags of what is kept, and conditional requests about it (RFC 9110 §8.8, §13).
//!
//! A tag is strong where upstream's is, or where there is none and the body's hash takes its place.
//! Each coded variant has a tag of its own (RFC 9110 §8.8.3.3): the identity's with a suffix, which
//! names its bytes. Whoever has any of them has the present content, and need not be sent it again.
//! Where bytes are sent before it is known what they will come to, their tag is weak.

use http::HeaderValue;

use super::date::{self, Seconds};
use crate::message::Fields;
use crate::message::name::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE};
use crate::pipeline::coding::Coding;

/// How a hash of coded bytes is written: this many letters.
const HASH: usize = 11;

/// The tag of a variant: that of the identity with its suffix ([`super::content::Coded::suffix`]). A
/// weak tag is that of all variants alike.
pub fn tag(base: &HeaderValue, suffix: &str) -> HeaderValue {
    let bytes = base.as_bytes();
    match bytes.strip_suffix(b"\"") {
        Some(open) if bytes.starts_with(b"\"") => {
            let text = [open, suffix.as_bytes(), b"\""].concat();
            HeaderValue::from_bytes(&text).unwrap_or_else(|_| base.clone())
        }
        _ => base.clone(),
    }
}

/// The tag of something that has the meaning of `base`, and other bytes (RFC 9110 §8.8.1). What is no
/// tag is none of this.
pub fn weak(base: &HeaderValue) -> Option<HeaderValue> {
    match base.as_bytes() {
        [b'W', b'/', ..] => Some(base.clone()),
        strong @ [b'"', ..] => HeaderValue::from_bytes(&[b"W/", strong].concat()).ok(),
        _ => None,
    }
}

/// What a request has already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It has this very tag, which the 304 repeats.
    Tagged(HeaderValue),
    /// It has what has not changed since.
    Unmodified,
    /// Nothing that would do.
    Send,
}

/// Judges a GET or HEAD about content with the tag `base`, last modified `modified`.
///
/// `If-None-Match` goes before `If-Modified-Since` (RFC 9110 §13.2.2), and is compared weakly.
pub fn judge(headers: &Fields, base: Option<&HeaderValue>, modified: Option<Seconds>) -> Condition {
    if headers.contains_key(IF_NONE_MATCH) {
        let Some(base) = base else { return Condition::Send };
        for line in headers.get_all(IF_NONE_MATCH) {
            for tag in tags(line.as_bytes()) {
                if tag == b"*" {
                    return Condition::Tagged(base.clone());
                }
                if same(base.as_bytes(), tag) {
                    let tag = HeaderValue::from_bytes(tag);
                    return Condition::Tagged(tag.unwrap_or_else(|_| base.clone()));
                }
            }
        }
        return Condition::Send;
    }
    let since = headers.get(IF_MODIFIED_SINCE).and_then(date::parse);
    match (since, modified) {
        (Some(since), Some(modified)) if modified <= since => Condition::Unmodified,
        _ => Condition::Send,
    }
}

/// What `If-Range` is about (RFC 9110 §13.1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfRange {
    /// There is none: ranges hold.
    Absent,
    /// Ranges hold of the variant with this tag.
    Tag(HeaderValue),
    /// Ranges hold if it was last modified then.
    Date(Seconds),
    /// It cannot hold.
    Never,
}

/// Reads `If-Range`; a weak tag never holds.
pub fn if_range(headers: &Fields) -> IfRange {
    let Some(value) = headers.get(IF_RANGE) else { return IfRange::Absent };
    let bytes = value.as_bytes();
    if bytes.starts_with(b"\"") {
        return IfRange::Tag(value.clone());
    }
    date::parse(value).map_or(IfRange::Never, IfRange::Date)
}

/// The tags of a list; commas may stand within one.
fn tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let mut quoted = false;
        let start = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        let open = rest.get(start..)?;
        let end = open.iter().position(|byte| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        });
        let (tag, after) = open.split_at(end.unwrap_or(open.len()));
        rest = after;
        Some(tag.trim_ascii())
    })
}

/// Whether a client's tag stands for the content of `base`: weakly the same, or one of its variants'.
fn same(base: &[u8], tag: &[u8]) -> bool {
    let (base, tag) = (opaque(base), opaque(tag));
    if base == tag {
        return true;
    }
    tag.strip_prefix(base).is_some_and(is_suffix)
}

/// `-br-x7Qk0ExampL`
fn is_suffix(text: &[u8]) -> bool {
    let Some((name, hash)) = text
        .strip_prefix(b"-")
        .and_then(|text| text.split_at_checked(text.len().checked_sub(HASH + 1)?))
    else {
        return false;
    };
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    Coding::BY_SIZE.iter().any(|coding| coding.name().as_bytes() == name)
        && hash.strip_prefix(b"-").is_some_and(|hash| hash.iter().all(letter))
}

/// What stands between the quotes; quotes that upstream or client forgot are forgiven.
fn opaque(tag: &[u8]) -> &[u8] {
    let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
    tag.strip_prefix(b"\"").and_then(|tag| tag.strip_suffix(b"\"")).unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(name: &'static str, value: &'static str) -> Fields {
        let mut headers = Fields::new();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    }

    fn has(list: &'static str, base: &'static str) -> bool {
        let base = HeaderValue::from_static(base);
        judge(&asks("if-none-match", list), Some(&base), None) != Condition::Send
    }

    #[test]
    fn a_client_has_the_content_by_any_of_its_tags() {
        for (list, base, expected) in [
            ("\"a\"", "\"a\"", true),
            ("\"b\"", "\"a\"", false),
            ("*", "\"a\"", true),
            ("\"1\", \"a\"", "\"a\"", true),
            ("\"1\",\"a\" , \"2\"", "\"a\"", true),
            ("\"x,\"\"a\"", "\"a\"", false),
            ("W/\"a\"", "\"a\"", true),
            ("\"a\"", "W/\"a\"", true),
            ("a", "\"a\"", true),
            ("\"a\"", "a", true),
            ("\"a-br-x7Qk0ExampL\"", "\"a\"", true),
            ("W/\"a-zstd--7Qk0Examp_\"", "\"a\"", true),
            ("\"a-br-x7Qk0Examp\"", "\"a\"", false),
            ("\"a-br-x7Qk0ExampL1\"", "\"a\"", false),
            ("\"a-br-x7Qk0Exam=L\"", "\"a\"", false),
            ("\"a-br\"", "\"a\"", false),
            ("\"a-xz-x7Qk0ExampL\"", "\"a\"", false),
            ("\"a\"", "\"a-br-x7Qk0ExampL\"", false),
            ("", "\"a\"", false),
        ] {
            assert_eq!(has(list, base), expected, "{list} {base}");
        }
    }

    #[test]
    fn a_304_repeats_the_client_s_own_tag() {
        let base = HeaderValue::from_static("\"a\"");
        let found = judge(&asks("if-none-match", "\"x\", \"a-br-x7Qk0ExampL\""), Some(&base), None);
        let own = HeaderValue::from_static("\"a-br-x7Qk0ExampL\"");
        assert_eq!(found, Condition::Tagged(own));
    }

    #[test]
    fn dates_count_only_without_tags() {
        let since = "Sun, 06 Nov 1994 08:49:37 UTC";
        let mut headers = asks("if-modified-since", since);
        assert_eq!(judge(&headers, None, Some(784_111_777)), Condition::Unmodified);
        assert_eq!(judge(&headers, None, Some(784_111_778)), Condition::Send);
        assert_eq!(judge(&headers, None, None), Condition::Send);
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("\"b\""));
        let base = HeaderValue::from_static("\"a\"");
        assert_eq!(judge(&headers, Some(&base), Some(0)), Condition::Send);
    }

    #[test]
    fn variants_have_tags_of_their_own_unless_the_tag_is_weak() {
        for (base, suffix, expected) in [
            ("\"a\"", "", "\"a\""),
            ("\"a\"", "-br-x", "\"a-br-x\""),
            ("W/\"a\"", "-br-x", "W/\"a\""),
            ("a", "-br-x", "a"),
        ] {
            assert_eq!(tag(&HeaderValue::from_static(base), suffix), expected);
        }
        for (base, expected) in
            [("\"a\"", Some("W/\"a\"")), ("W/\"a\"", Some("W/\"a\"")), ("a", None)]
        {
            let weak = weak(&HeaderValue::from_static(base));
            assert_eq!(weak.as_ref().map(|tag| tag.to_str().unwrap()), expected);
        }
    }

    #[test]
    fn if_range_holds_for_strong_tags_and_dates() {
        assert_eq!(if_range(&Fields::new()), IfRange::Absent);
        let tag = HeaderValue::from_static("\"a\"");
        assert_eq!(if_range(&asks("if-range", "\"a\"")), IfRange::Tag(tag));
        assert_eq!(if_range(&asks("if-range", "W/\"a\"")), IfRange::Never);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(if_range(&asks("if-range", date)), IfRange::Date(784_111_777));
    }
}
