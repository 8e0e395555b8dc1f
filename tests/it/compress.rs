//! Answers coded on their way: what is coded and what never is, what a client sees of it, and that
//! nothing is held back.

use std::io::Read;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use ravelin::standin::Standin;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::faults::{Http1, get, http1, post, soon, with};
use crate::support::h2::{Answer, Client, frame};
use crate::support::{Ravelin, standin};

const CODINGS: [&str; 3] = ["br", "zstd", "gzip"];

/// One listener before `up`, its route with `compress: on`.
fn before(up: SocketAddr) -> Ravelin {
    with_route(up, "compress: on")
}

fn with_route(up: SocketAddr, route: &str) -> Ravelin {
    Ravelin::start(&format!(
        "workers: 1\nlisteners: [{{name: plain, address: \"127.0.0.1:0\"}}]\n\
         routes: [{{to: up, {route}}}]\nclusters: {{up: {{endpoints: \"h2c://{up}\"}}}}\n\
         admin: \"off\"\naccess_log: {{format: \"off\"}}\nshutdown: {{grace: 1s}}\n"
    ))
}

/// What can be read of the beginning of a coded body.
fn decoded(coding: &str, coded: &[u8]) -> Vec<u8> {
    let mut reader: Box<dyn Read + '_> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(coded)),
        "br" => Box::new(brotli::Decompressor::new(coded, 4_096)),
        "zstd" => Box::new(zstd::stream::read::Decoder::new(coded).unwrap()),
        _ => Box::new(coded),
    };
    let (mut plain, mut piece) = (Vec::new(), [0; 4_096]);
    while let Ok(read @ 1..) = reader.read(&mut piece) {
        plain.extend_from_slice(&piece[..read]);
    }
    plain
}

fn accepting(path: &str, codings: &str) -> Request<Bytes> {
    with(get("localhost", path), "accept-encoding", codings)
}

async fn both(ravelin: &Ravelin, request: Request<Bytes>) -> [Answer; 2] {
    let client = Client::plain(ravelin.plain()).await;
    [
        soon("h2", client.send(request.clone())).await.unwrap(),
        soon("HTTP/1.1", http1(ravelin.plain(), request)).await.unwrap(),
    ]
}

/// A server that answers as it is told, head by head and piece by piece.
struct Told {
    address: SocketAddr,
    say: mpsc::UnboundedSender<Say>,
}

enum Say {
    Head(Response<()>),
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Told {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (say, mut told) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            let mut connection = h2::server::handshake(socket).await.unwrap();
            let mut stream: Option<h2::SendStream<Bytes>> = None;
            let mut waiting = std::collections::VecDeque::new();
            loop {
                tokio::select! {
                    accepted = connection.accept() => match accepted {
                        Some(Ok((_, respond))) => waiting.push_back(respond),
                        _ => return,
                    },
                    Some(say) = told.recv(), if stream.is_some() || !waiting.is_empty() => match say {
                        Say::Head(head) => {
                            let mut respond: h2::server::SendResponse<Bytes> = waiting.pop_front().unwrap();
                            stream = Some(respond.send_response(head, false).unwrap());
                        }
                        Say::Data(data) => stream.as_mut().unwrap().send_data(data, false).unwrap(),
                        Say::Trailers(trailers) => stream.take().unwrap().send_trailers(trailers).unwrap(),
                    },
                }
            }
        });
        Self { address, say }
    }

    fn head(&self, fields: &[(&str, &str)]) {
        let mut head = Response::builder().status(200);
        for (name, value) in fields {
            head = head.header(*name, *value);
        }
        self.say.send(Say::Head(head.body(()).unwrap())).ok().unwrap();
    }

    fn data(&self, data: impl Into<Bytes>) {
        self.say.send(Say::Data(data.into())).ok().unwrap();
    }

    fn end(&self, trailers: HeaderMap) {
        self.say.send(Say::Trailers(trailers)).ok().unwrap();
    }
}

#[tokio::test]
async fn an_event_is_with_the_client_before_the_next_is_written() {
    for coding in CODINGS {
        let upstream = Told::start().await;
        let ravelin = before(upstream.address);
        let client = Client::plain(ravelin.plain()).await;
        let request = Request::get("http://localhost/events").header("accept-encoding", coding);
        let (answer, _) = client.open(request.body(()).unwrap(), true).await.unwrap();
        upstream.head(&[("content-type", "text/event-stream")]);
        let answer = soon("head", answer).await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], coding);
        let mut stream = answer.into_body();
        let (mut expected, mut coded) = (Vec::new(), Vec::new());
        for n in 0..20 {
            let event = format!("data: event number {n}\n\n");
            upstream.data(event.clone());
            expected.extend(event.into_bytes());
            while decoded(coding, &coded) != expected {
                let data = soon("the event", stream.data()).await.unwrap().unwrap();
                stream.flow_control().release_capacity(data.len()).unwrap();
                coded.extend_from_slice(&data);
            }
        }
        upstream.end(HeaderMap::new());
        while let Some(data) = soon("the end", stream.data()).await {
            coded.extend_from_slice(&data.unwrap());
        }
        assert!(decoded(coding, &coded) == expected);
    }
}

#[tokio::test]
async fn an_event_is_with_a_client_of_http1_before_the_next_is_written() {
    let upstream = Told::start().await;
    let ravelin = before(upstream.address);
    let mut client = Http1::open(ravelin.plain()).await;
    client.send(accepting("/events", "gzip")).await;
    upstream.head(&[("content-type", "text/event-stream")]);
    let head = soon("head", client.head()).await.unwrap();
    assert_eq!(head.headers()["content-encoding"], "gzip");
    assert_eq!(head.headers()["transfer-encoding"], "chunked");
    let (mut expected, mut coded) = (Vec::new(), Vec::new());
    for n in 0..5 {
        let event = format!("data: event number {n}\n\n");
        upstream.data(event.clone());
        expected.extend(event.into_bytes());
        while decoded("gzip", &coded) != expected {
            coded.extend(soon("the event", chunk(&mut client)).await);
        }
    }
}

async fn chunk(client: &mut Http1) -> Vec<u8> {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt};
    let mut line = String::new();
    client.io.read_line(&mut line).await.unwrap();
    let mut chunk = vec![0; usize::from_str_radix(line.trim(), 16).unwrap() + 2];
    client.io.read_exact(&mut chunk).await.unwrap();
    chunk.truncate(chunk.len() - 2);
    chunk
}

/// A script of the stand-in's Console, and its size: of several pieces, but not so large that coding it
/// again and again takes the half of a worker's time above which answers go as they are.
async fn script(standin: &Standin) -> (String, Bytes) {
    let direct = Client::plain(standin.address()).await;
    let index = direct.get("/ui/console/").await.unwrap();
    let name =
        index.text().split('"').find(|name| name.starts_with("polyfills.")).unwrap().to_owned();
    let path = format!("/ui/console/{name}");
    let body = direct.get(&path).await.unwrap().body;
    (path, body)
}

#[tokio::test]
async fn a_script_comes_coded_as_the_client_likes_it_best() {
    let standin = standin().await;
    let ravelin = before(standin.address());
    let (path, plain) = script(&standin).await;
    for (accepts, coding) in [
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br;q=0.9, zstd;q=0.5", "gzip"),
        ("identity", ""),
        ("gzip;q=0, deflate", ""),
    ] {
        for answer in both(&ravelin, accepting(&path, accepts)).await {
            assert_eq!(
                (answer.status(), answer.header("content-encoding")),
                (200, coding),
                "{accepts}"
            );
            assert!(decoded(coding, &answer.body) == plain, "{accepts}");
            let coded = !coding.is_empty();
            assert_eq!(
                answer.body.len() < plain.len() / 3,
                coded,
                "{accepts}: {}",
                answer.body.len()
            );
            assert_eq!(answer.header("vary"), "Accept-Encoding", "{accepts}");
            assert_eq!(answer.head.headers().contains_key("accept-ranges"), !coded, "{accepts}");
            assert_eq!(answer.head.headers().contains_key("content-length"), !coded, "{accepts}");
        }
    }
}

#[tokio::test]
async fn the_order_of_the_route_decides_between_equals() {
    let standin = standin().await;
    let (path, _) = script(&standin).await;
    for (route, expected) in
        [("compress: [br, gzip]", "br"), ("compress: gzip", "gzip"), ("compress: off", "")]
    {
        let ravelin = with_route(standin.address(), route);
        for answer in both(&ravelin, accepting(&path, "zstd, br, gzip")).await {
            assert_eq!(answer.header("content-encoding"), expected, "{route}");
            assert_eq!(answer.head.headers().contains_key("vary"), !expected.is_empty(), "{route}");
        }
    }
}

#[tokio::test]
async fn a_head_is_answered_as_its_get() {
    let standin = standin().await;
    let ravelin = before(standin.address());
    let (path, _) = script(&standin).await;
    for codings in ["br", "identity"] {
        let mut request =
            with(accepting(&path, codings), "x-standin-order", "set-header=etag:\"a\"");
        let fields = |answer: &Answer| {
            let mut headers = answer.head.headers().clone();
            for varying in ["date", "expires", "x-request-id", "content-security-policy"] {
                headers.remove(varying);
            }
            // HTTP/1.1 frames what has a body.
            headers.remove("transfer-encoding");
            headers
        };
        let [get, get1] = both(&ravelin, request.clone()).await;
        *request.method_mut() = Method::HEAD;
        let client = Client::plain(ravelin.plain()).await;
        let head = soon("HEAD", client.send(request.clone())).await.unwrap();
        assert_eq!(fields(&head), fields(&get), "{codings}");
        assert!(head.body.is_empty());
        let mut http1 = Http1::open(ravelin.plain()).await;
        http1.send(request).await;
        let head1 = Answer { head: soon("HEAD", http1.head()).await.unwrap(), ..head };
        assert_eq!(fields(&head1), fields(&get1), "{codings}");
    }
}

#[tokio::test]
async fn validators_and_trailers_stay_true() {
    let upstream = Told::start().await;
    let ravelin = before(upstream.address);
    upstream.head(&[
        ("content-type", "application/json"),
        ("etag", "\"a\""),
        ("content-digest", "sha-256=:x:"),
        ("vary", "Origin"),
    ]);
    upstream.data(vec![b' '; 5_000]);
    let mut trailers = HeaderMap::new();
    trailers.insert("server-timing", "db".parse().unwrap());
    upstream.end(trailers);
    let client = Client::plain(ravelin.plain()).await;
    let answer = soon("200", client.send(accepting("/x", "br"))).await.unwrap();
    assert_eq!(answer.header("etag"), "W/\"a\"");
    assert_eq!(answer.header("content-encoding"), "br");
    assert!(!answer.head.headers().contains_key("content-digest"));
    let vary: Vec<_> = answer.head.headers().get_all("vary").iter().collect();
    assert_eq!(vary, ["Origin", "Accept-Encoding"]);
    assert_eq!(answer.trailer("server-timing"), "db");
    assert_eq!(decoded("br", &answer.body), vec![b' '; 5_000]);

    let mut unchanged = Response::builder().status(304).header("etag", "\"a\"").body(()).unwrap();
    unchanged.headers_mut().insert("content-type", "application/json".parse().unwrap());
    upstream.say.send(Say::Head(unchanged)).ok().unwrap();
    upstream.end(HeaderMap::new());
    let again = with(accepting("/x", "br"), "if-none-match", "W/\"a\"");
    let answer = soon("304", client.send(again)).await.unwrap();
    assert_eq!((answer.status(), answer.header("etag")), (304, "W/\"a\""));
}

#[tokio::test]
async fn what_must_not_be_coded_passes_untouched() {
    let standin = standin().await;
    let ravelin = before(standin.address());
    let (path, _) = script(&standin).await;
    let any = || accepting(&path, "br, zstd, gzip");
    let ordered = |order: &str| with(any(), "x-standin-order", order);
    let direct = Client::plain(standin.address()).await;
    for (what, request) in [
        ("a part", with(any(), "range", "bytes=0-4999")),
        ("no-transform", ordered("set-header=cache-control:no-transform")),
        ("coded already", ordered("set-header=content-encoding:br")),
        ("a cookie", ordered("set-header=set-cookie:a=b")),
        ("small", accepting("/ui/console/manifest.webmanifest", "br")),
        ("WOFF2", accepting("/ui/console/assets/fonts/lato.woff2", "br")),
        ("a request that forbids it", with(any(), "cache-control", "no-transform")),
    ] {
        let as_sent = direct.send(request.clone()).await.unwrap();
        for answer in both(&ravelin, request).await {
            assert_eq!(answer.status(), as_sent.status(), "{what}");
            assert!(answer.body == as_sent.body, "{what}");
            for name in ["content-encoding", "content-length", "vary", "accept-ranges"] {
                assert_eq!(answer.header(name), as_sent.header(name), "{what}: {name}");
            }
        }
    }
}

#[tokio::test]
async fn rpc_is_never_coded() {
    let standin = standin().await;
    let ravelin = before(standin.address());
    let client = Client::plain(ravelin.plain()).await;
    const USERS: &str = "/zitadel.user.v2.UserService/ListUsers";
    for media in [
        "application/grpc",
        "application/grpc+json",
        "application/grpc-web+proto",
        "application/grpc-web-text",
    ] {
        let request = with(post("localhost", USERS, frame(b"")), "content-type", media);
        let request = with(with(request, "te", "trailers"), "accept-encoding", "br, zstd, gzip");
        let answer = soon(media, client.send(request)).await.unwrap();
        assert_eq!(answer.header("content-encoding"), "", "{media}");
        assert!(!answer.header("vary").contains("Accept-Encoding"), "{media}");
    }
    // What Connect codes itself stays as it is.
    let request = with(post("localhost", USERS, "{}"), "content-type", "application/json");
    let request = with(request, "accept-encoding", "br, gzip");
    let answer = soon("Connect", client.send(request)).await.unwrap();
    assert_eq!(answer.header("content-encoding"), "gzip");
    serde_json::from_slice::<serde_json::Value>(&decoded("gzip", &answer.body)).unwrap();
}

#[tokio::test]
async fn the_preset_codes_what_is_safe() {
    let standin = standin().await;
    let login = self::standin().await;
    let ravelin = Ravelin::start(&format!(
        "zitadel: {{upstream: \"h2c://{}\", domain: localhost, tls_mode: disabled, login: \"http://{}\"}}\n\
         listeners: [{{name: plain, address: \"127.0.0.1:0\"}}]\n\
         workers: 1\nadmin: \"off\"\naccess_log: {{format: \"off\"}}\n",
        standin.address(),
        login.address()
    ));
    let host = "localhost";
    let (script, _) = script(&standin).await;
    let spec = "/openapi/v2/swagger/zitadel/admin.swagger.json";
    for (request, coded) in [
        (get(host, &script), true),
        (with(get(host, &script), "cookie", "__Host-zitadel.useragent=x"), true),
        (get(host, "/ui/login/loginname"), false),
        (get(host, "/ui/v2/login/loginname"), false),
        (get(host, "/.well-known/openid-configuration"), false),
        (with(get(host, spec), "cookie", "a=b"), false),
    ] {
        let client = Client::plain(ravelin.plain()).await;
        let path = request.uri().to_string();
        let answer =
            soon(&path, client.send(with(request, "accept-encoding", "br"))).await.unwrap();
        assert_eq!(answer.header("content-encoding") == "br", coded, "{path}: {answer:?}");
    }
}
