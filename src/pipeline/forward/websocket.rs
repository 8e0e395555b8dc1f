//! WebSockets: whatever way the client asked (HTTP/1.1 upgrade, or extended CONNECT on HTTP/2,
//! RFC 8441), upstream is asked by an HTTP/1.1 upgrade, which every server understands.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use http::{HeaderValue, Method, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::farewell::{Farewell, Next};
use crate::body::{Body, Frames};
use crate::error::{Error, Kind};
use crate::exchange::Ending;
use crate::io::Io;
use crate::message::name::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    TRANSFER_ENCODING, UPGRADE,
};
use crate::message::{Fields, Frame, Request, Response};
use crate::upstream::Answer;
use crate::upstream::attempt::{Attempt, Carried};
use crate::upstream::cluster::send_h1;

mod farewell;

/// Bytes taken from upstream at once.
const CHUNK: usize = 16 * 1024;

/// The far end of a tunnel, and what counts it as in flight there.
type Far = (Io, Option<Carried>);

/// Opens the tunnel: the answer is 101 (or 200 to an extended CONNECT) with the stream to upstream,
/// or, where upstream declines, upstream's own answer.
///
/// # Errors
/// As any exchange; [`Kind::Protocol`] when upstream switches to something else, or answers an
/// extended CONNECT with a success that is no switch.
pub async fn open(
    attempt: Attempt,
    mut head: Request<()>,
) -> Result<Response<Result<Far, Answer>>, Error> {
    let extended = *head.method() == Method::CONNECT;
    ask(&mut head, extended);
    let response = send_h1(attempt, head, Body::Empty, None).await?;
    let (mut parts, mut answer) = response.into_parts();
    if extended && parts.status.is_success() {
        // To a CONNECT it would say that the tunnel is open (RFC 8441 §5).
        return Err(Error::with(Kind::Protocol, "upstream did not switch to websocket"));
    }
    if parts.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Response::from_parts(parts, Err(answer)));
    }
    let websocket = parts
        .headers
        .get(UPGRADE)
        .is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let Some(far) = answer.take_tunnel().filter(|_| websocket) else {
        return Err(Error::with(
            Kind::Protocol,
            "upstream switched to something else than websocket",
        ));
    };
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.remove(TRANSFER_ENCODING);
    if extended {
        parts.status = StatusCode::OK;
        parts.version = Version::HTTP_2;
        for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
            parts.headers.remove(name);
        }
    } else {
        restore(&mut parts.headers);
    }
    Ok(Response::from_parts(parts, Ok(far)))
}

/// What upstream sends, as a body; reading it also carries what the client sends.
///
/// When the client's connection is to end, the client is told so by a Close frame of our own.
pub fn tunnel((io, carried): Far, client: Body, ending: &Ending) -> Body {
    Body::boxed(Tunnel { _carried: carried, ..Tunnel::new(io, client, ending) })
}

/// Makes the request an HTTP/1.1 upgrade. An extended CONNECT has no key of its own.
fn ask(head: &mut Request<()>, extended: bool) {
    *head.method_mut() = Method::GET;
    *head.version_mut() = Version::HTTP_11;
    *head.protocol_mut() = None;
    let headers = head.headers_mut();
    restore(headers);
    if extended {
        let key = STANDARD.encode(fastrand::u128(..).to_be_bytes());
        if let Ok(key) = HeaderValue::try_from(key) {
            headers.insert(SEC_WEBSOCKET_KEY, key);
        }
        if !headers.contains_key(SEC_WEBSOCKET_VERSION) {
            headers.append(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
    }
}

/// The hop-by-hop fields of an upgrade, which are this hop's own.
fn restore(headers: &mut Fields) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Both directions in one body: reading it also carries the client's bytes upstream.
struct Tunnel {
    io: Io,
    client: Body,
    /// The client's bytes that upstream has not taken yet.
    pending: Bytes,
    client_ended: bool,
    farewell: Farewell,
    _carried: Option<Carried>,
}

impl Tunnel {
    fn new(mut io: Io, client: Body, ending: &Ending) -> Self {
        io.flush_at_once();
        let farewell = Farewell::new(ending);
        Self { io, client, pending: Bytes::new(), client_ended: false, farewell, _carried: None }
    }

    /// Carries what the client has sent; Pending when there is nothing more for now.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            while !self.pending.is_empty() {
                let n =
                    ready!(Pin::new(&mut self.io).poll_write(cx, &self.pending)).map_err(reset)?;
                self.pending.advance(n);
            }
            if self.client_ended {
                let _ = ready!(Pin::new(&mut self.io).poll_shutdown(cx));
                return Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.client).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.pending = frame.into_data().unwrap_or_default()
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => self.client_ended = true,
                Poll::Pending => {
                    ready!(Pin::new(&mut self.io).poll_flush(cx)).map_err(reset)?;
                    return Poll::Pending;
                }
            }
        }
    }
}

fn reset(error: std::io::Error) -> Error {
    Error::with(Kind::Incomplete, error)
}

impl Frames for Tunnel {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        if let Poll::Ready(Err(error)) = self.poll_client(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        let mut chunk = [0; CHUNK];
        loop {
            let next = self.farewell.poll(cx);
            match next {
                Next::Say(frame) => return Poll::Ready(Some(Ok(Frame::Data(frame)))),
                Next::End => return Poll::Ready(None),
                Next::Carry | Next::Drop => {}
            }
            let mut buf = ReadBuf::new(&mut chunk);
            let outcome = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf));
            // Once the client has been told, how upstream ends is nothing to it.
            if outcome.is_err() && matches!(next, Next::Drop) {
                return Poll::Ready(None);
            }
            outcome.map_err(reset)?;
            let read = buf.filled();
            if read.is_empty() {
                return Poll::Ready(None);
            }
            if let Next::Carry = next {
                let carried = self.farewell.carried(read);
                let data = read.get(..carried).unwrap_or(read);
                return Poll::Ready(Some(Ok(Frame::Data(Bytes::copy_from_slice(data)))));
            }
        }
    }
}
