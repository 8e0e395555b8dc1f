//! Decides where a redirect leads. The query always stays.

use std::fmt::Write as _;

use http::{HeaderValue, Uri};

use crate::pipeline::authority::Authority;
use crate::pipeline::path::{append_query, joined, sent_after};
use crate::pipeline::plan::{PathPattern, RedirectPlan};

/// `Location` of a redirect (RFC 9110 §10.2.2), always absolute: a relative one that begins with
/// what the client sent could lead to another host (`//evil.example`).
pub fn redirect_location(
    plan: &RedirectPlan,
    matcher: &PathPattern,
    scheme: &str,
    authority: &str,
    uri: &Uri,
) -> HeaderValue {
    let scheme = plan.to.scheme_str().unwrap_or(scheme);
    let authority = plan.to.authority().map_or(authority, |authority| authority.as_str());
    let mut location = format!("{scheme}://{authority}");
    if plan.keep_path {
        location.push_str(&joined(plan.to.path(), remainder(matcher, uri.path())));
        append_query(&mut location, [plan.to.query(), uri.query()]);
    } else {
        location.push_str(plan.to.path());
        append_query(&mut location, [plan.to.query(), None]);
    }
    into_value(location)
}

/// `Location` of a listener that sends everything to https (308): the same host, path and query, and
/// `port` unless it is 443.
pub fn https_location(authority: &Authority<'_>, port: u16, uri: &Uri) -> HeaderValue {
    let mut location = format!("https://{}", authority.host);
    if port != 443 {
        // Writing to a String cannot fail.
        let _ = write!(location, ":{port}");
    }
    // `OPTIONS *` has no path to lead to.
    location.push_str(if uri.path() == "*" {
        "/"
    } else {
        uri.path_and_query().map_or("/", |path| path.as_str())
    });
    into_value(location)
}

/// `Location` of a path with empty or dot segments (308): the path that it means, on the same host
/// and scheme because it names none. `clean` begins with exactly one slash.
pub fn clean_location(clean: String, uri: &Uri) -> HeaderValue {
    let mut location = clean;
    append_query(&mut location, [uri.query(), None]);
    into_value(location)
}

/// What of the path, as it was sent, the pattern has not consumed.
fn remainder<'a>(pattern: &PathPattern, path: &'a str) -> &'a str {
    match pattern {
        PathPattern::Prefix(prefix) => sent_after(prefix, path),
        PathPattern::Exact(_) => "",
        PathPattern::Any | PathPattern::Regex(_) => path,
    }
}

/// Nothing that has been a `Uri` fails to be a field value; the root is still a place to go.
fn into_value(location: String) -> HeaderValue {
    HeaderValue::try_from(location).unwrap_or_else(|_| HeaderValue::from_static("/"))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    fn prefix(path: &str) -> PathPattern {
        PathPattern::Prefix(path.into())
    }

    fn exact(path: &str) -> PathPattern {
        PathPattern::Exact(path.into())
    }

    #[test]
    fn redirects_are_absolute_and_keep_what_they_are_told_to() {
        let any_regex = PathPattern::Regex(Regex::new(".*").unwrap());
        for (to, keep_path, pattern, asked, expected) in [
            ("/ui/console", false, exact("/"), "/?x=1", "https://a.example:8443/ui/console"),
            ("/ui/console?a=b", false, exact("/"), "/", "https://a.example:8443/ui/console?a=b"),
            ("https://b.example", true, PathPattern::Any, "/x?y=1", "https://b.example/x?y=1"),
            ("https://b.example/", true, any_regex, "/x", "https://b.example/x"),
            (
                "https://b.example/new?a=b",
                true,
                prefix("/old"),
                "/old/x?y=1",
                "https://b.example/new/x?a=b&y=1",
            ),
            ("/new/", true, prefix("/old/"), "/old", "https://a.example:8443/new/"),
            ("/new/", true, prefix("/old/"), "/old/", "https://a.example:8443/new/"),
            ("/new", true, exact("/old"), "/old?y=1", "https://a.example:8443/new?y=1"),
            (
                "/",
                true,
                prefix("/old"),
                "/old//evil.example",
                "https://a.example:8443//evil.example",
            ),
            ("/new", true, prefix("/old"), "/%6fld/%78", "https://a.example:8443/new/%78"),
            ("http://b.example/x", false, PathPattern::Any, "/y", "http://b.example/x"),
        ] {
            let plan =
                RedirectPlan { status: StatusCode::FOUND, to: to.parse().unwrap(), keep_path };
            let location = redirect_location(
                &plan,
                &pattern,
                "https",
                "a.example:8443",
                &asked.parse().unwrap(),
            );
            assert_eq!(location, expected, "{to} {asked}");
        }
    }

    #[test]
    fn https_is_asked_for_with_the_right_port() {
        for (authority, port, uri, expected) in [
            ("a.example", 443, "/x?y=1", "https://a.example/x?y=1"),
            ("a.example:80", 443, "http://a.example/x", "https://a.example/x"),
            ("a.example:8080", 8443, "/", "https://a.example:8443/"),
            ("[::1]:8080", 443, "/", "https://[::1]/"),
            ("[::1]", 8443, "/", "https://[::1]:8443/"),
            ("a.example", 443, "*", "https://a.example/"),
        ] {
            let authority = Authority::parse(authority).unwrap();
            assert_eq!(
                https_location(&authority, port, &uri.parse().unwrap()),
                expected,
                "{authority:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_redirect_never_leaves_its_host(asked in "/[!-~]{0,30}", to in "/[a-z/]{0,8}", keep_path in any::<bool>()) {
            if let (Ok(asked), Ok(to)) = (asked.parse::<Uri>(), to.parse()) {
                let plan = RedirectPlan { status: StatusCode::FOUND, to, keep_path };
                for pattern in [PathPattern::Any, prefix("/"), prefix("/a"), exact("/a")] {
                    let location = redirect_location(&plan, &pattern, "https", "a.example", &asked);
                    prop_assert!(location.to_str().unwrap().starts_with("https://a.example/"));
                }
            }
        }
    }
}
