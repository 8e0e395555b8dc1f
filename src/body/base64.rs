//! Base64 as gRPC-Web's text mode has it: character by character, padded wherever the sender chose to.

/// Four characters of base64 on their way to three bytes.
#[derive(Debug, Default)]
pub struct Group {
    bits: u32,
    have: u8,
    pads: u8,
}

impl Group {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { bits: 0, have: 0, pads: 0 }
    }

    /// Whether the next character begins a group.
    pub const fn is_empty(&self) -> bool {
        self.have == 0
    }

    /// The next character; the fourth gives up to three bytes.
    ///
    /// # Errors
    /// Where it does not belong there.
    #[expect(clippy::result_unit_err, reason = "there is one way to be wrong")]
    pub fn push(&mut self, byte: u8) -> Result<Option<([u8; 3], usize)>, ()> {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' if self.have >= 2 => {
                self.pads += 1;
                0
            }
            _ => return Err(()),
        };
        if self.pads > 0 && byte != b'=' {
            return Err(());
        }
        self.bits = self.bits << 6 | u32::from(value);
        self.have += 1;
        if self.have < 4 {
            return Ok(None);
        }
        let [_, one, two, three] = self.bits.to_be_bytes();
        let length = 3 - usize::from(self.pads);
        *self = Self::new();
        Ok(Some(([one, two, three], length)))
    }
}
