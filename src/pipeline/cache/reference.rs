//! What an answer's references mean (RFC 3986 §5.2), as far as a cache needs it.

use http::Uri;
use http::uri::PathAndQuery;

use super::store;
use crate::pipeline::path;

/// The address that a reference in an answer means, if it is of the same origin (RFC 9111 §4.4).
pub(super) fn resolved(address: &str, reference: &str) -> Option<String> {
    let (origin, base) = store::split(address);
    let reference = reference.split('#').next().unwrap_or_default().trim();
    if reference.is_empty() {
        return Some(address.to_owned());
    }
    let uri: Option<Uri> = reference.parse().ok();
    let whole = uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?, uri)));
    let path = match whole {
        None => path::resolve(base, reference),
        Some((scheme, host, uri)) => {
            let same = origin.eq_ignore_ascii_case(&format!("{scheme}://{host}"));
            let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
            path::resolve(base, path).filter(|_| same)
        }
    };
    path.map(|path| format!("{origin}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_the_same_origin_are_resolved() {
        let base = "https://a.test:8443/x/y?z=1";
        for (reference, expected) in [
            ("/b?c", Some("https://a.test:8443/b?c")),
            ("b", Some("https://a.test:8443/x/b")),
            ("https://A.test:8443/b#f", Some("https://a.test:8443/b")),
            ("https://a.test/b", None),
            ("http://a.test:8443/b", None),
            ("//b.test/c", None),
            ("../b", Some("https://a.test:8443/b")),
            ("./b?c", Some("https://a.test:8443/x/b?c")),
            ("/b/../c", Some("https://a.test:8443/c")),
            ("https://a.test:8443/b/./c", Some("https://a.test:8443/b/c")),
            ("https://a.test:8443", Some("https://a.test:8443/")),
            ("?c", Some("https://a.test:8443/x/y?c")),
            ("", Some(base)),
            ("#f", Some(base)),
        ] {
            assert_eq!(resolved(base, reference).as_deref(), expected, "{reference}");
        }
        assert_eq!(resolved("https://a.test", "b").as_deref(), Some("https://a.test/b"));
    }
}
