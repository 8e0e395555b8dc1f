//! Reading a certificate and its key from their files: what is a sound pair, and what it says.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{error, fs};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::downstream::plan::CertificatePlan;

/// What a certificate says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// DNS names and IP addresses that it covers, lower case, wildcards as `*.example.com`.
    pub names: Arc<[Box<str>]>,
    /// Until when it is valid: seconds since 1970.
    pub not_after: i64,
    /// Whom it is about, as in RFC 4514.
    pub subject: Box<str>,
}

/// A file that cannot be used, and why.
#[derive(Debug)]
pub struct LoadError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a file.
#[derive(Debug)]
pub enum Fault {
    /// It cannot be read.
    Unreadable(std::io::Error),
    /// It is not PEM.
    NotPem(pem::Error),
    /// There is no certificate in it.
    NoCertificate,
    /// There is no private key in it.
    NoKey,
    /// Its first certificate cannot be understood.
    BadCertificate,
    /// Its key cannot be used.
    BadKey(rustls::Error),
    /// Its key belongs to another certificate than that in this file.
    Mismatch(PathBuf),
    /// It has expired, while the one in use has not.
    Expired,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        match &self.fault {
            Fault::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Fault::NotPem(error) => write!(f, "is no sound PEM file: {error}"),
            Fault::NoCertificate => {
                f.write_str("has no certificate in it (expected PEM, the server's own first)")
            }
            Fault::NoKey => {
                f.write_str("has no private key in it (expected PEM: PKCS#8, SEC1 or PKCS#1)")
            }
            Fault::BadCertificate => f.write_str("its first certificate cannot be understood"),
            Fault::BadKey(error) => write!(f, "its private key cannot be used: {error}"),
            Fault::Mismatch(cert) => {
                write!(f, "its private key does not belong to the certificate {}", cert.display())
            }
            Fault::Expired => f.write_str("has already expired, unlike the one in use"),
        }
    }
}

impl error::Error for LoadError {}

/// A sound certificate with its key.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) facts: Facts,
}

/// Loads one pair. Expired or not is for the caller to judge.
pub(super) fn load(plan: &CertificatePlan, provider: &CryptoProvider) -> Result<Pair, LoadError> {
    let chain = certificates(&plan.cert)?;
    let facts = chain
        .first()
        .and_then(|leaf| facts(leaf))
        .ok_or_else(|| fail(&plan.cert, Fault::BadCertificate))?;
    let key =
        CertifiedKey::from_der(chain, private_key(&plan.key)?, provider).map_err(|error| {
            let fault = match error {
                rustls::Error::InconsistentKeys(_) => Fault::Mismatch(plan.cert.clone()),
                other => Fault::BadKey(other),
            };
            fail(&plan.key, fault)
        })?;
    Ok(Pair { key: Arc::new(key), facts })
}

/// Every certificate of a PEM file; at least one.
pub(in crate::downstream) fn certificates(
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let bytes = read(file)?;
    let found = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fail(file, Fault::NotPem(error)))?;
    if found.is_empty() {
        return Err(fail(file, Fault::NoCertificate));
    }
    Ok(found)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, LoadError> {
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|error| match error {
        pem::Error::NoItemsFound => fail(file, Fault::NoKey),
        other => fail(file, Fault::NotPem(other)),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, LoadError> {
    fs::read(file).map_err(|error| fail(file, Fault::Unreadable(error)))
}

pub(in crate::downstream) fn fail(file: &Path, fault: Fault) -> LoadError {
    LoadError { file: file.to_owned(), fault }
}

/// The facts of a certificate; `None` where it cannot be understood.
pub(in crate::downstream) fn facts(certificate: &[u8]) -> Option<Facts> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let alternatives = parsed.subject_alternative_name().ok()?;
    let names = alternatives
        .into_iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                (!name.is_empty()).then(|| name.to_ascii_lowercase().into_boxed_str())
            }
            GeneralName::IPAddress(octets) => address(octets).map(|ip| ip.to_string().into()),
            _ => None,
        })
        .collect();
    Some(Facts {
        names,
        not_after: parsed.validity().not_after.timestamp(),
        subject: parsed.subject().to_string().into(),
    })
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(octets)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}
