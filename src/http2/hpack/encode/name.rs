//! What a field is named by, for the encoder.

use std::sync::LazyLock;

use super::{SPREAD, STATIC, hash};
use crate::message::FieldName;
use crate::message::name::KNOWN;

/// The first place in the static table of each name that has a number; all of that table's have one
/// but for the pseudo-headers.
static PLACES: LazyLock<Vec<Option<usize>>> = LazyLock::new(|| {
    let place = |text: &&str| Some(STATIC.iter().position(|(name, _)| name == text)? + 1);
    KNOWN.iter().map(place).collect()
});

/// A name: its number stands for it, where it has one.
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) number: Option<u8>,
    pub(super) text: &'a str,
    /// A pseudo-header's place in the static table.
    pseudo: Option<usize>,
}

impl Name<'static> {
    pub(super) const AUTHORITY: Self = Self::pseudo(":authority", Some(1));
    pub(super) const METHOD: Self = Self::pseudo(":method", Some(2));
    pub(super) const PATH: Self = Self::pseudo(":path", Some(4));
    pub(super) const STATUS: Self = Self::pseudo(":status", Some(8));
    /// Younger than the table (RFC 8441).
    pub(super) const PROTOCOL: Self = Self::pseudo(":protocol", None);

    const fn pseudo(text: &'static str, pseudo: Option<usize>) -> Self {
        Self { number: None, text, pseudo }
    }
}

impl<'a> From<&'a FieldName> for Name<'a> {
    fn from(name: &'a FieldName) -> Self {
        Self { number: name.number(), text: name.as_str(), pseudo: None }
    }
}

impl Name<'_> {
    pub(super) fn hash(self) -> u64 {
        match self.number {
            Some(number) => u64::from(number).wrapping_add(1).wrapping_mul(SPREAD),
            None => hash(0, self.text.as_bytes()),
        }
    }

    /// Its first place in the static table.
    pub(super) fn place(self) -> Option<usize> {
        match self.number {
            Some(number) => PLACES.get(usize::from(number)).copied().flatten(),
            None => self.pseudo,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_static_table_is_found_at_its_first_place() {
        let pseudo = [Name::AUTHORITY, Name::METHOD, Name::PATH, Name::STATUS];
        for (text, _) in STATIC.iter().filter(|(text, _)| *text != ":scheme") {
            let first = STATIC.iter().position(|(name, _)| name == text).unwrap() + 1;
            let place = match pseudo.iter().find(|name| name.text == *text) {
                Some(name) => name.place(),
                None => Name::from(&FieldName::from_static(text)).place(),
            };
            assert_eq!(place, Some(first), "{text}");
        }
        assert_eq!(Name::PROTOCOL.place(), None);
        assert_eq!(Name::from(&FieldName::from_static("x-own")).place(), None);
    }
}
