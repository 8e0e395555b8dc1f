//! HTTP/2 with the client and with upstream: streams that begin, end and stop in every order.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::Reason;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::support::frames::{self, Frames, frame, headers};
use crate::support::h2::{Client, frame as message, read, send_all};
use crate::support::wire::{PATIENCE, Upstream};
use crate::support::{Ravelin, config_before, standin};

fn limited(upstream: &str, limits: &str) -> Ravelin {
    let plain = format!("name: plain, limits: {{{limits}}},");
    Ravelin::start(&config_before(upstream).replace("name: plain,", &plain))
}

fn h2c(standin: &ravelin::standin::Standin) -> String {
    format!("h2c://{}", standin.address())
}

async fn both(ravelin: &Ravelin) -> [Client; 2] {
    [Client::plain(ravelin.plain()).await, Client::tls(ravelin.https()).await]
}

/// Whether nothing but the end follows.
async fn ends(body: &mut h2::RecvStream) -> bool {
    while let Some(data) = body.data().await {
        if !data.unwrap().is_empty() {
            return false;
        }
    }
    true
}

fn request(method: Method, path: &str) -> Request<()> {
    let uri = format!("https://localhost{path}");
    Request::builder().method(method).uri(uri).body(()).unwrap()
}

/// An upstream on `h2` itself that the test drives stream by stream.
struct Scripted {
    streams: tokio::sync::mpsc::UnboundedReceiver<(
        Request<h2::RecvStream>,
        h2::server::SendResponse<Bytes>,
    )>,
}

impl Scripted {
    async fn before() -> (Self, Ravelin) {
        Self::behind(Ravelin::before).await
    }

    async fn behind(ravelin: impl Fn(&str) -> Ravelin) -> (Self, Ravelin) {
        let upstream = Upstream::start().await;
        let ravelin = ravelin(&format!("h2c://{}", upstream.address()));
        let (give, streams) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let socket = upstream.accept_socket().await;
            let mut connection = h2::server::handshake(socket).await.unwrap();
            while let Some(Ok(stream)) = connection.accept().await {
                let _ = give.send(stream);
            }
        });
        (Self { streams }, ravelin)
    }

    async fn next(&mut self) -> (Request<h2::RecvStream>, h2::server::SendResponse<Bytes>) {
        timeout(PATIENCE, self.streams.recv()).await.expect("no request comes").unwrap()
    }
}

#[tokio::test]
async fn trailers_pass_both_ways_without_grpc() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for client in both(&ravelin).await {
        let (answer, mut stream) =
            client.open(request(Method::POST, "/echo"), false).await.unwrap();
        stream.send_data(Bytes::from_static(b"body"), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "42".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
        let answer = read(answer.await.unwrap()).await.unwrap();
        assert_eq!((answer.text(), answer.trailer("x-sum")), ("body", "42"));
    }
}

#[tokio::test]
async fn interim_answers_pass_in_their_order() {
    let (mut upstream, ravelin) = Scripted::before().await;
    let client = Client::tls(ravelin.https()).await;
    let mut asked = request(Method::POST, "/");
    asked.headers_mut().insert("expect", "100-continue".parse().unwrap());
    let (mut answer, mut stream) = client.open(asked, false).await.unwrap();
    let (mut seen, mut respond) = upstream.next().await;
    assert_eq!(seen.headers()["expect"], "100-continue");
    for status in [103, 100, 103] {
        let mut interim = Response::new(());
        *interim.status_mut() = StatusCode::from_u16(status).unwrap();
        interim.headers_mut().insert("x-n", status.into());
        respond.send_informational(interim).unwrap();
        let got = std::future::poll_fn(|cx| answer.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!((got.status().as_u16(), &got.headers()["x-n"]), (status, &status.into()));
    }
    stream.send_data(Bytes::from_static(b"body"), true).unwrap();
    assert_eq!(seen.body_mut().data().await.unwrap().unwrap(), "body");
    respond.send_response(Response::new(()), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_half_closed_stream_goes_on_in_the_other_direction() {
    let (mut upstream, ravelin) = Scripted::before().await;
    let client = Client::plain(ravelin.plain()).await;
    // Ours first.
    let (answer, mut stream) = client.open(request(Method::POST, "/a"), false).await.unwrap();
    stream.send_data(Bytes::from_static(b"all"), true).unwrap();
    let (mut seen, mut respond) = upstream.next().await;
    assert_eq!(seen.body_mut().data().await.unwrap().unwrap(), "all");
    assert!(ends(seen.body_mut()).await);
    let mut sending = respond.send_response(Response::new(()), false).unwrap();
    let mut answer = answer.await.unwrap();
    for word in ["one", "two"] {
        sending.send_data(Bytes::from(word), false).unwrap();
        assert_eq!(answer.body_mut().data().await.unwrap().unwrap(), word);
    }
    sending.send_data(Bytes::new(), true).unwrap();
    assert!(ends(answer.body_mut()).await);
}

#[tokio::test]
async fn an_early_answer_lets_the_request_go_on() {
    let (mut upstream, ravelin) = Scripted::before().await;
    let client = Client::plain(ravelin.plain()).await;
    let (answer, mut stream) = client.open(request(Method::POST, "/b"), false).await.unwrap();
    let (mut seen, mut respond) = upstream.next().await;
    let mut sending = respond.send_response(Response::new(()), false).unwrap();
    let mut answer = answer.await.unwrap();
    // The head is there, and the request's body still travels, word for word.
    for word in ["one", "two"] {
        stream.send_data(Bytes::from(word), false).unwrap();
        assert_eq!(seen.body_mut().data().await.unwrap().unwrap(), word);
        let _ = seen.body_mut().flow_control().release_capacity(word.len());
        sending.send_data(Bytes::from(word), false).unwrap();
        assert_eq!(answer.body_mut().data().await.unwrap().unwrap(), word);
    }
    stream.send_data(Bytes::new(), true).unwrap();
    assert!(ends(seen.body_mut()).await);
    sending.send_data(Bytes::new(), true).unwrap();
    assert!(ends(answer.body_mut()).await);
}

#[tokio::test]
async fn an_answer_that_is_whole_before_the_request_reaches_the_client_whole() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for client in both(&ravelin).await {
        for path in ["/bytes/100000", "/continue/reject"] {
            let (answer, stream) = client.open(request(Method::POST, path), false).await.unwrap();
            let answer = timeout(PATIENCE, async { read(answer.await.unwrap()).await.unwrap() });
            let answer = answer.await.unwrap();
            assert_eq!(answer.body.len(), if path.ends_with("0") { 100_000 } else { 11 });
            drop(stream);
        }
        // The connection is as good as before.
        assert_eq!(client.get("/bytes/1").await.unwrap().body.len(), 1);
    }
}

const GRPC: &[(&str, &str)] = &[
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/ravelin.test.Echo/Bidi"),
    (":authority", "localhost"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
];

#[tokio::test]
async fn a_finished_grpc_stream_is_never_reset() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for _ in 0..20 {
        let mut client = Frames::plain(ravelin.plain(), &[]).await;
        let body = frame(frames::DATA, frames::END_STREAM, 1, message(b"hello").to_vec());
        client.send_all(&[headers(1, false, GRPC), body]).await;
        let mut seen = Vec::new();
        loop {
            let frame = client.next().await.unwrap();
            assert_ne!(frame.kind, frames::RST_STREAM, "{seen:?}");
            let last = frame.stream == 1 && frame.ends();
            seen.push(frame);
            if last {
                break;
            }
        }
        // Trailers are what it ends with, and nothing about the stream follows.
        assert_eq!(seen.last().unwrap().kind, frames::HEADERS);
        client.send(frame(frames::PING, 0, 0, [7; 8])).await;
        client
            .send(headers(
                3,
                true,
                &[
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":path", "/bytes/1"),
                    (":authority", "localhost"),
                ],
            ))
            .await;
        while let Some(frame) = client.next().await {
            assert!(frame.kind != frames::RST_STREAM && frame.kind != frames::GOAWAY, "{frame:?}");
            if frame.stream == 3 && frame.ends() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_clients_cancellation_reaches_upstream_and_spares_the_connection() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    let mut n = 0;
    for client in both(&ravelin).await {
        for (path, method, head) in [
            ("/bytes/1?order=stall-head", Method::GET, false),
            ("/sse", Method::GET, true),
            ("/sink", Method::POST, false),
        ] {
            let (answer, mut stream) =
                client.open(request(method.clone(), path), method == Method::GET).await.unwrap();
            n += 1;
            standin.wait_for_in_flight(1).await;
            if head {
                let mut answer = answer.await.unwrap();
                answer.body_mut().data().await.unwrap().unwrap();
                stream.send_reset(Reason::CANCEL);
            } else {
                stream.send_reset(Reason::CANCEL);
                drop(answer);
            }
            timeout(PATIENCE, standin.wait_for_cancelled(n)).await.expect(path);
            standin.wait_for_in_flight(0).await;
        }
        assert_eq!(client.get("/bytes/1").await.unwrap().status(), 200);
    }
    assert_eq!(standin.connections_total(), 1);
}

#[tokio::test]
async fn upstreams_reset_reaches_the_client() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for client in both(&ravelin).await {
        // Before the head it is an answer …
        assert_eq!(client.get("/bytes/9?order=reset").await.unwrap().status(), 502);
        // … behind it a reset, since an ordinary end would pass for the whole …
        let error = client.get("/bytes/1000000?order=reset-mid-body").await.unwrap_err();
        assert!(error.is_reset() && error.is_remote(), "{error:?}");
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
        // … and for gRPC a status.
        let order = [("x-standin-order", "reset-mid-body")];
        let answer = client.grpc("/ravelin.test.Echo/Unary", &order, b"hello").await.unwrap();
        assert_eq!((answer.status(), answer.trailer("grpc-status")), (200, "14"));
        assert_eq!(client.get("/bytes/1").await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn head_and_ranges_pass_untouched() {
    let (mut upstream, ravelin) = Scripted::before().await;
    let client = Client::tls(ravelin.https()).await;
    let (answer, _) = client.open(request(Method::HEAD, "/file"), true).await.unwrap();
    let (seen, mut respond) = upstream.next().await;
    assert_eq!(seen.method(), Method::HEAD);
    let head = Response::builder().header("content-length", "1234").body(()).unwrap();
    respond.send_response(head, true).unwrap();
    let answer = read(answer.await.unwrap()).await.unwrap();
    assert_eq!((answer.header("content-length"), answer.body.len()), ("1234", 0));
    let mut asked = request(Method::GET, "/file");
    asked.headers_mut().insert("range", "bytes=2-5,7-".parse().unwrap());
    asked.headers_mut().insert("if-range", "\"tag\"".parse().unwrap());
    let (answer, _) = client.open(asked, true).await.unwrap();
    let (seen, mut respond) = upstream.next().await;
    assert_eq!(seen.headers()["range"], "bytes=2-5,7-");
    assert_eq!(seen.headers()["if-range"], "\"tag\"");
    let head = Response::builder().status(206).header("content-range", "bytes 2-5/9");
    let mut sending =
        respond.send_response(head.header("content-length", "4").body(()).unwrap(), false).unwrap();
    sending.send_data(Bytes::from_static(b"cdef"), true).unwrap();
    let answer = read(answer.await.unwrap()).await.unwrap();
    assert_eq!((answer.status(), answer.header("content-range")), (206, "bytes 2-5/9"));
    assert_eq!((answer.header("content-length"), answer.text()), ("4", "cdef"));
}

#[tokio::test]
async fn sixty_four_kib_of_headers_pass_both_ways() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for client in both(&ravelin).await {
        let mut asked = Request::get("https://localhost/headers").body(Bytes::new()).unwrap();
        let big = "a".repeat(8192);
        for _ in 0..8 {
            asked.headers_mut().append("x-big", big.parse().unwrap());
        }
        let answer = client.send(asked).await.unwrap();
        assert_eq!((answer.status(), answer.text().matches(&big).count()), (200, 8));
        let answer = client.get("/big-headers/65536").await.unwrap();
        let bytes: usize =
            answer.head.headers().get_all("x-big").iter().map(|value| value.len()).sum();
        assert_eq!((answer.status(), bytes), (200, 65_536));
        // One byte too many is the client's fault, and of this stream alone.
        let mut asked = Request::get("https://localhost/headers").body(Bytes::new()).unwrap();
        asked.headers_mut().insert("x-big", "a".repeat(80 * 1024).parse().unwrap());
        assert_eq!(client.send(asked).await.unwrap().status(), 431);
        assert_eq!(client.get("/bytes/1").await.unwrap().status(), 200);
    }
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/bytes/1"), (":authority", "localhost")];

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    GET.into_iter().filter(|(known, _)| *known != name).collect()
}

fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    GET.into_iter().chain([(name, value)]).collect()
}

fn but(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    GET.into_iter().map(|(k, v)| (k, if k == name { value } else { v })).collect()
}

#[tokio::test]
async fn malformed_requests_end_their_stream_and_never_reach_upstream() {
    // RFC 9113 §8.2.1, §8.2.2, §8.3, §8.3.1
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    let cases = [
        ("an upper-case name", with("X-Upper", "1")),
        ("a space in a name", with("x y", "1")),
        ("a colon in a name", with("x:y", "1")),
        ("a line break in a value", with("x-a", "b\r\nx-c: d")),
        ("a NUL in a value", with("x-a", "b\0")),
        ("connection", with("connection", "keep-alive")),
        ("keep-alive", with("keep-alive", "timeout=5")),
        ("proxy-connection", with("proxy-connection", "keep-alive")),
        ("transfer-encoding", with("transfer-encoding", "chunked")),
        ("upgrade", with("upgrade", "h2c")),
        ("te other than trailers", with("te", "gzip")),
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("no path", without(":path")),
        ("no authority and no host", without(":authority")),
        ("an empty path", but(":path", "")),
        ("a path without slash", but(":path", "bytes/1")),
        ("an unknown scheme", but(":scheme", "ftp")),
        ("an authority with user information", but(":authority", "a@localhost")),
        ("two methods", with(":method", "GET")),
        ("two paths", with(":path", "/")),
        ("an unknown pseudo-header", with(":x", "1")),
        ("an answer's pseudo-header", with(":status", "200")),
        ("a host that differs", with("host", "other.example")),
        ("two hosts", [with("host", "localhost"), vec![("host", "localhost")]].concat()),
        ("two lengths", [with("content-length", "0"), vec![("content-length", "1")]].concat()),
        ("a length that is none", with("content-length", "x")),
        ("a length and no body", with("content-length", "5")),
        ("a pseudo-header behind a field", [vec![("x-a", "1")], GET.to_vec()].concat()),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", "localhost:443")]),
    ];
    let mut wrong = Vec::new();
    for (what, fields) in cases {
        let mut client = Frames::plain(ravelin.plain(), &[]).await;
        client.send(headers(1, true, &fields)).await;
        let got = loop {
            match client.next().await {
                Some(frame) if frame.stream == 1 || frame.kind == frames::GOAWAY => break frame,
                Some(_) => {}
                None => break frame(255, 0, 0, []),
            }
        };
        let refused = match got.kind {
            frames::RST_STREAM | frames::GOAWAY => got.code() == 1,
            frames::HEADERS => got.status() != 200,
            _ => false,
        };
        if !refused {
            wrong.push(format!("{what}: {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(standin.requests().is_empty(), "{:?}", standin.requests());
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_says_is_cut_upstream_too() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for (n, length) in ["3", "5"].into_iter().enumerate() {
        let mut client = Frames::plain(ravelin.plain(), &[]).await;
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/sink"),
            (":authority", "localhost"),
            ("content-length", length),
        ];
        let body = frame(frames::DATA, frames::END_STREAM, 1, *b"four");
        client.send_all(&[headers(1, false, &fields), body]).await;
        let reset = client.next_of(frames::RST_STREAM).await.unwrap();
        assert_eq!((reset.stream, reset.code()), (1, 1), "length {length}");
        timeout(PATIENCE, standin.wait_for_in_flight(0)).await.unwrap();
        assert!(standin.cancelled() <= n + 1);
    }
    assert!(standin.requests().iter().all(|seen| seen.body.is_none()));
}

#[tokio::test]
async fn a_thousand_streams_share_as_many_upstream_connections_as_its_limit_asks() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    let clients = join_all((0..10).map(|_| Client::plain(ravelin.plain()))).await;
    let mut waiting = Vec::new();
    for client in &clients {
        for _ in 0..100 {
            waiting.push(client.open(request(Method::GET, "/sse"), true).await.unwrap());
        }
    }
    let heads = join_all(waiting.into_iter().map(|(answer, _)| answer)).await;
    let mut heads: Vec<_> = heads.into_iter().map(Result::unwrap).collect();
    assert!(heads.iter().all(|head| head.status() == 200));
    let connections = standin.connections();
    assert!((4..=12).contains(&connections), "{connections}");
    assert_eq!(
        (standin.in_flight(), standin.cancelled(), standin.requests().len()),
        (1_000, 0, 1_000)
    );
    for head in &mut heads {
        head.body_mut().data().await.unwrap().unwrap();
    }
    drop(heads);
    timeout(PATIENCE, standin.wait_for_in_flight(0)).await.unwrap();
    assert_eq!(clients[0].get("/bytes/1").await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_peer_that_allows_more_than_a_window_bears_is_asked_on_a_second_connection() {
    let options = ravelin::standin::Options { max_streams: 10_000, ..Default::default() };
    let standin = ravelin::standin::Standin::start(options).await.unwrap();
    let ravelin = Ravelin::before(&h2c(&standin));
    let clients = join_all((0..3).map(|_| Client::plain(ravelin.plain()))).await;
    let mut heads = Vec::new();
    for client in &clients {
        for _ in 0..100 {
            let (answer, _) = client.open(request(Method::GET, "/sse"), true).await.unwrap();
            heads.push(timeout(PATIENCE, answer).await.unwrap().unwrap());
        }
    }
    assert!((2..=3).contains(&standin.connections()), "{}", standin.connections());
}

#[tokio::test]
async fn an_upstream_that_takes_one_stream_at_a_time_is_asked_one_by_one() {
    let options = ravelin::standin::Options { max_streams: 1, ..Default::default() };
    let standin = ravelin::standin::Standin::start(options).await.unwrap();
    let ravelin = Ravelin::before(&h2c(&standin));
    let client = Client::plain(ravelin.plain()).await;
    let answers = join_all((0..30).map(|_| client.get("/bytes/9?order=slow-head=20"))).await;
    let refused = answers.iter().filter(|answer| answer.as_ref().unwrap().status() != 200).count();
    assert_eq!(refused, 0);
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    // CVE-2023-44487
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    let mut client = Frames::plain(ravelin.plain(), &[]).await;
    let mut stream = 1;
    let code = 'ended: loop {
        assert!(stream < 20_000, "ten thousand resets and no end");
        let mut burst = Vec::new();
        for _ in 0..10 {
            burst.push(headers(stream, true, &but(":path", "/bytes/1?order=stall-head")));
            burst.push(frame(frames::RST_STREAM, 0, stream, 8_u32.to_be_bytes()));
            stream += 2;
        }
        client.try_send_all(&burst).await;
        // An answered ping: the burst has been read.
        client.try_send_all(&[frame(frames::PING, 0, 0, [1; 8])]).await;
        loop {
            match client.next_or_pong().await {
                Some(frame) if frame.kind == frames::PING => break,
                Some(frame) if frame.kind == frames::GOAWAY => break 'ended Some(frame.code()),
                Some(_) => {}
                None => break 'ended None,
            }
        }
    };
    assert_eq!(code, Some(11), "ENHANCE_YOUR_CALM");
    timeout(PATIENCE, standin.wait_for_in_flight(0)).await.unwrap();
    let mut other = Frames::plain(ravelin.plain(), &[]).await;
    other.send(headers(1, true, &GET)).await;
    assert_eq!(other.next_of(frames::HEADERS).await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_has_come_of_a_body_is_not_kept_back() {
    // Its length is known, and the end of what has come fills no TLS record.
    let (mut upstream, ravelin) = Scripted::before().await;
    let client = Client::tls(ravelin.https()).await;
    let (answer, _) = client.open(request(Method::GET, "/large"), true).await.unwrap();
    let (_, mut respond) = upstream.next().await;
    let head = Response::builder().header("content-length", 100_000).body(()).unwrap();
    let mut sending = respond.send_response(head, false).unwrap();
    let mut body = answer.await.unwrap().into_body();
    for (part, all) in [(40_000, 40_000), (60_000, 100_000)] {
        sending.send_data(vec![7; part].into(), false).unwrap();
        let mut got = all - part;
        while got < all {
            let data = timeout(PATIENCE, body.data()).await.expect("it is kept back");
            let length = data.unwrap().unwrap().len();
            body.flow_control().release_capacity(length).unwrap();
            got += length;
        }
    }
}

#[tokio::test]
async fn a_body_that_upstream_breaks_off_without_an_error_is_not_taken_for_whole() {
    let (mut upstream, ravelin) = Scripted::before().await;
    let client = Client::plain(ravelin.plain()).await;
    let (answer, _) = client.open(request(Method::GET, "/half"), true).await.unwrap();
    let (_, mut respond) = upstream.next().await;
    let mut sending = respond.send_response(Response::new(()), false).unwrap();
    sending.send_data(Bytes::from_static(b"half"), false).unwrap();
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "half");
    sending.send_reset(Reason::NO_ERROR);
    let end = timeout(PATIENCE, body.data()).await.expect("an end");
    assert!(end.is_some_and(|end| end.is_err()), "it passed for whole");
}

#[tokio::test]
async fn resets_that_a_client_provokes_are_counted_as_its_own() {
    // CVE-2025-8671: a stream is opened, and ended by us for a frame that is wrong.
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    let mut client = Frames::plain(ravelin.plain(), &[]).await;
    for stream in (0..2_000).map(|n| 2 * n + 1) {
        let begun = headers(stream, true, &but(":path", "/bytes/1?order=stall-head"));
        let wrong = frame(frames::WINDOW_UPDATE, 0, stream, [0; 4]);
        client.try_send_all(&[begun, wrong]).await;
    }
    let ended = loop {
        match client.next().await {
            Some(frame) if frame.kind == frames::GOAWAY => break Some(frame.code()),
            Some(_) => {}
            None => break None,
        }
    };
    assert_eq!(ended, Some(11), "ENHANCE_YOUR_CALM");
    timeout(PATIENCE, standin.wait_for_in_flight(0)).await.unwrap();
}

#[tokio::test]
async fn a_head_too_large_to_be_kept_is_refused_in_words_too() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    let mut client = Frames::plain(ravelin.plain(), &[]).await;
    let mut block = frames::block(&GET);
    block.extend([0x40, 3]);
    block.extend(b"x-a");
    block.extend([0x7f, 0xbd, 0x1d]);
    block.extend([b'a'; 3_900]);
    // The same field by one byte each, a MiB of them.
    block.resize(block.len() + 270, 0xbe);
    let flags = frames::END_HEADERS | frames::END_STREAM;
    client.send(frame(frames::HEADERS, flags, 1, block)).await;
    let answer = client.next_of(frames::HEADERS).await.unwrap();
    assert_eq!((answer.stream, answer.status()), (1, 431));
    // The connection goes on, and its table is what both think it is.
    client.send(headers(3, true, &GET)).await;
    let answer = loop {
        match client.next_of(frames::HEADERS).await {
            Some(answer) if answer.stream == 3 => break answer.status(),
            Some(_) => {}
            None => break 0,
        }
    };
    assert_eq!(answer, 200);
    assert_eq!(standin.requests().len(), 1);
}

#[tokio::test]
async fn a_burst_of_cancellations_of_a_whole_page_is_ordinary() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    let mut client = Frames::plain(ravelin.plain(), &[]).await;
    let burst: Vec<_> = (0..100)
        .map(|n| 2 * n + 1)
        .flat_map(|id| {
            let begun = headers(id, true, &but(":path", "/bytes/1?order=stall-head"));
            [begun, frame(frames::RST_STREAM, 0, id, 8_u32.to_be_bytes())]
        })
        .collect();
    client.send_all(&burst).await;
    client.send(headers(201, true, &GET)).await;
    let answer = client.next_of(frames::HEADERS).await.map(|frame| (frame.stream, frame.status()));
    assert_eq!(answer, Some((201, 200)));
}

#[tokio::test]
async fn a_client_that_opens_no_window_is_given_up() {
    let standin = standin().await;
    let ravelin = limited(&h2c(&standin), "idle: 300ms");
    // SETTINGS_INITIAL_WINDOW_SIZE 0
    let mut client = Frames::plain(ravelin.plain(), &[(4, 0)]).await;
    client.send(headers(1, true, &but(":path", "/bytes/1000000"))).await;
    assert_eq!(client.next_of(frames::HEADERS).await.unwrap().status(), 200);
    let reset = client.next_of(frames::RST_STREAM).await.unwrap();
    assert_eq!((reset.stream, reset.code()), (1, 8));
    timeout(PATIENCE, standin.wait_for_cancelled(1)).await.unwrap();
}

#[tokio::test]
async fn a_bomb_of_header_references_and_shut_windows_holds_nothing() {
    // A field of 4 KB put into the dynamic table once, then named by one byte each (RFC 7541 §6.1), from
    // streams whose windows are shut: each would hold a head of many MiB, and for ever.
    let standin = standin().await;
    let ravelin = limited(&h2c(&standin), "idle: 400ms");
    let mut client = Frames::plain(ravelin.plain(), &[(4, 0)]).await;
    let mut first = frames::block(&GET);
    first.extend([0x40, 3]);
    first.extend(b"x-a");
    // 3,900 bytes as a string literal: seven bits of 127, then the rest in base 128.
    first.extend([0x7f, 0xbd, 0x1d]);
    first.extend([b'a'; 3_900]);
    client.send(frame(frames::HEADERS, frames::END_HEADERS | frames::END_STREAM, 1, first)).await;
    let mut bomb = frames::block(&GET);
    // As many as fit into a frame: sixty MiB of fields in each of a hundred streams.
    bomb.resize(16_000, 0xbe);
    let bombs: Vec<_> = (1..=100)
        .map(|n| {
            frame(
                frames::HEADERS,
                frames::END_HEADERS | frames::END_STREAM,
                2 * n + 1,
                bomb.clone(),
            )
        })
        .collect();
    // Whoever goes on with that may find the connection closed.
    client.try_send_all(&bombs).await;
    // Windows stay shut, and what is held for them goes with its clock.
    let in_flight = || ravelin.metric("ravelin_requests_in_flight") == 0.0;
    client.try_send_all(&[frame(frames::PING, 0, 0, [1; 8])]).await;
    while client.next_or_pong().await.is_some_and(|frame| frame.kind != frames::PING) {}
    until("every stream was let go", in_flight).await;
    assert!(standin.requests().len() <= 1, "only the first was a request");
    // The same from a client that stays within the limits, whose answers nobody takes.
    let mut patient = Frames::plain(ravelin.plain(), &[(4, 0)]).await;
    let asks: Vec<_> =
        (0..100).map(|n| headers(2 * n + 1, true, &but(":path", "/bytes/9000000000"))).collect();
    patient.send_all(&asks).await;
    timeout(PATIENCE, standin.wait_for_cancelled(100)).await.expect("they are held for ever");
    until("every answer was let go", in_flight).await;
}

#[tokio::test]
async fn a_window_that_closes_after_a_long_silence_is_waited_for() {
    let (mut upstream, ravelin) =
        Scripted::behind(|upstream| limited(upstream, "idle: 500ms")).await;
    // A window of four bytes.
    let mut client = Frames::plain(ravelin.plain(), &[(4, 4)]).await;
    client.send(headers(1, true, &GET)).await;
    let (_, mut respond) = upstream.next().await;
    let mut sending = respond.send_response(Response::new(()), false).unwrap();
    sending.send_data(Bytes::from_static(b"four"), false).unwrap();
    assert_eq!(client.next_of(frames::DATA).await.unwrap().payload, b"four");
    // Silence, twice as long as a closed window is borne; another stream keeps time.
    client.send(headers(3, true, &but(":path", "/other"))).await;
    let (_, mut other) = upstream.next().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    sending.send_data(Bytes::from_static(b"more"), true).unwrap();
    other.send_response(Response::new(()), true).unwrap();
    let answered = client.next().await.unwrap();
    assert_eq!((answered.stream, answered.kind), (3, frames::HEADERS), "{answered:?}");
    client.send(frame(frames::WINDOW_UPDATE, 0, 1, 4_u32.to_be_bytes())).await;
    let data = client.next().await.unwrap();
    assert_eq!((data.stream, &*data.payload), (1, &b"more"[..]), "{data:?}");
}

#[tokio::test]
async fn a_drained_connection_says_so_twice_and_ends_with_its_last_stream() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    let mut client = Frames::plain(ravelin.plain(), &[]).await;
    client.send(headers(1, true, &but(":path", "/bytes/5?order=slow-head=300"))).await;
    standin.wait_for_requests("/bytes/5", 1).await;
    ravelin.drain();
    let seen = client.rest().await;
    let last: Vec<u32> = seen
        .iter()
        .filter(|frame| frame.kind == frames::GOAWAY)
        .map(|frame| u32::from_be_bytes(frame.payload[..4].try_into().unwrap()))
        .collect();
    assert_eq!(last[..2], [0x7fff_ffff, 1], "{seen:?}");
    assert!(seen.iter().all(|frame| frame.kind != frames::GOAWAY || frame.code() == 0));
    let data: usize =
        seen.iter().filter(|frame| frame.kind == frames::DATA).map(|f| f.payload.len()).sum();
    assert_eq!(data, 5);
    assert!(seen.iter().any(|frame| frame.stream == 1 && frame.ends()));
    ravelin.wait();
}

/// A socket that is closed with bytes unread answers with a reset, and the client's kernel then
/// forgets what had come: what it was told must be read before.
#[tokio::test]
async fn a_goodbye_reaches_a_client_that_goes_on_sending() {
    let standin = standin().await;
    let ravelin = limited(&h2c(&standin), "");
    let mut socket = tokio::net::TcpStream::connect(ravelin.plain()).await.unwrap();
    let (mut read, mut write) = socket.split();
    let mut all = Vec::new();
    let told = async {
        write.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        // SETTINGS, then a push, which no client may send.
        write
            .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 5, 4, 0, 0, 0, 1, 0, 0, 0, 2])
            .await
            .unwrap();
        for _ in 0..200 {
            write
                .write_all(&[0; 10_000])
                .await
                .expect("what it sends is read, if only to be forgotten");
        }
        write.shutdown().await.unwrap();
    };
    let (_, outcome) = tokio::join!(told, read.read_to_end(&mut all));
    outcome.expect("an end, not a reset");
    let goodbye = all.windows(9).any(|head| head[3] == 7 && head[..3] == [0, 0, 8]);
    assert!(goodbye, "{all:?}");
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go() {
    let standin = standin().await;
    let ravelin = limited(&h2c(&standin), "idle: 200ms");
    let mut client = Frames::plain(ravelin.plain(), &[]).await;
    client.send(headers(1, true, &but(":path", "/bytes/1?order=slow-head=600"))).await;
    assert_eq!(client.next_of(frames::HEADERS).await.unwrap().status(), 200);
    assert_eq!(client.next_of(frames::GOAWAY).await.unwrap().code(), 0);
    client.rest().await;
}

#[tokio::test]
async fn a_large_upload_and_download_are_whole() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    for client in both(&ravelin).await {
        let body: Bytes = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
        let (answer, mut stream) =
            client.open(request(Method::POST, "/echo"), false).await.unwrap();
        let sending = body.clone();
        let sent = tokio::spawn(async move { send_all(&mut stream, sending).await });
        let answer = read(answer.await.unwrap()).await.unwrap();
        assert!(answer.body == body, "what came back differs");
        sent.await.unwrap().unwrap();
    }
}

/// Asks again until it holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let asked = timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    asked.await.expect(what);
}

#[tokio::test]
async fn connections_that_have_ended_are_not_counted_any_more() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&h2c(&standin));
    let client = Client::plain(ravelin.plain()).await;
    client.get("/bytes/1").await.unwrap();
    drop(client);
    until("all connections have ended", || ravelin.metric("ravelin_connections{") == 0.0).await;
}
