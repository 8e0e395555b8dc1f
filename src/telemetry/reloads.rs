//! How the last reload of something went, for the status page and the metrics.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The reloads of one thing.
#[derive(Debug)]
pub struct Reloads(Mutex<Last>);

/// The last of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// When something was put in force last: at the start, unless by a reload.
    pub good: SystemTime,
    /// What the last one failed by; `None`: it went well.
    pub fault: Option<String>,
}

impl Default for Reloads {
    /// The first load, which went well now.
    fn default() -> Self {
        Self(Mutex::new(Last { good: SystemTime::now(), fault: None }))
    }
}

impl Reloads {
    fn lock(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another one, and what it failed by.
    pub fn note(&self, fault: Option<String>) {
        let mut last = self.lock();
        if fault.is_none() {
            last.good = SystemTime::now();
        }
        last.fault = fault;
    }

    /// The last one.
    pub fn last(&self) -> Last {
        self.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_the_time_of_what_is_in_force() {
        let reloads = Reloads::default();
        let first = reloads.last();
        assert_eq!(first.fault, None);
        reloads.note(Some("no".into()));
        assert_eq!(reloads.last(), Last { fault: Some("no".into()), ..first });
        let before = reloads.last().good;
        reloads.note(None);
        assert!(reloads.last().fault.is_none() && reloads.last().good >= before);
    }
}
