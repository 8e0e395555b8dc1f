//! Decides how paths are taken apart and put together: what lies below a prefix, what path a
//! rewritten request leaves with, and what a document's references mean. Shared by the stages, so that a route and its rewrite agree on
//! what a prefix is. Routes match the path as `decode` sees it; what leaves is made of what was sent.

pub mod decode;

use http::uri::PathAndQuery;

use self::decode::Sight;
use super::plan::{ForwardPlan, PathPattern};
use crate::error::{Error, Kind};

/// What of `path` lies below `prefix`, by whole segments: `/x` of `/ui/x` below `/ui`, nothing of
/// `/ui` itself, `None` for `/uix`. A slash at the prefix's end means nothing.
pub fn rest_after<'a>(prefix: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// What of the path as it was sent lies below a prefix that its decoded form has matched: both have
/// the same segments ([`decode`]), so they are counted off.
pub fn sent_after<'a>(prefix: &str, sent: &'a str) -> &'a str {
    let segments = prefix.trim_end_matches('/').matches('/').count();
    let below = sent.match_indices('/').nth(segments);
    below.and_then(|(at, _)| sent.get(at..)).unwrap_or_default()
}

/// The path that a request leaves with; `None`: its own. The replacement stands in the place of the
/// matched prefix, or of the whole path for other patterns; what is below a prefix stays encoded as
/// it was sent.
pub fn rewrite_path(
    plan: &ForwardPlan,
    pattern: &PathPattern,
    asked: &PathAndQuery,
) -> Result<Option<PathAndQuery>, Error> {
    let Some(replacement) = plan.rewrite_path.as_deref() else { return Ok(None) };
    let rest = match pattern {
        PathPattern::Prefix(prefix) => sent_after(prefix, asked.path()),
        PathPattern::Any | PathPattern::Exact(_) | PathPattern::Regex(_) => "",
    };
    let mut path = joined(replacement, rest);
    append_query(&mut path, [asked.query(), None]);
    // Falling back to the client's own path would lead past what the rewrite is there for.
    PathAndQuery::try_from(path).map(Some).map_err(|error| Error::with(Kind::Internal, error))
}

/// `base` and below it `rest`, which is empty or begins with a slash, with one slash between them.
pub fn joined(base: &str, rest: &str) -> String {
    let kept = if rest.is_empty() { base } else { base.trim_end_matches('/') };
    let mut path = String::with_capacity(kept.len() + rest.len() + 1);
    let first = if kept.is_empty() { rest } else { kept };
    if !first.starts_with('/') {
        path.push('/');
    }
    path.push_str(kept);
    path.push_str(rest);
    path
}

/// Appends the queries that are there.
pub fn append_query(target: &mut String, queries: [Option<&str>; 2]) {
    let mut mark = '?';
    for query in queries.into_iter().flatten() {
        target.push(mark);
        target.push_str(query);
        mark = '&';
    }
}

/// The absolute path, with its query, that the reference `to` means in a document at `base` (RFC 3986
/// §5.2), as a request for it is seen; `None` for another host, for `data:` and the like, for the
/// document itself, and for what no request may ask.
pub fn resolve(base: &str, to: &str) -> Option<String> {
    let to = to.trim().split('#').next().unwrap_or_default();
    let scheme = to.split(['/', '?']).next().is_some_and(|start| start.contains(':'));
    if to.is_empty() || to.starts_with("//") || scheme {
        return None;
    }
    let (path, query) = to.split_once('?').map_or((to, None), |(path, query)| (path, Some(query)));
    let base = base.split('?').next().unwrap_or_default();
    let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut target = match path {
        "" => base.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("{folder}/{path}"),
    };
    if let Sight::Detour(path) = decode::sight(&target).ok()? {
        target = path;
    }
    append_query(&mut target, [query, None]);
    Some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(path: &str) -> PathPattern {
        PathPattern::Prefix(path.into())
    }

    fn exact(path: &str) -> PathPattern {
        PathPattern::Exact(path.into())
    }

    fn forward(rewrite: Option<&str>) -> ForwardPlan {
        ForwardPlan { rewrite_path: rewrite.map(Into::into), ..ForwardPlan::to("c".into()) }
    }

    #[test]
    fn rewriting_replaces_the_prefix_or_the_whole_path() {
        for (rewrite, pattern, asked, expected) in [
            ("/b", prefix("/a"), "/a/x?y=1", "/b/x?y=1"),
            ("/b", prefix("/a"), "/a", "/b"),
            ("/b/", prefix("/a/"), "/a/x", "/b/x"),
            ("/", prefix("/a"), "/a?y", "/?y"),
            ("/", prefix("/a"), "/a/x", "/x"),
            ("", prefix("/a"), "/a/x", "/x"),
            ("b", prefix("/a"), "/a", "/b"),
            ("/b", prefix("/"), "/x", "/b/x"),
            ("/b", prefix("/a"), "/%61/x", "/b/x"),
            ("/b", prefix("/a/c"), "/%61/%63/%78?y=%61", "/b/%78?y=%61"),
            ("/b", prefix("/a c"), "/a%20c", "/b"),
            ("/", prefix("/é"), "/%C3%A9/%C3%A9/", "/%C3%A9/"),
            ("/b", exact("/a"), "/a?y=1", "/b?y=1"),
            ("/b", PathPattern::Any, "/a/x", "/b"),
        ] {
            let path =
                rewrite_path(&forward(Some(rewrite)), &pattern, &asked.parse().unwrap()).unwrap();
            assert_eq!(path.unwrap().as_str(), expected, "{rewrite} {asked}");
        }
        assert_eq!(
            rewrite_path(&forward(None), &prefix("/a"), &"/a".parse().unwrap()).unwrap(),
            None
        );
    }

    #[test]
    fn paths_never_lead_above_the_root_or_elsewhere() {
        for (base, to, expected) in [
            ("/a/b", "c", Some("/a/c")),
            ("/a/", "c", Some("/a/c")),
            ("/a/b", "/c?d", Some("/c?d")),
            ("/a/b", "../../../c", Some("/c")),
            ("/a/b", "./c/./d", Some("/a/c/d")),
            ("/a/b", "c?x=:", Some("/a/c?x=:")),
            ("/a/b", "//c/d", None),
            ("/a/b", "https://c/d", None),
            ("/a/b", "javascript:x", None),
            ("/a/b", "?c", Some("/a/b?c")),
            ("/a/b/c", "..", Some("/a/")),
            ("/a/b", "/c//d", Some("/c/d")),
            ("/a/b", "c%2fd", None),
            ("/a/b", "#c", None),
            ("/a/b", "", None),
        ] {
            assert_eq!(resolve(base, to).as_deref(), expected, "{base} {to}");
        }
    }
}
