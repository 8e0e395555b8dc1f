//! Failures for gRPC and gRPC-Web clients (gRPC over HTTP/2, "Responses"; gRPC-Web, "Protocol
//! differences"): HTTP 200 always, the status is in `grpc-status`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::{Answer, Caller, framed, repeated, status_details};
use crate::error::Error;
use crate::exchange::Class;
use crate::message::Fields;
use crate::message::name::{
    GRPC_MESSAGE, GRPC_RETRY_PUSHBACK_MS, GRPC_STATUS, GRPC_STATUS_DETAILS_BIN,
};

/// Marks the frame that carries trailers.
const TRAILER_FRAME: u8 = 0x80;

/// An answer of a head alone, its status among the headers.
pub(super) fn trailers_only(error: &Error, caller: &Caller) -> Answer {
    let kind_of_call = repeated(caller, "application/grpc", "application/grpc");
    let mut answer = Answer::new(StatusCode::OK, kind_of_call, Bytes::new());
    answer.headers = status(error);
    answer
}

/// An answer whose body is one trailer frame, in the request's own kind of gRPC-Web.
pub(super) fn web(error: &Error, caller: &Caller) -> Answer {
    let (beginning, otherwise) = match caller.class {
        Class::GrpcWebText => ("application/grpc-web-text", "application/grpc-web-text+proto"),
        _ => ("application/grpc-web", "application/grpc-web+proto"),
    };
    Answer::new(
        StatusCode::OK,
        repeated(caller, beginning, otherwise),
        web_frame(error, caller.class),
    )
}

/// The status as trailers.
pub(super) fn status(error: &Error) -> Fields {
    let mut trailers = Fields::with_capacity(8);
    trailers.insert(&GRPC_STATUS, HeaderValue::from(u16::from(error.kind().grpc_code())));
    if let Ok(message) = HeaderValue::try_from(percent_encoded(error.kind().message())) {
        trailers.insert(&GRPC_MESSAGE, message);
    }
    // gRFC A6: a client whose policy retries this code waits so long. Programs read the same in the
    // details of the status.
    if let Some(seconds) = error.retry_after() {
        let kind = error.kind();
        let details = status_details::status(kind.grpc_code(), kind.message(), seconds);
        if let Ok(details) = HeaderValue::try_from(STANDARD_NO_PAD.encode(details)) {
            trailers.insert(&GRPC_STATUS_DETAILS_BIN, details);
        }
        trailers.insert(&GRPC_RETRY_PUSHBACK_MS, HeaderValue::from(u64::from(seconds) * 1_000));
    }
    trailers
}

/// The status as the last frame of a body. In text mode the frame is encoded by itself, which
/// clients must read even after padding.
pub(super) fn web_frame(error: &Error, class: Class) -> Bytes {
    let mut lines = Vec::new();
    for (name, value) in &status(error) {
        lines.extend_from_slice(name.as_str().as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value.as_bytes());
        lines.extend_from_slice(b"\r\n");
    }
    let frame = framed(TRAILER_FRAME, &lines);
    if class == Class::GrpcWebText { STANDARD.encode(frame).into() } else { frame.into() }
}

/// `Percent-Encoded` of gRPC over HTTP/2: printable ASCII but `%` stays.
fn percent_encoded(message: &str) -> String {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or('0');
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn messages_are_percent_encoded_beyond_printable_ascii() {
        assert_eq!(percent_encoded("Too many requests."), "Too many requests.");
        assert_eq!(percent_encoded("100 % é\n"), "100 %25 %C3%A9%0A");
    }
}
