//! Upstream speaks HTTP/1.1: what HTTP/2 has and it has not, and connections that are kept.

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, Method, Request};
use tokio::time::timeout;

use crate::support::h2::{Client, read};
use crate::support::wire::{Head, PATIENCE, Upstream, Wire};
use crate::support::{Ravelin, standin};

async fn scripted() -> (Upstream, Ravelin) {
    let upstream = Upstream::start().await;
    let ravelin = Ravelin::before(&format!("http://{}", upstream.address()));
    (upstream, ravelin)
}

fn post(path: &str) -> http::request::Builder {
    Request::builder().method(Method::POST).uri(format!("https://localhost{path}"))
}

/// Reads a request with its body, and answers it.
async fn serve(upstream: &mut Wire, answer: &str) -> (Head, Vec<u8>, Vec<(String, String)>) {
    let head = upstream.head().await;
    let (body, trailers) = upstream.body(&head).await;
    upstream.send(answer).await;
    (head, body, trailers)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn one_connection_serves_one_exchange_after_the_other() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("http://{}", standin.address()));
    let client = Client::tls(ravelin.https()).await;
    for _ in 0..10 {
        assert_eq!(client.get("/bytes/9").await.unwrap().body.len(), 9);
    }
    assert_eq!(standin.connections_total(), 1);
    let answers = join_all((0..5).map(|_| client.get("/bytes/9?order=slow-head=50"))).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().body.len() == 9));
    assert_eq!(standin.connections_total(), 5);
    for seen in standin.requests() {
        assert_eq!((seen.version, &*seen.authority), (http::Version::HTTP_11, "localhost"));
        assert_eq!(seen.headers["via"], "2.0 ravelin");
    }
}

#[tokio::test]
async fn a_connection_that_upstream_has_closed_is_not_used_again() {
    let (upstream, ravelin) = scripted().await;
    let client = Client::plain(ravelin.plain()).await;
    let closing = ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", OK];
    for answer in closing {
        for n in 0..5 {
            let (got, ()) = tokio::join!(client.get("/"), async {
                let mut peer = upstream.accept().await;
                serve(&mut peer, answer).await;
                peer.finish().await;
                // Ravelin's end follows: it has seen ours.
                assert_eq!(peer.rest().await, b"");
            });
            assert_eq!(got.unwrap().text(), "ok", "{n}");
        }
    }
}

/// It had been a 502 now and then: a request on its way while Node.js closed what had been free for five seconds.
#[tokio::test]
async fn a_connection_is_not_used_beyond_the_time_that_upstream_keeps_it() {
    let (upstream, ravelin) = scripted().await;
    let client = Client::plain(ravelin.plain()).await;
    let kept = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=60, max=9\r\n\r\nok";
    let gone = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=0\r\n\r\nok";
    // They stay open: nothing but what upstream has said speaks against them.
    let mut peers = Vec::new();
    for _ in 0..3 {
        let ((), peer) = tokio::join!(
            async {
                for _ in 0..3 {
                    assert_eq!(client.get("/").await.unwrap().text(), "ok");
                }
            },
            async {
                let mut peer = upstream.accept().await;
                for answer in [kept, kept, gone] {
                    serve(&mut peer, answer).await;
                }
                peer
            }
        );
        peers.push(peer);
    }
}

#[tokio::test]
async fn a_connection_that_dies_under_a_request_is_told_as_such() {
    let (upstream, ravelin) = scripted().await;
    let client = Client::plain(ravelin.plain()).await;
    let (answer, ()) = tokio::join!(client.get("/"), async {
        upstream.accept().await.head().await;
    });
    assert_eq!(answer.unwrap().status(), 502);
}

#[tokio::test]
async fn a_body_without_length_goes_in_chunks_and_one_with_length_keeps_it() {
    let (upstream, ravelin) = scripted().await;
    let client = Client::plain(ravelin.plain()).await;
    let sent = client.send(post("/a").body(Bytes::from_static(b"hello")).unwrap());
    let (answer, (mut peer, (head, body, _))) = tokio::join!(sent, async {
        let mut peer = upstream.accept().await;
        let seen = serve(&mut peer, OK).await;
        (peer, seen)
    });
    assert_eq!(answer.unwrap().text(), "ok");
    assert_eq!((head.line.as_str(), &body[..]), ("POST /a HTTP/1.1", &b"hello"[..]));
    assert_eq!(head.field("transfer-encoding"), "chunked");
    let sent = post("/b").header("content-length", "5").body(Bytes::from_static(b"hello"));
    let sent = client.send(sent.unwrap());
    let (answer, (head, body, _)) = tokio::join!(sent, serve(&mut peer, OK));
    answer.unwrap();
    assert_eq!((head.field("content-length").as_str(), &body[..]), ("5", &b"hello"[..]));
    assert!(!head.has("transfer-encoding"), "{head:?}");
    let (answer, (head, ..)) = tokio::join!(client.get("/c"), serve(&mut peer, OK));
    answer.unwrap();
    assert!(!head.has("transfer-encoding") && !head.has("content-length"), "{head:?}");
    let sent = client.send(post("/d").body(Bytes::new()).unwrap());
    let (answer, (head, body, _)) = tokio::join!(sent, serve(&mut peer, OK));
    answer.unwrap();
    assert!(!head.has("transfer-encoding") && body.is_empty(), "{head:?}");
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let (upstream, ravelin) = scripted().await;
    let client = Client::plain(ravelin.plain()).await;
    let request = post("/").header("trailer", "x-sum").body(()).unwrap();
    let (answer, mut stream) = client.open(request, false).await.unwrap();
    stream.send_data(Bytes::from_static(b"a"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
    let answered = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
                    2\r\nok\r\n0\r\nx-sum: 2\r\n\r\n";
    let mut peer = upstream.accept().await;
    let (_, body, trailers) = serve(&mut peer, answered).await;
    assert_eq!((&body[..], &trailers[..]), (&b"a"[..], &[("x-sum".into(), "1".into())][..]));
    let answer = read(answer.await.unwrap()).await.unwrap();
    assert_eq!(
        (answer.text(), answer.trailers.as_ref().unwrap()["x-sum"].as_bytes()),
        ("ok", &b"2"[..])
    );
}

#[tokio::test]
async fn grpc_is_refused_in_its_own_words() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("http://{}", standin.address()));
    let client = Client::tls(ravelin.https()).await;
    let answer = client.grpc("/zitadel.admin.v1.AdminService/Healthz", &[], b"").await.unwrap();
    assert_eq!((answer.status(), answer.trailer("grpc-status")), (200, "13"));
    assert!(answer.trailer("grpc-message").contains("HTTP/2"), "{answer:?}");
    assert_eq!(standin.connections_total(), 0);
    // gRPC-Web carries its trailers in the body: it may pass.
    let web = post("/ravelin.test.Echo/Unary").header("content-type", "application/grpc-web+proto");
    let web = web.header("x-grpc-web", "1").body(crate::support::h2::frame(b"hello")).unwrap();
    let answer = client.send(web).await.unwrap();
    assert_eq!((answer.status(), &answer.body[5..10]), (200, &b"hello"[..]));
}

#[tokio::test]
async fn cookie_crumbs_are_one_field_again_and_hop_by_hop_fields_stay_behind() {
    let (upstream, ravelin) = scripted().await;
    let client = Client::plain(ravelin.plain()).await;
    let request = Request::get("https://id.example.com:8443/x?y=1")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .body(Bytes::new())
        .unwrap();
    let answered = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
                    Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\nX-End: 1\r\n\
                    Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nok";
    let (answer, (head, ..)) = tokio::join!(client.send(request), async {
        let mut peer = upstream.accept().await;
        serve(&mut peer, answered).await
    });
    assert_eq!(head.line, "GET /x?y=1 HTTP/1.1");
    let cookies: Vec<_> = head.fields.iter().filter(|(name, _)| name == "cookie").collect();
    assert_eq!(cookies, [&("cookie".to_owned(), "a=1; b=2".to_owned())]);
    assert_eq!(head.field("host"), "id.example.com:8443");
    assert!(!head.has("te") && !head.has("connection"), "{head:?}");
    let answer = answer.unwrap();
    for name in ["connection", "x-hop", "keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(answer.header(name), "", "{name}");
    }
    assert_eq!((answer.header("x-end"), answer.header("via")), ("1", "1.1 ravelin"));
    assert_eq!(answer.head.headers().get_all("set-cookie").iter().count(), 2);
}

#[tokio::test]
async fn interim_answers_pass_and_the_body_waits_for_100() {
    let (upstream, ravelin) = scripted().await;
    let client = Client::plain(ravelin.plain()).await;
    let request = post("/").header("expect", "100-continue").header("content-length", "4");
    let (mut answer, mut stream) = client.open(request.body(()).unwrap(), false).await.unwrap();
    let mut peer = upstream.accept().await;
    assert_eq!(peer.head().await.field("expect"), "100-continue");
    peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nX: 1\r\nContent-Length: 0\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n").await;
    for status in [103, 100] {
        let got = timeout(PATIENCE, std::future::poll_fn(|cx| answer.poll_informational(cx)));
        let got = got.await.unwrap().unwrap().unwrap();
        assert_eq!(got.status(), status);
        for ends_here in ["connection", "x", "content-length"] {
            assert!(!got.headers().contains_key(ends_here), "{ends_here}");
        }
    }
    stream.send_data(Bytes::from_static(b"body"), true).unwrap();
    assert_eq!(peer.exactly(4).await, b"body");
    peer.send(OK).await;
    assert_eq!(read(answer.await.unwrap()).await.unwrap().text(), "ok");
}

#[tokio::test]
async fn a_connection_whose_request_goes_on_behind_its_answer_is_nobody_elses() {
    let (upstream, ravelin) = scripted().await;
    let client = Client::plain(ravelin.plain()).await;
    let (answer, mut stream) = client.open(post("/").body(()).unwrap(), false).await.unwrap();
    stream.send_data(Bytes::from_static(b"begun"), false).unwrap();
    let mut first = upstream.accept().await;
    first.head().await;
    first.send("HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(read(answer.await.unwrap()).await.unwrap().status(), 401);
    let (second, _) = tokio::join!(timeout(PATIENCE, client.get("/")), async {
        let mut peer = timeout(PATIENCE, upstream.accept()).await.unwrap();
        serve(&mut peer, OK).await
    });
    assert_eq!(second.unwrap().unwrap().text(), "ok");
    // What was left of the request goes nowhere: its connection has ended.
    assert!(first.closes(PATIENCE).await.1);
}

#[tokio::test]
async fn interim_answers_without_end_are_dropped_and_the_answer_comes() {
    let (upstream, ravelin) = scripted().await;
    let client = Client::plain(ravelin.plain()).await;
    let (mut answer, _) = client.open(post("/").body(()).unwrap(), true).await.unwrap();
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.send(&"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(2_000)).await;
    peer.send(OK).await;
    let mut passed = 0;
    while let Some(interim) =
        timeout(PATIENCE, std::future::poll_fn(|cx| answer.poll_informational(cx))).await.unwrap()
    {
        assert_eq!(interim.unwrap().status(), 103);
        passed += 1;
    }
    assert!((1..2_000).contains(&passed), "{passed}");
    assert_eq!(read(answer.await.unwrap()).await.unwrap().text(), "ok");
}

#[tokio::test]
async fn answers_whose_end_is_in_doubt_are_not_passed_on() {
    // RFC 9112 §6.3; the other half of request smuggling.
    for answered in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/3.1 200 OK\r\n\r\n",
        "220 smtp.example ESMTP\r\n",
    ] {
        let (upstream, ravelin) = scripted().await;
        let client = Client::plain(ravelin.plain()).await;
        let (answer, peer) = tokio::join!(client.get("/"), async {
            let mut peer = upstream.accept().await;
            serve(&mut peer, answered).await;
            peer
        });
        assert_eq!(answer.unwrap().status(), 502, "{answered}");
        drop(peer);
    }
}

#[tokio::test]
async fn an_answer_cut_short_does_not_pass_for_a_whole_one() {
    for answered in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    ] {
        let (upstream, ravelin) = scripted().await;
        let client = Client::plain(ravelin.plain()).await;
        let (answer, ()) = tokio::join!(client.get("/"), async {
            let mut peer = upstream.accept().await;
            serve(&mut peer, answered).await;
            peer.finish().await;
        });
        let error = answer.unwrap_err();
        assert!(error.is_reset() && error.is_remote(), "{answered}: {error:?}");
        // Over HTTP/1.1 the connection ends before the message does.
        let mut client = Wire::plain(ravelin.plain()).await;
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let mut peer = upstream.accept().await;
        serve(&mut peer, answered).await;
        peer.finish().await;
        let all = String::from_utf8(client.rest().await).unwrap();
        assert!(all.starts_with("HTTP/1.1 200") && !all.ends_with("0\r\n\r\n"), "{all}");
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_the_connection_is_whole() {
    let (upstream, ravelin) = scripted().await;
    let client = Client::plain(ravelin.plain()).await;
    let (answer, ()) = tokio::join!(client.get("/"), async {
        let mut peer = upstream.accept().await;
        serve(&mut peer, "HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
        peer.finish().await;
    });
    assert_eq!(answer.unwrap().text(), "until the end");
}

#[tokio::test]
async fn a_clients_cancellation_ends_the_connection_upstream() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("http://{}", standin.address()));
    let client = Client::plain(ravelin.plain()).await;
    for (n, path) in ["/bytes/1?order=stall-head", "/sse"].into_iter().enumerate() {
        let request = Request::get(format!("https://localhost{path}")).body(()).unwrap();
        let (answer, mut stream) = client.open(request, true).await.unwrap();
        standin.wait_for_requests(path, 1).await;
        stream.send_reset(h2::Reason::CANCEL);
        timeout(PATIENCE, standin.wait_for_cancelled(n + 1)).await.expect(path);
        drop(answer);
    }
    timeout(PATIENCE, standin.wait_for_connections(0)).await.unwrap();
}
