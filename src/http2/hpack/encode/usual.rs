//! What a block mostly says again.

/// Of a block, the places of this many fields are remembered.
const USUAL: usize = 64;

/// Which entries the fields of blocks before stood for, by their places: numbers of entries, as
/// `Encoder::inserted` counts them. The next block mostly says the same in the same order, and to
/// compare with one entry is less work than to find it by hashes.
#[derive(Default)]
pub(super) struct Usual {
    heads: Vec<u32>,
    pub(super) trailers: Vec<u32>,
    /// The block under way is one of trailers.
    ends: bool,
    /// The place of its next field.
    next: usize,
}

impl Usual {
    /// A block begins.
    pub(super) fn begin(&mut self, trailers: bool) {
        (self.ends, self.next) = (trailers, 0);
    }

    fn entries(&mut self) -> &mut Vec<u32> {
        if self.ends { &mut self.trailers } else { &mut self.heads }
    }

    /// The place of the next field, and what stood there.
    pub(super) fn next(&mut self) -> (usize, Option<u32>) {
        let place = self.next;
        self.next += 1;
        (place, self.entries().get(place).copied())
    }

    /// Takes note of what stands in a place.
    pub(super) fn note(&mut self, place: usize, entry: u32) {
        if place < USUAL {
            let entries = self.entries();
            entries.resize(entries.len().max(place + 1), entry);
            if let Some(known) = entries.get_mut(place) {
                *known = entry;
            }
        }
    }
}
