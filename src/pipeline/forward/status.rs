//! An answer to a gRPC call that is not gRPC at all becomes a status that the client understands:
//! ZITADEL itself answers an unknown method of a Connect service with HTTP 404 in plain text, and
//! anything between here and there may answer with a page.
//!
//! The code is that of gRPC's `http-grpc-status-mapping.md`, which is for answers without a
//! `grpc-status` only: one that has it goes as it is.

use http::{HeaderValue, StatusCode};

use super::headers;
use crate::message::heads::Answering;
use crate::message::name::{
    CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, GRPC_MESSAGE, GRPC_STATUS, LAST_MODIFIED, LOCATION, TRAILER,
};
use crate::message::{FieldName, Fields};

/// What describes the body that goes, or a place that no gRPC client follows to.
const OF_THE_BODY: [FieldName; 9] = [
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    ETAG,
    LAST_MODIFIED,
    LOCATION,
    TRAILER,
];

/// Makes the head of an answer to a gRPC call one of gRPC. `Some`: it was none, is Trailers-Only
/// now, and its body must go; the text says for the record what it had been.
pub fn settle(parts: &mut Answering) -> Option<Box<str>> {
    if is_sound(parts.status, &parts.headers) {
        return None;
    }
    let kind = parts.headers.get(CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()));
    let kind = kind.as_deref().unwrap_or("no content type");
    let was = format!("answered to gRPC with HTTP {}, {kind}", parts.status.as_u16());
    for name in &OF_THE_BODY {
        parts.headers.remove(name);
    }
    let message = format!("The service answered with HTTP status {}.", parts.status);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    parts.headers.insert(&GRPC_STATUS, HeaderValue::from(code(parts.status)));
    // Digits and ASCII words: nothing to percent-encode.
    if let Ok(message) = HeaderValue::try_from(message) {
        parts.headers.insert(&GRPC_MESSAGE, message);
    }
    parts.status = StatusCode::OK;
    Some(was.into())
}

fn is_sound(status: StatusCode, headers: &Fields) -> bool {
    headers.contains_key(&GRPC_STATUS) || status == StatusCode::OK && headers::is_grpc(headers)
}

/// gRPC's code for an HTTP status.
const fn code(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Response;

    fn settled(
        status: u16,
        fields: &[(&'static str, &'static str)],
    ) -> (Answering, Option<Box<str>>) {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in fields {
            response.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        let (mut parts, ()) = response.into_parts();
        let was = settle(&mut parts);
        (parts, was)
    }

    #[test]
    fn what_is_no_grpc_gets_the_code_of_its_http_status() {
        for (status, code) in [
            (400, "13"),
            (401, "16"),
            (403, "7"),
            (404, "12"),
            (429, "14"),
            (502, "14"),
            (503, "14"),
            (504, "14"),
            (500, "2"),
            (302, "2"),
            (200, "2"),
        ] {
            let fields = [("content-type", "text/plain"), ("content-length", "9"), ("x-a", "b")];
            let (parts, was) = settled(status, &fields);
            assert_eq!(parts.status, 200, "{status}");
            assert_eq!(parts.headers["grpc-status"], code, "{status}");
            assert_eq!(parts.headers["content-type"], "application/grpc");
            assert!(!parts.headers.contains_key("content-length"));
            assert_eq!(parts.headers["x-a"], "b");
            let message = parts.headers["grpc-message"].to_str().unwrap();
            assert!(message.contains(&status.to_string()), "{message}");
            let was = was.unwrap();
            assert_eq!(&*was, format!("answered to gRPC with HTTP {status}, text/plain"));
        }
    }

    #[test]
    fn the_media_type_decides_for_http_200() {
        for (media, sound) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/GRPC; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/json", false),
            ("application/grpcx", false),
        ] {
            let (_, was) = settled(200, &[("content-type", media)]);
            assert_eq!(was.is_none(), sound, "{media}");
        }
        assert!(settled(200, &[]).1.unwrap().contains("no content type"));
    }

    #[test]
    fn a_status_that_upstream_gave_is_not_replaced() {
        let fields = [("content-type", "application/json"), ("grpc-status", "5")];
        let (parts, was) = settled(404, &fields);
        assert_eq!((parts.status.as_u16(), was), (404, None));
        assert_eq!(parts.headers["grpc-status"], "5");
    }
}
