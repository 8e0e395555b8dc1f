//! A body that is coded as it passes. What upstream has sent is with the client before upstream
//! sends more: whenever it pauses, the encoder gives out all that it has.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::SizeHint;

use super::head;
use crate::body::Frames;
use crate::error::{Error, Kind};
use crate::message::{Fields, Frame};
use crate::pipeline::coding::load::Load;
use crate::pipeline::coding::stream::Encoder;

/// The most that an encoder looks back, in bytes: with it a stream takes 1 to 3 MiB.
pub const WINDOW: u64 = 256 * 1024;

/// Bytes of input that are coded before other streams have their turn: a quarter of a millisecond
/// at most of the levels used here.
const TURN: usize = 16 * 1024;

/// A body on its way through an encoder.
pub struct Coded<B> {
    body: B,
    /// `None`: all is given out but perhaps the trailers.
    encoder: Option<Encoder>,
    load: Rc<Load>,
    /// Input that waits for its turn.
    input: Bytes,
    /// What is left of this turn.
    turn: usize,
    /// The encoder may hold something back.
    held: bool,
    trailers: Option<Fields>,
}

impl<B: Frames + Unpin> Coded<B> {
    /// `body`, coded by `encoder`; the time that it takes goes on the account of `load`.
    pub fn new(body: B, encoder: Encoder, load: Rc<Load>) -> Self {
        Self {
            body,
            encoder: Some(encoder),
            load,
            input: Bytes::new(),
            turn: TURN,
            held: false,
            trailers: None,
        }
    }

    /// What comes next of what is here; `None`: ask upstream for more.
    fn code(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        while !self.input.is_empty() {
            let Some(encoder) = &mut self.encoder else { return Poll::Ready(None) };
            if self.turn == 0 {
                self.turn = TURN;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let piece = self.input.split_to(self.input.len().min(self.turn));
            self.turn -= piece.len();
            self.held = true;
            let coded = timed(&self.load, || encoder.push(&piece));
            if !matches!(&coded, Ok(coded) if coded.is_empty()) {
                return Poll::Ready(Some(coded));
            }
        }
        Poll::Ready(None)
    }

    /// The last of the encoder.
    fn finish(&mut self) -> Option<Result<Frame, Error>> {
        let encoder = self.encoder.take()?;
        match timed(&self.load, || encoder.finish()) {
            Ok(rest) if rest.is_empty() => {
                self.trailers.take().map(|last| Ok(Frame::Trailers(last)))
            }
            Ok(rest) => Some(Ok(Frame::Data(rest))),
            Err(error) => Some(Err(error)),
        }
    }

    /// Upstream pauses: what the encoder still has.
    fn flush(&mut self) -> Poll<Option<Result<Frame, Error>>> {
        self.turn = TURN;
        if !std::mem::take(&mut self.held) {
            return Poll::Pending;
        }
        let Some(encoder) = &mut self.encoder else { return Poll::Pending };
        match timed(&self.load, || encoder.flush()) {
            Ok(rest) if rest.is_empty() => Poll::Pending,
            Ok(rest) => Poll::Ready(Some(Ok(Frame::Data(rest)))),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}

fn timed(load: &Load, work: impl FnOnce() -> std::io::Result<Bytes>) -> Result<Bytes, Error> {
    let started = Instant::now();
    let done = work();
    load.spent(started, Instant::now());
    done.map_err(|error| Error::with(Kind::Internal, error))
}

impl<B: Frames + Unpin> Frames for Coded<B> {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        let this = &mut *self;
        loop {
            match this.code(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(coded)) => return Poll::Ready(Some(coded.map(Frame::Data))),
                Poll::Ready(None) => {}
            }
            if this.encoder.is_none() {
                return Poll::Ready(this.trailers.take().map(|last| Ok(Frame::Trailers(last))));
            }
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Pending => return this.flush(),
                Poll::Ready(None) => return Poll::Ready(this.finish()),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.input = data,
                    Err(frame) => {
                        let mut trailers = frame.into_trailers().unwrap_or_default();
                        head::without_digests(&mut trailers);
                        this.trailers = Some(trailers);
                        return Poll::Ready(this.finish());
                    }
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests;
