//! What upstream has provably not processed is sent again; nothing else ever is.

use bytes::Bytes;
use ravelin::standin::{Options, Refusing, Standin};

use crate::support::faults::{config, eventually, get, http1, post, soon, websocket, with};
use crate::support::h2::{Client, frame};
use crate::support::{Ravelin, standin};

const UNARY: &str = "/ravelin.test.Echo/Unary";

fn before(standin: &Standin) -> Ravelin {
    Ravelin::before(&format!("h2c://{}", standin.address()))
}

#[tokio::test]
async fn a_refused_call_is_sent_again_with_its_body() {
    let standin = standin().await;
    let ravelin = before(&standin);
    let client = Client::tls(ravelin.https()).await;
    let message = vec![b'm'; 20_000];
    let order = [("x-standin-order", "refuse-once=grpc")];
    let answer = soon("gRPC", client.grpc(UNARY, &order, &message)).await.unwrap();
    assert_eq!(answer.trailer("grpc-status"), "0");
    assert_eq!(answer.body, frame(&message));
    assert_eq!(standin.count(UNARY), 2);
    let body: Bytes = (0..60_000_u32).map(|i| (i % 251) as u8).collect();
    let call =
        with(post("localhost", "/echo", body.clone()), "x-standin-order", "refuse-once=echo");
    let answer = soon("REST", client.send(call)).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.body == body, "the body was replayed exactly");
    assert_eq!(ravelin.metric("ravelin_upstream_retries_total"), 2.0);
    assert_eq!(ravelin.metric("ravelin_upstream_requests_total"), 4.0);
}

#[tokio::test]
async fn a_body_that_is_half_sent_when_it_is_refused_is_replayed_and_continued() {
    let standin = standin().await;
    let ravelin = before(&standin);
    let client = Client::plain(ravelin.plain()).await;
    let request = with(post("localhost", "/echo", ""), "x-standin-order", "refuse-once=half");
    let (answer, mut body) = client.open(request.map(|_| ()), false).await.unwrap();
    body.send_data(Bytes::from_static(b"first, "), false).unwrap();
    standin.wait_for_requests("/echo", 2).await;
    body.send_data(Bytes::from_static(b"then the rest"), true).unwrap();
    let answer = crate::support::h2::read(soon("head", answer).await.unwrap()).await.unwrap();
    assert_eq!(answer.text(), "first, then the rest");
}

#[tokio::test]
async fn a_body_that_is_no_longer_there_is_not_sent_again() {
    let standin = standin().await;
    let ravelin = before(&standin);
    let client = Client::plain(ravelin.plain()).await;
    let large = post("localhost", "/sink", vec![0; 200_000]);
    let order = "slow-head=150,refuse-once=large";
    let answer = soon("large", client.send(with(large, "x-standin-order", order))).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(standin.count("/sink"), 1);
}

#[tokio::test]
async fn a_call_that_is_always_refused_is_given_up() {
    let standin = standin().await;
    let ravelin = before(&standin);
    let client = Client::plain(ravelin.plain()).await;
    let answer = client.grpc(UNARY, &[("x-standin-order", "refuse")], b"m");
    assert_eq!(soon("refuse", answer).await.unwrap().trailer("grpc-status"), "14");
    assert_eq!(standin.count(UNARY), 3);
}

#[tokio::test]
async fn what_may_have_been_processed_is_never_sent_twice() {
    let standin = standin().await;
    let ravelin = before(&standin);
    let client = Client::plain(ravelin.plain()).await;
    for order in ["reset", "die"] {
        let call = with(post("localhost", "/sink", "order 1"), "x-standin-order", order);
        assert_eq!(soon(order, client.send(call)).await.unwrap().status(), 502, "{order}");
    }
    assert_eq!(standin.count("/sink"), 2);
    assert_eq!(ravelin.metric("ravelin_upstream_retries_total"), 0.0);
}

#[tokio::test]
async fn a_goaway_under_load_loses_nothing() {
    let standin = standin().await;
    let ravelin = before(&standin);
    let client = Client::plain(ravelin.plain()).await;
    let calls = (0..200_u32).map(|i| {
        let client = client.clone();
        async move {
            let message = i.to_be_bytes().repeat(100);
            let order = if i % 25 == 0 { "goaway" } else { "" };
            let answer = client.grpc(UNARY, &[("x-standin-order", order)], &message).await;
            let answer = answer.unwrap_or_else(|error| panic!("{i}: {error}"));
            assert_eq!(answer.trailer("grpc-status"), "0", "{i}: {answer:?}");
            assert_eq!(answer.body, frame(&message));
        }
    });
    crate::support::faults::within(5.0, "goaway", futures_util::future::join_all(calls)).await;
    assert!(standin.connections_total() > 1, "a connection that says GOAWAY is left");
}

#[tokio::test]
async fn a_graceful_restart_loses_nothing() {
    let first = standin().await;
    let address = first.address();
    let ravelin = before(&first);
    let client = Client::plain(ravelin.plain()).await;
    let slow = client.grpc(UNARY, &[("x-standin-order", "slow-head=200")], b"slow");
    let restart = async {
        first.wait_for_requests(UNARY, 1).await;
        first.shutdown_gracefully().await;
    };
    let (answer, ()) = soon("restart", futures_util::future::join(slow, restart)).await;
    assert_eq!(answer.unwrap().trailer("grpc-status"), "0");
    let _second = Standin::start(Options { address, ..Options::default() }).await.unwrap();
    eventually("forgotten", || ravelin.metric("ravelin_upstream_connections_open") == 0.0).await;
    assert_eq!(client.grpc(UNARY, &[], b"again").await.unwrap().trailer("grpc-status"), "0");
}

#[tokio::test]
async fn one_of_two_endpoints_is_enough() {
    for scheme in ["h2c", "http"] {
        let standin = standin().await;
        let refusing = Refusing::start().unwrap();
        let endpoints =
            [refusing.address(), standin.address()].map(|address| format!("{scheme}://{address}"));
        let ravelin = Ravelin::start(&config(&endpoints, "", ""));
        let io = tokio::net::TcpStream::connect(ravelin.plain()).await.unwrap();
        // Else head and body of each call are 40 ms apart (Nagle, RFC 896).
        io.set_nodelay(true).unwrap();
        let client = Client::over(io).await;
        for i in 0..40 {
            let answer = client.send(post("localhost", "/sink", format!("order {i}"))).await;
            assert_eq!(answer.unwrap().status(), 200, "{scheme} {i}");
        }
        assert_eq!(standin.count("/sink"), 40);
        let retries = ravelin.metric("ravelin_upstream_retries_total");
        let failed = ravelin.metric(&format!(
            "ravelin_upstream_requests_total{{cluster=\"up\",endpoint=\"{scheme}://{}\"",
            refusing.address()
        ));
        assert!(retries >= 1.0 && failed >= 1.0, "{scheme}: {retries} {failed}");
        assert_eq!(failed, retries, "each failed attempt was followed by another");
    }
}

#[tokio::test]
async fn a_websocket_also_goes_to_the_endpoint_that_is_there() {
    let standin = standin().await;
    let refusing = Refusing::start().unwrap();
    let endpoints =
        [refusing.address(), standin.address()].map(|address| format!("h2c://{address}"));
    let ravelin = Ravelin::start(&config(&endpoints, "", ""));
    for i in 0..4 {
        let answer = soon("websocket", http1(ravelin.plain(), websocket("localhost", "/ws"))).await;
        assert_eq!(answer.unwrap().status(), 101, "{i}");
    }
}

#[tokio::test]
async fn a_connection_that_died_idle_is_not_used_again() {
    for scheme in ["h2c", "http"] {
        let first = standin().await;
        let address = first.address();
        let ravelin = Ravelin::before(&format!("{scheme}://{address}"));
        let client = Client::plain(ravelin.plain()).await;
        let ask = async || client.send(get("localhost", "/admin/v1/healthz")).await.unwrap();
        assert_eq!(ask().await.status(), 200);
        first.kill();
        eventually("noticed", || ravelin.metric("ravelin_upstream_connections_open") == 0.0).await;
        let second = Standin::start(Options { address, ..Options::default() }).await.unwrap();
        assert_eq!(ask().await.status(), 200, "{scheme}");
        assert_eq!(second.connections_total(), 1);
    }
}

#[tokio::test]
async fn more_calls_than_streams_wait_for_their_turn() {
    let options = Options { max_streams: 5, ..Options::default() };
    let standin = Standin::start(options).await.unwrap();
    let ravelin = before(&standin);
    let client = Client::plain(ravelin.plain()).await;
    let calls = (0..100).map(|i| {
        let client = client.clone();
        async move {
            let call = client.grpc(UNARY, &[("x-standin-order", "slow-head=10")], b"m");
            // Every third client gives up while it waits.
            if i % 3 == 0 {
                let gone = std::time::Duration::from_millis(i / 3);
                let _ = tokio::time::timeout(gone, call).await;
            } else {
                assert_eq!(call.await.unwrap().trailer("grpc-status"), "0");
            }
        }
    });
    crate::support::faults::within(5.0, "streams", futures_util::future::join_all(calls)).await;
}
