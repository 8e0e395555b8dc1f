//! A body that is kept, under the hash of its bytes, with the coded forms that have been made of it.

use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderValue;

use crate::pipeline::coding::{Coding, Level};

/// SHA-256 of a body as upstream sent it.
pub type Hash = [u8; 32];

/// What is weighed beside the bytes of a body: the map's own and ours.
const CONTENT: usize = 256;

/// The hash of some bytes.
pub fn hash(bytes: &[u8]) -> Hash {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// An entity tag made of all that it stands for; strong (RFC 9110 §8.8.3).
fn tag_of(hash: &Hash, suffix: &str) -> HeaderValue {
    let (half, _) = hash.split_at(16);
    let text = BASE64_URL_SAFE_NO_PAD.encode(half);
    HeaderValue::try_from(format!("\"{text}{suffix}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The bytes of a coded form, and what tells its entity tag from the identity's: the coding's name and
/// a hash of these very bytes. The same coder makes other bytes of another cut or in another version,
/// so nothing less would do for `If-Range` across replicas and restarts.
#[derive(Clone, Debug)]
pub struct Coded {
    /// The bytes.
    pub bytes: Bytes,
    /// `-br-x7Qk0ExampL`.
    pub suffix: Box<str>,
    /// The tag, where the identity's is [`Content::tag`].
    pub tag: HeaderValue,
}

impl Coded {
    /// A form of the body with the hash `plain`; `own` is the hash of `bytes`.
    pub fn new(plain: &Hash, coding: Coding, bytes: Bytes, own: &Hash) -> Self {
        let (start, _) = own.split_at(8);
        let suffix = format!("-{}-{}", coding.name(), BASE64_URL_SAFE_NO_PAD.encode(start));
        let tag = tag_of(plain, &suffix);
        Self { bytes, suffix: suffix.into(), tag }
    }
}

/// One coded form of a body.
#[derive(Clone, Debug)]
pub struct Variant {
    /// How.
    pub coding: Coding,
    /// How well.
    pub level: Level,
    /// `None`: it was tried, and does not pay.
    pub coded: Option<Coded>,
}

/// A body, with its coded forms; shared by all entries that have these bytes.
#[derive(Debug)]
pub struct Content {
    /// Its name.
    pub hash: Hash,
    /// The entity tag of the identity, where upstream gives none.
    pub tag: HeaderValue,
    /// As upstream sent it.
    pub plain: Bytes,
    /// Coded; each coding at most once.
    pub variants: Box<[Variant]>,
    /// Whether its best variants are being made, or about to.
    pub queued: AtomicBool,
}

impl Content {
    /// A body with these variants.
    pub fn new(hash: Hash, plain: Bytes, variants: Box<[Variant]>) -> Self {
        let tag = tag_of(&hash, "");
        Self { hash, tag, plain, variants, queued: AtomicBool::new(false) }
    }

    /// The same with one more variant, or a better one in its place.
    pub fn with(&self, variant: &Variant) -> Self {
        let known = self.variants.iter().find(|known| known.coding == variant.coding);
        let mut variants: Vec<_> = self.variants.to_vec();
        if known.is_none_or(|known| known.level <= variant.level) {
            let mut better = variant.clone();
            // More work does not always make it shorter.
            if let Some(known) = known.and_then(|known| known.coded.as_ref())
                && better.coded.as_ref().is_none_or(|new| new.bytes.len() > known.bytes.len())
            {
                better.coded = Some(known.clone());
            }
            variants.retain(|known| known.coding != variant.coding);
            variants.push(better);
        }
        let queued = AtomicBool::new(self.queued.load(Ordering::Relaxed));
        let (plain, tag) = (self.plain.clone(), self.tag.clone());
        Self { hash: self.hash, tag, plain, variants: variants.into(), queued }
    }

    /// A coding's variant, where it has been made and pays.
    pub fn variant(&self, coding: Coding) -> Option<&Coded> {
        self.variants.iter().find(|variant| variant.coding == coding)?.coded.as_ref()
    }

    /// Whether each coding has been tried at the best level.
    pub fn is_complete(&self) -> bool {
        Coding::BY_SIZE.iter().all(|coding| {
            let best = |known: &Variant| known.coding == *coding && known.level == Level::Best;
            self.variants.iter().any(best)
        })
    }

    /// Bytes in memory, about.
    pub fn weight(&self) -> usize {
        let coded = self.variants.iter().filter_map(|variant| variant.coded.as_ref());
        CONTENT + self.plain.len() + coded.map(|coded| coded.bytes.len()).sum::<usize>()
    }
}
