//! What one endpoint is given at most, and what becomes of the rest.

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use ravelin::upstream::state::{Health, Need};

use crate::support::faults::{config, eventually, get, soon, with, within};
use crate::support::h2::Client;
use crate::support::{Ravelin, standin};

const UNARY: &str = "/ravelin.test.Echo/Unary";
const SLOW: (&str, &str) = ("x-standin-order", "slow-head=200");

#[tokio::test]
async fn beyond_the_cap_exchanges_wait_and_beyond_the_queue_they_are_refused_at_once() {
    let standin = standin().await;
    let endpoint = format!("h2c://{}", standin.address());
    let caps = "max_in_flight: 2, max_pending: 3";
    let ravelin = Ravelin::start(&config(&[endpoint], caps, ""));
    let client = Client::plain(ravelin.plain()).await;
    client.grpc(UNARY, &[], b"the connection is there").await.unwrap();
    let most = std::cell::Cell::new(0);
    let watch = async {
        loop {
            most.set(most.get().max(standin.in_flight()));
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let calls = join_all((0..10).map(|_| client.grpc(UNARY, &[SLOW], b"m")));
    let answers = tokio::select! {
        answers = within(3.0, "calls", calls) => answers,
        () = watch => unreachable!(),
    };
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let good = answers.iter().filter(|answer| answer.trailer("grpc-status") == "0").count();
    assert_eq!(good, 5, "two at once, and three that waited");
    assert_eq!(most.get(), 2);
    for refused in answers.iter().filter(|answer| answer.header("grpc-status") == "14") {
        assert_eq!(refused.header("grpc-retry-pushback-ms"), "1000");
    }
    assert_eq!(ravelin.metric("ravelin_upstream_queue_refused_total"), 5.0);
    assert_eq!(ravelin.metric("ravelin_upstream_queue_waiting"), 0.0);
    let again = client.grpc(UNARY, &[], b"m").await.unwrap();
    assert_eq!(again.trailer("grpc-status"), "0", "every place was given back");
}

#[tokio::test]
async fn http1_is_capped_too_and_who_gives_up_leaves_the_queue() {
    let standin = standin().await;
    let endpoint = format!("http://{}", standin.address());
    let ravelin = Ravelin::start(&config(&[endpoint], "max_in_flight: 1", ""));
    let client = Client::plain(ravelin.plain()).await;
    let get = || client.get("/admin/v1/healthz?order=slow-head=100");
    let gone = async {
        let _ = tokio::time::timeout(std::time::Duration::from_millis(50), get()).await;
    };
    let calls = join_all((0..4).map(|_| get()));
    let (answers, ()) = within(3.0, "calls", futures_util::future::join(calls, gone)).await;
    for answer in answers {
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert_eq!(standin.connections_total(), 1, "one after the other");
    eventually("nobody waits", || ravelin.metric("ravelin_upstream_queue_waiting") == 0.0).await;
}

#[tokio::test]
async fn who_waits_at_a_replica_that_goes_down_or_is_drained_is_served_by_another() {
    for drained in [false, true] {
        let (going, staying) = (standin().await, standin().await);
        let names = [&going, &staying].map(|one| format!("h2c://{}", one.address()));
        let cluster = "max_in_flight: 1, health: {check: zitadel, interval: 50ms}";
        let ravelin = Ravelin::start(&config(&names, cluster, ""));
        let [state, other] =
            names.each_ref().map(|name| ravelin.roster().find(None, Some(name)).remove(0));
        eventually("both are ready", || {
            [&state, &other].iter().all(|one| one.health(Need::Rpc) == Health::Ready)
        })
        .await;
        let client = Client::plain(ravelin.plain()).await;
        // The first to come there never leaves, so that those behind it would wait for ever.
        let stall = format!("slow-head=20,stall-at={}", going.address().port());
        let order = [("x-standin-order", &*stall)];
        let mut calls: FuturesUnordered<_> =
            (0..12).map(|_| client.grpc(UNARY, &order, b"m")).collect();
        let mut served = 0;
        let take_down = async {
            eventually("somebody waits there", || state.waiting() > 0).await;
            if drained {
                ravelin.roster().set_draining(None, Some(&names[0]), true);
            } else {
                going.set_ready(false);
            }
            eventually("all have left", || state.waiting() == 0).await;
        };
        let serving = async {
            while served < 11 {
                let answer = calls.next().await.unwrap().unwrap();
                assert_eq!(answer.trailer("grpc-status"), "0", "{answer:?}");
                served += 1;
            }
        };
        within(10.0, "served", futures_util::future::join(take_down, serving)).await;
        assert_eq!(going.count(UNARY), 1, "who is there stays there");
    }
}

#[tokio::test]
async fn nobody_waits_for_an_endpoint_while_another_has_a_place_whichever_worker_took_the_first() {
    let (one, other) = (standin().await, standin().await);
    let endpoints = [&one, &other].map(|standin| format!("h2c://{}", standin.address()));
    let ravelin = Ravelin::start(
        &config(&endpoints, "max_in_flight: 1", "").replace("workers: 1", "workers: 2"),
    );
    // Which worker takes a connection is chance, and so is the endpoint if nothing speaks against it.
    for i in 0..12 {
        let (first, second) =
            (Client::plain(ravelin.plain()).await, Client::plain(ravelin.plain()).await);
        let stalled = with(get("localhost", "/bytes/1"), "x-standin-order", "stall-head");
        let stalled = tokio::spawn(async move { first.send(stalled).await.map(|_| ()) });
        eventually("stalled", || one.in_flight() + other.in_flight() == 1).await;
        let answer = soon("the other", second.get("/bytes/1")).await.unwrap();
        assert_eq!(answer.status(), 200, "{i}");
        stalled.abort();
        eventually("given up", || one.in_flight() + other.in_flight() == 0).await;
    }
}
