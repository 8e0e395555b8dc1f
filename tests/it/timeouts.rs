//! Each clock, one after the other, and the time that is left as upstream is told it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ravelin::standin::{Blackhole, Options, Standin};

use crate::support::faults::{
    Http1, config, eventually, get, grpc_timeout, http1, post, soon, with, within,
};
use crate::support::h2::{Client, read};
use crate::support::{Ravelin, standin};

const UNARY: &str = "/ravelin.test.Echo/Unary";

fn before(upstream: &str, cluster: &str, more: &str) -> Ravelin {
    Ravelin::start(&config(&[upstream.to_owned()], cluster, more))
}

#[tokio::test]
async fn a_handshake_that_upstream_never_answers_ends_with_the_connect_clock() {
    let blackhole = Blackhole::start().unwrap();
    for scheme in ["h2", "https"] {
        let ravelin = before(
            &format!("{scheme}://{}", blackhole.address()),
            "connect_timeout: 200ms, tls: {ca: \"{ca}\"}",
            "",
        );
        let client = Client::plain(ravelin.plain()).await;
        let began = Instant::now();
        let answer = soon(scheme, client.get("/admin/v1/healthz")).await.unwrap();
        assert_eq!(answer.status(), 503, "{scheme}: {answer:?}");
        assert!(began.elapsed() >= Duration::from_millis(200));
        let causes = ravelin.metric("ravelin_errors_total{cause=\"upstream_connect_timeout\"");
        assert_eq!(causes, 1.0, "{scheme}");
    }
}

#[tokio::test]
async fn a_server_that_never_says_a_word_ends_with_the_first_byte_clock() {
    let blackhole = Blackhole::start().unwrap();
    for scheme in ["h2c", "http"] {
        let upstream = format!("{scheme}://{}", blackhole.address());
        let ravelin = before(&upstream, "", "timeouts: {first_byte: 200ms}");
        let client = Client::plain(ravelin.plain()).await;
        let answer = soon(scheme, client.get("/admin/v1/healthz")).await.unwrap();
        assert_eq!(answer.status(), 504, "{scheme}: {answer:?}");
    }
}

#[tokio::test]
async fn the_first_byte_clock_begins_anew_while_the_upload_moves() {
    let standin = standin().await;
    for scheme in ["h2c", "http"] {
        let upstream = format!("{scheme}://{}", standin.address());
        let ravelin =
            before(&upstream, "", "timeouts: {first_byte: 300ms}\nlimits: {body_idle: 400ms}");
        let client = Client::plain(ravelin.plain()).await;
        let request = post("localhost", "/sink", "").map(|_| ());
        let (answer, mut body) = client.open(request, false).await.unwrap();
        // Three times as long as the clock, in steps that each fit into it.
        for _ in 0..9 {
            body.send_data(Bytes::from_static(b"piece"), false).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        body.send_data(Bytes::new(), true).unwrap();
        let answer = read(soon("upload", answer).await.unwrap()).await.unwrap();
        assert_eq!((answer.status(), answer.text()), (200, "{\"bytes\":45}"), "{scheme}");
        // One that stands still is the client's doing, and ends by its own clock.
        let request = post("localhost", "/sink", "").map(|_| ());
        let (answer, mut body) = client.open(request, false).await.unwrap();
        body.send_data(Bytes::from_static(b"piece"), false).unwrap();
        let answer = read(soon("stands still", answer).await.unwrap()).await.unwrap();
        assert_eq!(answer.status(), 408, "{scheme}");
    }
}

#[tokio::test]
async fn the_idle_clock_ends_what_stands_still_and_not_what_moves() {
    let standin = standin().await;
    let ravelin = before(&format!("h2c://{}", standin.address()), "", "timeouts: {idle: 300ms}");
    let client = Client::plain(ravelin.plain()).await;
    let stalled = with(get("localhost", "/bytes/10"), "x-standin-order", "stall");
    let moving = client.get("/sse?n=8");
    let (stalled, moving) =
        soon("idle", futures_util::future::join(client.send(stalled), moving)).await;
    assert!(stalled.unwrap_err().is_reset());
    assert_eq!(moving.unwrap().text().matches("data:").count(), 8);
    assert_eq!(ravelin.metric("ravelin_errors_total{cause=\"idle_timeout\""), 1.0);
    standin.wait_for_in_flight(0).await;
    assert_eq!(standin.cancelled(), 1, "upstream is told");
}

#[tokio::test]
async fn an_upload_that_moves_keeps_the_idle_clock_from_ending_a_silent_answer() {
    let standin = standin().await;
    let ravelin = before(&format!("h2c://{}", standin.address()), "", "timeouts: {idle: 300ms}");
    let client = Client::plain(ravelin.plain()).await;
    // The answer's head comes at once, its body only as the upload does; `stall` never says more.
    let request = with(post("localhost", "/echo", ""), "x-standin-order", "stall").map(|_| ());
    let (answer, mut body) = client.open(request, false).await.unwrap();
    let mut answer = soon("head", answer).await.unwrap().into_body();
    let began = Instant::now();
    for _ in 0..8 {
        // Far below the window of a stream that nobody reads.
        body.send_data(Bytes::from_static(b"piece"), false).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let error = soon("idle", answer.data()).await.unwrap().unwrap_err();
    assert!(error.is_reset(), "{error}");
    assert!(began.elapsed() >= Duration::from_millis(750), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_total_clock_ends_also_what_moves() {
    let standin = standin().await;
    let ravelin = before(&format!("h2c://{}", standin.address()), "", "timeouts: {total: 400ms}");
    let client = Client::plain(ravelin.plain()).await;
    let began = Instant::now();
    let endless = soon("endless", client.get("/sse")).await;
    assert!(endless.unwrap_err().is_reset());
    assert!(began.elapsed() >= Duration::from_millis(400));
    let before_head = with(get("localhost", "/"), "x-standin-order", "stall-head");
    assert_eq!(soon("head", client.send(before_head)).await.unwrap().status(), 504);
    assert_eq!(ravelin.metric("ravelin_errors_total{cause=\"total_timeout\""), 2.0);
}

fn left(seen: &ravelin::standin::Seen) -> Duration {
    grpc_timeout(seen.headers["grpc-timeout"].to_str().unwrap())
}

#[tokio::test]
async fn upstream_is_told_what_is_left_of_the_deadline() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    let client = Client::plain(ravelin.plain()).await;
    let order = [("grpc-timeout", "5S"), ("x-standin-order", "slow-head=150,refuse-once=deadline")];
    let answer = soon("retried", client.grpc(UNARY, &order, b"m")).await.unwrap();
    assert_eq!(answer.trailer("grpc-status"), "0");
    let seen = standin.requests();
    let (first, second) = (left(&seen[0]), left(&seen[1]));
    assert!(first <= Duration::from_secs(5) && first > Duration::from_secs(4), "{first:?}");
    assert!(first - second >= Duration::from_millis(150), "{first:?} {second:?}");
    let call = with(
        post("localhost", "/zitadel.settings.v2.SettingsService/GetGeneralSettings", "{}"),
        "content-type",
        "application/json",
    );
    client.send(with(call, "connect-timeout-ms", "5000")).await.unwrap();
    let seen = standin.requests().pop().unwrap();
    let told: u64 = seen.headers["connect-timeout-ms"].to_str().unwrap().parse().unwrap();
    assert!((4000..=5000).contains(&told), "{told}");
}

#[tokio::test]
async fn a_request_that_was_held_tells_upstream_what_is_left_then() {
    let address = standin().await.address();
    let ravelin = before(&format!("h2c://{address}"), "health: tcp", "retry: {hold: 5s}\n");
    // So that it is not even tried before it is back.
    let endpoint = ravelin.roster().find(None, None).remove(0);
    eventually("down", || endpoint.is_down()).await;
    let client = Client::plain(ravelin.plain()).await;
    let held = client.grpc(UNARY, &[("grpc-timeout", "8S")], b"m");
    let starting = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        Standin::start(Options { address, ..Options::default() }).await.unwrap()
    };
    let (answer, standin) = soon("held", futures_util::future::join(held, starting)).await;
    assert_eq!(answer.unwrap().trailer("grpc-status"), "0");
    let left = left(&standin.requests()[0]);
    assert!(left <= Duration::from_millis(7_600), "{left:?}");
}

#[tokio::test]
async fn a_deadline_ends_the_exchange_upstream_too() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    let client = Client::plain(ravelin.plain()).await;
    let order = [("grpc-timeout", "150m"), ("x-standin-order", "stall-head")];
    let began = Instant::now();
    let answer = soon("deadline", client.grpc(UNARY, &order, b"m")).await.unwrap();
    assert_eq!(answer.trailer("grpc-status"), "4");
    assert!(began.elapsed() >= Duration::from_millis(150));
    soon("told", standin.wait_for_cancelled(1)).await;
}

#[tokio::test]
async fn an_upstream_connection_without_work_is_closed() {
    for scheme in ["h2c", "http"] {
        let standin = standin().await;
        let ravelin = before(&format!("{scheme}://{}", standin.address()), "idle: 200ms", "");
        let client = Client::plain(ravelin.plain()).await;
        let began = Instant::now();
        assert_eq!(client.get("/admin/v1/healthz").await.unwrap().status(), 200);
        assert_eq!(standin.connections(), 1, "{scheme}: kept for the next");
        within(3.0, scheme, standin.wait_for_connections(0)).await;
        assert!(began.elapsed() >= Duration::from_millis(200));
        let open = || ravelin.metric("ravelin_upstream_connections_open");
        eventually("no connection is counted", || open() == 0.0).await;
        assert_eq!(client.get("/admin/v1/healthz").await.unwrap().status(), 200, "{scheme}");
        // One with work is not.
        assert_eq!(client.get("/sse?n=6").await.unwrap().status(), 200);
        assert_eq!(standin.connections_total(), 2, "{scheme}");
    }
}

#[tokio::test]
async fn a_client_over_http1_is_told_in_time_too() {
    let standin = standin().await;
    let ravelin =
        before(&format!("h2c://{}", standin.address()), "", "timeouts: {first_byte: 200ms}");
    let stalled = with(get("localhost", "/"), "x-standin-order", "stall-head");
    assert_eq!(soon("head", http1(ravelin.plain(), stalled)).await.unwrap().status(), 504);
}

/// Two clients that ask for a large answer and take nothing of it, one after the other.
async fn left_over_both_versions(ravelin: &Ravelin, cause: &str) {
    let download = get("localhost", "/bytes/100000000");
    let client = Client::plain(ravelin.plain()).await;
    let stalled = client.open(download.clone().map(|_| ()), true).await.unwrap().0.await.unwrap();
    let in_flight = || ravelin.metric("ravelin_requests_in_flight");
    eventually("left over HTTP/2", || in_flight() == 0.0).await;
    drop(stalled);
    let mut old = Http1::open(ravelin.plain()).await;
    old.send(download).await;
    old.head().await.unwrap();
    assert_eq!(in_flight(), 1.0);
    eventually("left over HTTP/1.1", || in_flight() == 0.0).await;
    let causes = format!("ravelin_errors_total{{cause=\"{cause}\"");
    eventually("counted as what it is", || ravelin.metric(&causes) == 2.0).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_left_over_both_versions() {
    let standin = standin().await;
    let yaml = config(&[format!("h2c://{}", standin.address())], "", "")
        .replace("name: plain,", "name: plain, limits: {idle: 300ms},");
    left_over_both_versions(&Ravelin::start(&yaml), "client_stalled").await;
}

#[tokio::test]
async fn the_total_clock_ends_what_a_client_does_not_take() {
    let standin = standin().await;
    let ravelin = before(&format!("h2c://{}", standin.address()), "", "timeouts: {total: 400ms}");
    left_over_both_versions(&ravelin, "total_timeout").await;
    standin.wait_for_in_flight(0).await;
}
