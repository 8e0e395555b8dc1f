//! Decides whether a host and port are ones that upstream knows, and in which spelling upstream
//! sees them.
//!
//! ZITADEL looks its instance up with regard to case and copies the authority into issuers and links
//! as it stands, port included: one site has several spellings, upstream is to see exactly one.

use http::HeaderValue;

use super::route::below;
use crate::pipeline::authority::Authority;
use crate::pipeline::plan::{HostPattern, SiteHost};

/// The hosts of a route, prepared for asking.
#[derive(Debug)]
pub struct Site {
    hosts: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    host: SiteHost,
    /// The whole authority, where it is known before anybody asks.
    authority: Option<HeaderValue>,
}

impl Site {
    /// `None` where there are no hosts: then every one passes as it is.
    pub fn new(hosts: &[SiteHost]) -> Option<Self> {
        let known = |host: &SiteHost| Known { authority: exact(host), host: host.clone() };
        (!hosts.is_empty()).then(|| Self { hosts: hosts.iter().map(known).collect() })
    }

    /// The authority that upstream sees for what was asked; `None`: an unknown host or port.
    /// `https` is the scheme of the client's leg.
    ///
    /// An exact host allocates nothing; a wildcard's authority is made anew.
    pub fn find(&self, asked: &Authority<'_>, https: bool) -> Option<HeaderValue> {
        let known = self.hosts.iter().find(|known| known.is(asked, https))?;
        match &known.authority {
            Some(authority) => Some(authority.clone()),
            None => spelled(asked.host, &known.host),
        }
    }
}

impl Known {
    fn is(&self, asked: &Authority<'_>, https: bool) -> bool {
        let host = match &self.host.pattern {
            HostPattern::Exact(name) => name.eq_ignore_ascii_case(asked.host),
            HostPattern::Suffix(suffix) => below(asked.host, suffix),
        };
        host && match asked.port {
            None => !self.host.shows_port,
            Some(port) if port == self.host.port => true,
            // As good as no port (RFC 9110 §4.2.3).
            Some(port) => !self.host.shows_port && port == if https { 443 } else { 80 },
        }
    }
}

/// The authority that upstream sees of a host without wildcard.
pub fn exact(host: &SiteHost) -> Option<HeaderValue> {
    match &host.pattern {
        HostPattern::Exact(name) => spelled(name, host),
        HostPattern::Suffix(_) => None,
    }
}

fn spelled(name: &str, host: &SiteHost) -> Option<HeaderValue> {
    let mut text = name.to_ascii_lowercase();
    if host.shows_port {
        text.push(':');
        text.push_str(&host.port.to_string());
    }
    // Hosts are made of letters, digits, `.-_` and `[:]`, which may stand in a field.
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host(pattern: &str, port: u16) -> SiteHost {
        let pattern = match pattern.strip_prefix('*') {
            Some(suffix) => HostPattern::Suffix(suffix.into()),
            None => HostPattern::Exact(pattern.into()),
        };
        SiteHost { pattern, port, shows_port: ![80, 443].contains(&port) }
    }

    fn site() -> Site {
        let hosts = [
            host("id.example.com", 443),
            host("id.example.com", 8443),
            host("*.apps.example.com", 9000),
            host("*.example.org", 443),
            host("[2001:db8::1]", 8443),
            host("lan.test", 80),
        ];
        Site::new(&hosts).unwrap()
    }

    fn find(asked: &str, https: bool) -> Option<String> {
        let asked = Authority::parse(asked)?;
        site().find(&asked, https).map(|found| found.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_known_host_has_one_spelling_upstream() {
        for (asked, expected) in [
            ("id.example.com", "id.example.com"),
            ("ID.Example.COM", "id.example.com"),
            ("id.example.com:443", "id.example.com"),
            ("iD.example.com:8443", "id.example.com:8443"),
            ("A.apps.example.com:9000", "a.apps.example.com:9000"),
            ("x.Y.apps.example.com:9000", "x.y.apps.example.com:9000"),
            ("One.Example.org:443", "one.example.org"),
            ("[2001:DB8::1]:8443", "[2001:db8::1]:8443"),
            ("lan.test:80", "lan.test"),
        ] {
            assert_eq!(find(asked, true).as_deref(), Some(expected), "{asked}");
        }
    }

    #[test]
    fn every_other_host_or_port_is_unknown() {
        for asked in [
            "example.com",
            "evil.test",
            "id.example.com.",
            "xid.example.com",
            "id.example.com:80",
            "id.example.com:9",
            "id.example.com:8444",
            "apps.example.com:9000",
            "a.apps.example.com",
            "a.apps.example.com:443",
            "example.org",
            "[2001:db8::1]",
            "[2001:db8::2]:8443",
        ] {
            assert_eq!(find(asked, true), None, "{asked}");
        }
    }

    #[test]
    fn the_default_port_is_that_of_the_client_s_scheme() {
        assert_eq!(find("id.example.com:80", false).as_deref(), Some("id.example.com"));
        assert_eq!(find("id.example.com:80", true), None);
        assert_eq!(find("a.apps.example.com:80", false), None, "its port is shown");
    }

    #[test]
    fn an_exact_host_s_spelling_is_shared_and_not_made_anew() {
        let site = site();
        let find = |asked| site.find(&Authority::parse(asked).unwrap(), true).unwrap();
        let (one, two) = (find("id.example.com"), find("ID.EXAMPLE.com:443"));
        assert_eq!(one.as_bytes().as_ptr(), two.as_bytes().as_ptr());
    }

    #[test]
    fn without_hosts_there_is_no_site() {
        assert!(Site::new(&[]).is_none());
    }

    proptest! {
        #[test]
        fn nothing_passes_in_another_spelling_than_a_configured_one(
            text in "\\PC{0,40}|(?i)(user@|a\\.|,|)(id\\.example\\.com|x\\.example\\.org|lan\\.test)(\\.|)(:[0-9a-z]{0,5}){0,2}(/x|#|,b|)",
            https: bool,
        ) {
            if let Some(found) = find(&text, https) {
                let exact = ["id.example.com", "id.example.com:8443", "[2001:db8::1]:8443", "lan.test"];
                let wild = found.ends_with(".apps.example.com:9000") || found.ends_with(".example.org");
                prop_assert!(exact.contains(&found.as_str()) || wild, "{} as {}", text, found);
                prop_assert_eq!(found.to_ascii_lowercase(), found.as_str());
                prop_assert!(Authority::parse(&found).is_some());
            }
        }
    }
}
