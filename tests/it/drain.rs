//! Leaving: nothing that is under way is lost, nothing new is taken, and the end comes in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::faults::{
    Http1, config, drained, eventually, get, http1, soon, websocket, with, within,
};
use crate::support::h2::{Client, read};
use crate::support::{Ravelin, standin};

fn start(standin: &ravelin::standin::Standin, shutdown: &str) -> Arc<Ravelin> {
    let upstream = [format!("h2c://{}", standin.address())];
    Arc::new(Ravelin::start(&config(&upstream, "", &format!("shutdown: {{{shutdown}}}"))))
}

#[tokio::test]
async fn a_download_and_a_stream_under_way_end_whole() {
    let standin = standin().await;
    let ravelin = start(&standin, "grace: 5s");
    let client = Client::tls(ravelin.https()).await;
    let (answer, _) =
        client.open(get("localhost", "/bytes/20000000").map(|_| ()), true).await.unwrap();
    let download = answer.await.unwrap();
    let other = Client::plain(ravelin.plain()).await;
    let order = [("x-standin-order", "")];
    let stream =
        other.grpc("/ravelin.test.Echo/ServerStream", &order, b"count=5,size=10,interval_ms=100");
    let leave = async {
        standin.wait_for_requests("/ravelin.test.Echo/ServerStream", 1).await;
        let (took, download) = join(drained(&ravelin), read(download)).await;
        (took, download.unwrap())
    };
    let (stream, (took, download)) = within(5.0, "drain", join(stream, leave)).await;
    assert_eq!(download.body.len(), 20_000_000);
    let stream = stream.unwrap();
    assert_eq!((stream.body.len(), stream.trailer("grpc-status")), (5 * 15, "0"));
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn new_connections_are_refused_and_idle_ones_told_to_go() {
    let standin = standin().await;
    let ravelin = start(&standin, "grace: 5s");
    let io = TcpStream::connect(ravelin.plain()).await.unwrap();
    let (mut send, connection) = h2::client::handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = get("localhost", "/admin/v1/healthz").map(|_| ());
    let (answer, _) = send.send_request(request, true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    let mut kept = Http1::open(ravelin.plain()).await;
    kept.send(get("localhost", "/admin/v1/healthz")).await;
    assert_eq!(kept.read().await.unwrap().status(), 200);
    let took = within(3.0, "drain", drained(&ravelin)).await;
    assert!(took < Duration::from_secs(1), "idle connections are not waited for: {took:?}");
    // A connection that was told to go ends without an error; one that was cut ends with one.
    assert!(soon("GOAWAY", connection).await.unwrap().is_ok());
    assert!(futures_util::future::poll_fn(|cx| send.poll_ready(cx)).await.is_err());
    assert!(soon("closed", kept.read()).await.is_err());
    assert!(TcpStream::connect(ravelin.plain()).await.is_err());
}

#[tokio::test]
async fn a_kept_connection_is_told_with_its_last_answer() {
    let standin = standin().await;
    let ravelin = start(&standin, "grace: 5s");
    let mut kept = Http1::open(ravelin.plain()).await;
    kept.send(with(get("localhost", "/bytes/10"), "x-standin-order", "slow-head=300")).await;
    standin.wait_for_requests("/bytes", 1).await;
    let (took, answer) = soon("drain", join(drained(&ravelin), kept.read())).await;
    let answer = answer.unwrap();
    assert_eq!((answer.status(), answer.header("connection")), (200, "close"));
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(kept.read().await.is_err(), "and it is closed");
}

#[tokio::test]
async fn what_stands_still_is_cut_when_the_grace_is_over() {
    let standin = standin().await;
    let ravelin = start(&standin, "grace: 400ms");
    let client = Client::plain(ravelin.plain()).await;
    let stalled = client.send(with(get("localhost", "/bytes/5"), "x-standin-order", "stall-head"));
    let mut tunnel = Http1::open(ravelin.plain()).await;
    tunnel.send(websocket("localhost", "/ws")).await;
    assert_eq!(tunnel.read().await.unwrap().status(), 101);
    let leave = async {
        standin.wait_for_requests("/bytes", 1).await;
        drained(&ravelin).await
    };
    let (stalled, took) = soon("grace", join(stalled, leave)).await;
    assert!(stalled.is_err());
    assert!(took >= Duration::from_millis(400) && took < Duration::from_millis(1400), "{took:?}");
    let mut rest = Vec::new();
    let _ = soon("tunnel", tunnel.io.read_to_end(&mut rest)).await;
    soon("upstream too", standin.wait_for_connections(0)).await;
}

/// A masked frame, as clients send it (RFC 6455 §5.3), with a mask of zeros.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

/// Close with 1001, going away.
const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];

#[tokio::test]
async fn a_websocket_is_told_that_ravelin_goes_and_closes_as_it_should() {
    let standin = standin().await;
    let ravelin = start(&standin, "grace: 5s");
    let mut tunnel = Http1::open(ravelin.plain()).await;
    tunnel.send(websocket("localhost", "/ws")).await;
    assert_eq!(tunnel.read().await.unwrap().status(), 101);
    tunnel.write(masked(1, b"hello")).await;
    let mut echoed = [0; 7];
    tunnel.io.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed[2..], b"hello");
    let talk = async {
        let mut told = [0; 4];
        tunnel.io.read_exact(&mut told).await.unwrap();
        assert_eq!(told, GOING_AWAY);
        tunnel.write(masked(8, &GOING_AWAY[2..])).await;
        let mut rest = Vec::new();
        tunnel.io.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "nothing comes after a Close: {rest:?}");
    };
    let (took, ()) = soon("drain", join(drained(&ravelin), talk)).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    soon("upstream too", standin.wait_for_connections(0)).await;
}

#[tokio::test]
async fn a_websocket_over_http2_is_told_too() {
    let standin = standin().await;
    let ravelin = start(&standin, "grace: 5s");
    let client = Client::plain(ravelin.plain()).await;
    let mut request = http::Request::connect("http://localhost/ws").body(()).unwrap();
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    let (answer, mut send) = client.open(request, false).await.unwrap();
    let mut answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    let talk = async {
        let told = answer.body_mut().data().await.unwrap().unwrap();
        assert_eq!(&told[..], GOING_AWAY);
        send.send_data(masked(8, &GOING_AWAY[2..]).into(), true).unwrap();
        // An empty frame may carry the end.
        while let Some(rest) = answer.body_mut().data().await {
            assert!(rest.unwrap().is_empty(), "nothing comes after a Close");
        }
    };
    let (took, ()) = soon("drain", join(drained(&ravelin), talk)).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn a_kept_connection_that_is_used_is_told_with_an_answer_and_not_closed_under_a_request() {
    let standin = standin().await;
    let ravelin = start(&standin, "grace: 5s");
    let mut kept = Http1::open(ravelin.plain()).await;
    kept.send(get("localhost", "/admin/v1/healthz")).await;
    assert_eq!(kept.read().await.unwrap().status(), 200);
    let talk = async {
        // A request that was on its way when the drain began.
        let address = ravelin.plain();
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kept.send(get("localhost", "/admin/v1/healthz")).await;
        let answer = kept.read().await.unwrap();
        assert_eq!((answer.status(), answer.header("connection")), (200, "close"));
        assert!(kept.read().await.is_err());
    };
    let (took, ()) = soon("drain", join(drained(&ravelin), talk)).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn during_the_delay_it_is_unready_and_still_serves() {
    let standin = standin().await;
    let ravelin = start(&standin, "delay: 600ms, grace: 1s");
    let ready = async || http1(ravelin.admin(), get("localhost", "/readyz")).await.unwrap();
    assert_eq!(ready().await.status(), 200);
    let began = Instant::now();
    let meanwhile = async {
        while ready().await.status() != 503 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let client = Client::tls(ravelin.https()).await;
        assert_eq!(client.get("/admin/v1/healthz").await.unwrap().status(), 200);
        assert_eq!(ready().await.status(), 503);
        let health = http1(ravelin.admin(), get("localhost", "/healthz")).await.unwrap();
        assert_eq!(health.status(), 200, "alive all the same");
        assert!(began.elapsed() < Duration::from_millis(600), "all of it within the delay");
    };
    let (took, ()) = within(3.0, "drain", join(drained(&ravelin), meanwhile)).await;
    assert!(took >= Duration::from_millis(600), "{took:?}");
}

#[tokio::test]
async fn a_connection_that_has_said_nothing_is_not_waited_for() {
    let standin = standin().await;
    let ravelin = start(&standin, "grace: 8s");
    let mut silent = TcpStream::connect(ravelin.plain()).await.unwrap();
    let mut greeting = TcpStream::connect(ravelin.https()).await.unwrap();
    greeting.write_all(&[22, 3, 1]).await.unwrap();
    let open = || ravelin.metric("ravelin_connections_open");
    eventually("both are accepted", || open() == 2.0).await;
    let took = within(4.0, "drain", drained(&ravelin)).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest).await;
}
