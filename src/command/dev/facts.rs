//! What a certificate says, as far as `dev` must know it.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::authority::is_below;

/// What a certificate says.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Common name of its subject.
    pub name: String,
    /// Its subject, DER.
    pub subject: Vec<u8>,
    /// Its issuer's subject, DER.
    pub issuer: Vec<u8>,
    /// SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
    names: Vec<Name>,
    permitted: Vec<Name>,
}

/// A DNS name, or the bytes of an address (and of its mask, in a name constraint).
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Dns(String),
    Address(Vec<u8>),
}

impl Facts {
    /// Of the first certificate; `None` where it cannot be understood.
    pub fn of_pem(pem: &str) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let (_, parsed) = X509Certificate::from_der(&der).ok()?;
        let names = parsed.subject_alternative_name().ok()?;
        let constraints = parsed.name_constraints().ok()?;
        let trees = constraints.and_then(|extension| extension.value.permitted_subtrees.as_ref());
        Some(Self {
            name: parsed.subject().iter_common_name().next()?.as_str().ok()?.to_owned(),
            subject: parsed.subject().as_raw().to_vec(),
            issuer: parsed.issuer().as_raw().to_vec(),
            public_key: parsed.public_key().raw.to_vec(),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            names: names.map_or_else(Vec::new, |extension| {
                extension.value.general_names.iter().filter_map(Name::read).collect()
            }),
            permitted: trees.map_or_else(Vec::new, |trees| {
                trees.iter().filter_map(|tree| Name::read(&tree.base)).collect()
            }),
        })
    }

    /// Whether `name` is among its names, as it is written.
    pub fn covers(&self, name: &str) -> bool {
        self.names.contains(&Name::of(name))
    }

    /// Whether its name constraints let it sign for `name`, or for a wildcard's parent.
    pub fn permits(&self, name: &str) -> bool {
        let wanted = Name::of(name.strip_prefix("*.").unwrap_or(name));
        self.permitted.iter().any(|tree| match (tree, &wanted) {
            (Name::Dns(tree), Name::Dns(name)) => is_below(name, tree),
            (Name::Address(tree), Name::Address(address)) => {
                let (base, mask) = tree.split_at(tree.len() / 2);
                base.len() == address.len()
                    && base
                        .iter()
                        .zip(mask)
                        .zip(address)
                        .all(|((base, mask), byte)| base & mask == byte & mask)
            }
            _ => false,
        })
    }

    /// The last word of its name, for file names.
    pub fn tag(&self) -> String {
        let word = self.name.rsplit(' ').next().unwrap_or_default();
        word.chars().filter(char::is_ascii_alphanumeric).collect()
    }
}

impl Name {
    fn of(text: &str) -> Self {
        match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => Self::Address(address.octets().to_vec()),
            Ok(IpAddr::V6(address)) => Self::Address(address.octets().to_vec()),
            Err(_) => Self::Dns(text.to_owned()),
        }
    }

    fn read(name: &GeneralName<'_>) -> Option<Self> {
        match name {
            GeneralName::DNSName(name) => Some(Self::Dns(name.to_ascii_lowercase())),
            GeneralName::IPAddress(bytes) => Some(Self::Address(bytes.to_vec())),
            _ => None,
        }
    }
}
