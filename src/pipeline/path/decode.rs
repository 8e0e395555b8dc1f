//! Decides what path routes and guards see: the one that a server behind may see, and no other.
//!
//! ZITADEL's gRPC and gRPC-Web handlers dispatch on the percent-decoded path, others on the raw one
//! (`net/http`, grpc-go, connect-go). A guard that looks at what was sent would be a hole, so:
//!
//! - the path is decoded exactly once (RFC 3986 §2.1);
//! - refused is what does not decode, and what decodes to a control character, to a slash or a
//!   backslash (the segments would no longer be the sender's), or to something else than UTF-8;
//! - empty segments (`//`) and dot segments (`.`, `..`, also as `%2e`) are never interpreted in
//!   silence: there is a [`Sight::Detour`] to the path that they mean (RFC 3986 §5.2.4).
//!
//! So raw and decoded path have the same segments at the same places. What goes upstream stays what
//! was sent; and an ordinary path is borrowed.

use std::borrow::Cow;

use crate::error::{Error, Kind};

/// A path as it is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight<'a> {
    /// Decoded, without empty or dot segments.
    Clear(Cow<'a, str>),
    /// It has empty or dot segments; this is the path without them, encoded as it was sent. It
    /// begins with one slash and is never above the root.
    Detour(String),
}

impl Sight<'_> {
    /// The path that is meant.
    pub fn path(&self) -> &str {
        match self {
            Self::Clear(path) => path,
            Self::Detour(path) => path,
        }
    }
}

/// Looks at a request's path, without its query.
///
/// # Errors
/// `BadRequest` for a path that is refused.
pub fn sight(path: &str) -> Result<Sight<'_>, Error> {
    if is_ordinary(path) {
        return Ok(Sight::Clear(Cow::Borrowed(path)));
    }
    let seen = decoded(path)?;
    if seen.contains("//") || seen.split('/').any(|segment| matches!(segment, "." | "..")) {
        return resolved(path).map(Sight::Detour);
    }
    Ok(Sight::Clear(seen))
}

/// Whether one look at each byte shows that there is nothing to do, as for nearly every request.
fn is_ordinary(path: &str) -> bool {
    // Without an early end, so that it is looked at many bytes at a time.
    let odd =
        path.bytes().fold(false, |any, byte| any | !(b' '..=b'~').contains(&byte) | (byte == b'%'));
    // Perhaps an empty or a dot segment.
    let pairs = path.bytes().zip(path.bytes().skip(1));
    let dots = |(one, next): (u8, u8)| (one == b'/') & ((next == b'/') | (next == b'.'));
    path.starts_with('/') && !odd && !pairs.fold(false, |any, pair| any | dots(pair))
}

/// A path of the configuration, encoded or not, as requests are seen; `None` for one that no request
/// can have.
pub fn pattern(path: &str) -> Option<Box<str>> {
    match sight(path) {
        Ok(Sight::Clear(seen)) => Some(seen.into()),
        Ok(Sight::Detour(_)) | Err(_) => None,
    }
}

/// The other way: a decoded path as it is written in a configuration.
pub fn encoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'%' | b'?' | b'#' | b'\\') {
            text.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            let digit =
                |value: u8| DIGITS.get(usize::from(value & 15)).copied().map_or('0', char::from);
            text.extend(['%', digit(byte >> 4), digit(byte)]);
        }
    }
    text
}

fn decoded(path: &str) -> Result<Cow<'_, str>, Error> {
    let seen = if path.contains('%') { Cow::Owned(unescaped(path)?) } else { Cow::Borrowed(path) };
    if seen.contains(char::is_control) {
        return Err(refused("the path has a control character"));
    }
    Ok(seen)
}

fn unescaped(path: &str) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut sent = path.bytes();
    while let Some(byte) = sent.next() {
        bytes.push(match byte {
            b'%' => match (sent.next().and_then(digit), sent.next().and_then(digit)) {
                (Some(high), Some(low)) => match high << 4 | low {
                    b'/' | b'\\' => return Err(refused("the path has an encoded slash")),
                    byte => byte,
                },
                _ => return Err(refused("the path has a faulty percent-encoding")),
            },
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| refused("the path is not UTF-8"))
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn refused(why: &'static str) -> Error {
    Error::with(Kind::BadRequest, why)
}

fn resolved(path: &str) -> Result<String, Error> {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_open = true;
    for segment in path.split('/') {
        let seen = decoded(segment)?;
        ends_open = matches!(&*seen, "" | "." | "..");
        if seen == ".." {
            kept.pop();
        } else if !ends_open {
            kept.push(segment);
        }
    }
    let mut text = String::with_capacity(path.len() + 1);
    for segment in &kept {
        text.push('/');
        text.push_str(segment);
    }
    if ends_open || kept.is_empty() {
        text.push('/');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(path: &str) -> Option<Kind> {
        sight(path).err().map(|error| error.kind())
    }

    #[test]
    fn an_ordinary_path_is_borrowed_and_an_encoded_one_decoded_once() {
        for path in [
            "/",
            "*",
            "/ui/console/",
            "/zitadel.user.v2.UserService/GetUserByID",
            "/a..b/...",
            "/.well-known/x",
            "/+;=@",
        ] {
            assert!(
                matches!(sight(path), Ok(Sight::Clear(Cow::Borrowed(seen))) if seen == path),
                "{path}"
            );
        }
        for (path, seen) in [
            (
                "/zitadel%2Esystem.v1.SystemService/Healthz",
                "/zitadel.system.v1.SystemService/Healthz",
            ),
            ("/%64ebug/%6detrics", "/debug/metrics"),
            ("/%2564ebug", "/%64ebug"),
            ("/%252e%252e/x", "/%2e%2e/x"),
            ("/a%20b%3Fc%23d%25", "/a b?c#d%"),
            ("/caf%C3%A9", "/café"),
        ] {
            assert_eq!(sight(path).unwrap(), Sight::Clear(seen.into()), "{path}");
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for path in [
            "/%",
            "/%2",
            "/%zz",
            "/%2g",
            "/%%32e",
            "/a%",
            "/%+1",
            "/%00",
            "/debug%0a",
            "/%7f",
            "/%1B",
            "/%C2%85",
            "/debug%2Fmetrics",
            "/debug%2fmetrics",
            "/debug%5Cmetrics",
            "/..%2fdebug",
            "/%5c..%5c",
            "/%ff",
            "/%c0%af",
            "/%c0%ae%c0%ae/",
            "/%ed%a0%80",
            "/%e2%82",
            "/caf%E9",
        ] {
            assert_eq!(kind(path), Some(Kind::BadRequest), "{path}");
        }
    }

    #[test]
    fn empty_and_dot_segments_are_a_detour_to_what_they_mean() {
        for (path, clean) in [
            ("//", "/"),
            ("../x", "/x"),
            ("/.", "/"),
            ("/..", "/"),
            ("/../..//x", "/x"),
            ("//evil.example/x", "/evil.example/x"),
            ("/a//b", "/a/b"),
            ("/a/./b/", "/a/b/"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/a/b//", "/a/b/"),
            ("/ui/console/%2e%2e/%2E./debug/ready", "/debug/ready"),
            ("/a/.%2e/%64ebug%20x", "/%64ebug%20x"),
            ("/%2e/%252e", "/%252e"),
        ] {
            assert_eq!(sight(path).unwrap(), Sight::Detour(clean.to_owned()), "{path}");
        }
    }

    #[test]
    fn a_pattern_is_held_decoded_and_written_encoded() {
        for (written, held, again) in [
            ("/ui/", "/ui/", "/ui/"),
            ("/a%20b/%63", "/a b/c", "/a%20b/c"),
            ("/caf%c3%a9%3F%23%25", "/café?#%", "/caf%C3%A9%3F%23%25"),
        ] {
            assert_eq!(pattern(written).as_deref(), Some(held));
            assert_eq!(encoded(held), again);
            assert_eq!(pattern(again).as_deref(), Some(held));
        }
        for never in ["//", "/a/../b", "/a%2fb", "/%", "/%2e/a"] {
            assert_eq!(pattern(never), None, "{never}");
        }
    }

    proptest! {
        #[test]
        fn every_detour_leads_to_a_clear_path_on_the_same_host(path in "(/|//|\\.|%2e|%2E|%61|a|%2561|\\.\\.){0,14}") {
            match sight(&format!("/{path}")).unwrap() {
                Sight::Clear(seen) => prop_assert!(!seen.contains("//")),
                Sight::Detour(clean) => {
                    prop_assert!(clean.starts_with('/') && !clean.starts_with("//"), "{}", clean);
                    prop_assert!(matches!(sight(&clean), Ok(Sight::Clear(_))), "{}", clean);
                }
            }
        }

        #[test]
        fn segments_stay_where_they_are(path in "/[!-~]{0,30}") {
            if let Ok(Sight::Clear(seen)) = sight(&path) {
                prop_assert_eq!(seen.matches('/').count(), path.matches('/').count());
                prop_assert!(!seen.contains(char::is_control));
            }
        }

        #[test]
        fn what_is_encoded_decodes_to_itself(path in "(/[a-z %?é]{1,6}){1,4}") {
            let held = pattern(&encoded(&path));
            prop_assert_eq!(held.as_deref(), Some(&*path));
        }
    }
}
