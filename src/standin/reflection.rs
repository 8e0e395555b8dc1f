//! gRPC reflection (v1 and v1alpha): the one stream of ZITADEL that runs in both directions, open
//! to anybody. Lists the services; file descriptors it has none.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http_body::Frame;
use std::collections::VecDeque;

use super::grpc::{self, trailers};
use super::message::{Answer, Call, Cut, Inbound, go_error, reply, set, streamed};
use super::protobuf;

const LISTED: [&str; 4] = [
    "zitadel.session.v2.SessionService",
    "zitadel.user.v2.UserService",
    "zitadel.org.v2.OrganizationService",
    "zitadel.settings.v2.SettingsService",
];

/// The raw path of either version.
pub(super) fn matches(path: &str) -> bool {
    path.starts_with("/grpc.reflection.v1.ServerReflection/")
        || path.starts_with("/grpc.reflection.v1alpha.ServerReflection/")
}

/// Answers each question as it comes.
pub(super) fn answer(call: Call) -> Answer {
    if !call.path.ends_with("/ServerReflectionInfo") {
        return Ok(go_error(404, "404 page not found"));
    }
    if !call.is_http2() {
        // connect-go: streams in both directions need HTTP/2.
        return Ok(reply(505, "", ""));
    }
    if !call.content_type().starts_with("application/grpc") {
        let mut refused = reply(415, "", "");
        set(refused.headers_mut(), "accept-post", "application/grpc, application/grpc+proto");
        return Ok(refused);
    }
    let content_type = call.content_type().to_owned();
    let answers = stream::unfold(Talk::new(call.body), |mut talk| async move {
        talk.next().await.map(|frame| (frame, talk))
    });
    let mut reply = grpc::head(&content_type);
    reply.headers_mut().remove("trailer");
    Ok(reply.map(|_| streamed(answers.boxed())))
}

/// Questions read, answers not yet sent.
struct Talk {
    body: Inbound,
    buffer: BytesMut,
    ready: VecDeque<Bytes>,
    ended: bool,
}

impl Talk {
    fn new(body: Inbound) -> Self {
        Self { body, buffer: BytesMut::new(), ready: VecDeque::new(), ended: false }
    }

    async fn next(&mut self) -> Option<Result<Frame<Bytes>, Cut>> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(Ok(Frame::data(ready)));
            }
            if self.ended {
                return None;
            }
            match self.body.frame().await {
                Some(Err(cut)) => return Some(Err(cut)),
                Some(Ok(frame)) => {
                    self.buffer.extend_from_slice(&frame.into_data().unwrap_or_default());
                    self.take_messages();
                }
                None => {
                    self.ended = true;
                    return Some(Ok(Frame::trailers(trailers(Ok(())))));
                }
            }
        }
    }

    fn take_messages(&mut self) {
        while let Some(message) = take_message(&mut self.buffer) {
            self.ready.push_back(grpc::prefixed(&respond(&message), false));
        }
    }
}

/// The next whole message of a gRPC byte stream.
pub(super) fn take_message(buffer: &mut BytesMut) -> Option<Bytes> {
    let prefix: &[u8; 5] = buffer.first_chunk()?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if buffer.len() < length + 5 {
        return None;
    }
    buffer.advance(5);
    Some(buffer.split_to(length).freeze())
}

fn respond(question: &[u8]) -> Vec<u8> {
    let original = protobuf::bytes(2, question);
    let list_services = 7;
    if protobuf::fields(question).contains(&list_services) {
        let services: Vec<u8> = LISTED
            .iter()
            .flat_map(|name| protobuf::bytes(1, &protobuf::bytes(1, name.as_bytes())))
            .collect();
        return [original, protobuf::bytes(6, &services)].concat();
    }
    let error = [protobuf::number(1, 5), protobuf::bytes(2, b"not found")].concat();
    [original, protobuf::bytes(7, &error)].concat()
}
