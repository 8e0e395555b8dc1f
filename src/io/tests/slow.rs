//! What a reader that takes little may leave behind.

use super::*;

#[tokio::test]
async fn what_a_slow_reader_leaves_is_bounded() {
    for tls in [false, true] {
        let (mut io, mut far, client) = if tls {
            let (io, far, client) = secure(1024);
            (io, far, Some(client))
        } else {
            let (io, far) = plain(1024, true);
            (io, far, None)
        };
        let chunk = pattern(10_000);
        let mut taken = 0;
        while let Poll::Ready(written) = once(|cx| Pin::new(&mut io).poll_write(cx, &chunk)) {
            taken += written.unwrap();
            assert!(taken <= HIGH + 1024 + chunk.len(), "TLS {tls}: {taken} bytes are held");
        }
        assert!(taken >= chunk.len(), "TLS {tls}: {taken}");
        // The reader wakes up: all of it comes, in order.
        let writing = async {
            io.write_all(b"end").await.unwrap();
            io.shutdown().await.unwrap();
        };
        let mut wire = Vec::new();
        let ((), read) = futures_util::future::join(writing, far.read_to_end(&mut wire)).await;
        read.unwrap();
        let got = match client {
            Some(mut client) => decrypted(&mut client, &wire),
            None => wire,
        };
        let mut expected = chunk.repeat(taken.div_ceil(chunk.len()));
        expected.truncate(taken);
        expected.extend_from_slice(b"end");
        assert!(got == expected, "TLS {tls}: {} of {}", got.len(), expected.len());
    }
}

#[tokio::test]
async fn no_more_is_encrypted_at_once_than_a_slow_reader_may_leave() {
    let (mut io, _far, _client) = secure(1_000);
    let handle = io.handle();
    let large = pattern(5_000_000);
    let Poll::Ready(Ok(first)) = once(|cx| Pin::new(&mut io).poll_write(cx, &large)) else {
        panic!("there is room")
    };
    assert!((RECORD..=HIGH).contains(&first), "{first}");
    let mut taken = first;
    while let Poll::Ready(more) = once(|cx| Pin::new(&mut io).poll_write(cx, &large[taken..])) {
        taken += more.unwrap();
    }
    assert!(taken < HIGH + 4_000, "{taken}: what the socket took, and the bound");
    // Records are a little longer than what they carry.
    assert!(handle.backlog() < HIGH + HIGH / 100, "{}", handle.backlog());
}

#[tokio::test]
async fn a_slow_reader_that_takes_some_leaves_less() {
    let ((mut io, mut far), (mut secured, mut wire, _client)) = (plain(1_000, true), secure(1_000));
    for (io, far) in [(&mut io, &mut far), (&mut secured, &mut wire)] {
        let handle = io.handle();
        while once(|cx| Pin::new(&mut *io).poll_write(cx, &pattern(10_000))).is_ready() {}
        let before = handle.backlog();
        far.read_exact(&mut [0; 800]).await.unwrap();
        assert!(once(|cx| handle.drain(cx)).is_pending());
        assert!(handle.backlog() < before, "{} of {before}", handle.backlog());
    }
}
