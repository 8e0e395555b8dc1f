//! As much protobuf as the stand-in's messages need, by hand: no `protoc`, no generated code.

/// A length-delimited field.
pub(super) fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    varint(&mut out, value.len() as u64);
    out.extend_from_slice(value);
    out
}

/// A varint field.
pub(super) fn number(field: u8, value: u64) -> Vec<u8> {
    let mut out = vec![field << 3];
    varint(&mut out, value);
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The numbers of the fields of a message, in order; stops at what it does not understand.
pub(super) fn fields(mut message: &[u8]) -> Vec<u64> {
    let mut found = Vec::new();
    while let Some(key) = read(&mut message) {
        found.push(key >> 3);
        let skip = match key & 7 {
            0 => read(&mut message).map(|_| 0),
            1 => Some(8),
            2 => read(&mut message).and_then(|length| usize::try_from(length).ok()),
            5 => Some(4),
            _ => None,
        };
        let Some(rest) = skip.and_then(|skip| message.get(skip..)) else { break };
        message = rest;
    }
    found
}

fn read(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
