//! Upstream that is not there yet, or not any more: asked again by itself, not too often.

use std::time::{Duration, Instant};

use ravelin::standin::{Options, Refusing, Standin};

use crate::support::Ravelin;
use crate::support::faults::{get, http1, soon, websocket};
use crate::support::h2::Client;

#[tokio::test]
async fn an_upstream_that_comes_later_is_found_without_a_restart() {
    for scheme in ["h2c", "http"] {
        let refusing = Refusing::start().unwrap();
        let address = refusing.address();
        let ravelin = Ravelin::before(&format!("{scheme}://{address}"));
        let client = Client::plain(ravelin.plain()).await;
        let ask = async || {
            soon("asked", client.send(get("localhost", "/admin/v1/healthz"))).await.unwrap()
        };
        let began = Instant::now();
        for _ in 0..200 {
            let answer = ask().await;
            assert_eq!((answer.status(), answer.header("retry-after")), (503, "1"));
        }
        // While it pauses it answers from memory: connects are few, however many ask.
        let tried = ravelin.metric("ravelin_upstream_connects_total");
        let most = 2.0 + began.elapsed().as_secs_f64() / 0.025;
        assert!(tried >= 1.0 && tried <= most && tried < 100.0, "{scheme}: {tried} connects");
        drop(refusing);
        let _standin = Standin::start(Options { address, ..Options::default() }).await.unwrap();
        let came = Instant::now();
        while ask().await.status() != 200 {
            assert!(came.elapsed() < Duration::from_millis(1500), "{scheme}: not found again");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(ask().await.status(), 200, "and stays found");
    }
}

#[tokio::test]
async fn while_it_pauses_a_call_fails_at_once() {
    let refusing = Refusing::start().unwrap();
    let ravelin = Ravelin::before(&format!("h2c://{}", refusing.address()));
    let client = Client::plain(ravelin.plain()).await;
    // Long enough for the pauses to have grown.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(600) {
        assert_eq!(client.get("/").await.unwrap().status(), 503);
    }
    let before = ravelin.metric("ravelin_upstream_connects_total");
    let (began, calls) = (Instant::now(), 50);
    for _ in 0..calls {
        client.get("/").await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
    let connects = ravelin.metric("ravelin_upstream_connects_total") - before;
    assert!(connects <= 5.0, "{connects} connects for {calls} calls");
    let answer = http1(ravelin.plain(), websocket("localhost", "/ws")).await.unwrap();
    assert_eq!(answer.status(), 503);
}

#[tokio::test]
async fn a_kill_under_load_is_survived() {
    let first = Standin::start(Options::default()).await.unwrap();
    let address = first.address();
    let ravelin = Ravelin::before(&format!("h2c://{address}"));
    let client = Client::plain(ravelin.plain()).await;
    let calls = (0..50).map(|_| {
        let call =
            client.grpc("/ravelin.test.Echo/Unary", &[("x-standin-order", "stall-head")], b"m");
        async move { call.await.unwrap().trailer("grpc-status").to_owned() }
    });
    let calls = futures_util::future::join_all(calls);
    let kill = async {
        first.wait_for_in_flight(50).await;
        first.kill();
    };
    let (codes, ()) = soon("kill", futures_util::future::join(calls, kill)).await;
    assert!(codes.iter().all(|code| code == "14"), "{codes:?}");
    let _second = Standin::start(Options { address, ..Options::default() }).await.unwrap();
    let came = Instant::now();
    while client.get("/admin/v1/healthz").await.unwrap().status() != 200 {
        assert!(came.elapsed() < Duration::from_millis(1500));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
