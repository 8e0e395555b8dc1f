//! Which request fields choose between answers of one address (RFC 9111 §4.1).

use crate::message::name::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, VARY};
use crate::message::{FieldName, Fields};

/// The request's fields that an answer depends on, with their values; `None`: it was not there.
pub type Chosen = Box<[(FieldName, Option<Box<[u8]>>)]>;

/// The names in `Vary`; what is no name (`*`) is left out.
pub fn names(headers: &Fields) -> impl Iterator<Item = FieldName> + '_ {
    words(headers).filter_map(|word| FieldName::from_bytes(word).ok())
}

fn words(headers: &Fields) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(VARY).iter();
    let words = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    words.map(<[u8]>::trim_ascii).filter(|word| !word.is_empty())
}

/// Whether the answer depends on more than can be seen.
pub fn is_unbounded(headers: &Fields) -> bool {
    // `*` is a token, and so would be read as a name.
    words(headers).any(|word| word == b"*" || FieldName::from_bytes(word).is_err())
}

/// What an answer to `request` depends on. `Accept-Encoding` is not among it: Ravelin itself codes
/// what it keeps, and asks upstream for identity.
pub fn choose(answer: &Fields, request: &Fields) -> Chosen {
    let mut chosen: Vec<(FieldName, Option<Box<[u8]>>)> = Vec::new();
    for name in names(answer) {
        if name != ACCEPT_ENCODING && !chosen.iter().any(|(known, _)| *known == name) {
            let value = normal(&name, request);
            chosen.push((name, value));
        }
    }
    chosen.into()
}

/// Whether `Accept-Encoding` is one of the fields.
pub fn by_coding(answer: &Fields) -> bool {
    names(answer).any(|name| name == ACCEPT_ENCODING)
}

/// Whether a request has the fields that the answer was chosen by.
pub fn matches(chosen: &Chosen, request: &Fields) -> bool {
    chosen.iter().all(|(name, value)| match (value, request.contains_key(name)) {
        (None, there) => !there,
        (Some(_), false) => false,
        (Some(value), true) => normal(name, request).as_deref() == Some(&**value),
    })
}

/// A field's value as it is compared: all its lines, without optional space around members.
/// Languages do not depend on case, nor on the order of what is wanted equally.
fn normal(name: &FieldName, headers: &Fields) -> Option<Box<[u8]>> {
    let lines = headers.get_all(name);
    lines.iter().next()?;
    let members = lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let members = members.map(<[u8]>::trim_ascii);
    if *name == ACCEPT_LANGUAGE {
        let mut tags: Vec<Vec<u8>> = members.map(<[u8]>::to_ascii_lowercase).collect();
        // A weight stands behind its tag, so that the order of tags changes nothing.
        tags.sort_unstable();
        return Some(tags.join(&b","[..]).into());
    }
    Some(members.collect::<Vec<_>>().join(&b","[..]).into())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> Fields {
        let mut map = Fields::new();
        for (name, value) in fields {
            map.append(FieldName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn an_answer_matches_the_fields_it_was_chosen_by() {
        for (vary, first, second, expected) in [
            ("", &[][..], &[("foo", "1")][..], true),
            ("Foo", &[("foo", "1")][..], &[("foo", "1"), ("other", "2")], true),
            ("Foo", &[("foo", "1")], &[("foo", "2")], false),
            ("Foo", &[("foo", "1")], &[], false),
            ("Foo", &[], &[("foo", "1")], false),
            ("Foo", &[], &[("foo", "")], false),
            ("Foo, Bar", &[("foo", "1")], &[("foo", "1")], true),
            ("Foo, Bar", &[("foo", "1")], &[("foo", "1"), ("bar", "2")], false),
            ("Foo", &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")], true),
            ("Foo", &[("foo", "1,2")], &[("foo", " 1, 2 ")], true),
            ("Foo", &[("foo", "1,2")], &[("foo", "2,1")], false),
            (
                "Accept-Language",
                &[("accept-language", "en, de")],
                &[("accept-language", "dE,en")],
                true,
            ),
            ("Accept-Language", &[("accept-language", "en")], &[("accept-language", "de")], false),
            ("Accept-Encoding", &[("accept-encoding", "br")], &[], true),
        ] {
            let answer = headers(&[("vary", vary)]);
            let chosen = choose(&answer, &headers(first));
            assert_eq!(matches(&chosen, &headers(second)), expected, "{vary} {first:?} {second:?}");
        }
    }

    #[test]
    fn a_star_is_unbounded_wherever_it_stands() {
        for (lines, expected) in [
            (&["*"][..], true),
            (&["*, *"], true),
            (&["", "*"], true),
            (&["Foo, *"], true),
            (&["Foo", "Bar"], false),
            (&[""], false),
        ] {
            let mut map = Fields::new();
            for line in lines {
                map.append(VARY, HeaderValue::from_static(line));
            }
            assert_eq!(is_unbounded(&map), expected, "{lines:?}");
        }
    }
}
