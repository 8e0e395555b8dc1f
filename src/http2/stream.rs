//! One stream's state, and all streams of a connection.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::task::Waker;

use bytes::{Bytes, BytesMut};

use super::error::Error;
use super::hpack::encode::Plain;
use crate::message::{Fields, Response};

/// Pieces up to this length are copied, and put together as they come. Longer ones are not, but keep
/// the memory that was read into: for a short one that would be far more than it is.
const SMALL: usize = 8 * 1024;
/// What is put together becomes a piece of its own from this length on.
const TOGETHER: usize = 16 * 1024;

/// Where a stream's state stands; valid while one of its handles lives.
pub(super) type Key = usize;

/// One stream.
#[derive(Default)]
pub(super) struct Stream {
    /// Its identifier; 0 in a place that is free.
    pub(super) id: u32,
    /// How many ends are held; the state goes with the last one.
    pub(super) handles: u8,
    /// The peer has ended its half.
    pub(super) recv_closed: bool,
    /// We have ended ours.
    pub(super) send_closed: bool,
    /// Neither half goes on: the peer knows it no more.
    pub(super) closed: bool,
    /// What ended it before its time.
    pub(super) error: Option<Error>,
    /// What we send tells its length beforehand.
    pub(super) has_length: bool,
    /// It asks for a head alone.
    pub(super) asks_head: bool,
    /// An answer's head that nobody has taken yet.
    pub(super) head: Option<Response<()>>,
    /// The final head has gone.
    pub(super) head_sent: bool,
    /// The final head has come.
    pub(super) has_head: bool,
    /// Nobody reads any more.
    pub(super) deaf: bool,
    /// Interim heads so far.
    pub(super) interims: u8,
    /// Interim heads that nobody has taken yet.
    pub(super) interim: VecDeque<Response<()>>,
    /// Data that nobody has taken yet.
    pub(super) received: Received,
    /// Trailers that nobody has taken yet.
    pub(super) trailers: Option<Fields>,
    /// How many bytes of data are still to come by `content-length`.
    pub(super) expected: Option<u64>,
    /// What the peer lets us send.
    pub(super) send_window: i64,
    /// What we let the peer send.
    pub(super) recv_window: i64,
    /// What was taken since the peer was last given window.
    pub(super) owed: usize,
    /// Waits in line for the connection's window or room.
    pub(super) in_line: bool,
    /// Its turn has come.
    pub(super) granted: bool,
    /// Whoever reads.
    pub(super) reader: Option<Waker>,
    /// Whoever sends, or waits for a reset.
    pub(super) writer: Option<Waker>,
}

/// Data in the order in which it came.
#[derive(Default)]
pub(super) struct Received {
    /// Nearly always all there is.
    first: Bytes,
    ready: VecDeque<Bytes>,
    together: BytesMut,
}

impl Received {
    /// Keeps data until it is taken.
    pub(super) fn push(&mut self, data: Data<'_>) {
        match data {
            Data::Small(bytes) => self.push_small(bytes),
            Data::Large(bytes) if self.is_empty() => self.first = bytes,
            Data::Large(bytes) => {
                self.seal();
                self.ready.push_back(bytes);
            }
        }
    }

    fn push_small(&mut self, bytes: &[u8]) {
        if self.is_empty() {
            self.first = Bytes::copy_from_slice(bytes);
            return;
        }
        if self.ready.is_empty() && self.together.is_empty() && Data::is_small(self.first.len()) {
            // Its memory is taken over as it is: nobody else has it.
            self.together = std::mem::take(&mut self.first).into();
        }
        if self.together.len() + bytes.len() > TOGETHER {
            self.seal();
        }
        self.together.extend_from_slice(bytes);
    }

    /// What was put together becomes a piece.
    fn seal(&mut self) {
        if !self.together.is_empty() {
            self.ready.push_back(std::mem::take(&mut self.together).freeze());
        }
    }

    /// The next piece.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        if !self.first.is_empty() {
            return Some(std::mem::take(&mut self.first));
        }
        if let Some(bytes) = self.ready.pop_front() {
            return Some(bytes);
        }
        (!self.together.is_empty()).then(|| std::mem::take(&mut self.together).freeze())
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.ready.is_empty() && self.together.is_empty()
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        let ready = self.ready.iter().map(Bytes::len).sum::<usize>();
        self.first.len() + ready + self.together.len()
    }
}

impl Stream {
    /// Makes it a place for the next one.
    fn clear(&mut self) {
        // The rare ones first looked at: most hold nothing.
        if self.error.is_some() || !self.interim.is_empty() || !self.received.is_empty() {
            (self.error, self.interim, self.received) = Default::default();
        }
        self.head = None;
        self.trailers = None;
        (self.reader, self.writer) = (None, None);
        (self.id, self.handles) = (0, 0);
        (self.recv_closed, self.send_closed, self.closed) = (false, false, false);
        (self.asks_head, self.has_head, self.has_length) = (false, false, false);
        (self.deaf, self.head_sent, self.interims) = (false, false, 0);
        (self.in_line, self.granted) = (false, false);
        (self.expected, self.owed) = (None, 0);
    }

    /// Tells both ends that something has changed.
    pub(super) fn wake(&mut self) {
        self.wake_reader();
        self.wake_writer();
    }

    /// Tells whoever reads.
    pub(super) fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Tells whoever sends.
    pub(super) fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

/// Remembers whom to tell; not anew if it is known already.
pub(super) fn remember(place: &mut Option<Waker>, waker: &Waker) {
    match place {
        Some(known) if known.will_wake(waker) => {}
        _ => *place = Some(waker.clone()),
    }
}

/// Data as it was read.
pub(super) enum Data<'a> {
    /// To be copied.
    Small(&'a [u8]),
    /// To be kept as it is.
    Large(Bytes),
}

impl Data<'_> {
    /// Whether so many bytes should be copied.
    pub(super) const fn is_small(length: usize) -> bool {
        length <= SMALL
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Small(bytes) => bytes.len(),
            Self::Large(bytes) => bytes.len(),
        }
    }
}

/// All streams of a connection that are open, or whose ends are still held. Places are used again
/// as they are: a stream is large, and not moved.
#[derive(Default)]
pub(super) struct Streams {
    slots: Vec<Stream>,
    free: Vec<Key>,
    ids: HashMap<u32, Key, BuildHasherDefault<Plain>>,
}

impl Streams {
    /// How many places are taken: also by streams whose ends are still held.
    pub(super) fn held(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// How many streams the peer knows of.
    pub(super) fn open(&self) -> usize {
        self.ids.len()
    }

    /// Takes in a stream, which `begin` makes what it is.
    pub(super) fn insert(&mut self, id: u32, begin: impl FnOnce(&mut Stream)) -> Key {
        let key = self.free.pop().unwrap_or(self.slots.len());
        if key == self.slots.len() {
            if self.slots.is_empty() {
                // Many connections never carry two at once, and keep this place while they are idle.
                self.slots.reserve_exact(1);
            }
            self.slots.push(Stream::default());
        }
        if let Some(stream) = self.slots.get_mut(key) {
            stream.id = id;
            begin(stream);
        }
        self.ids.insert(id, key);
        key
    }

    /// A stream whose end is held.
    pub(super) fn get(&mut self, key: Key) -> Option<&mut Stream> {
        self.slots.get_mut(key).filter(|stream| stream.id != 0)
    }

    /// A stream that the peer knows of.
    pub(super) fn find(&mut self, id: u32) -> Option<(Key, &mut Stream)> {
        let key = *self.ids.get(&id)?;
        Some((key, self.get(key)?))
    }

    /// The peer knows it no more; its state stays while an end is held.
    pub(super) fn close(&mut self, key: Key) {
        let Some(stream) = self.get(key) else { return };
        stream.closed = true;
        let (id, held) = (stream.id, stream.handles > 0);
        self.ids.remove(&id);
        if !held {
            self.remove(key);
        }
    }

    /// Forgets a stream.
    pub(super) fn remove(&mut self, key: Key) {
        if let Some(stream) = self.get(key) {
            stream.clear();
            self.free.push(key);
        }
    }

    /// Lets go of the places of streams that have ended, if all have.
    pub(super) fn trim(&mut self) {
        if self.free.len() == self.slots.len() {
            (self.slots, self.free, self.ids) = Default::default();
        }
    }

    /// Every stream that the peer knows of.
    pub(super) fn each(&mut self) -> impl Iterator<Item = (Key, &mut Stream)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter(|(_, stream)| stream.id != 0 && !stream.closed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However pieces come and are taken, every byte comes once and in its order.
        #[test]
        fn data_keeps_its_order(steps in prop::collection::vec((0..5_000_usize, any::<bool>()), 0..60)) {
            let mut received = Received::default();
            let (mut sent, mut got, mut next) = (Vec::new(), Vec::new(), 0_u8);
            for (length, take) in steps {
                let piece: Vec<u8> = (0..length).map(|_| { next = next.wrapping_add(1); next }).collect();
                sent.extend_from_slice(&piece);
                if Data::is_small(length) {
                    received.push(Data::Small(&piece));
                } else {
                    received.push(Data::Large(piece.into()));
                }
                prop_assert_eq!(received.len(), sent.len() - got.len());
                if take && let Some(piece) = received.pop() {
                    got.extend_from_slice(&piece);
                }
            }
            while let Some(piece) = received.pop() {
                got.extend_from_slice(&piece);
            }
            prop_assert!(received.is_empty() && got == sent);
        }
    }
}
