//! Text mode's base64, both ways. A sender may pad wherever it flushes, so padding ends a group and
//! not the body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::body::{Body, Frames};
use crate::error::{Error, Kind};
use crate::message::Frame;

/// Four characters stand for three bytes.
const GROUP: usize = 4;

/// A piece of an answer, padded by itself: nothing is held back until more comes, and clients must
/// read it so (they are told to in `PROTOCOL-WEB.md`, "Message framing").
pub(super) fn encode(piece: &[u8]) -> Bytes {
    STANDARD.encode(piece).into()
}

/// A request's body, out of base64. Holds back three characters at most.
pub(super) struct Decoded {
    body: Body,
    decoder: Decoder,
}

impl Decoded {
    pub(super) fn new(body: Body) -> Self {
        Self { body, decoder: Decoder::default() }
    }
}

impl Frames for Decoded {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        loop {
            let data = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None if self.decoder.is_between_groups() => return Poll::Ready(None),
                None => {
                    self.decoder = Decoder::default();
                    return Poll::Ready(Some(Err(malformed("base64 ended within a group"))));
                }
            };
            match self.decoder.push(&data) {
                // Less than a group has come.
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::Data(bytes.into())))),
                Err(error) => return Poll::Ready(Some(Err(malformed(error)))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.decoder.is_between_groups()
    }
}

fn malformed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::with(Kind::BadRequest, cause)
}

/// Base64 that comes in pieces.
#[derive(Default)]
struct Decoder {
    /// The group that has begun.
    begun: [u8; GROUP],
    have: usize,
}

impl Decoder {
    fn is_between_groups(&self) -> bool {
        self.have == 0
    }

    /// What the next characters stand for, as far as their groups are whole.
    fn push(&mut self, mut text: &[u8]) -> Result<Vec<u8>, base64::DecodeError> {
        let mut bytes = Vec::with_capacity(text.len() / GROUP * 3 + 3);
        if self.have > 0 {
            text = self.fill(text);
            if self.have < GROUP {
                return Ok(bytes);
            }
            self.have = 0;
            STANDARD.decode_vec(self.begun, &mut bytes)?;
        }
        let (mut whole, rest) =
            text.split_at_checked(text.len() / GROUP * GROUP).unwrap_or((text, &[]));
        // Up to the group that padding ends, again and again.
        while let Some(pad) = whole.iter().position(|byte| *byte == b'=') {
            let end = (pad / GROUP + 1) * GROUP;
            let (padded, after) = whole.split_at_checked(end).unwrap_or((whole, &[]));
            STANDARD.decode_vec(padded, &mut bytes)?;
            whole = after;
        }
        STANDARD.decode_vec(whole, &mut bytes)?;
        self.fill(rest);
        Ok(bytes)
    }

    /// Takes what the begun group lacks; returns the rest.
    fn fill<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let (taken, rest) = text.split_at_checked(GROUP - self.have).unwrap_or((text, &[]));
        for (slot, byte) in self.begun.iter_mut().skip(self.have).zip(taken) {
            *slot = *byte;
        }
        self.have += taken.len();
        rest
    }
}
