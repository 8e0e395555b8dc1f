//! The development CA and the certificates it signs: what is made, what is reused, what is renewed.
//!
//! | file | | lives |
//! |---|---|---|
//! | `dev-ca.crt`, `dev-ca.key` | the CA, allowed to sign for `localhost`, `.test`, loopback addresses and the names given, and for nothing else | 825 days |
//! | `dev.crt`, `dev.key` | localhost, 127.0.0.1, ::1 and the names given | 90 days, renewed 30 before the end |
//! | `dev-wildcard.crt`, `dev-wildcard.key` | `*.localhost` | the same |
//!
//! `*.localhost` is a certificate of its own because many clients take a wildcard right below a
//! top-level name for malformed, and some (Firefox, rustls) then refuse the whole certificate.
//! 825 days: after that much even an unnoticed CA is worth nothing. Nobody but its owner can read a
//! key. A CA is replaced only at a start, since somebody must trust the new one.

mod certificates;
mod files;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
    PublicKeyData,
};

pub(super) use self::certificates::is_below;
use self::certificates::{ca_params, limit, named, permitted};
use self::files::{about, at, keep_private, read, write};
use super::facts::Facts;

const DAY: i64 = 24 * 60 * 60;

/// How long a CA lives, in days.
pub const CA_DAYS: i64 = 825;

/// How long a certificate lives, in days.
pub const LEAF_DAYS: i64 = 90;

/// So many days before its end a certificate is renewed, and a CA replaced.
pub const RENEW_DAYS: i64 = 30;

/// What every certificate of `dev` is for, besides the names given.
pub const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A folder with a CA and its certificates.
#[derive(Clone, Debug)]
pub struct Authority {
    folder: PathBuf,
    leaves: [Leaf; 2],
}

/// A certificate that is wanted.
#[derive(Clone, Debug)]
struct Leaf {
    file: &'static str,
    names: Vec<String>,
}

/// What has been done to the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// There was none.
    Made,
    /// The old one was about to expire, unsound, or not for every name.
    Renewed,
}

/// What [`Authority::prepare`] found and did.
#[derive(Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The CA, if it is a new one: it must be trusted (again).
    pub ca: Option<Change>,
    /// Certificates that are new, by their file.
    pub leaves: Vec<(PathBuf, Change)>,
}

impl Authority {
    /// In `folder`, for [`NAMES`], `*.localhost` and `more`: lower-case DNS names, wildcards as
    /// `*.dev.test`, or IP addresses.
    pub fn new(folder: &Path, more: &[String]) -> Self {
        let (mut plain, mut wild) = (NAMES.map(String::from).to_vec(), vec!["*.localhost".into()]);
        for name in more {
            let list = if is_top_wildcard(name) { &mut wild } else { &mut plain };
            if !list.contains(name) {
                list.push(name.clone());
            }
        }
        let leaves =
            [Leaf { file: "dev", names: plain }, Leaf { file: "dev-wildcard", names: wild }];
        Self { folder: folder.to_owned(), leaves }
    }

    /// The CA's certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("dev-ca.crt")
    }

    /// Certificate and key of each pair; the first is the default.
    pub fn pairs(&self) -> Vec<(PathBuf, PathBuf)> {
        self.leaves.iter().map(|leaf| (self.file(leaf, "crt"), self.file(leaf, "key"))).collect()
    }

    /// Every name that is covered.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.leaves.iter().flat_map(|leaf| &leaf.names).map(String::as_str)
    }

    /// Certificates of CAs that were replaced and may still be trusted somewhere.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn replaced(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with("dev-ca-") && name.ends_with(".old.crt") {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Makes what is missing, renews what must be, reuses the rest.
    ///
    /// # Errors
    /// A file cannot be read or written; the error names it.
    pub fn prepare(&self, now: i64) -> io::Result<Prepared> {
        self.make_folder()?;
        let _alone = self.lock()?;
        let (ca, change) = match self.sound_ca(now)? {
            Some(ca) => (ca, None),
            None => {
                let change = self.retire()?;
                (self.make_ca(now)?, Some(change))
            }
        };
        let leaves = self.renew_leaves(&ca, change.is_some(), now)?;
        Ok(Prepared { ca: change, leaves })
    }

    /// Renews certificates that will soon expire; the CA stays.
    ///
    /// # Errors
    /// A file cannot be read or written, or the CA is gone.
    pub fn renew(&self, now: i64) -> io::Result<Vec<(PathBuf, Change)>> {
        let _alone = self.lock()?;
        let ca = self.read_ca()?.ok_or_else(|| about(&self.ca(), "there is no CA"))?;
        self.renew_leaves(&ca, false, now)
    }

    fn renew_leaves(&self, ca: &Ca, anew: bool, now: i64) -> io::Result<Vec<(PathBuf, Change)>> {
        let mut changed = Vec::new();
        for leaf in &self.leaves {
            let file = self.file(leaf, "crt");
            let there = file.exists();
            if anew || !self.is_sound(leaf, ca, now) {
                self.make_leaf(leaf, ca, now)?;
                changed.push((file, if there { Change::Renewed } else { Change::Made }));
            }
        }
        Ok(changed)
    }

    fn file(&self, leaf: &Leaf, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", leaf.file))
    }

    fn ca_key(&self) -> PathBuf {
        self.folder.join("dev-ca.key")
    }

    fn make_folder(&self) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.folder).map_err(|error| at(&self.folder, &error))
    }

    /// Two of us must not make two CAs. Ends when it is dropped.
    fn lock(&self) -> io::Result<fs::File> {
        let path = self.folder.join(".dev.lock");
        let lock = || {
            let file = fs::File::create(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|error: io::Error| at(&path, &error))
    }

    fn read_ca(&self) -> io::Result<Option<Ca>> {
        let (Some(certificate), Some(key)) = (read(&self.ca())?, read(&self.ca_key())?) else {
            return Ok(None);
        };
        keep_private(&self.ca_key())?;
        let (Some(facts), Ok(key)) = (Facts::of_pem(&certificate), KeyPair::from_pem(&key)) else {
            return Ok(None);
        };
        let fits = facts.public_key == key.subject_public_key_info();
        Ok(fits.then_some(Ca { facts, key }))
    }

    /// The CA that is there, if it may stay.
    fn sound_ca(&self, now: i64) -> io::Result<Option<Ca>> {
        let good = |ca: &Ca| {
            ca.facts.not_before <= now
                && ca.facts.not_after - now > RENEW_DAYS * DAY
                && self.names().all(|name| ca.facts.permits(name))
        };
        Ok(self.read_ca()?.filter(good))
    }

    /// Keeps the certificate of a CA that is about to be replaced, so that it can be untrusted.
    fn retire(&self) -> io::Result<Change> {
        let Some(pem) = read(&self.ca())? else { return Ok(Change::Made) };
        let name = Facts::of_pem(&pem).map_or_else(|| "unreadable".into(), |facts| facts.tag());
        let to = self.folder.join(format!("dev-ca-{name}.old.crt"));
        fs::rename(self.ca(), &to).map_err(|error| at(&to, &error))?;
        Ok(Change::Renewed)
    }

    fn make_ca(&self, now: i64) -> io::Result<Ca> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut params = ca_params(&key);
        limit(&mut params, now, now + CA_DAYS * DAY);
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: permitted(self.names()),
            excluded_subtrees: Vec::new(),
        });
        let pem = params.self_signed(&key).map_err(io::Error::other)?.pem();
        write(&self.ca_key(), &key.serialize_pem(), 0o600)?;
        write(&self.ca(), &pem, 0o644)?;
        let facts = Facts::of_pem(&pem).ok_or_else(|| about(&self.ca(), "is unreadable"))?;
        Ok(Ca { facts, key })
    }

    fn is_sound(&self, leaf: &Leaf, ca: &Ca, now: i64) -> bool {
        let read = |extension| read(&self.file(leaf, extension)).ok().flatten();
        let (Some(certificate), Some(key)) = (read("crt"), read("key")) else { return false };
        let (Some(facts), Ok(key)) = (Facts::of_pem(&certificate), KeyPair::from_pem(&key)) else {
            return false;
        };
        keep_private(&self.file(leaf, "key")).is_ok()
            && facts.public_key == key.subject_public_key_info()
            && facts.issuer == ca.facts.subject
            && facts.not_before <= now
            && leaf.names.iter().all(|name| facts.covers(name))
            && !is_due(facts.not_after, ca.facts.not_after, now)
    }

    fn make_leaf(&self, leaf: &Leaf, ca: &Ca, now: i64) -> io::Result<()> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut params = CertificateParams::new(leaf.names.clone()).map_err(io::Error::other)?;
        let until = (now + LEAF_DAYS * DAY).min(ca.facts.not_after);
        limit(&mut params, now, until);
        params.distinguished_name = named("Ravelin dev");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let issuer_params = ca_params(&ca.key);
        let issuer = Issuer::from_params(&issuer_params, &ca.key);
        let pem = params.signed_by(&key, &issuer).map_err(io::Error::other)?.pem();
        // Key first: a watch that wakes in between finds a pair that does not fit, and waits.
        write(&self.file(leaf, "key"), &key.serialize_pem(), 0o600)?;
        write(&self.file(leaf, "crt"), &pem, 0o644)
    }
}

struct Ca {
    facts: Facts,
    key: KeyPair,
}

/// A wildcard that many clients take for malformed.
fn is_top_wildcard(name: &str) -> bool {
    name.strip_prefix("*.").is_some_and(|parent| !parent.contains('.'))
}

/// Whether a certificate that ends at `end` is to be renewed at `now`, and whether that would make
/// it last longer: none outlives its CA.
fn is_due(end: i64, ca_end: i64, now: i64) -> bool {
    end - now < RENEW_DAYS * DAY && (end <= now || (now + LEAF_DAYS * DAY).min(ca_end) - end > DAY)
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_due_thirty_days_before_its_end_unless_its_ca_ends_first() {
        let far = 1000 * DAY;
        for (end, ca_end, due) in [
            (90 * DAY, far, false),
            (30 * DAY, far, false),
            (30 * DAY - 1, far, true),
            (0, far, true),
            (-DAY, far, true),
            (20 * DAY, 20 * DAY, false),
            (20 * DAY, 25 * DAY, true),
            (-1, -1, true),
        ] {
            assert_eq!(is_due(end, ca_end, 0), due, "{end} {ca_end}");
        }
    }

    #[test]
    fn a_tree_holds_its_own_name_and_those_below() {
        assert!(is_below("localhost", "localhost") && is_below("a.b.localhost", "localhost"));
        assert!(!is_below("notlocalhost", "localhost") && !is_below("localhost", "a.localhost"));
    }
}
