//! HTTP/2 frame by frame, for what no client library lets one say.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::wire::Wire;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The error code of RST_STREAM and GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    pub fn ends(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// The status of an answer's head, where it stands in the static table (RFC 7541 App. A) or
    /// as a literal of three digits without Huffman coding.
    pub fn status(&self) -> u16 {
        let known = [200, 204, 206, 304, 400, 404, 500];
        match &self.payload[..] {
            [first @ 0x88..=0x8e, ..] => known[usize::from(first - 0x88)],
            [0x08 | 0x48, 3, digits @ ..] => {
                std::str::from_utf8(&digits[..3]).unwrap().parse().unwrap()
            }
            _ => 0,
        }
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Frame {
    Frame { kind, flags, stream, payload: payload.into() }
}

/// A header block of literals that touch no table (RFC 7541 §6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(text.len() as u8);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// HEADERS with a whole block.
pub fn headers(stream: u32, end: bool, fields: &[(&str, &str)]) -> Frame {
    frame(HEADERS, END_HEADERS | if end { END_STREAM } else { 0 }, stream, block(fields))
}

/// One connection of a client.
pub struct Frames {
    wire: Wire,
}

impl Frames {
    /// Prior knowledge; `settings` are pairs of identifier and value.
    pub async fn plain(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self::over(Wire::over(socket), settings).await
    }

    pub async fn over(mut wire: Wire, settings: &[(u16, u32)]) -> Self {
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        wire.send([PREFACE, &frame(SETTINGS, 0, 0, payload).bytes()].concat()).await;
        Self { wire }
    }

    /// A connection whose preface has been sent.
    pub fn begun(wire: Wire) -> Self {
        Self { wire }
    }

    pub async fn send(&mut self, frame: Frame) {
        self.wire.send(frame.bytes()).await;
    }

    pub async fn send_all(&mut self, frames: &[Frame]) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        self.wire.send(bytes).await;
    }

    /// The same to someone who may have left.
    pub async fn try_send_all(&mut self, frames: &[Frame]) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        self.wire.try_send(bytes).await;
    }

    /// The next frame, SETTINGS and PING answered in between; `None` at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            let frame = self.next_or_pong().await?;
            if frame.kind != PING {
                return Some(frame);
            }
        }
    }

    /// The same, answers to PING included.
    pub async fn next_or_pong(&mut self) -> Option<Frame> {
        loop {
            let head = self.wire.up_to(9).await;
            let head: [u8; 9] = head.try_into().ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let payload = self.wire.up_to(length).await;
            if payload.len() < length {
                return None;
            }
            let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
            let got = Frame { kind: head[3], flags: head[4], stream, payload };
            match got.kind {
                SETTINGS | PING if got.flags & ACK == 0 => {
                    let payload = if got.kind == PING { got.payload } else { Vec::new() };
                    self.wire.try_send(frame(got.kind, ACK, 0, payload).bytes()).await;
                }
                SETTINGS => {}
                _ => return Some(got),
            }
        }
    }

    /// The next frame of this kind; `None` at the end.
    pub async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Everything until the connection ends.
    pub async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }
}
