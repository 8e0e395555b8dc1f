//! Decides which route takes a request: the first, in the order of the configuration, of which
//! every part holds.
//!
//! A table of some tens of routes is asked from top to bottom: each question is a comparison of a
//! few bytes, the cheap ones come first, and nothing is allocated. Most routes are told apart by their
//! paths, so that is asked before the host.

mod target;

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;

use self::target::{Call, Path};
use super::site::Site;
use crate::message::Fields;
use crate::pipeline::plan::{Action, HeaderPattern, HostPattern, Matcher, RoutePlan};

/// The routes of a plan, prepared for asking.
#[derive(Debug)]
pub struct RouteTable {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    plan: Arc<RoutePlan>,
    path: Path,
    call: Option<Call>,
    site: Option<Site>,
}

impl RouteTable {
    /// A table that asks `routes` in their order.
    pub fn new(routes: Vec<Arc<RoutePlan>>) -> Self {
        let entry = |plan: Arc<RoutePlan>| Entry {
            path: Path::new(&plan.matcher.path),
            call: plan.matcher.grpc.as_ref().map(Call::new),
            site: match &plan.action {
                Action::Forward(forward) => Site::new(&forward.hosts),
                Action::Redirect(_) | Action::Respond(_) | Action::Deny => None,
            },
            plan,
        };
        Self { entries: routes.into_iter().map(entry).collect() }
    }

    /// The first route that matches, and its place in the table. `host` is without its port, in any
    /// case; `path` is without its query, as [`decode`](crate::pipeline::path::decode) sees it.
    pub fn find(
        &self,
        listener: &str,
        host: &str,
        client: Option<IpAddr>,
        method: &Method,
        path: &str,
        headers: &Fields,
    ) -> Option<(usize, &Arc<RoutePlan>)> {
        let holds = |entry: &Entry| {
            let matcher = &entry.plan.matcher;
            (matcher.methods.is_empty() || matcher.methods.contains(method))
                && entry.path.may_hold(path)
                && entry.call.as_ref().is_none_or(|call| call.holds(path))
                && listener_holds(matcher, listener)
                && host_holds(matcher, host)
                && client_holds(matcher, client)
                && entry.path.holds(path)
                && matcher.headers.iter().all(|pattern| header_holds(pattern, headers))
        };
        let index = self.entries.iter().position(holds)?;
        self.entries.get(index).map(|entry| (index, &entry.plan))
    }

    /// Whether any route of this listener is about this host: what tells an unknown host (421) from
    /// an unknown path (404) when [`find`](Self::find) found nothing.
    pub fn serves(&self, listener: &str, host: &str) -> bool {
        let about =
            |matcher: &Matcher| listener_holds(matcher, listener) && host_holds(matcher, host);
        self.entries.iter().any(|entry| about(&entry.plan.matcher))
    }

    /// The hosts that upstream of this route knows; `None`: any.
    pub fn site(&self, index: usize) -> Option<&Site> {
        self.entries.get(index)?.site.as_ref()
    }

    /// The routes, in their order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<RoutePlan>> {
        self.entries.iter().map(|entry| &entry.plan)
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn listener_holds(matcher: &Matcher, listener: &str) -> bool {
    matcher.listeners.is_empty() || matcher.listeners.iter().any(|name| **name == *listener)
}

fn host_holds(matcher: &Matcher, host: &str) -> bool {
    matcher.hosts.is_empty()
        || matcher.hosts.iter().any(|pattern| match pattern {
            HostPattern::Exact(name) => name.eq_ignore_ascii_case(host),
            HostPattern::Suffix(suffix) => below(host, suffix),
        })
}

/// A client without an address (a Unix socket's) is in no range. An IPv4 client of a dual-stack
/// socket is in those of IPv4.
fn client_holds(matcher: &Matcher, client: Option<IpAddr>) -> bool {
    matcher.clients.is_empty()
        || client
            .map(|client| client.to_canonical())
            .is_some_and(|client| matcher.clients.iter().any(|range| range.contains(&client)))
}

/// Whether `host` ends in `suffix` and has at least one label before it.
pub(super) fn below(host: &str, suffix: &str) -> bool {
    host.len()
        .checked_sub(suffix.len())
        .filter(|start| *start > 0)
        .and_then(|start| host.get(start..))
        .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

fn header_holds(pattern: &HeaderPattern, headers: &Fields) -> bool {
    match &pattern.value {
        None => headers.contains_key(&pattern.name),
        Some(value) => headers.get_all(&pattern.name).iter().any(|found| found == value),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;
    use crate::message::FieldName;
    use crate::pipeline::plan::{Action, GrpcPattern, PathPattern, RespondPlan};

    fn table(matchers: Vec<Matcher>) -> RouteTable {
        let route = |(index, matcher): (usize, Matcher)| {
            let action = Action::Respond(RespondPlan {
                status: StatusCode::OK,
                content_type: HeaderValue::from_static("text/plain"),
                body: bytes::Bytes::new(),
            });
            Arc::new(RoutePlan { name: index.to_string().into(), matcher, action })
        };
        RouteTable::new(matchers.into_iter().enumerate().map(route).collect())
    }

    fn path(pattern: PathPattern) -> Matcher {
        Matcher { path: pattern, ..Matcher::default() }
    }

    fn find(table: &RouteTable, listener: &str, host: &str, line: &str) -> Option<usize> {
        let (method, path) = line.split_once(' ').unwrap();
        table
            .find(listener, host, None, &method.parse().unwrap(), path, &Fields::new())
            .map(|(index, _)| index)
    }

    #[test]
    fn paths_match_by_whole_segments() {
        for (pattern, holds, fails) in [
            (PathPattern::Any, &["/", "/x", "*"][..], &[][..]),
            (PathPattern::Exact("/ui".into()), &["/ui"], &["/ui/", "/UI", "/uix", "/"]),
            (
                PathPattern::Prefix("/ui".into()),
                &["/ui", "/ui/", "/ui/x"],
                &["/uix", "/", "/x/ui", "*"],
            ),
            (PathPattern::Prefix("/ui/".into()), &["/ui", "/ui/", "/ui/x"], &["/uix"]),
            (PathPattern::Prefix("/".into()), &["/", "/x", "//x"], &["*"]),
            (
                PathPattern::Regex(Regex::new("/a|/ab").unwrap()),
                &["/a", "/ab"],
                &["/abc", "x/a", "/a\n"],
            ),
            (
                PathPattern::Regex(Regex::new("^/v[0-9]+/.*$").unwrap()),
                &["/v2/users"],
                &["/x/v2/users"],
            ),
            (PathPattern::Regex(Regex::new("(?x) /a # x").unwrap()), &["/a"], &["/ab", "x/a"]),
        ] {
            let table = table(vec![path(pattern.clone())]);
            for (paths, expected) in [(holds, Some(0)), (fails, None)] {
                for path in paths {
                    assert_eq!(
                        find(&table, "l", "h", &format!("GET {path}")),
                        expected,
                        "{pattern:?} {path:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_first_route_wins() {
        let table = table(vec![
            path(PathPattern::Prefix("/ui/v2/login".into())),
            path(PathPattern::Prefix("/ui".into())),
            path(PathPattern::Any),
        ]);
        assert_eq!(find(&table, "l", "h", "GET /ui/v2/login/x"), Some(0));
        assert_eq!(find(&table, "l", "h", "GET /ui/console"), Some(1));
        assert_eq!(find(&table, "l", "h", "GET /x"), Some(2));
        assert_eq!((table.len(), table.is_empty()), (3, false));
    }

    #[test]
    fn every_part_of_a_matcher_must_hold() {
        let table = table(vec![Matcher {
            listeners: vec!["public".into()],
            hosts: vec![
                HostPattern::Exact("id.example.com".into()),
                HostPattern::Suffix(".id.example".into()),
            ],
            methods: vec![Method::GET, Method::POST],
            ..path(PathPattern::Prefix("/v2".into()))
        }]);
        for host in ["id.example.com", "ID.Example.COM", "a.id.example", "a.b.ID.example"] {
            assert_eq!(find(&table, "public", host, "POST /v2/x"), Some(0), "{host}");
            assert!(table.serves("public", host) && !table.serves("private", host));
        }
        for host in
            ["id.example", ".id.example", "xid.example", "id.example.com.", "id.example.org", ""]
        {
            assert_eq!(find(&table, "public", host, "POST /v2/x"), None, "{host}");
            assert!(!table.serves("public", host));
        }
        assert_eq!(find(&table, "private", "id.example.com", "POST /v2/x"), None);
        assert_eq!(find(&table, "public", "id.example.com", "PUT /v2/x"), None);
        assert_eq!(find(&table, "public", "id.example.com", "GET /v3"), None);
    }

    #[test]
    fn grpc_patterns_name_a_service_and_perhaps_a_method() {
        let grpc = |method: Option<&str>| Matcher {
            grpc: Some(GrpcPattern { service: "a.v2.S".into(), method: method.map(Into::into) }),
            ..Matcher::default()
        };
        let table = table(vec![grpc(Some("M")), grpc(None)]);
        assert_eq!(find(&table, "l", "h", "POST /a.v2.S/M"), Some(0));
        assert_eq!(find(&table, "l", "h", "POST /a.v2.S/N"), Some(1));
        for path in ["/a.v2.S", "/a.v2.S/", "/a.v2.S/M/x", "/a.v2.SS/M", "/x/a.v2.S/M"] {
            assert_eq!(find(&table, "l", "h", &format!("POST {path}")), None, "{path}");
        }
    }

    #[test]
    fn clients_match_by_range_and_none_is_in_no_range() {
        let table = table(vec![Matcher {
            clients: vec!["10.0.0.0/8".parse().unwrap(), "fd00::1/128".parse().unwrap()],
            ..Matcher::default()
        }]);
        let holds = |client: Option<&str>| {
            let client = client.map(|client| client.parse().unwrap());
            table.find("l", "h", client, &Method::GET, "/", &Fields::new()).is_some()
        };
        for client in ["10.0.0.1", "10.255.255.255", "::ffff:10.1.2.3", "fd00::1"] {
            assert!(holds(Some(client)), "{client}");
        }
        for client in ["11.0.0.1", "::ffff:11.0.0.1", "fd00::2", "::10.0.0.1", "::"] {
            assert!(!holds(Some(client)), "{client}");
        }
        assert!(!holds(None));
    }

    #[test]
    fn headers_match_by_presence_or_by_any_of_their_values() {
        let name = FieldName::from_static("x-tenant");
        let pattern = |value: Option<&'static str>| Matcher {
            headers: vec![HeaderPattern {
                name: name.clone(),
                value: value.map(HeaderValue::from_static),
            }],
            ..Matcher::default()
        };
        let table = table(vec![pattern(Some("b")), pattern(None)]);
        let mut headers = Fields::new();
        let index = |headers: &Fields| {
            table.find("l", "h", None, &Method::GET, "/", headers).map(|(index, _)| index)
        };
        assert_eq!(index(&headers), None);
        headers.append(&name, HeaderValue::from_static("a"));
        assert_eq!(index(&headers), Some(1));
        headers.append(&name, HeaderValue::from_static("b"));
        assert_eq!(index(&headers), Some(0));
    }

    proptest! {
        #[test]
        fn any_host_and_path_can_be_asked_for(host in "\\PC{0,20}", path in "\\PC{0,30}") {
            let table = table(vec![Matcher {
                hosts: vec![HostPattern::Suffix(".é".into()), HostPattern::Suffix(".b".into())],
                ..super::tests::path(PathPattern::Prefix("/ä".into()))
            }]);
            table.find("l", &host, None, &Method::GET, &path, &Fields::new());
        }
    }
}
