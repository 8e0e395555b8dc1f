//! Named sets of addresses from which proxies in front come.

use ipnet::IpNet;

/// The names, for messages and suggestions.
pub const NAMES: [&str; 2] = ["cloudflare", "private"];

/// Cloudflare's own ranges, as <https://www.cloudflare.com/ips/> listed them on 2026-09-29; they
/// have been the same since 2023-09-28.
const CLOUDFLARE: &[&str] = &[
    "173.245.48.0/20",
    "103.21.244.0/22",
    "103.22.200.0/22",
    "103.31.4.0/22",
    "141.101.64.0/18",
    "108.162.192.0/18",
    "190.93.240.0/20",
    "188.114.96.0/20",
    "197.234.240.0/22",
    "198.41.128.0/17",
    "162.158.0.0/15",
    "104.16.0.0/13",
    "104.24.0.0/14",
    "172.64.0.0/13",
    "131.0.72.0/22",
    "2400:cb00::/32",
    "2606:4700::/32",
    "2803:f800::/32",
    "2405:b500::/32",
    "2405:8100::/32",
    "2a06:98c0::/29",
    "2c0f:f248::/32",
];

/// Networks of one's own (RFC 1918, RFC 4193) and loopback (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3).
const PRIVATE: &[&str] =
    &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "::1/128"];

/// The ranges of a set; `None`: there is none of this name.
pub fn set(name: &str) -> Option<Vec<IpNet>> {
    let ranges = match name {
        "cloudflare" => CLOUDFLARE,
        "private" => PRIVATE,
        _ => return None,
    };
    Some(ranges.iter().filter_map(|range| range.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_of_every_set_is_one() {
        for (name, length) in NAMES.into_iter().zip([CLOUDFLARE.len(), PRIVATE.len()]) {
            let ranges = set(name).unwrap();
            assert_eq!(ranges.len(), length, "{name}");
            // Bits behind the prefix would be a slip of the pen.
            assert!(ranges.iter().all(|range| range.network() == range.addr()), "{name}");
        }
        assert!(set("fastly").is_none());
    }
}
