//! What a request costs in memory before it leaves: the decisions on an ordinary head allocate
//! nothing. A binary of its own, because the allocator counts for all of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Version};
use ravelin::body::Body;
use ravelin::config::zitadel::guards::{Area, Guarding, Opening, Verdict, guards};
use ravelin::exchange::{Connection, Ending, Exchange, Identity, Protocol};
use ravelin::pipeline::admit::route::RouteTable;
use ravelin::pipeline::admit::{Admitted, classify, decide};
use ravelin::pipeline::plan::{Action, ForwardPlan, HostPattern, Matcher, RoutePlan, SiteHost};

/// How often `what` allocates, on this thread.
fn allocations<T>(what: impl FnOnce() -> T) -> (u64, T) {
    let mut value = None;
    let info = allocation_counter::measure(|| value = Some(what()));
    (info.count_total, value.unwrap())
}

/// A site as the preset makes it: guards with openings, on one host, then everything.
fn table() -> RouteTable {
    let hosts = vec![HostPattern::Exact("id.example.com".into())];
    let guarding = Guarding {
        hosts: hosts.clone(),
        areas: Area::ALL.to_vec(),
        openings: vec![Opening {
            area: Area::System,
            listeners: Vec::new(),
            clients: vec!["10.0.0.0/8".parse().unwrap()],
        }],
        ..Guarding::default()
    };
    let site = SiteHost { pattern: hosts[0].clone(), port: 443, shows_port: false };
    let forward = || {
        Action::Forward(ForwardPlan {
            hosts: vec![site.clone()],
            ..ForwardPlan::to("zitadel".into())
        })
    };
    let guards = guards(&guarding).into_iter().map(|guard| RoutePlan {
        name: guard.name.into(),
        matcher: guard.matcher,
        action: match guard.verdict {
            Verdict::Open => forward(),
            Verdict::Deny => Action::Deny,
        },
    });
    let rest = RoutePlan {
        name: "rest".into(),
        matcher: Matcher { hosts, ..Matcher::default() },
        action: forward(),
    };
    RouteTable::new(guards.chain([rest]).map(Arc::new).collect())
}

fn exchange(protocol: Protocol) -> Exchange {
    let client: SocketAddr = "192.0.2.7:50000".parse().unwrap();
    Exchange::new(Rc::new(Connection {
        listener: "public".into(),
        client: Some(client),
        protocol,
        identity: Identity::new(Some(client.ip()), false),
        trusted: None,
        redirect_to_https: None,
        tls: None,
        ending: Ending::channel().1,
    }))
}

fn request(version: Version, line: &str, content_type: &str) -> Request<Body> {
    let (method, path) = line.split_once(' ').unwrap();
    let request = Request::builder().method(method).version(version);
    let request = if version == Version::HTTP_2 {
        request.uri(format!("https://id.example.com{path}"))
    } else {
        request.uri(path).header("host", "id.example.com")
    };
    let request = request.header("content-type", content_type).header("accept", "*/*");
    request.header("user-agent", "test").body(Body::Empty).unwrap()
}

const ORDINARY: [(&str, &str); 6] = [
    ("POST /zitadel.user.v2.UserService/GetUserByID", "application/grpc"),
    ("POST /zitadel.management.v1.ManagementService/Healthz", "application/grpc-web+proto"),
    ("POST /zitadel.session.v2.SessionService/CreateSession", "application/json"),
    ("GET /v2/users/123?x=%2F", "application/json"),
    ("GET /ui/console/main.a7aea975099f25cf.js", ""),
    ("GET /debug/metrics", ""),
];

#[test]
fn class_guards_host_and_route_of_an_ordinary_request_allocate_nothing() {
    let table = table();
    for (version, protocol) in [(Version::HTTP_2, Protocol::H2), (Version::HTTP_11, Protocol::H1)] {
        for (line, content_type) in ORDINARY {
            let request = request(version, line, content_type);
            let mut exchange = exchange(protocol);
            let ask = |exchange: &mut Exchange| {
                let (method, uri, headers) = (request.method(), request.uri(), request.headers());
                exchange.class = classify::classify(method, version, uri, headers, None);
                decide(&table, &request, exchange).unwrap()
            };
            // An expression keeps what it needs for matching from its first use on.
            ask(&mut exchange);
            let (count, admitted) = allocations(|| ask(&mut exchange));
            let Admitted::Route(_, route) = admitted else { panic!("{line}: {admitted:?}") };
            assert_eq!(*route.name == *"rest", !line.contains("debug"), "{line}");
            assert_eq!(count, 0, "{line} over {version:?}");
            assert_eq!(exchange.authority.is_some(), !line.contains("debug"), "{line}");
        }
    }
}

#[test]
fn the_count_sees_allocations() {
    let (count, text) = allocations(|| "x".repeat(100));
    assert_eq!((count, text.len()), (1, 100));
    let table = table();
    let request = request(Version::HTTP_2, "GET /%75i/console/", "");
    let mut exchange = exchange(Protocol::H2);
    assert!(allocations(|| decide(&table, &request, &mut exchange).unwrap()).0 > 0);
}
