//! Encoders that take a body piece by piece: nothing here waits, and what has been pushed can be
//! had at any time by a flush.

use std::io::{self, Write};

use brotli::enc::StandardAlloc;
use brotli::enc::encode::{
    BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderStateStruct,
};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::stream::raw::CParameter;

use super::{Coding, Level};

/// Bytes of window (as a power of two) for a body of unknown size: 256 KiB.
const WINDOW_UNKNOWN: u32 = 18;

/// A body that is being coded. Dropping it half-way costs nothing.
pub struct Encoder(Inner);

enum Inner {
    Identity,
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Brotli(Box<Brotli>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
}

impl Encoder {
    /// An encoder for a body of about `size` bytes, which need not be exact: it decides on the
    /// window and with it on the memory. Unknown: 256 KiB, which makes 1 to 2 MiB of memory.
    ///
    /// # Errors
    /// Memory for zstd was not to be had.
    pub fn new(coding: Coding, level: Level, size: Option<u64>) -> io::Result<Self> {
        let inner = match coding {
            Coding::Identity => Inner::Identity,
            Coding::Gzip => {
                let level = match level {
                    Level::Light => 1,
                    Level::Fast => 5,
                    Level::Best => 9,
                };
                Inner::Gzip(Box::new(GzEncoder::new(Vec::new(), Compression::new(level))))
            }
            Coding::Brotli => Inner::Brotli(Box::new(Brotli::new(level, size))),
            Coding::Zstd => Inner::Zstd(Box::new(zstd(level, Size::About(size))?)),
        };
        Ok(Self(inner))
    }

    /// The same for a body of exactly `size` bytes, which zstd then tells the decoder.
    pub(super) fn exact(coding: Coding, level: Level, size: u64) -> io::Result<Self> {
        match coding {
            Coding::Zstd => Ok(Self(Inner::Zstd(Box::new(zstd(level, Size::Exact(size))?)))),
            other => Self::new(other, level, Some(size)),
        }
    }

    /// Takes a piece, gives what is ready: often nothing. CPU is in proportion to the piece, with
    /// brotli in blocks of 64 KiB (at the best level 256 KiB).
    ///
    /// # Errors
    /// The encoder failed; the body cannot be completed.
    pub fn push(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        match &mut self.0 {
            Inner::Identity => Ok(Bytes::copy_from_slice(piece)),
            Inner::Gzip(gzip) => {
                gzip.write_all(piece)?;
                Ok(std::mem::take(gzip.get_mut()).into())
            }
            Inner::Brotli(brotli) => {
                brotli.run(BrotliEncoderOperation::BROTLI_OPERATION_PROCESS, piece)
            }
            Inner::Zstd(zstd) => {
                zstd.write_all(piece)?;
                Ok(std::mem::take(zstd.get_mut()).into())
            }
        }
    }

    /// Gives all that a decoder needs for what has been pushed so far.
    ///
    /// # Errors
    /// As `push`.
    pub fn flush(&mut self) -> io::Result<Bytes> {
        match &mut self.0 {
            Inner::Identity => Ok(Bytes::new()),
            Inner::Gzip(gzip) => {
                gzip.flush()?;
                Ok(std::mem::take(gzip.get_mut()).into())
            }
            Inner::Brotli(brotli) => {
                brotli.run(BrotliEncoderOperation::BROTLI_OPERATION_FLUSH, &[])
            }
            Inner::Zstd(zstd) => {
                zstd.flush()?;
                Ok(std::mem::take(zstd.get_mut()).into())
            }
        }
    }

    /// Gives the rest.
    ///
    /// # Errors
    /// As `push`.
    pub fn finish(self) -> io::Result<Bytes> {
        match self.0 {
            Inner::Identity => Ok(Bytes::new()),
            Inner::Gzip(gzip) => gzip.finish().map(Bytes::from),
            Inner::Brotli(mut brotli) => {
                brotli.run(BrotliEncoderOperation::BROTLI_OPERATION_FINISH, &[])
            }
            Inner::Zstd(zstd) => zstd.finish().map(Bytes::from),
        }
    }
}

/// The smallest window (as a power of two) that holds `size` bytes, between `least` and `most`.
fn window(size: Option<u64>, least: u32, most: u32) -> u32 {
    let holds = size.map_or(WINDOW_UNKNOWN, |size| u64::BITS - size.leading_zeros());
    holds.clamp(least, most)
}

/// What is known of a body's size.
enum Size {
    Exact(u64),
    About(Option<u64>),
}

fn zstd(level: Level, size: Size) -> io::Result<zstd::stream::write::Encoder<'static, Vec<u8>>> {
    // Window, hash and chain tables of zstd's own levels, as powers of two. The last window, 8 MiB,
    // is the largest that RFC 9659 allows.
    let (level, most, hash, chain) = match level {
        Level::Light => (1, 19, 14, 13),
        Level::Fast => (3, 21, 17, 16),
        Level::Best => (19, 23, 22, 24),
    };
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
    match size {
        Size::Exact(size) => encoder.set_pledged_src_size(Some(size))?,
        Size::About(size) => {
            // Without a promise zstd takes its largest tables, however small the window is.
            let window = window(size, 10, most);
            encoder.set_parameter(CParameter::WindowLog(window))?;
            encoder.set_parameter(CParameter::HashLog(hash.min(window + 1)))?;
            encoder.set_parameter(CParameter::ChainLog(chain.min(window + 1)))?;
        }
    }
    Ok(encoder)
}

/// The brotli encoder itself: the crate's `Write` adapter would finish the body when it is dropped,
/// at full cost, though nobody waits for it any more.
struct Brotli(BrotliEncoderStateStruct<StandardAlloc>);

impl Brotli {
    fn new(level: Level, size: Option<u64>) -> Self {
        // Below 18 level 5 takes another way to find matches, which costs ten times the CPU.
        let (quality, least, most) = match level {
            Level::Light => (1, 16, 18),
            Level::Fast => (5, 18, 22),
            Level::Best => (11, 16, 24),
        };
        let mut state = BrotliEncoderStateStruct::new(StandardAlloc::default());
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_QUALITY, quality);
        let window = window(size, least, most);
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_LGWIN, window);
        let hint = size.and_then(|size| u32::try_from(size).ok()).unwrap_or(0);
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_SIZE_HINT, hint);
        Self(state)
    }

    fn run(&mut self, operation: BrotliEncoderOperation, piece: &[u8]) -> io::Result<Bytes> {
        let mut output = Vec::new();
        let (mut left, mut read) = (piece.len(), 0);
        let finish = matches!(operation, BrotliEncoderOperation::BROTLI_OPERATION_FINISH);
        loop {
            // No room for output is given: it is taken from the encoder's own, below.
            let went = self.0.compress_stream(
                operation,
                &mut left,
                piece,
                &mut read,
                &mut 0,
                &mut [],
                &mut 0,
                &mut None,
                &mut |_, _, _, _| (),
            );
            if !went {
                return Err(io::Error::other("brotli encoder failed"));
            }
            while self.0.has_more_output() {
                // 0 asks for all there is; the slice goes beyond it, so the count decides.
                let mut count = 0;
                let ready = self.0.take_output(&mut count);
                output.extend_from_slice(ready.get(..count).unwrap_or(ready));
            }
            if left == 0 && (!finish || self.0.is_finished()) {
                return Ok(output.into());
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    pub(crate) const CODINGS: [Coding; 4] =
        [Coding::Identity, Coding::Gzip, Coding::Brotli, Coding::Zstd];

    /// What can be decoded of the beginning of a coded body.
    pub(crate) fn decoded(coding: Coding, coded: &[u8]) -> Vec<u8> {
        let mut reader: Box<dyn Read + '_> = match coding {
            Coding::Identity => Box::new(coded),
            Coding::Gzip => Box::new(flate2::read::GzDecoder::new(coded)),
            Coding::Brotli => Box::new(brotli::Decompressor::new(coded, 4_096)),
            Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(coded).unwrap()),
        };
        let (mut plain, mut piece) = (Vec::new(), [0; 4_096]);
        // An error is the end of what is there so far.
        while let Ok(read @ 1..) = reader.read(&mut piece) {
            plain.extend_from_slice(&piece[..read]);
        }
        plain
    }

    /// Text that shrinks but is not one byte over and over.
    pub(crate) fn text(size: usize, seed: u64) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        let words = ["function", "return", "this.", "const ", "=>", "{", "}", "user", "org", "id"];
        let mut text = Vec::with_capacity(size + 16);
        while text.len() < size {
            text.extend_from_slice(words[random.usize(..words.len())].as_bytes());
            text.extend_from_slice(random.u16(..).to_string().as_bytes());
        }
        text.truncate(size);
        text
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn however_a_body_is_cut_what_was_flushed_is_there(
            cuts in prop::collection::vec((0_usize..40_000, any::<bool>()), 0..8),
            level in prop::sample::select(vec![Level::Light, Level::Fast]),
            hint in prop::option::of(prop::sample::select(vec![0, 1_000, 300_000, u64::MAX])),
            seed in any::<u64>(),
        ) {
            for coding in CODINGS {
                let mut encoder = Encoder::new(coding, level, hint).unwrap();
                let (mut plain, mut coded) = (Vec::new(), Vec::new());
                for (size, flush) in &cuts {
                    let piece = text(*size, seed ^ *size as u64);
                    plain.extend_from_slice(&piece);
                    coded.extend_from_slice(&encoder.push(&piece).unwrap());
                    if *flush {
                        coded.extend_from_slice(&encoder.flush().unwrap());
                        prop_assert!(decoded(coding, &coded) == plain, "{coding:?} holds back");
                    }
                }
                coded.extend_from_slice(&encoder.finish().unwrap());
                prop_assert!(decoded(coding, &coded) == plain, "{coding:?}");
            }
        }
    }

    #[test]
    fn a_window_holds_the_body_and_no_more_than_it_may() {
        for (size, expected) in [
            (None, 18),
            (Some(0), 10),
            (Some(1_023), 10),
            (Some(1_024), 11),
            (Some(100_000), 17),
            (Some(u64::MAX), 23),
        ] {
            assert_eq!(window(size, 10, 23), expected, "{size:?}");
        }
    }

    #[test]
    fn a_flush_with_nothing_new_gives_little_and_harms_nothing() {
        for coding in CODINGS {
            let mut encoder = Encoder::new(coding, Level::Fast, None).unwrap();
            let mut coded = encoder.push(b"once").unwrap().to_vec();
            for _ in 0..3 {
                let flushed = encoder.flush().unwrap();
                assert!(flushed.len() < 64, "{coding:?}: {}", flushed.len());
                coded.extend_from_slice(&flushed);
            }
            coded.extend_from_slice(&encoder.finish().unwrap());
            assert_eq!(decoded(coding, &coded), b"once", "{coding:?}");
        }
    }
}
