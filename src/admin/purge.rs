//! `POST /purge?all`, `?host=…`, `?url=…` or `?generation=…`: forgets what the cache holds, and says how
//! much that was.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use http::uri::Authority;

use super::{Admin, text};

/// What to forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    /// Everything.
    All,
    /// Every address of a host, with its port or whatever its port.
    Host(String),
    /// One address.
    Address(String),
    /// The hashed files of one generation of an application; `old`: of all that are not served.
    Generation(String),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purged {
    /// No route has a cache.
    NoCache,
    /// So many answers went.
    Count(usize),
    /// There is no such generation, but these.
    Unknown(Vec<String>),
}

const HOW: &str =
    "One of /purge?all, /purge?host=HOST, /purge?url=URL and /purge?generation=ID (or old).\n";

/// Answers the call.
pub(super) async fn purge(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let Some(what) = query.as_deref().and_then(read) else {
        return text(StatusCode::BAD_REQUEST, HOW);
    };
    match (admin.purge)(&what) {
        Purged::NoCache => text(StatusCode::OK, "0 purged: no route has a cache\n"),
        Purged::Count(count) => text(StatusCode::OK, format!("{count} purged\n")),
        Purged::Unknown(known) if known.is_empty() => {
            text(StatusCode::NOT_FOUND, "No generation of an application is known.\n")
        }
        Purged::Unknown(known) => {
            let known = known.join(", ");
            text(StatusCode::NOT_FOUND, format!("No such generation. There are: {known}\n"))
        }
    }
}

/// What a query asks for; the value of `url` is all that follows, so that it need not be encoded.
fn read(query: &str) -> Option<Purge> {
    if let Some(url) = query.strip_prefix("url=") {
        return address(&decoded(url)).map(Purge::Address);
    }
    if let Some(name) = query.strip_prefix("host=") {
        return host(&decoded(name)).map(Purge::Host);
    }
    if let Some(id) = query.strip_prefix("generation=").filter(|id| !id.is_empty()) {
        return Some(Purge::Generation(id.to_owned()));
    }
    matches!(query, "all" | "all=" | "all=true" | "all=1").then_some(Purge::All)
}

/// An address that an answer can be kept under: with a scheme and a host, what follows `#` left out.
pub fn address(text: &str) -> Option<String> {
    let text = text.split('#').next().unwrap_or_default();
    let (scheme, rest) = text.split_once("://")?;
    let known = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let authority = rest.split(['/', '?']).next().filter(|_| known)?;
    host(authority)?;
    (!text.contains(char::is_whitespace)).then(|| text.to_owned())
}

/// A host, perhaps with its port.
pub fn host(text: &str) -> Option<String> {
    let authority = text.parse::<Authority>().ok()?;
    (!authority.host().is_empty() && !text.contains('@')).then(|| text.to_owned())
}

/// A whole address that was encoded (`https%3A%2F%2F…`) is decoded; one that was not, is kept as it
/// is, with the encodings that are its own.
fn decoded(text: &str) -> String {
    let encoded = !text.contains("://") && text.to_ascii_lowercase().contains("%3a");
    if !encoded {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                bytes = ahead;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_to_forget() {
        let url = |text: &str| Some(Purge::Address(text.to_owned()));
        for (query, expected) in [
            ("all", Some(Purge::All)),
            ("host=a.test:8443", Some(Purge::Host("a.test:8443".to_owned()))),
            ("url=https://a.test/x?y=1&z", url("https://a.test/x?y=1&z")),
            ("url=https%3A%2F%2Fa.test%2Fx%3Fy", url("https://a.test/x?y")),
            ("url=https://a.test/%41", url("https://a.test/%41")),
            ("url=https://a.test/x?to=https%3A%2F%2Fb", url("https://a.test/x?to=https%3A%2F%2Fb")),
            ("generation=old", Some(Purge::Generation("old".to_owned()))),
            ("generation=", None),
            ("url=HTTPS://A.test/x", url("HTTPS://A.test/x")),
            ("url=https://a.test/x#part", url("https://a.test/x")),
            ("url=https://a.test", url("https://a.test")),
            ("url=", None),
            ("url=nonsense", None),
            ("url=/ui/console/", None),
            ("url=a.test/x", None),
            ("url=ftp://a.test/x", None),
            ("url=https:///x", None),
            ("url=https://u@a.test/x", None),
            ("host=", None),
            ("host=https://a.test/", None),
            ("host=a.test/x", None),
            ("", None),
            ("everything", None),
        ] {
            assert_eq!(read(query), expected, "{query}");
        }
    }
}
