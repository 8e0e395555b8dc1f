//! Settings, counting, and the two ways to die.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::{connect, exchange, framed, raw, read, request, start};
use crate::standin::{Blackhole, Garbage, Options, Refusing, Standin};

#[tokio::test]
async fn the_settings_are_those_seen_on_the_wire() {
    let standin = start().await;
    let mut stream = TcpStream::connect(standin.address()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(
        &mut stream,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    )
    .await
    .unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "SETTINGS come first");
    let mut payload = vec![0; usize::from(head[2])];
    stream.read_exact(&mut payload).await.unwrap();
    let mut settings: Vec<(u8, u32)> = payload
        .chunks(6)
        .map(|entry| (entry[1], u32::from_be_bytes(entry[2..].try_into().unwrap())))
        .collect();
    settings.sort_unstable();
    for expected in [(3, 250), (4, 1 << 20), (5, 1 << 20), (6, 1 << 20)] {
        assert!(settings.contains(&expected), "{settings:?}");
    }
}

#[tokio::test]
async fn what_clients_leave_is_counted() {
    let standin = start().await;
    let mut send = connect(standin.address()).await;
    let (response, stream) =
        send.send_request(request("GET", "/headers?order=stall-head", &[]), true).unwrap();
    standin.wait_for_requests("/headers", 1).await;
    assert_eq!((standin.in_flight(), standin.cancelled()), (1, 0));
    drop((response, stream));
    standin.wait_for_cancelled(1).await;
    let (response, _) = send.send_request(request("GET", "/sse", &[]), true).unwrap();
    drop(response.await.unwrap());
    standin.wait_for_cancelled(2).await;
    let mut stream = TcpStream::connect(standin.address()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(
        &mut stream,
        b"GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n",
    )
    .await
    .unwrap();
    stream.read_u8().await.unwrap();
    drop(stream);
    standin.wait_for_cancelled(3).await;
    standin.wait_for_in_flight(0).await;
}

#[tokio::test]
async fn a_burst_of_cancelled_streams_is_borne() {
    let standin = start().await;
    let mut send = connect(standin.address()).await;
    for _ in 0..5 {
        for _ in 0..100 {
            send = send.ready().await.unwrap();
            drop(
                send.send_request(request("GET", "/headers?order=stall-head", &[]), true).unwrap(),
            );
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(exchange(&send, request("GET", "/headers", &[]), b"").await.unwrap().status(), 200);
    standin.wait_for_in_flight(0).await;
}

#[tokio::test]
async fn requests_are_remembered_with_the_length_of_their_bodies() {
    let standin = start().await;
    let send = connect(standin.address()).await;
    exchange(&send, request("POST", "/sink?x=1", &["x-mark: m"]), b"12345").await.unwrap();
    let seen = standin.requests().remove(0);
    assert_eq!(
        (seen.target.as_str(), seen.authority.as_str(), seen.body),
        ("/sink?x=1", "localhost:8443", Some(5))
    );
    assert_eq!(seen.headers["x-mark"], "m");
    assert_eq!(
        (standin.count("/sink"), standin.count("/other"), standin.connections_total()),
        (1, 0, 1)
    );
}

#[tokio::test]
async fn a_kill_resets_without_goaway_and_closes_the_listener() {
    let standin = start().await;
    let mut send = connect(standin.address()).await;
    let order = framed(b"count=1000000,size=1,interval_ms=10");
    let call =
        request("POST", "/ravelin.test.Echo/ServerStream", &["content-type: application/grpc"]);
    let (response, mut stream) = send.send_request(call, false).unwrap();
    stream.send_data(Bytes::from(order), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    body.data().await.unwrap().unwrap();
    standin.kill();
    let error = loop {
        match body.data().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("the stream must not end well"),
        }
    };
    assert!(error.is_io(), "a reset connection and no GOAWAY: {error:?}");
    assert!(TcpStream::connect(standin.address()).await.is_err());
    assert_eq!((standin.connections(), standin.cancelled()), (0, 0));
}

fn tls() -> (Arc<rustls::ServerConfig>, rustls::ClientConfig) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    (Arc::new(server), client)
}

#[tokio::test]
async fn over_tls_alpn_chooses_h2_and_a_shutdown_lets_exchanges_end() {
    let (server, client) = tls();
    let standin = Arc::new(
        Standin::start(Options { tls: Some(server), ..Options::default() }).await.unwrap(),
    );
    let stream = TcpStream::connect(standin.address()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let call = send.clone();
    let slow =
        tokio::spawn(async move { exchange(&call, request("GET", "/sse?n=4", &[]), b"").await });
    standin.wait_for_requests("/sse", 1).await;
    standin.shutdown_gracefully().await;
    assert!(slow.await.unwrap().unwrap().text().contains("tick 3"));
    assert!(TcpStream::connect(standin.address()).await.is_err());
}

#[tokio::test]
async fn the_peers_do_what_they_are_called() {
    let garbage = Garbage::start("not http\r\n").unwrap();
    let mut stream = TcpStream::connect(garbage.address()).await.unwrap();
    let mut said = [0; 10];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"not http\r\n");
    assert_eq!(garbage.connections_total(), 1);

    let hole = Blackhole::start().unwrap();
    let mut stream = TcpStream::connect(hole.address()).await.unwrap();
    drop(hole);
    assert_eq!(
        stream.read(&mut said).await.unwrap_or(0),
        0,
        "nothing but an end, and that only when it is dropped"
    );

    let refusing = Refusing::start().unwrap();
    assert!(TcpStream::connect(refusing.address()).await.is_err());
}

#[tokio::test]
async fn both_versions_share_the_port() {
    let standin = start().await;
    assert_eq!(read(&standin, "/debug/healthz", &[]).await.text(), "ok");
    let answer = raw(
        standin.address(),
        "GET /debug/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
}
