//! A field's value that is put together for every answer: on the stack, copied once.

use std::fmt;

use http::HeaderValue;

/// The longest, in bytes; what is beyond it is cut off. The longest `Cache-Status` has 120.
const LONGEST: usize = 192;

/// A line that is being written.
pub(super) struct Line {
    text: [u8; LONGEST],
    length: usize,
}

impl Line {
    /// The value that these words make.
    pub(super) fn value(words: fmt::Arguments<'_>) -> HeaderValue {
        let mut line = Self { text: [0; LONGEST], length: 0 };
        // What does not fit is cut off.
        let _ = fmt::write(&mut line, words);
        let text = line.text.get(..line.length).unwrap_or_default();
        HeaderValue::from_bytes(text).unwrap_or(HeaderValue::from_static(""))
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let rest = self.text.get_mut(self.length..).unwrap_or_default();
        for (place, byte) in rest.iter_mut().zip(text.as_bytes()) {
            *place = *byte;
        }
        let fits = text.len() <= rest.len();
        self.length += text.len().min(rest.len());
        if fits { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_joined_and_what_is_too_long_is_cut() {
        assert_eq!(Line::value(format_args!("{}; ttl={}", "hit", -5)), "hit; ttl=-5");
        let long = "x".repeat(500);
        assert_eq!(Line::value(format_args!("{long}")).len(), LONGEST);
        assert_eq!(Line::value(format_args!("a\n")), "");
    }
}
