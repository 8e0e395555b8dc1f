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
use http_body::SizeHint;

use super::entry::Head;
use super::store::Reserved;
use crate::body::Frames;
use crate::error::{Error, Kind};
use crate::message::Frame;
use crate::pipeline::coding::stream::Encoder;
use crate::pipeline::coding::{Coding, Level};

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
    /// Its encoder has failed.
    broken: bool,
    /// Who is to code it, until the one who reads the body takes it up.
    wanted: Option<Wanted>,
}

/// A coding that somebody wants.
pub struct Wanted {
    /// Which.
    pub coding: Coding,
    /// How well.
    pub level: Level,
    /// By what.
    pub encoder: Encoder,
}

impl Tape {
    const fn new(coding: Coding, wanted: Option<Wanted>) -> Self {
        Self { coding, pieces: Vec::new(), whole: false, broken: false, wanted }
    }
}

impl Fill {
    /// Nothing is there yet.
    pub fn new(head: Arc<Head>, length: Option<u64>) -> Arc<Self> {
        let state = State { tapes: vec![Tape::new(Coding::Identity, None)], ..State::default() };
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

    /// A reader of the whole in `coding`; uncoded where that cannot be had: nobody has wanted it yet,
    /// and it is too late, `level` is none since the time for coding is used up, or there is no
    /// memory for an encoder.
    pub fn read(self: &Arc<Self>, coding: Coding, level: Option<Level>) -> Reader {
        let mut state = self.state();
        let coding = if self.offers(&mut state, coding, level) { coding } else { Coding::Identity };
        self.reader(&mut state, coding, 0..u64::MAX)
    }

    /// Whether there is a tape of `coding`, or from now on.
    fn offers(&self, state: &mut State, coding: Coding, level: Option<Level>) -> bool {
        if let Some(tape) = state.tapes.iter().find(|tape| tape.coding == coding) {
            return !tape.broken;
        }
        let Some(level) = level.filter(|_| !state.closing) else { return false };
        let Ok(encoder) = Encoder::new(coding, level, self.length) else { return false };
        state.tapes.push(Tape::new(coding, Some(Wanted { coding, level, encoder })));
        true
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

    /// What has come to be wanted since this was last asked.
    pub fn wanted(&self) -> Vec<Wanted> {
        self.state().tapes.iter_mut().filter_map(|tape| tape.wanted.take()).collect()
    }

    /// No more codings can be wanted, unless one is that nobody has taken up yet.
    pub fn close(&self) -> bool {
        let mut state = self.state();
        state.closing = state.tapes.iter().all(|tape| tape.wanted.is_none());
        state.closing
    }

    /// One more piece.
    pub fn push(&self, coding: Coding, piece: Bytes) {
        if !piece.is_empty() {
            self.tape(coding, |tape| tape.pieces.push(piece));
        }
    }

    /// There is no more.
    pub fn end(&self, coding: Coding) {
        self.tape(coding, |tape| tape.whole = true);
    }

    /// The encoder has failed: those who read this coding are told, others read another.
    pub fn break_off(&self, coding: Coding) {
        self.tape(coding, |tape| tape.broken = true);
    }

    fn tape(&self, coding: Coding, change: impl FnOnce(&mut Tape)) {
        self.change(|state| {
            if let Some(tape) = state.tapes.iter_mut().find(|tape| tape.coding == coding) {
                change(tape);
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
    /// How it is coded.
    pub const fn coding(&self) -> Coding {
        self.coding
    }

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
        if *failed || tape.broken {
            let why = "the answer that was being stored broke off";
            return Poll::Ready(Some(Err(Error::with(Kind::Incomplete, why))));
        }
        wakers.insert(self.id, cx.waker().clone());
        Poll::Pending
    }
}

impl Frames for Reader {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        self.poll_piece(cx).map(|piece| piece.map(|piece| piece.map(Frame::Data)))
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

impl Frames for Pieces {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::Data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_slice().iter().map(|piece| piece.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests;
