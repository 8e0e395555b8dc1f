//! Decides how long the caller is willing to wait, and how the rest of that time is written for
//! upstream: `grpc-timeout` (gRPC over HTTP/2, "Requests") and `connect-timeout-ms` (Connect
//! protocol, "Unary-Request").

use std::time::Duration;

use http::HeaderValue;

use crate::exchange::Class;
use crate::message::name::{CONNECT_TIMEOUT_MS, GRPC_TIMEOUT};
use crate::message::{FieldName, Fields};

/// The most that eight digits hold.
const GRPC_MOST: u128 = 99_999_999;
/// The most that ten digits hold.
const CONNECT_MOST: u128 = 9_999_999_999;

/// The units of `grpc-timeout` and their nanoseconds, finest first.
const UNITS: [(u8, u128); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// How long the caller waits in all, where it says so. What is malformed counts as nothing said and
/// goes on as it came: it is upstream's to refuse.
pub fn asked(class: Class, headers: &Fields) -> Option<Duration> {
    let value = headers.get(field(class)?)?.as_bytes();
    if is_connect(class) { parse_connect(value) } else { parse_grpc(value) }
}

/// Tells upstream what is left of the caller's time.
pub fn pass_on(class: Class, headers: &mut Fields, left: Duration) {
    if let Some(name) = field(class) {
        let mut value = if is_connect(class) { format_connect(left) } else { format_grpc(left) };
        // No two are the same: nothing for HPACK's dynamic table (RFC 7541 §6.2.3).
        value.set_sensitive(true);
        headers.insert(name, value);
    }
}

/// The field in which a caller says how long it waits.
pub fn field(class: Class) -> Option<&'static FieldName> {
    match class {
        Class::Grpc | Class::GrpcWeb | Class::GrpcWebText => Some(&GRPC_TIMEOUT),
        Class::Connect | Class::ConnectStream => Some(&CONNECT_TIMEOUT_MS),
        Class::Rest | Class::Asset | Class::Page | Class::WebSocket => None,
    }
}

const fn is_connect(class: Class) -> bool {
    matches!(class, Class::Connect | Class::ConnectStream)
}

/// One to eight digits and a unit: `H`, `M`, `S`, `m`, `u` or `n`.
pub fn parse_grpc(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    let (_, nanos) = UNITS.iter().find(|(letter, _)| letter == unit)?;
    nanoseconds(number(digits, 8)?.checked_mul(*nanos)?)
}

/// One to ten digits of milliseconds.
pub fn parse_connect(value: &[u8]) -> Option<Duration> {
    nanoseconds(number(value, 10)? * 1_000_000)
}

/// In the finest unit that eight digits hold, rounded up: upstream must not give up before the
/// caller does. Nothing left is written as one nanosecond, since the value has to be positive.
pub fn format_grpc(left: Duration) -> HeaderValue {
    let nanos = left.as_nanos().max(1);
    let fitting = UNITS
        .iter()
        .map(|(unit, size)| (nanos.div_ceil(*size), *unit))
        .find(|(count, _)| *count <= GRPC_MOST);
    let (count, unit) = fitting.unwrap_or((GRPC_MOST, b'H'));
    value(&format!("{count}{}", char::from(unit)))
}

/// In milliseconds, rounded up, at least one.
pub fn format_connect(left: Duration) -> HeaderValue {
    let millis = left.as_nanos().div_ceil(1_000_000).clamp(1, CONNECT_MOST);
    value(&format!("{millis}"))
}

fn number(digits: &[u8], most: usize) -> Option<u128> {
    if digits.is_empty() || digits.len() > most || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, digit| sum * 10 + u128::from(digit - b'0')))
}

fn nanoseconds(nanos: u128) -> Option<Duration> {
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    let rest = u32::try_from(nanos % 1_000_000_000).ok()?;
    Some(Duration::new(seconds, rest))
}

/// Digits and a letter are always a field value.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("1"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn grpc_timeouts_are_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("10S", Some(Duration::from_secs(10))),
            ("1500m", Some(Duration::from_millis(1500))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0S", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("", None),
            ("S", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("1 S", None),
            ("1.5S", None),
            ("100000000n", None),
        ] {
            assert_eq!(parse_grpc(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn connect_timeouts_are_milliseconds() {
        assert_eq!(parse_connect(b"1500"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_connect(b"9999999999"), Some(Duration::from_millis(9_999_999_999)));
        for text in ["", "10000000000", "1m", "-1", "+1"] {
            assert_eq!(parse_connect(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_left_is_rounded_up_to_a_unit_that_fits() {
        for (left, grpc, connect) in [
            (Duration::ZERO, "1n", "1"),
            (Duration::from_nanos(99_999_999), "99999999n", "100"),
            (Duration::from_nanos(100_000_001), "100001u", "101"),
            (Duration::from_secs(10), "10000000u", "10000"),
            (Duration::from_secs(100_000), "100000S", "100000000"),
            (Duration::MAX, "99999999H", "9999999999"),
        ] {
            assert_eq!(format_grpc(left), grpc);
            assert_eq!(format_connect(left), connect);
        }
    }

    #[test]
    fn each_class_has_its_own_field() {
        for class in Class::ALL {
            let mut headers = Fields::new();
            pass_on(*class, &mut headers, Duration::from_millis(250));
            let known =
                !matches!(class, Class::Rest | Class::Asset | Class::Page | Class::WebSocket);
            assert_eq!(
                asked(*class, &headers),
                known.then_some(Duration::from_millis(250)),
                "{class:?}"
            );
            assert_eq!(headers.len(), usize::from(known));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same_or_a_little_more(secs in 0..1_000_000_000u64, nanos in 0..1_000_000_000u32) {
            let left = Duration::new(secs, nanos);
            let grpc = parse_grpc(format_grpc(left).as_bytes()).unwrap();
            prop_assert!(grpc >= left && grpc - left <= (left / 100_000).max(Duration::from_nanos(1)), "{left:?} {grpc:?}");
            let connect = parse_connect(format_connect(left.min(Duration::from_secs(9_000_000))).as_bytes()).unwrap();
            prop_assert!(connect >= left.min(Duration::from_secs(9_000_000)));
        }

        #[test]
        fn whatever_is_read_does_not_panic(value in proptest::collection::vec(any::<u8>(), 0..12)) {
            let _ = parse_grpc(&value);
            let _ = parse_connect(&value);
        }
    }
}
