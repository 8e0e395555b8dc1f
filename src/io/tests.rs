//! The stream between what HTTP writes and what the socket takes.

mod insertion;
mod put;
mod slow;

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::collect::{HIGH, RECORD};

use super::*;

/// Room for all that a test writes.
const ROOM: usize = 8 << 20;

fn plain(room: usize, deferred: bool) -> (Io, DuplexStream) {
    let (near, far) = duplex(room);
    (Io::new(Box::new(near), None, Bytes::new(), deferred), far)
}

async fn drain(io: &Io) {
    let handle = io.handle();
    std::future::poll_fn(|cx| handle.drain(cx)).await.unwrap();
}

/// One poll of `future`, without a waker that matters.
fn once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll(&mut Context::from_waker(std::task::Waker::noop()))
}

/// What has arrived, without waiting.
async fn arrived(far: &mut DuplexStream) -> Vec<u8> {
    let (mut all, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let mut buf = ReadBuf::new(&mut chunk);
        match once(|cx| Pin::new(&mut *far).poll_read(cx, &mut buf)) {
            Poll::Ready(done) => done.unwrap(),
            Poll::Pending => return all,
        }
        if buf.filled().is_empty() {
            return all;
        }
        all.extend_from_slice(buf.filled());
    }
}

/// A server's session and a client's, shaken hands over memory.
fn sessions() -> (rustls::Connection, rustls::Connection) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut server = rustls::ServerConnection::new(Arc::new(server)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
    while server.is_handshaking() || client.is_handshaking() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        feed(&mut server, &wire);
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        feed(&mut client, &wire);
    }
    (server.into(), client.into())
}

fn feed<S>(session: &mut rustls::ConnectionCommon<S>, mut wire: &[u8]) {
    while !wire.is_empty() {
        session.read_tls(&mut wire).unwrap();
        session.process_new_packets().unwrap();
    }
}

/// A server's stream over TLS, the far end of its socket, and the client's session.
fn secure(room: usize) -> (Io, DuplexStream, rustls::Connection) {
    let (server, client) = sessions();
    let (near, far) = duplex(room);
    (Io::new(Box::new(near), Some(server), Bytes::new(), true), far, client)
}

/// The plaintext lengths of TLS 1.3 application records (RFC 8446 §5.2: 5 bytes of head, one of
/// type, 16 of tag).
fn records(mut wire: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [23, _, _, high, low, rest @ ..] = wire {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        lengths.push(length - 17);
        wire = &rest[length..];
    }
    assert!(wire.is_empty(), "not an application record: {:?}", wire.first());
    lengths
}

fn decrypted(client: &mut rustls::Connection, mut wire: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while !wire.is_empty() {
        client.read_tls(&mut wire).unwrap();
        client.process_new_packets().unwrap();
        let mut chunk = [0; 32 * 1024];
        while let Ok(n @ 1..) = client.reader().read(&mut chunk) {
            plain.extend_from_slice(&chunk[..n]);
        }
    }
    plain
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

#[tokio::test]
async fn data_frames_with_their_heads_become_full_records() {
    let (mut io, mut far, mut client) = secure(ROOM);
    // 16 KiB of DATA and the 9 bytes of its frame's head, as h2 writes them.
    let frame = pattern(16_393);
    for _ in 0..16 {
        io.write_all(&frame).await.unwrap();
        io.flush().await.unwrap();
    }
    drain(&io).await;
    let wire = arrived(&mut far).await;
    let total = 16 * 16_393;
    let mut expected = vec![RECORD; total / RECORD];
    expected.push(total % RECORD);
    assert_eq!(records(&wire), expected);
    assert!(decrypted(&mut client, &wire) == frame.repeat(16));
}

#[tokio::test]
async fn what_follows_a_goodbye_is_not_read_for_ever() {
    let (mut io, mut far, mut client) = secure(ROOM);
    client.send_close_notify();
    let mut wire = Vec::new();
    client.write_tls(&mut wire).unwrap();
    wire.extend([7; 20_000]);
    far.write_all(&wire).await.unwrap();
    assert_eq!(io.read_to_end(&mut Vec::new()).await.unwrap(), 0);
}

#[tokio::test]
async fn small_writes_leave_as_one_record_and_only_when_drained() {
    let (mut io, mut far, mut client) = secure(ROOM);
    for word in ["one ", "two ", "three"] {
        io.write_all(word.as_bytes()).await.unwrap();
        io.flush().await.unwrap();
    }
    assert!(arrived(&mut far).await.is_empty(), "a deferred flush writes nothing");
    drain(&io).await;
    let wire = arrived(&mut far).await;
    assert_eq!(records(&wire), [13]);
    assert_eq!(decrypted(&mut client, &wire), b"one two three");
}

#[tokio::test]
async fn a_flush_that_is_not_deferred_writes() {
    let (mut io, mut far) = plain(ROOM, true);
    io.flush_at_once();
    io.write_all(b"now").await.unwrap();
    io.flush().await.unwrap();
    assert_eq!(arrived(&mut far).await, b"now");
}

#[tokio::test]
async fn what_was_looked_at_is_read_first() {
    let (near, mut far) = duplex(64);
    let mut io = Io::new(Box::new(near), None, Bytes::from_static(b"PRI "), true);
    far.write_all(b"* HTTP").await.unwrap();
    drop(far);
    let mut all = String::new();
    io.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "PRI * HTTP");
    assert_eq!(io.handle().received(), 10);
    io.unread(Bytes::from_static(b"rest"));
    all.clear();
    io.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "rest");
}

#[tokio::test]
async fn an_injection_is_refused_while_earlier_bytes_wait() {
    let (mut io, mut far) = plain(8, true);
    let handle = io.handle();
    io.write_all(b"the message before").await.unwrap();
    assert!(!handle.inject(b"HTTP/1.1 103 Early Hints\r\n\r\n"));
    assert!(once(|cx| handle.drain(cx)).is_pending(), "the socket is full");
    assert!(!handle.inject(b"HTTP/1.1 103 Early Hints\r\n\r\n"));
    let mut before = [0; 18];
    let ((), read) = futures_util::future::join(drain(&io), far.read_exact(&mut before)).await;
    read.unwrap();
    assert!(handle.inject(b"103"));
    drain(&io).await;
    assert_eq!(
        (&before[..], &arrived(&mut far).await[..]),
        (&b"the message before"[..], &b"103"[..])
    );
}

#[tokio::test]
async fn a_shutdown_writes_what_waits_and_says_goodbye() {
    let (mut io, mut far, mut client) = secure(ROOM);
    io.write_all(b"last words").await.unwrap();
    io.shutdown().await.unwrap();
    let mut wire = Vec::new();
    far.read_to_end(&mut wire).await.unwrap();
    assert_eq!(decrypted(&mut client, &wire), b"last words");
    // After close_notify the end is an end, not a truncation.
    assert_eq!(client.reader().read(&mut [0; 8]).unwrap(), 0);
}

#[tokio::test]
async fn a_peer_that_closes_without_goodbye_has_ended() {
    let (mut io, mut far, mut client) = secure(ROOM);
    client.writer().write_all(b"hello").unwrap();
    let mut wire = Vec::new();
    client.write_tls(&mut wire).unwrap();
    far.write_all(&wire).await.unwrap();
    drop(far);
    let mut all = Vec::new();
    io.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"hello");
}

#[tokio::test]
async fn a_record_that_was_tampered_with_is_answered_with_an_alert() {
    let (mut io, mut far, mut client) = secure(ROOM);
    client.writer().write_all(b"hello").unwrap();
    let mut wire = Vec::new();
    client.write_tls(&mut wire).unwrap();
    *wire.last_mut().unwrap() ^= 1;
    far.write_all(&wire).await.unwrap();
    let error = io.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(!arrived(&mut far).await.is_empty(), "the alert has left");
}

#[tokio::test]
async fn more_ciphertext_than_fits_is_kept_in_order() {
    let (mut io, mut far, mut client) = secure(ROOM);
    let sent = pattern(300_000);
    client.set_buffer_limit(None);
    client.writer().write_all(&sent).unwrap();
    let mut wire = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut wire).unwrap();
    }
    far.write_all(&wire).await.unwrap();
    drop(far);
    let mut got = Vec::new();
    // In odd steps, as a frame's reader takes them.
    let mut chunk = vec![0; 9_001];
    loop {
        let n = io.read(&mut chunk).await.unwrap();
        if n == 0 {
            break;
        }
        got.extend_from_slice(&chunk[..n]);
    }
    assert!(got == sent, "{} of {}", got.len(), sent.len());
}

#[tokio::test]
async fn a_driven_future_drains_after_every_poll() {
    let (mut io, mut far) = plain(ROOM, true);
    let handle = io.handle();
    let mut driven = Box::pin(Driven::new(
        async move {
            io.write_all(b"first").await.unwrap();
            std::future::pending::<()>().await;
        },
        handle,
    ));
    assert!(once(|cx| driven.as_mut().poll(cx)).is_pending());
    assert_eq!(arrived(&mut far).await, b"first");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn whatever_is_written_arrives_as_it_was(
        sizes in proptest::collection::vec((0..40_000_usize, any::<bool>()), 1..20),
        tls: bool,
        room in 1..100_000_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut io, mut far, client) = if tls {
                let (io, far, client) = secure(room);
                (io, far, Some(client))
            } else {
                let (io, far) = plain(room, true);
                (io, far, None)
            };
            let sent = pattern(sizes.iter().map(|(size, _)| size).sum());
            let writing = async {
                let mut rest = &sent[..];
                for (size, drained) in &sizes {
                    let (now, later) = rest.split_at(*size);
                    // A frame's head and its data, as h2 writes them.
                    let (head, data) = now.split_at(now.len().min(9));
                    let mut slices = [IoSlice::new(head), IoSlice::new(data)];
                    let mut slices = &mut slices[..];
                    while slices.iter().any(|slice| !slice.is_empty()) {
                        let n = io.write_vectored(slices).await.unwrap();
                        assert!(n > 0);
                        IoSlice::advance_slices(&mut slices, n);
                    }
                    rest = later;
                    if *drained {
                        drain(&io).await;
                    }
                }
                io.shutdown().await.unwrap();
            };
            let mut wire = Vec::new();
            let ((), read) = futures_util::future::join(writing, far.read_to_end(&mut wire)).await;
            read.unwrap();
            let got = match client {
                Some(mut client) => decrypted(&mut client, &wire),
                None => wire,
            };
            assert!(got == sent);
        });
    }
}
