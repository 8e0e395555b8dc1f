//! Several replicas: who is asked, who is left alone, and how soon either is noticed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ravelin::config::compile::clusters::bare;
use ravelin::standin::{Blackhole, Options, Standin};
use ravelin::upstream::health::judge::Finding;
use ravelin::upstream::health::probe::Session;
use ravelin::upstream::plan::{Address, Check, ClusterPlan, EndpointPlan, Protocol};
use ravelin::upstream::roster::{Members, idle};
use ravelin::upstream::state::{Health, Need};

use crate::support::faults::{config, eventually, get, soon, with, within};
use crate::support::h2::Client;
use crate::support::{Ravelin, standin};

const UNARY: &str = "/ravelin.test.Echo/Unary";
const REST: &str = "/admin/v1/healthz";

/// A Ravelin before these replicas; `cluster` are more keys of their cluster.
fn before(replicas: &[&Standin], cluster: &str) -> Ravelin {
    Ravelin::start(&config(&names(replicas), cluster, ""))
}

fn names(replicas: &[&Standin]) -> Vec<String> {
    replicas.iter().map(|one| format!("h2c://{}", one.address())).collect()
}

fn health(ravelin: &Ravelin, replica: &Standin, need: Need) -> Health {
    let name = format!("h2c://{}", replica.address());
    ravelin.roster().find(None, Some(&name)).first().unwrap().health(need)
}

async fn ready(ravelin: &Ravelin, replica: &Standin) {
    eventually("ready", || {
        Need::ALL.iter().all(|need| health(ravelin, replica, *need) == Health::Ready)
    })
    .await;
}

/// The status of a read by REST.
async fn rest(client: &Client) -> u16 {
    soon("rest", client.send(get("localhost", REST))).await.unwrap().status()
}

async fn grpc(client: &Client) -> String {
    let answer = soon("grpc", client.grpc(UNARY, &[], b"m")).await.unwrap();
    answer.trailer("grpc-status").to_owned()
}

#[tokio::test]
async fn a_replica_that_dies_is_noticed_without_a_request_and_so_is_its_return() {
    let (first, second) = (standin().await, standin().await);
    let ravelin = before(&[&first, &second], "health: {check: zitadel, interval: 1h}");
    ready(&ravelin, &first).await;
    ready(&ravelin, &second).await;
    let address = first.address();
    first.kill();
    eventually("down", || health(&ravelin, &first, Need::Rpc) == Health::Down).await;
    let client = Client::plain(ravelin.plain()).await;
    for _ in 0..20 {
        assert_eq!((rest(&client).await, &*grpc(&client).await), (200, "0"));
    }
    assert_eq!(ravelin.metric("ravelin_upstream_retries_total"), 0.0, "nobody went there");
    let first = Standin::start(Options { address, ..Options::default() }).await.unwrap();
    let began = Instant::now();
    ready(&ravelin, &first).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let healthy = format!(
        "ravelin_upstream_endpoint_healthy{{cluster=\"up\",endpoint=\"h2c://{address}\",need=\"rest\"}}"
    );
    assert_eq!(ravelin.metric(&healthy), 1.0);
    assert!(ravelin.metric("ravelin_upstream_checks_total") > 0.0);
}

#[tokio::test]
async fn a_replica_whose_rest_lags_gets_grpc_at_once_and_rest_when_it_works() {
    let first = standin().await;
    let lag = Some(Duration::from_millis(700));
    let second = Standin::start(Options { rest_after: lag, ..Options::default() }).await.unwrap();
    let ravelin = before(&[&first, &second], "health: zitadel");
    ready(&ravelin, &first).await;
    eventually("ready", || health(&ravelin, &second, Need::Rpc) == Health::Ready).await;
    assert_eq!(health(&ravelin, &second, Need::Rest), Health::Down);
    let client = Client::plain(ravelin.plain()).await;
    for _ in 0..30 {
        assert_eq!(rest(&client).await, 200);
        assert_eq!(grpc(&client).await, "0");
    }
    assert!(second.count(UNARY) > 0, "gRPC goes there");
    ready(&ravelin, &second).await;
    for _ in 0..30 {
        assert_eq!(rest(&client).await, 200);
    }
}

#[tokio::test]
async fn a_replica_that_says_412_gets_nothing_and_none_at_all_is_said_so() {
    let (first, second) = (standin().await, standin().await);
    let ravelin = before(&[&first, &second], "health: {check: zitadel, interval: 50ms}");
    ready(&ravelin, &first).await;
    ready(&ravelin, &second).await;
    let client = Client::plain(ravelin.plain()).await;
    first.set_ready(false);
    eventually("down", || health(&ravelin, &first, Need::Rest) == Health::Down).await;
    let before = first.count(UNARY);
    for _ in 0..20 {
        assert_eq!(grpc(&client).await, "0");
    }
    assert_eq!(first.count(UNARY), before);
    second.set_ready(false);
    eventually("down", || health(&ravelin, &second, Need::Rpc) == Health::Down).await;
    let words = ravelin.roster().find(None, None).first().unwrap().words();
    assert!(words.contains("412"), "{words}");
    second.set_ready(true);
    ready(&ravelin, &second).await;
    assert_eq!(grpc(&client).await, "0");
}

#[tokio::test]
async fn every_check_finds_what_is_there_and_what_is_not() {
    for check in [
        "tcp",
        "grpc",
        "{check: http, path: /healthz}",
        "{check: http, path: /nothing, status: 404}",
    ] {
        for scheme in ["h2c", "http"] {
            if check == "grpc" && scheme == "http" {
                continue;
            }
            let replica = standin().await;
            let address = replica.address();
            let up = format!("{scheme}://{address}");
            let ravelin =
                Ravelin::start(&config(std::slice::from_ref(&up), &format!("health: {check}"), ""));
            let health =
                || ravelin.roster().find(None, Some(&up)).first().unwrap().health(Need::Rpc);
            eventually(&format!("{scheme} {check}"), || health() == Health::Ready).await;
            replica.kill();
            // What keeps no connection notices with the next request.
            let client = Client::plain(ravelin.plain()).await;
            let down = async {
                while health() != Health::Down {
                    let _ = client.send(get("localhost", REST)).await;
                }
            };
            within(3.0, &format!("{scheme} {check} down"), down).await;
            let _again = Standin::start(Options { address, ..Options::default() }).await.unwrap();
            eventually(&format!("{scheme} {check} back"), || health() == Health::Ready).await;
        }
    }
}

#[tokio::test]
async fn a_check_is_not_failed_by_the_length_of_its_answer() {
    for scheme in ["h2c", "http"] {
        let replica = standin().await;
        let up = format!("{scheme}://{}", replica.address());
        let check = "health: {check: http, path: /bytes/100000, interval: 20ms, timeout: 300ms}";
        let ravelin = Ravelin::start(&config(std::slice::from_ref(&up), check, ""));
        let state = ravelin.roster().find(None, Some(&up)).remove(0);
        eventually(scheme, || state.checks().0 >= 3).await;
        assert_eq!((state.checks().1, state.health(Need::Rest)), (0, Health::Ready), "{scheme}");
    }
}

#[tokio::test]
async fn one_that_never_answers_a_check_is_down_and_the_other_serves() {
    let (hole, replica) = (Blackhole::start().unwrap(), standin().await);
    let endpoints = [hole.address(), replica.address()].map(|address| format!("h2c://{address}"));
    let cluster = "health: {check: zitadel, timeout: 100ms}";
    let ravelin = Ravelin::start(&config(&endpoints, cluster, ""));
    let down = || {
        let found = ravelin.roster().find(None, Some(&endpoints[0]));
        found.first().unwrap().health(Need::Rpc) == Health::Down
    };
    eventually("down", down).await;
    ready(&ravelin, &replica).await;
    let client = Client::plain(ravelin.plain()).await;
    for _ in 0..20 {
        assert_eq!(grpc(&client).await, "0");
    }
}

#[tokio::test]
async fn a_connect_that_takes_too_long_leaves_a_checked_replica_alone_and_does_not_make_it_down() {
    // Its system takes connections, which is all that the check asks; nobody ever greets.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let replica = standin().await;
    let endpoints = [silent.local_addr().unwrap(), replica.address()];
    let endpoints = endpoints.map(|address| format!("h2c://{address}"));
    let cluster = "health: {check: tcp, interval: 1h}, connect_timeout: 100ms";
    let ravelin = Ravelin::start(&config(&endpoints, cluster, ""));
    let silent = ravelin.roster().find(None, Some(&endpoints[0])).remove(0);
    eventually("checked", || silent.health(Need::Rpc) == Health::Ready).await;
    ready(&ravelin, &replica).await;
    let client = Client::plain(ravelin.plain()).await;
    let left_alone = async {
        while ravelin.metric("ravelin_upstream_ejections_total") == 0.0 {
            assert_eq!(grpc(&client).await, "0");
        }
    };
    within(5.0, "ejected", left_alone).await;
    assert_eq!(silent.health(Need::Rpc), Health::Ready);
    // Who was down begins slowly when it is back.
    assert!(silent.age().is_none(), "it was taken to be down in between");
}

#[tokio::test]
async fn a_slow_replica_is_soon_hardly_asked() {
    let (slow, first, second) = (standin().await, standin().await, standin().await);
    slow.obey("slow-head=500");
    let ravelin = before(&[&slow, &first, &second], "");
    let client = Client::plain(ravelin.plain()).await;
    for _ in 0..3 {
        let calls = (0..20).map(|_| grpc(&client));
        futures_util::future::join_all(calls).await;
    }
    let asked = slow.count(UNARY);
    for _ in 0..200 {
        assert_eq!(grpc(&client).await, "0");
    }
    assert!(slow.count(UNARY) - asked <= 2, "{} of 200", slow.count(UNARY) - asked);
    let (first, second) = (first.count(UNARY), second.count(UNARY));
    assert!(first.min(second) * 2 > first.max(second), "{first} {second}");
}

#[tokio::test]
async fn a_replica_that_fails_everything_is_left_alone_and_taken_back_when_it_is_well() {
    for (orders, reason) in [("status=503", "gateway_error"), ("reset", "reset")] {
        let (bad, good) = (standin().await, standin().await);
        bad.obey(orders);
        let ravelin = before(&[&bad, &good], "");
        let client = Client::plain(ravelin.plain()).await;
        let ejections = || ravelin.metric("ravelin_upstream_ejections_total");
        let soon_out = async {
            while ejections() == 0.0 {
                rest(&client).await;
            }
        };
        within(2.0, reason, soon_out).await;
        let asked = bad.count(REST);
        for _ in 0..30 {
            assert_eq!(rest(&client).await, 200, "{orders}");
        }
        assert_eq!(bad.count(REST), asked, "{orders}: nobody goes there");
        let text = format!("reason=\"{reason}\"");
        let name = format!("h2c://{}", bad.address());
        assert!(
            ravelin.metric(&format!(
                "ravelin_upstream_ejections_total{{cluster=\"up\",endpoint=\"{name}\",{text}}}"
            )) >= 1.0
        );
        bad.obey("");
        let back = async {
            while bad.count(REST) == asked {
                assert_eq!(rest(&client).await, 200, "{orders}");
            }
        };
        within(4.0, "back", back).await;
    }
}

#[tokio::test]
async fn when_all_fail_all_are_asked() {
    let (first, second) = (standin().await, standin().await);
    let ravelin = before(&[&first, &second], "");
    let client = Client::plain(ravelin.plain()).await;
    first.obey("status=503");
    second.obey("status=503");
    for _ in 0..40 {
        assert_eq!(rest(&client).await, 503);
    }
    let asked = (first.count(REST), second.count(REST));
    // One of them may have been slow for a moment, on a busy machine: that fades.
    let both = async {
        while first.count(REST) == asked.0 || second.count(REST) == asked.1 {
            rest(&client).await;
        }
    };
    within(10.0, "both are asked", both).await;
}

#[tokio::test]
async fn a_replica_that_is_taken_down_gets_nothing_new_and_is_idle_when_its_last_stream_ends() {
    let (first, second) = (standin().await, standin().await);
    let ravelin = before(&[&first, &second], "");
    let client = Client::plain(ravelin.plain()).await;
    let name = format!("h2c://{}", first.address());
    let long = (0..8).map(|_| client.grpc(UNARY, &[("x-standin-order", "slow-head=300")], b"m"));
    let long = futures_util::future::join_all(long);
    let drained = async {
        eventually("there", || first.count(UNARY) > 0).await;
        let meant = ravelin.roster().set_draining(None, Some(&name), true);
        assert!(meant[0].in_flight() > 0);
        idle(&meant).await;
        assert_eq!(meant[0].in_flight(), 0);
    };
    let (answers, ()) = within(3.0, "drain", futures_util::future::join(long, drained)).await;
    assert!(answers.iter().all(|one| one.as_ref().unwrap().trailer("grpc-status") == "0"));
    let asked = first.count(UNARY);
    for _ in 0..20 {
        assert_eq!(grpc(&client).await, "0");
    }
    assert_eq!(first.count(UNARY), asked);
    ravelin.roster().set_draining(None, None, false);
    let back = async {
        while first.count(UNARY) == asked {
            grpc(&client).await;
        }
    };
    within(3.0, "back", back).await;
}

#[tokio::test]
async fn a_key_leads_to_one_replica_while_it_is_there() {
    let replicas = [standin().await, standin().await, standin().await];
    let ravelin = before(&replicas.each_ref(), "hash: \"header:x-org\"");
    let client = Client::plain(ravelin.plain()).await;
    let mut homes = std::collections::BTreeSet::new();
    for key in 0..12 {
        let before = replicas.each_ref().map(|one| one.count(REST));
        for _ in 0..5 {
            let ask = with(get("localhost", REST), "x-org", &format!("org-{key}"));
            assert_eq!(soon("rest", client.send(ask)).await.unwrap().status(), 200);
        }
        let got: Vec<usize> =
            replicas.iter().zip(before).map(|(one, before)| one.count(REST) - before).collect();
        assert!(got.contains(&5), "org-{key}: {got:?}");
        homes.insert(got.iter().position(|count| *count == 5));
    }
    assert!(homes.len() > 1, "keys are spread");
}

/// A server that serves by `Health/Check`, and answers `Health/Watch` as gRPC servers without it do that
/// send a head first: how often each was asked.
async fn without_watch() -> (SocketAddr, [Arc<AtomicUsize>; 2]) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = [Arc::<AtomicUsize>::default(), Arc::default()];
    let counts = asked.clone();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((request, mut answer))) = connection.accept().await {
            let watch = request.uri().path().ends_with("/Watch");
            counts[usize::from(watch)].fetch_add(1, Ordering::Relaxed);
            let head = http::Response::builder().header("content-type", "application/grpc");
            let mut body = answer.send_response(head.body(()).unwrap(), false).unwrap();
            let status = if watch { "12" } else { "0" };
            if !watch {
                body.send_data(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]), false).unwrap();
            }
            let trailers = [("grpc-status".parse().unwrap(), status.parse().unwrap())];
            body.send_trailers(trailers.into_iter().collect()).unwrap();
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_server_without_health_watch_is_asked_for_it_once_and_not_again_at_once() {
    let (address, [checked, watched]) = without_watch().await;
    let endpoint = EndpointPlan {
        name: "up".into(),
        protocol: Protocol::H2c,
        address: Address::Tcp { host: address.ip().to_string().into(), port: address.port() },
    };
    let plan = ClusterPlan { endpoints: vec![endpoint], ..bare("c".into()) };
    let members = Members::new(&Arc::new(plan), &Arc::default()).unwrap();
    let member = members.list().first().unwrap().clone();
    let check = Check::Grpc { service: Box::default() };
    let mut session = Session::new(member, check, Duration::from_secs(5));
    assert_eq!(soon("asked", session.ask()).await, [Finding::Good, Finding::Good]);
    soon("its end is news once", session.ended()).await;
    assert_eq!(soon("asked again", session.ask()).await, [Finding::Good, Finding::Good]);
    assert!(futures_util::poll!(std::pin::pin!(session.ended())).is_pending());
    assert_eq!(checked.load(Ordering::Relaxed), 2);
    assert_eq!(watched.load(Ordering::Relaxed), 1);
}
