//! A body on its way in, read by many while it grows: one buffer for all workers, whose readers wait
//! for what is still to come. Each reader holds a place in it and no copy.
//!
//! The codings that readers want are made once, as the body comes, and shared like the body itself.
//! The lock is held for as long as it takes to push or clone one piece, and only while an object is
//! on its way in.

use std::collections::HashMap;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::entry::Head;
use super::store::Reserved;
use crate::error::{Error, Kind};
use crate::pipeline::coding::Coding;

/// A body on its way in.
pub struct Fill {
    /// Its head.
    pub head: Arc<Head>,
    /// Its length, uncoded; `None`: upstream does not say, and only the one who asked reads along.
    pub length: Option<u64>,
    /// Its share of the memory for what is on its way, which a slow reader holds longer than the fetch.
    room: OnceLock<Arc<Reserved>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// As it comes, then in each coding that somebody wanted.
    tapes: Vec<Tape>,
    /// Nothing new can be wanted any more.
    closing: bool,
    failed: bool,
    wakers: HashMap<u32, Waker>,
    readers: u32,
}

struct Tape {
    coding: Coding,
    pieces: Vec<Bytes>,
    whole: bool,
}

impl Tape {
    const fn new(coding: Coding) -> Self {
        Self { coding, pieces: Vec::new(), whole: false }
    }
}

impl Fill {
    /// Nothing is there yet.
    pub fn new(head: Arc<Head>, length: Option<u64>) -> Arc<Self> {
        let state = State { tapes: vec![Tape::new(Coding::Identity)], ..State::default() };
        Arc::new(Self { head, length, room: OnceLock::new(), state: Mutex::new(state) })
    }

    /// Holds the memory until the last reader has gone.
    pub fn hold(&self, room: Arc<Reserved>) {
        let _ = self.room.set(room);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can leave the state half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reader of the whole in `coding`; `None` where it is too late to want it.
    pub fn read(self: &Arc<Self>, coding: Coding) -> Option<Reader> {
        let mut state = self.state();
        if !state.tapes.iter().any(|tape| tape.coding == coding) {
            if state.closing {
                return None;
            }
            state.tapes.push(Tape::new(coding));
        }
        let range = 0..u64::MAX;
        Some(self.reader(&mut state, coding, range))
    }

    /// A reader of some of it, uncoded.
    pub fn read_part(self: &Arc<Self>, range: Range<u64>) -> Reader {
        let mut state = self.state();
        self.reader(&mut state, Coding::Identity, range)
    }

    fn reader(
        self: &Arc<Self>,
        state: &mut MutexGuard<'_, State>,
        coding: Coding,
        range: Range<u64>,
    ) -> Reader {
        state.readers = state.readers.wrapping_add(1);
        let fill = Arc::clone(self);
        Reader { fill, id: state.readers, coding, next: 0, at: 0, range }
    }

    /// The codings that are wanted.
    pub fn wanted(&self) -> Vec<Coding> {
        let state = self.state();
        state.tapes.iter().skip(1).map(|tape| tape.coding).collect()
    }

    /// No more codings can be wanted, unless there are more than `known` already.
    pub fn close(&self, known: usize) -> bool {
        let mut state = self.state();
        state.closing = state.tapes.len() - 1 <= known;
        state.closing
    }

    /// One more piece.
    pub fn push(&self, coding: Coding, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.change(|state| {
            if let Some(tape) = state.tapes.iter_mut().find(|tape| tape.coding == coding) {
                tape.pieces.push(piece);
            }
        });
    }

    /// There is no more.
    pub fn end(&self, coding: Coding) {
        self.change(|state| {
            if let Some(tape) = state.tapes.iter_mut().find(|tape| tape.coding == coding) {
                tape.whole = true;
            }
        });
    }

    /// There will be no more, though it is not whole. After the end it changes nothing.
    pub fn fail(&self) {
        self.change(|state| state.failed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_values().for_each(Waker::wake);
    }
}

/// Reads a body that is still on its way in.
pub struct Reader {
    fill: Arc<Fill>,
    id: u32,
    coding: Coding,
    next: usize,
    at: u64,
    range: Range<u64>,
}

impl Reader {
    /// The next piece of the range; `Ready(None)` at its end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let mut state = self.fill.state();
        let State { tapes, failed, wakers, .. } = &mut *state;
        let Some(tape) = tapes.iter().find(|tape| tape.coding == self.coding) else {
            return Poll::Ready(Some(Err(Kind::Internal.into())));
        };
        while let Some(piece) = tape.pieces.get(self.next).filter(|_| self.at < self.range.end) {
            let start = self.at;
            let length = piece.len() as u64;
            self.next += 1;
            self.at += length;
            let within = |edge: u64| edge.saturating_sub(start).min(length) as usize;
            let part = piece.slice(within(self.range.start)..within(self.range.end));
            if !part.is_empty() {
                return Poll::Ready(Some(Ok(part)));
            }
        }
        if self.at >= self.range.end || tape.whole {
            return Poll::Ready(None);
        }
        if *failed {
            let why = "the answer that was being stored broke off";
            return Poll::Ready(Some(Err(Error::with(Kind::Incomplete, why))));
        }
        wakers.insert(self.id, cx.waker().clone());
        Poll::Pending
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.poll_piece(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.fill.state().wakers.remove(&self.id);
    }
}

/// Pieces that are all there.
pub struct Pieces(std::vec::IntoIter<Bytes>);

impl Pieces {
    /// In this order.
    pub fn new(pieces: Vec<Bytes>) -> Self {
        Self(pieces.into_iter())
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_slice().iter().map(|piece| piece.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests;
