//! A replica that dies while its answer is on its way: the caller's own protocol has an end for it
//! where one can be put, and where none can (within a message, or where a body has no end of its
//! own) the exchange is cut, since an end would pass for a whole answer. On both legs, in both
//! versions of HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use tonic::Code;
use tonic::transport::Channel;

use crate::support::echo_service::Ping;
use crate::support::faults::{Http1, config, http1, post, soon, with};
use crate::support::h2::{Answer, Client, frame};
use crate::support::{Ravelin, standin};

const WEB: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text";
const CONNECT: &str = "application/connect+json";

/// `/echo` gives back half of what it is sent, then upstream dies.
fn echo(content_type: &str, order: &str, halves: [&[u8]; 2]) -> Request<bytes::Bytes> {
    let coded = |half: &[u8]| match content_type {
        TEXT => STANDARD.encode(half).into_bytes(),
        _ => half.to_vec(),
    };
    let body = halves.map(coded).concat();
    let request = with(post("localhost", "/echo", body), "content-type", content_type);
    with(request, "x-standin-order", order)
}

/// What stands behind the first half.
fn end(answer: &Answer, content_type: &str, first: &[u8]) -> Vec<u8> {
    if content_type == TEXT {
        let rest = answer.text().strip_prefix(&STANDARD.encode(first)).unwrap();
        return STANDARD.decode(rest).unwrap();
    }
    assert_eq!(answer.body[..first.len()], *first, "{content_type}: {answer:?}");
    answer.body[first.len()..].to_vec()
}

/// Over HTTP/1.1 without a stated length, so that the echo has none either.
async fn chunked(ravelin: &Ravelin, request: &Request<bytes::Bytes>) -> std::io::Result<Answer> {
    let mut connection = Http1::open(ravelin.plain()).await;
    let mut head = "POST /echo HTTP/1.1\r\nHost: localhost\r\n".to_owned();
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    connection.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n")).await;
    let body = request.body();
    connection
        .write([format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat())
        .await;
    connection.read().await
}

#[tokio::test]
async fn streams_end_with_a_status_between_messages_and_are_cut_within_one() {
    let standin = standin().await;
    for scheme in ["h2c", "http"] {
        let endpoints = [format!("{scheme}://{}", standin.address())];
        // Reads are sent again; what has begun to be answered is not.
        let ravelin = Ravelin::start(&config(&endpoints, "", "retry: reads"));
        let client = Client::plain(ravelin.plain()).await;
        for (content_type, flags, says) in [
            (WEB, 0x80, "grpc-status: 14"),
            (TEXT, 0x80, "grpc-status: 14"),
            (CONNECT, 0x02, "unavailable"),
        ] {
            for order in ["reset-mid-body", "die-mid-body"] {
                let at = format!("{scheme} {content_type} {order}");
                let first = frame(b"first!!");
                let between = echo(content_type, order, [&first, &first]);
                let over_h2 = soon(&at, client.send(between.clone())).await.expect(&at);
                let over_h1 = soon(&at, chunked(&ravelin, &between)).await.expect(&at);
                for answer in [over_h2, over_h1] {
                    let end = end(&answer, content_type, &first);
                    assert_eq!(end.first(), Some(&flags), "{at}: {end:?}");
                    assert!(String::from_utf8_lossy(&end).contains(says), "{at}: {end:?}");
                }
                // Nor is anything put behind an answer that has said how long it is.
                assert!(soon(&at, http1(ravelin.plain(), between)).await.is_err(), "{at}");
                // Half of one message, whatever it is coded in.
                let within = echo(content_type, order, [&first[..6], &first[6..]]);
                let error = soon(&at, client.send(within.clone())).await.expect_err(&at);
                assert!(error.is_reset(), "{at}: {error}");
                assert!(soon(&at, http1(ravelin.plain(), within)).await.is_err(), "{at}");
            }
        }
        assert_eq!(ravelin.metric("ravelin_upstream_retries_total"), 0.0, "{scheme}");
    }
}

/// gRPC has its status beside its messages: it comes also behind half of one, and a client that
/// knows gRPC makes an error of both.
#[tokio::test]
async fn a_grpc_client_gets_an_error_for_half_a_message() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    let channel = Channel::from_shared(format!("http://{}", ravelin.plain())).unwrap();
    let mut client = tonic::client::Grpc::new(channel.connect().await.unwrap());
    for order in ["reset-mid-body", "die-mid-body"] {
        client.ready().await.unwrap();
        let ping = Ping { payload: vec![b'm'; 1000].into(), ..Ping::default() };
        let mut request = tonic::Request::new(ping);
        request.metadata_mut().insert("x-standin-order", order.parse().unwrap());
        let codec = tonic_prost::ProstCodec::<Ping, Ping>::default();
        let path = "/ravelin.test.Echo/Unary".parse().unwrap();
        let status = soon(order, client.unary(request, path, codec)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{order}: {status:?}");
        assert!(status.message().contains("before it was whole"), "{order}: {status:?}");
    }
}
