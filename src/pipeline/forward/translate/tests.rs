use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::body::Frames;
use crate::error::{Error, Kind};
use crate::message::{Frame, Response};
use crate::pipeline::plan::PreflightPlan;

/// A body that gives these pieces, then ends, with trailers if there are some.
struct Pieces(VecDeque<Frame>);

impl Frames for Pieces {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

/// `bytes` in pieces of these sizes, over and over.
fn chunked(mut bytes: &[u8], sizes: &[usize], trailers: Option<Fields>) -> Body {
    let mut frames = VecDeque::new();
    let mut sizes = sizes.iter().cycle();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(bytes.len().min(*sizes.next().unwrap()));
        frames.push_back(Frame::Data(Bytes::copy_from_slice(piece)));
        bytes = rest;
    }
    frames.extend(trailers.map(Frame::Trailers));
    Body::boxed(Pieces(frames))
}

/// The pieces of data that come out; none of these bodies ever waits.
fn pieces(mut body: Body) -> Result<Vec<Bytes>, Kind> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut pieces = Vec::new();
    while !Frames::is_end_stream(&body) {
        match Frames::poll_frame(Pin::new(&mut body), &mut cx) {
            Poll::Ready(Some(Ok(frame))) => pieces.push(frame.into_data().expect("data")),
            Poll::Ready(Some(Err(error))) => return Err(error.kind()),
            Poll::Ready(None) => break,
            Poll::Pending => panic!("a body of pieces waits"),
        }
    }
    Ok(pieces)
}

fn plan(preflight: bool) -> ForwardPlan {
    let max_age = Duration::from_secs(7200);
    ForwardPlan {
        grpc_web: GrpcWeb::Translate,
        preflight: preflight.then_some(PreflightPlan { max_age }),
        ..ForwardPlan::to(Arc::from("c"))
    }
}

fn map(fields: &[(&'static str, &str)]) -> Fields {
    let mut headers = Fields::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// The translation of a request with this media type, and what becomes of its body.
fn translated(media: &str, body: Body) -> (Translation, Fields, Body) {
    let text = media.contains("-text");
    let class = if text { Class::GrpcWebText } else { Class::GrpcWeb };
    let mut headers = map(&[("content-type", media), ("origin", "https://app.example")]);
    let (translation, body) = request(&plan(false), class, &mut headers, body);
    (translation.unwrap(), headers, body)
}

fn answered(media: &str, fields: &[(&'static str, &str)], body: Body) -> (Fields, Vec<Bytes>) {
    let (translation, ..) = translated(media, Body::Empty);
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.headers = map(fields);
    let body = translation.answer(&mut parts, body);
    (parts.headers, pieces(body).unwrap())
}

#[test]
fn media_types_keep_their_suffix() {
    for (media, up, back) in [
        ("application/grpc-web", "application/grpc", "application/grpc-web"),
        ("application/grpc-web+proto", "application/grpc+proto", "application/grpc-web+proto"),
        ("Application/gRPC-Web+JSON; x=y", "application/grpc+json", "application/grpc-web+json"),
        ("application/grpc-web-text", "application/grpc", "application/grpc-web-text"),
        (
            "application/grpc-web-text+proto",
            "application/grpc+proto",
            "application/grpc-web-text+proto",
        ),
    ] {
        let (translation, headers, _) = translated(&media.to_ascii_lowercase(), Body::Empty);
        assert_eq!(headers["content-type"], up);
        assert_eq!(headers["te"], "trailers");
        assert_eq!(translation.media, back);
    }
}

#[test]
fn nothing_else_is_translated() {
    for class in Class::ALL {
        let web = matches!(class, Class::GrpcWeb | Class::GrpcWebText);
        assert_eq!(applies(&plan(false), *class), web, "{class:?}");
        assert!(!applies(&ForwardPlan::to(Arc::from("c")), *class), "{class:?}");
    }
}

#[test]
fn trailers_only_becomes_a_frame_and_leaves_no_status_in_the_head() {
    let fields = [
        ("content-type", "application/grpc"),
        ("content-length", "0"),
        ("grpc-status", "5"),
        ("grpc-message", "no such%20user"),
        ("x-why", "asked"),
        ("x-why", "twice"),
        ("date", "today"),
        ("vary", "Origin"),
    ];
    let (headers, pieces) = answered("application/grpc-web+proto", &fields, Body::Empty);
    let lines =
        "grpc-status: 5\r\ngrpc-message: no such%20user\r\nx-why: asked\r\nx-why: twice\r\n";
    let [frame] = pieces.as_slice() else { panic!("{pieces:?}") };
    assert_eq!(frame[..5], [0x80, 0, 0, 0, lines.len() as u8]);
    assert_eq!(frame[5..], *lines.as_bytes());
    let mut left: Vec<&str> = headers.names().map(FieldName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["content-type", "date", "vary"]);
}

#[test]
fn the_promise_of_a_preflight_is_kept_unless_upstream_has_its_word() {
    for (preflight, own, expected) in [
        (true, None, Some("https://app.example")),
        (true, Some("https://own.example"), Some("https://own.example")),
        (false, None, None),
    ] {
        let mut asked = map(&[("origin", "https://app.example")]);
        let (translation, _) = request(&plan(preflight), Class::GrpcWeb, &mut asked, Body::Empty);
        let (mut parts, ()) = Response::new(()).into_parts();
        if let Some(own) = own {
            parts.headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static(own));
        }
        translation.unwrap().answer(&mut parts, Body::Empty);
        let allowed = parts.headers.get_all(ACCESS_CONTROL_ALLOW_ORIGIN);
        let allowed: Vec<&str> = allowed.iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(allowed, expected.into_iter().collect::<Vec<_>>());
        assert_eq!(parts.headers.contains_key(VARY), preflight && own.is_none());
    }
}

#[test]
fn what_is_no_base64_is_a_bad_request() {
    for text in ["AAA", "A===", "AA=A", "AAAA\n", "====", "AAAA-_-_", "AAB="] {
        let (.., body) =
            translated("application/grpc-web-text", chunked(text.as_bytes(), &[3], None));
        assert_eq!(pieces(body), Err(Kind::BadRequest), "{text}");
    }
}

#[test]
fn trailers_without_a_status_are_no_end() {
    let (translation, ..) = translated("application/grpc-web", Body::Empty);
    let (mut parts, ()) = Response::new(()).into_parts();
    let body = chunked(b"", &[1], Some(map(&[("x-a", "b")])));
    assert_eq!(pieces(translation.answer(&mut parts, body)), Err(Kind::Incomplete));
}

/// Each piece is base64 by itself, so that none waits for the next.
fn decoded(pieces: &[Bytes]) -> Vec<u8> {
    pieces.iter().flat_map(|piece| STANDARD.decode(piece).unwrap()).collect()
}

proptest! {
    #[test]
    fn a_request_comes_out_the_same_however_it_is_cut_and_padded(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6),
        sizes in proptest::collection::vec(1usize..17, 1..8), text: bool,
    ) {
        let whole = parts.concat();
        // A sender pads wherever it flushes.
        let sent = if text {
            parts.iter().map(|part| STANDARD.encode(part)).collect::<String>().into_bytes()
        } else {
            whole.clone()
        };
        let media = if text { "application/grpc-web-text" } else { "application/grpc-web" };
        let (.., body) = translated(media, chunked(&sent, &sizes, None));
        prop_assert_eq!(pieces(body).unwrap().concat(), whole);
    }

    #[test]
    fn an_answer_comes_out_the_same_however_it_is_cut(
        whole in proptest::collection::vec(any::<u8>(), 0..200),
        sizes in proptest::collection::vec(1usize..50, 1..8), status in 0u8..17, text: bool,
    ) {
        let trailers = map(&[("grpc-status", &status.to_string()), ("x-own", "m")]);
        let media = if text { "application/grpc-web-text+proto" } else { "application/grpc-web+proto" };
        let body = chunked(&whole, &sizes, Some(trailers));
        let (headers, pieces) = answered(media, &[("content-type", "application/grpc")], body);
        prop_assert_eq!(headers[CONTENT_TYPE].to_str().unwrap(), media);
        let bytes = if text { decoded(&pieces) } else { pieces.concat() };
        let lines = format!("grpc-status: {status}\r\nx-own: m\r\n");
        let (data, end) = bytes.split_at(whole.len());
        prop_assert_eq!(data, &whole[..]);
        prop_assert_eq!(end[..5].to_vec(), [0x80, 0, 0, 0, lines.len() as u8]);
        prop_assert_eq!(&end[5..], lines.as_bytes());
    }

    #[test]
    fn no_piece_waits_for_the_next(
        lengths in proptest::collection::vec(1usize..50, 1..8), text: bool,
    ) {
        let frames = lengths.iter().map(|length| Frame::Data(Bytes::from(vec![7; *length])));
        let body = Body::boxed(Pieces(frames.collect()));
        let media = if text { "application/grpc-web-text" } else { "application/grpc-web" };
        let (_, pieces) = answered(media, &[], body);
        let came = |piece: &Bytes| if text { STANDARD.decode(piece).unwrap().len() } else { piece.len() };
        prop_assert_eq!(pieces.iter().map(came).collect::<Vec<_>>(), lengths);
    }

    #[test]
    fn text_goes_there_and_back(
        whole in proptest::collection::vec(any::<u8>(), 0..200),
        up in proptest::collection::vec(1usize..9, 1..5), down in proptest::collection::vec(1usize..9, 1..5),
    ) {
        let (translation, _, body) =
            translated("application/grpc-web-text", chunked(STANDARD.encode(&whole).as_bytes(), &up, None));
        let received = pieces(body).unwrap().concat();
        let (mut parts, ()) = Response::new(()).into_parts();
        let back = translation.answer(&mut parts, chunked(&received, &down, None));
        prop_assert_eq!(decoded(&pieces(back).unwrap()), whole);
    }

    #[test]
    fn whatever_comes_as_text_does_not_panic(
        sent in proptest::collection::vec(any::<u8>(), 0..60), sizes in proptest::collection::vec(1usize..9, 1..5),
    ) {
        let (.., body) = translated("application/grpc-web-text", chunked(&sent, &sizes, None));
        let _ = pieces(body);
    }
}
