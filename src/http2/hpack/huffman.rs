//! Huffman coding of HPACK strings (RFC 7541 §5.2, Appendix B).
//!
//! The code is canonical: codes of one length follow each other in the order of their symbols, so
//! the lengths are all there is to know, and both tables are made of them when this is compiled.

/// The length of each byte's code, in bits (RFC 7541 Appendix B).
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// What one look into [`PAIRS`] takes in: two codes of up to six bits, which is what texts are mostly
/// made of, or one that is longer; only rare bytes have more.
const LOOK: u32 = 12;
/// The longest code; the one of thirty ones is EOS, which no string may contain.
const LONGEST: usize = 30;

/// Where the codes of each length begin.
struct Canonical {
    /// The first code of this length.
    first: [u32; LONGEST + 1],
    /// How many there are.
    count: [u32; LONGEST + 1],
    /// The place of the first one's byte in `symbols`.
    offset: [u32; LONGEST + 1],
    /// All bytes, in the order of their codes.
    symbols: [u8; 256],
    /// Each byte's code.
    codes: [u32; 256],
}

const CANONICAL: Canonical = canonical();
static TABLES: Canonical = CANONICAL;
/// By the next bits: one byte or two, how many of the two, and how long their codes are together; none
/// where the first code is longer.
static PAIRS: [Pair; 1 << LOOK] = pairs();

#[derive(Clone, Copy)]
struct Pair {
    bytes: [u8; 2],
    count: u8,
    length: u8,
}

const fn canonical() -> Canonical {
    let mut made = Canonical {
        first: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        offset: [0; LONGEST + 1],
        symbols: [0; 256],
        codes: [0; 256],
    };
    let (mut length, mut code, mut place) = (1, 0, 0);
    while length <= LONGEST {
        code <<= 1;
        made.first[length] = code;
        made.offset[length] = place as u32;
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == length {
                made.codes[symbol] = code;
                made.symbols[place] = symbol as u8;
                made.count[length] += 1;
                code += 1;
                place += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    made
}

const fn pairs() -> [Pair; 1 << LOOK] {
    let mut table = [Pair { bytes: [0; 2], count: 0, length: 0 }; 1 << LOOK];
    let mut symbol = 0;
    while symbol < 256 {
        let length = LENGTHS[symbol] as u32;
        if length <= LOOK {
            let first = (CANONICAL.codes[symbol] << (LOOK - length)) as usize;
            let mut place = first;
            while place < first + (1 << (LOOK - length)) {
                table[place] = Pair { bytes: [symbol as u8, 0], count: 1, length: length as u8 };
                place += 1;
            }
        }
        symbol += 1;
    }
    let singles = table;
    let mut place = 0;
    while place < table.len() {
        let first = singles[place];
        // What follows the first code, filled up with zeros.
        let second = singles[(place << first.length) % table.len()];
        let length = first.length + second.length;
        if first.count == 1 && second.count == 1 && length as u32 <= LOOK {
            table[place] = Pair { bytes: [first.bytes[0], second.bytes[0]], count: 2, length };
        }
        place += 1;
    }
    table
}

/// What is not a Huffman-coded string: EOS within it, or a padding that is longer than seven bits
/// or not of ones. A connection error COMPRESSION_ERROR.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid;

/// Appends what `coded` stands for to `out`.
pub fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
    // No code is shorter than five bits.
    out.reserve(coded.len() * 8 / 5);
    let mut rest = coded;
    // The next bits, from the highest down, and how many of them there are.
    let (mut bits, mut have) = (0_u64, 0_u32);
    loop {
        if have <= 32 {
            if let Some((word, later)) = rest.split_first_chunk::<4>() {
                bits |= u64::from(u32::from_be_bytes(*word)) << (32 - have);
                have += 32;
                rest = later;
            }
            while have <= 32
                && let Some((byte, later)) = rest.split_first()
            {
                bits |= u64::from(*byte) << (56 - have);
                have += 8;
                rest = later;
            }
        }
        // As long as what a look takes in is there, no code that it knows can be cut off. What was
        // found is put together first: a byte at a time costs more than finding it.
        let (mut found, mut count) = ([0; 16], 0);
        let mut pair = look(bits);
        while have >= LOOK && pair.count != 0 {
            let [first, second] = pair.bytes;
            found[count % 16] = first;
            found[(count + 1) % 16] = second;
            count += usize::from(pair.count);
            bits <<= pair.length;
            have -= u32::from(pair.length);
            pair = look(bits);
        }
        // 64 bits are at most twelve codes.
        out.extend_from_slice(found.get(..count).unwrap_or_default());
        if have <= 32 && !rest.is_empty() {
            continue;
        }
        let [symbol, _] = pair.bytes;
        let length = u32::from(LENGTHS[usize::from(symbol)]);
        let (symbol, length) = match pair.count {
            1.. if length <= have => (symbol, length),
            _ if have < 8 && is_padding(bits, have) => return Ok(()),
            _ => long(bits, have)?,
        };
        out.push(symbol);
        bits <<= length;
        have -= length;
    }
}

/// What the next bits stand for.
fn look(bits: u64) -> Pair {
    PAIRS[(bits >> (64 - LOOK)) as usize % PAIRS.len()]
}

/// Whether the last bits are the beginning of EOS, as a string is filled up.
const fn is_padding(bits: u64, have: u32) -> bool {
    have == 0 || bits >> (64 - have) == (1 << have) - 1
}

/// A code that is longer than one look takes in.
fn long(bits: u64, have: u32) -> Result<(u8, u32), Invalid> {
    for length in LOOK as usize + 1..=LONGEST.min(have as usize) {
        let code = (bits >> (64 - length)) as u32;
        let nth = code.wrapping_sub(TABLES.first[length]);
        if nth < TABLES.count[length] {
            let place = (TABLES.offset[length] + nth) as usize % 256;
            return Ok((TABLES.symbols[place], length as u32));
        }
    }
    Err(Invalid)
}

/// How many bytes `text` takes when coded.
pub fn coded_len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|byte| usize::from(LENGTHS[usize::from(*byte)])).sum();
    bits.div_ceil(8)
}

/// Appends `text`, coded, to `out`.
pub fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut have) = (0_u64, 0_u32);
    for byte in text {
        let length = u32::from(LENGTHS[usize::from(*byte)]);
        bits |= u64::from(TABLES.codes[usize::from(*byte)]) << (64 - have - length);
        have += length;
        if have >= 32 {
            out.extend_from_slice(&((bits >> 32) as u32).to_be_bytes());
            bits <<= 32;
            have -= 32;
        }
    }
    if have > 0 {
        // Filled up with ones, the beginning of EOS.
        bits |= u64::MAX >> have;
        let bytes = bits.to_be_bytes();
        out.extend_from_slice(bytes.get(..have.div_ceil(8) as usize).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, Invalid> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    #[test]
    fn the_examples_of_rfc_7541() {
        // Appendix C.4 and C.6.
        for (text, coded) in [
            ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
            ("no-cache", "a8eb10649cbf"),
            ("custom-key", "25a849e95ba97d7f"),
            ("custom-value", "25a849e95bb8e8b4bf"),
            ("302", "6402"),
            ("private", "aec3771a4b"),
            ("Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"),
            ("https://www.example.com", "9d29ad171863c78f0b97c8e9ae82ae43d3"),
            (
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
            ),
        ] {
            let bytes: Vec<u8> = (0..coded.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&coded[at..at + 2], 16).unwrap())
                .collect();
            assert_eq!(decoded(&bytes).unwrap(), text.as_bytes());
            let mut out = Vec::new();
            encode(text.as_bytes(), &mut out);
            assert_eq!((out.len(), out), (coded_len(text.as_bytes()), bytes), "{text}");
        }
    }

    #[test]
    fn eos_and_long_or_wrong_padding_are_refused() {
        // EOS; eight ones as padding; padding of zeros.
        for coded in [&[0xff, 0xff, 0xff, 0xff][..], &[0x1f, 0xff], &[0x18]] {
            assert_eq!(decoded(coded), Err(Invalid), "{coded:x?}");
        }
        assert_eq!(decoded(&[0x1f]).unwrap(), b"a");
        assert_eq!(decoded(&[]).unwrap(), b"");
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut coded = Vec::new();
            encode(&text, &mut coded);
            prop_assert_eq!(coded.len(), coded_len(&text));
            prop_assert_eq!(decoded(&coded).unwrap(), text);
        }

        #[test]
        fn no_bytes_make_it_panic(coded in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decoded(&coded);
        }
    }
}
