//! Which certificate a client is shown, and keeping the certificates fresh.
//!
//! Chosen by the name the client asks for: exact name, then wildcard of one label, then the default,
//! else none. Where several certificates have the same name (RSA beside ECDSA), the first that the
//! client can verify. A file that changes is taken over only when the new pair is sound; otherwise
//! the last good one stays in use.

mod load;
pub mod watch;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use self::load::Pair;
pub use self::load::{Facts, Fault, LoadError};
pub(super) use self::load::{certificates, facts, fail};
pub use self::watch::{Watch, watch};
use super::plan::CertificatePlan;
use crate::telemetry::reloads::Reloads;
use crate::watch::fingerprint;

/// The certificates of a listener.
#[derive(Debug)]
pub struct Store {
    plans: Vec<CertificatePlan>,
    /// A file beside them that is watched with them: the CA of client certificates.
    beside: Option<PathBuf>,
    provider: Arc<CryptoProvider>,
    snapshot: ArcSwap<Snapshot>,
    /// What the files held in the moment before they were read first.
    seen: u64,
    reloads: Reloads,
    /// One reload at a time: two would take each other's findings back.
    reloading: Mutex<()>,
}

/// What a reload has done.
#[derive(Debug, Default)]
pub struct Report {
    /// Certificate files whose new pair is in use now.
    pub changed: Vec<PathBuf>,
    /// Files that cannot be used; the last good pair stays in use.
    pub failed: Vec<LoadError>,
}

/// A certificate in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    /// What it says about itself: names, subject and how long it is valid.
    pub facts: Facts,
    /// The file that it came from.
    pub file: PathBuf,
}

/// Certificates as they were at one moment.
#[derive(Debug)]
struct Snapshot {
    /// In the order of the plans.
    pairs: Vec<Arc<Pair>>,
    /// Name or `*.parent` → places in `pairs`.
    by_name: HashMap<Box<str>, Vec<usize>>,
    default: Option<usize>,
}

impl Store {
    /// Loads every pair; fails on the first that is not sound. An expired one is taken with a
    /// warning: its clients are told so by their own software, and it can be replaced while running.
    pub fn load(
        plans: &[CertificatePlan],
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<Self>, LoadError> {
        Self::load_beside(plans, None, provider)
    }

    /// The same; whoever watches the store is told of changes of `beside` too.
    pub fn load_beside(
        plans: &[CertificatePlan],
        beside: Option<PathBuf>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<Self>, LoadError> {
        let now = now();
        let seen = fingerprint(files(plans, beside.as_ref()));
        let mut pairs = Vec::with_capacity(plans.len());
        for plan in plans {
            let pair = load::load(plan, &provider)?;
            if pair.facts.not_after < now {
                tracing::warn!(file = %plan.cert.display(), "this certificate has expired");
            }
            pairs.push(Arc::new(pair));
        }
        let snapshot = ArcSwap::from_pointee(Snapshot::new(plans, pairs));
        Ok(Arc::new(Self {
            plans: plans.to_vec(),
            beside,
            provider,
            snapshot,
            seen,
            reloads: Reloads::default(),
            reloading: Mutex::default(),
        }))
    }

    /// Loads every pair anew. What changed and is sound is in use for the next handshake.
    pub fn reload(&self) -> Report {
        let _alone = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        let mut report = Report::default();
        let old = self.snapshot.load_full();
        let mut pairs = old.pairs.clone();
        for (plan, held) in self.plans.iter().zip(&mut pairs) {
            match load::load(plan, &self.provider) {
                Ok(new) if new.key.cert == held.key.cert => {}
                Ok(new) if new.facts.not_after < now && held.facts.not_after >= now => {
                    report.failed.push(fail(&plan.cert, Fault::Expired));
                }
                Ok(new) => {
                    *held = Arc::new(new);
                    report.changed.push(plan.cert.clone());
                }
                Err(error) => report.failed.push(error),
            }
        }
        if !report.changed.is_empty() {
            self.snapshot.store(Arc::new(Snapshot::new(&self.plans, pairs)));
        }
        report
    }

    /// The names that the certificate covers which a client asking for `sni` is shown; `None`
    /// where there is none for it. `schemes` is what the client can verify; empty: anything.
    pub fn names_for(
        &self,
        sni: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<Arc<[Box<str>]>> {
        self.snapshot.load().choose(sni, schemes).map(|pair| pair.facts.names.clone())
    }

    /// Every certificate in use, in the order of the plan.
    pub fn certificates(&self) -> Vec<InUse> {
        let snapshot = self.snapshot.load();
        let held = snapshot.pairs.iter().zip(&self.plans);
        held.map(|(pair, plan)| InUse { facts: pair.facts.clone(), file: plan.cert.clone() })
            .collect()
    }

    /// How the last reload of its files went, of the one beside them too; told by whoever watches them.
    pub const fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        files(&self.plans, self.beside.as_ref())
    }
}

fn files<'a>(
    plans: &'a [CertificatePlan],
    beside: Option<&'a PathBuf>,
) -> impl Iterator<Item = &'a PathBuf> {
    plans.iter().flat_map(|plan| [&plan.cert, &plan.key]).chain(beside)
}

impl Snapshot {
    fn new(plans: &[CertificatePlan], pairs: Vec<Arc<Pair>>) -> Self {
        let mut by_name: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (place, pair) in pairs.iter().enumerate() {
            for name in &*pair.facts.names {
                by_name.entry(name.clone()).or_default().push(place);
            }
        }
        Self { pairs, by_name, default: plans.iter().position(|plan| plan.default) }
    }

    fn choose(&self, sni: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<Pair>> {
        let named = sni.and_then(|sni| {
            let sni = sni.strip_suffix('.').unwrap_or(sni).to_ascii_lowercase();
            self.by_name.get(sni.as_str()).or_else(|| {
                let (_, parent) = sni.split_once('.')?;
                self.by_name.get(format!("*.{parent}").as_str())
            })
        });
        let verifiable = |&&place: &&usize| {
            let key = self.pairs.get(place).map(|pair| &pair.key.key);
            key.is_some_and(|key| key.choose_scheme(schemes).is_some())
        };
        let place = match named {
            Some(places) => places.iter().find(verifiable).or_else(|| places.first()).copied(),
            None => self.default,
        };
        place.and_then(|place| self.pairs.get(place))
    }
}

impl ResolvesServerCert for Store {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let snapshot = self.snapshot.load();
        snapshot.choose(hello.server_name(), hello.signature_schemes()).map(|pair| pair.key.clone())
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
