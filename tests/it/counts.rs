//! Thousands of exchanges, good and bad, and afterwards nothing is left of any.
#![cfg(target_os = "linux")]

use crate::support::faults::{Http1, config, eventually, get, post, websocket, with, within};
use crate::support::h2::Client;
use crate::support::{Ravelin, standin};

const EXCHANGES: usize = 5_000;
const CONNECTIONS: usize = 10;
/// Of one connection at once.
const TOGETHER: usize = 20;

/// One exchange of the mix; how it ends is not looked at here, only that it does.
async fn exchange(client: &Client, number: usize) {
    let ordered = |order| with(get("localhost", "/bytes/3000"), "x-standin-order", order);
    let unary = "/ravelin.test.Echo/Unary";
    match number % 14 {
        0 => drop(client.get("/bytes/20000").await),
        1 => drop(client.grpc(unary, &[], b"message").await),
        2 => drop(client.grpc("/ravelin.test.Echo/ServerStream", &[], b"count=5,size=100").await),
        3 => drop(client.send(post("localhost", "/echo", vec![0; 5000])).await),
        4 => drop(client.send(ordered("reset")).await),
        5 => drop(client.send(ordered("refuse")).await),
        6 => drop(client.send(ordered("reset-mid-body")).await),
        7 => drop(client.grpc(unary, &[("x-standin-order", "no-trailers")], b"m").await),
        8 => drop(client.send(ordered("stall-head")).await),
        9 => drop(
            client.grpc(unary, &[("grpc-timeout", "5m"), ("x-standin-order", "stall")], b"m").await,
        ),
        10 => drop(client.get("/no/such/route").await),
        11 if number % 28 == 11 => drop(client.send(ordered("goaway")).await),
        // Left by the client: at once, and in the middle of an answer.
        11 | 12 => {
            if let Ok((answer, mut stream)) =
                client.open(get("localhost", "/sse").map(|_| ()), true).await
            {
                if number.is_multiple_of(3) {
                    drop(answer.await);
                } else {
                    drop(answer);
                }
                stream.send_reset(h2::Reason::CANCEL);
            }
        }
        _ => drop(client.send(get("localhost", "/headers")).await),
    }
}

#[tokio::test]
async fn after_thousands_of_exchanges_nothing_is_left() {
    let standin = standin().await;
    let upstream = [format!("h2c://{}", standin.address())];
    let ravelin =
        Ravelin::start(&config(&upstream, "idle: 500ms", "timeouts: {first_byte: 30ms, idle: 2s}"));
    let tasks = (0..CONNECTIONS).map(|connection| {
        let address = if connection % 2 == 0 { ravelin.https() } else { ravelin.plain() };
        async move {
            let client = if connection % 2 == 0 {
                Client::tls(address).await
            } else {
                Client::plain(address).await
            };
            let lanes = (0..TOGETHER).map(|lane| {
                let client = client.clone();
                async move {
                    for round in 0..EXCHANGES / CONNECTIONS / TOGETHER {
                        exchange(&client, connection + lane * 7 + round * 3).await;
                    }
                }
            });
            futures_util::future::join_all(lanes).await;
        }
    });
    within(60.0, "the mix", futures_util::future::join_all(tasks)).await;
    // And some that vanish with their connection, over HTTP/1.1.
    for number in 0..20 {
        let mut old = Http1::open(ravelin.plain()).await;
        if number % 2 == 0 {
            old.send(websocket("localhost", "/ws")).await;
            assert_eq!(old.read().await.unwrap().status(), 101);
        } else {
            old.send(get("localhost", "/sse")).await;
            old.head().await.unwrap();
        }
    }
    let total = ravelin.metric("ravelin_requests_total");
    assert!(total >= EXCHANGES as f64, "{total} exchanges were counted");
    for gauge in
        ["ravelin_requests_in_flight", "ravelin_upstream_streams_open", "ravelin_connections_open"]
    {
        eventually(gauge, || ravelin.metric(gauge) == 0.0).await;
    }
    within(5.0, "upstream has none either", standin.wait_for_in_flight(0)).await;
    // No place on an upstream connection is held any more: all of them are closed as idle.
    let open = || ravelin.metric("ravelin_upstream_connections_open") == 0.0;
    eventually("no upstream connection", open).await;
    within(5.0, "nor at its end", standin.wait_for_connections(0)).await;
    let answer = Client::plain(ravelin.plain()).await.get("/admin/v1/healthz").await.unwrap();
    assert_eq!(answer.status(), 200, "and it still works");
}
