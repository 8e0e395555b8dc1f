//! Decides what a host and its port are (RFC 3986 §3.2, RFC 9110 §7.2), stricter than the grammar:
//! ZITADEL copies the authority into issuers and links as it stands, so only spellings that can be
//! nothing else than a host and a port may pass.

use std::net::Ipv6Addr;

/// The longest name that DNS knows (RFC 1035 §2.3.4), and more than any address literal.
const LONGEST_HOST: usize = 255;

/// A host and its port, as the client spelled them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The whole of it, byte for byte.
    pub text: &'a str,
    /// A DNS name or an address; an IPv6 address keeps its brackets.
    pub host: &'a str,
    /// The port, where one is named.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads `host[:port]`. `None` for everything else: user information, lists, white space,
    /// percent-encoding, an empty host or port, two ports, ports with leading zeros or above 65535.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (host, port) = split(text)?;
        let sound = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => is_name(host),
        };
        if !sound {
            return None;
        }
        let port = match port {
            Some(digits) => Some(parse_port(digits)?),
            None => None,
        };
        Some(Self { text, host, port })
    }

    /// Whether both name the same entity: host without regard to case, port with the scheme's
    /// default filled in (RFC 3986 §6.2.3).
    pub fn same_as(&self, other: &Self, default_port: Option<u16>) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.or(default_port) == other.port.or(default_port)
    }
}

/// The port of what [`Authority::parse`] takes, for those who know that it does.
pub fn port(text: &str) -> Option<u16> {
    text.rsplit_once(':')?.1.parse().ok()
}

fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if text.starts_with('[') {
        let end = text.find(']')? + 1;
        let (host, rest) = text.split_at_checked(end)?;
        return match rest {
            "" => Some((host, None)),
            _ => Some((host, Some(rest.strip_prefix(':')?))),
        };
    }
    Some(match text.bytes().position(|byte| byte == b':') {
        Some(at) => (text.get(..at)?, text.get(at + 1..)),
        None => (text, None),
    })
}

/// Letters, digits, `-`, `_` and single dots. Underscores are no host names by RFC 952, but
/// container networks are full of them.
fn is_name(host: &str) -> bool {
    if host.is_empty() || host.len() > LONGEST_HOST || host.starts_with('.') {
        return false;
    }
    // Without an early end, so that it is looked at many bytes at a time.
    let letter = |byte: u8| byte.is_ascii_alphanumeric() | matches!(byte, b'.' | b'-' | b'_');
    let letters = host.bytes().fold(true, |all, byte| all & letter(byte));
    let pairs = host.bytes().zip(host.bytes().skip(1));
    letters && !pairs.fold(false, |any, (one, next)| any | ((one == b'.') & (next == b'.')))
}

fn parse_port(digits: &str) -> Option<u16> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || digits.starts_with('0') {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for (text, host, port) in [
            ("id.example.com", "id.example.com", None),
            ("ID.example.com:8443", "ID.example.com", Some(8443)),
            ("localhost.", "localhost.", None),
            ("zitadel_1:65535", "zitadel_1", Some(65535)),
            ("127.0.0.1:80", "127.0.0.1", Some(80)),
            ("[::1]", "[::1]", None),
            ("[2001:db8::1]:443", "[2001:db8::1]", Some(443)),
        ] {
            assert_eq!(Authority::parse(text), Some(Authority { text, host, port }), "{text}");
            assert_eq!(super::port(text), port, "{text}");
        }
    }

    #[test]
    fn whatever_else_is_in_a_host_is_refused() {
        for text in [
            "",
            ":443",
            "a:",
            "a:evil",
            "a:0",
            "a:080",
            "a:65536",
            "a:+80",
            "a:80:80",
            "a:80/x",
            "a/x",
            "a#x",
            "a?x",
            "user@a",
            "user:pw@a:80",
            "a,b",
            "a b",
            " a",
            "a ",
            "a\tb",
            "a\\b",
            "a..b",
            ".a",
            ".",
            "a%2eb",
            "ä.example",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "[::1]:x",
            "[fe80::1%25eth0]",
            "[v1.x]",
            "[]",
            "[127.0.0.1]",
            "a]",
            "a[",
        ] {
            assert_eq!(Authority::parse(text), None, "{text:?}");
        }
        assert_eq!(Authority::parse(&"a".repeat(256)), None);
    }

    #[test]
    fn the_same_entity_has_several_spellings() {
        let same = |a, b, default| {
            Authority::parse(a).unwrap().same_as(&Authority::parse(b).unwrap(), default)
        };
        assert!(same("A.example", "a.EXAMPLE", None));
        assert!(same("a.example:443", "a.example", Some(443)));
        assert!(!same("a.example:443", "a.example", Some(80)));
        assert!(!same("a.example:443", "a.example", None));
        assert!(!same("a.example", "b.example", None));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_what_passes_is_made_of_its_parts(text in "\\PC{0,40}|[a-z0-9.:@\\[\\]-]{0,20}") {
            if let Some(authority) = Authority::parse(&text) {
                let again = match authority.port {
                    Some(port) => format!("{}:{port}", authority.host),
                    None => authority.host.to_owned(),
                };
                prop_assert_eq!(super::port(&text), authority.port);
                prop_assert_eq!(again, text);
            }
        }
    }
}
