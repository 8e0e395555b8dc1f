//! What is put by its frames: full records at once, the rest when it is drained.

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn full_records_leave_before_what_is_behind_them() {
    let (io, mut far, mut client) = secure(ROOM);
    let handle = io.handle();
    let frame = pattern(20_000);
    handle.put(&[1; 9], &frame);
    assert!(handle.has_full());
    poll_fn(|cx| handle.drain_full(cx)).await.unwrap();
    let first = arrived(&mut far).await;
    assert_eq!(records(&first), [RECORD]);
    // More of it fills the next record.
    handle.put(&[2; 9], &frame);
    poll_fn(|cx| handle.drain_full(cx)).await.unwrap();
    let second = arrived(&mut far).await;
    assert_eq!(records(&second), [RECORD]);
    drain(&io).await;
    assert!(!handle.has_full());
    let third = arrived(&mut far).await;
    assert_eq!(records(&third), [2 * 20_009 - 2 * RECORD]);
    let sent = [&[1; 9][..], &frame, &[2; 9], &frame].concat();
    assert!(decrypted(&mut client, &[first, second, third].concat()) == sent);
}

proptest! {
    // Each is up to half a megabyte.
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However frames are put and drained, to a socket that takes a little at a time, every byte
    /// arrives once and in its order.
    #[test]
    fn whatever_is_put_arrives_as_it_was(
        frames in prop::collection::vec((0..40_000_usize, 0..3_u8), 1..20),
        tls: bool,
        room in 2_000..50_000_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let ((io, mut far), mut client) = match tls {
                true => { let (io, far, client) = secure(room); ((io, far), Some(client)) }
                false => (plain(room, true), None),
            };
            let handle = io.handle();
            let (mut sent, mut wire) = (Vec::new(), Vec::new());
            let payload = pattern(40_000);
            for (length, drains) in frames {
                handle.put(b"head", &payload[..length]);
                sent.extend_from_slice(b"head");
                sent.extend_from_slice(&payload[..length]);
                let _ = match drains {
                    0 => Poll::Pending,
                    1 => once(|cx| handle.drain_full(cx)),
                    _ => once(|cx| handle.drain(cx)),
                };
                if drains == 2 {
                    wire.extend(arrived(&mut far).await);
                }
                tokio::task::yield_now().await;
            }
            while once(|cx| handle.drain(cx)).is_pending() {
                wire.extend(arrived(&mut far).await);
                // Else the runtime lets nobody read any more.
                tokio::task::yield_now().await;
            }
            tokio::task::yield_now().await;
            wire.extend(arrived(&mut far).await);
            let got = match &mut client {
                Some(client) => decrypted(client, &wire),
                None => wire,
            };
            assert!(got == sent);
        });
    }
}
