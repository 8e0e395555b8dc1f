//! Which ids an exchange carries: the W3C trace id that came with it, and its request id.
//!
//! Only reads: a `traceparent` goes upstream as it came or not at all, by whom the route believes;
//! Ravelin opens no span of its own.

/// How long a request id may be.
const REQUEST_ID_MAX: usize = 128;

/// The trace id (32 lower-case hex digits) of a `traceparent` header, or `None` where the header
/// must be ignored (W3C Trace Context §3.2.2: version `ff`, all-zero ids, upper case, lengths).
///
/// Later versions are read as far as version 00 goes, provided that what follows is set apart by
/// a dash (§4.3).
pub fn trace_id(traceparent: &[u8]) -> Option<&str> {
    const HEAD: usize = 55;
    let (head, rest) = traceparent.split_at_checked(HEAD)?;
    let mut parts = head.split(|byte| *byte == b'-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !hex(version, 2) || !hex(flags, 2) || version == b"ff" {
        return None;
    }
    if !rest.is_empty() && (version == b"00" || rest.first() != Some(&b'-')) {
        return None;
    }
    if !hex(trace, 32) || !hex(parent, 16) || zero(trace) || zero(parent) {
        return None;
    }
    std::str::from_utf8(trace).ok()
}

fn hex(part: &[u8], length: usize) -> bool {
    part.len() == length && part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn zero(part: &[u8]) -> bool {
    part.iter().all(|byte| *byte == b'0')
}

/// A client's `x-request-id` where it may be trusted to go into logs and upstream: 1 to 128
/// letters, digits and `-._~+/=:@`, which covers UUIDs, ULIDs, base64 and what load balancers make.
pub fn request_id(value: &[u8]) -> Option<&str> {
    let safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(byte);
    if value.is_empty() || value.len() > REQUEST_ID_MAX || !value.iter().all(safe) {
        return None;
    }
    std::str::from_utf8(value).ok()
}

/// A new request id: 128 random bits as 32 hex digits. Unique, not secret.
pub fn new_request_id() -> Box<str> {
    let bytes = fastrand::u128(..).to_be_bytes();
    let mut id = [0; 32];
    for (pair, byte) in id.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
    }
    std::str::from_utf8(&id).unwrap_or_default().into()
}

/// The hex digit of a number below 16, without a branch.
const fn digit(nibble: u8) -> u8 {
    b'0' + nibble + (nibble > 9) as u8 * (b'a' - b'0' - 10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_traceparent_is_read_by_the_rules_of_its_version() {
        let table = [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false),
            ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-may-come", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what", false),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-011", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x", false),
            ("00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("", false),
        ];
        for (header, good) in table {
            assert_eq!(trace_id(header.as_bytes()), good.then_some(TRACE), "{header}");
        }
    }

    #[test]
    fn a_request_id_is_short_and_of_safe_letters() {
        for good in ["a", "550e8400-e29b-41d4-a716-446655440000", "Root=1-67891233:abc/=+~@._"] {
            assert_eq!(request_id(good.as_bytes()), Some(good));
        }
        assert!(request_id(&[b'a'; 128]).is_some());
        for bad in [&b""[..], &[b'a'; 129], b"a b", b"a\"b", b"a\nb", b"<x>", "é".as_bytes()] {
            assert_eq!(request_id(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn new_request_ids_are_well_formed_and_differ() {
        let (one, two) = (new_request_id(), new_request_id());
        assert_eq!(one.len(), 32);
        assert!(hex(one.as_bytes(), 32));
        assert_ne!(one, two);
    }

    proptest! {
        #[test]
        fn no_bytes_at_all_make_the_parsers_fail(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = trace_id(&bytes);
            let _ = request_id(&bytes);
        }

        #[test]
        fn every_well_formed_traceparent_yields_its_trace_id(
            version in 0u8..255, trace in 1u128.., parent in 1u64.., flags: u8
        ) {
            let header = format!("{version:02x}-{trace:032x}-{parent:016x}-{flags:02x}");
            let expected = format!("{trace:032x}");
            prop_assert_eq!(trace_id(header.as_bytes()), Some(expected.as_str()));
        }
    }
}
