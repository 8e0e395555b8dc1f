//! What an operator wants forgotten, and which addresses that means.

/// What to forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    /// Everything.
    All,
    /// Every address of a host: `id.example.com` whatever its port, `id.example.com:8443` exactly.
    Host(String),
    /// One address, with its scheme. Case counts in its path alone, and the scheme's own port is none.
    Address(String),
}

impl Purge {
    /// Whether an address is meant: its scheme and authority, its path and query.
    pub(super) fn matches(&self, site: &str, path: &str) -> bool {
        let Some(kept) = Parts::of(site).map(|parts| parts.with(path)) else { return false };
        match self {
            Self::All => true,
            Self::Address(asked) => Parts::of(asked).is_some_and(|asked| asked == kept),
            Self::Host(asked) => {
                let (host, port) = host_and_port(asked);
                kept.host.eq_ignore_ascii_case(host)
                    && port.is_none_or(|port| kept.port == Some(port))
            }
        }
    }
}

/// An address in parts that can be compared.
struct Parts<'a> {
    scheme: &'a str,
    host: &'a str,
    /// Written, or the scheme's own.
    port: Option<&'a str>,
    /// Path and query.
    target: &'a str,
}

impl<'a> Parts<'a> {
    fn of(address: &'a str) -> Option<Self> {
        let (scheme, rest) = address.split_once("://")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end)?;
        let (host, port) = host_and_port(authority);
        let usual = match scheme {
            scheme if scheme.eq_ignore_ascii_case("https") => Some("443"),
            scheme if scheme.eq_ignore_ascii_case("http") => Some("80"),
            _ => None,
        };
        Some(Self { scheme, host, port: port.or(usual), target }.with(target))
    }

    fn with(self, target: &'a str) -> Self {
        Self { target: if target.is_empty() { "/" } else { target }, ..self }
    }
}

impl PartialEq for Parts<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port == other.port
            && self.target == other.target
    }
}

/// The colons of `[::1]` are the host's own.
fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    }
}
