//! What a request costs in memory before it leaves: the decisions on an ordinary head allocate
//! nothing. A binary of its own, because the allocator counts for all of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderValue, StatusCode, Version};
use ravelin::body::Body;
use ravelin::config::zitadel::guards::{Area, Guarding, Opening, Verdict, guards};
use ravelin::exchange::{Connection, Ending, Exchange, Identity, Protocol};
use ravelin::message::{Fields, Request};
use ravelin::pipeline::admit::route::RouteTable;
use ravelin::pipeline::admit::{Admitted, classify, decide};
use ravelin::pipeline::cache::content::{Coded, Content, Variant};
use ravelin::pipeline::cache::directives::Answer;
use ravelin::pipeline::cache::entry::{Entry, Head, Source};
use ravelin::pipeline::cache::policy;
use ravelin::pipeline::cache::store::Store;
use ravelin::pipeline::coding::{Coding, Level};
use ravelin::pipeline::plan::{
    Action, CachePlan, ForwardPlan, HostPattern, Matcher, RoutePlan, SiteHost, StorePlan,
};

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
    let request = http::Request::builder().method(method).version(version);
    let request = if version == Version::HTTP_2 {
        request.uri(format!("https://id.example.com{path}"))
    } else {
        request.uri(path).header("host", "id.example.com")
    };
    let request = request.header("content-type", content_type).header("accept", "*/*");
    request.header("user-agent", "test").body(Body::Empty).unwrap().into()
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

/// The first screen of the real Console: bytes of each file, and of its best forms in brotli, zstd
/// and gzip (zitadel.md §13.3).
const CONSOLE: [(usize, [usize; 3]); 8] = [
    (9_100_000, [950_000, 1_010_000, 1_290_000]),
    (150_000, [16_000, 17_000, 19_000]),
    (150_000, [16_000, 17_000, 19_000]),
    (150_000, [16_000, 17_000, 19_000]),
    (150_000, [16_000, 17_000, 19_000]),
    (150_000, [16_000, 17_000, 19_000]),
    (150_000, [16_000, 17_000, 19_000]),
    (150_000, [16_000, 17_000, 19_000]),
];

/// What ZITADEL says of a Console file on a host.
fn says(host: &str) -> Fields {
    let policy = format!(
        "default-src 'none'; connect-src 'self' {host}; font-src 'self'; img-src 'self' {host} blob:; \
         manifest-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; \
         frame-ancestors 'none'"
    );
    let mut headers = Fields::new();
    for (name, value) in [
        ("cache-control", "public, max-age=43200, s-maxage=604800"),
        ("content-security-policy", &*policy),
        ("content-type", "text/javascript; charset=utf-8"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("expires", "Sun, 06 Nov 1994 20:49:37 GMT"),
        ("permissions-policy", "payment=()"),
        ("referrer-policy", "same-origin"),
        ("strict-transport-security", "max-age=31536000; includeSubDomains"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("x-xss-protection", "1; mode=block"),
    ] {
        headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// Keeps a file as a host's.
fn keep(store: &Arc<Store>, source: &Arc<Source>, host: &str, number: usize) {
    let (size, coded) = CONSOLE[number];
    let hash = [number as u8; 32];
    let content = store.content(&hash).unwrap_or_else(|| {
        let coded = Coding::BY_SIZE.into_iter().zip(coded).map(|(coding, size)| {
            let coded = Coded::new(&hash, coding, vec![0; size].into(), &[size as u8; 32]);
            Variant { coding, level: Level::Best, coded: Some(coded) }
        });
        store.put_content(Content::new(hash, vec![0; size].into(), coded.collect()))
    });
    let headers = says(host);
    let (plan, answer) = (CachePlan::default(), Answer::of(&headers));
    let life = policy::life(&plan, &answer, StatusCode::OK, &headers, 0);
    let came = (Instant::now(), 784_111_777);
    let head = Head::new(source, &Fields::new(), StatusCode::OK, headers, life, came);
    let entry = Entry::new(store.shared(head), &content);
    store.put(&format!("https://{host}/ui/console/main.{number:016x}.js"), Arc::new(entry));
}

#[test]
fn a_thousand_hosts_of_one_console_hold_little_more_memory_than_one() {
    let held = |hosts: usize| {
        let mut kept = None;
        let info = allocation_counter::measure(|| {
            let store = Store::new(StorePlan { memory: 512 << 20, ..StorePlan::default() });
            let source = Arc::new(Source { route: "zitadel".into(), print: 1 });
            for host in 0..hosts {
                for number in 0..CONSOLE.len() {
                    keep(&store, &source, &format!("tenant-{host}.example.com"), number);
                }
            }
            assert!(store.used() > 10_000_000);
            kept = Some(store);
        });
        (info.bytes_current, kept.unwrap().used())
    };
    let ((one, weighed_one), (all, weighed_all)) = (held(1), held(1_000));
    println!("one host: {one} bytes, a thousand: {all}; weighed {weighed_one} and {weighed_all}");
    assert!(one > 10_000_000 && all > one);
    assert!(all as f64 <= 1.2 * one as f64, "{one} bytes for one, {all} for a thousand");
    // What is weighed is what is held, about.
    let (held, weighed) = ((all - one) as f64, (weighed_all - weighed_one) as f64);
    assert!((0.7..1.4).contains(&(weighed / held)), "{held} bytes are weighed as {weighed}");
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
