//! Failures for Connect clients (Connect protocol, "Error codes", "Unary-Response",
//! "Streaming-Response"): JSON with a code by name; the HTTP status follows from the code.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Caller, framed, repeated, status_details};
use crate::error::{Error, Kind};

/// Marks the envelope that ends a stream.
const END_OF_STREAM: u8 = 0x02;

/// An answer of its HTTP status and the error as JSON, whatever codec the request had.
pub(super) fn unary(error: &Error) -> Answer {
    let (_, status) = code(error.kind());
    Answer::new(status, HeaderValue::from_static("application/json"), json_of(error).to_string())
}

/// An answer whose body is the end-of-stream envelope alone; streams are HTTP 200 always.
pub(super) fn stream(error: &Error, caller: &Caller) -> Answer {
    let content_type = repeated(caller, "application/connect+", "application/connect+proto");
    Answer::new(StatusCode::OK, content_type, end_of_stream(error))
}

/// The envelope that ends a stream with an error.
pub(super) fn end_of_stream(error: &Error) -> Bytes {
    framed(END_OF_STREAM, json!({ "error": json_of(error) }).to_string().as_bytes()).into()
}

/// The error with its details ("Error Details" of the protocol: base64 without padding, and a form for
/// people beside it).
fn json_of(error: &Error) -> Value {
    let kind = error.kind();
    let (name, _) = code(kind);
    let mut value = json!({ "code": name, "message": kind.message() });
    if let Some(seconds) = error.retry_after() {
        value["details"] = json!([{
            "type": status_details::RETRY_INFO,
            "value": STANDARD_NO_PAD.encode(status_details::retry_info(seconds)),
            "debug": { "retryDelay": format!("{seconds}s") },
        }]);
    }
    value
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
