//! Connections to an HTTP/2 upstream: how many streams they take, how old they get, and how one is
//! found out whose other end is no longer there.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use ravelin::standin::{Options, Standin};

use crate::support::Ravelin;
use crate::support::faults::{config, eventually, get, post, soon, within};
use crate::support::frames::{Frame, Frames, HEADERS, PREFACE, SETTINGS, frame, headers};
use crate::support::h2::{Client, read};
use crate::support::standin;
use crate::support::wire::{Upstream, Wire};

fn before(upstream: &str, cluster: &str) -> Ravelin {
    Ravelin::start(&config(&[format!("h2c://{upstream}")], cluster, ""))
}

#[tokio::test]
async fn a_cold_burst_before_a_peer_of_few_streams_fails_nobody_and_refuses_nothing() {
    let options = Options { max_streams: 7, ..Options::default() };
    let standin = Standin::start(options).await.unwrap();
    let ravelin = before(&standin.address().to_string(), "");
    let client = Client::plain(ravelin.plain()).await;
    // Larger than what is kept for a second attempt.
    let body = Bytes::from(vec![b'x'; 200_000]);
    let burst =
        (0..50).map(|_| client.send(post("localhost", "/sink?order=slow-head=30", body.clone())));
    for answer in within(10.0, "burst", join_all(burst)).await {
        let answer = answer.unwrap();
        assert_eq!((answer.status(), answer.text()), (200, "{\"bytes\":200000}"));
    }
    assert_eq!(standin.requests().len(), 50, "none was sent twice");
    assert_eq!(ravelin.metric("ravelin_upstream_retries_total"), 0.0);
    assert!(standin.connections_total() > 1, "the next is opened when one is full");
}

#[tokio::test]
async fn an_old_connection_gives_way_to_a_new_one_and_ends_with_its_last_stream() {
    for scheme in ["h2c", "http"] {
        let standin = standin().await;
        let upstream = format!("{scheme}://{}", standin.address());
        let ravelin = Ravelin::start(&config(&[upstream], "max_age: 300ms", ""));
        let client = Client::plain(ravelin.plain()).await;
        let request = get("localhost", "/sse?n=12").map(|_| ());
        let (answer, _) = client.open(request, true).await.unwrap();
        let answer = soon(scheme, answer).await.unwrap();
        let began = Instant::now();
        while standin.connections_total() < 3 {
            assert_eq!(client.get("/bytes/1").await.unwrap().status(), 200, "{scheme}");
            assert!(began.elapsed() < Duration::from_secs(5), "{scheme}: never renewed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let stream = within(5.0, scheme, read(answer)).await.unwrap();
        assert_eq!(stream.text().matches("data:").count(), 12, "{scheme}");
    }
}

/// Takes a connection and its preface, and answers with SETTINGS.
async fn greeted(upstream: &Upstream) -> Frames {
    let mut wire: Wire = upstream.accept().await;
    assert_eq!(wire.exactly(PREFACE.len()).await, PREFACE);
    wire.send(frame(SETTINGS, 0, 0, Vec::new()).bytes()).await;
    Frames::begun(wire)
}

/// Answers the next request with 204.
async fn answer(peer: &mut Frames) {
    let asked: Frame = peer.next_of(HEADERS).await.unwrap();
    peer.send(headers(asked.stream, true, &[(":status", "204")])).await;
}

#[tokio::test]
async fn an_upstream_that_vanished_without_a_word_is_found_out_and_another_connection_serves() {
    let upstream = Upstream::start().await;
    let ravelin = before(&upstream.address().to_string(), "keepalive: 400ms");
    let client = Client::plain(ravelin.plain()).await;
    let served = async {
        let mut peer = greeted(&upstream).await;
        answer(&mut peer).await;
        peer
    };
    let (first, mut vanished) = tokio::join!(client.get("/"), served);
    assert_eq!(first.unwrap().status(), 204);
    // Idle for longer than it may be silent, then used while nobody reads any more: asked at once.
    tokio::time::sleep(Duration::from_millis(450)).await;
    let began = Instant::now();
    let lost = tokio::spawn({
        let client = client.clone();
        async move { client.get("/lost").await }
    });
    // Doubted after a third of the time: whoever comes then is served elsewhere.
    tokio::time::sleep(Duration::from_millis(250)).await;
    let served = async { answer(&mut greeted(&upstream).await).await };
    let (second, ()) = tokio::join!(soon("elsewhere", client.get("/")), served);
    assert_eq!(second.unwrap().status(), 204);
    assert_eq!(soon("given up", lost).await.unwrap().unwrap().status(), 502);
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    let asked = vanished.next_of(HEADERS).await;
    assert!(asked.is_some(), "it had been sent");
}

#[tokio::test]
async fn an_upstream_that_is_silent_but_there_is_left_in_peace() {
    let standin = standin().await;
    let ravelin = before(&standin.address().to_string(), "keepalive: 100ms");
    let client = Client::plain(ravelin.plain()).await;
    let answer = soon("slow", client.get("/bytes/3?order=slow-head=1000")).await.unwrap();
    assert_eq!((answer.status(), answer.body.len()), (200, 3));
    assert_eq!(standin.connections_total(), 1);
}

#[tokio::test]
async fn a_server_that_takes_connections_and_never_greets_is_given_up_with_the_connect_clock() {
    let upstream = Upstream::start().await;
    let ravelin = before(&upstream.address().to_string(), "connect_timeout: 200ms");
    let client = Client::plain(ravelin.plain()).await;
    let (answer, _peer) = tokio::join!(soon("never greets", client.get("/")), upstream.accept());
    assert_eq!(answer.unwrap().status(), 503);
    let failed = || ravelin.metric("ravelin_errors_total{cause=\"upstream_connect_timeout\"");
    eventually("counted", || failed() == 1.0).await;
}

/// A server that takes one connection, on it one stream at a time, and closes the door behind it.
async fn of_one_stream() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (io, _) = listener.accept().await.unwrap();
        drop(listener);
        let mut builder = h2::server::Builder::new();
        let mut connection =
            builder.max_concurrent_streams(1).handshake::<_, Bytes>(io).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let _ = respond.send_response(http::Response::new(()), true);
            });
        }
    });
    address
}

#[tokio::test]
async fn those_in_line_wait_for_the_connection_that_is_there_when_no_other_can_be_opened() {
    let upstream = of_one_stream().await;
    let ravelin =
        Ravelin::start(&config(&[format!("h2c://{upstream}")], "", "retry: {hold: off}\n"));
    let client = Client::plain(ravelin.plain()).await;
    for _ in 0..2 {
        let calls = (0..4).map(|_| client.get("/"));
        for answer in within(5.0, "in turn", join_all(calls)).await {
            assert_eq!(answer.unwrap().status(), 200);
        }
    }
}
