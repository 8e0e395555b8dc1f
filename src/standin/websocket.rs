//! `/ws`: a WebSocket echo (RFC 6455) over an HTTP/1.1 upgrade, for tests; ZITADEL has none.
//! Frames are unmasked and sent back one by one; pings become pongs, a close is answered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::message::{Call, Reply, go_error, reply};

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The largest frame taken.
const LIMIT: u64 = 16 << 20;

const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Switches protocols, or says what is missing.
pub(super) fn answer(mut call: Call) -> Reply {
    let wants = call.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    let key = call.head.headers.get(SEC_WEBSOCKET_KEY).cloned();
    let upgrade = call.head.extensions.remove::<OnUpgrade>();
    let (true, Some(key), Some(upgrade)) = (wants, key, upgrade) else {
        let mut refused = go_error(426, "a WebSocket is wanted here");
        refused.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        refused.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        return refused;
    };
    tokio::spawn(async move {
        if let Ok(io) = upgrade.await {
            // However it ends, the connection is closed.
            let _ = echo(TokioIo::new(io)).await;
        }
    });
    let mut switch = reply(101, "", "");
    *switch.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = switch.headers_mut();
    headers.remove("content-length");
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = accept(key.as_bytes()).parse() {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    switch
}

/// The proof that the key was read (RFC 6455 §4.2.2).
pub(super) fn accept(key: &[u8]) -> String {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID.as_bytes()].concat()))
}

async fn echo<T: AsyncRead + AsyncWrite + Unpin>(mut io: T) -> io::Result<()> {
    loop {
        let mut start = [0; 2];
        io.read_exact(&mut start).await?;
        let opcode = start[0] & 0x0f;
        let length = match start[1] & 0x7f {
            126 => u64::from(io.read_u16().await?),
            127 => io.read_u64().await?,
            short => u64::from(short),
        };
        let is_masked = start[1] & 0x80 != 0;
        if !is_masked || length > LIMIT {
            // An unmasked frame of a client is an error (§5.1), and so is one too large: 1002.
            io.write_all(&[0x88, 2, 0x03, 0xea]).await?;
            return io.shutdown().await;
        }
        let mut mask = [0; 4];
        io.read_exact(&mut mask).await?;
        let mut payload = vec![0; usize::try_from(length).unwrap_or(0)];
        io.read_exact(&mut payload).await?;
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        match opcode {
            PONG => {}
            PING => send(&mut io, 0x80 | PONG, &payload).await?,
            CLOSE => {
                send(&mut io, 0x80 | CLOSE, &payload).await?;
                return io.shutdown().await;
            }
            // Fragments keep their flags: what comes back is what came.
            _ => send(&mut io, start[0], &payload).await?,
        }
    }
}

async fn send<T: AsyncWrite + Unpin>(io: &mut T, first: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => frame.push(short),
        (_, Ok(middle)) => {
            frame.push(126);
            frame.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    io.write_all(&frame).await?;
    io.flush().await
}
