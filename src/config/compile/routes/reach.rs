//! Routes that can never match, because an earlier one takes all their requests.
//!
//! Only what is certain is reported: an expression covers nothing but itself, and several earlier
//! routes that together cover a later one are not seen.

use crate::config::fault::quoted;
use crate::config::scope::Scope;
use crate::pipeline::plan::{
    GrpcPattern, HeaderPattern, HostPattern, Matcher, PathPattern, RoutePlan,
};

/// Reports each route that an earlier one covers.
pub(super) fn check(routes: &[(RoutePlan, Scope<'_>)]) {
    for (i, (later, scope)) in routes.iter().enumerate() {
        // A faulty match holds more than was meant.
        let sound = |scope: &Scope<'_>| !scope.key("match").faulty();
        if !sound(scope) {
            continue;
        }
        let mut before = routes.iter().take(i).filter(|(_, scope)| sound(scope));
        if let Some((earlier, at)) = before.find(|(e, _)| covers(&e.matcher, &later.matcher)) {
            let (name, path) = (quoted(&earlier.name), at.path());
            let expected = format!("it before {path} {name}, which takes all its requests");
            scope.fault("a route that can never match", expected);
        }
    }
}

/// Whether every request that `b` matches is matched by `a`.
fn covers(a: &Matcher, b: &Matcher) -> bool {
    covers_list(&a.listeners, &b.listeners, |a, b| a == b)
        && covers_list(&a.hosts, &b.hosts, covers_host)
        && covers_list(&a.clients, &b.clients, |a, b| a.contains(b))
        && covers_list(&a.methods, &b.methods, |a, b| a == b)
        && covers_path(&a.path, b)
        && a.headers.iter().all(|a| b.headers.iter().any(|b| covers_header(a, b)))
        && a.grpc.as_ref().is_none_or(|a| b.grpc.as_ref().is_some_and(|b| covers_grpc(a, b)))
}

/// An empty list matches everything.
fn covers_list<T>(a: &[T], b: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    a.is_empty() || (!b.is_empty() && b.iter().all(|b| a.iter().any(|a| covers(a, b))))
}

fn covers_host(a: &HostPattern, b: &HostPattern) -> bool {
    match (a, b) {
        (HostPattern::Exact(a), HostPattern::Exact(b)) => a == b,
        (HostPattern::Suffix(a), HostPattern::Exact(b) | HostPattern::Suffix(b)) => {
            b.ends_with(&**a)
        }
        (HostPattern::Exact(_), HostPattern::Suffix(_)) => false,
    }
}

fn covers_path(a: &PathPattern, b: &Matcher) -> bool {
    let below = |prefix: &str, path: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match (a, &b.path) {
        (PathPattern::Any, _) => true,
        (PathPattern::Exact(a), PathPattern::Exact(b)) => a == b,
        (PathPattern::Prefix(a), PathPattern::Exact(b) | PathPattern::Prefix(b)) => below(a, b),
        (PathPattern::Regex(a), PathPattern::Regex(b)) => a.as_str() == b.as_str(),
        (PathPattern::Regex(a), PathPattern::Exact(b)) => a.is_match(b),
        _ => false,
    }
}

fn covers_header(a: &HeaderPattern, b: &HeaderPattern) -> bool {
    a.name == b.name && (a.value.is_none() || a.value == b.value)
}

fn covers_grpc(a: &GrpcPattern, b: &GrpcPattern) -> bool {
    a.service == b.service && (a.method.is_none() || a.method == b.method)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn hosts(text: &str) -> Matcher {
        Matcher { hosts: parse::host(text).into_iter().collect(), ..Matcher::default() }
    }

    fn path(path: PathPattern) -> Matcher {
        Matcher { path, ..Matcher::default() }
    }

    #[test]
    fn a_wildcard_covers_what_is_below_it_alone() {
        assert!(covers(&hosts("*.a.example"), &hosts("x.a.example")));
        assert!(covers(&hosts("*.a.example"), &hosts("*.b.a.example")));
        assert!(!covers(&hosts("*.a.example"), &hosts("a.example")));
        assert!(!covers(&hosts("x.a.example"), &hosts("*.a.example")));
        assert!(!covers(&hosts("x.a.example"), &Matcher::default()));
    }

    #[test]
    fn a_prefix_covers_whole_segments() {
        let ui = path(PathPattern::Prefix("/ui".into()));
        assert!(covers(&ui, &path(PathPattern::Exact("/ui/x".into()))));
        assert!(covers(&ui, &path(PathPattern::Exact("/ui".into()))));
        assert!(!covers(&ui, &path(PathPattern::Exact("/uix".into()))));
        assert!(!covers(&ui, &path(PathPattern::Any)));
    }

    #[test]
    fn a_service_covers_its_methods() {
        let grpc = |text| Matcher { grpc: parse::grpc(text), ..Matcher::default() };
        assert!(covers(&grpc("a.B"), &grpc("a.B/C")));
        assert!(!covers(&grpc("a.B/C"), &grpc("a.B")));
        assert!(!covers(&grpc("a.B"), &Matcher::default()));
    }
}
