//! Small texts → values: durations, sizes, addresses, hosts, services. Pure, and never a panic.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ipnet::IpNet;

use crate::pipeline::plan::{GrpcPattern, HostPattern, SiteHost};
use crate::upstream::plan::Protocol;

/// A duration by humantime, at most a year: more is a slip, and overflows clocks.
pub fn duration(text: &str) -> Option<Duration> {
    let duration = humantime::parse_duration(text).ok()?;
    (duration <= Duration::from_secs(366 * 86_400)).then_some(duration)
}

/// A duration, or `off`, which is no clock at all.
pub fn clock(text: &str) -> Option<Option<Duration>> {
    if text == "off" {
        return Some(None);
    }
    duration(text).filter(|duration| !duration.is_zero()).map(Some)
}

/// Bytes: `64KiB`, `1 MiB`, `10kB`, `65536`.
pub fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A size as [`size`] reads it, or `off`.
pub fn cap(text: &str) -> Option<Option<u64>> {
    if text == "off" { Some(None) } else { size(text).map(Some) }
}

/// Where a listener listens, before its path is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Address and port.
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(String),
}

/// `ip:port`, `:port` and `port` (both mean `[::]`), `unix:/path`.
pub fn listen(text: &str) -> Option<Listen> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path).map(Listen::Unix);
    }
    let port = text.strip_prefix(':').unwrap_or(text);
    if port.bytes().all(|byte| byte.is_ascii_digit()) {
        let port = port.parse().ok()?;
        return Some(Listen::Tcp(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)));
    }
    text.parse().ok().map(Listen::Tcp)
}

/// sun_path holds 108 bytes with its final NUL (unix(7)).
fn unix_path(path: &str) -> Option<String> {
    (!path.is_empty() && path.len() < 108 && !path.contains('\0')).then(|| path.to_owned())
}

/// An endpoint's address, before its path is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Host without brackets, and port.
    Tcp(Protocol, Box<str>, u16),
    /// A Unix socket's path.
    Unix(Protocol, String),
    /// Every address of a name, with this port.
    Dns(Protocol, Box<str>, u16),
    /// A service's name.
    Srv(Protocol, Box<str>),
    /// A file with a list.
    File(Protocol, String),
}

/// `scheme://host[:port]`, `scheme+unix:/path`, or where endpoints are found: `scheme+dns://name:port`,
/// `scheme+srv://_service._tcp.name`, `scheme+file:path`.
pub fn endpoint(text: &str) -> Option<Endpoint> {
    let (scheme, rest) = text.split_once(':')?;
    if let Some(scheme) = scheme.strip_suffix("+unix") {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        return Some(Endpoint::Unix(protocol(scheme)?, unix_path(path)?));
    }
    if let Some(scheme) = scheme.strip_suffix("+file") {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        return (!path.is_empty())
            .then(|| Some(Endpoint::File(protocol(scheme)?, path.to_owned())))?;
    }
    let rest = rest.strip_prefix("//")?;
    if let Some(scheme) = scheme.strip_suffix("+srv") {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let fits = rest.starts_with('_') && rest.contains("._") && rest.bytes().all(sound);
        return fits.then(|| Some(Endpoint::Srv(protocol(scheme)?, rest.into())))?;
    }
    if let Some(scheme) = scheme.strip_suffix("+dns") {
        let (host, port) = authority(rest)?;
        let port = port.filter(|port| *port != 0)?;
        return Some(Endpoint::Dns(protocol(scheme)?, host.into(), port));
    }
    let protocol = protocol(scheme)?;
    let (host, port) = authority(rest.strip_suffix('/').unwrap_or(rest))?;
    let usual = if protocol.is_tls() { 443 } else { 80 };
    let port = port.unwrap_or(usual);
    (port != 0).then(|| Endpoint::Tcp(protocol, host.into(), port))
}

fn protocol(scheme: &str) -> Option<Protocol> {
    [Protocol::H2c, Protocol::H2, Protocol::Http, Protocol::Https]
        .into_iter()
        .find(|protocol| protocol.scheme() == scheme)
}

/// Host (without brackets) and port of an authority without userinfo.
pub fn authority(text: &str) -> Option<(String, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(decimal(port)?),
            None if after.is_empty() => None,
            None => return None,
        };
        return Some((address.to_string(), port));
    }
    match text.split_once(':') {
        Some((host, port)) => Some((domain(host)?, Some(decimal(port)?))),
        None => Some((domain(text)?, None)),
    }
}

/// A port, without the sign that Rust would allow.
fn decimal(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A DNS name (RFC 1123 §2.1, underscores as containers use them) or IPv4 address, lower case.
pub fn domain(text: &str) -> Option<String> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    (name.len() <= 253 && name.split('.').all(label)).then(|| name.to_ascii_lowercase())
}

/// A host pattern: `id.example.com`, `*.example.com`, `127.0.0.1`, `[::1]`.
pub fn host(text: &str) -> Option<HostPattern> {
    if let Some(suffix) = text.strip_prefix("*.") {
        return domain(suffix).map(|name| HostPattern::Suffix(format!(".{name}").into()));
    }
    if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        let address: Ipv6Addr = address.parse().ok()?;
        return Some(HostPattern::Exact(format!("[{address}]").into()));
    }
    domain(text).map(|name| HostPattern::Exact(name.into()))
}

/// A host pattern and its port; without one, 443, which need not be named (nor need 80).
pub fn site(text: &str) -> Option<SiteHost> {
    let (name, port) = match text.rsplit_once(':') {
        // The colons of `[::1]` are the host's own.
        Some((name, port)) if !port.ends_with(']') => (name, decimal(port).filter(|p| *p > 0)?),
        _ => (text, 443),
    };
    Some(SiteHost { pattern: host(name)?, port, shows_port: ![80, 443].contains(&port) })
}

/// A public host and the port that clients use: `id.example.com`, `id.example.com:8443`,
/// `*.example.com`, `[::1]:8443`.
pub fn public_host(text: &str) -> Option<(HostPattern, Option<u16>)> {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(decimal(port)?)),
        _ => (text, None),
    };
    (port != Some(0)).then(|| Some((host(name)?, port)))?
}

/// A size, or `off`, which is no limit at all.
pub fn limit(text: &str) -> Option<Option<u64>> {
    if text == "off" { Some(None) } else { size(text).map(Some) }
}

/// `package.Service`, or `package.Service/Method`.
pub fn grpc(text: &str) -> Option<GrpcPattern> {
    let text = text.strip_prefix('/').unwrap_or(text);
    let (service, method) = match text.split_once('/') {
        Some((service, method)) => (service, Some(method)),
        None => (text, None),
    };
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let fits = service.split('.').all(word) && method.is_none_or(word);
    fits.then(|| GrpcPattern { service: service.into(), method: method.map(Into::into) })
}

/// A path on the server: from a slash on, visible ASCII, no query, no fragment (RFC 3986 §3.3).
pub fn path(text: &str) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\');
    (text.starts_with('/') && text.bytes().all(plain)).then_some(text)
}

/// A range, or one address.
pub fn range(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// A SHA-256 in base64, also as `sha256/…`.
pub fn pin(text: &str) -> Option<[u8; 32]> {
    let text = text.strip_prefix("sha256/").unwrap_or(text);
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        assert_eq!(size("64KiB"), Some(65_536));
        assert_eq!(size("10 kB"), Some(10_000));
        assert_eq!(size("7"), Some(7));
        for bad in ["", "KiB", "1.5MiB", "-1", "1K", "99999999999GiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_bare_port_means_every_address() {
        for text in ["8443", ":8443", "[::]:8443"] {
            assert_eq!(listen(text), listen("[::]:8443"), "{text}");
        }
        assert_eq!(listen("unix:/run/r.sock"), Some(Listen::Unix("/run/r.sock".into())));
        for bad in ["", ":", "unix:", "localhost:80", "1.2.3.4", "65536", "[::1]"] {
            assert_eq!(listen(bad), None, "{bad}");
        }
    }

    #[test]
    fn endpoints_have_a_scheme_and_no_path() {
        assert_eq!(endpoint("h2c://[::1]:1"), Some(Endpoint::Tcp(Protocol::H2c, "::1".into(), 1)));
        assert_eq!(
            endpoint("https://Login"),
            Some(Endpoint::Tcp(Protocol::Https, "login".into(), 443))
        );
        assert_eq!(
            endpoint("h2c+unix:/a/b"),
            Some(Endpoint::Unix(Protocol::H2c, "/a/b".to_owned()))
        );
        for bad in ["zitadel:8080", "ftp://x", "h2c://u:p@x", "http://x/y", "http://x:0", "http://"]
        {
            assert_eq!(endpoint(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_wildcard_stands_only_in_front() {
        assert_eq!(host("*.Example.com"), Some(HostPattern::Suffix(".example.com".into())));
        for bad in ["*", "a.*.com", "*x.com", "a:80", "https://a", "a/b", "", "-a"] {
            assert_eq!(host(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_site_shows_every_port_but_those_of_the_schemes() {
        for (text, port, shows_port) in [
            ("id.example.com", 443, false),
            ("id.example.com:443", 443, false),
            ("id.example.com:80", 80, false),
            ("ID.example.com:8443", 8443, true),
            ("*.example.com:9000", 9000, true),
            ("[::1]", 443, false),
            ("[::1]:8443", 8443, true),
        ] {
            let site = site(text).unwrap();
            assert_eq!((site.port, site.shows_port), (port, shows_port), "{text}");
        }
        for bad in
            ["", ":443", "a:", "a:0", "a:b", "a:1:2", "a:65536", "https://a", "a/b", "*", "::1"]
        {
            assert_eq!(site(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_public_host_may_name_its_port() {
        let exact = |name: &str| HostPattern::Exact(name.into());
        assert_eq!(public_host("ID.example.com"), Some((exact("id.example.com"), None)));
        assert_eq!(public_host("localhost:8443"), Some((exact("localhost"), Some(8443))));
        assert_eq!(public_host("[::1]"), Some((exact("[::1]"), None)));
        assert_eq!(public_host("[::1]:80"), Some((exact("[::1]"), Some(80))));
        assert_eq!(
            public_host("*.example.com:1"),
            Some((HostPattern::Suffix(".example.com".into()), Some(1)))
        );
        for bad in ["", ":1", "a:0", "a:", "a:b", "a:1:2", "https://a", "a/b", "::1", "a:65536"] {
            assert_eq!(public_host(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC{0,40}") {
            let _ = (duration(&text), clock(&text), size(&text), listen(&text), endpoint(&text));
            let _ = (host(&text), grpc(&text), path(&text), range(&text), pin(&text), authority(&text), site(&text));
        }

        #[test]
        fn no_likely_text_makes_a_parser_panic(text in "[0-9a-z:/+.*\\[\\]-]{0,24}") {
            let _ = (duration(&text), clock(&text), size(&text), listen(&text), endpoint(&text));
            let _ = (host(&text), grpc(&text), path(&text), range(&text), pin(&text), authority(&text), site(&text));
        }

        #[test]
        fn every_duration_survives_its_own_text(millis in 0u64..31_000_000_000) {
            let given = Duration::from_millis(millis);
            prop_assert_eq!(duration(&humantime::format_duration(given).to_string()), Some(given));
        }

        #[test]
        fn every_socket_address_is_a_listener(address: SocketAddr) {
            // A zone has no stable text.
            prop_assume!(!matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0));
            prop_assert_eq!(listen(&SocketAddr::new(address.ip(), address.port()).to_string()),
                Some(Listen::Tcp(SocketAddr::new(address.ip(), address.port()))));
        }
    }
}
