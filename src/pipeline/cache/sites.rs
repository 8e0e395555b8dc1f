//! The answers of one path, of every site that has them.
//!
//! A thousand hosts of one Console have the same files: what the store keeps for each path is kept
//! once, and a site costs its place in this table and the little that is its own.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::entry::Entry;

/// How many answers of one address are told apart by request fields and route.
pub(super) const CHOICES: usize = 16;

/// Every answer of one address, the newest first. Nearly always there is one.
#[derive(Clone)]
pub enum Choices {
    /// One.
    One(Arc<Entry>),
    /// Several.
    Several(Arc<[Arc<Entry>]>),
}

impl Choices {
    /// All.
    pub fn as_slice(&self) -> &[Arc<Entry>] {
        match self {
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Several(entries) => entries,
        }
    }

    /// The same with `entry` before all, in the place of one of the same route that was chosen by the
    /// same fields: where two apply, the newest does (RFC 9111 §4.1).
    fn with(known: Option<&Self>, mut entry: Arc<Entry>) -> Self {
        let (route, chosen) = (&entry.head.source.route, &entry.head.chosen);
        let known = known.into_iter().flat_map(Self::as_slice).cloned();
        let (others, replaced): (Vec<_>, Vec<_>) =
            known.partition(|one| one.head.source.route != *route || one.head.chosen != *chosen);
        let others: Vec<_> = others.into_iter().take(CHOICES - 1).collect();
        for one in &replaced {
            Arc::make_mut(&mut entry).head.succeeds(&one.head);
        }
        match others.is_empty() {
            true => Self::One(entry),
            false => Self::Several(std::iter::once(entry).chain(others).collect()),
        }
    }

    fn weight(&self) -> usize {
        self.as_slice().iter().map(|entry| entry.weight()).sum()
    }
}

/// The answers of one path, by scheme and authority.
#[derive(Default)]
pub struct Sites {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    all: HashMap<Arc<str>, Choices>,
    weight: usize,
}

impl State {
    fn remove(&mut self, site: &str) -> usize {
        let Some(gone) = self.all.remove(site) else { return 0 };
        self.weight = self.weight.saturating_sub(gone.weight());
        gone.as_slice().len()
    }
}

impl Sites {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        // Nothing that is done under the lock can leave the state half-changed.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answers of a site.
    pub fn get(&self, site: &str) -> Option<Choices> {
        self.read().all.get(site).cloned()
    }

    /// Keeps an answer of a site. Above `most` bytes the older half of all goes.
    pub fn put(&self, site: Arc<str>, entry: Arc<Entry>, most: u64) {
        let mut state = self.write();
        let known = state.all.get(&site);
        let before = known.map_or(0, Choices::weight);
        let choices = Choices::with(known, entry);
        state.weight = state.weight.saturating_sub(before) + choices.weight();
        state.all.insert(site, choices);
        if state.weight as u64 > most {
            let since = |choices: &Choices| choices.as_slice().first().map(|one| one.head.since);
            let mut times: Vec<_> = state.all.values().map(since).collect();
            times.sort_unstable();
            let middle = times.get(times.len() / 2).copied().flatten();
            state.all.retain(|_, choices| since(choices) >= middle);
            state.weight = state.all.values().map(Choices::weight).sum();
        }
    }

    /// Forgets the answers of sites; how many went.
    pub fn forget(&self, gone: impl Fn(&str) -> bool) -> usize {
        let mut state = self.write();
        let sites: Vec<_> = state.all.keys().filter(|site| gone(site)).cloned().collect();
        sites.iter().map(|site| state.remove(site)).sum()
    }

    /// Forgets the answers of one site; how many went.
    pub fn forget_one(&self, site: &str) -> usize {
        self.write().remove(site)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.read().all.is_empty()
    }

    /// Bytes in memory, about.
    pub fn weight(&self) -> usize {
        self.read().weight
    }
}
