//! Which of several endpoints that would all do: the less loaded of two drawn by chance, or the one
//! that a key leads to. Pure; numbers in, a place in the list out.
//!
//! Two random choices come close to the best of all without all workers running to the same one
//! (Mitzenmacher 2001). Latency counts by its peak, as in Finagle's `p2c-peak-ewma`: one slow answer
//! is believed at once and forgotten slowly.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::plan::HashBy;
use crate::message::Fields;
use crate::message::name::COOKIE;

/// Latencies within this factor of each other are the same: what differs less is chance.
const ALIKE: f32 = 2.0;
/// After this long without a new one, an old latency has lost two thirds of its weight.
const MEMORY: Duration = Duration::from_secs(5);
/// Older than this, a latency is no measure for others.
const VALID: Duration = Duration::from_secs(30);
/// How long an endpoint that is new or back takes to get its full share.
const SLOW_START: Duration = Duration::from_secs(10);
/// Its share at the beginning.
const FIRST_SHARE: f32 = 0.1;
/// How far above the mean the load of an endpoint may be before a key goes elsewhere.
const BOUND: f32 = 1.25;

/// How much of the requests an endpoint should get, by how long ago it was new; `None`: it has its
/// full share.
pub fn ramp(age: Duration) -> Option<f32> {
    let share = age.as_secs_f32() / SLOW_START.as_secs_f32();
    (share < 1.0).then(|| share.max(FIRST_SHARE))
}

/// What speaks against an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Exchanges in flight there.
    pub load: u64,
    /// Milliseconds until the head of an answer; 0: not known.
    pub latency: f32,
}

impl Cost {
    /// Nothing.
    pub const NONE: Self = Self { load: 0, latency: 0.0 };

    /// Whether the other is the better choice.
    fn is_worse_than(self, other: Self) -> bool {
        let (mine, theirs) = (self.load as f32 + 1.0, other.load as f32 + 1.0);
        let (slow, fast) = (self.latency.max(other.latency), self.latency.min(other.latency));
        if fast == 0.0 || slow <= fast * ALIKE || slow < 1.0 {
            mine > theirs
        } else {
            mine * self.latency > theirs * other.latency
        }
    }
}

/// The choice, and the one that it was weighed against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The place of the chosen one.
    pub chosen: usize,
    /// The place of the other that was drawn; none where there is only one.
    pub other: Option<usize>,
}

/// The less costly of two of `n` that `chance` (0 to 1, 1 excluded) draws by their `share`.
pub fn two_choices(
    n: usize,
    share: impl Fn(usize) -> f32,
    cost: impl Fn(usize) -> Cost,
    mut chance: impl FnMut() -> f32,
) -> Choice {
    let total: f32 = (0..n).map(&share).sum();
    let draw = |within: f32, without: Option<usize>, at: f32| {
        let mut left = at * within;
        let mut last = 0;
        for i in (0..n).filter(|i| Some(*i) != without) {
            last = i;
            left -= share(i);
            if left < 0.0 {
                break;
            }
        }
        last
    };
    let first = draw(total, None, chance());
    if n < 2 {
        return Choice { chosen: first, other: None };
    }
    let second = draw(total - share(first), Some(first), chance());
    if cost(first).is_worse_than(cost(second)) {
        Choice { chosen: second, other: Some(first) }
    } else {
        Choice { chosen: first, other: Some(second) }
    }
}

/// The one that a key leads to (highest random weight, Thaler and Ravishankar 1996): another comes
/// or goes, and only its own keys move. One whose load is far above the mean is passed over for the
/// key's next (bounded loads, Mirrokni, Thorup and Zadimoghaddam 2018).
pub fn by_key(
    n: usize,
    key: u64,
    name: impl Fn(usize) -> u64,
    weight: impl Fn(usize) -> u16,
    load: impl Fn(usize) -> u64,
) -> usize {
    let total: u64 = (0..n).map(&load).sum();
    let bound = ((total as f32 + 1.0) / n.max(1) as f32 * BOUND).ceil() as u64;
    let score = |i: usize| {
        let even = (mixed(key ^ name(i)) >> 11) as f64 / (1_u64 << 53) as f64;
        -f64::from(weight(i).max(1)) / even.max(f64::MIN_POSITIVE).ln()
    };
    let best = (0..n)
        .filter(|i| load(*i) < bound)
        .map(|i| (i, score(i)))
        .max_by(|one, other| one.1.total_cmp(&other.1));
    best.map_or(0, |(i, _)| i)
}

/// The last step of SplitMix64: every bit of what goes in changes half of what comes out.
const fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A key of something; the same in every worker.
pub fn key_of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The key of an exchange; `None` where it has nothing to hash.
pub fn key(by: &HashBy, headers: &Fields, client: Option<IpAddr>) -> Option<u64> {
    match by {
        HashBy::Client => client.map(|client| key_of(client.to_canonical())),
        HashBy::Header(name) => headers.get(name).map(|value| key_of(value.as_bytes())),
        HashBy::Cookie(name) => {
            let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
            let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| {
                let (key, value) = pair.trim().split_once('=')?;
                (key == &**name).then_some(value)
            });
            pairs.next().map(key_of)
        }
    }
}

/// How long an endpoint takes to begin an answer, as one worker sees it.
#[derive(Debug)]
pub struct Latency {
    millis: Cell<f32>,
    at: Cell<Instant>,
}

impl Default for Latency {
    /// Nothing is known.
    fn default() -> Self {
        Self { millis: Cell::new(0.0), at: Cell::new(Instant::now()) }
    }
}

impl Latency {
    /// Milliseconds; 0: not known. Falls while nobody asks, so that a slow endpoint is asked again.
    pub fn at(&self, now: Instant) -> f32 {
        match self.millis.get() {
            0.0 => 0.0,
            millis => millis * self.kept(now),
        }
    }

    /// Milliseconds as they were last seen to be, where that is not too long ago to say anything; 0: not
    /// known. Who is held against it must not be slow only because nobody has asked this one since.
    pub fn seen(&self, now: Instant) -> f32 {
        let age = now.saturating_duration_since(self.at.get());
        if age < VALID { self.millis.get() } else { 0.0 }
    }

    fn kept(&self, now: Instant) -> f32 {
        (-now.saturating_duration_since(self.at.get()).as_secs_f32() / MEMORY.as_secs_f32()).exp()
    }

    /// An answer began after `took`.
    pub fn observe(&self, took: Duration, now: Instant) {
        let sample = (took.as_secs_f32() * 1_000.0).max(f32::MIN_POSITIVE);
        let before = self.millis.get();
        let kept = self.kept(now);
        let millis = if sample >= before { sample } else { before * kept + sample * (1.0 - kept) };
        self.millis.set(millis);
        self.at.set(now);
    }
}

#[cfg(test)]
mod tests;
