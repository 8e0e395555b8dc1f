//! Values that many heads have alike, each kept once for as long as any of them is.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// How many values are known before the dead ones are looked for.
const ROOM: usize = 1_024;

/// The values that are known.
pub(super) struct Pool<T: ?Sized> {
    hasher: RandomState,
    state: Mutex<State<T>>,
}

struct State<T: ?Sized> {
    all: HashMap<u64, Weak<T>>,
    /// How many there may be before the dead ones go: twice as many as were alive the last time.
    room: usize,
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        let state = Mutex::new(State { all: HashMap::new(), room: ROOM });
        Self { hasher: RandomState::new(), state }
    }
}

impl<T: ?Sized> Pool<T> {
    /// The value that is known with the hash of `by` and is `alike`, else this one; whether it is
    /// this one.
    pub(super) fn share(
        &self,
        by: &(impl Hash + ?Sized),
        value: Arc<T>,
        alike: impl FnOnce(&T, &T) -> bool,
    ) -> (Arc<T>, bool) {
        let hash = self.hasher.hash_one(by);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = state.all.get(&hash).and_then(Weak::upgrade) {
            return if alike(&known, &value) { (known, false) } else { (value, true) };
        }
        if state.all.len() >= state.room {
            state.all.retain(|_, value| value.strong_count() > 0);
            state.room = ROOM.max(2 * state.all.len());
        }
        state.all.insert(hash, Arc::downgrade(&value));
        (value, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_is_kept_once_and_what_nobody_has_goes() {
        let pool = Pool::<str>::default();
        let share = |by: u32, text: &str| pool.share(&by, text.into(), PartialEq::eq);
        let (one, first) = share(1, "a");
        let (again, second) = share(1, "a");
        assert!(Arc::ptr_eq(&one, &again) && first && !second);
        assert_eq!(&*share(1, "b").0, "b", "the same hash, and another value");
        for by in 2..5_000 {
            share(by, "c");
        }
        assert!(pool.state.lock().unwrap().all.len() <= ROOM);
        let kept: Vec<_> = (5_000..9_000).map(|by| share(by, "d").0).collect();
        assert_eq!((kept.len(), &*share(1, "a").0), (4_000, "a"));
        assert!(
            Arc::ptr_eq(&share(1, "a").0, &one) && Arc::ptr_eq(&share(6_000, "d").0, &kept[1_000])
        );
    }
}
