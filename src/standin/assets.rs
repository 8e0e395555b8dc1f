//! `/assets/v1`: public logos with an ETag and a date in the wrong zone; the rest needs a token.

use http::Method;

use super::hosts::Instance;
use super::message::{Answer, Call, Reply, Token, go_error, reply, set};
use super::{cors, security};

const ETAG: &str = "\"5a1f0c2e9b7d4e33\"";
/// ZITADEL's limit for an upload; its multipart reader adds the envelope.
const UPLOAD: usize = 1 << 19;

pub(super) fn matches(path: &str) -> bool {
    path.starts_with("/assets/v1/")
}

/// Answers downloads and uploads.
pub(super) async fn answer(mut call: Call) -> Answer {
    if cors::is_preflight(&call) {
        return Ok(cors::preflight(&call, &cors::API));
    }
    let (_, over) = call.body.read(UPLOAD + 4096).await?;
    let mut reply = decide(&call, over);
    security::headers(reply.headers_mut(), &security::login("none"));
    cors::actual(&call.head.method, call.header("origin"), &cors::API, reply.headers_mut());
    Ok(reply)
}

fn decide(call: &Call, over: bool) -> Reply {
    if let Err(unknown) = Instance::resolve(call) {
        return go_error(404, &unknown.message);
    }
    let name = call.path.trim_start_matches("/assets/v1/");
    let private = ["users/me/", "instance/", "org/"].iter().any(|prefix| name.starts_with(prefix));
    let reading = matches!(call.head.method, Method::GET | Method::HEAD);
    if (private || !reading) && call.token() != Token::Good {
        return go_error(401, "ID=AUTH-7fs1e Message=auth header missing");
    }
    if !reading {
        return if over {
            go_error(400, "ID=UPLOAD-2AhWK Message=file too big")
        } else {
            reply(200, "", "")
        };
    }
    if name.split('/').count() < 2 || name.ends_with("missing.png") {
        return go_error(404, "ID=DATAB-Dl2ir Message=Errors.Assets.Object.GetFailed");
    }
    if call.header("if-none-match") == Some(ETAG) {
        let mut unchanged = reply(304, "", "");
        security::cache(unchanged.headers_mut(), "public, max-age=5, s-maxage=604800", 5);
        set(unchanged.headers_mut(), "etag", ETAG);
        return unchanged;
    }
    // A 200 has no Cache-Control: it is written without WriteHeader there.
    let mut reply = reply(200, "image/png", b"\x89PNG\r\n\x1a\n-stand-in-".to_vec());
    set(reply.headers_mut(), "etag", ETAG);
    set(reply.headers_mut(), "last-modified", "Thu, 02 Oct 2025 08:00:00 UTC");
    reply
}
