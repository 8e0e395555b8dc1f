//! The real binary: signals, exit codes, the log that is reopened, and what is said on the way.

use std::time::{Duration, Instant};

use futures_util::future::join;
use ravelin::standin::{Options, Refusing, Standin};

use crate::support::faults::{config, eventually, get, with, within};
use crate::support::h2::{Client, read};
use crate::support::process::Process;
use crate::support::standin;

fn before(standin: &Standin, more: &str) -> String {
    config(&[format!("h2c://{}", standin.address())], "", more)
}

#[tokio::test]
async fn sigterm_lets_a_large_download_and_a_grpc_stream_end_whole() {
    let standin = standin().await;
    let mut process = Process::start(&before(&standin, "shutdown: {grace: 20s}")).await;
    let client = Client::tls(process.address("https")).await;
    let (answer, _) =
        client.open(get("localhost", "/bytes/100000000").map(|_| ()), true).await.unwrap();
    let download = answer.await.unwrap();
    let other = Client::plain(process.address("plain")).await;
    let order = b"count=8,size=10,interval_ms=100";
    let stream = other.grpc("/ravelin.test.Echo/ServerStream", &[], order);
    let leave = async {
        standin.wait_for_requests("/ravelin.test.Echo/ServerStream", 1).await;
        process.signal("TERM");
        let (code, download) = join(process.exit(), read(download)).await;
        (code, download.unwrap())
    };
    let (stream, (code, download)) = within(20.0, "SIGTERM", join(stream, leave)).await;
    assert_eq!(download.body.len(), 100_000_000);
    let stream = stream.unwrap();
    assert_eq!((stream.body.len(), stream.trailer("grpc-status")), (8 * 15, "0"));
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_and_not_with_zero() {
    let standin = standin().await;
    let mut process = Process::start(&before(&standin, "shutdown: {grace: 30s}")).await;
    let client = Client::plain(process.address("plain")).await;
    let stalled = with(get("localhost", "/bytes/5"), "x-standin-order", "stall-head");
    let stalled = tokio::spawn(async move { client.send(stalled).await });
    standin.wait_for_requests("/bytes", 1).await;
    process.signal("TERM");
    eventually("it drains", || process.heard("draining") > 0).await;
    // At once it would be the same one.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    process.signal("TERM");
    let code = within(3.0, "second signal", process.exit()).await;
    assert!(code.is_some_and(|code| code != 0), "{code:?}");
    assert!(began.elapsed() < Duration::from_secs(1));
    assert!(stalled.await.unwrap().is_err());
}

#[tokio::test]
async fn the_same_signal_twice_at_once_is_one_and_lets_what_is_under_way_end() {
    let standin = standin().await;
    let mut process = Process::start(&before(&standin, "shutdown: {grace: 20s}")).await;
    let client = Client::plain(process.address("plain")).await;
    let slow = client.get("/bytes/5?order=slow-head=800");
    let leave = async {
        standin.wait_for_requests("/bytes", 1).await;
        process.signal_twice();
        process.exit().await
    };
    let (slow, code) = within(10.0, "SIGTERM", join(slow, leave)).await;
    assert_eq!((slow.unwrap().body.len(), code), (5, Some(0)));
    assert_eq!(process.heard("cutting"), 0);
}

#[tokio::test]
async fn sighup_reopens_the_access_log() {
    let standin = standin().await;
    let more = "access_log: {format: json, output: \"{folder}/access.log\"}";
    let mut process = Process::start(&before(&standin, more)).await;
    let path = process.folder.path().join("access.log");
    let old = process.folder.path().join("access.log.1");
    let lines =
        |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    let client = Client::plain(process.address("plain")).await;
    client.get("/admin/v1/healthz").await.unwrap();
    eventually("one record", || lines(&path) == 1).await;
    std::fs::rename(&path, &old).unwrap();
    process.signal("HUP");
    eventually("a new file", || path.exists()).await;
    client.get("/admin/v1/healthz").await.unwrap();
    eventually("the next record", || lines(&path) == 1).await;
    assert_eq!(lines(&old), 1);
    // The last record is written before the end.
    client.get("/admin/v1/healthz").await.unwrap();
    drop(client);
    process.signal("INT");
    assert_eq!(within(5.0, "SIGINT", process.exit()).await, Some(0));
    assert_eq!(lines(&path), 2);
}

#[tokio::test]
async fn an_upstream_that_is_away_is_worth_one_line_when_it_goes_and_one_when_it_comes() {
    let refusing = Refusing::start().unwrap();
    let address = refusing.address();
    let mut process = Process::start(&config(&[format!("h2c://{address}")], "", "")).await;
    let client = Client::plain(process.address("plain")).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(500) {
        assert_eq!(client.get("/admin/v1/healthz").await.unwrap().status(), 503);
    }
    drop(refusing);
    let _standin = Standin::start(Options { address, ..Options::default() }).await.unwrap();
    let came = Instant::now();
    while client.get("/admin/v1/healthz").await.unwrap().status() != 200 {
        assert!(came.elapsed() < Duration::from_millis(1500));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(client);
    process.signal("TERM");
    assert_eq!(within(5.0, "SIGTERM", process.exit()).await, Some(0));
    eventually("all is read", || process.heard("drained") > 0).await;
    assert_eq!(process.heard("cannot connect to upstream"), 1);
    assert_eq!(process.heard("upstream can be reached again"), 1);
}
