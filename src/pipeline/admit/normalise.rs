//! Decides whether a request's target and host are sound, and which authority it asks for
//! (RFC 9112 §3.2, RFC 9113 §8.3.1). Nothing is rewritten: what passes goes on as it came.
//!
//! Percent-encoding is left alone here: `path::decode` decides about it. A fragment
//! cannot be seen, since `http::Uri` drops it while parsing; it never leaves either.

use http::uri::Scheme;
use http::{Method, Uri, Version};

use crate::error::{Error, Kind};
use crate::message::Fields;
use crate::message::name::HOST;
use crate::pipeline::authority::Authority;

/// Checks the request line (or pseudo-header fields) and `Host`, and returns the authority that the
/// client asks for.
///
/// `extended` is the `:protocol` of an extended CONNECT (RFC 8441). The error is `BadRequest` for
/// what is malformed, `Unsupported` for CONNECT in any form but WebSocket's.
pub fn target<'a>(
    method: &Method,
    version: Version,
    uri: &'a Uri,
    headers: &'a Fields,
    extended: Option<&str>,
) -> Result<Authority<'a>, Error> {
    if *method == Method::CONNECT {
        let websocket = extended.is_some_and(|name| name.eq_ignore_ascii_case("websocket"));
        if version != Version::HTTP_2 || !websocket {
            return Err(Kind::Unsupported.into());
        }
    }
    check_path(method, uri)?;
    check_scheme(uri)?;
    authority(version, uri, headers)
}

/// The one authority that request target and `Host` agree on.
fn authority<'a>(
    version: Version,
    uri: &'a Uri,
    headers: &'a Fields,
) -> Result<Authority<'a>, Error> {
    let host = single_host(headers)?;
    // RFC 9112 §3.2: an HTTP/1.1 request without Host is refused even when its target is absolute.
    if host.is_none() && version == Version::HTTP_11 {
        return Err(Kind::BadRequest.into());
    }
    let Some(named) = uri.authority() else {
        // HTTP/1.0 without Host lands here too: there is no default host to fall back to.
        return host.ok_or_else(|| Kind::BadRequest.into());
    };
    let named = Authority::parse(named.as_str()).ok_or(Kind::BadRequest)?;
    match host {
        // RFC 9112 §3.2.2 would let the target win in silence; two peers that read the message
        // differently are how requests are smuggled past host rules.
        Some(host) if !host.same_as(&named, default_port(uri.scheme())) => {
            Err(Kind::BadRequest.into())
        }
        _ => Ok(named),
    }
}

fn single_host(headers: &Fields) -> Result<Option<Authority<'_>>, Error> {
    let mut fields = headers.get_all(HOST).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        return Err(Kind::BadRequest.into());
    }
    let authority = field.to_str().ok().and_then(Authority::parse).ok_or(Kind::BadRequest)?;
    Ok(Some(authority))
}

/// The port that a scheme means when none is named (RFC 9110 §4.2).
fn default_port(scheme: Option<&Scheme>) -> Option<u16> {
    match scheme {
        Some(scheme) if *scheme == Scheme::HTTPS => Some(443),
        Some(scheme) if *scheme == Scheme::HTTP => Some(80),
        _ => None,
    }
}

fn check_scheme(uri: &Uri) -> Result<(), Error> {
    match uri.scheme() {
        Some(scheme) if default_port(Some(scheme)).is_none() => Err(Kind::BadRequest.into()),
        _ => Ok(()),
    }
}

fn check_path(method: &Method, uri: &Uri) -> Result<(), Error> {
    let path = uri.path();
    // RFC 9112 §3.2.4: the asterisk asks about the server as a whole.
    let whole_server = path == "*" && *method == Method::OPTIONS && uri.query().is_none();
    if !whole_server && !path.starts_with('/') {
        return Err(Kind::BadRequest.into());
    }
    let query = uri.query().unwrap_or_default();
    // Without an early end, so that it is looked at many bytes at a time.
    let odd = |text: &str| text.bytes().fold(false, |any, byte| any | !passes(byte));
    if odd(path) || odd(query) || path.contains('\\') {
        return Err(Kind::BadRequest.into());
    }
    Ok(())
}

/// What RFC 3986 §2 never lets into a path or query: white space, control characters, the fragment's
/// mark and raw octets above ASCII. The quotes and braces that it forbids as well are left in peace:
/// real clients send them, and nobody reads them as anything else.
const fn passes(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn ask(
        method: &str,
        version: Version,
        uri: &str,
        hosts: &[&str],
        extended: Option<&str>,
    ) -> Result<String, Kind> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let uri: Uri = uri.parse().unwrap();
        let mut headers = Fields::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_str(host).unwrap());
        }
        target(&method, version, &uri, &headers, extended)
            .map(|authority| authority.text.to_owned())
            .map_err(|error| error.kind())
    }

    const V10: Version = Version::HTTP_10;
    const V11: Version = Version::HTTP_11;
    const V2: Version = Version::HTTP_2;

    #[test]
    fn sound_targets_name_their_authority() {
        for (method, version, uri, hosts, expected) in [
            ("GET", V11, "/", &["a.example"][..], "a.example"),
            ("GET", V11, "/{x|}\"?y=%zz", &["a.example:8443"], "a.example:8443"),
            ("GET", V10, "/", &["a.example"], "a.example"),
            ("GET", V11, "http://a.example/x", &["A.example:80"], "a.example"),
            ("GET", V10, "http://a.example/x", &[], "a.example"),
            ("OPTIONS", V11, "*", &["a.example"], "a.example"),
            ("GET", V2, "https://a.example/x", &[], "a.example"),
            ("GET", V2, "https://a.example:443/x", &["a.example"], "a.example:443"),
            ("GET", V2, "/x", &["a.example"], "a.example"),
            ("GET", V2, "https://[::1]:8443/", &[], "[::1]:8443"),
        ] {
            assert_eq!(
                ask(method, version, uri, hosts, None).as_deref(),
                Ok(expected),
                "{method} {uri} {hosts:?}"
            );
        }
    }

    #[test]
    fn unsound_targets_are_bad_requests() {
        for (method, version, uri, hosts) in [
            ("GET", V11, "/", &[][..]),
            ("GET", V10, "/", &[]),
            ("GET", V2, "/", &[]),
            ("GET", V11, "http://a.example/", &[]),
            ("GET", V11, "/", &["a.example", "a.example"]),
            ("GET", V11, "/", &["a.example, b.example"]),
            ("GET", V11, "/", &["a.example:evil"]),
            ("GET", V11, "/", &["user@a.example"]),
            ("GET", V11, "/", &[""]),
            ("GET", V11, "http://a.example/", &["b.example"]),
            ("GET", V11, "http://a.example/", &["a.example:443"]),
            ("GET", V11, "http://user@a.example/", &["a.example"]),
            ("GET", V11, "ftp://a.example/", &["a.example"]),
            ("GET", V2, "https://a.example/", &["b.example"]),
            ("GET", V2, "https://a.example/", &["a.example", "a.example"]),
            ("GET", V11, "*", &["a.example"]),
            ("GET", V11, "/a\\b", &["a.example"]),
            ("GET", V11, "a.example", &["a.example"]),
        ] {
            assert_eq!(
                ask(method, version, uri, hosts, None),
                Err(Kind::BadRequest),
                "{method} {uri} {hosts:?}"
            );
        }
    }

    #[test]
    fn connect_is_for_websocket_on_http2_alone() {
        assert_eq!(
            ask("CONNECT", V11, "a.example:443", &["a.example:443"], None),
            Err(Kind::Unsupported)
        );
        assert_eq!(ask("CONNECT", V2, "a.example:443", &[], None), Err(Kind::Unsupported));
        assert_eq!(
            ask("CONNECT", V2, "https://a.example/x", &[], Some("connect-udp")),
            Err(Kind::Unsupported)
        );
        assert_eq!(
            ask("CONNECT", V2, "https://a.example/x", &[], Some("websocket")).as_deref(),
            Ok("a.example")
        );
    }

    proptest! {
        #[test]
        fn any_target_is_judged_without_panic(uri in "\\PC{0,40}|/[!-~]{0,30}", host in "\\PC{0,20}") {
            if let (Ok(uri), Ok(host)) = (uri.parse::<Uri>(), HeaderValue::from_str(&host)) {
                let headers: Fields = [(HOST, host)].into_iter().collect();
                for version in [V10, V11, V2] {
                    if target(&Method::GET, version, &uri, &headers, None).is_ok() {
                        prop_assert!(uri.path().starts_with('/'));
                        prop_assert!(!uri.path().contains('\\'));
                    }
                }
            }
        }
    }
}
