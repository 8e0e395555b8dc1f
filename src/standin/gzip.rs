//! The smallest gzip there is (RFC 1952): stored blocks. The stand-in has to say that it
//! compressed, not to be good at it.

use std::sync::LazyLock;

const BLOCK: usize = 65_535;

static TABLE: LazyLock<[u32; 256]> = LazyLock::new(|| {
    let mut table = [0; 256];
    for (entry, mut value) in table.iter_mut().zip(0_u32..) {
        for _ in 0..8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
        }
        *entry = value;
    }
    table
});

/// `data` as a gzip member.
pub(super) fn encode(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = data.chunks(BLOCK).peekable();
    if data.is_empty() {
        out.extend_from_slice(&[1, 0, 0, 255, 255]);
    }
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend_from_slice(&crc(data).to_le_bytes());
    out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
    out
}

fn crc(data: &[u8]) -> u32 {
    !data
        .iter()
        .fold(!0, |sum: u32, byte| TABLE[usize::from(sum.to_le_bytes()[0] ^ byte)] ^ (sum >> 8))
}

/// Whether an `Accept-Encoding` (or `grpc-accept-encoding`) offers gzip.
pub(super) fn is_offered(accept: Option<&str>) -> bool {
    accept.is_some_and(|list| {
        list.split(',').any(|item| item.split(';').next().map(str::trim) == Some("gzip"))
    })
}
