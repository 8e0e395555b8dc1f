//! Decoding: from a header block to fields, and what the peer lets us remember of them.
//!
//! What is remembered is kept parsed. A field that comes a second time costs two counts of
//! references, not a look at its bytes; a client says most of its fields with every request.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, StatusCode};

use super::{ENTRY_OVERHEAD, STATIC, TABLE_SIZE, huffman, read_integer};
use crate::message::FieldName;
use crate::message::name::TE;

/// Methods and protocols are no longer than this.
const LONGEST_WORD: usize = 32;

/// One field line of a head, parsed.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// `:method`
    Method(Method),
    /// `:scheme`
    Scheme(Scheme),
    /// `:authority`
    Authority(Authority),
    /// `:path`
    Path(PathAndQuery),
    /// `:protocol` (RFC 8441)
    Protocol(Box<str>),
    /// `:status`
    Status(StatusCode),
    /// A field.
    Regular(FieldName, HeaderValue),
    /// What no head may contain, so that its message is malformed (RFC 9113 §8.1.1). It has its
    /// place in the table all the same.
    Malformed,
}

/// The block cannot be decoded, and with it nothing that follows: COMPRESSION_ERROR.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid;

thread_local! {
    /// One for all connections of a worker.
    static TEXTS: Cell<Texts> = Cell::default();
}

static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| {
    let field = |(name, value): &(&str, &'static str)| {
        Field::parse(name.as_bytes(), Bytes::from_static(value.as_bytes()))
    };
    STATIC.iter().map(field).collect()
});

impl Field {
    /// What a name and a value say; the rules are those of RFC 9113 §8.2.
    fn parse(name: &[u8], value: Bytes) -> Self {
        let known = match name.split_first() {
            Some((b':', _)) => Self::pseudo(name, value),
            _ => Self::regular(name, value),
        };
        known.unwrap_or(Self::Malformed)
    }

    fn pseudo(name: &[u8], value: Bytes) -> Option<Self> {
        Some(match name {
            // Longer ones than there are would be copied with every reference to them.
            b":method" | b":protocol" if value.len() > LONGEST_WORD => return None,
            b":method" => Self::Method(Method::from_bytes(&value).ok()?),
            b":scheme" => Self::Scheme(Scheme::try_from(&*value).ok()?),
            b":authority" => Self::Authority(Authority::from_maybe_shared(value).ok()?),
            b":path" if value.is_empty() => return None,
            b":path" => Self::Path(PathAndQuery::from_maybe_shared(value).ok()?),
            b":protocol" => Self::Protocol(std::str::from_utf8(&value).ok()?.into()),
            b":status" => Self::Status(StatusCode::from_bytes(&value).ok()?),
            _ => return None,
        })
    }

    fn regular(name: &[u8], value: Bytes) -> Option<Self> {
        // Connection-specific fields have no meaning here (RFC 9113 §8.2.2).
        match name {
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding"
            | b"upgrade" => return None,
            b"te" if !value.eq_ignore_ascii_case(b"trailers") => return None,
            _ => {}
        }
        Self::named(FieldName::from_lowercase(name).ok()?, value)
    }

    /// A field whose name was right before.
    fn named(name: FieldName, value: Bytes) -> Option<Self> {
        let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if blank(value.first()) || blank(value.last()) {
            return None;
        }
        Some(Self::Regular(name, HeaderValue::from_maybe_shared(value).ok()?))
    }
}

/// What stands for a field in the table, and how large the table counts it.
struct Entry {
    field: Field,
    size: usize,
    /// Only kept where the field itself does not tell it: a pseudo-header or what is malformed.
    name: Option<Box<[u8]>>,
}

impl Entry {
    fn name(&self) -> &[u8] {
        match (&self.name, &self.field) {
            (Some(name), _) => name,
            (None, Field::Regular(name, _)) => name.as_str().as_bytes(),
            (None, _) => &[],
        }
    }
}

/// The decoding end of a connection.
pub struct Decoder {
    /// The newest first.
    entries: VecDeque<Entry>,
    size: usize,
    /// What the peer says it uses of [`TABLE_SIZE`].
    most: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { entries: VecDeque::new(), size: 0, most: TABLE_SIZE }
    }
}

/// Where the strings of a block are decoded. What is not remembered shares one piece of memory, which
/// goes with the head.
#[derive(Default)]
struct Texts {
    name: Vec<u8>,
    value: Vec<u8>,
    shared: BytesMut,
}

impl Texts {
    /// The value; on its own if it is to outlive the head.
    fn value(&mut self, own: bool, left: usize) -> Bytes {
        if own {
            return Bytes::copy_from_slice(&self.value);
        }
        if self.shared.capacity() < self.value.len() {
            // All that the rest of the block can be, Huffman-coded or not.
            self.shared = BytesMut::with_capacity(self.value.len() + left + left / 2);
        }
        self.shared.extend_from_slice(&self.value);
        self.shared.split().freeze()
    }
}

impl Decoder {
    /// Decodes a whole block. `each` gets every field line and what it counts in a list (RFC 9113
    /// §6.5.2); those that stand in a table are lent, so that only what is wanted of them is copied.
    pub fn decode(
        &mut self,
        block: &[u8],
        mut each: impl FnMut(Cow<'_, Field>, usize),
    ) -> Result<(), Invalid> {
        let mut rest = block;
        let mut begun = false;
        let mut texts = TEXTS.take();
        while let Some((first, later)) = rest.split_first() {
            rest = later;
            if first & 0x80 != 0 {
                let index = read_integer(*first, 7, &mut rest).ok_or(Invalid)?;
                let (field, size) = self.indexed(index)?;
                each(Cow::Borrowed(field), size);
            } else if first & 0xe0 == 0x20 {
                // A change of size stands before all fields (RFC 7541 §4.2).
                let most = read_integer(*first, 5, &mut rest).ok_or(Invalid)?;
                if begun || most > TABLE_SIZE {
                    return Err(Invalid);
                }
                self.most = most;
                self.evict(0);
                continue;
            } else {
                let (field, size) = self.literal(*first, &mut rest, &mut texts)?;
                each(Cow::Owned(field), size);
            }
            begun = true;
        }
        // What was large once is not held for ever, and nothing of this head by the next one.
        texts.name.shrink_to(1024);
        texts.value.shrink_to(1024);
        texts.shared = BytesMut::new();
        TEXTS.set(texts);
        Ok(())
    }

    fn indexed(&self, index: usize) -> Result<(&Field, usize), Invalid> {
        let place = index.checked_sub(1).ok_or(Invalid)?;
        if let (Some(field), Some((name, value))) = (FIELDS.get(place), STATIC.get(place)) {
            return Ok((field, name.len() + value.len() + ENTRY_OVERHEAD));
        }
        let entry = self.entries.get(place - STATIC.len()).ok_or(Invalid)?;
        Ok((&entry.field, entry.size))
    }

    fn literal(
        &mut self,
        first: u8,
        rest: &mut &[u8],
        texts: &mut Texts,
    ) -> Result<(Field, usize), Invalid> {
        let remember = first & 0xc0 == 0x40;
        let index = read_integer(first, if remember { 6 } else { 4 }, rest).ok_or(Invalid)?;
        texts.name.clear();
        texts.value.clear();
        // A name that is known as such needs no second look.
        let mut known = None;
        match index.checked_sub(1) {
            None => string(rest, &mut texts.name)?,
            Some(place) => {
                let (field, name) = match (FIELDS.get(place), STATIC.get(place)) {
                    (Some(field), Some((name, _))) => (field, name.as_bytes()),
                    _ => {
                        let entry = self.entries.get(place - STATIC.len()).ok_or(Invalid)?;
                        (&entry.field, entry.name())
                    }
                };
                texts.name.extend_from_slice(name);
                if let Field::Regular(name, _) = field
                    && *name != TE
                {
                    known = Some(name.clone());
                }
            }
        }
        string(rest, &mut texts.value)?;
        let size = texts.name.len() + texts.value.len() + ENTRY_OVERHEAD;
        let value = texts.value(remember, rest.len());
        let mut field = match known {
            Some(name) => Field::named(name, value).unwrap_or(Field::Malformed),
            None => Field::parse(&texts.name, value),
        };
        if remember {
            self.insert(&texts.name, field.clone(), size);
        } else if first & 0x10 != 0
            && let Field::Regular(_, value) = &mut field
        {
            // Never indexed: nor may it be where it is passed on (RFC 7541 §6.2.3).
            value.set_sensitive(true);
        }
        Ok((field, size))
    }

    fn insert(&mut self, name: &[u8], field: Field, size: usize) {
        self.evict(size);
        // What is larger than the table empties it (RFC 7541 §4.4).
        if size <= self.most {
            let name = (!matches!(field, Field::Regular(..))).then(|| name.into());
            self.entries.push_front(Entry { field, size, name });
            self.size += size;
        }
    }

    /// Makes room for `size` more bytes.
    fn evict(&mut self, size: usize) {
        while self.size + size > self.most
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size;
        }
    }
}

/// Reads a string literal (RFC 7541 §5.2).
fn string(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
    let (first, later) = rest.split_first().ok_or(Invalid)?;
    *rest = later;
    let length = read_integer(*first, 7, rest).ok_or(Invalid)?;
    let (text, later) = rest.split_at_checked(length).ok_or(Invalid)?;
    *rest = later;
    if first & 0x80 == 0 {
        out.extend_from_slice(text);
        return Ok(());
    }
    huffman::decode(text, out).map_err(|_| Invalid)
}

#[cfg(test)]
mod tests;
