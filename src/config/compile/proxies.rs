//! `trusted_proxies`: whose word about their clients counts.

use std::sync::Arc;

use ipnet::IpNet;

use crate::config::compile::item;
use crate::config::fault::nearest;
use crate::config::schema::text::{OneOrMany, ProxyText};
use crate::config::scope::Scope;
use crate::config::{parse, proxies};

/// The ranges of trusted proxies; sets are replaced by their ranges.
pub fn trusted(written: Option<&OneOrMany<ProxyText>>, scope: &Scope<'_>) -> Arc<[IpNet]> {
    let mut ranges = Vec::new();
    for (i, text) in written.iter().flat_map(|written| written.iter()) {
        let scope = item(scope, i);
        let found = proxies::set(text).or_else(|| parse::range(text).map(|range| vec![range]));
        let Some(found) = found else {
            scope.unknown(text, ProxyText::EXPECTED, nearest(text, proxies::NAMES));
            continue;
        };
        if found.iter().any(|range| range.prefix_len() == 0) {
            scope.bad(
                text,
                "the proxies alone: if everybody is believed, clients choose their address",
            );
        }
        ranges.extend(found);
    }
    ranges.into()
}
