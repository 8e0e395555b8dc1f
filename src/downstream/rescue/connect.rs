//! Failures for Connect clients (Connect protocol, "Error codes", "Unary-Response",
//! "Streaming-Response"): JSON with a code by name; the HTTP status follows from the code.

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderValue;
use serde_json::{Value, json};

use super::{Answer, Caller, framed, repeated};
use crate::error::Kind;

/// Marks the envelope that ends a stream.
const END_OF_STREAM: u8 = 0x02;

/// An answer of its HTTP status and the error as JSON, whatever codec the request had.
pub(super) fn unary(kind: Kind) -> Answer {
    let (_, status) = code(kind);
    Answer::new(status, HeaderValue::from_static("application/json"), error(kind).to_string())
}

/// An answer whose body is the end-of-stream envelope alone; streams are HTTP 200 always.
pub(super) fn stream(kind: Kind, caller: &Caller) -> Answer {
    let content_type = repeated(caller, "application/connect+", "application/connect+proto");
    Answer::new(StatusCode::OK, content_type, end_of_stream(kind))
}

/// The envelope that ends a stream with an error.
pub(super) fn end_of_stream(kind: Kind) -> Bytes {
    framed(END_OF_STREAM, json!({ "error": error(kind) }).to_string().as_bytes()).into()
}

fn error(kind: Kind) -> Value {
    let (name, _) = code(kind);
    json!({ "code": name, "message": kind.message() })
}

/// The code's name and HTTP status, by the gRPC code it corresponds to.
fn code(kind: Kind) -> (&'static str, StatusCode) {
    let (name, status) = match kind.grpc_code() {
        1 => ("canceled", 499),
        3 => ("invalid_argument", 400),
        4 => ("deadline_exceeded", 504),
        5 => ("not_found", 404),
        6 => ("already_exists", 409),
        7 => ("permission_denied", 403),
        8 => ("resource_exhausted", 429),
        9 => ("failed_precondition", 400),
        10 => ("aborted", 409),
        11 => ("out_of_range", 400),
        12 => ("unimplemented", 501),
        13 => ("internal", 500),
        14 => ("unavailable", 503),
        15 => ("data_loss", 500),
        16 => ("unauthenticated", 401),
        _ => ("unknown", 500),
    };
    (name, StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
}
