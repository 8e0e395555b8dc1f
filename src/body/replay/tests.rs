use futures_util::stream;
use proptest::prelude::*;

use super::*;
use crate::body::testing::{self, Script};
use crate::error::Kind;

fn body(frames: Vec<Frame>) -> Body {
    let mut frames = frames.into_iter();
    Body::boxed(Script(stream::poll_fn(move |_| Poll::Ready(frames.next().map(Ok)))))
}

fn data(length: usize) -> Frame {
    Frame::Data((0..length).map(|i| (i % 251) as u8).collect())
}

fn trailers() -> Frame {
    let mut trailers = Fields::new();
    trailers.insert("x-end", "yes".parse().unwrap());
    Frame::Trailers(trailers)
}

async fn whole(reader: Replay) -> (Bytes, Option<Fields>) {
    let whole = testing::whole(reader).await.unwrap();
    (whole.bytes, whole.trailers)
}

#[tokio::test]
async fn every_reader_gets_the_whole_body_with_its_trailers() {
    let replay = Replay::new(body(vec![data(10), data(300), trailers()]));
    for _ in 0..3 {
        let (bytes, end) = whole(replay.again().unwrap()).await;
        assert_eq!(bytes.len(), 310);
        assert_eq!(end.unwrap()["x-end"], "yes");
    }
}

#[tokio::test]
async fn a_second_reader_begins_again_and_goes_on_behind_the_first() {
    let replay = Replay::new(body(vec![data(10), data(20), data(30)]));
    let mut first = replay.again().unwrap();
    assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap().len(), 10);
    assert_eq!(whole(replay.again().unwrap()).await.0.len(), 60);
}

#[tokio::test]
async fn a_body_that_outgrows_the_bound_is_read_to_its_end_but_not_again() {
    let replay = Replay::new(body(vec![data(LIMIT), data(1), data(5), trailers()]));
    let mut first = replay.again().unwrap();
    first.frame().await.unwrap().unwrap();
    assert!(replay.again().is_some(), "the bound itself is within it");
    let (rest, end) = whole(first).await;
    assert_eq!((rest.len(), end.is_some()), (6, true));
    assert!(replay.again().is_none());
    assert_eq!(replay.shared.borrow().kept.len(), 0, "nothing is kept in vain");
}

#[tokio::test]
async fn after_it_is_settled_nothing_more_is_kept() {
    let replay = Replay::new(body(vec![data(10), data(20), data(30)]));
    let mut reader = replay.again().unwrap();
    reader.frame().await.unwrap().unwrap();
    replay.settle();
    let (rest, _) = whole(reader).await;
    assert_eq!(rest.len(), 50);
    assert!(replay.again().is_none());
    assert_eq!(replay.shared.borrow().kept.len(), 0);
}

#[tokio::test]
async fn a_failing_body_fails_its_reader() {
    let failing = stream::iter([Ok(data(10)), Err(Error::new(Kind::ClientGone))]);
    let replay = Replay::new(Body::boxed(Script(failing)));
    let mut reader = replay.again().unwrap();
    reader.frame().await.unwrap().unwrap();
    assert_eq!(reader.frame().await.unwrap().unwrap_err().kind(), Kind::ClientGone);
}

#[tokio::test]
async fn the_end_is_known_only_behind_the_last_frame() {
    let replay = Replay::new(Body::from(Bytes::from_static(b"x")));
    let mut first = replay.again().unwrap();
    assert!(!first.is_end_stream());
    first.frame().await.unwrap().unwrap();
    assert!(first.is_end_stream());
    assert!(!replay.again().unwrap().is_end_stream(), "what is kept has still to be given");
}

proptest! {
    #[test]
    fn what_can_be_read_again_is_what_was_read(
        sizes in proptest::collection::vec(0..30_000_usize, 0..8),
        before in 0..8_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let replay = Replay::new(body(sizes.iter().map(|size| data(*size)).collect()));
            let mut first = replay.again().unwrap();
            for _ in 0..before {
                let _ = first.frame().await;
            }
            let read: usize = sizes.iter().take(before).sum();
            assert_eq!(replay.again().is_some(), read <= LIMIT);
            if let Some(second) = replay.again() {
                drop(first);
                assert_eq!(whole(second).await.0.len(), sizes.iter().sum::<usize>());
            }
        });
    }
}
