//! Looks at an answer that may be none: a gateway's word that its server is away, above all the 503
//! of ZITADEL's own REST gateway, which proves that the request was not processed
//! (`zitadel.md` §13.5).

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::SizeHint;

use crate::body::Frames;
use crate::error::{Error, Kind};
use crate::exchange::Class;
use crate::message::name::{CONTENT_LENGTH, CONTENT_TYPE};
use crate::message::{Fields, Frame, Response};
use crate::upstream::Answer;

/// Bytes of a body that is looked at: the real one has about 150.
const MOST: usize = 2048;
/// How long it is waited for; it comes with its head.
const WAIT: Duration = Duration::from_millis(250);

/// What an answer's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// It is an answer.
    Answer,
    /// Somebody between us and the server says that it is away.
    Gateway,
    /// The same, and its body may prove that the request was not processed.
    Body,
}

/// Decides by the head alone. `zitadel`: it comes from ZITADEL, whose REST gateway alone is known to
/// say of a request that it was not processed; another server's may have been.
pub fn head(class: Class, zitadel: bool, status: StatusCode, headers: &Fields) -> Head {
    match (class, status.as_u16()) {
        // Trailers-Only: nothing but a status.
        (Class::Grpc, 200) if headers.get("grpc-status").is_some_and(|code| code == "14") => {
            Head::Gateway
        }
        (Class::Rest | Class::Asset | Class::Page, 503) if zitadel && is_short_json(headers) => {
            Head::Body
        }
        (_, 502..=504) => Head::Gateway,
        _ => Head::Answer,
    }
}

fn is_short_json(headers: &Fields) -> bool {
    let json = headers.get(CONTENT_TYPE).is_some_and(|media| {
        let media = media.as_bytes();
        media.split(|byte| *byte == b';').next().unwrap_or_default() == b"application/json"
    });
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    json && length.is_none_or(|length: usize| length <= MOST)
}

/// Whether a body is the word of grpc-gateway's loop-back client that it could not dial its own
/// server: `{"code":14, "message":"… Error while dialing …"}`.
pub fn is_dialing(body: &[u8]) -> bool {
    let Ok(said) = serde_json::from_slice::<serde_json::Value>(body) else { return false };
    let message = said.get("message").and_then(serde_json::Value::as_str).unwrap_or_default();
    said.get("code").and_then(serde_json::Value::as_u64) == Some(14)
        && message.contains("Error while dialing")
}

/// Reads the beginning of a short body: what it means for its request, and the answer, from which
/// nothing is lost.
pub async fn body(response: Response<Answer>) -> (Kind, Response<Peeked>) {
    let (head, answer) = response.into_parts();
    let mut peeked = Peeked { ahead: VecDeque::new(), rest: Some(answer) };
    let _ = tokio::time::timeout(WAIT, peeked.look()).await;
    let whole = peeked.rest.is_none();
    let kind = if whole && is_dialing(&peeked.data()) { Kind::Starting } else { Kind::Gateway };
    (kind, Response::from_parts(head, peeked))
}

/// An answer's body of which the beginning was read.
pub struct Peeked {
    ahead: VecDeque<Result<Frame, Error>>,
    /// `None`: all of it was read.
    rest: Option<Answer>,
}

impl Peeked {
    async fn look(&mut self) {
        let mut bytes = 0;
        while let Some(answer) = &mut self.rest {
            let frame = answer.frame().await;
            if frame.is_none() {
                self.rest = None;
                return;
            }
            let failed = matches!(frame, Some(Err(_)));
            bytes +=
                frame.iter().flatten().filter_map(|f| f.data_ref()).map(Bytes::len).sum::<usize>();
            self.ahead.extend(frame);
            if failed || bytes > MOST {
                return;
            }
        }
    }

    fn data(&self) -> Vec<u8> {
        let frames = self.ahead.iter().flatten();
        frames.filter_map(|frame| frame.data_ref()).flatten().copied().collect()
    }
}

impl Frames for Peeked {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        if let Some(frame) = self.ahead.pop_front() {
            return Poll::Ready(Some(frame));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.rest.as_ref().is_none_or(Frames::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::FieldName;

    #[test]
    fn only_short_json_of_a_503_is_read() {
        let json = ("content-type", "application/json");
        for (class, status, fields, expected) in [
            (Class::Rest, 200, vec![json], Head::Answer),
            (Class::Rest, 500, vec![json], Head::Answer),
            (Class::Rest, 503, vec![json], Head::Body),
            (
                Class::Page,
                503,
                vec![("content-type", "application/json; charset=utf-8")],
                Head::Body,
            ),
            (Class::Rest, 503, vec![json, ("content-length", "150")], Head::Body),
            (Class::Rest, 503, vec![json, ("content-length", "2049")], Head::Gateway),
            (Class::Rest, 503, vec![("content-type", "application/jsonp")], Head::Gateway),
            (Class::Rest, 503, vec![], Head::Gateway),
            (Class::Rest, 502, vec![json], Head::Gateway),
            (Class::Rest, 504, vec![], Head::Gateway),
            (Class::Connect, 503, vec![json], Head::Gateway),
            (Class::Grpc, 503, vec![], Head::Gateway),
            (Class::Grpc, 200, vec![("grpc-status", "14")], Head::Gateway),
            (Class::Grpc, 200, vec![("grpc-status", "4")], Head::Answer),
            (Class::Grpc, 200, vec![], Head::Answer),
        ] {
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name.parse::<FieldName>().unwrap(), value.parse().unwrap()));
            let status = StatusCode::from_u16(status).unwrap();
            let headers: Fields = fields.collect();
            let judged = head(class, true, status, &headers);
            assert_eq!(judged, expected, "{class:?} {status} {headers:?}");
            // Whoever else says the same proves nothing: the request may have been processed.
            let elsewhere = if expected == Head::Body { Head::Gateway } else { expected };
            assert_eq!(head(class, false, status, &headers), elsewhere, "{class:?} {status}");
        }
    }

    #[test]
    fn the_gateway_s_own_word_is_known_by_code_and_message() {
        let said = br#"{"code":14, "message":"connection error: desc = \"transport: Error while dialing: dial tcp 127.0.0.1:8080: connect: connection refused\""}"#;
        assert!(is_dialing(said));
        for other in [
            &br#"{"code":14, "message":"database is away"}"#[..],
            br#"{"code":13, "message":"Error while dialing"}"#,
            br#"{"code":"14", "message":"Error while dialing"}"#,
            br#"{"message":"Error while dialing"}"#,
            b"Error while dialing, code 14",
            &said[..said.len() - 1],
            b"",
        ] {
            assert!(!is_dialing(other), "{}", String::from_utf8_lossy(other));
        }
    }
}
