//! What is sent again follows the route's policy: reads that got no answer, what was provably not
//! processed, and nothing else; within a budget, and as long as the route holds requests.

use std::time::{Duration, Instant};

use http::Request;
use ravelin::standin::{Garbage, Options, Refusing, Standin};

use crate::support::faults::{config, eventually, get, http1, post, soon, with};
use crate::support::h2::{Answer, Client, frame};
use crate::support::{Ravelin, standin};

const READS: &str = "retry: {policy: reads, reads: [\"POST /v2/users\"]}";

fn h2c(standins: &[&Standin]) -> Vec<String> {
    standins.iter().map(|standin| format!("h2c://{}", standin.address())).collect()
}

/// A call of each kind; what it does stands in its path.
fn call(kind: &str, path: &str) -> Request<bytes::Bytes> {
    let (content_type, body) = match kind {
        "get" => return with(get("localhost", path), "authorization", "Bearer demo"),
        "rest" => ("application/json", "{}".into()),
        "connect" => ("application/json", "{}".into()),
        "grpc" => ("application/grpc", frame(b"")),
        _ => ("application/grpc-web+proto", frame(b"")),
    };
    let call = with(post("localhost", path, body), "content-type", content_type);
    let call = if kind == "grpc" { with(call, "te", "trailers") } else { call };
    with(call, "authorization", "Bearer demo")
}

const CALLS: [(&str, &str); 5] = [
    ("get", "/auth/v1/users/me"),
    ("rest", "/v2/users"),
    ("grpc", "/zitadel.auth.v1.AuthService/GetMyUser"),
    ("web", "/zitadel.management.v1.ManagementService/ListUsers"),
    ("connect", "/zitadel.user.v2.UserService/ListUsers"),
];

const WRITES: [(&str, &str); 4] = [
    ("rest", "/v2/users/human"),
    ("grpc", "/zitadel.management.v1.ManagementService/AddProject"),
    ("web", "/zitadel.management.v1.ManagementService/AddProject"),
    ("connect", "/zitadel.user.v2.UserService/CreateUser"),
];

/// Whether the caller has what it wanted.
fn succeeded(kind: &str, answer: &Answer) -> bool {
    let status = match kind {
        "grpc" => answer.trailer("grpc-status") == "0",
        "web" => String::from_utf8_lossy(&answer.body).contains("grpc-status: 0"),
        _ => true,
    };
    answer.status() == 200 && status
}

/// The route leads to ZITADEL, whose words count.
fn zitadel(endpoints: &[String], more: &str) -> String {
    config(endpoints, "", more).replace("to: up}", "to: up, identity: zitadel}")
}

#[tokio::test]
async fn a_read_without_an_answer_is_asked_again_and_a_write_is_not() {
    for scheme in ["h2c", "http"] {
        let standin = standin().await;
        let endpoints = [format!("{scheme}://{}", standin.address())];
        let ravelin = Ravelin::start(&config(&endpoints, "", READS));
        let client = Client::plain(ravelin.plain()).await;
        let carried = |kind: &&(&str, &str)| scheme == "h2c" || kind.0 != "grpc";
        for order in ["reset-once", "die-once"] {
            for (kind, path) in CALLS.iter().filter(carried) {
                let before = standin.count(path);
                let request =
                    with(call(kind, path), "x-standin-order", &format!("{order}={order}-{kind}"));
                let answer = soon(kind, client.send(request)).await.unwrap();
                assert!(succeeded(kind, &answer), "{scheme} {order} {kind}: {answer:?}");
                assert_eq!(standin.count(path) - before, 2, "{scheme} {order} {kind}");
            }
            for (kind, path) in WRITES.iter().filter(carried) {
                let before = standin.count(path);
                let key = format!("{order}={order}-{path}-{kind}");
                let request = with(call(kind, path), "x-standin-order", &key);
                let answer = soon(kind, client.send(request)).await.unwrap();
                let told = format!("{answer:?}").contains("may have been processed");
                assert!(told && !succeeded(kind, &answer), "{scheme} {order} {kind}: {answer:?}");
                assert_eq!(standin.count(path) - before, 1, "{scheme} {order} {kind}");
            }
        }
    }
}

#[tokio::test]
async fn a_get_of_zitadels_that_brings_a_one_time_code_is_asked_once_and_never_hedged() {
    let (one, other) = (standin().await, standin().await);
    let endpoints = h2c(&[&one, &other]).join("\", \"");
    let more = "retry: {policy: reads, hedge: {after: 20ms}, writes: [\"GET /custom/authorize\"]}";
    let ravelin = Ravelin::start(&format!(
        "workers: 1\nlisteners: [{{name: plain, address: \"127.0.0.1:0\"}}]\n\
         zitadel: {{upstream: [\"{endpoints}\"], domain: localhost, health: \"off\", cache: false}}\n\
         admin: {{address: \"127.0.0.1:0\"}}\naccess_log: {{format: \"off\"}}\n{more}\n"
    ));
    let client = Client::plain(ravelin.plain()).await;
    let ask = async |path: &str, order: &str| {
        let before = one.count(path) + other.count(path);
        let request = with(get("localhost", &format!("{path}?code=1")), "x-standin-order", order);
        let status = soon(path, client.send(request)).await.unwrap().status();
        (one.count(path) + other.count(path) - before, status)
    };
    for path in [
        "/idps/callback",
        "/ui/login/login/externalidp/callback",
        "/oauth/v2/authorize",
        "/oauth/v2/authorize/callback",
        "/custom/authorize",
    ] {
        assert_eq!(ask(path, &format!("reset-once={path}")).await, (1, 502), "{path}");
        // It provably has not been processed: it is sent again all the same.
        let (asked, status) = ask(path, &format!("refuse-once=refused {path}")).await;
        assert!(asked > 1 && status != 503, "{path}: {asked} {status}");
        assert_eq!(ask(path, "slow-head=100").await.0, 1, "{path}");
    }
    for path in ["/ui/login/loginname", "/oauth/v2/keys"] {
        let (asked, status) = ask(path, &format!("reset-once={path}")).await;
        assert!(asked > 1 && status < 500, "{path}: {asked} {status}");
    }
    assert_eq!(ask("/ui/login/loginname", "slow-head=300").await.0, 2, "a read is hedged");
}

#[tokio::test]
async fn the_policy_is_the_routes_own() {
    let standin = standin().await;
    for (policy, order, times, status) in [
        ("never", "refuse-once=a", 1, 503),
        ("never", "reset-once=b", 1, 502),
        ("unsent", "refuse-once=c", 2, 200),
        ("unsent", "reset-once=d", 1, 502),
        ("reads", "reset-once=e", 2, 200),
        ("reads", "reset", 3, 502),
        ("reads", "status=503", 1, 503),
    ] {
        let ravelin = Ravelin::start(&config(&h2c(&[&standin]), "", &format!("retry: {policy}")));
        let before = standin.count("/admin");
        let request = with(get("localhost", "/admin/v1/healthz"), "x-standin-order", order);
        let answer = soon(order, http1(ravelin.plain(), request)).await.unwrap();
        let seen = standin.count("/admin") - before;
        assert_eq!((answer.status(), seen), (status, times), "{policy} {order}: {answer:?}");
    }
}

#[tokio::test]
async fn a_gateways_word_is_asked_of_one_other_replica_for_reads() {
    let (one, other) = (standin().await, standin().await);
    let ravelin = Ravelin::start(&config(&h2c(&[&one, &other]), "", "retry: reads"));
    let client = Client::plain(ravelin.plain()).await;
    for status in [502, 503, 504] {
        let order = format!("status={status}");
        let read = with(get("localhost", "/bytes/9"), "x-standin-order", &order);
        let write = with(post("localhost", "/sink", "order"), "x-standin-order", &order);
        let answer = client.send(read).await.unwrap();
        assert_eq!((answer.status(), answer.body.len()), (status, 9), "upstream's own words");
        assert_eq!(client.send(write).await.unwrap().status(), status);
    }
    let count = |path| one.count(path) + other.count(path);
    assert_eq!((count("/bytes"), count("/sink")), (6, 3));
    assert_eq!(ravelin.metric("ravelin_upstream_retries_total"), 3.0);
}

#[tokio::test]
async fn zitadels_own_word_that_it_could_not_dial_itself_saves_a_write() {
    let options = Options { rest_after: Some(Duration::from_secs(3600)), ..Options::default() };
    let starting = Standin::start(options).await.unwrap();
    let up = standin().await;
    let ravelin = Ravelin::start(&zitadel(&h2c(&[&starting, &up]), ""));
    let client = Client::plain(ravelin.plain()).await;
    // Which one is asked first is chance: often enough that it was this one.
    for i in 0..40 {
        let answer = client.send(call("rest", "/v2/users/human")).await.unwrap();
        assert_eq!(answer.status(), 200, "{i}: {answer:?}");
    }
    assert!(starting.count("/v2") >= 1, "it was asked first now and then");
    // Nobody else there: upstream's own words, whole.
    let ravelin = Ravelin::start(&zitadel(&h2c(&[&starting]), ""));
    let answer = http1(ravelin.plain(), call("rest", "/v2/users/human")).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.text().starts_with("{\"code\":14") && answer.text().ends_with("refused\\\"\"}"));
}

#[tokio::test]
async fn a_replica_that_is_ready_before_its_rest_is_waited_for() {
    let options = Options { rest_after: Some(Duration::from_millis(300)), ..Options::default() };
    let starting = Standin::start(options).await.unwrap();
    let ravelin = Ravelin::start(&zitadel(&h2c(&[&starting]), "retry: {hold: 5s}"));
    let answer = soon("REST", http1(ravelin.plain(), call("rest", "/v2/users/human"))).await;
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test]
async fn requests_are_held_until_somebody_is_there() {
    let place = Refusing::start().unwrap();
    let address = place.address();
    let ravelin = Ravelin::start(&config(
        &[format!("h2c://{address}")],
        "",
        "retry: {policy: reads, hold: 4s}",
    ));
    let client = Client::plain(ravelin.plain()).await;
    let calls = CALLS.iter().chain(&WRITES).map(|(kind, path)| {
        let client = client.clone();
        async move {
            let answer = soon(kind, client.send(call(kind, path))).await.unwrap();
            assert!(succeeded(kind, &answer), "{kind}: {answer:?}");
        }
    });
    let comes = async {
        let failed = "ravelin_upstream_connects_total{cluster=\"up\"";
        eventually("somebody waits", || ravelin.metric(failed) >= 2.0).await;
        drop(place);
        Standin::start(Options { address, ..Options::default() }).await.unwrap()
    };
    let (standin, _) =
        futures_util::future::join(comes, futures_util::future::join_all(calls)).await;
    // The same when it goes and comes again: no restart, and soon.
    standin.kill();
    let comes = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Standin::start(Options { address, ..Options::default() }).await.unwrap()
    };
    let asks = soon("again", client.send(get("localhost", "/auth/v1/healthz")));
    let (_standin, answer) = futures_util::future::join(comes, asks).await;
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test]
async fn when_nobody_comes_each_caller_is_told_so() {
    let refusing = Refusing::start().unwrap();
    let endpoints = [format!("h2c://{}", refusing.address())];
    let ravelin = Ravelin::start(&config(&endpoints, "", "retry: {hold: 150ms}"));
    let client = Client::plain(ravelin.plain()).await;
    let began = Instant::now();
    let answer = soon("grpc", client.grpc("/a.B/GetC", &[], b"m")).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(100), "it was not held");
    assert_eq!(answer.trailer("grpc-status"), "14");
    assert_eq!(answer.trailer("grpc-retry-pushback-ms"), "1000");
    let page = with(get("localhost", "/ui/console/"), "accept", "text/html");
    let page = soon("page", client.send(page)).await.unwrap();
    assert_eq!((page.status(), page.header("retry-after")), (503, "1"));
    assert!(page.text().contains("being updated") && page.text().contains("\"refresh\""));
    let rest = soon("rest", client.send(get("localhost", "/v2/users"))).await.unwrap();
    assert_eq!((rest.status(), rest.header("retry-after")), (503, "1"));
    // A caller that waits less is held less.
    let began = Instant::now();
    let ravelin = Ravelin::start(&config(&endpoints, "", "retry: {hold: 30s}"));
    let client = Client::plain(ravelin.plain()).await;
    let answer = soon("deadline", client.grpc("/a.B/GetC", &[("grpc-timeout", "200m")], b"m"));
    assert!(["4", "14"].contains(&answer.await.unwrap().trailer("grpc-status")));
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn retries_stay_within_their_budget() {
    let standin = standin().await;
    let ravelin = Ravelin::start(&config(&h2c(&[&standin]), "", "retry: reads"));
    let client = Client::plain(ravelin.plain()).await;
    let calls = (0..60).map(|_| {
        let client = client.clone();
        async move {
            let read = with(get("localhost", "/bytes/1"), "x-standin-order", "reset");
            assert_eq!(soon("reset", client.send(read)).await.unwrap().status(), 502);
        }
    });
    futures_util::future::join_all(calls).await;
    let retries = ravelin.metric("ravelin_upstream_retries_total");
    // Twenty always, and a fifth of sixty.
    assert!((20.0..=32.0).contains(&retries), "{retries}");
    assert!(ravelin.metric("ravelin_upstream_retry_budget_exhausted_total") >= 1.0);
}

#[tokio::test]
async fn a_slow_read_is_asked_of_a_second_replica_and_the_loser_is_cancelled() {
    let (slow, quick) = (standin().await, standin().await);
    let hedge = "retry: {policy: reads, hedge: {after: 30ms}}";
    let ravelin = Ravelin::start(&config(&h2c(&[&slow, &quick]), "", hedge));
    let client = Client::plain(ravelin.plain()).await;
    let order = format!("stall-at={}", slow.address().port());
    // Which one is asked first is chance: often enough that it was the slow one.
    for i in 0..40 {
        let read = with(call("grpc", CALLS[2].1), "x-standin-order", &order);
        let answer = soon("hedge", client.send(read)).await.unwrap();
        assert!(succeeded("grpc", &answer), "{i}: {answer:?}");
        if i >= 3 && ravelin.metric("ravelin_upstream_hedges_total") >= 1.0 {
            break;
        }
    }
    let hedges = ravelin.metric("ravelin_upstream_hedges_total");
    assert!(hedges >= 1.0, "it never was");
    soon("cancelled", slow.wait_for_cancelled(hedges as usize)).await;
    // A write is never asked twice.
    let before = slow.count("/sink") + quick.count("/sink");
    let write = with(post("localhost", "/sink", "order"), "x-standin-order", "slow-head=100");
    assert_eq!(client.send(write).await.unwrap().status(), 200);
    assert_eq!(slow.count("/sink") + quick.count("/sink") - before, 1);
}

/// A server of gRPC that says of every call that it is not available.
async fn unavailable() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("h2c://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(io).await else { return };
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let head = http::Response::builder()
                        .header("content-type", "application/grpc")
                        .header("grpc-status", "14")
                        .body(())
                        .unwrap();
                    let _ = respond.send_response(head, true);
                }
            });
        }
    });
    endpoint
}

#[tokio::test]
async fn a_translated_read_is_sent_elsewhere_as_the_same_call_of_grpc_is() {
    let good = standin().await;
    let endpoints = [unavailable().await, format!("h2c://{}", good.address())];
    let config = config(&endpoints, "", READS);
    let ravelin = Ravelin::start(&config.replace("to: up}", "to: up, grpc_web: translate}"));
    let client = Client::plain(ravelin.plain()).await;
    for kind in ["grpc", "web"] {
        for _ in 0..8 {
            let answer = soon(kind, client.send(call(kind, CALLS[3].1))).await.unwrap();
            assert!(succeeded(kind, &answer), "{kind}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn in_a_cluster_of_both_protocols_grpc_goes_to_those_of_http2() {
    let (one, other) = (standin().await, standin().await);
    let endpoints = [format!("h2c://{}", one.address()), format!("http://{}", other.address())];
    let ravelin = Ravelin::start(&config(&endpoints, "", ""));
    let client = Client::plain(ravelin.plain()).await;
    for _ in 0..20 {
        let answer = soon("grpc", client.send(call("grpc", CALLS[2].1))).await.unwrap();
        assert!(succeeded("grpc", &answer), "{answer:?}");
    }
    assert_eq!((one.count(CALLS[2].1), other.count(CALLS[2].1)), (20, 0));
}

#[tokio::test]
async fn what_does_not_even_begin_to_speak_http2_costs_no_write() {
    let garbage =
        Garbage::start(*b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").unwrap();
    let good = standin().await;
    let endpoints = [garbage.address(), good.address()].map(|address| format!("h2c://{address}"));
    let ravelin = Ravelin::start(&config(&endpoints, "", "retry: {hold: off}"));
    let client = Client::plain(ravelin.plain()).await;
    let (_, write) = WRITES[1];
    for _ in 0..20 {
        let answer = soon("write", client.send(call("grpc", write))).await.unwrap();
        assert!(succeeded("grpc", &answer), "{answer:?}");
    }
    assert_eq!(good.count(write), 20);
}

#[tokio::test]
async fn a_hedge_is_not_lost_to_the_word_that_its_server_is_away() {
    let (away, slow) = (standin().await, standin().await);
    away.obey("slow-head=60,status=503");
    slow.obey("slow-head=150");
    let hedge = "retry: {policy: reads, hedge: {after: 30ms}}";
    let ravelin = Ravelin::start(&config(&h2c(&[&away, &slow]), "", hedge));
    let client = Client::plain(ravelin.plain()).await;
    let path = CALLS[0].1;
    for i in 1..=4 {
        let answer = soon("hedge", client.send(call("get", path))).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(slow.count(path), i, "asked once for each");
    }
}

#[tokio::test]
async fn the_last_that_is_up_is_not_asked_again_for_want_of_another() {
    let (up, drained) = (standin().await, standin().await);
    up.obey("status=503");
    let ravelin = Ravelin::start(&config(&h2c(&[&up, &drained]), "", READS));
    let gone = format!("h2c://{}", drained.address());
    assert_eq!(ravelin.roster().set_draining(None, Some(&gone), true).len(), 1);
    let client = Client::plain(ravelin.plain()).await;
    let path = CALLS[0].1;
    let answer = soon("read", client.send(call("get", path))).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!((up.count(path), drained.count(path)), (1, 0));
    assert_eq!(ravelin.metric("ravelin_upstream_retries_total"), 0.0);
}
