//! Telling a WebSocket's client that Ravelin leaves: a Close frame with 1001, "going away" (RFC 6455
//! §7.4.1), between two of upstream's frames.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Sleep;

use crate::exchange::Ending;

/// Close, final and unmasked as servers send it, with status 1001.
const GOING_AWAY: &[u8] = &[0x88, 0x02, 0x03, 0xe9];
/// How long a client that was told may take to close; then the tunnel ends (RFC 6455 §7.1.1).
const LAST_WORDS: Duration = Duration::from_secs(10);
const CLOSE: u8 = 0x8;

/// Watches what upstream sends, and says when to say farewell.
pub(super) struct Farewell {
    frames: Frames,
    ending: Option<Pin<Box<dyn Future<Output = ()>>>>,
    state: State,
}

enum State {
    /// Carry everything.
    Open,
    /// Say farewell at the next boundary.
    Due,
    /// It is said: nothing of upstream's may follow. The rest of the time.
    Said(Pin<Box<Sleep>>),
}

/// What to do now.
pub(super) enum Next {
    /// Carry what upstream sends.
    Carry,
    /// Send this first.
    Say(Bytes),
    /// Carry the client's bytes only.
    Drop,
    /// The client has had its time.
    End,
}

impl Farewell {
    pub(super) fn new(ending: &Ending) -> Self {
        let ending = Some(Box::pin(ending.clone().told()) as Pin<Box<dyn Future<Output = ()>>>);
        Self { frames: Frames::default(), ending, state: State::Open }
    }

    /// What to do before more is read from upstream.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Next {
        if let Some(ending) = &mut self.ending
            && ending.as_mut().poll(cx).is_ready()
        {
            self.ending = None;
            self.state = State::Due;
        }
        match &mut self.state {
            State::Open => Next::Carry,
            // Upstream has closed it already: the client knows.
            State::Due if self.frames.closed => Next::Carry,
            State::Due if !self.frames.at_boundary() => Next::Carry,
            State::Due => {
                let mut rest = Box::pin(tokio::time::sleep(LAST_WORDS));
                // Registers it; it cannot be over yet.
                let _ = rest.as_mut().poll(cx);
                self.state = State::Said(rest);
                Next::Say(Bytes::from_static(GOING_AWAY))
            }
            State::Said(rest) => match rest.as_mut().poll(cx) {
                Poll::Ready(()) => Next::End,
                Poll::Pending => Next::Drop,
            },
        }
    }

    /// How much of what upstream has sent goes to the client: up to the end of the frame that is
    /// under way, where farewell is due; else all.
    pub(super) fn carried(&mut self, bytes: &[u8]) -> usize {
        if matches!(self.state, State::Due) && !self.frames.closed {
            return self.frames.follow(bytes);
        }
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            done += self.frames.follow(rest);
        }
        bytes.len()
    }
}

/// Where a stream of frames stands (RFC 6455 §5.2).
#[derive(Debug, Default)]
struct Frames {
    /// The head of the frame that has begun.
    head: [u8; 14],
    have: usize,
    /// Bytes of payload that are still to come.
    payload: u64,
    /// A Close frame has come.
    closed: bool,
}

impl Frames {
    const fn at_boundary(&self) -> bool {
        self.have == 0 && self.payload == 0
    }

    /// Follows bytes to the end of a frame, or to their end; returns how many that were, at least
    /// one of any.
    fn follow(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        while self.payload == 0 {
            let Some(byte) = bytes.get(done) else { return done };
            if let Some(place) = self.head.get_mut(self.have) {
                *place = *byte;
            }
            (self.have, done) = (self.have + 1, done + 1);
            if self.have >= self.length() {
                self.payload = self.announced();
                self.closed |= self.head[0] & 0xf == CLOSE;
                self.have = 0;
                if self.payload == 0 {
                    return done;
                }
            }
        }
        let there = bytes.len() - done;
        let taken = usize::try_from(self.payload).map_or(there, |payload| payload.min(there));
        self.payload -= taken as u64;
        done + taken
    }

    /// How long the head is, as far as it can be told.
    const fn length(&self) -> usize {
        let second = self.head[1];
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        if self.have < 2 { 2 } else { 2 + extended + mask }
    }

    /// The length of the payload.
    const fn announced(&self) -> u64 {
        let [_, second, a, b, c, d, e, f, g, h, ..] = self.head;
        match second & 0x7f {
            126 => u16::from_be_bytes([a, b]) as u64,
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => short as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame with so much payload, masked or not.
    fn frame(opcode: u8, payload: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match payload {
            0..=125 => frame.push(mask | u8::try_from(payload).unwrap()),
            126..=65_535 => {
                frame.push(mask | 126);
                frame.extend(u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.extend([0x88; 4].iter().take(if masked { 4 } else { 0 }));
        // Payload that looks like the head of a Close frame.
        frame.extend(std::iter::repeat_n(0x88, payload));
        frame
    }

    proptest! {
        /// However the bytes come in pieces, frames end where they end.
        #[test]
        fn boundaries_are_where_frames_end(
            sizes in prop::collection::vec((0..70_000usize, any::<bool>()), 1..5),
            pieces in prop::collection::vec(1..9_000usize, 1..40),
        ) {
            let mut frames = Frames::default();
            let (mut bytes, mut ends) = (Vec::new(), Vec::new());
            for (payload, masked) in sizes {
                bytes.extend(frame(2, payload, masked));
                ends.push(bytes.len());
            }
            let (mut at, mut found) = (0, Vec::new());
            for piece in pieces.into_iter().cycle() {
                let mut rest = &bytes[at..(at + piece).min(bytes.len())];
                while !rest.is_empty() {
                    let n = frames.follow(rest);
                    prop_assert!(n > 0);
                    (at, rest) = (at + n, &rest[n..]);
                    if frames.at_boundary() {
                        found.push(at);
                    }
                }
                if at == bytes.len() {
                    break;
                }
            }
            prop_assert_eq!(found, ends);
            prop_assert!(!frames.closed);
        }
    }

    #[test]
    fn a_close_of_upstream_s_own_is_seen() {
        let mut frames = Frames::default();
        let bytes = frame(CLOSE, 2, false);
        assert_eq!(frames.follow(&bytes), 4);
        assert!(frames.closed && frames.at_boundary());
    }

    #[tokio::test]
    async fn farewell_waits_for_the_end_of_a_frame_and_nothing_follows_it() {
        let (leave, leaving) = Ending::channel();
        let mut farewell = Farewell::new(&leaving);
        let next = async |farewell: &mut Farewell| {
            std::future::poll_fn(|cx| Poll::Ready(farewell.poll(cx))).await
        };
        assert!(matches!(next(&mut farewell).await, Next::Carry));
        let two = [frame(1, 10, false), frame(1, 10, false)].concat();
        assert_eq!(farewell.carried(&two[..6]), 6);
        leave.send_replace(true);
        assert!(matches!(next(&mut farewell).await, Next::Carry), "in the middle of a frame");
        assert_eq!(farewell.carried(&two[6..]), 6, "up to its end");
        assert!(matches!(next(&mut farewell).await, Next::Say(said) if said == GOING_AWAY));
        assert!(matches!(next(&mut farewell).await, Next::Drop));
    }
}
