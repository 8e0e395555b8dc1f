//! Failures for REST clients: `application/problem+json` (RFC 9457). The type is `about:blank`: the
//! problem is the HTTP status and no other (§4.2.1); the request's id is an extension member (§3.2).

use http::HeaderValue;
use serde_json::json;

use super::{Answer, phrase};
use crate::error::Kind;

pub(super) fn json(kind: Kind, request_id: Option<&str>) -> Answer {
    let status = kind.status();
    let mut problem = json!({
        "type": "about:blank",
        "title": phrase(status),
        "status": status.as_u16(),
        "detail": kind.message(),
    });
    if let (Some(id), Some(members)) = (request_id, problem.as_object_mut()) {
        members.insert("request_id".to_owned(), id.into());
    }
    Answer::new(status, HeaderValue::from_static("application/problem+json"), problem.to_string())
}
