//! Bodies for tests: made of a stream, and read to their end.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;

use super::Frames;
use crate::error::Error;
use crate::message::{Fields, Frame};

/// A body of these frames.
pub struct Script<S>(pub S);

impl<S: Stream<Item = Result<Frame, Error>> + Unpin> Frames for Script<S> {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        Pin::new(&mut self.0).poll_next(cx)
    }
}

/// All of a body.
#[derive(Debug, Default)]
pub struct Whole {
    /// Its data.
    pub bytes: Bytes,
    /// Its trailers.
    pub trailers: Option<Fields>,
}

/// Reads a body to its end.
pub async fn whole(body: impl Frames) -> Result<Whole, Error> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    let mut trailers = None;
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        match frame? {
            Frame::Data(data) => bytes.extend_from_slice(&data),
            Frame::Trailers(fields) => trailers = Some(fields),
        }
    }
    Ok(Whole { bytes: bytes.into(), trailers })
}
