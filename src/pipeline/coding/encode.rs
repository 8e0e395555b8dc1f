//! Codes a whole body at once, on a thread that may take its time.

use std::io;

use bytes::Bytes;

use super::stream::Encoder;
use super::{Coding, Level};

/// How much is coded between two questions whether to go on: half a millisecond at the fast level.
const PIECE: usize = 32 * 1024;

/// Why there is no coded body.
#[derive(Debug)]
pub enum Unfinished {
    /// It was told to stop.
    Stopped,
    /// The encoder failed.
    Failed(io::Error),
}

/// The coded body. `go_on` is asked before every piece of 32 KiB and once before the end: it may
/// take its time (to give way to others) and says `false` to stop.
///
/// The best level takes memory beside the body, for a script of 9 MB some 140 MiB with brotli and
/// 94 MiB with zstd; see [`memory`]. It may also run for long between two questions: brotli gathers
/// 256 KiB before it does anything (up to a second), and its end takes a fifth of the whole. So a
/// thread that encodes should have a low priority as well.
///
/// # Errors
/// `Stopped` when told so, `Failed` if the encoder did.
pub fn encode(
    coding: Coding,
    level: Level,
    body: &[u8],
    mut go_on: impl FnMut() -> bool,
) -> Result<Bytes, Unfinished> {
    let mut encoder =
        Encoder::exact(coding, level, body.len() as u64).map_err(Unfinished::Failed)?;
    let mut coded = Vec::with_capacity(body.len() / 4);
    for piece in body.chunks(PIECE) {
        if !go_on() {
            return Err(Unfinished::Stopped);
        }
        coded.extend_from_slice(&encoder.push(piece).map_err(Unfinished::Failed)?);
    }
    if !go_on() {
        return Err(Unfinished::Stopped);
    }
    coded.extend_from_slice(&encoder.finish().map_err(Unfinished::Failed)?);
    coded.shrink_to_fit();
    Ok(coded.into())
}

/// About how much memory [`encode`] takes beside the body, in bytes: for those who must stay below
/// a limit and would rather keep a lesser variant.
pub fn memory(coding: Coding, level: Level, body: u64) -> u64 {
    const MIB: u64 = 1 << 20;
    match (coding, level) {
        (Coding::Identity, _) => 0,
        (Coding::Gzip, _) => 4 * MIB,
        // The tree of all that it has seen: two links of four bytes for each byte of the window.
        (Coding::Brotli, Level::Best) => 16 * MIB + 14 * body.min(16 * MIB),
        (Coding::Brotli, _) => 12 * MIB + 5 * body.min(4 * MIB) + body / 4,
        (Coding::Zstd, Level::Best) => (84 * MIB).min(MIB + 16 * body) + body.min(8 * MIB),
        (Coding::Zstd, _) => 8 * MIB,
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream::tests::{CODINGS, decoded, text};
    use super::*;

    #[test]
    fn every_coding_and_level_gives_the_body_back() {
        for body in [Vec::new(), b"x".to_vec(), text(70_000, 1)] {
            for coding in CODINGS {
                for level in [Level::Light, Level::Fast, Level::Best] {
                    let coded = encode(coding, level, &body, || true).unwrap();
                    assert!(decoded(coding, &coded) == body, "{coding:?} {level:?}");
                }
            }
        }
    }

    #[test]
    fn the_best_level_is_smaller_than_the_fast_one_and_that_than_the_light_one() {
        let body = include_bytes!("../../../docs/configuration.md");
        for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
            let size = |level| encode(coding, level, body, || true).unwrap().len();
            let [light, fast, best] = [Level::Light, Level::Fast, Level::Best].map(size);
            assert!(light > fast && fast > best, "{coding:?}: {light} {fast} {best}");
        }
    }

    #[test]
    fn it_stops_when_told_and_asks_often_enough() {
        let body = text(10 * PIECE, 3);
        for coding in CODINGS {
            let mut asked = 0;
            assert!(
                encode(coding, Level::Fast, &body, || {
                    asked += 1;
                    true
                })
                .is_ok()
            );
            assert_eq!(asked, 11, "{coding:?}");
            let mut left = 4;
            let stopped = encode(coding, Level::Fast, &body, || {
                left -= 1;
                left > 0
            });
            assert!(matches!(stopped, Err(Unfinished::Stopped)), "{coding:?}");
            assert_eq!(left, 0, "{coding:?} went on");
        }
    }

    /// The window that a zstd frame asks of its decoder (RFC 8878 §3.1.1.1), in bytes.
    fn zstd_window(frame: &[u8]) -> u64 {
        assert_eq!(frame[..4], [0x28, 0xb5, 0x2f, 0xfd]);
        if frame[4] & 0x20 != 0 {
            // A single segment: the window is the body, whose size is told in four bytes here.
            assert_eq!(frame[4] >> 6, 2);
            return u64::from(u32::from_le_bytes(frame[5..9].try_into().unwrap()));
        }
        let (exponent, mantissa) = (frame[5] >> 3, u64::from(frame[5] & 7));
        let base = 1_u64 << (10 + exponent);
        base + base / 8 * mantissa
    }

    #[test]
    fn no_zstd_window_is_larger_than_browsers_take() {
        // Zeros: large, and quick at every level.
        let body = vec![0; 20 << 20];
        for (level, expected) in
            [(Level::Light, 512 << 10), (Level::Fast, 2 << 20), (Level::Best, 8 << 20)]
        {
            let frame = encode(Coding::Zstd, level, &body, || true).unwrap();
            assert_eq!(zstd_window(&frame), expected, "{level:?}");
            let mut streamed = Encoder::new(Coding::Zstd, level, Some(u64::MAX)).unwrap();
            let start = [streamed.push(&body).unwrap(), streamed.flush().unwrap()].concat();
            assert_eq!(zstd_window(&start), expected, "{level:?}");
        }
        let frame = encode(Coding::Zstd, Level::Best, &body[..200_000], || true).unwrap();
        assert_eq!(zstd_window(&frame), 200_000, "a small body is told as it is");
    }
}
