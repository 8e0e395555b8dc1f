//! A body that is kept, under the hash of its bytes, with the coded forms that have been made of it.

use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;

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

/// One coded form of a body.
#[derive(Clone, Debug)]
pub struct Variant {
    /// How.
    pub coding: Coding,
    /// How well.
    pub level: Level,
    /// `None`: it was tried, and does not pay.
    pub bytes: Option<Bytes>,
}

/// A body, with its coded forms; shared by all entries that have these bytes.
#[derive(Debug)]
pub struct Content {
    /// Its name.
    pub hash: Hash,
    /// As upstream sent it.
    pub plain: Bytes,
    /// Coded; each coding at most once.
    pub variants: Box<[Variant]>,
    /// Whether its best variants are being made, or about to.
    pub queued: AtomicBool,
}

impl Content {
    /// A body without variants.
    pub fn new(hash: Hash, plain: Bytes) -> Self {
        Self { hash, plain, variants: Box::default(), queued: AtomicBool::new(false) }
    }

    /// The same with one more variant, or a better one in its place.
    pub fn with(&self, variant: &Variant) -> Self {
        let known = self.variants.iter().find(|known| known.coding == variant.coding);
        let mut variants: Vec<_> = self.variants.to_vec();
        if known.is_none_or(|known| known.level <= variant.level) {
            let mut better = variant.clone();
            // More work does not always make it shorter.
            if let Some(bytes) = known.and_then(|known| known.bytes.clone())
                && better.bytes.as_ref().is_none_or(|better| better.len() > bytes.len())
            {
                better.bytes = Some(bytes);
            }
            variants.retain(|known| known.coding != variant.coding);
            variants.push(better);
        }
        let queued = AtomicBool::new(self.queued.load(Ordering::Relaxed));
        Self { hash: self.hash, plain: self.plain.clone(), variants: variants.into(), queued }
    }

    /// A coding's variant, where it has been made and pays.
    pub fn variant(&self, coding: Coding) -> Option<(&Variant, &Bytes)> {
        let variant = self.variants.iter().find(|variant| variant.coding == coding)?;
        Some((variant, variant.bytes.as_ref()?))
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
        let coded = self.variants.iter().filter_map(|variant| variant.bytes.as_ref());
        CONTENT + self.plain.len() + coded.map(Bytes::len).sum::<usize>()
    }
}
