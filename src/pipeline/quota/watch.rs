//! A body on its way to the client, of which the end (gRPC) or the beginning (all others) is looked
//! at. It passes on as it came.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::SizeHint;

use super::Hearing;
use super::words::{self, Place, SAMPLE};
use crate::body::{Body, Frames};
use crate::error::Error;
use crate::message::Frame;

/// An answer's body that is heard.
pub struct Watch {
    body: Body,
    /// Gone once it has been told.
    hearing: Option<Box<Hearing>>,
    place: Place,
    /// The beginning, at most [`SAMPLE`] bytes.
    sample: Vec<u8>,
}

impl Watch {
    /// Hears `body` for what `place` tells.
    pub fn new(body: Body, hearing: Box<Hearing>, place: Place) -> Self {
        Self { body, hearing: Some(hearing), place, sample: Vec::new() }
    }

    fn data(&mut self, data: &[u8]) {
        if self.place == Place::Trailers || self.hearing.is_none() {
            return;
        }
        let room = SAMPLE.saturating_sub(self.sample.len()).min(data.len());
        self.sample.extend_from_slice(data.get(..room).unwrap_or_default());
        if self.sample.len() >= SAMPLE || self.body.is_end_stream() {
            self.over();
        }
    }

    fn over(&mut self) {
        if let Some(hearing) = self.hearing.take() {
            hearing.said(words::body(self.place, &self.sample));
        }
    }
}

impl Frames for Watch {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.data(data);
                } else if let (Some(trailers), Place::Trailers) = (frame.trailers_ref(), self.place)
                    && let Some(hearing) = self.hearing.take()
                {
                    hearing.said(words::trailers(trailers));
                }
            }
            Poll::Ready(None) => self.over(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
