//! Header blocks: requests, heads of answers, trailers (RFC 9113 §4.3, §8.1).

use super::{Fault, fault};
use crate::http2::core::{Block, Core, LATE, Leaving, Role};
use crate::http2::error::Reason;
use crate::http2::frame::{self, Head, flag};
use crate::http2::head::{Asked, Builder, Malformed};
use crate::http2::stream::Key;
use crate::message::Request;

/// Interim heads that an answer may have; further ones are let go of.
const INTERIMS: u8 = 16;
/// Room for the fields of trailers…
const TRAILERS: usize = 3;
/// …for those that are added to a head on its way…
const ADDED: usize = 2;
/// …and for no more than this many before they have come.
const MOST_FIELDS: usize = 32;

/// A stream that the client has opened.
pub(in crate::http2) struct Accepted {
    /// The head.
    pub(in crate::http2) request: Request<()>,
    /// Fields are missing from it, since it was too large.
    pub(in crate::http2) over: bool,
    /// The stream.
    pub(in crate::http2) key: Key,
}

impl Core {
    pub(super) fn headers(
        &mut self,
        head: Head,
        payload: &[u8],
    ) -> Result<Option<Accepted>, Fault> {
        if head.stream == 0 {
            return fault(Reason::PROTOCOL_ERROR, "HEADERS without a stream");
        }
        let Some((part, dependency)) = frame::unpadded(head, payload) else {
            return fault(Reason::PROTOCOL_ERROR, "HEADERS shorter than their padding");
        };
        let block = Block {
            stream: head.stream,
            ends: head.has(flag::END_STREAM),
            malformed: dependency == Some(head.stream),
            bytes: Vec::new(),
        };
        if head.has(flag::END_HEADERS) {
            return self.block(&block, part);
        }
        self.block = Some(Block { bytes: part.to_vec(), ..block });
        Ok(None)
    }

    pub(super) fn continuation(
        &mut self,
        head: Head,
        payload: &[u8],
    ) -> Result<Option<Accepted>, Fault> {
        if payload.is_empty() {
            self.brings_nothing()?;
        }
        let Some(mut block) = self.block.take() else { return Ok(None) };
        // What is packed into more than may be held once unpacked is never going to be right.
        if block.bytes.len() + payload.len() > self.local.bounds.bytes {
            return fault(Reason::ENHANCE_YOUR_CALM, "a header block without end");
        }
        block.bytes.extend_from_slice(payload);
        if head.has(flag::END_HEADERS) {
            let bytes = std::mem::take(&mut block.bytes);
            return self.block(&block, &bytes);
        }
        self.block = Some(block);
        Ok(None)
    }

    /// A whole header block. It is decoded whatever comes of it, since later ones build on it.
    fn block(&mut self, block: &Block, bytes: &[u8]) -> Result<Option<Accepted>, Fault> {
        let bounds = self.local.bounds;
        let known = self.streams.find(block.stream).map(|(key, stream)| {
            (key, stream.recv_closed, stream.has_head || self.role == Role::Server)
        });
        // Room for as many fields as the last head had, and those that a proxy adds.
        let trailers = matches!(known, Some((_, _, true)));
        let mut builder = Builder::new(if trailers { TRAILERS } else { self.fields });
        if self.decoder.decode(bytes, |field, size| builder.take(field, size, bounds)).is_err() {
            return fault(Reason::COMPRESSION_ERROR, "a header block that cannot be decoded");
        }
        if !trailers {
            self.fields = (builder.fields() + ADDED).min(MOST_FIELDS);
        }
        match known {
            Some((key, true, _)) => self.stream_fault(key, Reason::STREAM_CLOSED),
            Some((key, false, true)) => {
                let trailers = builder.into_trailers();
                match trailers {
                    Ok(trailers) if block.ends && !block.malformed => {
                        if let Some(stream) = self.streams.get(key) {
                            stream.trailers = Some(trailers);
                        }
                        self.ended(key);
                    }
                    _ => self.stream_fault(key, Reason::PROTOCOL_ERROR),
                }
            }
            Some((key, false, false)) => self.answered(key, block, builder),
            None if self.role == Role::Client => self.unknown(block.stream)?,
            None => return self.opened(block, builder),
        }
        Ok(None)
    }

    /// The head of an answer.
    fn answered(&mut self, key: Key, block: &Block, builder: Builder) {
        let answer = builder.into_response().ok().filter(|_| !block.malformed);
        let Some((response, length)) = answer else {
            return self.stream_fault(key, Reason::PROTOCOL_ERROR);
        };
        let interim = response.status().is_informational();
        if interim && (block.ends || response.status() == http::StatusCode::SWITCHING_PROTOCOLS) {
            return self.stream_fault(key, Reason::PROTOCOL_ERROR);
        }
        let Some(stream) = self.streams.get(key) else { return };
        if interim {
            // Each is written to the client at once, whatever it has room for.
            if stream.interims < INTERIMS {
                stream.interims += 1;
                stream.interim.push_back(response);
            }
            return stream.wake_reader();
        }
        stream.has_head = true;
        // HEAD and 304 tell a length that does not come.
        let none = stream.asks_head || response.status() == http::StatusCode::NOT_MODIFIED;
        stream.expected = length.filter(|_| !none);
        if block.ends && stream.expected.is_some_and(|expected| expected > 0) {
            return self.stream_fault(key, Reason::PROTOCOL_ERROR);
        }
        stream.head = Some(response);
        if block.ends {
            return self.ended(key);
        }
        stream.wake_reader();
    }

    /// A stream of the client.
    fn opened(&mut self, block: &Block, builder: Builder) -> Result<Option<Accepted>, Fault> {
        let id = block.stream;
        if id.is_multiple_of(2) {
            return fault(Reason::PROTOCOL_ERROR, "a client's stream has an odd number");
        }
        if id <= self.last {
            if self.is_forgotten(id) {
                self.brings_nothing()?;
                return Ok(None);
            }
            let reason =
                if id == self.last { Reason::STREAM_CLOSED } else { Reason::PROTOCOL_ERROR };
            return fault(reason, "HEADERS of a stream that is over");
        }
        if matches!(self.leaving, Leaving::Told(_)) {
            // Whoever was told which stream is the last sends others elsewhere. What follows of this
            // one is on its way already.
            self.last = id;
            self.forget(id);
            self.brings_nothing()?;
            return Ok(None);
        }
        self.last = id;
        let asked = builder.into_request().and_then(|asked| {
            let wrong = block.malformed || block.ends && asked.length.unwrap_or_default() > 0;
            if wrong { Err(Malformed) } else { Ok(asked) }
        });
        let refused = match &asked {
            _ if self.streams.open() >= self.local.streams => Some(Reason::REFUSED_STREAM),
            // Those that were reset are not over before they are let go of.
            _ if self.streams.held() >= 2 * self.local.streams => Some(Reason::REFUSED_STREAM),
            Err(Malformed) => Some(Reason::PROTOCOL_ERROR),
            Ok(_) => None,
        };
        if let Some(reason) = refused {
            self.refuse(id, reason)?;
            return Ok(None);
        }
        Ok(asked.ok().map(|asked| self.accept(id, block.ends, asked)))
    }

    fn accept(&mut self, id: u32, ends: bool, asked: Asked) -> Accepted {
        // Many clients send a few frames behind each stream that come when it has ended.
        self.idle_frames.earn(LATE);
        let key = self.streams.insert(id, |stream| {
            stream.handles = 2;
            stream.recv_closed = ends;
            stream.has_head = true;
            stream.expected = asked.length;
            stream.send_window = self.remote.window;
            stream.recv_window = i64::from(self.local.stream_window);
        });
        Accepted { request: asked.request, over: asked.over, key }
    }
}
