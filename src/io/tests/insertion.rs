//! Frames that are put between two of the peer's.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Preface, SETTINGS with one entry, then a PING.
fn greeting() -> (Vec<u8>, usize) {
    let mut bytes = PREFACE.to_vec();
    bytes.extend_from_slice(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100]);
    let inserted_at = bytes.len();
    bytes.extend_from_slice(&[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    (bytes, inserted_at)
}

#[tokio::test]
async fn frames_are_put_behind_the_preface_and_its_settings_wherever_reads_split() {
    let (bytes, at) = greeting();
    let mut expected = bytes.clone();
    expected.splice(at..at, *b"inserted");
    for split in 0..=bytes.len() {
        let (near, mut far) = duplex(256);
        // What an upgrade had read already is part of the greeting.
        let replay = Bytes::copy_from_slice(&bytes[..split / 2]);
        let mut io = Io::new(Box::new(near), None, replay, true);
        io.insert_after_preface(Bytes::from_static(b"inserted"));
        far.write_all(&bytes[split / 2..split]).await.unwrap();
        let mut got = Vec::new();
        let mut chunk = [0; 7];
        // Reads as far as it goes with the first part alone.
        while let Poll::Ready(n) = once(|cx| {
            let mut buf = ReadBuf::new(&mut chunk);
            Pin::new(&mut io).poll_read(cx, &mut buf).map(|done| {
                done.unwrap();
                buf.filled().len()
            })
        }) {
            got.extend_from_slice(&chunk[..n]);
        }
        assert!(split >= at || got.is_empty(), "nothing is given out before it is whole");
        far.write_all(&bytes[split..]).await.unwrap();
        drop(far);
        io.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, expected, "split at {split}");
    }
}

#[tokio::test]
async fn an_insertion_gives_up_on_a_frame_without_bound_and_bears_an_early_end() {
    let (near, mut far) = duplex(64 * 1024);
    let mut io = Io::new(Box::new(near), None, Bytes::new(), true);
    io.insert_after_preface(Bytes::from_static(b"inserted"));
    let mut endless = PREFACE.to_vec();
    endless.extend_from_slice(&[0xff, 0xff, 0xff, 4, 0, 0, 0, 0, 0]);
    endless.resize(40_000, 0);
    far.write_all(&endless).await.unwrap();
    assert!(io.read_u8().await.is_err());
    let (near, mut far) = duplex(64);
    let mut io = Io::new(Box::new(near), None, Bytes::new(), true);
    io.insert_after_preface(Bytes::from_static(b"!"));
    far.write_all(b"PRI").await.unwrap();
    drop(far);
    let mut all = Vec::new();
    io.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"PRI!");
}
