//! Plain HTTP for tests, over both versions:
//!
//! - `POST /echo`: the body back as it comes, trailers included;
//! - `GET /bytes/N`: N zero bytes, at constant memory;
//! - `POST /sink`: `{"bytes":N}`;
//! - `GET /headers`: what arrived, as JSON;
//! - `GET /early-hints`: 103 with Link, then 200;
//! - `POST /continue`: 100 only when it begins to read; `/continue/reject`: 417 unread;
//! - `GET /big-headers/N`: N bytes of response headers;
//! - `GET /sse?n=`: an event every 100 ms, without end unless `n` is given.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, HeaderName, TRAILER};
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use serde_json::json;

use super::message::{Answer, Call, Reply, add, reply, set, streamed};

const ZEROS: Bytes = Bytes::from_static(&[0; 64 * 1024]);
const HINT: &str = "</style.css>; rel=preload; as=style";
const EVENT: Duration = Duration::from_millis(100);

/// Which helper a path names.
pub(super) enum Helper {
    Echo,
    Bytes(u64),
    Sink,
    Headers,
    EarlyHints,
    Continue,
    Reject,
    BigHeaders(usize),
    Events,
}

/// The helper of a path, if any.
pub(super) fn matches(path: &str) -> Option<Helper> {
    Some(match path {
        "/echo" => Helper::Echo,
        "/sink" => Helper::Sink,
        "/headers" => Helper::Headers,
        "/early-hints" => Helper::EarlyHints,
        "/continue" => Helper::Continue,
        "/continue/reject" => Helper::Reject,
        "/sse" => Helper::Events,
        _ => {
            if let Some(number) = path.strip_prefix("/bytes/") {
                return number.parse().ok().map(Helper::Bytes);
            }
            return path.strip_prefix("/big-headers/")?.parse().ok().map(Helper::BigHeaders);
        }
    })
}

/// Does what the helper is for.
pub(super) async fn answer(mut call: Call, helper: Helper) -> Answer {
    match helper {
        Helper::Echo => Ok(echo(call)),
        Helper::Bytes(total) => Ok(zeros(total)),
        Helper::Sink | Helper::Continue => {
            let mut bytes = 0;
            while let Some(frame) = call.body.frame().await {
                bytes += frame?.data_ref().map_or(0, Bytes::len);
            }
            Ok(reply(200, "application/json", format!("{{\"bytes\":{bytes}}}")))
        }
        Helper::Headers => {
            call.body.read(0).await?;
            Ok(headers(&call))
        }
        Helper::EarlyHints => {
            let mut hint = Response::new(());
            *hint.status_mut() = StatusCode::EARLY_HINTS;
            set(hint.headers_mut(), "link", HINT);
            call.hints.send(hint);
            let mut last = reply(200, "text/plain; charset=utf-8", "after the hints\n");
            set(last.headers_mut(), "link", HINT);
            Ok(last)
        }
        Helper::Reject => Ok(reply(417, "text/plain; charset=utf-8", "not wanted\n")),
        Helper::BigHeaders(total) => Ok(big_headers(total)),
        Helper::Events => Ok(events(&call)),
    }
}

fn echo(call: Call) -> Reply {
    let mut head = reply(200, "", "");
    let headers = head.headers_mut();
    headers.remove(CONTENT_LENGTH);
    for name in ["content-type", "content-encoding", "content-length"] {
        if let Some(value) = call.head.headers.get(name) {
            headers.insert(HeaderName::from_static(name), value.clone());
        }
    }
    // HTTP/1.1 sends only trailers that were announced.
    for value in call.head.headers.get_all(TRAILER) {
        headers.append(TRAILER, value.clone());
    }
    head.map(|_| streamed(call.body.into_frames()))
}

fn zeros(total: u64) -> Reply {
    let mut head = reply(200, "application/octet-stream", "");
    head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(total));
    let body = stream::unfold(total, |left| async move {
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
        (size > 0).then(|| (Ok(Frame::data(ZEROS.slice(..size))), left - size as u64))
    });
    head.map(|_| streamed(body))
}

fn headers(call: &Call) -> Reply {
    let list: Vec<[String; 2]> = call
        .head
        .headers
        .iter()
        .map(|(name, value)| {
            [name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()]
        })
        .collect();
    let body = json!({
        "method": call.head.method.as_str(),
        "target": call.head.uri.path_and_query().map(ToString::to_string),
        "authority": call.authority,
        "version": format!("{:?}", call.head.version),
        "peer_ip": call.peer.ip().to_string(),
        "peer_port": call.peer.port(),
        "headers": list,
    });
    reply(200, "application/json", body.to_string())
}

fn big_headers(total: usize) -> Reply {
    const FIELD: usize = 4096;
    let mut reply = reply(200, "text/plain; charset=utf-8", "big\n");
    let mut left = total;
    while left > 0 {
        let size = left.min(FIELD);
        add(reply.headers_mut(), "x-big", &"b".repeat(size));
        left -= size;
    }
    reply
}

fn events(call: &Call) -> Reply {
    let limit: u64 = call.query("n").and_then(|n| n.parse().ok()).unwrap_or(u64::MAX);
    let mut head = reply(200, "text/event-stream", "");
    head.headers_mut().remove(CONTENT_LENGTH);
    set(head.headers_mut(), "cache-control", "no-cache");
    let body = stream::unfold(0, move |sent| async move {
        if sent == limit {
            return None;
        }
        if sent > 0 {
            tokio::time::sleep(EVENT).await;
        }
        Some((Ok(Frame::data(Bytes::from(format!("id: {sent}\ndata: tick {sent}\n\n")))), sent + 1))
    });
    head.map(|_| streamed(body))
}
