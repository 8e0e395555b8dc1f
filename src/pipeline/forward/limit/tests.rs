use std::collections::VecDeque;
use std::future::poll_fn;

use bytes::Bytes;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn plan(body: Option<u64>, message: Option<u32>) -> LimitsPlan {
    LimitsPlan { body, grpc_message: message, body_idle: None, rate: None }
}

/// Gives out pieces, each after a pause.
struct Pieces {
    pieces: VecDeque<(Duration, &'static [u8])>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Pieces {
    fn body(pieces: &[(Duration, &'static [u8])]) -> Body {
        Body::boxed(Self { pieces: pieces.iter().copied().collect(), pause: None })
    }
}

impl Frames for Pieces {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        let Some((pause, data)) = self.pieces.front().copied() else { return Poll::Ready(None) };
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
        if pause.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.pause = None;
        self.pieces.pop_front();
        Poll::Ready(Some(Ok(Frame::Data(Bytes::from_static(data)))))
    }
}

async fn frame(body: &mut Body) -> Option<Result<Bytes, Kind>> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    Some(frame.map(|frame| frame.into_data().unwrap()).map_err(|error| error.kind()))
}

async fn read(mut body: Body) -> Result<usize, Kind> {
    let mut bytes = 0;
    while let Some(data) = frame(&mut body).await {
        bytes += data?.len();
    }
    Ok(bytes)
}

fn limited(plan: &LimitsPlan, class: Class, body: Body) -> (Body, Option<Rc<Watch>>) {
    limit(plan, class, &Fields::new(), body).unwrap()
}

#[test]
fn an_announced_length_is_refused_without_reading() {
    for (length, most, refused) in
        [("10", 10, false), ("11", 10, true), ("x", 10, false), ("99999999999999999999", 10, false)]
    {
        let mut headers = Fields::new();
        headers.insert(CONTENT_LENGTH, length.parse().unwrap());
        let body = Pieces::body(&[(SECOND, b"x")]);
        let outcome = limit(&plan(Some(most), None), Class::Rest, &headers, body);
        let kind = outcome.err().map(|error| error.kind());
        assert_eq!(kind, refused.then_some(Kind::BodyTooLarge), "{length}");
    }
}

#[test]
fn each_class_has_the_limits_that_are_about_it() {
    let whole =
        LimitsPlan { body: Some(100), grpc_message: Some(10), body_idle: Some(SECOND), rate: None };
    for (class, bytes, messages, silence) in [
        (Class::Grpc, Some(100), true, false),
        (Class::GrpcWeb, Some(100), true, true),
        (Class::GrpcWebText, Some(100), true, true),
        (Class::Connect, Some(10), false, true),
        (Class::ConnectStream, Some(100), true, false),
        (Class::Rest, Some(100), false, true),
        (Class::Asset, Some(100), false, true),
        (Class::Page, Some(100), false, true),
        (Class::WebSocket, None, false, false),
    ] {
        let limits = Limits::of(&whole, class);
        assert_eq!(limits.bytes, bytes, "{class:?}");
        assert_eq!(limits.messages.is_some(), messages, "{class:?}");
        assert_eq!(limits.silence.is_some(), silence, "{class:?}");
    }
}

#[test]
fn what_has_no_limit_has_no_wrapper() {
    let (body, watch) = limited(&plan(None, None), Class::Rest, Pieces::body(&[(SECOND, b"x")]));
    assert!(watch.is_none() && matches!(body, Body::Dyn(_)));
    let grpc = LimitsPlan::default();
    let (body, watch) = limited(&grpc, Class::Grpc, Body::Full(Bytes::from_static(b"x")));
    assert!(watch.is_none() && matches!(body, Body::Full(_)));
    let (body, watch) = limited(&plan(Some(0), None), Class::Rest, Body::Empty);
    assert!(watch.is_none() && matches!(body, Body::Empty));
}

#[tokio::test(start_paused = true)]
async fn bytes_are_counted_as_they_come() {
    let pieces = [(Duration::ZERO, &b"12345"[..]), (Duration::ZERO, b"67890"), (SECOND, b"")];
    let (body, _) = limited(&plan(Some(10), None), Class::Rest, Pieces::body(&pieces));
    assert_eq!(read(body).await, Ok(10));
    let (mut body, watch) = limited(&plan(Some(9), None), Class::Rest, Pieces::body(&pieces));
    assert_eq!(frame(&mut body).await, Some(Ok(Bytes::from_static(b"12345"))));
    assert_eq!(frame(&mut body).await, Some(Err(Kind::BodyTooLarge)));
    // An upstream that only noticed a broken request did not fail.
    let meaning = watch.unwrap().meaning(Error::new(Kind::Incomplete));
    assert_eq!(meaning.kind(), Kind::BodyTooLarge);
}

fn patient() -> LimitsPlan {
    LimitsPlan { body_idle: Some(SECOND * 10), ..plan(None, None) }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_moves_may_be_slow_and_one_that_stands_still_may_not() {
    let moving = [(SECOND * 9, &b"x"[..]); 20];
    let (body, _) = limited(&patient(), Class::Rest, Pieces::body(&moving));
    assert_eq!(read(body).await, Ok(20));
    let (body, _) =
        limited(&patient(), Class::Rest, Pieces::body(&[(SECOND * 9, b"x"), (SECOND * 11, b"x")]));
    let begun = Instant::now();
    assert_eq!(read(body).await, Err(Kind::RequestTimeout));
    assert_eq!(begun.elapsed().as_secs(), 19);
}

#[tokio::test(start_paused = true)]
async fn the_clock_stands_while_nobody_asks_and_when_upstream_has_answered() {
    let pieces = [(Duration::ZERO, &b"x"[..]), (SECOND * 5, b"x"), (SECOND * 60, b"x")];
    let (mut body, watch) = limited(&patient(), Class::Rest, Pieces::body(&pieces));
    let watch = watch.unwrap();
    assert!(frame(&mut body).await.is_some());
    // Upstream takes nothing for a minute.
    tokio::time::sleep(SECOND * 60).await;
    assert!(frame(&mut body).await.unwrap().is_ok());
    assert!(!watch.waits());
    let waiting = tokio::time::timeout(SECOND, frame(&mut body)).await;
    assert!(waiting.is_err() && watch.waits());
    watch.answered();
    assert_eq!(frame(&mut body).await, Some(Ok(Bytes::from_static(b"x"))));
    assert!(!watch.waits());
}
