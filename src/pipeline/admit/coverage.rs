//! Whether a certificate's names cover a host: the question behind 421 (RFC 9110 §15.5.20) for a
//! connection that a client uses for more hosts than the one it named in its handshake.

use std::net::IpAddr;

/// Whether `names`, as in [`Tls::names`](crate::exchange::Tls::names), cover `host`.
///
/// `host` comes without its port; an IPv6 literal may have its brackets and a name its trailing
/// dot. A wildcard stands for exactly one whole label and never for an address (RFC 9525 §6.3).
pub fn covers(names: &[Box<str>], host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = host.parse::<IpAddr>() {
        return names.iter().any(|name| name.parse() == Ok(address));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    !host.is_empty() && names.iter().any(|name| covers_name(name, host))
}

fn covers_name(name: &str, host: &str) -> bool {
    if name.eq_ignore_ascii_case(host) {
        return !host.contains('*');
    }
    match (name.strip_prefix("*."), host.split_once('.')) {
        (Some(parent), Some((label, rest))) => {
            !label.is_empty() && !parent.is_empty() && parent.eq_ignore_ascii_case(rest)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::covers;

    fn names(list: &[&str]) -> Vec<Box<str>> {
        list.iter().map(|&name| name.into()).collect()
    }

    #[test]
    fn exact_names_one_label_wildcards_and_addresses_cover() {
        let held = names(&["id.example.com", "*.apps.example.com", "192.0.2.7", "2001:db8::1"]);
        let table = [
            ("id.example.com", true),
            ("ID.Example.COM", true),
            ("id.example.com.", true),
            ("id.example.com..", false),
            ("example.com", false),
            ("xid.example.com", false),
            ("a.apps.example.com", true),
            ("A.APPS.example.com.", true),
            ("apps.example.com", false),
            (".apps.example.com", false),
            ("a.b.apps.example.com", false),
            ("*.apps.example.com", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8::1", true),
            ("[2001:db8:0:0::1]", true),
            ("[2001:db8::2]", false),
            ("", false),
            (".", false),
            ("[]", false),
        ];
        for (host, expected) in table {
            assert_eq!(covers(&held, host), expected, "{host:?}");
        }
    }

    #[test]
    fn a_wildcard_never_covers_an_address_and_a_bare_star_nothing() {
        assert!(!covers(&names(&["*.0.2.7", "*", "*."]), "192.0.2.7"));
        assert!(!covers(&names(&["*", "*."]), "com"));
        assert!(!covers(&names(&["*", "*."]), "com."));
        assert!(!covers(&[], "example.com"));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(name in ".*", host in ".*") {
            covers(&[name.into()], &host);
        }

        #[test]
        fn a_wildcard_covers_each_single_label(label in "[a-z0-9-]{1,20}", deeper in "[a-z]{1,5}") {
            let held = names(&["*.example.com"]);
            let one = format!("{label}.example.com");
            prop_assert!(covers(&held, &one));
            let two = format!("{deeper}.{label}.example.com");
            prop_assert!(!covers(&held, &two));
        }
    }
}
