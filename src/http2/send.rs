//! What we send: heads, data, trailers; windows, and whose turn it is.
//!
//! Frames are written where they leave ([`crate::io::Handle::with_out`]), in the moment in which they are sent:
//! nothing is queued in between. Data is only taken when the windows and the socket have room for
//! it, so whoever sends holds what waits.

use std::task::Waker;

use bytes::Bytes;

use super::core::{Core, LATE};
use super::error::{By, Error, Reason};
use super::frame::{self, Head, flag, kind};
use super::stream::Key;
use crate::message::name::CONTENT_LENGTH;
use crate::message::{Fields, Request, Response};

/// The longest DATA frame of ours, whatever the peer takes: others have their turn between two.
const DATA_FRAME: usize = 16 * 1024;
/// What one stream may send before others that wait have their turn.
const TURN: usize = 128 * 1024;
impl Core {
    /// Opens a stream and sends its head.
    pub(super) fn request(&mut self, request: &Request<()>, ends: bool) -> Result<Key, Error> {
        if let Some(error) = &self.over {
            return Err(error.clone());
        }
        if self.left || self.last > frame::MAX_STREAM {
            return Err(Error::Closed);
        }
        let protocol = request.protocol();
        if protocol.is_some() && !self.remote.connect_protocol {
            return Err(Error::Reset(Reason::REFUSED_STREAM, By::Us));
        }
        self.idle_frames.earn(LATE);
        let id = self.last;
        self.last += 2;
        let encoder = &mut self.encoder;
        let (method, uri, fields) = (request.method(), request.uri(), request.headers());
        self.io.with_out(|out| {
            frame::headers(out, id, ends, self.remote.max_frame, |out| {
                encoder.request(method, uri, protocol, fields, out);
            });
        });
        self.amid_body = false;
        self.wake_driver();
        Ok(self.streams.insert(id, |stream| {
            stream.handles = 2;
            stream.send_closed = ends;
            stream.asks_head = *method == http::Method::HEAD;
            stream.has_length = !ends && fields.contains_key(CONTENT_LENGTH);
            stream.send_window = self.remote.window;
            stream.recv_window = i64::from(self.local.stream_window);
        }))
    }

    /// Sends an answer's head, interim ones as well.
    pub(super) fn respond(
        &mut self,
        key: Key,
        response: &Response<()>,
        ends: bool,
    ) -> Result<(), Error> {
        let id = self.sending(key)?;
        let encoder = &mut self.encoder;
        self.io.with_out(|out| {
            frame::headers(out, id, ends, self.remote.max_frame, |out| {
                encoder.response(response, out);
            });
        });
        if let Some(stream) = self.streams.get(key) {
            stream.head_sent = !response.status().is_informational();
            stream.has_length = !ends && response.headers().contains_key(CONTENT_LENGTH);
        }
        self.sent(key, ends);
        Ok(())
    }

    /// Sends trailers, and with them the end of our half.
    pub(super) fn trailers(&mut self, key: Key, trailers: &Fields) -> Result<(), Error> {
        let id = self.sending(key)?;
        let encoder = &mut self.encoder;
        self.io.with_out(|out| {
            frame::headers(out, id, true, self.remote.max_frame, |out| {
                encoder.trailers(trailers, out);
            });
        });
        self.sent(key, true);
        Ok(())
    }

    /// Sends data, as much as [`Core::capacity`] has granted.
    pub(super) fn data(&mut self, key: Key, data: &Bytes, ends: bool) -> Result<(), Error> {
        let stream = self.sending(key)?;
        let most = DATA_FRAME.min(self.remote.max_frame);
        let mut rest = &data[..];
        loop {
            let (now, later) = rest.split_at(rest.len().min(most));
            let flags = if ends && later.is_empty() { flag::END_STREAM } else { 0 };
            let head = Head { length: now.len(), kind: kind::DATA, flags, stream };
            self.io.put(&head.bytes(), now);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        if !data.is_empty() {
            // A PING that measures how soon what was sent comes there is no idle one.
            self.idle_frames.earn(1);
        }
        self.send_window -= data.len() as i64;
        self.sent(key, ends);
        if let Some(stream) = self.streams.get(key) {
            stream.send_window -= data.len() as i64;
            self.amid_body = stream.has_length && !ends;
        }
        self.grant();
        Ok(())
    }

    /// The identifier of a stream that may still send.
    fn sending(&mut self, key: Key) -> Result<u32, Error> {
        let stream = self.streams.get(key).ok_or(Error::Closed)?;
        if let Some(error) = &stream.error {
            return Err(error.clone());
        }
        if stream.send_closed { Err(Error::Closed) } else { Ok(stream.id) }
    }

    fn sent(&mut self, key: Key, ends: bool) {
        self.amid_body = false;
        if ends && let Some(stream) = self.streams.get(key) {
            stream.send_closed = true;
            if stream.recv_closed {
                self.close(key);
            }
        }
        self.wake_driver();
    }

    /// How many bytes a stream may send now; none: it is told when that has changed.
    pub(super) fn capacity(&mut self, key: Key, waker: &Waker) -> Result<usize, Error> {
        let shared = self.send_window.min(self.io.room() as i64);
        let alone = self.line.is_empty();
        let stream = self.streams.get(key).ok_or(Error::Closed)?;
        if let Some(error) = &stream.error {
            return Err(error.clone());
        }
        let granted = std::mem::take(&mut stream.granted);
        if stream.send_window > 0 && shared > 0 && (granted || alone) {
            return Ok(stream.send_window.min(shared).min(TURN as i64) as usize);
        }
        super::stream::remember(&mut stream.writer, waker);
        if stream.send_window <= 0 {
            if granted {
                self.grant();
            }
        } else if !stream.in_line {
            stream.in_line = true;
            self.line.push_back(key);
            if shared > 0 {
                self.grant();
            }
        }
        Ok(0)
    }

    /// Gives the next stream in line its turn, if there is something for it. Each that has had its turn gives
    /// it on, and so does each that leaves.
    pub(super) fn grant(&mut self) {
        let shared = self.send_window.min(self.io.room() as i64);
        // As many as there is something for: one that does not take its turn must not stop the others.
        let mut turns = if shared > 0 { shared as usize / TURN + 1 } else { 0 };
        while turns > 0 {
            let Some(key) = self.line.pop_front() else { return };
            if let Some(stream) = self.streams.get(key).filter(|stream| stream.in_line) {
                stream.in_line = false;
                stream.granted = true;
                stream.wake_writer();
                turns -= 1;
            }
        }
    }

    /// Data was taken: the peer gets window for it, once it is worth a frame.
    pub(super) fn taken(&mut self, key: Key, bytes: usize) {
        let half = self.local.stream_window as usize / 2;
        if let Some(stream) = self.streams.get(key) {
            stream.owed += bytes;
            if stream.owed >= half && !stream.recv_closed && !stream.closed {
                let (id, more) = (stream.id, std::mem::take(&mut stream.owed));
                stream.recv_window += more as i64;
                self.io.with_out(|out| frame::window_update(out, id, more as u32));
                self.wake_driver();
            }
        }
        self.give_back(bytes);
    }

    /// The same for the connection's window alone. What slow readers leave lying is neither owed nor
    /// the peer's to use: to wait for half of the window would be to wait for ever once they hold the
    /// other half.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.owed += bytes;
        if self.owed as i64 >= self.recv_window {
            let more = std::mem::take(&mut self.owed);
            self.recv_window += more as i64;
            self.io.with_out(|out| frame::window_update(out, 0, more as u32));
            self.wake_driver();
        }
    }
}
