//! An answer's body on its way from gRPC to gRPC-Web: data as it is (or in base64), trailers as a
//! frame with the flag 0x80.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::{GRPC_STATUS, text};
use crate::body::{Body, Frames};
use crate::error::{Error, Kind};
use crate::message::{Fields, Frame};

/// Marks the frame that carries trailers.
const TRAILER_FRAME: u8 = 0x80;

/// A gRPC answer's body as gRPC-Web.
pub(super) struct Framed {
    body: Body,
    text: bool,
    /// The trailers have been given out.
    ended: bool,
}

impl Framed {
    pub(super) fn new(body: Body, text: bool) -> Self {
        Self { body, text, ended: false }
    }
}

impl Frames for Framed {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // A body that ends without trailers simply ends here: who delivers it knows that it owes
        // a status, and why.
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)?) else {
            return Poll::Ready(None);
        };
        let piece = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                self.ended = true;
                let trailers = frame.into_trailers().unwrap_or_default();
                if !trailers.contains_key(&GRPC_STATUS) {
                    let error = Error::with(Kind::Incomplete, "trailers without grpc-status");
                    return Poll::Ready(Some(Err(error)));
                }
                trailer_frame(&trailers)
            }
        };
        let piece = if self.text { text::encode(&piece) } else { piece };
        Poll::Ready(Some(Ok(Frame::Data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }
}

/// Trailers as the last frame of a body: lines of HTTP/1 header text, names in lower case.
pub(super) fn trailer_frame(trailers: &Fields) -> Bytes {
    let mut frame = vec![TRAILER_FRAME, 0, 0, 0, 0];
    for (name, value) in trailers {
        frame.extend_from_slice(name.as_str().as_bytes());
        frame.extend_from_slice(b": ");
        frame.extend_from_slice(value.as_bytes());
        frame.extend_from_slice(b"\r\n");
    }
    // Bounded by what upstream's connection takes as a head (72 KiB).
    let length = u32::try_from(frame.len() - 5).unwrap_or(u32::MAX).to_be_bytes();
    for (slot, byte) in frame.iter_mut().skip(1).zip(length) {
        *slot = byte;
    }
    frame.into()
}
