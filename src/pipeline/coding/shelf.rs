//! Coded bodies on disk, so that what took half a minute of a processor once is not paid again by
//! the next process, nor by the next replica: a folder may be shared, or be a layer of an image.
//!
//! A file is named by what it is made of: the SHA-256 of the plain body, the coding and its level.
//! It is written beside its place and renamed into it, so that of two writers either has written the
//! whole. What is read is decoded and must have the hash that it is named by: a file that was cut
//! short, or that somebody else has written, is no variant. Whatever goes wrong here costs the time
//! to code once more, and nothing else.
//!
//! Everything here waits for the disk: for threads that carry no requests.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{Context, SHA256, digest};
use bytes::Bytes;

use super::Coding;

/// SHA-256 of a plain body.
pub type Hash = [u8; 32];

/// The end of the name of a file that is being written.
const UNFINISHED: &str = ".unfinished";

/// How old such a file is when whoever wrote it has given up.
const GIVEN_UP: Duration = Duration::from_secs(3_600);

/// The hash of a plain body.
pub fn hash(body: &[u8]) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest(&SHA256, body).as_ref());
    hash
}

/// A folder of coded bodies.
#[derive(Debug)]
pub struct Shelf {
    folder: PathBuf,
    most: u64,
    /// Tells the unfinished files of this process apart.
    serial: AtomicU64,
}

impl Shelf {
    /// In `folder`, which is made when it is first needed; at most `most` bytes.
    pub fn new(folder: PathBuf, most: u64) -> Self {
        Self { folder, most, serial: AtomicU64::new(0) }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The best variant of the body with this hash and size; `None`: there is none that is whole.
    pub fn get(&self, hash: &Hash, size: usize, coding: Coding) -> Option<Bytes> {
        let path = self.folder.join(name(hash, coding)?);
        let mut file = File::open(&path).ok()?;
        // What is larger than the plain body is no variant that pays, whoever wrote it.
        let mut coded = Vec::new();
        (&mut file).take(size as u64 + 1).read_to_end(&mut coded).ok()?;
        if coded.len() > size || decoded_hash(coding, &coded, size).ok() != Some(*hash) {
            let _ = fs::remove_file(&path);
            return None;
        }
        // Used now: the oldest go first. A folder that cannot be written to needs no order.
        let _ = file.set_modified(SystemTime::now());
        Some(coded.into())
    }

    /// Keeps the best variant of the body with this hash. Older ones make room for it.
    ///
    /// # Errors
    /// Of the disk: full, not to be written to, gone.
    pub fn put(&self, hash: &Hash, coding: Coding, coded: &[u8]) -> io::Result<()> {
        let Some(name) = name(hash, coding) else { return Ok(()) };
        if coded.len() as u64 > self.most {
            return Ok(());
        }
        fs::create_dir_all(&self.folder)?;
        self.make_room(coded.len() as u64)?;
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let unfinished = format!("{name}.{}.{serial}{UNFINISHED}", std::process::id());
        let unfinished = self.folder.join(unfinished);
        let written = write(&unfinished, coded)
            .and_then(|()| fs::rename(&unfinished, self.folder.join(name)));
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    /// Removes the variants used least lately until `size` more bytes fit, and what was never
    /// finished. Other files are none of its business.
    fn make_room(&self, size: u64) -> io::Result<()> {
        let now = SystemTime::now();
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let file_name = entry.file_name();
            let Some(name) = file_name.to_str() else { continue };
            // Another process may have removed it meanwhile.
            let Ok(facts) = entry.metadata() else { continue };
            let modified = facts.modified().unwrap_or(now);
            if is_variant(name) {
                kept.push((modified, facts.len(), entry.path()));
            } else if is_unfinished(name)
                && now.duration_since(modified).is_ok_and(|age| age > GIVEN_UP)
            {
                let _ = fs::remove_file(entry.path());
            }
        }
        kept.sort_by_key(|(modified, ..)| std::cmp::Reverse(*modified));
        let mut total = size + kept.iter().map(|(_, size, _)| size).sum::<u64>();
        while total > self.most
            && let Some((_, size, path)) = kept.pop()
        {
            let _ = fs::remove_file(path);
            total -= size;
        }
        Ok(())
    }
}

/// The name of a variant's file; identity has none. The level is part of it: a better one some day
/// is another file.
fn name(hash: &Hash, coding: Coding) -> Option<String> {
    let level = match coding {
        Coding::Identity => return None,
        Coding::Gzip => "gzip-9",
        Coding::Brotli => "br-11",
        Coding::Zstd => "zstd-19",
    };
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{hash}.{level}"))
}

fn is_variant(name: &str) -> bool {
    let hash = |text: &str| {
        text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    name.split_once('.').is_some_and(|(start, level)| {
        hash(start) && matches!(level, "gzip-9" | "br-11" | "zstd-19")
    })
}

fn is_unfinished(name: &str) -> bool {
    let of = name.strip_suffix(UNFINISHED).and_then(|rest| rest.rsplitn(3, '.').nth(2));
    of.is_some_and(is_variant)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    // Before its name is: a machine that loses power must not leave an empty variant behind.
    file.sync_all()
}

/// The hash of what is decoded, which must have `size` bytes.
fn decoded_hash(coding: Coding, coded: &[u8], size: usize) -> io::Result<Hash> {
    let mut reader: Box<dyn Read + '_> = match coding {
        Coding::Identity => Box::new(coded),
        Coding::Gzip => Box::new(flate2::read::GzDecoder::new(coded)),
        Coding::Brotli => Box::new(brotli::Decompressor::new(coded, 16 * 1024)),
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(coded)?;
            // What RFC 9659 allows: a browser could not read more.
            decoder.window_log_max(23)?;
            Box::new(decoder)
        }
    };
    let mut context = Context::new(&SHA256);
    let mut piece = vec![0; 32 * 1024];
    let mut total = 0;
    loop {
        let read = reader.read(&mut piece)?;
        total += read;
        if read == 0 || total > size {
            break;
        }
        context.update(piece.get(..read).unwrap_or_default());
    }
    if total != size {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut hash = Hash::default();
    hash.copy_from_slice(context.finish().as_ref());
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::encode::encode;
    use super::*;

    const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

    fn coded(coding: Coding, body: &[u8]) -> Bytes {
        encode(coding, Level::Fast, body, || true).unwrap()
    }

    fn body(n: u8) -> Vec<u8> {
        (0..4_000_u32).flat_map(|i| (i % 97 * u32::from(n)).to_string().into_bytes()).collect()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_put_is_there_for_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("made/when/needed");
        let body = body(1);
        let hash = hash(&body);
        let shelf = Shelf::new(below.clone(), 1 << 20);
        for coding in CODINGS {
            assert_eq!(shelf.get(&hash, body.len(), coding), None);
            shelf.put(&hash, coding, &coded(coding, &body)).unwrap();
            let other = Shelf::new(below.clone(), 1 << 20);
            assert_eq!(other.get(&hash, body.len(), coding).unwrap(), coded(coding, &body));
        }
        assert_eq!(names(&below).len(), 3, "nothing unfinished is left");
    }

    #[test]
    fn what_is_not_whole_or_not_the_body_is_no_variant() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path().to_owned(), 1 << 20);
        let (body, other) = (body(1), body(2));
        let hash = hash(&body);
        for coding in CODINGS {
            let whole = coded(coding, &body);
            let bomb = coded(coding, &vec![0; 1 << 20]);
            for (what, bytes) in [
                ("cut short", &whole[..whole.len() - 1]),
                ("half", &whole[..whole.len() / 2]),
                ("empty", &[][..]),
                ("another body", &coded(coding, &other)),
                ("no coding at all", &body[..]),
                ("a bomb", &bomb[..]),
            ] {
                let path = folder.path().join(name(&hash, coding).unwrap());
                fs::write(&path, bytes).unwrap();
                assert_eq!(shelf.get(&hash, body.len(), coding), None, "{coding:?}: {what}");
                assert!(!path.exists(), "{coding:?}: {what} is kept");
            }
            shelf.put(&hash, coding, &whole).unwrap();
            assert!(shelf.get(&hash, body.len(), coding).is_some());
        }
    }

    #[test]
    fn it_keeps_to_its_size_and_to_its_own_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("README"), vec![0; 10_000]).unwrap();
        let variants: Vec<_> = (1..=4)
            .map(|n| {
                let body = body(n);
                (hash(&body), body.len(), coded(Coding::Gzip, &body))
            })
            .collect();
        let most: u64 =
            variants[..3].iter().map(|(.., coded)| coded.len() as u64).max().unwrap() * 3;
        let shelf = Shelf::new(folder.path().to_owned(), most);
        for (age, (hash, _, coded)) in variants[..3].iter().enumerate() {
            shelf.put(hash, Coding::Gzip, coded).unwrap();
            let file = File::open(folder.path().join(name(hash, Coding::Gzip).unwrap())).unwrap();
            let ago = Duration::from_secs(1_000 - age as u64 * 100);
            file.set_modified(SystemTime::now() - ago).unwrap();
        }
        // Used: no longer the oldest.
        let (first, size, _) = &variants[0];
        assert!(shelf.get(first, *size, Coding::Gzip).is_some());
        let (last, _, coded) = &variants[3];
        shelf.put(last, Coding::Gzip, coded).unwrap();
        let has = |n: usize| shelf.get(&variants[n].0, variants[n].1, Coding::Gzip).is_some();
        assert_eq!([has(0), has(1), has(2), has(3)], [true, false, true, true]);
        assert!(folder.path().join("README").exists());
        shelf.put(last, Coding::Brotli, &vec![0; 1 << 20]).unwrap();
        assert!(has(0) && has(2) && has(3), "what never fits makes no room");
    }

    #[test]
    fn what_others_left_unfinished_goes_when_they_have_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path().to_owned(), 1 << 20);
        let body = body(1);
        let variant = name(&hash(&body), Coding::Gzip).unwrap();
        let old = folder.path().join(format!("{variant}.4711.0{UNFINISHED}"));
        let new = folder.path().join(format!("{variant}.4712.0{UNFINISHED}"));
        let foreign = folder.path().join(format!("notes{UNFINISHED}"));
        for path in [&old, &new, &foreign] {
            let file = File::create(path).unwrap();
            if path != &new {
                file.set_modified(SystemTime::now() - 2 * GIVEN_UP).unwrap();
            }
        }
        shelf.put(&hash(&body), Coding::Gzip, &coded(Coding::Gzip, &body)).unwrap();
        assert_eq!([&old, &new, &foreign].map(|path| path.exists()), [false, true, true]);
    }

    #[test]
    fn a_disk_that_does_not_take_it_is_an_error_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let shelf = Shelf::new(file, 1 << 20);
        assert!(shelf.put(&[0; 32], Coding::Gzip, b"x").is_err());
        assert_eq!(shelf.get(&[0; 32], 1, Coding::Gzip), None);
        let shelf = Shelf::new(folder.path().join("s"), 1 << 20);
        let place = folder.path().join("s").join(name(&[0; 32], Coding::Gzip).unwrap());
        fs::create_dir_all(place.join("in the way")).unwrap();
        assert!(shelf.put(&[0; 32], Coding::Gzip, b"x").is_err());
        assert_eq!(names(&folder.path().join("s")).len(), 1, "the unfinished file is left");
    }
}
