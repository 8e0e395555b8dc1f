//! What stands in the development CA's certificates.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, GeneralSubtree,
    IsCa, KeyPair, KeyUsagePurpose,
};

/// Clocks of containers and virtual machines may be behind.
const BACKDATED: i64 = 60 * 60;

/// What every CA may sign for, with everything below it: reserved for this (RFC 6761 §6.2, §6.3).
const RESERVED: [&str; 2] = ["localhost", "test"];

/// All of a CA that its certificates depend on follows from its key.
pub(super) fn ca_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let digest: String =
        params.key_identifier(key).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    // Stores tell CAs apart by their name: one name, one key.
    params.distinguished_name = named(&format!("Ravelin dev CA {digest}"));
    params
}

pub(super) fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// What a CA may sign for.
pub(super) fn permitted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<GeneralSubtree> {
    let mut trees = vec![
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(Ipv4Addr::LOCALHOST.into(), 8)),
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(Ipv6Addr::LOCALHOST.into(), 128)),
    ];
    let mut hosts = RESERVED.map(String::from).to_vec();
    for name in names {
        match name.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() => {}
            Ok(address) => {
                let bits = if address.is_ipv4() { 32 } else { 128 };
                trees.push(GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, bits)));
            }
            Err(_) => {
                let name = name.strip_prefix("*.").unwrap_or(name);
                if !hosts.iter().any(|host| is_below(name, host)) {
                    hosts.push(name.to_owned());
                }
            }
        }
    }
    trees.extend(hosts.into_iter().map(GeneralSubtree::DnsName));
    trees
}

/// Whether `name` is `tree` or below it (RFC 5280 §4.2.1.10).
pub(in crate::command::dev) fn is_below(name: &str, tree: &str) -> bool {
    name.strip_suffix(tree).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

pub(super) fn limit(params: &mut CertificateParams, now: i64, until: i64) {
    let moment = |seconds: i64| {
        let seconds = u64::try_from(seconds).unwrap_or_default();
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    (params.not_before, params.not_after) = (moment(now - BACKDATED), moment(until));
}
