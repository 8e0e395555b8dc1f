//! Decides who the client is behind trusted proxies.
//!
//! Every proxy appends the address that it got the request from to `X-Forwarded-For`, so the list
//! is true from its right end as far as the proxies are one's own. What stands left of the first
//! address that is not a trusted proxy's is that client's own invention.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::exchange::{Exchange, Identity};
use crate::message::Fields;
use crate::message::name::{X_FORWARDED_FOR, X_FORWARDED_PROTO};

/// Writes into `exchange` what a trusted proxy says of its client. Whoever is no trusted proxy is
/// the client itself.
pub fn believe(headers: &Fields, exchange: &mut Exchange) {
    let Some(trusted) = &exchange.connection.trusted else { return };
    let client = client(exchange.connection.client_ip(), trusted, headers);
    let https = https(headers).unwrap_or_else(|| exchange.connection.identity.https());
    exchange.forwarded = Some(Identity::new(client, https));
    exchange.client = client;
}

/// The client: the first address from the right of `X-Forwarded-For` that is not a trusted proxy's,
/// else the last one that was believed. A word that is no address ends the search: whoever wrote it
/// is not understood.
pub fn client(peer: Option<IpAddr>, trusted: &[IpNet], headers: &Fields) -> Option<IpAddr> {
    let mut client = peer;
    for line in headers.get_all(&X_FORWARDED_FOR).iter().rev() {
        let Ok(line) = line.to_str() else { return client };
        for hop in line.rsplit(',') {
            let Some(address) = address(hop.trim()) else { return client };
            client = Some(address);
            if !trusted.iter().any(|network| network.contains(&address)) {
                return client;
            }
        }
    }
    client
}

/// Whether the client came by https, in the word of the nearest proxy, which is the last one.
pub fn https(headers: &Fields) -> Option<bool> {
    let last = headers.get_all(&X_FORWARDED_PROTO).iter().next_back()?;
    let word = last.to_str().ok()?.rsplit(',').next()?.trim();
    if word.eq_ignore_ascii_case("https") {
        return Some(true);
    }
    word.eq_ignore_ascii_case("http").then_some(false)
}

/// An address; some proxies add the port (`203.0.113.7:4711`, `[2001:db8::7]:4711`) or brackets.
fn address(hop: &str) -> Option<IpAddr> {
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = hop.parse::<IpAddr>().ok().or_else(with_port).or_else(bracketed)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::FieldName;

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "192.0.2.1/32", "fd00::/8"].map(|range| range.parse().unwrap()).into()
    }

    fn fields(name: &FieldName, lines: &[&str]) -> Fields {
        let mut headers = Fields::new();
        for line in lines {
            headers.append(name, line.parse().unwrap());
        }
        headers
    }

    fn found(lines: &[&str]) -> String {
        let headers = fields(&X_FORWARDED_FOR, lines);
        client(Some("10.0.0.1".parse().unwrap()), &trusted(), &headers).unwrap().to_string()
    }

    #[test]
    fn hops_are_counted_from_the_right_until_the_first_untrusted_one() {
        for (lines, expected) in [
            (&[][..], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            (&["203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7, 10.9.9.9"], "203.0.113.7"),
            (&["203.0.113.7", "192.0.2.1", "10.9.9.9"], "203.0.113.7"),
            (&["203.0.113.7,192.0.2.1 ,\t10.9.9.9"], "203.0.113.7"),
            // What is left of an untrusted address is its own invention.
            (&["127.0.0.1, 203.0.113.7"], "203.0.113.7"),
            (&["10.0.0.5, 198.51.100.1, 203.0.113.7, 10.9.9.9"], "203.0.113.7"),
            (&["10.0.0.5", "203.0.113.7"], "203.0.113.7"),
            // Nobody but proxies: the farthest.
            (&["10.0.0.7, 10.0.0.6"], "10.0.0.7"),
            (&["2001:db8::7, fd00::1"], "2001:db8::7"),
            (&["[2001:db8::7]:4711, [fd00::1]"], "2001:db8::7"),
            (&["203.0.113.7:4711"], "203.0.113.7"),
            (&["203.0.113.7, ::ffff:10.0.0.9"], "203.0.113.7"),
            (&["::ffff:203.0.113.7"], "203.0.113.7"),
        ] {
            assert_eq!(found(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_address_ends_the_search_at_the_last_one_believed() {
        for (lines, expected) in [
            (&["203.0.113.7, unknown"][..], "10.0.0.1"),
            (&["203.0.113.7, evil, 10.0.0.9"], "10.0.0.9"),
            (&["203.0.113.7,, 10.0.0.9"], "10.0.0.9"),
            (&["203.0.113.7", "", "10.0.0.9"], "10.0.0.9"),
            (&["host=evil.test"], "10.0.0.1"),
            (&["for=203.0.113.7"], "10.0.0.1"),
            (&["203.0.113.7/24"], "10.0.0.1"),
            (&["1.2.3"], "10.0.0.1"),
            (&["fe80::1%eth0"], "10.0.0.1"),
        ] {
            assert_eq!(found(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_nearest_proxy_says_how_its_client_came() {
        for (lines, expected) in [
            (&[][..], None),
            (&["https"], Some(true)),
            (&["HTTP"], Some(false)),
            (&["http, https"], Some(true)),
            (&["https", "http"], Some(false)),
            (&["gopher"], None),
            (&["https,"], None),
        ] {
            assert_eq!(https(&fields(&X_FORWARDED_PROTO, lines)), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_left_of_an_untrusted_address_is_heard(left in "[ -~]{0,60}") {
            let line = format!("{left}, 203.0.113.7, 10.9.9.9");
            prop_assert_eq!(found(&[&line]), "203.0.113.7");
            prop_assert_eq!(found(&[&left, "203.0.113.7", "10.9.9.9"]), "203.0.113.7");
        }

        #[test]
        fn no_text_makes_it_panic(text in "[ -~]{0,60}") {
            let _ = found(&[&text]);
        }
    }
}
