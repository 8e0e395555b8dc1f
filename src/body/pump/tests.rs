use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;

use futures_util::stream;
use tokio::sync::oneshot;

use super::*;
use crate::body::testing::Script;
use crate::error::Kind;
use crate::http2::error::Reason;
use crate::http2::{Bounds, Local};
use crate::io::Io;
use crate::message::{Fields, Frame};

type Peer = (h2::RecvStream, h2::server::SendResponse<Bytes>);

const LOCAL: Local = Local {
    stream_window: 65_535,
    connection_window: 65_535,
    max_frame: 16_384,
    streams: 100,
    bounds: Bounds { bytes: 16_384, fields: 100 },
    huffman: false,
};

/// The sending half of a stream, and the peer, whose window is `window`.
async fn pair(window: u32) -> (Sender, Peer) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let mut builder = h2::server::Builder::new();
        builder.initial_window_size(window);
        let mut connection = builder.handshake::<_, Bytes>(far).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        respond.send_response(http::Response::new(()), false).unwrap();
        let _ = tell.send((request.into_body(), respond));
        let _ = poll_fn(|cx| connection.poll_closed(cx)).await;
    });
    let io = Io::new(Box::new(near), None, Bytes::new(), true);
    let (requests, connection) = http2::client::open(io, LOCAL, 16_384);
    tokio::task::spawn_local(connection);
    let request = http::Request::post("http://x/").body(()).unwrap().into();
    let (stream, mut answer) = requests.send(&request, false).unwrap();
    // The head of the answer comes behind the SETTINGS that name the window.
    poll_fn(|cx| answer.poll_head(cx)).await.unwrap();
    let theirs = told.await.unwrap();
    // Held: dropping the last handle would end the connection.
    tokio::task::spawn_local(async move {
        let _held = (requests, answer);
        std::future::pending::<()>().await;
    });
    (stream, theirs)
}

/// Runs what belongs to one thread.
async fn local(test: impl Future<Output = ()>) {
    tokio::task::LocalSet::new().run_until(test).await;
}

async fn stream_with(window: u32) -> (Sender, h2::RecvStream) {
    let (stream, (theirs, _)) = pair(window).await;
    (stream, theirs)
}

fn body(frames: Vec<Result<Frame, Error>>) -> Body {
    let mut frames = frames.into_iter();
    Body::boxed(Script(stream::poll_fn(move |_| Poll::Ready(frames.next()))))
}

async fn received(stream: &mut h2::RecvStream) -> (Vec<u8>, Option<Fields>) {
    let mut all = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data.unwrap();
        stream.flow_control().release_capacity(data.len()).unwrap();
        all.extend_from_slice(&data);
    }
    (all, stream.trailers().await.unwrap().map(Fields::from))
}

async fn run<B>(pump: &mut Pump<B>) -> Result<(), Stopped>
where
    B: Frames + Unpin,
{
    poll_fn(|cx| pump.poll(cx)).await
}

#[tokio::test]
async fn data_larger_than_the_window_and_trailers_arrive_in_order() {
    local(async {
        let (stream, mut theirs) = stream_with(1000).await;
        let sent: Vec<u8> = (0..50_000_u32).map(|i| (i % 251) as u8).collect();
        let mut trailers = Fields::new();
        trailers.insert("x-end", "yes".parse().unwrap());
        let frames = sent.chunks(7_000).map(|chunk| Ok(Frame::Data(Bytes::copy_from_slice(chunk))));
        let frames = frames.chain([Ok(Frame::Data(Bytes::new())), Ok(Frame::Trailers(trailers))]);
        let mut pump = Pump::new(body(frames.collect()), stream);
        let (outcome, (got, end)) =
            futures_util::future::join(run(&mut pump), received(&mut theirs)).await;
        outcome.unwrap();
        assert!(got == sent);
        assert_eq!(end.unwrap()["x-end"], "yes");
        assert_eq!(pump.progress(), 50_000);
    })
    .await;
}

#[tokio::test]
async fn no_more_is_taken_from_the_body_than_the_window_lets_through() {
    local(async {
        let (stream, theirs) = stream_with(6000).await;
        let taken = Rc::new(Cell::new(0));
        let counter = Rc::clone(&taken);
        let endless = stream::repeat_with(move || {
            counter.set(counter.get() + 1);
            Ok(Frame::Data(Bytes::from_static(&[0; SMALL + 1])))
        });
        let mut pump = Pump::new(Body::boxed(Script(endless)), stream);
        for _ in 0..10 {
            assert!(poll_fn(|cx| Poll::Ready(pump.poll(cx).is_pending())).await);
            tokio::task::yield_now().await;
        }
        assert!(pump.waits_for_window());
        assert_eq!((pump.progress(), taken.get()), (6000, 2));
        drop(theirs);
    })
    .await;
}

#[tokio::test]
async fn small_pieces_that_are_there_leave_together_and_are_not_waited_for() {
    local(async {
        let (stream, mut theirs) = stream_with(1 << 20).await;
        let ready = Rc::new(Cell::new(10));
        let pieces = Rc::clone(&ready);
        let messages = stream::poll_fn(move |_| {
            let left = pieces.get();
            if left == 0 {
                return Poll::Pending;
            }
            pieces.set(left - 1);
            Poll::Ready(Some(Ok(Frame::Data(Bytes::from_static(b"message")))))
        });
        let mut pump = Pump::new(Body::boxed(Script(messages)), stream);
        for pieces in [10, 1, 5_000] {
            ready.set(pieces);
            let waits = poll_fn(|cx| Poll::Ready(pump.poll(cx).is_pending())).await;
            assert!(waits && ready.get() == 0, "no more comes, and all that came is sent");
            let (mut got, mut frames) = (0, 0);
            while got < pieces * b"message".len() {
                let data = theirs.data().await.unwrap().unwrap();
                theirs.flow_control().release_capacity(data.len()).unwrap();
                (got, frames) = (got + data.len(), frames + 1);
            }
            assert_eq!(frames, pieces.div_ceil(TOGETHER / b"message".len()), "{pieces} pieces");
        }
    })
    .await;
}

#[tokio::test]
async fn what_follows_small_pieces_keeps_its_place() {
    local(async {
        let piece = |byte: u8, length| Ok(Frame::Data(Bytes::from(vec![byte; length])));
        let mut trailers = Fields::new();
        trailers.insert("x-end", "yes".parse().unwrap());
        for (end, expected) in [
            (vec![Ok(Frame::Trailers(trailers))], Some("yes")),
            (vec![Ok(Frame::Data(Bytes::new()))], None),
            (vec![], None),
        ] {
            let (stream, mut theirs) = stream_with(1 << 20).await;
            let mut frames = vec![piece(1, 10), piece(2, SMALL + 1), piece(3, 5), piece(4, 6)];
            frames.extend(end);
            let mut pump = Pump::new(body(frames), stream);
            let (outcome, (got, end)) =
                futures_util::future::join(run(&mut pump), received(&mut theirs)).await;
            outcome.unwrap();
            let sent = [vec![1; 10], vec![2; SMALL + 1], vec![3; 5], vec![4; 6]].concat();
            assert!(got == sent);
            let end = end.map(|end| end["x-end"].to_str().unwrap().to_owned());
            assert_eq!(end.as_deref(), expected);
        }
    })
    .await;
}

#[tokio::test]
async fn the_last_data_ends_the_stream_without_a_frame_of_its_own() {
    local(async {
        let (stream, mut theirs) = stream_with(65_535).await;
        let mut pump = Pump::new(Body::from(Bytes::from_static(b"all")), stream);
        run(&mut pump).await.unwrap();
        let data = theirs.data().await.unwrap().unwrap();
        assert_eq!(&data[..], b"all");
        assert!(theirs.is_end_stream());
    })
    .await;
}

#[tokio::test]
async fn a_failing_body_stops_the_pump_and_leaves_the_stream_open() {
    local(async {
        let (stream, mut theirs) = stream_with(65_535).await;
        let frames =
            vec![Ok(Frame::Data(Bytes::from_static(b"half"))), Err(Error::new(Kind::Incomplete))];
        let mut pump = Pump::new(body(frames), stream);
        match run(&mut pump).await {
            Err(Stopped::Body(error)) => assert_eq!(error.kind(), Kind::Incomplete),
            other => panic!("{other:?}"),
        }
        assert_eq!(&theirs.data().await.unwrap().unwrap()[..], b"half");
        pump.stream().send_reset(Reason::CANCEL);
        let error = theirs.data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_wants_no_more_is_noticed_while_the_body_is_silent() {
    local(async {
        let (stream, mut theirs) = pair(65_535).await;
        let silent = Script(stream::pending());
        let mut pump = Pump::new(Body::boxed(silent), stream);
        theirs.1.send_reset(h2::Reason::CANCEL);
        match run(&mut pump).await {
            Err(Stopped::Stream(error)) => assert_eq!(error.reason(), Some(Reason::CANCEL)),
            other => panic!("{other:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_wants_no_more_is_noticed_while_its_window_is_shut() {
    local(async {
        let (stream, mut theirs) = pair(10).await;
        let mut pump = Pump::new(Body::from(Bytes::from_static(&[0; 2 * SMALL])), stream);
        assert!(poll_fn(|cx| Poll::Ready(pump.poll(cx).is_pending())).await);
        theirs.1.send_reset(h2::Reason::CANCEL);
        assert!(matches!(run(&mut pump).await, Err(Stopped::Stream(_))));
    })
    .await;
}

#[tokio::test]
async fn an_empty_body_ends_the_stream() {
    local(async {
        let (stream, mut theirs) = stream_with(65_535).await;
        let mut pump = Pump::new(body(vec![]), stream);
        run(&mut pump).await.unwrap();
        assert_eq!(received(&mut theirs).await, (Vec::new(), None));
    })
    .await;
}
