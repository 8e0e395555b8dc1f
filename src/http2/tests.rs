//! Both ends before each other, and each before a peer whose frames are written by hand.

mod hostile;
mod windows;

use std::future::{Future, poll_fn};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use super::client::{self, Requests};
use super::ends::{Answered, Receiver, Sender};
use super::error::{By, Error, Reason};
use super::frame::{HEAD, Head, flag, kind};
use super::server::{Accepted, Connection};
use super::{Bounds, Local};
use crate::io::Io;
use crate::message::{Fields, Request, Response};

fn local(window: u32) -> Local {
    Local {
        stream_window: window,
        connection_window: 65_535,
        max_frame: 16_384,
        streams: 100,
        bounds: Bounds { bytes: 16_384, fields: 100 },
        huffman: true,
    }
}

/// Serves `connection`, each stream by `serve`, until it is over.
async fn serve<F: Future<Output = ()> + 'static>(
    mut connection: Connection,
    serve: impl Fn(Accepted) -> F,
) {
    poll_fn(|cx| {
        while let Poll::Ready(accepted) = connection.poll_accept(cx) {
            let Some(accepted) = accepted else { break };
            spawn_local(serve(accepted));
        }
        connection.poll_flush(cx)
    })
    .await;
}

/// Both ends, over a wire that holds `room` bytes.
fn pair<F: Future<Output = ()> + 'static>(
    room: usize,
    windows: (u32, u32),
    each: impl Fn(Accepted) -> F + 'static,
) -> Requests {
    let (near, far) = tokio::io::duplex(room);
    let io = |socket| Io::new(Box::new(socket), None, Bytes::new(), true);
    spawn_local(serve(Connection::new(io(far), local(windows.1), 16_384), each));
    let (requests, connection) = client::open(io(near), local(windows.0), 16_384);
    spawn_local(connection);
    requests
}

/// A wire with a server at its other end.
fn facing_server<F: Future<Output = ()> + 'static>(
    each: impl Fn(Accepted) -> F + 'static,
) -> DuplexStream {
    let (near, far) = tokio::io::duplex(1 << 20);
    let io = Io::new(Box::new(near), None, Bytes::new(), true);
    spawn_local(serve(Connection::new(io, local(1 << 16), 16_384), each));
    far
}

/// A wire with a client at its other end, what that asks by, and its outcome.
fn facing_client() -> (DuplexStream, Requests, JoinHandle<Result<(), Error>>) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let io = Io::new(Box::new(near), None, Bytes::new(), true);
    let (requests, connection) = client::open(io, local(1 << 16), 16_384);
    (far, requests, spawn_local(connection))
}

async fn on_one_thread(test: impl Future<Output = ()>) {
    let local = LocalSet::new();
    let test = local.run_until(test);
    tokio::time::timeout(std::time::Duration::from_secs(20), test).await.expect("it goes on");
}

async fn send(sender: &mut Sender, mut data: Bytes) -> Result<(), Error> {
    while !data.is_empty() {
        let most = poll_fn(|cx| sender.poll_capacity(cx)).await?;
        let now = data.split_to(most.min(data.len()));
        sender.send_data(&now, false)?;
    }
    Ok(())
}

async fn read(receiver: &mut Receiver) -> Result<(Vec<u8>, Option<Fields>), Error> {
    let mut all = Vec::new();
    while let Some(frame) = poll_fn(|cx| receiver.poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(data) => all.extend_from_slice(&data),
            Err(frame) => return Ok((all, frame.into_trailers().ok())),
        }
    }
    Ok((all, None))
}

async fn head(receiver: &mut Receiver) -> Result<Response<()>, Error> {
    match poll_fn(|cx| receiver.poll_head(cx)).await? {
        Answered::Final(response) => Ok(response),
        Answered::Interim(interim) => panic!("{interim:?}"),
    }
}

/// Sends back what comes, then says how much that was.
async fn echo(mut accepted: Accepted) {
    accepted.sender.respond(&Response::new(()), false).unwrap();
    let mut length = 0;
    while let Some(Ok(frame)) = poll_fn(|cx| accepted.receiver.poll_frame(cx)).await {
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if send(&mut accepted.sender, data).await.is_err() {
            return;
        }
    }
    let mut trailers = Fields::new();
    trailers.insert("x-length", length.into());
    accepted.sender.send_trailers(&trailers).unwrap();
}

fn post() -> Request<()> {
    http::Request::post("http://localhost/echo").body(()).unwrap().into()
}

#[tokio::test]
async fn many_streams_share_small_windows_and_a_narrow_wire() {
    on_one_thread(async {
        let requests = pair(5_000, (1_000, 70_000), echo);
        let streams = (0..60_u8).map(|n| {
            let (mut sender, mut receiver) = requests.send(&post(), false).unwrap();
            spawn_local(async move {
                let sent = Bytes::from(vec![n; 20_000 + usize::from(n)]);
                let sending = async {
                    send(&mut sender, sent.clone()).await.unwrap();
                    sender.send_data(&Bytes::new(), true).unwrap();
                };
                let reading = async {
                    assert_eq!(head(&mut receiver).await.unwrap().status(), 200);
                    read(&mut receiver).await.unwrap()
                };
                let ((), (got, trailers)) = futures_util::future::join(sending, reading).await;
                assert!(got == sent);
                assert_eq!(trailers.unwrap()["x-length"], sent.len().to_string());
            })
        });
        for stream in streams.collect::<Vec<_>>() {
            stream.await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn who_leaves_while_it_is_its_turn_gives_it_on() {
    on_one_thread(async {
        // The connection's window is 65,535; nobody reads.
        let requests = pair(1 << 20, (1_000, 1 << 20), |mut accepted| async move {
            poll_fn(|cx| accepted.sender.poll_reset(cx)).await;
        });
        while !requests.is_settled() {
            tokio::task::yield_now().await;
        }
        let (mut first, _held) = requests.send(&post(), false).unwrap();
        send(&mut first, vec![0; 65_535].into()).await.unwrap();
        let mut waiting: Vec<_> = (0..3).map(|_| requests.send(&post(), false).unwrap()).collect();
        let cx = &mut Context::from_waker(Waker::noop());
        for (sender, _) in &mut waiting {
            assert!(sender.poll_capacity(cx).is_pending());
        }
        // What the first had sent is given up, and with it the window comes back.
        drop((first, _held));
        let (sender, _) = &mut waiting[0];
        let first = poll_fn(|cx| sender.poll_capacity(cx));
        let _ = tokio::time::timeout(std::time::Duration::from_millis(50), first).await;
        drop(waiting.remove(0));
        for (sender, _) in &mut waiting {
            let most = poll_fn(|cx| sender.poll_capacity(cx)).await.unwrap();
            sender.send_data(&vec![0; most.min(10)].into(), false).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn small_frames_that_come_together_are_taken_together() {
    on_one_thread(async {
        let requests = pair(1 << 20, (1 << 16, 1 << 16), |mut accepted| async move {
            accepted.sender.respond(&Response::new(()), false).unwrap();
            for n in 0..100_u8 {
                accepted.sender.send_data(&vec![n; 20].into(), n == 99).unwrap();
            }
        });
        let (_sender, mut receiver) = requests.send(&post(), true).unwrap();
        head(&mut receiver).await.unwrap();
        let frame = poll_fn(|cx| receiver.poll_frame(cx)).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap().len(), 2_000);
        assert!(receiver.is_end());
    })
    .await;
}

#[tokio::test]
async fn an_end_that_is_dropped_cancels_and_one_that_was_answered_does_not() {
    on_one_thread(async {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let requests = pair(1 << 20, (1 << 16, 1 << 16), move |mut accepted| {
            let tell = tell.clone();
            async move {
                if accepted.request.uri().path() == "/answered" {
                    return accepted.sender.respond(&Response::new(()), true).unwrap();
                }
                let _ = tell.send(poll_fn(|cx| accepted.sender.poll_reset(cx)).await);
            }
        });
        drop(requests.send(&post(), false).unwrap());
        let reset = told.recv().await.unwrap();
        assert!(matches!(reset, Error::Reset(Reason::CANCEL, By::Peer)), "{reset:?}");
        // The rest of a request whose answer is whole is asked for no more.
        let asked = http::Request::post("http://localhost/answered").body(()).unwrap().into();
        let (mut sender, mut receiver) = requests.send(&asked, false).unwrap();
        assert_eq!(head(&mut receiver).await.unwrap().status(), 200);
        assert_eq!(read(&mut receiver).await.unwrap(), (Vec::new(), None));
        let reset = poll_fn(|cx| sender.poll_reset(cx)).await;
        assert!(matches!(reset, Error::Reset(Reason::NO_ERROR, By::Peer)), "{reset:?}");
    })
    .await;
}

#[tokio::test]
async fn streams_beyond_a_goaway_were_not_processed_and_others_go_on() {
    on_one_thread(async {
        let (mut far, requests, _over) = facing_client();
        let (_one, mut first) = requests.send(&post(), true).unwrap();
        let (_two, mut second) = requests.send(&post(), true).unwrap();
        let mut frames = vec![0, 0, 0, kind::SETTINGS, 0, 0, 0, 0, 0];
        // GOAWAY with the first stream as the last, then its answer: `:status: 200`.
        frames.extend([0, 0, 8, kind::GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
        let ends = flag::END_HEADERS | flag::END_STREAM;
        frames.extend([0, 0, 1, kind::HEADERS, ends, 0, 0, 0, 1, 0x88]);
        far.write_all(&frames).await.unwrap();
        let error = head(&mut second).await.unwrap_err();
        assert!(error.is_go_away() && error.is_remote(), "{error:?}");
        assert_eq!(head(&mut first).await.unwrap().status(), 200);
        assert!(!requests.is_open());
        assert!(requests.send(&post(), true).is_err());
    })
    .await;
}

#[tokio::test]
async fn a_broken_connection_ends_every_stream_but_not_what_had_come() {
    on_one_thread(async {
        let (mut far, requests, over) = facing_client();
        let (_one, mut first) = requests.send(&post(), true).unwrap();
        let (_two, mut second) = requests.send(&post(), true).unwrap();
        let mut frames = vec![0, 0, 0, kind::SETTINGS, 0, 0, 0, 0, 0];
        frames.extend([0, 0, 1, kind::HEADERS, flag::END_HEADERS, 0, 0, 0, 1, 0x88]);
        frames.extend([0, 0, 2, kind::DATA, 0, 0, 0, 0, 1, b'h', b'i']);
        far.write_all(&frames).await.unwrap();
        drop(far);
        assert!(over.await.unwrap().unwrap_err().is_io());
        assert_eq!(head(&mut first).await.unwrap().status(), 200);
        let data = poll_fn(|cx| first.poll_frame(cx)).await.unwrap().unwrap();
        assert_eq!(data.into_data().unwrap(), "hi");
        assert!(poll_fn(|cx| first.poll_frame(cx)).await.unwrap().unwrap_err().is_io());
        assert!(head(&mut second).await.unwrap_err().is_io());
    })
    .await;
}

#[tokio::test]
async fn of_interim_heads_without_end_the_first_ones_are_kept() {
    on_one_thread(async {
        let requests = pair(1 << 20, (1 << 16, 1 << 16), |mut accepted| async move {
            let mut interim = Response::new(());
            *interim.status_mut() = http::StatusCode::EARLY_HINTS;
            for _ in 0..1_000 {
                accepted.sender.respond(&interim, false).unwrap();
            }
            accepted.sender.respond(&Response::new(()), true).unwrap();
        });
        let (_sender, mut receiver) = requests.send(&post(), true).unwrap();
        // All of them come before the first is taken.
        while !receiver.is_end() {
            tokio::task::yield_now().await;
        }
        let mut interims = 0;
        while let Answered::Interim(_) = poll_fn(|cx| receiver.poll_head(cx)).await.unwrap() {
            interims += 1;
        }
        assert_eq!(interims, 16);
    })
    .await;
}

#[tokio::test]
async fn an_answer_without_the_body_that_it_tells_of_is_malformed() {
    on_one_thread(async {
        for (method, expected) in [("GET", false), ("HEAD", true)] {
            let (mut far, requests, _over) = facing_client();
            let request = http::Request::builder()
                .method(method)
                .uri("http://localhost/")
                .body(())
                .unwrap()
                .into();
            let (_sender, mut receiver) = requests.send(&request, true).unwrap();
            let mut frames = vec![0, 0, 0, kind::SETTINGS, 0, 0, 0, 0, 0];
            // `:status: 200`, `content-length: 10`, and the end.
            let block = [0x88, 0x0f, 0x0d, 2, b'1', b'0'];
            frames.extend([
                0,
                0,
                6,
                kind::HEADERS,
                flag::END_HEADERS | flag::END_STREAM,
                0,
                0,
                0,
                1,
            ]);
            frames.extend(block);
            far.write_all(&frames).await.unwrap();
            let outcome = match head(&mut receiver).await {
                Ok(_) => read(&mut receiver).await.map(|_| ()),
                Err(error) => Err(error),
            };
            assert_eq!(outcome.is_ok(), expected, "{method}: {outcome:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_crosses_the_last_goaway_is_left_out_and_others_go_on() {
    on_one_thread(async {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let io = Io::new(Box::new(near), None, Bytes::new(), true);
        let mut connection = Connection::new(io, local(1 << 16), 16_384);
        connection.leave();
        spawn_local(serve(connection, echo));
        let head = |stream, flags| {
            let block = [0x83, 0x86, 0x84, 0x41, 1, b'x'];
            let head = Head { length: block.len(), kind: kind::HEADERS, flags, stream };
            [&head.bytes()[..], &block].concat()
        };
        let data = |stream, flags, bytes: &[u8]| {
            let head = Head { length: bytes.len(), kind: kind::DATA, flags, stream };
            [&head.bytes()[..], bytes].concat()
        };
        let pong = [&[0, 0, 8, kind::PING, flag::ACK, 0, 0, 0, 0][..], b"ravelin!"].concat();
        // The first stream is open when the client answers the PING; the second crosses the GOAWAY.
        let begun = [hostile::hello(), head(1, flag::END_HEADERS), pong].concat();
        far.write_all(&begun).await.unwrap();
        let crossed = [head(3, flag::END_HEADERS), data(3, flag::END_STREAM, b"lost")].concat();
        far.write_all(&crossed).await.unwrap();
        far.write_all(&data(1, flag::END_STREAM, b"kept")).await.unwrap();
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        let (mut rest, mut seen) = (&all[..], Vec::new());
        while let Some(head) = Head::read(rest) {
            let payload = &rest[HEAD..HEAD + head.length];
            match head.kind {
                kind::GOAWAY => seen.push(format!("GOAWAY {} {}", payload[3], payload[7])),
                kind::DATA => seen.push(String::from_utf8(payload.to_vec()).unwrap()),
                _ => assert_ne!(head.stream, 3, "{head:?}"),
            }
            rest = &rest[HEAD + head.length..];
        }
        assert_eq!(seen, ["GOAWAY 255 0", "GOAWAY 1 0", "kept"]);
    })
    .await;
}
