//! The field lines of a head or of trailers, in the order in which they were said.

use std::fmt;
use std::ops::Index;
use std::slice;

use http::HeaderValue;

use super::{FieldName, name};

/// Field lines. Lines of the same name keep their order, which means something (RFC 9110 §5.3).
#[derive(Clone, Default)]
pub struct Fields {
    lines: Vec<Line>,
    /// Which of the names that have a number are there: bit by number.
    known: u128,
}

type Line = (FieldName, HeaderValue);

/// What a field may be asked for by: a name, or its text in lower case.
pub trait Named {
    /// Its number, if it has one.
    fn number(&self) -> Option<u8>;
    /// Whether this is the name that is meant.
    fn is(&self, name: &FieldName) -> bool;
}

/// What a new line may be named by.
pub trait IntoName {
    /// The name.
    fn into_name(self) -> FieldName;
}

impl IntoName for FieldName {
    #[inline]
    fn into_name(self) -> FieldName {
        self
    }
}

impl IntoName for &FieldName {
    #[inline]
    fn into_name(self) -> FieldName {
        self.clone()
    }
}

impl IntoName for &'static str {
    fn into_name(self) -> FieldName {
        FieldName::from_static(self)
    }
}

impl Named for FieldName {
    #[inline]
    fn number(&self) -> Option<u8> {
        Self::number(self)
    }

    #[inline]
    fn is(&self, name: &FieldName) -> bool {
        self == name
    }
}

impl Named for &FieldName {
    #[inline]
    fn number(&self) -> Option<u8> {
        FieldName::number(self)
    }

    #[inline]
    fn is(&self, name: &FieldName) -> bool {
        *self == name
    }
}

impl Named for &str {
    fn number(&self) -> Option<u8> {
        name::number(self.as_bytes())
    }

    fn is(&self, name: &FieldName) -> bool {
        name == *self
    }
}

#[inline]
fn bit(number: u8) -> u128 {
    1 << (number & 127)
}

impl Fields {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// None, with room for so many.
    pub fn with_capacity(lines: usize) -> Self {
        Self { lines: Vec::with_capacity(lines), known: 0 }
    }

    /// Makes room for so many more.
    pub fn reserve(&mut self, more: usize) {
        self.lines.reserve(more);
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether there may be one of this name; with a number it is certain.
    #[inline]
    fn may_have(&self, name: &impl Named) -> bool {
        name.number().is_none_or(|number| self.known & bit(number) != 0)
    }

    /// Where the first of this name stands.
    fn place(&self, name: &impl Named) -> Option<usize> {
        self.lines.iter().position(|(known, _)| name.is(known))
    }

    /// Whether there is one of this name.
    #[inline]
    pub fn contains_key(&self, name: impl Named) -> bool {
        match name.number() {
            Some(number) => self.known & bit(number) != 0,
            None => self.place(&name).is_some(),
        }
    }

    /// The first value of this name.
    #[inline]
    pub fn get(&self, name: impl Named) -> Option<&HeaderValue> {
        if !self.may_have(&name) {
            return None;
        }
        self.lines.iter().find(|(known, _)| name.is(known)).map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, name: impl Named) -> Option<&mut HeaderValue> {
        if !self.may_have(&name) {
            return None;
        }
        self.lines.iter_mut().find(|(known, _)| name.is(known)).map(|(_, value)| value)
    }

    /// All values of this name.
    pub fn get_all<N: Named>(&self, name: N) -> Values<'_, N> {
        let lines = if self.may_have(&name) { self.lines.as_slice() } else { &[] };
        Values { lines: lines.iter(), name }
    }

    /// Puts one in the place of all of this name, and gives the first of them.
    #[inline]
    pub fn insert(&mut self, name: impl IntoName, value: HeaderValue) -> Option<HeaderValue> {
        let name = name.into_name();
        if self.may_have(&name) {
            return self.replace(name, value);
        }
        self.append(name, value);
        None
    }

    fn replace(&mut self, name: FieldName, value: HeaderValue) -> Option<HeaderValue> {
        let Some(place) = self.place(&name) else {
            self.append(name, value);
            return None;
        };
        let mut at = 0;
        self.lines.retain(|(known, _)| {
            at += 1;
            at <= place + 1 || *known != name
        });
        self.lines.get_mut(place).map(|(_, known)| std::mem::replace(known, value))
    }

    /// Puts one behind all others.
    #[inline]
    pub fn append(&mut self, name: impl IntoName, value: HeaderValue) {
        let name = name.into_name();
        if let Some(number) = name.number() {
            self.known |= bit(number);
        }
        self.lines.push((name, value));
    }

    /// Takes all of this name away, and gives the first of them.
    #[inline]
    pub fn remove(&mut self, name: impl Named) -> Option<HeaderValue> {
        if self.may_have(&name) { self.take(&name) } else { None }
    }

    fn take(&mut self, name: &impl Named) -> Option<HeaderValue> {
        let place = self.place(name)?;
        let (_, value) = self.lines.remove(place);
        self.lines.retain(|(known, _)| !name.is(known));
        if let Some(number) = name.number() {
            self.known &= !bit(number);
        }
        Some(value)
    }

    /// Takes away all whose names are not to be kept.
    pub fn retain(&mut self, mut keeps: impl FnMut(&FieldName) -> bool) {
        let mut known = 0;
        self.lines.retain(|(name, _)| {
            let kept = keeps(name);
            if let Some(number) = name.number().filter(|_| kept) {
                known |= bit(number);
            }
            kept
        });
        self.known = known;
    }

    /// All lines.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&FieldName, &HeaderValue)> {
        self.lines.iter().map(|(name, value)| (name, value))
    }

    /// The names of all lines: one that was said twice comes twice.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &FieldName> {
        self.lines.iter().map(|(name, _)| name)
    }
}

/// The values of one name.
#[derive(Clone)]
pub struct Values<'a, N> {
    lines: slice::Iter<'a, Line>,
    name: N,
}

impl<N: Clone> Values<'_, N> {
    /// The same, from here on.
    pub fn iter(&self) -> Self {
        self.clone()
    }
}

impl<'a, N: Named> Iterator for Values<'a, N> {
    type Item = &'a HeaderValue;

    fn next(&mut self) -> Option<&'a HeaderValue> {
        self.lines.find(|(name, _)| self.name.is(name)).map(|(_, value)| value)
    }
}

impl<N: Named> DoubleEndedIterator for Values<'_, N> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.lines.rfind(|(name, _)| self.name.is(name)).map(|(_, value)| value)
    }
}

impl<'a> IntoIterator for &'a Fields {
    type Item = (&'a FieldName, &'a HeaderValue);
    type IntoIter = std::iter::Map<slice::Iter<'a, Line>, fn(&Line) -> (&FieldName, &HeaderValue)>;

    fn into_iter(self) -> Self::IntoIter {
        self.lines.iter().map(|(name, value)| (name, value))
    }
}

impl IntoIterator for Fields {
    type Item = Line;
    type IntoIter = std::vec::IntoIter<Line>;

    fn into_iter(self) -> Self::IntoIter {
        self.lines.into_iter()
    }
}

impl Extend<Line> for Fields {
    fn extend<I: IntoIterator<Item = Line>>(&mut self, lines: I) {
        for (name, value) in lines {
            self.append(name, value);
        }
    }
}

impl FromIterator<Line> for Fields {
    fn from_iter<I: IntoIterator<Item = Line>>(lines: I) -> Self {
        let mut fields = Self::new();
        fields.extend(lines);
        fields
    }
}

/// Equal if each name has the same values in the same order; the order of names means nothing.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.known == other.known
            && self.names().all(|name| self.get_all(name).eq(other.get_all(name)))
    }
}

impl Eq for Fields {}

impl<N: Named> Index<N> for Fields {
    type Output = HeaderValue;

    /// # Panics
    /// If there is none: for tests.
    #[allow(clippy::panic, reason = "an index says that it is there")]
    fn index(&self, name: N) -> &HeaderValue {
        match self.get(name) {
            Some(value) => value,
            None => panic!("no such field in {self:?}"),
        }
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl From<&http::HeaderMap> for Fields {
    fn from(map: &http::HeaderMap) -> Self {
        let mut fields = Self::with_capacity(map.len());
        fields.extend(map.iter().map(|(name, value)| (name.into(), value.clone())));
        fields
    }
}

impl From<http::HeaderMap> for Fields {
    fn from(map: http::HeaderMap) -> Self {
        let mut fields = Self::with_capacity(map.len());
        let mut last = None;
        for (name, value) in map {
            // Only the first of several has the name.
            last = name.as_ref().map(FieldName::from).or(last);
            if let Some(name) = &last {
                fields.append(name, value);
            }
        }
        fields
    }
}

impl From<Fields> for http::HeaderMap {
    fn from(fields: Fields) -> Self {
        let mut map = Self::with_capacity(fields.len());
        for (name, value) in fields {
            // More than 32,768 there cannot be: no listener takes so many.
            let _ = map.try_append(http::HeaderName::from(name), value);
        }
        map
    }
}

#[cfg(test)]
mod tests;
