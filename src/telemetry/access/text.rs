//! Numbers, times and strings as bytes, without `fmt`'s machinery: an access record is written for
//! every exchange.

use std::cell::Cell;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Appends a number.
pub(super) fn number(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut length = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
        length += 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - length..).unwrap_or_default());
}

/// The last `N` digits of a number, with zeros before them.
fn digits<const N: usize>(mut value: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    for slot in digits.iter_mut().rev() {
        *slot += (value % 10) as u8;
        value /= 10;
    }
    digits
}

/// Appends milliseconds with three decimals.
pub(super) fn millis(duration: Duration, out: &mut Vec<u8>) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    number(micros / 1000, out);
    out.push(b'.');
    out.extend_from_slice(&digits::<3>(micros));
}

thread_local! {
    /// A second, and how it is written: records follow each other closely.
    static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((0, *b"1970-01-01T00:00:00")) };
}

/// Appends a time as RFC 3339 in UTC with milliseconds; times before 1970 as 1970.
pub(super) fn time(at: SystemTime, out: &mut Vec<u8>) {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut second, mut text) = SECOND.get();
    if second != since.as_secs() {
        second = since.as_secs();
        text = to_the_second(second);
        SECOND.set((second, text));
    }
    out.extend_from_slice(&text);
    out.push(b'.');
    out.extend_from_slice(&digits::<3>(since.subsec_millis().into()));
    out.push(b'Z');
}

fn to_the_second(since: u64) -> [u8; 19] {
    let (days, second) = (since / 86_400, since % 86_400);
    let (year, month, day) = civil(days);
    let [y0, y1, y2, y3] = digits(year);
    let ([m0, m1], [d0, d1]) = (digits(month), digits(day));
    let ([h0, h1], [n0, n1]) = (digits(second / 3600), digits(second / 60 % 60));
    let [s0, s1] = digits(second % 60);
    #[rustfmt::skip]
    let text = [
        y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T',
        h0, h1, b':', n0, n1, b':', s0, s1,
    ];
    text
}

/// Appends an address; IPv4, nearly all of them, without `fmt`.
pub(super) fn ip(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => v4(address, out),
        IpAddr::V6(address) => {
            let _ = write!(out, "{address}");
        }
    }
}

/// Appends an address with its port.
pub(super) fn socket(address: SocketAddr, out: &mut Vec<u8>) {
    match address {
        SocketAddr::V4(address) => {
            v4(*address.ip(), out);
            out.push(b':');
            number(address.port().into(), out);
        }
        SocketAddr::V6(address) => {
            let _ = write!(out, "{address}");
        }
    }
}

fn v4(address: Ipv4Addr, out: &mut Vec<u8>) {
    let [first, rest @ ..] = address.octets();
    number(first.into(), out);
    for octet in rest {
        out.push(b'.');
        number(octet.into(), out);
    }
}

/// Year, month and day of a day since 1970-01-01: Howard Hinnant's `civil_from_days`, where years
/// begin in March so that the leap day is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// Appends a string's inside, escaped by RFC 8259 §7. What is not UTF-8 becomes U+FFFD; DEL and
/// the C1 controls are escaped too, for a terminal may obey them.
pub(super) fn escaped(bytes: &[u8], out: &mut Vec<u8>) {
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            escape(letter, out);
        }
        if !chunk.invalid().is_empty() {
            escape(char::REPLACEMENT_CHARACTER, out);
        }
    }
}

/// Whether all of it stands for itself: eight bytes at a time, the last eight perhaps a second time.
fn is_plain(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The highest bit of a byte says that it, or one before it, is odd.
    let odd = |word: u64| {
        let zero = |word: u64| word.wrapping_sub(ONES) & !word;
        let control = word.wrapping_sub(ONES * u64::from(b' ')) & !word;
        let each = |byte: u8| zero(word ^ (ONES * u64::from(byte)));
        let quote = each(b'"') | each(b'\\');
        (control | quote | word.wrapping_add(ONES) | word) & HIGH
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let any = words.iter().fold(0, |any, word| any | odd(u64::from_ne_bytes(*word)));
    let last = match bytes.last_chunk::<8>() {
        Some(last) => odd(u64::from_ne_bytes(*last)),
        None => rest.iter().fold(0, |any, byte| any | odd(ONES * u64::from(*byte))),
    };
    (any | last) == 0
}

fn escape(letter: char, out: &mut Vec<u8>) {
    match letter {
        '"' | '\\' => out.extend_from_slice(&[b'\\', letter as u8]),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        control if control.is_control() => {
            out.extend_from_slice(b"\\u00");
            for shift in [4, 0] {
                let digit = char::from_digit(control as u32 >> shift & 0xf, 16).unwrap_or('0');
                out.push(digit as u8);
            }
        }
        letter => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn addresses_are_those_of_std() {
        for address in ["0.0.0.0:0", "192.0.2.255:65535", "[2001:db8::1]:443", "[fe80::1%2]:1"] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(shown(|out| socket(address, out)), address.to_string());
            assert_eq!(shown(|out| ip(address.ip(), out)), address.ip().to_string());
        }
    }

    #[test]
    fn numbers_and_durations_are_written_plainly() {
        for value in [0, 9, 10, 12_345, u64::MAX] {
            assert_eq!(shown(|out| number(value, out)), value.to_string());
        }
        assert_eq!(shown(|out| millis(Duration::from_micros(1_234_005), out)), "1234.005");
        assert_eq!(shown(|out| millis(Duration::from_nanos(999), out)), "0.000");
    }

    proptest! {
        #[test]
        fn times_are_those_of_humantime(millis in 0u64..250_000_000_000_000) {
            let at = UNIX_EPOCH + Duration::from_millis(millis);
            prop_assert_eq!(shown(|out| time(at, out)), humantime::format_rfc3339_millis(at).to_string());
        }

        #[test]
        fn any_bytes_escaped_are_a_json_string_of_the_same_text(bytes: Vec<u8>) {
            let json = format!("\"{}\"", shown(|out| escaped(&bytes, out)));
            prop_assert!(!json.chars().any(char::is_control));
            let text: String = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }
}
