//! Names of fields (RFC 9110 §5.1): those that are known by a number, and all others.

mod known;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

pub use self::known::*;

/// A field's name, in lower case.
#[derive(Clone)]
pub struct FieldName(Repr);

/// A name that has a number has no other form, so that two names of different forms differ but for
/// the two that are texts.
#[derive(Clone)]
enum Repr {
    Known(u8),
    Static(&'static str),
    Other(Arc<str>),
}

/// It is no token (RFC 9110 §5.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoName;

impl fmt::Display for NoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the name of a field")
    }
}

impl std::error::Error for NoName {}

/// Numbers by the length of their names.
static BY_LENGTH: LazyLock<Vec<Vec<(&str, u8)>>> = LazyLock::new(|| {
    let longest = KNOWN.iter().map(|text| text.len()).max().unwrap_or(0);
    let mut lengths = vec![Vec::new(); longest + 1];
    for (text, number) in KNOWN.iter().zip(0..) {
        if let Some(names) = lengths.get_mut(text.len()) {
            names.push((*text, number));
        }
    }
    lengths
});

/// The same names as hyper wants them.
static HTTP: LazyLock<Vec<http::HeaderName>> =
    LazyLock::new(|| KNOWN.iter().map(|text| http::HeaderName::from_static(text)).collect());

/// The number of a name in lower case, if it has one.
pub(super) fn number(text: &[u8]) -> Option<u8> {
    let names = BY_LENGTH.get(text.len())?;
    names.iter().find(|(known, _)| known.as_bytes() == text).map(|(_, number)| *number)
}

/// What a token may have, in lower case (RFC 9110 §5.6.2).
const fn is_token(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9')
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+')
        || matches!(byte, b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// Whether a name may be kept: longer ones than any server takes are no names either.
fn is_name(text: &[u8]) -> bool {
    !text.is_empty()
        && text.len() <= usize::from(u16::MAX)
        && text.iter().all(|byte| is_token(*byte))
}

impl FieldName {
    /// A name of the program's own.
    ///
    /// # Panics
    /// If it is none in lower case; a constant, while it is compiled.
    #[allow(
        clippy::indexing_slicing,
        reason = "a constant function has no other way; bounds are checked"
    )]
    pub const fn from_static(text: &'static str) -> Self {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            assert!(is_token(bytes[at]), "not the name of a field in lower case");
            at += 1;
        }
        assert!(at > 0, "no name");
        let mut number = 0;
        while number < KNOWN.len() {
            let known = KNOWN[number].as_bytes();
            let mut same = if known.len() == bytes.len() { 0 } else { known.len() + 1 };
            while same < known.len() && known[same] == bytes[same] {
                same += 1;
            }
            if same == known.len() {
                return Self(Repr::Known(number as u8));
            }
            number += 1;
        }
        Self(Repr::Static(text))
    }

    /// A name that must be in lower case already, as HTTP/2 has it (RFC 9113 §8.2.1).
    ///
    /// # Errors
    /// It is no such name.
    pub fn from_lowercase(text: &[u8]) -> Result<Self, NoName> {
        if let Some(number) = number(text) {
            return Ok(Self(Repr::Known(number)));
        }
        let text = std::str::from_utf8(text).ok().filter(|text| is_name(text.as_bytes()));
        text.map(|text| Self(Repr::Other(text.into()))).ok_or(NoName)
    }

    /// A name in any case.
    ///
    /// # Errors
    /// It is no name.
    pub fn from_bytes(text: &[u8]) -> Result<Self, NoName> {
        Self::from_lowercase(&text.to_ascii_lowercase())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Known(number) => KNOWN.get(usize::from(*number)).copied().unwrap_or_default(),
            Repr::Static(text) => text,
            Repr::Other(text) => text,
        }
    }

    /// Its number, of those that [`KNOWN`] has; only those have one, and all of them.
    #[inline]
    pub fn number(&self) -> Option<u8> {
        match self.0 {
            Repr::Known(number) => Some(number),
            _ => None,
        }
    }
}

impl PartialEq for FieldName {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Known(one), Repr::Known(other)) => one == other,
            (Repr::Known(_), _) | (_, Repr::Known(_)) => false,
            _ => self.as_str() == other.as_str(),
        }
    }
}

impl Eq for FieldName {}

impl Hash for FieldName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialEq<str> for FieldName {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for FieldName {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl FromStr for FieldName {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        Self::from_bytes(text.as_bytes())
    }
}

impl TryFrom<&str> for FieldName {
    type Error = NoName;

    fn try_from(text: &str) -> Result<Self, NoName> {
        text.parse()
    }
}

impl From<&http::HeaderName> for FieldName {
    fn from(name: &http::HeaderName) -> Self {
        let text = name.as_str();
        match number(text.as_bytes()) {
            Some(number) => Self(Repr::Known(number)),
            None => Self(Repr::Other(text.into())),
        }
    }
}

impl From<FieldName> for http::HeaderName {
    fn from(name: FieldName) -> Self {
        let known = name.number().and_then(|number| HTTP.get(usize::from(number)));
        match known {
            Some(known) => known.clone(),
            // Every name here is one there: both hold to RFC 9110 and to the same length.
            None => Self::from_bytes(name.as_str().as_bytes()).unwrap_or(http::header::WARNING),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_names_are_found_by_each_way_and_fit_the_bits() {
        assert!(KNOWN.len() <= 128);
        for (text, place) in KNOWN.iter().zip(0..) {
            let shouted = text.to_ascii_uppercase();
            for name in [
                FieldName::from_static(text),
                FieldName::from_lowercase(text.as_bytes()).unwrap(),
                FieldName::from_bytes(shouted.as_bytes()).unwrap(),
                FieldName::from(&http::HeaderName::from_static(text)),
            ] {
                assert_eq!(name.number(), Some(place), "{text}");
                assert_eq!(name, *text);
                assert_eq!(http::HeaderName::from(name).as_str(), *text);
            }
        }
        assert_eq!(CONTENT_TYPE, "content-type");
        assert_ne!(CONTENT_TYPE, CONTENT_LENGTH);
    }

    proptest! {
        #[test]
        fn names_are_those_of_the_http_crate(text in prop::collection::vec(any::<u8>(), 0..12)) {
            // Which it takes for part of a token; RFC 9110 §5.6.2 does not.
            prop_assume!(!text.contains(&b'"'));
            let theirs = http::HeaderName::from_bytes(&text);
            let ours = FieldName::from_bytes(&text);
            prop_assert_eq!(ours.is_ok(), theirs.is_ok());
            if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
                prop_assert_eq!(ours.as_str(), theirs.as_str());
                prop_assert_eq!(&ours, &FieldName::from(&theirs));
                prop_assert_eq!(http::HeaderName::from(ours), theirs);
            }
            let lower = http::HeaderName::from_lowercase(&text).is_ok();
            prop_assert_eq!(FieldName::from_lowercase(&text).is_ok(), lower);
        }
    }

    #[test]
    fn a_text_of_the_program_equals_one_that_came() {
        let own = FieldName::from_static("x-own");
        assert_eq!(own, FieldName::from_bytes(b"X-Own").unwrap());
        assert_ne!(own, FieldName::from_bytes(b"X-Owm").unwrap());
    }
}
