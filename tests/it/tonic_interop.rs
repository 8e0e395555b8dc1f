//! gRPC as tonic speaks it on both sides: each call by each combination of legs (TLS and plaintext
//! in front, h2c and TLS behind).

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use futures_util::stream;
use http::Request as HttpRequest;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::support::echo::{DETAILS, MESSAGE, Stage, WAYS, reaches};
use crate::support::echo_service::{self, Ping};
use crate::support::faults::grpc_timeout;
use crate::support::{Ravelin, h2 as raw, standin};

fn ping(payload: impl Into<Bytes>, count: u32, order: &str) -> Ping {
    Ping { payload: payload.into(), count, order: order.to_owned() }
}

/// Messages that the test sends when it likes.
fn pings() -> (mpsc::UnboundedSender<Ping>, UnboundedReceiverStream<Ping>) {
    let (send, receive) = mpsc::unbounded_channel();
    (send, UnboundedReceiverStream::new(receive))
}

fn framed(ping: &Ping) -> Bytes {
    raw::frame(&prost::Message::encode_to_vec(ping))
}

async fn raw_client(stage: &Stage, way: &str) -> raw::Client {
    let address = stage.ravelin.address(way);
    if way.starts_with("tls") {
        raw::Client::tls(address).await
    } else {
        raw::Client::plain(address).await
    }
}

/// The failure that the server gives when it is told to, with everything that it carried.
fn assert_is_the_failure(way: &str, status: &Status) {
    assert_eq!(status.code(), Code::FailedPrecondition, "{way}: {status:?}");
    assert_eq!(status.message(), MESSAGE, "{way}");
    assert_eq!(status.details(), DETAILS, "{way}");
    assert_eq!(status.metadata().get("x-reason").unwrap(), "asked", "{way}");
    let raw = status.metadata().get_bin("x-raw-bin").unwrap().to_bytes().unwrap();
    assert_eq!(raw, DETAILS, "{way}");
}

#[tokio::test]
async fn a_unary_call_brings_back_its_message_and_its_metadata() {
    let stage = Stage::new().await;
    for (way, mut client) in stage.clients().await {
        let mut request = Request::new(ping("héllo", 42, ""));
        let metadata = request.metadata_mut();
        metadata.insert("x-own-text", "with spaces, and commas".parse().unwrap());
        metadata.append("x-own-twice", "first".parse().unwrap());
        metadata.append("x-own-twice", "second".parse().unwrap());
        metadata.insert_bin("x-own-bin", MetadataValue::from_bytes(DETAILS));
        metadata.insert_bin("x-own-empty-bin", MetadataValue::from_bytes(b""));
        let response = client.unary(request).await.unwrap();
        let metadata = response.metadata();
        assert_eq!(metadata.get("x-own-text").unwrap(), "with spaces, and commas", "{way}");
        let twice: Vec<_> = metadata.get_all("x-own-twice").iter().collect();
        assert_eq!(twice, ["first", "second"], "{way}");
        let binary = |name| metadata.get_bin(name).unwrap().to_bytes().unwrap();
        assert_eq!(binary("x-own-bin"), DETAILS, "{way}");
        assert_eq!(binary("x-own-empty-bin"), "", "{way}");
        assert_eq!(response.get_ref().count, 42, "{way}");
        assert_eq!(response.into_inner().payload, "héllo", "{way}");
    }
}

#[tokio::test]
async fn a_failure_brings_its_code_message_details_and_metadata() {
    let stage = Stage::new().await;
    for (way, mut client) in stage.clients().await {
        let status = client.unary(ping("", 0, "fail")).await.unwrap_err();
        assert_is_the_failure(way, &status);
        let mut stream = client.split(ping("x", 3, "fail")).await.unwrap().into_inner();
        for n in 0..3 {
            assert_eq!(stream.message().await.unwrap().unwrap().count, n, "{way}");
        }
        assert_is_the_failure(way, &stream.message().await.unwrap_err());
    }
}

#[tokio::test]
async fn trailers_only_stays_one_header_block() {
    let stage = Stage::new().await;
    for way in WAYS {
        let client = raw_client(&stage, way).await;
        let message = prost::Message::encode_to_vec(&ping("", 0, "fail"));
        let answer = client.grpc("/ravelin.interop.Echo/Unary", &[], &message).await.unwrap();
        assert_eq!(answer.header("grpc-status"), "9", "{way}");
        assert_eq!(answer.header("content-type"), "application/grpc", "{way}");
        assert!(answer.body.is_empty() && answer.trailers.is_none(), "{way}");
    }
}

#[tokio::test]
async fn what_is_not_implemented_is_said_to_be_unimplemented() {
    let stage = Stage::new().await;
    for (way, mut client) in stage.clients().await {
        for path in ["/ravelin.interop.Echo/Nothing", "/ravelin.interop.Nobody/Unary"] {
            let status = client.call(path, ping("", 0, "")).await.unwrap_err();
            assert_eq!(status.code(), Code::Unimplemented, "{way} {path}");
        }
    }
}

#[tokio::test]
async fn a_server_stream_of_ten_thousand_messages_comes_whole_and_in_order() {
    let stage = Stage::new().await;
    let clients = stage.clients().await;
    let streams = clients.into_iter().map(|(way, mut client)| async move {
        let mut stream = client.split(ping("small", 10_000, "")).await.unwrap().into_inner();
        let mut next = 0;
        while let Some(pong) = stream.message().await.unwrap() {
            assert_eq!((pong.count, &pong.payload[..]), (next, &b"small"[..]), "{way}");
            next += 1;
        }
        assert_eq!(next, 10_000, "{way}");
        assert!(stream.trailers().await.unwrap().is_some(), "{way}");
    });
    join_all(streams).await;
}

#[tokio::test]
async fn a_client_stream_is_counted_at_its_end() {
    let stage = Stage::new().await;
    for (way, mut client) in stage.clients().await {
        let messages = stream::iter((0..1_000).map(|n| ping("ten bytes!", n, "")));
        let answer = client.collect(messages).await.unwrap().into_inner();
        assert_eq!((answer.count, &answer.payload[..]), (1_000, &b"10000"[..]), "{way}");
        let answer = client.collect(stream::empty()).await.unwrap().into_inner();
        assert_eq!((answer.count, &answer.payload[..]), (0, &b"0"[..]), "{way}");
    }
}

#[tokio::test]
async fn a_thousand_messages_go_back_and_forth_one_by_one() {
    let stage = Stage::new().await;
    let clients = stage.clients().await;
    let chats = clients.into_iter().map(|(way, mut client)| async move {
        let (send, messages) = pings();
        let mut answers = client.chat(messages).await.unwrap().into_inner();
        for n in 0..1_000 {
            send.send(ping(n.to_string(), n, "")).unwrap();
            let pong = answers.message().await.unwrap().unwrap();
            assert_eq!((pong.count, pong.payload), (n, n.to_string().into()), "{way}");
        }
        drop(send);
        assert_eq!(answers.message().await.unwrap(), None, "{way}");
    });
    join_all(chats).await;
}

#[tokio::test]
async fn the_server_goes_on_after_the_client_has_said_all() {
    let stage = Stage::new().await;
    for (way, mut client) in stage.clients().await {
        let (send, messages) = pings();
        let mut answers = client.chat(messages).await.unwrap().into_inner();
        send.send(ping("", 100, "after")).unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap().count, 100, "{way}");
        drop(send);
        for n in 0..100 {
            assert_eq!(answers.message().await.unwrap().unwrap().count, n, "{way}");
        }
        assert_eq!(answers.message().await.unwrap(), None, "{way}");
    }
}

#[tokio::test]
async fn an_answer_before_the_client_has_said_all_is_a_whole_answer() {
    let stage = Stage::new().await;
    for (way, mut client) in stage.clients().await {
        let (send, messages) = pings();
        send.send(ping("first", 1, "early")).unwrap();
        let answer = client.collect(messages).await.unwrap().into_inner();
        assert_eq!((answer.count, &answer.payload[..]), (1, &b"5"[..]), "{way}");
        drop(send);
        let (send, messages) = pings();
        let mut answers = client.chat(messages).await.unwrap().into_inner();
        send.send(ping("", 7, "")).unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap().count, 7, "{way}");
        send.send(ping("", 0, "early")).unwrap();
        assert_eq!(answers.message().await.unwrap(), None, "{way}");
        // The connection is none the worse for it.
        assert_eq!(client.unary(ping("", 3, "")).await.unwrap().into_inner().count, 3, "{way}");
    }
}

#[tokio::test]
async fn a_failure_before_the_client_has_said_all_is_that_failure() {
    let stage = Stage::new().await;
    for (way, mut client) in stage.clients().await {
        // More than any window, so that the client is still sending when the failure comes.
        let first = stream::iter([ping("", 0, "fail")]);
        let rest = stream::repeat_with(|| ping(vec![0; 64 * 1024], 0, ""));
        let endless = futures_util::StreamExt::chain(first, rest);
        assert_is_the_failure(way, &client.collect(endless).await.unwrap_err());
        let (send, messages) = pings();
        let mut answers = client.chat(messages).await.unwrap().into_inner();
        send.send(ping("", 0, "fail")).unwrap();
        assert_is_the_failure(way, &answers.message().await.unwrap_err());
        assert_eq!(client.unary(ping("", 3, "")).await.unwrap().into_inner().count, 3, "{way}");
    }
}

#[tokio::test]
async fn messages_of_four_mebibytes_pass_both_ways() {
    // tonic's own limit for a received message, to the byte: 1 of tag and 4 of length before it.
    const PAYLOAD: usize = (4 << 20) - 5;
    let stage = Stage::new().await;
    let payload = Bytes::from((0..PAYLOAD).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    for (way, mut client) in stage.clients().await {
        let answer = client.unary(ping(payload.clone(), 0, "")).await.unwrap().into_inner();
        assert!(answer.payload == payload, "{way}");
    }
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_by_whom_it_is_too_large_for() {
    let stage = Stage::new().await;
    for (way, mut client) in stage.clients().await {
        let status = client.unary(ping(vec![0; 5 << 20], 0, "")).await.unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange, "server, {way}: {status:?}");
        assert!(status.message().contains("message length too large"), "{way}: {status:?}");
        let mut narrow = client.clone().max_decoding_message_size(1_000);
        let status = narrow.unary(ping("", 100_000, "large")).await.unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange, "client, {way}: {status:?}");
        assert_eq!(client.unary(ping("", 3, "")).await.unwrap().into_inner().count, 3, "{way}");
    }
}

#[tokio::test]
async fn forty_kibibytes_of_metadata_pass_both_ways() {
    const SIZE: usize = 40 * 1024;
    let stage = Stage::new().await;
    for (way, mut client) in stage.clients().await {
        let mut request = Request::new(ping("", 0, ""));
        let large = "a".repeat(SIZE);
        request.metadata_mut().insert("x-own-large", large.parse().unwrap());
        let response = client.unary(request).await.unwrap();
        assert_eq!(response.metadata().get("x-own-large").unwrap(), large.as_str(), "{way}");
        let response = client.unary(ping("", 40 * 1024, "metadata")).await.unwrap();
        assert_eq!(response.metadata().get("x-large").unwrap().len(), SIZE, "{way}");
    }
}

#[tokio::test]
async fn the_callers_deadline_reaches_the_server_and_ends_the_call() {
    let stage = Stage::new().await;
    for (n, (way, mut client)) in stage.clients().await.into_iter().enumerate() {
        let mut request = Request::new(ping("", 0, "wait"));
        request.set_timeout(Duration::from_millis(200));
        let status = client.unary(request).await.unwrap_err();
        // tonic's client keeps the same time and says CANCELLED when it is first.
        let ended = matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled);
        assert!(ended, "{way}: {status:?}");
        reaches(&stage.server.seen.dropped, n + 1).await;
        let seen = stage.server.seen.metadata.lock().unwrap().pop().unwrap();
        let left = grpc_timeout(seen.get("grpc-timeout").unwrap().to_str().unwrap());
        let all = Duration::from_millis(200);
        assert!(left > all / 10 && left <= all, "{way}: {left:?} of {all:?}");
    }
}

#[tokio::test]
async fn a_deadline_that_only_ravelin_keeps_is_deadline_exceeded() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    let clients =
        [raw::Client::tls(ravelin.https()).await, raw::Client::plain(ravelin.plain()).await];
    for (n, client) in clients.iter().enumerate() {
        let headers = [("grpc-timeout", "100m"), ("x-standin-order", "stall-head")];
        let answer = client.grpc("/ravelin.test.Echo/Unary", &headers, b"").await.unwrap();
        assert_eq!((answer.status(), answer.header("grpc-status")), (200, "4"));
        assert!(answer.trailers.is_none(), "nothing had been said: Trailers-Only");
        // The head is there, the end is not.
        let headers = [("grpc-timeout", "100m"), ("x-standin-order", "stall")];
        let answer = client.grpc("/ravelin.test.Echo/Unary", &headers, b"").await.unwrap();
        assert_eq!((answer.status(), answer.trailer("grpc-status")), (200, "4"));
        assert!(answer.trailers.is_some());
        standin.wait_for_cancelled(2 * (n + 1)).await;
    }
}

#[tokio::test]
async fn a_call_that_the_client_drops_is_dropped_at_the_server() {
    let stage = Stage::new().await;
    let seen = &stage.server.seen;
    for (n, (way, mut client)) in stage.clients().await.into_iter().enumerate() {
        // Before the head.
        let mut other = client.clone();
        let call = tokio::spawn(async move { other.unary(ping("", 0, "wait")).await });
        reaches(&seen.waiting, 1).await;
        call.abort();
        reaches(&seen.dropped, 2 * n + 1).await;
        // In the middle of the answer.
        let mut stream = client.split(ping("", 1, "wait")).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().is_some(), "{way}");
        drop(stream);
        reaches(&seen.dropped, 2 * n + 2).await;
    }
}

#[tokio::test]
async fn a_reset_while_both_sides_talk_is_a_reset_at_the_server() {
    let stage = Stage::new().await;
    for (n, way) in WAYS.into_iter().enumerate() {
        let client = raw_client(&stage, way).await;
        let request = HttpRequest::post("https://localhost/ravelin.interop.Echo/Chat")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let (answer, mut body) = client.open(request.body(()).unwrap(), false).await.unwrap();
        body.send_data(framed(&ping("", 1, "")), false).unwrap();
        let mut answer = answer.await.unwrap().into_body();
        assert!(answer.data().await.unwrap().is_ok(), "{way}");
        // tonic's client leaves a chat open when its answers are dropped; grpc-go resets it so.
        body.send_reset(h2::Reason::CANCEL);
        reaches(&stage.server.seen.dropped, n + 1).await;
    }
}

#[tokio::test]
async fn a_server_that_is_killed_is_unavailable() {
    for way in WAYS {
        let stage = Stage::new().await;
        let mut client = stage.client(way).await;
        let mut stream = client.split(ping("", 1, "wait")).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().is_some());
        let mut other = client.clone();
        let call = tokio::spawn(async move { other.unary(ping("", 0, "wait")).await });
        reaches(&stage.server.seen.waiting, 2).await;
        stage.server.kill();
        let status = stream.message().await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "mid-stream, {way}: {status:?}");
        let said = status.metadata().clone().into_headers();
        assert!(
            std::error::Error::source(&status).is_none(),
            "a status, not a transport error, {way}: {status:?} {said:?}"
        );
        let status = call.await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "before the head, {way}: {status:?}");
        let status = client.unary(ping("", 0, "")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "afterwards, {way}: {status:?}");
    }
}

#[tokio::test]
async fn a_thousand_calls_at_once_share_one_channel() {
    let stage = Stage::new().await;
    let clients = stage.clients().await;
    let all = clients.into_iter().map(|(way, client)| async move {
        let calls = (0..1_000).map(|n| {
            let mut client = client.clone();
            async move {
                let pong = client.unary(ping(vec![1; 100], n, "")).await?.into_inner();
                assert_eq!((pong.count, pong.payload.len()), (n, 100), "{way}");
                Ok::<_, Status>(())
            }
        });
        try_join_all(calls).await.unwrap_or_else(|status| panic!("{way}: {status:?}"));
    });
    join_all(all).await;
}

#[tokio::test]
async fn ten_thousand_streams_over_a_hundred_connections_are_open_at_once_and_finish() {
    const CONNECTIONS: usize = 100;
    const STREAMS: u32 = 100;
    const ALL: usize = CONNECTIONS * STREAMS as usize;
    let stage = Stage::new().await;
    let seen = &stage.server.seen;
    let mut calls = tokio::task::JoinSet::new();
    for connection in 0..CONNECTIONS {
        let client = stage.client(["tls-h2c", "plain-h2c"][connection % 2]).await;
        for n in 0..STREAMS {
            let mut client = client.clone();
            calls.spawn(async move {
                let pong = client.unary(ping("", n, "gate")).await?.into_inner();
                Ok::<_, Status>(pong.count == n)
            });
        }
    }
    let mut waiting = seen.waiting.subscribe();
    let open = tokio::time::timeout(Duration::from_secs(30), waiting.wait_for(|now| *now == ALL));
    assert!(open.await.is_ok(), "{} are open at once", *seen.waiting.borrow());
    // 250 streams each is what the server allows.
    assert!(*seen.connections.borrow() >= ALL / 250);
    seen.gate.send_replace(true);
    while let Some(call) = calls.join_next().await {
        assert_eq!(call.unwrap().map_err(|status| format!("{status:?}")), Ok(true));
    }
}

#[tokio::test]
async fn the_clients_keep_alive_pings_are_answered_while_a_call_waits() {
    let stage = Stage::new().await;
    for way in ["tls-h2c", "plain-h2c"] {
        let address = stage.ravelin.address(way);
        if way.starts_with("tls") {
            let config = crate::support::certs::client(&["h2"]);
            let io = crate::support::certs::connect(address, "localhost", config).await.unwrap();
            pings_are_answered(io, &stage).await;
        } else {
            let io = tokio::net::TcpStream::connect(address).await.unwrap();
            pings_are_answered(io, &stage).await;
        }
    }
}

async fn pings_are_answered(
    io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    stage: &Stage,
) {
    let before = *stage.server.seen.dropped.borrow();
    let (mut send, mut connection) = h2::client::handshake(io).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    let driver = tokio::spawn(connection);
    let request = HttpRequest::post("https://localhost/ravelin.interop.Echo/Unary")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let (answer, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(framed(&ping("", 0, "wait")), true).unwrap();
    reaches(&stage.server.seen.waiting, 1).await;
    for _ in 0..20 {
        let pong = pings.ping(h2::Ping::opaque());
        tokio::time::timeout(Duration::from_secs(5), pong).await.unwrap().unwrap();
    }
    drop((answer, body));
    reaches(&stage.server.seen.dropped, before + 1).await;
    driver.abort();
}

async fn reflect(
    client: &mut ServerReflectionClient<tonic::transport::Channel>,
    ask: MessageRequest,
) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let answers = client.server_reflection_info(stream::iter([request])).await.unwrap();
    let answer: ServerReflectionResponse = answers.into_inner().message().await.unwrap().unwrap();
    answer.message_response.unwrap()
}

#[tokio::test]
async fn reflection_describes_the_service() {
    let stage = Stage::new().await;
    for way in WAYS {
        let mut client = ServerReflectionClient::new(stage.channel(way).await);
        let answer = reflect(&mut client, MessageRequest::ListServices(String::new())).await;
        let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
        let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
        assert!(names.contains(&echo_service::NAME), "{way}: {names:?}");
        let symbol = format!("{}.Unary", echo_service::NAME);
        let answer = reflect(&mut client, MessageRequest::FileContainingSymbol(symbol)).await;
        let MessageResponse::FileDescriptorResponse(found) = answer else { panic!("{answer:?}") };
        let file: prost_types::FileDescriptorProto =
            prost::Message::decode(found.file_descriptor_proto[0].as_slice()).unwrap();
        assert_eq!(file, echo_service::descriptor().file[0], "{way}");
    }
}
