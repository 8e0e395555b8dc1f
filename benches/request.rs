//! What lies on every request's way, decision by decision: `cargo bench`. The heads and the routes
//! are ZITADEL's. The whole way, beside other proxies, is `benches/run`.

#![allow(
    clippy::unwrap_used,
    reason = "what is set up here is sound, or there is nothing to measure"
)]

use std::hint::black_box;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderValue, Version};
use ravelin::body::Body;
use ravelin::config::{self, Files, Overrides};
use ravelin::downstream::rescue::{Caller, rescue};
use ravelin::error::{Error, Kind};
use ravelin::exchange::{Class, Connection, Ending, Exchange, Identity, Protocol, Tls};
use ravelin::message::{Request, Response};
use ravelin::pipeline::admit::route::RouteTable;
use ravelin::pipeline::admit::{classify, decide};
use ravelin::pipeline::forward::headers::{self, Passage};
use ravelin::telemetry::access::{Record, write_json};
use ravelin::telemetry::metrics::{ExchangeKey, Metrics, RouteId};

const PRESET: &str = "zitadel: {upstream: \"h2c://127.0.0.1:8080\", domain: id.example.com, \
    login: \"http://127.0.0.1:3000\"}\ncertificate: {cert: a, key: b}\n";

/// What is asked, by class: method and path, media type.
const ASKED: [(&str, &str, &str); 5] = [
    ("grpc", "POST /zitadel.user.v2.UserService/GetUserByID", "application/grpc"),
    ("grpc-web", "POST /zitadel.user.v2.UserService/GetUserByID", "application/grpc-web+proto"),
    ("connect", "POST /zitadel.session.v2.SessionService/CreateSession", "application/json"),
    ("rest", "GET /v2/users/123?x=%2F", ""),
    ("denied", "GET /debug/metrics", ""),
];

fn request(line: &str, content_type: &str) -> Request<Body> {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = http::Request::builder()
        .method(method)
        .version(Version::HTTP_2)
        .uri(format!("https://id.example.com{path}"))
        .header("user-agent", "grpc-go/1.76.0")
        .header("authorization", "Bearer dGhpcy1pcy1hLXRva2VuLW9mLWEtdXN1YWwtbGVuZ3Ro")
        .header("te", "trailers");
    if !content_type.is_empty() {
        request = request.header("content-type", content_type);
    }
    request.body(Body::Empty).unwrap().into()
}

fn connection() -> Rc<Connection> {
    let client: SocketAddr = "192.0.2.7:50000".parse().unwrap();
    Rc::new(Connection {
        listener: "https".into(),
        client: Some(client),
        protocol: Protocol::H2,
        identity: Identity::new(Some(client.ip()), true),
        trusted: None,
        redirect_to_https: None,
        tls: None::<Tls>,
        ending: Ending::channel().1,
    })
}

/// Class, guards, host and route: everything that is decided on the head.
fn admit(c: &mut Criterion) {
    let plan = config::load_str("bench", PRESET, &Overrides::default(), Files::Ignored).unwrap();
    let table = RouteTable::new(plan.routes);
    let connection = connection();
    for (name, line, content_type) in ASKED {
        let request = request(line, content_type);
        let (method, uri, map) = (request.method(), request.uri(), request.headers());
        c.bench_function(&format!("classify/{name}"), |b| {
            b.iter(|| classify::classify(black_box(method), Version::HTTP_2, uri, map, None));
        });
        let class = classify::classify(method, Version::HTTP_2, uri, map, None);
        c.bench_function(&format!("guards, host and route/{name}"), |b| {
            b.iter_batched_ref(
                || Exchange { class, ..Exchange::new(Rc::clone(&connection)) },
                |exchange| decide(&table, black_box(&request), exchange).is_ok(),
                BatchSize::SmallInput,
            );
        });
    }
}

/// The edits of both heads.
fn heads(c: &mut Criterion) {
    let request = request(ASKED[0].1, ASKED[0].2);
    let connection = connection();
    let authority = HeaderValue::from_static("id.example.com");
    let passage = Passage {
        received: Version::HTTP_2,
        upstream_h2: true,
        class: Class::Grpc,
        identity: &connection.identity,
        asked: &authority,
        asked_port: None,
        authority: &authority,
        request_id: Some("0123456789abcdef0123456789abcdef"),
    };
    c.bench_function("headers/request", |b| {
        b.iter_batched_ref(
            || request.headers().clone(),
            |map| headers::request(map, &passage).is_ok(),
            BatchSize::SmallInput,
        );
    });
    let answer = http::Response::builder()
        .header("content-type", "application/grpc")
        .header("date", "Wed, 25 Nov 2026 00:00:00 GMT")
        .header("trailer", "Grpc-Status")
        .body(())
        .unwrap();
    let answer = Response::from(answer);
    c.bench_function("headers/response", |b| {
        b.iter_batched_ref(
            || answer.headers().clone(),
            |map| headers::response(map, Version::HTTP_2),
            BatchSize::SmallInput,
        );
    });
}

/// A failure in its caller's protocol.
fn rescued(c: &mut Criterion) {
    let error = Error::from(Kind::NoEndpoint);
    for (name, line, content_type) in &ASKED[..4] {
        let request = request(line, content_type);
        let (method, uri, map) = (request.method(), request.uri(), request.headers());
        let class = classify::classify(method, Version::HTTP_2, uri, map, None);
        let caller = Caller::new(class, method, map);
        c.bench_function(&format!("rescue/{name}"), |b| {
            b.iter(|| rescue(black_box(&error), &caller, Some("0123456789abcdef")));
        });
    }
}

/// The record's line and the counters, at the end.
fn told(c: &mut Criterion) {
    let record = Record {
        started: SystemTime::now(),
        duration: Duration::from_micros(1_234),
        listener: "https",
        client: Some("192.0.2.7".parse().unwrap()),
        peer: Some("192.0.2.7:50000".parse().unwrap()),
        tls: Some("TLSv1.3"),
        class: Class::Grpc,
        method: "POST",
        authority: "id.example.com",
        path: "/zitadel.user.v2.UserService/GetUserByID",
        status: 200,
        grpc_status: Some(0),
        route: Some("zitadel"),
        cluster: Some("zitadel"),
        endpoint: Some("127.0.0.1:8080"),
        attempts: 1,
        bytes_in: 16,
        bytes_out: 16,
        upstream_head: Some(Duration::from_micros(987)),
        request_id: Some("0123456789abcdef0123456789abcdef"),
        user_agent: Some(b"grpc-go/1.76.0"),
        ..Record::default()
    };
    let mut line = Vec::with_capacity(1024);
    c.bench_function("record/json", |b| {
        b.iter(|| {
            line.clear();
            write_json(black_box(&record), &mut line);
        });
    });
    let metrics = Metrics::new();
    let route: RouteId = metrics.route(&"zitadel".into());
    let shard = metrics.shard();
    let key = ExchangeKey {
        route: Some(route),
        class: Class::Grpc,
        protocol: Protocol::H2,
        status: 200,
        grpc_status: Some(0),
        cause: None,
    };
    c.bench_function("metrics/exchange", |b| {
        b.iter(|| {
            let in_flight = shard.in_flight();
            shard.exchange(black_box(&key), Duration::from_micros(1_234), 16, 16);
            drop(in_flight);
        });
    });
}

criterion_group!(request_path, admit, heads, rescued, told);
criterion_main!(request_path);
