//! Bodies without end at constant memory: what one side does not take, the other side is not
//! asked for. Counted at upstream's and at the client's own flow control.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use tokio::time::timeout;

use crate::support::h2::Client;
use crate::support::wire::{PATIENCE, Upstream, Wire};
use crate::support::{Ravelin, standin};

const MIB: usize = 1 << 20;

/// Sends zeros without end, and counts what the peer's windows and sockets take.
async fn pour(mut stream: h2::SendStream<Bytes>, sent: Arc<AtomicUsize>) {
    let zeros = Bytes::from_static(&[0; 16 * 1024]);
    loop {
        stream.reserve_capacity(zeros.len());
        let Some(Ok(granted)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return;
        };
        let data = zeros.slice(..granted.min(zeros.len()));
        sent.fetch_add(data.len(), Ordering::SeqCst);
        if stream.send_data(data, false).is_err() {
            return;
        }
    }
}

/// How much has gone when nothing more goes.
async fn settled(sent: &AtomicUsize) -> usize {
    let settle = async {
        let mut last = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = sent.load(Ordering::SeqCst);
            if now == last && now > 0 {
                return now;
            }
            last = now;
        }
    };
    timeout(PATIENCE, settle).await.expect("it never stops")
}

/// An upstream that answers every request with a body without end, whose own request bodies
/// nobody reads.
async fn fountain() -> (Ravelin, Arc<AtomicUsize>) {
    let upstream = Upstream::start().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", upstream.address()));
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    tokio::spawn(async move {
        let socket = upstream.accept_socket().await;
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let stream = respond.send_response(Response::new(()), false).unwrap();
                pour(stream, count).await;
                drop(request);
            });
        }
    });
    (ravelin, sent)
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_upstream() {
    let (ravelin, sent) = fountain().await;
    let client = Client::plain(ravelin.plain()).await;
    let request = Request::get("https://localhost/").body(()).unwrap();
    let (answer, _stream) = client.open(request, true).await.unwrap();
    let mut answer = answer.await.unwrap();
    let stalled = settled(&sent).await;
    assert!(stalled <= 2 * MIB, "{stalled}");
    // What is read makes room for as much, and no more.
    let mut read = 0;
    while read < 8 * MIB {
        let data = answer.body_mut().data().await.unwrap().unwrap();
        answer.body_mut().flow_control().release_capacity(data.len()).unwrap();
        read += data.len();
    }
    let stalled = settled(&sent).await;
    assert!((8 * MIB..read + 2 * MIB).contains(&stalled), "{stalled} for {read}");
}

#[tokio::test]
async fn a_client_of_http_1_1_that_does_not_read_stops_upstream() {
    let (ravelin, sent) = fountain().await;
    let mut client = Wire::plain(ravelin.plain()).await;
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 200);
    // The system's socket buffers take part here.
    let stalled = settled(&sent).await;
    assert!(stalled <= 16 * MIB, "{stalled}");
}

#[tokio::test]
async fn an_upstream_that_does_not_read_stops_the_client() {
    let (ravelin, _) = fountain().await;
    let client = Client::plain(ravelin.plain()).await;
    let request = Request::builder().method(Method::POST).uri("https://localhost/").body(());
    let (answer, stream) = client.open(request.unwrap(), false).await.unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let pouring = tokio::spawn(pour(stream, Arc::clone(&sent)));
    let stalled = settled(&sent).await;
    assert!(stalled <= 2 * MIB, "{stalled}");
    pouring.abort();
    drop(answer);
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_nobody_else() {
    let (ravelin, sent) = fountain().await;
    let stalled: Vec<_> = futures_util::future::join_all((0..8).map(|_| async {
        let client = Client::plain(ravelin.plain()).await;
        let request = Request::get("https://localhost/").body(()).unwrap();
        let (answer, stream) = client.open(request, true).await.unwrap();
        (answer.await.unwrap(), stream, client)
    }))
    .await;
    let bound = settled(&sent).await;
    assert!(bound <= 16 * MIB, "{bound}");
    let client = Client::tls(ravelin.https()).await;
    let request = Request::get("https://localhost/").body(()).unwrap();
    let (answer, _stream) = client.open(request, true).await.unwrap();
    let mut answer = answer.await.unwrap();
    let mut read = 0;
    while read < 4 * MIB {
        let data = timeout(PATIENCE, answer.body_mut().data()).await.expect("stopped too");
        let data = data.unwrap().unwrap();
        answer.body_mut().flow_control().release_capacity(data.len()).unwrap();
        read += data.len();
    }
    drop(stalled);
}

#[tokio::test]
async fn a_large_body_passes_each_way() {
    const SIZE: usize = 32 * MIB;
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    let client = Client::plain(ravelin.plain()).await;
    let path = format!("https://localhost/bytes/{SIZE}");
    let (answer, _) = client.open(Request::get(path).body(()).unwrap(), true).await.unwrap();
    let mut answer = answer.await.unwrap();
    let mut read = 0;
    while let Some(data) = answer.body_mut().data().await {
        let data = data.unwrap();
        answer.body_mut().flow_control().release_capacity(data.len()).unwrap();
        read += data.len();
    }
    assert_eq!(read, SIZE);
    let request = Request::post("https://localhost/sink").body(Bytes::from(vec![0; SIZE]));
    let answer = client.send(request.unwrap()).await.unwrap();
    assert_eq!(answer.text(), format!("{{\"bytes\":{SIZE}}}"));
}
