//! One record for each exchange, true in every field, whatever became of it.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ravelin::standin::{Refusing, Standin};
use serde_json::Value;

use crate::support::faults::{Http1, config, eventually, get, http1, post, soon, websocket, with};
use crate::support::h2::{Client, frame};
use crate::support::{Ravelin, standin};

/// A Ravelin that writes its records to a file.
struct Recorded {
    ravelin: Ravelin,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Recorded {
    fn start(endpoints: &[String], more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("access.log");
        let log = format!("access_log: {{format: json, output: \"{}\"}}\n{more}", file.display());
        let ravelin = Ravelin::start(&config(endpoints, "", &log));
        Self { ravelin, file, _folder: folder }
    }

    fn before(standin: &Standin) -> Self {
        Self::start(&[format!("h2c://{}", standin.address())], "")
    }

    /// Exactly so many records, in the order in which the exchanges ended.
    async fn records(&self, count: usize) -> Vec<Value> {
        eventually("records", || lines(&self.file).len() >= count).await;
        // One too many would come with the next batch, which the end brings at the latest.
        self.ravelin.drain();
        self.ravelin.wait();
        let records = lines(&self.file);
        assert_eq!(records.len(), count, "{records:#?}");
        records
    }
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_good_exchange_is_recorded_with_all_that_is_known() {
    let standin = standin().await;
    let recorded = Recorded::before(&standin);
    let client = Client::tls(recorded.ravelin.https()).await;
    let request = post("localhost", "/echo?code=c0de&state=5tate&a=1", vec![b'e'; 3000]);
    let request = with(request, "referer", "https://localhost/cb?code=c0de&x=1");
    let request = with(request, "user-agent", "a test");
    let request = with(request, "x-request-id", "request-4711");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = with(request, "traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"));
    client.send(request).await.unwrap();
    client.grpc("/ravelin.test.Echo/Unary", &[("x-echo-status", "5")], b"12345").await.unwrap();
    drop(client);
    let records = recorded.records(2).await;
    let record = &records[0];
    let endpoint = format!("h2c://{}", standin.address());
    for (field, expected) in [
        ("listener", "https"),
        ("protocol", "h2"),
        ("tls", "TLSv1.3"),
        ("class", "rest"),
        ("method", "POST"),
        ("authority", "localhost"),
        ("path", "/echo?code=redacted&state=redacted&a=1"),
        ("referer", "https://localhost/cb?code=redacted&x=1"),
        ("user_agent", "a test"),
        ("request_id", "request-4711"),
        ("trace_id", trace),
        ("route", "all"),
        ("upstream.cluster", "up"),
        ("upstream.endpoint", &endpoint),
    ] {
        assert_eq!(record[field], expected, "{record:#}");
    }
    for (field, expected) in
        [("status", 200), ("attempts", 1), ("bytes_in", 3000), ("bytes_out", 3000)]
    {
        assert_eq!(record[field], expected, "{record:#}");
    }
    assert!(record.get("cause").is_none() && record.get("grpc.status").is_none(), "{record:#}");
    assert!(record["duration_ms"].as_f64() >= record["upstream.head_ms"].as_f64());
    assert!(record["client.addr"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(!record.to_string().contains("c0de") && !record.to_string().contains("5tate"));
    let call = &records[1];
    assert_eq!((&call["class"], &call["grpc.status"]), (&"grpc".into(), &5.into()), "{call:#}");
    assert_eq!((&call["status"], &call["bytes_in"]), (&200.into(), &10.into()), "{call:#}");
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_exactly_one_record() {
    let standin = standin().await;
    let recorded = Recorded::before(&standin);
    let stalled = with(get("localhost", "/bytes/9"), "x-standin-order", "stall-head");
    // Reset by the client before the head, over HTTP/2.
    let client = Client::plain(recorded.ravelin.plain()).await;
    let (answer, mut stream) = client.open(stalled.clone().map(|_| ()), true).await.unwrap();
    standin.wait_for_requests("/bytes/9", 1).await;
    stream.send_reset(h2::Reason::CANCEL);
    soon("reset", standin.wait_for_cancelled(1)).await;
    drop((answer, stream));
    // A connection that is gone, before the head, over HTTP/1.1.
    let mut kept = Http1::open(recorded.ravelin.plain()).await;
    kept.send(stalled).await;
    standin.wait_for_requests("/bytes/9", 2).await;
    drop(kept);
    soon("gone", standin.wait_for_cancelled(2)).await;
    // And in the middle of an answer without end, over both.
    let (answer, _) = client.open(get("localhost", "/sse").map(|_| ()), true).await.unwrap();
    let mut events = answer.await.unwrap().into_body();
    events.data().await.unwrap().unwrap();
    drop((events, client));
    soon("gone", standin.wait_for_cancelled(3)).await;
    let mut kept = Http1::open(recorded.ravelin.plain()).await;
    kept.send(get("localhost", "/sse")).await;
    assert_eq!(kept.head().await.unwrap().status(), 200);
    drop(kept);
    soon("gone", standin.wait_for_cancelled(4)).await;
    let records = recorded.records(4).await;
    for (record, status) in records.iter().zip([0, 0, 200, 200]) {
        assert_eq!(record["cause"], "client_gone", "{record:#}");
        assert_eq!(record["status"], status, "{record:#}");
    }
}

#[tokio::test]
async fn what_upstream_did_wrong_is_named() {
    let standin = standin().await;
    let recorded = Recorded::start(
        &[format!("h2c://{}", standin.address())],
        "timeouts: {first_byte: 200ms, idle: 200ms}",
    );
    let client = Client::plain(recorded.ravelin.plain()).await;
    let rows = [
        ("reset", "upstream_reset", 502),
        ("refuse", "upstream_refused", 503),
        ("stall-head", "upstream_timeout", 504),
        ("reset-mid-body", "upstream_incomplete", 200),
        ("die-mid-body", "upstream_incomplete", 200),
        ("stall", "idle_timeout", 200),
    ];
    for (order, ..) in rows {
        let download = with(get("localhost", "/bytes/100000"), "x-standin-order", order);
        let _ = soon(order, client.send(download)).await;
    }
    drop(client);
    let records = recorded.records(rows.len()).await;
    for (record, (order, cause, status)) in records.iter().zip(rows) {
        assert_eq!(
            (&record["cause"], &record["status"]),
            (&cause.into(), &status.into()),
            "{order}: {record:#}"
        );
        let attempts = if order == "refuse" { 3 } else { 1 };
        assert_eq!(record["attempts"], attempts, "{order}");
    }
    let detail = records[0]["detail"].as_str().unwrap();
    assert!(
        detail.contains("the peer reset the stream: INTERNAL_ERROR"),
        "the chain of causes: {detail}"
    );
}

#[tokio::test]
async fn attempts_and_the_last_endpoint_are_told() {
    let standin = standin().await;
    let refusing = Refusing::start().unwrap();
    let endpoints =
        [refusing.address(), standin.address()].map(|address| format!("h2c://{address}"));
    let recorded = Recorded::start(&endpoints, "");
    let client = Client::plain(recorded.ravelin.plain()).await;
    // Which of the two is asked first is chance; who has refused once is not asked again at once.
    for _ in 0..30 {
        client.get("/bytes/1").await.unwrap();
    }
    drop(client);
    let records = recorded.records(30).await;
    assert!(records.iter().all(|record| record["upstream.endpoint"] == endpoints[1]));
    let (again, once): (Vec<_>, Vec<_>) =
        records.iter().partition(|record| record["attempts"] == 2);
    assert!(once.iter().all(|record| record["attempts"] == 1));
    assert!(once.iter().all(|record| record["upstream.tried"].is_null()));
    let tried = serde_json::json!([{"endpoint": endpoints[0], "cause": "upstream_connect"}]);
    let first = again.first().expect("thirty times the other was asked first");
    assert_eq!(first["upstream.tried"], tried);
}

#[tokio::test]
async fn the_grpc_status_is_read_wherever_it_stands() {
    let standin = standin().await;
    let recorded = Recorded::before(&standin);
    let client = Client::plain(recorded.ravelin.plain()).await;
    let unary = "/ravelin.test.Echo/Unary";
    let call = |content_type, body: Bytes| {
        let call = with(post("localhost", unary, body), "content-type", content_type);
        with(call, "x-echo-status", "7")
    };
    for (content_type, body) in [
        ("application/grpc", frame(b"m")),
        ("application/grpc-web+proto", frame(b"m")),
        ("application/grpc-web-text", STANDARD.encode(frame(b"m")).into()),
    ] {
        assert_eq!(client.send(call(content_type, body)).await.unwrap().status(), 200);
    }
    // Made here, not upstream.
    let order = [("x-standin-order", "reset-mid-body")];
    client.grpc(unary, &order, b"message").await.unwrap();
    drop(client);
    let records = recorded.records(4).await;
    for (record, (class, status)) in
        records.iter().zip([("grpc", 7), ("grpc-web", 7), ("grpc-web-text", 7), ("grpc", 14)])
    {
        assert_eq!(
            (&record["class"], &record["grpc.status"]),
            (&class.into(), &status.into()),
            "{record:#}"
        );
    }
    assert_eq!(records[3]["cause"], "upstream_incomplete");
}

#[tokio::test]
async fn a_websocket_has_one_record_with_its_bytes() {
    use tokio::io::AsyncReadExt;
    let standin = standin().await;
    let recorded = Recorded::before(&standin);
    let mut tunnel = Http1::open(recorded.ravelin.plain()).await;
    tunnel.send(websocket("localhost", "/ws")).await;
    assert_eq!(tunnel.read().await.unwrap().status(), 101);
    tunnel.write([0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await;
    let mut echoed = [0; 4];
    tunnel.io.read_exact(&mut echoed).await.unwrap();
    drop(tunnel);
    let record = &recorded.records(1).await[0];
    assert_eq!(
        (&record["class"], &record["status"]),
        (&"websocket".into(), &101.into()),
        "{record:#}"
    );
    assert_eq!((&record["bytes_in"], &record["bytes_out"]), (&8.into(), &4.into()), "{record:#}");
}

#[tokio::test]
async fn what_ravelin_refuses_itself_is_recorded_too() {
    let standin = standin().await;
    let recorded = Recorded::before(&standin);
    let mut request = get("localhost", "/headers?token=t0ken");
    for _ in 0..300 {
        request.headers_mut().append("x-a", "b".parse().unwrap());
    }
    let client = Client::plain(recorded.ravelin.plain()).await;
    assert_eq!(client.send(request).await.unwrap().status(), 431);
    drop(client);
    let bad = get("localhost", "/x");
    assert_eq!(
        http1(recorded.ravelin.plain(), with(bad, "te", "gzip")).await.unwrap().status(),
        404
    );
    let records = recorded.records(2).await;
    assert_eq!(records[0]["cause"], "headers_too_large");
    assert_eq!(records[0]["path"], "/headers?token=redacted");
    assert!(!standin.requests().iter().any(|seen| seen.target.starts_with("/headers")));
}

#[tokio::test]
async fn the_attempt_that_was_the_last_is_not_among_those_before_it() {
    let standin = standin().await;
    let endpoint = format!("h2c://{}", standin.address());
    let recorded = Recorded::start(std::slice::from_ref(&endpoint), "");
    let client = Client::plain(recorded.ravelin.plain()).await;
    let write = with(post("localhost", "/sink", "x"), "x-standin-order", "reset");
    assert_eq!(soon("reset", client.send(write)).await.unwrap().status(), 502);
    let again = with(post("localhost", "/sink", "x"), "x-standin-order", "refuse-once=tried");
    assert_eq!(soon("refused", client.send(again)).await.unwrap().status(), 200);
    let records = recorded.records(2).await;
    assert_eq!(records[0]["attempts"], 1);
    assert_eq!(records[0]["upstream.endpoint"], *endpoint);
    assert!(records[0].get("upstream.tried").is_none(), "{}", records[0]);
    assert_eq!(records[1]["attempts"], 2);
    let tried = &records[1]["upstream.tried"];
    assert_eq!(tried[0]["cause"], "upstream_refused");
    assert_eq!(tried.as_array().unwrap().len(), 1);
}
