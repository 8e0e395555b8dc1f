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

/// A stalled call and a stalled download, and the records that are written of both.
async fn stalled(shutdown: &str) -> (Standin, Process) {
    let standin = standin().await;
    let log = "access_log: {format: json, output: \"{folder}/access.log\"}";
    let process = Process::start(&before(&standin, &format!("{log}\n{shutdown}"))).await;
    for order in ["stall-head", "stall"] {
        let client = Client::plain(process.address("plain")).await;
        let request = with(get("localhost", "/bytes/5"), "x-standin-order", order);
        tokio::spawn(async move { client.send(request).await });
    }
    standin.wait_for_requests("/bytes", 2).await;
    (standin, process)
}

/// Every one of them was Ravelin's doing, and no client's.
fn both_were_cut(process: &Process) {
    let text = std::fs::read_to_string(process.folder.path().join("access.log")).unwrap();
    let causes: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["cause"].clone())
        .collect();
    assert_eq!(causes, ["cut", "cut"], "{text}");
    let line = process.line("were cut before they had ended").unwrap_or_default();
    assert!(line.contains("exchanges=2"), "{line}");
    assert_eq!(process.heard("drained"), 0, "it was not");
}

#[tokio::test]
async fn what_the_end_of_the_grace_cuts_is_counted_and_recorded_as_that() {
    let (_standin, mut process) = stalled("shutdown: {grace: 300ms}").await;
    process.signal("TERM");
    assert_eq!(within(10.0, "grace", process.exit()).await, Some(0));
    eventually("all is read", || process.heard("were cut") > 0).await;
    let line = process.line("draining").unwrap();
    for part in ["exchanges=2", "grace=300ms", "another signal cuts it"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    both_were_cut(&process);
}

#[tokio::test]
async fn what_a_second_signal_cuts_is_recorded_also_before_the_listeners_have_closed() {
    for shutdown in ["shutdown: {grace: 60s}", "shutdown: {delay: 60s, grace: 60s}"] {
        let (_standin, mut process) = stalled(shutdown).await;
        process.signal("TERM");
        eventually("it drains", || process.heard("draining") > 0).await;
        // At once it would be the same one.
        tokio::time::sleep(Duration::from_millis(300)).await;
        process.signal("TERM");
        assert_eq!(within(10.0, "second signal", process.exit()).await, Some(1), "{shutdown}");
        eventually("all is read", || process.heard("were cut") > 0).await;
        both_were_cut(&process);
    }
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

/// The lowest number that a file of this process would be given: with this limit it can open none.
#[cfg(target_os = "linux")]
fn no_more_files(id: u32) -> u64 {
    let open = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap();
    let open: Vec<u64> =
        open.map(|one| one.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    (0..).find(|number| !open.contains(number)).unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_want_of_files_of_ravelins_own_speaks_against_no_endpoint() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let standin = standin().await;
    let here = "routes:\n  - {match: {path: /here}, respond: {body: here}}\n";
    let cluster = "health: {check: zitadel, interval: 1h}";
    let yaml = config(&[format!("h2c://{}", standin.address())], cluster, "");
    let process = Process::start(&yaml.replace("routes:\n", here)).await;
    eventually("checked", || process.heard("upstream is ready") == 2).await;
    let client = Client::plain(process.address("plain")).await;
    assert_eq!(client.get("/here").await.unwrap().status(), 200, "the client is connected");
    let pid = Pid::from_raw(i32::try_from(process.id()).unwrap());
    let limited = |most: Option<u64>, maximum| {
        prlimit(pid, Resource::Nofile, Rlimit { current: most, maximum }).unwrap()
    };
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let before = limited(Some(no_more_files(process.id())), maximum);
    let answer = within(5.0, "refused", client.get("/admin/v1/healthz")).await.unwrap();
    assert_eq!((answer.status(), answer.header("retry-after")), (503, "1"));
    eventually("it was that", || process.heard("Too many open files") >= 1).await;
    limited(before.current, before.maximum);
    let again = async {
        while client.get("/admin/v1/healthz").await.unwrap().status() != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(5.0, "it connects again", again).await;
    // Whoever is taken to be down leaves its cluster without an endpoint, which would be said.
    for words in ["no endpoint of the cluster is left", "upstream is down"] {
        assert_eq!(process.heard(words), 0, "{words}");
    }
}

/// Half of what a small Ravelin held were huge pages that it filled hardly any of.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn it_takes_no_huge_pages() {
    let standin = standin().await;
    let yaml = config(&[format!("h2c://{}", standin.address())], "", "");
    let process = Process::start(&yaml).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    // Linux 5.0 and newer.
    let told = status.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
    assert_eq!(told.unwrap_or("0").trim(), "0");
}
