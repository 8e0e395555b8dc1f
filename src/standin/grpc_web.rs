//! gRPC-Web for the v1 services, as improbable-eng's wrapper does it: a translation of native gRPC
//! over any HTTP version, trailers in a last frame with the flag 0x80, base64 in text mode.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderMap, Method};
use http_body::Frame;
use http_body_util::BodyStream;

use super::message::{Answer, Call, Reply, Source, add, go_error, set, streamed};
use super::{cors, echo, grpc};

/// More than grpc-go takes, so that its own refusal is seen.
const TEXT_LIMIT: usize = 8 << 20;

/// A call (POST with the type as prefix) or a preflight that names `x-grpc-web`.
pub(super) fn matches(call: &Call) -> bool {
    let is_call =
        call.head.method == Method::POST && call.content_type().starts_with("application/grpc-web");
    let names =
        call.header("access-control-request-headers").unwrap_or_default().to_ascii_lowercase();
    is_call || (cors::is_preflight(call) && names.contains("x-grpc-web"))
}

/// Answers in the caller's mode.
pub(super) async fn answer(mut call: Call) -> Answer {
    if call.head.method == Method::OPTIONS {
        return Ok(cors::preflight(&call, &cors::GRPC_WEB));
    }
    let content_type = call.content_type().to_owned();
    let is_text = content_type.starts_with("application/grpc-web-text");
    if is_text {
        let (text, _) = call.body.read(TEXT_LIMIT).await?;
        let Some(decoded) = decode(&text) else {
            return Ok(go_error(400, "illegal base64 data"));
        };
        call.body.source = Source::Whole(Some(decoded));
    }
    let inner = content_type.replacen("-text", "", 1).replacen(
        "application/grpc-web",
        "application/grpc",
        1,
    );
    let origin = call.header("origin").map(str::to_owned);
    let path = call.decoded.clone();
    let native = if echo::is_method(&path) {
        echo::serve(call, &path, &inner).await?
    } else {
        grpc::serve(call, &path, &inner).await?
    };
    Ok(translate(native, &content_type, is_text, origin.as_deref()))
}

/// Concatenated base64, each part with a padding of its own, is allowed.
fn decode(text: &[u8]) -> Option<Bytes> {
    let mut out = Vec::with_capacity(text.len());
    for group in text.split_inclusive(|byte| *byte == b'=') {
        if group != b"=" {
            let group = group.strip_suffix(b"=").unwrap_or(group);
            out.extend_from_slice(&STANDARD_NO_PAD.decode(group).ok()?);
        }
    }
    Some(out.into())
}

fn translate(native: Reply, content_type: &str, is_text: bool, origin: Option<&str>) -> Reply {
    let (mut head, body) = native.into_parts();
    head.headers.remove("trailer");
    set(&mut head.headers, "content-type", content_type);
    cors::actual(&Method::POST, origin, &cors::GRPC_WEB, &mut head.headers);
    if origin.is_some() {
        add(
            &mut head.headers,
            "access-control-expose-headers",
            "Content-Type, Vary, grpc-status, grpc-message",
        );
    }
    let framed = BodyStream::new(body).map(move |frame| {
        let data = match frame?.into_data() {
            Ok(data) => data,
            Err(frame) => trailer_frame(&frame.into_trailers().unwrap_or_default()),
        };
        Ok(Frame::data(if is_text { STANDARD.encode(&data).into() } else { data }))
    });
    Reply::from_parts(head, streamed(framed.boxed()))
}

/// The trailers as a frame of the body.
pub(super) fn trailer_frame(trailers: &HeaderMap) -> Bytes {
    let mut block = BytesMut::new();
    for (name, value) in trailers {
        block.extend_from_slice(name.as_str().as_bytes());
        block.extend_from_slice(b": ");
        block.extend_from_slice(value.as_bytes());
        block.extend_from_slice(b"\r\n");
    }
    let mut frame = BytesMut::with_capacity(block.len() + 5);
    frame.put_u8(0x80);
    frame.put_u32(u32::try_from(block.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&block);
    frame.freeze()
}
