//! Decides for how long a host may ask no more, from what was said of it and when. Pure but for its
//! atomics: times are given, counted from some fixed moment.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::exempt::Exempt;
use super::words::Why;

/// How long a refusal counts. Each further one renews it.
const WINDOW: u64 = 30_000;
/// How often ZITADEL is asked meanwhile: by one request of those that come.
const PROBE: u64 = 2_000;
/// A refusal that comes so soon after the last one says nothing new.
const SAME: u64 = 500;
/// Hosts that are known at most. Of wildcards there may be many; more are simply asked for.
const HOSTS: usize = 1_024;

/// The hosts that may ask no more: read at each request, written when ZITADEL says something new.
#[derive(Debug, Default)]
pub struct Hosts {
    known: ArcSwap<HashMap<Arc<[u8]>, Arc<Known>>>,
}

/// In milliseconds.
#[derive(Debug)]
struct Known {
    why: Why,
    /// When it was last said.
    said: u64,
    until: u64,
    /// When the next request goes through.
    probe: AtomicU64,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// ZITADEL is asked.
    Through,
    /// It is not, for so many seconds.
    Wait(NonZeroU32),
}

impl Hosts {
    /// Whether `host` was refused of late.
    pub fn knows(&self, host: &[u8]) -> bool {
        self.known.load().contains_key(host)
    }

    /// Whether a request to `host` goes through.
    pub fn check(&self, host: &[u8], exempt: Exempt, now: Duration) -> Verdict {
        let (now, hosts) = (millis(now), self.known.load());
        let Some(known) = hosts.get(host).filter(|known| now < known.until) else {
            return Verdict::Through;
        };
        if !known.concerns(exempt) {
            return Verdict::Through;
        }
        let due = known.probe.load(Ordering::Relaxed);
        // Of several workers one wins.
        let (set, order) = (now.saturating_add(PROBE), Ordering::Relaxed);
        if now >= due && known.probe.compare_exchange(due, set, order, order).is_ok() {
            return Verdict::Through;
        }
        let seconds = due.saturating_sub(now).div_ceil(1_000);
        let seconds = u32::try_from(seconds).ok().and_then(NonZeroU32::new);
        Verdict::Wait(seconds.unwrap_or(NonZeroU32::MIN))
    }

    /// ZITADEL refused a request of `host`'s.
    pub fn refused(&self, host: &[u8], why: Option<Why>, exempt: Exempt, now: Duration) {
        let now = millis(now);
        let before = self.known.load().get(host).cloned();
        let before = before.filter(|known| now < known.until);
        // Where a quota would not have refused, it is more than a quota.
        let why = match (why, exempt) {
            (Some(why), _) => why,
            (None, Exempt::OfQuota) => Why::Blocked,
            (None, _) => before.as_ref().map_or(Why::Quota, |known| known.why),
        };
        if before.is_some_and(|known| known.why == why && now < known.said.saturating_add(SAME)) {
            return;
        }
        let (until, probe) = (now.saturating_add(WINDOW), now.saturating_add(PROBE));
        let known = Arc::new(Known { why, said: now, until, probe: AtomicU64::new(probe) });
        let host: Arc<[u8]> = host.into();
        self.known.rcu(|hosts| {
            let mut hosts = HashMap::clone(hosts);
            if hosts.len() >= HOSTS && !hosts.contains_key(&host) {
                hosts.retain(|_, known| now < known.until);
            }
            if hosts.len() < HOSTS || hosts.contains_key(&host) {
                hosts.insert(Arc::clone(&host), Arc::clone(&known));
            }
            hosts
        });
    }

    /// ZITADEL served a request of `host`'s that began then.
    pub fn served(&self, host: &[u8], exempt: Exempt, began: Duration) {
        let began = millis(began);
        // What began before the refusal proves nothing, nor does what would be served anyway.
        let proves = |known: &Arc<Known>| known.concerns(exempt) && began >= known.said;
        if !self.known.load().get(host).is_some_and(proves) {
            return;
        }
        self.known.rcu(|hosts| {
            let mut hosts = HashMap::clone(hosts);
            if hosts.get(host).is_some_and(proves) {
                hosts.remove(host);
            }
            hosts
        });
    }
}

impl Known {
    const fn concerns(&self, exempt: Exempt) -> bool {
        match (exempt, self.why) {
            (Exempt::Never, _) | (Exempt::OfQuota, Why::Blocked) => true,
            (Exempt::OfQuota, Why::Quota) | (Exempt::Always, _) => false,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &[u8] = b"id.example.com";
    const QUOTA: Option<Why> = Some(Why::Quota);

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn wait(seconds: u32) -> Verdict {
        Verdict::Wait(NonZeroU32::new(seconds).unwrap())
    }

    #[test]
    fn one_request_every_few_seconds_asks_and_the_others_wait() {
        let hosts = Hosts::default();
        assert_eq!(hosts.check(HOST, Exempt::Never, at(0.0)), Verdict::Through);
        hosts.refused(HOST, QUOTA, Exempt::Never, at(0.0));
        for (when, verdict) in [
            (0.0, wait(2)),
            (1.5, wait(1)),
            (2.0, Verdict::Through),
            (2.0, wait(2)),
            (3.9, wait(1)),
            (4.5, Verdict::Through),
            (4.6, wait(2)),
            // Nobody has confirmed it: forgotten.
            (30.0, Verdict::Through),
            (30.0, Verdict::Through),
        ] {
            assert_eq!(hosts.check(HOST, Exempt::Never, at(when)), verdict, "{when}");
        }
        assert_eq!(hosts.check(b"other", Exempt::Never, at(1.0)), Verdict::Through);
    }

    #[test]
    fn whom_it_concerns() {
        for (why, exempt, concerned) in [
            (Why::Quota, Exempt::Never, true),
            (Why::Quota, Exempt::OfQuota, false),
            (Why::Quota, Exempt::Always, false),
            (Why::Blocked, Exempt::Never, true),
            (Why::Blocked, Exempt::OfQuota, true),
            (Why::Blocked, Exempt::Always, false),
        ] {
            let hosts = Hosts::default();
            hosts.refused(HOST, Some(why), Exempt::Never, at(0.0));
            let waits = hosts.check(HOST, exempt, at(1.0)) != Verdict::Through;
            assert_eq!(waits, concerned, "{why:?} {exempt:?}");
            hosts.served(HOST, exempt, at(1.0));
            assert_eq!(!hosts.knows(HOST), concerned, "{why:?} {exempt:?}");
        }
    }

    #[test]
    fn what_is_not_said_is_what_was_known_or_follows_from_who_was_refused() {
        for (before, exempt, blocked) in [
            (None, Exempt::Never, false),
            (Some(Why::Blocked), Exempt::Never, true),
            (QUOTA, Exempt::Always, false),
            (QUOTA, Exempt::OfQuota, true),
        ] {
            let hosts = Hosts::default();
            if before.is_some() {
                hosts.refused(HOST, before, Exempt::Never, at(0.0));
            }
            hosts.refused(HOST, None, exempt, at(1.0));
            let waits = hosts.check(HOST, Exempt::OfQuota, at(1.5)) != Verdict::Through;
            assert_eq!(waits, blocked, "{before:?} {exempt:?}");
        }
    }

    #[test]
    fn what_began_before_the_refusal_proves_nothing() {
        let hosts = Hosts::default();
        hosts.refused(HOST, QUOTA, Exempt::Never, at(5.0));
        hosts.served(HOST, Exempt::Never, at(4.9));
        assert_eq!(hosts.check(HOST, Exempt::Never, at(6.0)), wait(1));
        hosts.served(HOST, Exempt::Never, at(5.1));
        assert_eq!(hosts.check(HOST, Exempt::Never, at(6.0)), Verdict::Through);
        assert!(!hosts.knows(HOST));
    }

    #[test]
    fn a_refusal_renews_the_time() {
        let hosts = Hosts::default();
        hosts.refused(HOST, QUOTA, Exempt::Never, at(0.0));
        hosts.refused(HOST, QUOTA, Exempt::Never, at(29.0));
        assert_eq!(hosts.check(HOST, Exempt::Never, at(30.5)), wait(1));
        assert_eq!(hosts.check(HOST, Exempt::Never, at(59.0)), Verdict::Through);
    }

    #[test]
    fn hosts_are_bounded_and_make_room_when_their_time_is_over() {
        let hosts = Hosts::default();
        for i in 0..2 * HOSTS {
            hosts.refused(i.to_string().as_bytes(), QUOTA, Exempt::Never, at(0.0));
        }
        assert_eq!(hosts.known.load().len(), HOSTS);
        hosts.refused(HOST, QUOTA, Exempt::Never, at(40.0));
        assert_eq!(hosts.known.load().len(), 1);
    }
}
