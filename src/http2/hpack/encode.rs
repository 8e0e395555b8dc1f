//! Encoding: from fields to a header block.
//!
//! A field enters the table when it is said for the second time. What is said once (an id, a time, a
//! path with a query) never does, and so never drives out what is said with every head, which is
//! then one byte. What is secret stands as never indexed, in no table on the way (RFC 7541 §7.1.3).

mod name;
mod usual;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use http::{Method, StatusCode, Uri};

use self::name::Name;
use self::usual::Usual;
use super::{ENTRY_OVERHEAD, STATIC, TABLE_SIZE, huffman, write_integer};
use crate::message::name::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE};
use crate::message::{FieldName, Fields, Response};

/// Fields that were said once are known by this many places; one that comes between two sayings of another may
/// hide the first.
const SEEN: usize = 64;
/// Fields above this length do not enter the table, which they would nearly empty.
const LONG: usize = 1024;

/// A hash that is one already.
#[derive(Default)]
pub struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(self.0, bytes);
    }

    fn write_u32(&mut self, value: u32) {
        self.0 = u64::from(value).wrapping_mul(SPREAD);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type Index = HashMap<u64, u32, BuildHasherDefault<Plain>>;

const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Tells texts apart quickly; equal hashes are compared, so nobody gains by finding some.
fn hash(state: u64, text: &[u8]) -> u64 {
    let mix = |state: u64, word: u64| (state.rotate_left(5) ^ word).wrapping_mul(SPREAD);
    let mut state = mix(state, text.len() as u64);
    match text.last_chunk::<8>() {
        // The last eight bytes, which may have been in part of the words before.
        Some(last) => {
            for word in text.as_chunks::<8>().0 {
                state = mix(state, u64::from_le_bytes(*word));
            }
            state = mix(state, u64::from_le_bytes(*last));
        }
        None => match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
                state = mix(state, u64::from(first) << 32 | u64::from(last));
            }
            _ => {
                let word = text.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
                state = mix(state, word);
            }
        },
    }
    state ^ (state >> 29)
}

struct Entry {
    hash: u64,
    number: Option<u8>,
    /// Name and value, one behind the other.
    text: Box<[u8]>,
    name_len: usize,
}

impl Entry {
    #[inline]
    fn is(&self, name: Name<'_>, value: &[u8]) -> bool {
        // A name that has a number is equal to no text.
        self.number == name.number
            && self.text.get(self.name_len..) == Some(value)
            && (name.number.is_some()
                || self.text.get(..self.name_len) == Some(name.text.as_bytes()))
    }

    fn size(&self) -> usize {
        self.text.len() + ENTRY_OVERHEAD
    }
}

/// The encoding end of a connection.
pub struct Encoder {
    /// The newest first.
    entries: VecDeque<Entry>,
    /// By the hash of name and value: how many entries there had been before it.
    index: Index,
    inserted: u32,
    size: usize,
    most: usize,
    /// The peer is to be told of a new size: the smallest since the last block, and the size now.
    resized: Option<(usize, usize)>,
    /// Halves of the hashes of fields that were said once.
    seen: Vec<u32>,
    usual: Usual,
    huffman: bool,
}

impl Encoder {
    /// `huffman`: whether literals are made a quarter shorter, which costs the more work of the two.
    pub fn new(huffman: bool) -> Self {
        Self {
            entries: VecDeque::new(),
            index: Index::default(),
            inserted: 0,
            size: 0,
            most: TABLE_SIZE,
            resized: None,
            seen: Vec::new(),
            usual: Usual::default(),
            huffman,
        }
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE.
    pub fn resize(&mut self, size: usize) {
        let size = size.min(TABLE_SIZE);
        if size == self.most && self.resized.is_none() {
            return;
        }
        let least = self.resized.map_or(size, |(least, _)| least.min(size));
        self.resized = Some((least, size));
        self.most = size;
        self.evict(0);
    }

    /// Writes what must stand first in a block.
    fn begin(&mut self, trailers: bool, out: &mut Vec<u8>) {
        self.usual.begin(trailers);
        if let Some((least, size)) = self.resized.take() {
            if least < size {
                write_integer(least, 5, 0x20, out);
            }
            write_integer(size, 5, 0x20, out);
        }
    }

    /// Writes a request's head. `protocol`: that of an extended CONNECT (RFC 8441 §4).
    pub fn request(
        &mut self,
        method: &Method,
        uri: &Uri,
        protocol: Option<&str>,
        fields: &Fields,
        out: &mut Vec<u8>,
    ) {
        self.begin(false, out);
        match *method {
            Method::GET => out.push(0x80 | 2),
            Method::POST => out.push(0x80 | 3),
            _ => self.pair(Name::METHOD, method.as_str().as_bytes(), false, out),
        }
        let whole = *method != Method::CONNECT || protocol.is_some();
        if whole {
            match uri.scheme_str() {
                Some("https") => out.push(0x80 | 7),
                _ => out.push(0x80 | 6),
            }
        }
        if let Some(authority) = uri.authority() {
            self.pair(Name::AUTHORITY, authority.as_str().as_bytes(), false, out);
        }
        if whole {
            match uri.path_and_query().map_or("/", |path| path.as_str()) {
                "/" | "" => out.push(0x80 | 4),
                path => self.pair(Name::PATH, path.as_bytes(), false, out),
            }
        }
        if let Some(protocol) = protocol {
            self.pair(Name::PROTOCOL, protocol.as_bytes(), false, out);
        }
        self.fields(fields, out);
    }

    /// Writes an answer's head.
    pub fn response(&mut self, response: &Response<()>, out: &mut Vec<u8>) {
        self.begin(false, out);
        let known = match response.status() {
            StatusCode::OK => 8,
            StatusCode::NO_CONTENT => 9,
            StatusCode::PARTIAL_CONTENT => 10,
            StatusCode::NOT_MODIFIED => 11,
            StatusCode::BAD_REQUEST => 12,
            StatusCode::NOT_FOUND => 13,
            StatusCode::INTERNAL_SERVER_ERROR => 14,
            _ => 0,
        };
        match known {
            0 => {
                let status = response.status();
                self.pair(Name::STATUS, status.as_str().as_bytes(), false, out);
            }
            known => out.push(0x80 | known),
        }
        self.fields(response.headers(), out);
    }

    /// Writes trailers.
    pub fn trailers(&mut self, fields: &Fields, out: &mut Vec<u8>) {
        self.begin(true, out);
        self.fields(fields, out);
    }

    fn fields(&mut self, fields: &Fields, out: &mut Vec<u8>) {
        for (name, value) in fields {
            let secret = value.is_sensitive() || is_secret(name);
            self.pair(Name::from(name), value.as_bytes(), secret, out);
        }
    }

    #[inline]
    fn pair(&mut self, name: Name<'_>, value: &[u8], secret: bool, out: &mut Vec<u8>) {
        let (at, expected) = self.usual.next();
        if !secret && let Some(place) = expected.and_then(|entry| self.place(entry, name, value)) {
            return indexed(STATIC.len() + 1 + place, out);
        }
        self.unusual(at, name, value, secret, out);
    }

    fn unusual(
        &mut self,
        at: usize,
        name: Name<'_>,
        value: &[u8],
        secret: bool,
        out: &mut Vec<u8>,
    ) {
        if secret {
            return self.literal(0x10, 4, name, value, out);
        }
        let by_both = hash(name.hash(), value);
        if let Some(entry) = self.index.get(&by_both).copied()
            && let Some(place) = self.place(entry, name, value)
        {
            self.usual.note(at, entry);
            return indexed(STATIC.len() + 1 + place, out);
        }
        if name.text.len() + value.len() <= LONG && self.was_seen(by_both) {
            self.literal(0x40, 6, name, value, out);
            return self.insert(by_both, name, value);
        }
        self.literal(0, 4, name, value, out);
    }

    /// Where an entry of this number stands in the table, if it stands for just this.
    #[inline]
    fn place(&self, entry: u32, name: Name<'_>, value: &[u8]) -> Option<usize> {
        let place = (self.inserted.wrapping_sub(entry) as usize).wrapping_sub(1);
        self.entries.get(place).is_some_and(|entry| entry.is(name, value)).then_some(place)
    }

    /// Whether this was said before; it was from now on.
    fn was_seen(&mut self, hash: u64) -> bool {
        if self.seen.is_empty() {
            self.seen = vec![0; SEEN];
        }
        let (place, half) = (hash as usize % SEEN, (hash >> 32) as u32);
        self.seen.get_mut(place).is_some_and(|seen| std::mem::replace(seen, half) == half)
    }

    /// A literal with `mark` and the name's index, whose prefix has `bits` bits, or its text.
    fn literal(&self, mark: u8, bits: u32, name: Name<'_>, value: &[u8], out: &mut Vec<u8>) {
        match name.place() {
            Some(place) => write_integer(place, bits, mark, out),
            None => {
                out.push(mark);
                self.string(name.text.as_bytes(), out);
            }
        }
        self.string(value, out);
    }

    fn string(&self, text: &[u8], out: &mut Vec<u8>) {
        if self.huffman {
            let length = huffman::coded_len(text);
            if length < text.len() {
                write_integer(length, 7, 0x80, out);
                return huffman::encode(text, out);
            }
        }
        write_integer(text.len(), 7, 0, out);
        out.extend_from_slice(text);
    }

    fn insert(&mut self, hash: u64, name: Name<'_>, value: &[u8]) {
        let text = [name.text.as_bytes(), value].concat().into();
        let entry = Entry { hash, number: name.number, text, name_len: name.text.len() };
        self.evict(entry.size());
        if entry.size() <= self.most {
            self.size += entry.size();
            self.index.insert(hash, self.inserted);
            self.entries.push_front(entry);
            self.inserted = self.inserted.wrapping_add(1);
        }
    }

    /// Makes room for `size` more bytes, as the peer does.
    fn evict(&mut self, size: usize) {
        while self.size + size > self.most
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size();
            let before = self.inserted.wrapping_sub(self.entries.len() as u32).wrapping_sub(1);
            if self.index.get(&oldest.hash) == Some(&before) {
                self.index.remove(&oldest.hash);
            }
        }
    }
}

/// Writes that a field stands in a table (RFC 7541 §6.1).
#[inline]
fn indexed(index: usize, out: &mut Vec<u8>) {
    if index < 0x7f {
        // Most do, and it is one byte.
        return out.push(0x80 | index as u8);
    }
    write_integer(index, 7, 0x80, out);
}

/// Fields whose values are secrets, or say who someone is.
fn is_secret(name: &FieldName) -> bool {
    *name == AUTHORIZATION || *name == COOKIE || *name == SET_COOKIE || *name == PROXY_AUTHORIZATION
}

#[cfg(test)]
mod tests;
