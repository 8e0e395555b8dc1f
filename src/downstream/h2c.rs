//! `Upgrade: h2c` (RFC 7540 §3.2; dropped by RFC 9113, still asked for by curl and Java clients).
//!
//! The `h2` crate knows only connections that begin with a preface. So the request that asked is
//! written as the HEADERS frame that it would have been, and put behind the client's preface and
//! SETTINGS, which must come first on the upgraded connection.

use bytes::{BufMut, Bytes, BytesMut};

use crate::message::name::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use crate::message::{Fields, Request};

/// The largest HEADERS frame that every peer accepts (RFC 9113 §4.2).
const MAX_FRAME: usize = 16_384;
const END_STREAM_AND_HEADERS: u8 = 0x1 | 0x4;

/// A request that asks to go on as stream 1 of an HTTP/2 connection.
pub struct Upgrade(Bytes);

impl Upgrade {
    /// Whether `request` asks for it, and can be written as one frame. A request with a body
    /// goes on as HTTP/1.1, as RFC 7540 allows.
    pub fn asked_for<B: http_body::Body>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        let asks = lists(headers, UPGRADE.as_str(), "h2c")
            && lists(headers, CONNECTION.as_str(), "upgrade")
            && lists(headers, CONNECTION.as_str(), "http2-settings")
            && headers.get_all("http2-settings").iter().count() == 1;
        if !asks || !request.body().is_end_stream() {
            return None;
        }
        let block = block(request)?;
        let mut frame = BytesMut::with_capacity(9 + block.len());
        frame.put_uint(block.len() as u64, 3);
        frame.put_u8(0x1);
        frame.put_u8(END_STREAM_AND_HEADERS);
        frame.put_u32(1);
        frame.put_slice(&block);
        Some(Self(frame.freeze()))
    }

    /// The frames that go behind the client's first SETTINGS.
    pub fn frames(self) -> Bytes {
        self.0
    }
}

fn lists(headers: &Fields, name: &str, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// The header block: literals without indexing (RFC 7541 §6.2.2), so that no table is touched.
fn block<B>(request: &Request<B>) -> Option<BytesMut> {
    let headers = request.headers();
    let mut block = BytesMut::new();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let authority = headers.get(HOST)?;
    literal(&mut block, b":method", request.method().as_str().as_bytes());
    literal(&mut block, b":scheme", b"http");
    literal(&mut block, b":authority", authority.as_bytes());
    literal(&mut block, b":path", path.as_bytes());
    for (name, value) in headers {
        let hop = [CONNECTION, UPGRADE, HOST, TRANSFER_ENCODING, TE].contains(name)
            || ["http2-settings", "keep-alive", "proxy-connection"].contains(&name.as_str());
        if !hop {
            literal(&mut block, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    (block.len() <= MAX_FRAME).then_some(block)
}

fn literal(block: &mut BytesMut, name: &[u8], value: &[u8]) {
    block.put_u8(0);
    string(block, name);
    string(block, value);
}

/// A string literal without Huffman coding: its length with a 7-bit prefix (RFC 7541 §5.1).
fn string(block: &mut BytesMut, text: &[u8]) {
    const PREFIX: usize = 127;
    if text.len() < PREFIX {
        block.put_u8(text.len() as u8);
    } else {
        block.put_u8(PREFIX as u8);
        let mut rest = text.len() - PREFIX;
        while rest >= 128 {
            block.put_u8((rest % 128) as u8 | 0x80);
            rest /= 128;
        }
        block.put_u8(rest as u8);
    }
    block.put_slice(text);
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};

    use super::*;

    fn asking() -> http::request::Builder {
        http::Request::builder()
            .uri("/a?b=c")
            .header("host", "id.example.com")
            .header("connection", "Upgrade, HTTP2-Settings")
            .header("upgrade", "h2c")
            .header("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA")
            .header("x-long", "y".repeat(300))
    }

    #[test]
    fn a_request_becomes_the_headers_frame_that_it_would_have_been() {
        let request = Request::from(asking().body(Empty::<Bytes>::new()).unwrap());
        let frame = Upgrade::asked_for(&request).unwrap().frames();
        assert_eq!(frame[3..9], [0x1, 0x5, 0, 0, 0, 1]);
        let text = String::from_utf8_lossy(&frame);
        assert!(text.contains(":path\u{6}/a?b=c") && text.contains("id.example.com"));
        assert!(!text.contains("h2c") && !text.contains("http2-settings"));
    }

    #[test]
    fn a_request_with_a_body_or_without_settings_stays_http1() {
        let with_body = Request::from(asking().body(Full::new(Bytes::from_static(b"x"))).unwrap());
        assert!(Upgrade::asked_for(&with_body).is_none());
        let mut request = Request::from(asking().body(Empty::<Bytes>::new()).unwrap());
        request.headers_mut().remove("http2-settings");
        assert!(Upgrade::asked_for(&request).is_none());
    }
}
