//! The guards, asked as a request asks them: path seen, then routes in their order.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::message::Fields;
use crate::pipeline::admit::route::RouteTable;
use crate::pipeline::path::decode::{Sight, sight};
use crate::pipeline::plan::{Action, ForwardPlan, RoutePlan};

/// What a front does with a path.
#[derive(Debug, PartialEq)]
enum Fate {
    Denied,
    Forwarded,
    Refused,
    Redirected(String),
}

/// The guards before a route that takes everything.
struct Front(RouteTable);

impl Front {
    fn new(guarding: &Guarding) -> Self {
        let forward = || Action::Forward(ForwardPlan::to("zitadel".into()));
        let guards = guards(guarding).into_iter().map(|guard| RoutePlan {
            name: guard.name.into(),
            matcher: guard.matcher,
            action: match guard.verdict {
                Verdict::Open => forward(),
                Verdict::Deny => Action::Deny,
            },
        });
        let rest =
            RoutePlan { name: "rest".into(), matcher: Matcher::default(), action: forward() };
        Self(RouteTable::new(guards.chain([rest]).map(Arc::new).collect()))
    }

    fn fate_of(&self, listener: &str, client: Option<&str>, line: &str) -> Fate {
        let (method, path) = line.split_once(' ').unwrap();
        let client = client.map(|client| client.parse::<IpAddr>().unwrap());
        let path = match sight(path) {
            Err(_) => return Fate::Refused,
            Ok(Sight::Detour(clean)) => return Fate::Redirected(clean),
            Ok(Sight::Clear(path)) => path,
        };
        let method = method.parse().unwrap();
        let (_, route) =
            self.0.find(listener, "id.example", client, &method, &path, &Fields::new()).unwrap();
        match route.action {
            Action::Deny => Fate::Denied,
            _ => Fate::Forwarded,
        }
    }

    fn get(&self, path: &str) -> Fate {
        self.fate_of("public", None, &format!("GET {path}"))
    }
}

const PRIVATE: [&str; 17] = [
    "/debug",
    "/debug/healthz",
    "/debug/ready",
    "/debug/validate",
    "/debug/metrics",
    "/debug/pprof/heap",
    "/system/v1",
    "/system/v1/instances/_search",
    "/zitadel.system.v1.SystemService/Healthz",
    "/zitadel.system.v1.SystemService/AddInstance",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/zitadel.resources.user.v3alpha.ZITADELUsers/GetUser",
    "/zitadel.resources.userschema.v3alpha.ZITADELUserSchemas/ListUserSchemas",
    "/zitadel.resources.debug_events.v3alpha.ZITADELDebugEvents/AddDebugEvents",
    "/resources/v3alpha/users/_search",
    "/v3alpha/debug_events",
];

/// The route map of ZITADEL without what is private.
const PUBLIC: [&str; 38] = [
    "/",
    "/admin/v1/healthz",
    "/admin/v1/import",
    "/admin/v1/events/_search",
    "/management/v1/users/me",
    "/auth/v1/users/me",
    "/zitadel.user.v2.UserService/GetUserByID",
    "/zitadel.user.v2beta.UserService/GetUserByID",
    "/zitadel.oidc.v2.OIDCService/GetAuthRequest",
    "/zitadel.saml.v2.SAMLService/GetSAMLRequest",
    "/zitadel.admin.v1.AdminService/Healthz",
    "/zitadel.admin.v1.AdminService/ImportData",
    "/zitadel.management.v1.ManagementService/Healthz",
    "/zitadel.auth.v1.AuthService/Healthz",
    "/grpc.health.v1.Health/Check",
    "/assets/v1/instance/policy/label/logo",
    "/idps/callback",
    "/idps/1/saml/metadata",
    "/robots.txt",
    "/openapi/v2/swagger/system.swagger.json",
    "/.well-known/openid-configuration",
    "/oauth/v2/authorize",
    "/oauth/v2/keys",
    "/oidc/v1/userinfo",
    "/saml/v2/SSO",
    "/scim/v2/1/Users",
    "/ui/console/",
    "/ui/console/main.a7aea975099f25cf.js",
    "/ui/console/debug",
    "/ui/console/users/a%40b.example",
    "/ui/login/login",
    "/ui/v2/login/_next/static/chunks/app/(login)/%5Blocale%5D/page.js",
    "/device",
    "/v2/users/1",
    "/v2beta/instances",
    "/healthz",
    "/debugger",
    "/systems/v1",
];

#[test]
fn what_is_private_is_denied_and_the_rest_of_zitadel_is_not() {
    let front = Front::new(&Guarding::default());
    for path in PRIVATE {
        assert_eq!(front.get(path), Fate::Denied, "{path}");
        assert_eq!(front.fate_of("public", None, &format!("POST {path}")), Fate::Denied, "{path}");
    }
    for path in PUBLIC {
        assert_eq!(front.get(path), Fate::Forwarded, "{path}");
    }
}

#[test]
fn health_paths_open_one_by_one_and_for_reading_alone() {
    let guarding = Guarding { health: vec![Health::Live], ..Guarding::default() };
    let front = Front::new(&guarding);
    assert_eq!(front.get("/debug/healthz"), Fate::Forwarded);
    assert_eq!(front.fate_of("public", None, "HEAD /debug/healthz"), Fate::Forwarded);
    assert_eq!(front.fate_of("public", None, "POST /debug/healthz"), Fate::Denied);
    for path in ["/debug/ready", "/debug/metrics", "/debug/healthz/x", "/debug/"] {
        assert_eq!(front.get(path), Fate::Denied, "{path}");
    }
}

#[test]
fn an_area_opens_for_a_listener_or_for_clients_and_both_must_hold() {
    let opening = |area, listeners: &[&str], clients: &[&str]| Opening {
        area,
        listeners: listeners.iter().map(|name| Arc::from(*name)).collect(),
        clients: clients.iter().map(|range| range.parse().unwrap()).collect(),
    };
    let guarding = Guarding {
        openings: vec![
            opening(Area::Debug, &["ops"], &[]),
            opening(Area::System, &["ops"], &["10.0.0.0/8"]),
            opening(Area::Transfer, &[], &["fd00::/8"]),
            opening(Area::Reflection, &[], &[]),
        ],
        areas: Area::ALL.to_vec(),
        ..Guarding::default()
    };
    let front = Front::new(&guarding);
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let import = "/zitadel.admin.v1.AdminService/ImportData";
    for (listener, client, path, expected) in [
        ("ops", None, "/debug/metrics", Fate::Forwarded),
        ("public", Some("10.0.0.1"), "/debug/metrics", Fate::Denied),
        ("ops", Some("10.0.0.1"), "/system/v1/instances", Fate::Forwarded),
        ("ops", Some("10.0.0.1"), "/zitadel.system.v1.SystemService/X", Fate::Forwarded),
        ("ops", Some("11.0.0.1"), "/system/v1/instances", Fate::Denied),
        ("public", Some("10.0.0.1"), "/system/v1/instances", Fate::Denied),
        ("ops", None, "/system/v1/instances", Fate::Denied),
        ("public", Some("fd00::1"), import, Fate::Forwarded),
        ("public", Some("fd00::1"), "/admin/v1/export", Fate::Forwarded),
        ("public", Some("2001:db8::1"), import, Fate::Denied),
        ("public", Some("2001:db8::1"), "/admin/v1/import", Fate::Denied),
        ("ops", Some("10.0.0.1"), reflection, Fate::Denied),
    ] {
        let fate = front.fate_of(listener, client, &format!("POST {path}"));
        assert_eq!(fate, expected, "{listener} {client:?} {path}");
    }
}

#[test]
fn names_are_unique_and_guards_stand_on_the_site_alone() {
    let open = |area| Opening { area, listeners: vec!["ops".into()], clients: Vec::new() };
    let guarding = Guarding {
        hosts: vec![HostPattern::Exact("id.example".into())],
        listeners: vec!["public".into()],
        areas: Area::ALL.to_vec(),
        health: vec![Health::Live, Health::Ready],
        openings: Area::ALL.into_iter().chain(Area::ALL).map(open).collect(),
    };
    let list = guards(&guarding);
    let mut names: Vec<&str> = list.iter().map(|guard| &*guard.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), list.len());
    for guard in &list {
        assert_eq!(guard.matcher.hosts, guarding.hosts, "{}", guard.name);
        assert!(!guard.matcher.listeners.is_empty(), "{}", guard.name);
    }
    let denied = list.iter().skip_while(|guard| guard.verdict == Verdict::Open);
    assert!(denied.into_iter().all(|guard| guard.verdict == Verdict::Deny));
}

/// One of many ways to write a path: some characters encoded, once or twice, some segments made
/// longer by what means nothing, some letters of another case, perhaps something at the end.
fn disguised(path: &str, seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let rarely = 2 + random.u32(0..30);
    let mut text = String::new();
    for c in path.chars() {
        if random.u32(0..rarely) != 0 {
            text.push(c);
            continue;
        }
        let code = u32::from(c);
        match (random.u32(0..9), c) {
            (0..4, _) => text.push_str(&format!("%{code:02x}")),
            (4 | 5, _) => text.push_str(&format!("%{code:02X}")),
            (6, '/') => text.push_str("/x/%2E./"),
            (7, '/') => text.push_str("/./"),
            (_, '/') => text.push_str("//"),
            (6, _) => text.push_str(&format!("%25{code:02x}")),
            _ => text.push(c.to_ascii_uppercase()),
        }
    }
    text.push_str(
        random.choice(["", "", "", "", "/", "%00", "/..;/", "%2f", "%", "/%c0%ae"]).unwrap(),
    );
    text
}

/// The path as Go's `net/url` and `path.Clean` read it, written anew and not with the code under
/// test; `None` where Go refuses it.
fn as_go_reads(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let hex = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        rest = &rest[2..];
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut kept: Vec<&str> = Vec::new();
    for segment in text.split('/').filter(|segment| !matches!(*segment, "" | ".")) {
        if segment == ".." {
            kept.pop();
        } else {
            kept.push(segment);
        }
    }
    Some(format!("/{}", kept.join("/")))
}

fn is_private(path: &str) -> bool {
    let below = |base: &str| path == base || path.starts_with(&format!("{base}/"));
    let service = path.split('/').nth(1).unwrap_or_default();
    ["/debug", "/system/v1", "/v3alpha", "/resources/v3alpha"].into_iter().any(below)
        || service == "zitadel.system.v1.SystemService"
        || service == "grpc.reflection.v1.ServerReflection"
        || service == "grpc.reflection.v1alpha.ServerReflection"
        || service.starts_with("zitadel.") && service.contains(".v3alpha.")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn no_spelling_of_a_private_path_is_forwarded(path in proptest::sample::select(&PRIVATE[..]), seed: u64) {
        let path = disguised(path, seed);
        thread_local!(static FRONT: Front = Front::new(&Guarding::default()));
        let fate = |path: &str| FRONT.with(|front| front.get(path));
        // A client follows the redirect.
        let (path, fate) = match fate(&path) {
            Fate::Redirected(clean) => { let next = fate(&clean); (clean, next) }
            other => (path, other),
        };
        prop_assert!(!matches!(fate, Fate::Redirected(_)));
        if fate == Fate::Forwarded {
            prop_assert!(!is_private(&path), "{} is private as it was sent", path);
            let read = as_go_reads(&path).unwrap();
            prop_assert!(!is_private(&read), "{} is read as {}", path, read);
        }
    }
}
