//! Watches the lengths of a stream's messages as they pass: five bytes before each, a flag and the
//! length (gRPC over HTTP/2, "Length-Prefixed-Message"; Connect, "Enveloped-Message"). A message
//! that is too long is refused with its prefix, before any of it is sent on.

use crate::body::base64::Group;
use crate::error::{Error, Kind};

/// Bytes before a message.
const PREFIX: usize = 5;

/// A stream's messages.
#[derive(Debug)]
pub struct Messages {
    most: u32,
    /// gRPC-Web's text mode: the characters that are not yet bytes.
    text: Option<Group>,
    prefix: [u8; PREFIX],
    /// Bytes of the prefix that are there.
    have: usize,
    /// Bytes of the message that are to come.
    left: u32,
}

impl Messages {
    /// No message of more than `most` bytes.
    pub const fn new(most: u32) -> Self {
        Self { most, text: None, prefix: [0; PREFIX], have: 0, left: 0 }
    }

    /// The same, in base64.
    pub const fn text(most: u32) -> Self {
        Self { text: Some(Group::new()), ..Self::new(most) }
    }

    /// Looks at the next bytes of the body.
    ///
    /// # Errors
    /// [`Kind::BodyTooLarge`], and [`Kind::BadRequest`] for what is no base64 in text mode.
    pub fn watch(&mut self, data: &[u8]) -> Result<(), Error> {
        let Some(mut text) = self.text.take() else { return self.bytes(data) };
        // Servers may skip line breaks (Go's decoder does): so must who wants to see what they see.
        for character in data.iter().filter(|byte| !b"\r\n".contains(byte)) {
            let bytes = text
                .push(*character)
                .map_err(|()| Error::with(Kind::BadRequest, "gRPC-Web text that is no base64"))?;
            if let Some((bytes, length)) = bytes {
                self.bytes(bytes.get(..length).unwrap_or_default())?;
            }
        }
        self.text = Some(text);
        Ok(())
    }

    fn bytes(&mut self, mut data: &[u8]) -> Result<(), Error> {
        while !data.is_empty() {
            if self.left > 0 {
                let taken = data.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= u32::try_from(taken).unwrap_or(self.left);
                data = data.get(taken..).unwrap_or_default();
                continue;
            }
            let wanted = PREFIX.saturating_sub(self.have);
            let (taken, rest) = data.split_at_checked(wanted).unwrap_or((data, &[]));
            for (slot, byte) in self.prefix.iter_mut().skip(self.have).zip(taken) {
                *slot = *byte;
            }
            self.have += taken.len();
            data = rest;
            if self.have == PREFIX {
                self.begin()?;
            }
        }
        Ok(())
    }

    /// The prefix is there whole.
    fn begin(&mut self) -> Result<(), Error> {
        let [_, length @ ..] = self.prefix;
        self.have = 0;
        self.left = u32::from_be_bytes(length);
        if self.left <= self.most {
            return Ok(());
        }
        let why = format!("a message of {} bytes, at most {}", self.left, self.most);
        Err(Error::with(Kind::BodyTooLarge, why))
    }
}

#[cfg(test)]
mod tests {
    use ::base64::Engine as _;
    use ::base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
        bytes.resize(PREFIX + length, 7);
        bytes
    }

    fn kind(mut messages: Messages, body: &[u8]) -> Option<Kind> {
        messages.watch(body).err().map(|error| error.kind())
    }

    #[test]
    fn a_message_as_long_as_allowed_passes_and_one_byte_more_does_not() {
        for (lengths, refused) in [
            (&[][..], false),
            (&[0], false),
            (&[10], false),
            (&[11], true),
            (&[10, 10, 0, 10], false),
            (&[10, 11], true),
        ] {
            let body: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
            let expected = refused.then_some(Kind::BodyTooLarge);
            assert_eq!(kind(Messages::new(10), &body), expected, "{lengths:?}");
            let text = STANDARD.encode(&body);
            assert_eq!(kind(Messages::text(10), text.as_bytes()), expected, "{lengths:?}");
        }
    }

    #[test]
    fn the_prefix_alone_is_enough_to_refuse() {
        assert_eq!(kind(Messages::new(10), &message(11)[..PREFIX]), Some(Kind::BodyTooLarge));
        assert_eq!(kind(Messages::new(10), &message(11)[..PREFIX - 1]), None);
    }

    #[test]
    fn line_breaks_hide_nothing_and_what_is_no_base64_is_refused() {
        let text = STANDARD.encode(message(11));
        let broken: String = text.chars().flat_map(|c| [c, '\r', '\n']).collect();
        assert_eq!(kind(Messages::text(10), broken.as_bytes()), Some(Kind::BodyTooLarge));
        assert_eq!(kind(Messages::text(10), b"AA*A"), Some(Kind::BadRequest));
    }

    proptest! {
        #[test]
        fn however_the_body_is_cut_the_same_messages_are_seen(
            lengths in prop::collection::vec(0..40usize, 0..8),
            cuts in prop::collection::vec(1..30usize, 1..40),
            padded in any::<bool>(),
        ) {
            let most = 30;
            let refused = lengths.iter().any(|length| *length > most);
            let messages: Vec<_> = lengths.iter().map(|length| message(*length)).collect();
            // Text is padded at the end, or behind each message.
            let text: String = if padded {
                messages.iter().map(|message| STANDARD.encode(message)).collect()
            } else {
                STANDARD.encode(messages.concat())
            };
            for (mut watch, body) in [
                (Messages::new(30), messages.concat()),
                (Messages::text(30), text.into_bytes()),
            ] {
                let mut rest = &body[..];
                let mut seen = Ok(());
                for cut in cuts.iter().cycle() {
                    let (chunk, after) = rest.split_at(rest.len().min(*cut));
                    seen = watch.watch(chunk);
                    rest = after;
                    if seen.is_err() || rest.is_empty() {
                        break;
                    }
                }
                prop_assert_eq!(seen.is_err(), refused);
            }
        }

        #[test]
        fn any_bytes_are_looked_at_without_panic(body in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Messages::new(10).watch(&body);
            let _ = Messages::text(10).watch(&body);
        }
    }
}
