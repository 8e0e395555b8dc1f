//! What an answer's references mean (RFC 3986 §5.2), as far as a cache needs it.

use http::Uri;

/// The address that a reference in an answer means, if it is of the same origin (RFC 9111 §4.4).
pub(super) fn resolved(address: &str, reference: &str) -> Option<String> {
    let authority = address.find("://")? + 3;
    let path = address.get(authority..)?.find('/').map_or(address.len(), |at| authority + at);
    let (origin, rest) = address.split_at(path);
    let reference = reference.split('#').next().unwrap_or_default();
    if let Ok(uri) = reference.parse::<Uri>()
        && let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.authority())
    {
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let same = origin.eq_ignore_ascii_case(&format!("{scheme}://{host}"));
        return same.then(|| format!("{origin}{path}"));
    }
    if reference.starts_with("//") {
        return None;
    }
    if reference.starts_with('/') {
        return Some(format!("{origin}{reference}"));
    }
    let rest = rest.split('?').next().unwrap_or_default();
    let folder = rest.rfind('/').map_or("/", |at| rest.get(..=at).unwrap_or("/"));
    Some(format!("{origin}{folder}{reference}"))
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
        ] {
            assert_eq!(resolved(base, reference).as_deref(), expected, "{reference}");
        }
        assert_eq!(resolved("https://a.test", "b").as_deref(), Some("https://a.test/b"));
    }
}
