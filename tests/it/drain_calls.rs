//! Taking endpoints down by a call: it answers when nothing is in flight there.

use std::time::{Duration, Instant};

use futures_util::future::join;
use ravelin::standin::{Options, Standin};

use crate::support::faults::{Http1, config, eventually, get, http1, post, soon, with, within};
use crate::support::h2::{Answer, Client};
use crate::support::process::Process;
use crate::support::{Ravelin, standin};

fn start(standins: &[&Standin]) -> Ravelin {
    let endpoints: Vec<_> =
        standins.iter().map(|standin| format!("h2c://{}", standin.address())).collect();
    Ravelin::start(&config(&endpoints, "", ""))
}

async fn call(ravelin: &Ravelin, path: &str) -> Answer {
    http1(ravelin.admin(), get("localhost", path)).await.unwrap()
}

#[tokio::test]
async fn a_drain_answers_when_the_stream_in_flight_has_ended_and_others_serve_meanwhile() {
    let (first, second) = (standin().await, standin().await);
    let ravelin = start(&[&first, &second]);
    let client = Client::plain(ravelin.plain()).await;
    let order = b"count=6,size=10,interval_ms=100";
    let path = "/ravelin.test.Echo/ServerStream";
    let streaming = client.grpc(path, &[], order);
    let draining = async {
        while first.count(path) + second.count(path) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (busy, other) =
            if first.count(path) > 0 { (&first, &second) } else { (&second, &first) };
        let drain = format!("/drain?cluster=up&endpoint=h2c://{}&timeout=5s", busy.address());
        let began = Instant::now();
        let serving = async {
            let before = other.count("/admin/v1/healthz");
            for _ in 0..10 {
                assert_eq!(client.get("/admin/v1/healthz").await.unwrap().status(), 200);
            }
            assert_eq!(other.count("/admin/v1/healthz"), before + 10);
        };
        // The call may take its time to arrive: what comes after it goes elsewhere.
        let (answer, ()) = join(call(&ravelin, &drain), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            serving.await;
        })
        .await;
        (began.elapsed(), answer, busy)
    };
    let (stream, (took, answer, busy)) = within(8.0, "drain", join(streaming, draining)).await;
    assert_eq!(stream.unwrap().trailer("grpc-status"), "0");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert!(answer.text().contains("\"in_flight\": 0"), "{}", answer.text());
    assert!(answer.text().contains("\"warnings\": []"), "another one is left: {}", answer.text());
    assert!(took > Duration::from_millis(200), "{took:?}");
    // Taken back, it serves again.
    let before = busy.count("/admin/v1/healthz");
    assert_eq!(call(&ravelin, "/undrain").await.status(), 200);
    // Slowly at first, and by chance: somebody is sent there before long.
    let asking = async {
        while busy.count("/admin/v1/healthz") == before {
            assert_eq!(client.get("/admin/v1/healthz").await.unwrap().status(), 200);
        }
    };
    within(8.0, "taken back", asking).await;
}

#[tokio::test]
async fn a_drain_whose_time_is_over_says_what_is_still_there() {
    let standin = standin().await;
    let ravelin = start(&[&standin]);
    let client = Client::plain(ravelin.plain()).await;
    let stalled = with(get("localhost", "/bytes/5"), "x-standin-order", "stall-head");
    let stalled = tokio::spawn(async move { client.send(stalled).await });
    standin.wait_for_requests("/bytes", 1).await;
    let answer =
        soon("the time", http1(ravelin.admin(), post("localhost", "/drain?timeout=200ms", "")));
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 504, "{}", answer.text());
    for part in ["\"in_flight\": 1", "\"draining\": true", &standin.address().to_string()] {
        assert!(answer.text().contains(part), "{part} in {}", answer.text());
    }
    // Nobody else is there: new requests find no endpoint.
    let client = Client::plain(ravelin.plain()).await;
    assert_eq!(client.get("/admin/v1/healthz").await.unwrap().status(), 503);
    assert_eq!(call(&ravelin, "/undrain").await.status(), 200);
    assert_eq!(client.get("/admin/v1/healthz").await.unwrap().status(), 200);
    stalled.abort();
}

#[tokio::test]
async fn a_drain_that_leaves_nobody_asks_clients_to_go_first_and_serves_what_they_have_under_way() {
    let standin = standin().await;
    let process = Process::start(&config(&[format!("h2c://{}", standin.address())], "", "")).await;
    let client = Client::plain(process.address("plain")).await;
    let mut kept = Http1::open(process.address("plain")).await;
    kept.send(get("localhost", "/admin/v1/healthz")).await;
    assert_eq!(kept.read().await.unwrap().status(), 200);
    let order = b"count=20,size=10,interval_ms=100";
    let path = "/ravelin.test.Echo/ServerStream";
    let streaming = client.grpc(path, &[], order);
    let draining = async {
        standin.wait_for_requests(path, 1).await;
        let drain = http1(process.address("\"admin\""), get("localhost", "/drain?timeout=10s"));
        let going = async {
            soon("GOAWAY", async {
                while client.is_open().await {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
            // What comes in the meantime is served, and told to come elsewhere next.
            kept.send(get("localhost", "/admin/v1/healthz")).await;
            let last = kept.read().await.unwrap();
            assert_eq!((last.status(), last.header("connection")), (200, "close"));
        };
        join(drain, going).await.0.unwrap()
    };
    let (stream, answer) = within(10.0, "drain", join(streaming, draining)).await;
    assert_eq!(stream.unwrap().trailer("grpc-status"), "0");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(process.heard("clients are asked to go"), 1);
    // The commands say the same, and exit as they should.
    let ravelin = |arguments: &[&str]| {
        let admin = process.address("\"admin\"").to_string();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ravelin"));
        let outcome = command.args(arguments).args(["--admin", &admin]).output().unwrap();
        (outcome.status.code(), String::from_utf8(outcome.stdout).unwrap())
    };
    let (code, said) = ravelin(&["undrain", "--cluster", "up"]);
    assert!(code == Some(0) && said.contains("\"draining\": false"), "{code:?} {said}");
    let (code, said) = ravelin(&["reload"]);
    assert!(code == Some(0) && said.contains("\"reloaded\": true"), "{code:?} {said}");
    assert_eq!(ravelin(&["drain", "--endpoint", "h2c://nobody:1"]).0, Some(1));
    assert_eq!(ravelin(&["drain", "--all", "--timeout", "soon"]).0, Some(64));
}

#[tokio::test]
async fn a_drain_that_empties_a_cluster_is_warned_of_everywhere_and_ravelin_stays_ready() {
    let standin = standin().await;
    let record = "access_log: {format: json, output: \"{folder}/access.log\"}";
    let yaml = config(&[format!("h2c://{}", standin.address())], "", record);
    let process = Process::start(&yaml).await;
    let admin = process.address("\"admin\"");
    let asked = async |path: &str| http1(admin, get("localhost", path)).await.unwrap();
    let ravelin = async |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ravelin"));
        command.args(arguments).args(["--admin", &admin.to_string()]);
        let running = tokio::task::spawn_blocking(move || command.output().unwrap());
        let outcome = within(10.0, "the command", running).await.unwrap();
        (outcome.status.code(), String::from_utf8(outcome.stderr).unwrap())
    };
    // Not all of them without being asked to.
    let (code, said) = ravelin(&["drain"]).await;
    assert!(code == Some(64) && said.contains("--all"), "{code:?} {said}");
    assert_eq!(process.heard("no endpoint of the cluster is left"), 0);
    let (code, said) = ravelin(&["drain", "--cluster", "up", "--for", "1h"]).await;
    assert_eq!(code, Some(0), "{said}");
    for words in
        ["warning: cluster up has no endpoint left", "1h are over", "ravelin undrain --cluster up"]
    {
        assert!(said.contains(words), "{words} in {said}");
    }
    eventually("it is logged", || {
        process.heard("no endpoint of the cluster is left") == 1
            && process.heard("1 of 1 endpoints drained") == 1
    })
    .await;
    assert_eq!(asked("/readyz").await.status(), 200, "no server behind makes the edge unready");
    let page = asked("/").await;
    assert!(page.text().contains("Cluster up has no endpoint left"), "{}", page.text());
    let metrics = asked("/metrics").await;
    let gauge = metrics.text().lines().find(|line| line.contains("_endpoint_healthy{")).unwrap();
    assert!(gauge.ends_with(" 0"), "{gauge}");
    let refused = http1(process.address("plain"), get("localhost", "/admin/v1/healthz")).await;
    assert_eq!(refused.unwrap().status(), 503);
    let file = process.folder.path().join("access.log");
    eventually("it is recorded why", || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.contains("it is drained"))
    })
    .await;
    assert_eq!(ravelin(&["undrain"]).await.0, Some(0));
    eventually("it is back", || process.heard("the cluster has an endpoint again") == 1).await;
    assert!(!asked("/").await.text().contains("has no endpoint left"));
    let answer = http1(process.address("plain"), get("localhost", "/admin/v1/healthz")).await;
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test]
async fn a_cluster_whose_last_endpoint_dies_is_warned_of_once_and_so_is_its_return() {
    let (first, second) = (standin().await, standin().await);
    let addresses = [first.address(), second.address()];
    let endpoints = addresses.map(|address| format!("h2c://{address}"));
    let process = Process::start(&config(&endpoints, "health: zitadel", "")).await;
    let [gone, back] = ["no endpoint of the cluster is left", "the cluster has an endpoint again"];
    first.kill();
    eventually("the first is down", || process.heard("upstream is down") >= 1).await;
    assert_eq!(process.heard(gone), 0);
    second.kill();
    eventually("none is left", || process.heard(gone) == 1).await;
    assert_eq!(process.heard("2 of 2 endpoints down"), 1);
    let options = Options { address: addresses[0], ..Options::default() };
    let _first = Standin::start(options).await.unwrap();
    eventually("one is back", || process.heard(back) == 1).await;
    assert_eq!(process.heard(gone), 1);
}
