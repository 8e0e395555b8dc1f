//! `/ravelin.test.Echo/{Unary,ServerStream,ClientStream,Bidi}`: gRPC for tests, on raw frames, so
//! that any message type fits. Also over gRPC-Web.
//!
//! `Unary` gives the message back, `Bidi` every message as it comes, `ClientStream` an account
//! (`messages=N,bytes=M`), `ServerStream` what the message orders: `count=N,size=M,interval_ms=K`.
//! Request headers `x-echo-…` come back as headers, `x-echo-trailer-…` as trailers;
//! `x-echo-status: N` ends the call with that code and the message `as asked`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Method};
use http_body::Frame;

use super::grpc::{self, Status, head, prefixed, trailers};
use super::message::{Answer, Body, Call, Cut, Reply, frames, streamed};
use super::reflection::take_message;

const PREFIX: &str = "/ravelin.test.Echo/";

/// A native gRPC call to the echo service; gRPC-Web comes by its own way.
pub(super) fn matches(call: &Call) -> bool {
    let content_type = call.content_type();
    is_method(&call.path)
        && call.is_http2()
        && call.head.method == Method::POST
        && content_type.starts_with("application/grpc")
        && !content_type.starts_with("application/grpc-web")
}

/// Whether the path is the echo service's.
pub(super) fn is_method(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// Answers a native call.
pub(super) async fn answer(call: Call) -> Answer {
    let path = call.path.clone();
    let content_type = call.content_type().to_owned();
    serve(call, &path, &content_type).await
}

/// Answers with native frames and trailers.
pub(super) async fn serve(mut call: Call, path: &str, content_type: &str) -> Answer {
    let mut head = head(content_type);
    let mut end = trailers(asked(&call).as_ref().map_or(Ok(()), Err));
    for (name, value) in &call.head.headers {
        if name.as_str().starts_with("x-echo-trailer-") {
            end.append(name.clone(), value.clone());
        } else if name.as_str().starts_with("x-echo-") {
            head.headers_mut().append(name.clone(), value.clone());
        }
    }
    let body = match path.strip_prefix(PREFIX) {
        Some("Unary") => match whole(&mut call).await? {
            Ok(message) => {
                frames(vec![Frame::data(prefixed(&message, false)), Frame::trailers(end)])
            }
            Err(status) => refused(&status),
        },
        Some("ServerStream") => match whole(&mut call).await? {
            Ok(order) => sequence(&order, end),
            Err(status) => refused(&status),
        },
        Some("ClientStream") => {
            let account = account(&mut call).await?;
            frames(vec![Frame::data(prefixed(account.as_bytes(), false)), Frame::trailers(end)])
        }
        Some("Bidi") => {
            // The client's own trailers have no meaning in gRPC; ours follow.
            let echoed = call.body.into_frames().filter(|frame| {
                let kept = !matches!(frame, Ok(frame) if frame.is_trailers());
                async move { kept }
            });
            streamed(echoed.chain(stream::iter([Ok(Frame::trailers(end))])).boxed())
        }
        _ => refused(&Status::new(12, format!("unknown method {path}"))),
    };
    Ok(Reply::map(head, |_| body))
}

fn asked(call: &Call) -> Option<Status> {
    let code: u8 = call.header("x-echo-status")?.parse().ok()?;
    (code != 0).then(|| Status::new(code, "as asked"))
}

fn refused(status: &Status) -> Body {
    frames(vec![Frame::trailers(trailers(Err(status)))])
}

async fn whole(call: &mut Call) -> Result<Result<Bytes, Status>, Cut> {
    Ok(grpc::read(call).await?.map(|(_, message)| message))
}

async fn account(call: &mut Call) -> Result<String, Cut> {
    let mut buffer = BytesMut::new();
    let (mut messages, mut bytes) = (0_u64, 0_u64);
    while let Some(frame) = call.body.frame().await {
        buffer.extend_from_slice(&frame?.into_data().unwrap_or_default());
        while let Some(message) = take_message(&mut buffer) {
            messages += 1;
            bytes += message.len() as u64;
        }
    }
    Ok(format!("messages={messages},bytes={bytes}"))
}

fn sequence(order: &[u8], end: HeaderMap) -> Body {
    let order = String::from_utf8_lossy(order).into_owned();
    let number = |name: &str, default: u64| {
        let values = order.split(',').filter_map(|pair| pair.trim().split_once('='));
        values
            .filter(|(key, _)| *key == name)
            .find_map(|(_, value)| value.trim().parse().ok())
            .unwrap_or(default)
    };
    let count = number("count", 1);
    let size = usize::try_from(number("size", 1)).unwrap_or(usize::MAX).min(64 << 20);
    let interval = Duration::from_millis(number("interval_ms", 0));
    let message = prefixed(&vec![b'x'; size], false);
    let messages = stream::unfold(0, move |sent| {
        let message = message.clone();
        async move {
            if sent == count {
                return None;
            }
            if sent > 0 && !interval.is_zero() {
                tokio::time::sleep(interval).await;
            }
            Some((Ok(Frame::data(message)), sent + 1))
        }
    });
    streamed(messages.chain(stream::iter([Ok(Frame::trailers(end))])).boxed())
}
