//! Each end before bytes that no peer should send, and before many of those that one may.

use proptest::prelude::*;

use super::*;
use crate::http2::frame::PREFACE;

/// What a server says to `bytes`, until it closes or has nothing more to say.
async fn answer_to(bytes: Vec<u8>) -> Vec<(Head, Vec<u8>)> {
    let mut far = facing_server(echo);
    let _ = far.write_all(&bytes).await;
    let _ = far.shutdown().await;
    let mut all = Vec::new();
    far.read_to_end(&mut all).await.unwrap();
    let mut rest = &all[..];
    let mut frames = Vec::new();
    while let Some(head) = Head::read(rest) {
        frames.push((head, rest[HEAD..HEAD + head.length].to_vec()));
        rest = &rest[HEAD + head.length..];
    }
    assert!(rest.is_empty(), "whole frames");
    frames
}

/// What a client begins with.
pub(super) fn hello() -> Vec<u8> {
    [&PREFACE[..], &[0, 0, 0, kind::SETTINGS, 0, 0, 0, 0, 0]].concat()
}

/// A call of a client that works: a head which ends its half.
fn get(stream: u32) -> Vec<u8> {
    let block = [0x82, 0x86, 0x84, 0x41, 1, b'x'];
    let flags = flag::END_HEADERS | flag::END_STREAM;
    let head = Head { length: block.len(), kind: kind::HEADERS, flags, stream };
    [&head.bytes()[..], &block].concat()
}

#[tokio::test]
async fn windows_opened_after_the_end_by_a_client_that_works_are_no_flood() {
    on_one_thread(async {
        let mut far = facing_server(echo);
        far.write_all(&hello()).await.unwrap();
        let mut read = bytes::BytesMut::new();
        for round in 0..600 {
            let streams = || (0..50_u32).map(move |n| (round * 50 + n) * 2 + 1);
            far.write_all(&streams().flat_map(get).collect::<Vec<_>>()).await.unwrap();
            let mut open = 50;
            while open > 0 {
                while let Some(head) =
                    Head::read(&read).filter(|head| HEAD + head.length <= read.len())
                {
                    assert_ne!(head.kind, kind::GOAWAY, "after {} streams", round * 50);
                    open -= usize::from(head.kind == kind::HEADERS && head.has(flag::END_STREAM));
                    let _ = read.split_to(HEAD + head.length);
                }
                if open > 0 {
                    assert_ne!(far.read_buf(&mut read).await.unwrap(), 0);
                }
            }
            let late = streams().flat_map(|stream| {
                let head = Head { length: 4, kind: kind::WINDOW_UPDATE, flags: 0, stream };
                [&head.bytes()[..], &[0, 0, 16, 0]].concat()
            });
            far.write_all(&late.collect::<Vec<_>>()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn streams_that_a_client_resets_are_borne_up_to_a_point() {
    on_one_thread(async {
        let resets = |count: u32| {
            let streams = (0..count).map(|n| n * 2 + 1);
            let reset = |stream| {
                [&[0, 0, 4, kind::RST_STREAM, 0], &u32::to_be_bytes(stream)[..], &[0, 0, 0, 8]]
                    .concat()
            };
            let frames = streams.flat_map(|stream| [get(stream), reset(stream)].concat());
            hello().into_iter().chain(frames).collect::<Vec<u8>>()
        };
        let codes = |frames: Vec<(Head, Vec<u8>)>| {
            let ends = frames.into_iter().filter(|(head, _)| head.kind == kind::GOAWAY);
            ends.map(|(_, payload)| payload[7]).collect::<Vec<_>>()
        };
        assert!(codes(answer_to(resets(400)).await).is_empty());
        assert_eq!(codes(answer_to(resets(2_000)).await), [11], "ENHANCE_YOUR_CALM");
    })
    .await;
}

#[tokio::test]
async fn frames_that_bring_nothing_are_borne_up_to_a_point() {
    on_one_thread(async {
        let code = |frames: &[(Head, Vec<u8>)]| {
            let last = frames.iter().rev().find(|(head, _)| head.kind == kind::GOAWAY);
            last.map(|(_, payload)| payload[7])
        };
        for (what, frame) in [
            ("PING", [&[0, 0, 8, kind::PING, 0, 0, 0, 0, 0][..], &[0; 8]].concat()),
            ("SETTINGS", vec![0, 0, 0, kind::SETTINGS, 0, 0, 0, 0, 0]),
            ("PRIORITY", vec![0, 0, 5, kind::PRIORITY, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]),
            ("an unknown frame", vec![0, 0, 0, 0xbb, 0, 0, 0, 0, 0]),
        ] {
            let few = [hello(), frame.repeat(5_000)].concat();
            assert_eq!(code(&answer_to(few).await), None, "{what}");
            let many = [hello(), frame.repeat(30_000)].concat();
            assert_eq!(code(&answer_to(many).await), Some(11), "ENHANCE_YOUR_CALM: {what}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_header_block_without_end_ends_the_connection() {
    on_one_thread(async {
        let part = |kind, flags| {
            let head = Head { length: 4_000, kind, flags, stream: 1 };
            [&head.bytes()[..], &[0x82; 4_000]].concat()
        };
        let mut bytes = [hello(), part(kind::HEADERS, 0)].concat();
        for _ in 0..10 {
            bytes.extend(part(kind::CONTINUATION, 0));
        }
        let frames = answer_to(bytes).await;
        let (head, payload) = frames.last().unwrap();
        assert_eq!((head.kind, payload[7]), (kind::GOAWAY, 11));
    })
    .await;
}

#[tokio::test]
async fn settings_by_the_thousand_are_charged_by_the_setting() {
    on_one_thread(async {
        let unknown = [0xee, 0xee, 0, 0, 0, 1].repeat(2_700);
        let head = Head { length: unknown.len(), kind: kind::SETTINGS, flags: 0, stream: 0 };
        let frame = [&head.bytes()[..], &unknown].concat();
        let ends = |frames: Vec<(Head, Vec<u8>)>| {
            frames.iter().any(|(head, payload)| head.kind == kind::GOAWAY && payload[7] == 11)
        };
        assert!(!ends(answer_to([hello(), frame.repeat(3)].concat()).await));
        assert!(ends(answer_to([hello(), frame.repeat(5)].concat()).await), "ENHANCE_YOUR_CALM");
    })
    .await;
}

#[tokio::test]
async fn streams_that_were_reset_and_are_still_held_take_the_places_of_new_ones() {
    on_one_thread(async {
        // Whoever has begun something for a stream may need long to let go of it.
        let holds = |accepted: Accepted| async move {
            std::future::pending::<()>().await;
            drop(accepted);
        };
        let mut far = facing_server(holds);
        let reset = |stream| {
            [&[0, 0, 4, kind::RST_STREAM, 0], &u32::to_be_bytes(stream)[..], &[0, 0, 0, 8]].concat()
        };
        let streams = (0..300_u32).map(|n| n * 2 + 1);
        let frames = streams.flat_map(|stream| [get(stream), reset(stream)].concat());
        far.write_all(&hello().into_iter().chain(frames).collect::<Vec<_>>()).await.unwrap();
        let mut refused = Vec::new();
        let mut head = [0; HEAD];
        while refused.len() < 100 {
            far.read_exact(&mut head).await.unwrap();
            let head = Head::read(&head).unwrap();
            let mut payload = vec![0; head.length];
            far.read_exact(&mut payload).await.unwrap();
            if head.kind == kind::RST_STREAM {
                assert_eq!(payload, [0, 0, 0, 7], "REFUSED_STREAM");
                refused.push(head.stream);
            }
        }
        // Twice as many as may be open are held.
        assert_eq!(refused.first(), Some(&401));
    })
    .await;
}

/// Frames that are nearly right: types, flags and streams that exist, payloads of any kind.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        Just(vec![]),
        Just(vec![0x82, 0x86, 0x84, 0x41, 1, b'x']),
        Just(vec![0x88]),
        prop::collection::vec(any::<u8>(), 0..12),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    let frame =
        (0..11_u8, any::<u8>(), 0..8_u32, payload).prop_map(|(kind, flags, stream, payload)| {
            let head = Head { length: payload.len(), kind, flags: flags & 0x2d, stream };
            [&head.bytes()[..], &payload].concat()
        });
    prop::collection::vec(frame, 0..30).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn no_frames_make_either_end_panic_or_hang(frames in frames()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(on_one_thread(async {
            answer_to([hello(), frames.clone()].concat()).await;
            let (mut far, requests, over) = facing_client();
            let streams: Vec<_> = (0..3).map(|_| requests.send(&post(), false).unwrap()).collect();
            let _ = far.write_all(&[vec![0, 0, 0, kind::SETTINGS, 0, 0, 0, 0, 0], frames].concat()).await;
            let _ = far.shutdown().await;
            let _ = over.await;
            for (sender, mut receiver) in streams {
                let _ = head(&mut receiver).await;
                let _ = read(&mut receiver).await;
                drop(sender);
            }
        }));
    }
}

/// grpc-go's server does so for each call: it measures how far away its client is.
#[tokio::test]
async fn pings_of_a_server_that_is_asked_much_are_no_flood() {
    on_one_thread(async {
        let (mut far, requests, over) = facing_client();
        far.write_all(&[0, 0, 0, kind::SETTINGS, 0, 0, 0, 0, 0]).await.unwrap();
        let ping = Head { length: 8, kind: kind::PING, flags: 0, stream: 0 };
        let pings = [&ping.bytes()[..], &[0; 8]].concat().repeat(8 * 10);
        let mut said = vec![0; 1 << 16];
        // Twice what a client bears that asks for nothing.
        for _ in 0..250 {
            for _ in 0..10 {
                let _ = requests.send(&post(), true).unwrap();
            }
            far.write_all(&pings).await.unwrap();
            assert_ne!(far.read(&mut said).await.unwrap(), 0);
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(requests.is_open() && !over.is_finished());
    })
    .await;
}
