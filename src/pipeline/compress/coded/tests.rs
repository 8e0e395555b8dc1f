use std::collections::VecDeque;
use std::io::Read;
use std::task::Waker;

use http::HeaderValue;

use super::*;
use crate::pipeline::coding::{Coding, Level};

/// What upstream does next.
enum Next {
    Data(Vec<u8>),
    Trailers(Fields),
    /// Nothing, until the test goes on.
    Pause,
    Fail,
}

/// An upstream whose every step is set.
struct Script(VecDeque<Next>);

impl Frames for Script {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        if matches!(self.0.front(), Some(Next::Pause)) {
            return Poll::Pending;
        }
        match self.0.pop_front() {
            Some(Next::Pause) | None => Poll::Ready(None),
            Some(Next::Data(data)) => Poll::Ready(Some(Ok(Frame::Data(data.into())))),
            Some(Next::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::Trailers(trailers)))),
            Some(Next::Fail) => Poll::Ready(Some(Err(Kind::Incomplete.into()))),
        }
    }
}

const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

fn coded(coding: Coding, script: impl IntoIterator<Item = Next>) -> Coded<Script> {
    let encoder = Encoder::new(coding, Level::Fast, None).unwrap();
    let load = Rc::new(Load::new(Instant::now()));
    Coded::new(Script(script.into_iter().collect()), encoder, load)
}

fn poll(body: &mut Coded<Script>) -> Poll<Option<Result<Frame, Error>>> {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// What a client can read of the beginning of a coded body.
fn decoded(coding: Coding, coded: &[u8]) -> Vec<u8> {
    let mut reader: Box<dyn Read + '_> = match coding {
        Coding::Identity => Box::new(coded),
        Coding::Gzip => Box::new(flate2::read::GzDecoder::new(coded)),
        Coding::Brotli => Box::new(brotli::Decompressor::new(coded, 4_096)),
        Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(coded).unwrap()),
    };
    let (mut plain, mut piece) = (Vec::new(), [0; 4_096]);
    while let Ok(read @ 1..) = reader.read(&mut piece) {
        plain.extend_from_slice(&piece[..read]);
    }
    plain
}

/// The data that comes until there is no more for now.
fn data(body: &mut Coded<Script>) -> Vec<u8> {
    let mut data = Vec::new();
    while !body.is_end_stream() {
        let Poll::Ready(Some(frame)) = poll(body) else { break };
        match frame.unwrap().into_data() {
            Ok(piece) => data.extend_from_slice(&piece),
            Err(frame) => panic!("trailers: {frame:?}"),
        }
        if body.trailers.is_some() && body.encoder.is_none() {
            break;
        }
    }
    data
}

/// The same, and upstream goes on afterwards.
fn until_pause(body: &mut Coded<Script>) -> Vec<u8> {
    let data = data(body);
    assert!(matches!(body.body.0.pop_front(), Some(Next::Pause)), "upstream did not pause");
    data
}

#[test]
fn when_upstream_pauses_the_client_has_all_that_it_sent() {
    for coding in CODINGS {
        let event = |n: u8| Next::Data(format!("data: event {n}\n\n").into_bytes());
        let script = [event(1), Next::Pause, event(2), event(3), Next::Pause, Next::Pause];
        let mut body = coded(coding, script);
        let mut client = until_pause(&mut body);
        assert_eq!(decoded(coding, &client), b"data: event 1\n\n", "{coding:?}");
        client.extend(until_pause(&mut body));
        let expected = b"data: event 1\n\ndata: event 2\n\ndata: event 3\n\n";
        assert_eq!(decoded(coding, &client), expected, "{coding:?}");
        assert!(until_pause(&mut body).is_empty(), "{coding:?}: nothing new, nothing sent");
        assert!(!body.is_end_stream());
    }
}

#[test]
fn a_long_piece_is_coded_in_turns() {
    for coding in CODINGS {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|n| n.to_string().into_bytes()).collect();
        let mut body = coded(coding, [Next::Data(text.clone())]);
        let (mut client, mut pauses) = (Vec::new(), 0);
        loop {
            match poll(&mut body) {
                Poll::Pending => pauses += 1,
                Poll::Ready(None) => break,
                Poll::Ready(Some(frame)) => {
                    client.extend_from_slice(frame.unwrap().data_ref().unwrap());
                }
            }
        }
        // The last piece needs no turn after it.
        assert_eq!(pauses, text.len().div_ceil(TURN) - 1, "{coding:?}");
        assert!(decoded(coding, &client) == text, "{coding:?}");
    }
}

#[test]
fn trailers_pass_after_the_last_byte_and_digests_of_the_plain_body_do_not() {
    for coding in CODINGS {
        let mut trailers = Fields::new();
        trailers.insert("server-timing", HeaderValue::from_static("db;dur=1"));
        trailers.insert("content-digest", HeaderValue::from_static("sha-256=:x:"));
        let mut body = coded(coding, [Next::Data(b"all".to_vec()), Next::Trailers(trailers)]);
        assert_eq!(decoded(coding, &data(&mut body)), b"all");
        assert!(!body.is_end_stream());
        let Poll::Ready(Some(Ok(frame))) = poll(&mut body) else { panic!("{coding:?}") };
        let trailers = frame.into_trailers().unwrap();
        assert_eq!(trailers.len(), 1);
        assert_eq!(trailers["server-timing"], "db;dur=1");
        assert!(body.is_end_stream() && matches!(poll(&mut body), Poll::Ready(None)));
    }
}

#[test]
fn an_empty_body_and_a_failure_are_what_they_are() {
    for coding in CODINGS {
        let mut body = coded(coding, []);
        let empty = data(&mut body);
        assert!(!empty.is_empty() && decoded(coding, &empty).is_empty(), "{coding:?}");
        assert!(body.is_end_stream());

        let mut body = coded(coding, [Next::Data(b"half".to_vec()), Next::Fail]);
        let failed = loop {
            match poll(&mut body) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => break error.kind(),
                other => panic!("{coding:?}: {other:?}"),
            }
        };
        assert_eq!(failed, Kind::Incomplete);
    }
}
