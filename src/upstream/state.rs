//! What is known of an endpoint, shared by all workers and the control runtime.
//!
//! Everything here is an atomic that is read on the path and hardly ever written: checks and
//! failures write, not requests. What every request changes, the count of exchanges in flight, has
//! one cell for each worker ([`Burden`]), which only that worker writes; a reader sums them.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

pub use self::burden::Burden;
pub use self::need::Need;
use super::eject::Charge;
use super::places::Places;

mod burden;
mod need;

/// What checks say of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing: it is not checked, or not yet.
    Unknown,
    /// It serves.
    Ready,
    /// It does not.
    Down,
}

impl Health {
    /// The stable word for logs and the status page.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ready => "ready",
            Self::Down => "down",
        }
    }
}

/// One endpoint's state; the same after a reload, as long as cluster and endpoint keep their names.
#[derive(Debug)]
pub struct EndpointState {
    /// Its cluster's name.
    pub cluster: Arc<str>,
    /// Its own.
    pub name: Arc<str>,
    news: watch::Sender<()>,
    known: [Known; 2],
    draining: AtomicBool,
    /// When it was last seen to be new or back, in milliseconds of [`now`]; 0: it is warm.
    began: AtomicU64,
    burdens: Mutex<Vec<Arc<Burden>>>,
    places: Places,
    /// How many check it: two, while one plan takes the place of another.
    checkers: AtomicU32,
    doubt: Notify,
    told: Told,
}

/// What is counted of an endpoint beside the path.
#[derive(Debug, Default)]
struct Told {
    ejections: [AtomicU64; Charge::ALL.len()],
    checks: [AtomicU64; 2],
    shed: AtomicU64,
}

/// What is known of one kind of service.
#[derive(Debug, Default)]
struct Known {
    health: AtomicU8,
    /// Why it is down.
    why: Mutex<Option<Arc<str>>>,
    /// Not asked before this, in milliseconds of [`now`]; 0: not ejected.
    ejected_until: AtomicU64,
    ejections: AtomicU32,
}

impl EndpointState {
    /// An endpoint of which nothing is known, and nobody waits for news.
    pub fn new(cluster: Arc<str>, name: Arc<str>) -> Arc<Self> {
        Self::telling(cluster, name, watch::Sender::default())
    }

    /// An endpoint of which nothing is known. `news` is told when it goes down, is drained or comes back.
    pub fn telling(cluster: Arc<str>, name: Arc<str>, news: watch::Sender<()>) -> Arc<Self> {
        Arc::new(Self {
            cluster,
            name,
            news,
            known: Default::default(),
            draining: AtomicBool::new(false),
            began: AtomicU64::new(0),
            burdens: Mutex::default(),
            places: Places::default(),
            checkers: AtomicU32::new(0),
            doubt: Notify::new(),
            told: Told::default(),
        })
    }

    const fn of(&self, need: Need) -> &Known {
        let [rpc, rest] = &self.known;
        match need {
            Need::Rpc => rpc,
            Need::Rest => rest,
        }
    }

    /// What checks say.
    pub fn health(&self, need: Need) -> Health {
        match self.of(need).health.load(Ordering::Relaxed) {
            0 => Health::Unknown,
            1 => Health::Ready,
            _ => Health::Down,
        }
    }

    /// Whether checks say that nothing of it works.
    pub fn is_down(&self) -> bool {
        [Need::Rpc, Need::Rest].iter().all(|need| self.health(*need) == Health::Down)
    }

    /// Tells what a check says, and why where it is bad. What becomes ready begins slowly.
    /// Returns whether that is news.
    pub fn set_health(&self, need: Need, health: Health, why: Option<&str>) -> bool {
        let known = self.of(need);
        *lock(&known.why) = why.filter(|_| health == Health::Down).map(Into::into);
        let before = known.health.swap(health as u8, Ordering::SeqCst);
        if before == health as u8 {
            return false;
        }
        match health {
            Health::Ready => {
                if before == Health::Down as u8 && need == Need::Rpc {
                    self.begin();
                }
                // The check has seen it serve: what was held against it is over.
                known.ejected_until.store(0, Ordering::Relaxed);
                known.ejections.store(0, Ordering::Relaxed);
            }
            Health::Down => self.places.dismiss(Some(need)),
            Health::Unknown => {}
        }
        self.news.send_replace(());
        true
    }

    /// Why it is not asked for this now, where that is known.
    pub fn why(&self, need: Need) -> Option<Arc<str>> {
        if self.is_draining() { Some("it is drained".into()) } else { self.why_down(need) }
    }

    fn why_down(&self, need: Need) -> Option<Arc<str>> {
        lock(&self.of(need).why).clone()
    }

    /// Whether somebody checks it.
    pub fn is_checked(&self) -> bool {
        self.checkers.load(Ordering::Relaxed) > 0
    }

    /// Somebody checks it from now on.
    pub fn check_begins(&self) {
        self.checkers.fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody no longer checks it; what nobody checks is unknown.
    pub fn check_ends(&self) {
        if self.checkers.fetch_sub(1, Ordering::Relaxed) == 1 {
            for need in Need::ALL {
                self.set_health(need, Health::Unknown, None);
            }
        }
    }

    /// Counts a check, by whether it went well.
    pub fn count_check(&self, well: bool) {
        let [good, bad] = &self.told.checks;
        if well { good } else { bad }.fetch_add(1, Ordering::Relaxed);
    }

    /// How many checks went well, and how many did not.
    pub fn checks(&self) -> (u64, u64) {
        let [good, bad] = &self.told.checks;
        (good.load(Ordering::Relaxed), bad.load(Ordering::Relaxed))
    }

    /// How often it was ejected for this.
    pub fn ejections(&self, charge: Charge) -> u64 {
        let count = self.told.ejections.get(charge as usize);
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// A connect was refused: where checks will tell when it is back, it is down now.
    pub fn refused(&self, why: &str) {
        if self.is_checked() {
            for need in Need::ALL {
                self.set_health(need, Health::Down, Some(why));
            }
            self.doubt.notify_one();
        }
    }

    /// An exchange or a connection failed: the next check is due now.
    pub fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Waits for the next doubt; for the one who checks.
    pub async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// Whether it is ejected at `now`. Reads the clock only where it was ejected before.
    pub fn is_ejected(&self, need: Need) -> bool {
        let until = self.of(need).ejected_until.load(Ordering::Relaxed);
        until != 0 && until > now()
    }

    /// Whether it was ejected and nothing has gone well since: one failure more is enough then.
    pub fn on_probation(&self, need: Need) -> bool {
        self.of(need).ejected_until.load(Ordering::Relaxed) != 0
    }

    /// Ejects it; `pause` says for how long, by how often that has happened in a row.
    /// Returns whether it was not ejected already.
    pub fn eject(&self, need: Need, charge: Charge, pause: impl Fn(u32) -> Duration) -> bool {
        if self.is_ejected(need) {
            return false;
        }
        let known = self.of(need);
        let times = known.ejections.fetch_add(1, Ordering::Relaxed);
        let until = now().saturating_add(millis(pause(times))).max(1);
        known.ejected_until.store(until, Ordering::Relaxed);
        if let Some(count) = self.told.ejections.get(charge as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// It has answered well after it was ejected: it is taken back, slowly.
    pub fn redeem(&self, need: Need) {
        let known = self.of(need);
        known.ejected_until.store(0, Ordering::Relaxed);
        known.ejections.store(0, Ordering::Relaxed);
        self.begin();
    }

    /// It is new, or back: its share of the requests grows from now on.
    pub fn begin(&self) {
        self.began.store(now().max(1), Ordering::Relaxed);
    }

    /// How long ago it was new or back; `None`: it is warm.
    pub fn age(&self) -> Option<Duration> {
        let began = self.began.load(Ordering::Relaxed);
        (began != 0).then(|| Duration::from_millis(now().saturating_sub(began)))
    }

    /// It has its full share.
    pub fn warm(&self) {
        self.began.store(0, Ordering::Relaxed);
    }

    /// Whether it is being taken down on purpose: it gets nothing new.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Takes it down on purpose, or takes it back.
    pub fn set_draining(&self, draining: bool) {
        let before = self.draining.swap(draining, Ordering::SeqCst);
        if before && !draining {
            self.begin();
        }
        if draining {
            self.places.dismiss(None);
        }
        if before != draining {
            self.news.send_replace(());
        }
    }

    /// Whether it may be asked at all: not down, not taken down on purpose.
    pub fn takes(&self, need: Need) -> bool {
        !self.is_draining() && self.health(need) != Health::Down
    }

    /// Whether it is asked: not down, not ejected, not taken down on purpose.
    pub fn is_asked(&self, need: Need) -> bool {
        self.takes(need) && !self.is_ejected(need)
    }

    /// How it stands, in words.
    pub fn words(&self) -> String {
        let because = |word: &str, need| match self.why_down(need) {
            Some(why) => format!("{word}: {why}"),
            None => word.to_owned(),
        };
        let all = |is: &dyn Fn(Need) -> bool| Need::ALL.iter().all(|need| is(*need));
        if self.is_draining() {
            "draining".into()
        } else if all(&|need| self.health(need) == Health::Down) {
            because("down", Need::Rpc)
        } else if self.health(Need::Rest) == Health::Down {
            because("ready, but not for REST", Need::Rest)
        } else if all(&|need| self.is_ejected(need)) {
            "left alone for a while".into()
        } else if Need::ALL.iter().any(|need| self.is_ejected(*need)) {
            "left alone for a while by one kind of exchange".into()
        } else {
            self.health(Need::Rpc).label().into()
        }
    }

    /// Exchanges in flight there, of all workers: from the choice of the endpoint until the end of
    /// the answer, tunnels included.
    pub fn in_flight(&self) -> u64 {
        lock(&self.burdens).iter().map(|burden| burden.get()).fold(0, u64::wrapping_add)
    }

    /// Exchanges that wait for a place there, of all workers.
    pub fn waiting(&self) -> u64 {
        lock(&self.burdens).iter().map(|burden| burden.waiting()).fold(0, u64::wrapping_add)
    }

    /// Its places; only capped clusters count them.
    pub const fn places(&self) -> &Places {
        &self.places
    }

    /// Counts an exchange that was refused because it carried as much as it may.
    pub fn count_shed(&self) {
        self.told.shed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were refused so.
    pub fn shed(&self) -> u64 {
        self.told.shed.load(Ordering::Relaxed)
    }

    /// A cell for one worker's count.
    pub fn burden(&self) -> Arc<Burden> {
        let burden = Arc::<Burden>::default();
        let mut burdens = lock(&self.burdens);
        // What no worker holds any more is over.
        burdens.retain(|burden| Arc::strong_count(burden) > 1 || burden.get() > 0);
        burdens.push(Arc::clone(&burden));
        burden
    }
}

/// Milliseconds since the process first asked: a clock that all threads share.
fn now() -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    // One ahead, since 0 stands for "never".
    millis(FIRST.get_or_init(Instant::now).elapsed()).saturating_add(1)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A panic elsewhere leaves these lists whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
