//! A place in the configuration while it is being judged: its key path, and where to report.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::config::fault::{Fault, Place, quoted};

/// What all scopes of one load share.
#[derive(Debug)]
pub struct Context {
    /// The file's name as it was given.
    pub file: Option<String>,
    /// The folder that relative paths of the file are relative to.
    pub base: PathBuf,
    /// Whether named files must exist.
    pub look: bool,
    places: RefCell<HashMap<String, Place>>,
    faults: RefCell<Vec<Fault>>,
}

impl Context {
    /// A load that begins.
    pub fn new(file: Option<String>, base: PathBuf, look: bool) -> Self {
        Self { file, base, look, places: RefCell::default(), faults: RefCell::default() }
    }

    /// The scope of the whole.
    pub fn root(&self) -> Scope<'_> {
        Scope { context: self, path: String::new() }
    }

    /// Adds a fault.
    pub fn push(&self, fault: Fault) {
        self.faults.borrow_mut().push(fault);
    }

    /// The faults so far.
    pub fn take(&self) -> Vec<Fault> {
        self.faults.take()
    }

    /// Remembers where the value of a key path was written.
    pub fn remember(&self, path: &str, place: &Place) {
        self.places.borrow_mut().insert(path.to_owned(), place.clone());
    }

    /// Where a key path was written: its own place, else that of what encloses it.
    fn place(&self, path: &str) -> Place {
        let places = self.places.borrow();
        let mut path = path;
        loop {
            if let Some(place) = places.get(path) {
                return place.clone();
            }
            match path.rfind(['.', '[']) {
                Some(at) => path = path.get(..at).unwrap_or_default(),
                None => return Place::Whole,
            }
        }
    }
}

/// One key path.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    context: &'a Context,
    path: String,
}

impl Scope<'_> {
    /// A key below.
    pub fn key(&self, key: &str) -> Self {
        let path = match (self.path.is_empty(), is_word(key)) {
            (true, true) => key.to_owned(),
            (false, true) => format!("{}.{key}", self.path),
            (_, false) => format!("{}[\"{}\"]", self.path, key.escape_debug()),
        };
        Self { context: self.context, path }
    }

    /// An item below.
    pub fn index(&self, index: usize) -> Self {
        Self { context: self.context, path: format!("{}[{index}]", self.path) }
    }

    /// The key path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where it was written.
    pub fn place(&self) -> Place {
        self.context.place(&self.path)
    }

    /// Remembers where it was written.
    pub fn remember(&self, place: &Place) {
        self.context.remember(&self.path, place);
    }

    /// Whether it was written at all.
    pub fn given(&self) -> bool {
        self.context.places.borrow().contains_key(&self.path)
    }

    /// Whether something was reported here or below.
    pub fn faulty(&self) -> bool {
        let faults = self.context.faults.borrow();
        faults
            .iter()
            .filter_map(|fault| fault.key.strip_prefix(&self.path))
            .any(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    /// Reports this as found and that as expected.
    pub fn fault(&self, found: impl Into<String>, expected: impl Into<String>) {
        self.report(self.place(), found.into(), expected.into(), None);
    }

    /// Reports a text of the user's.
    pub fn bad(&self, text: &str, expected: impl Into<String>) {
        self.fault(quoted(text), expected);
    }

    /// Reports a text of the user's that may be a slip of a known one.
    pub fn unknown(&self, text: &str, expected: impl Into<String>, nearest: Option<String>) {
        self.report(self.place(), quoted(text), expected.into(), nearest);
    }

    /// Reports at a place of its own.
    pub fn report(&self, place: Place, found: String, expected: String, nearest: Option<String>) {
        let key = self.path.clone();
        let file = self.context.file.clone();
        self.context.push(Fault { file, place, key, found, expected, nearest });
    }

    /// A value that was parsed, or a fault and nothing.
    pub fn parsed<T>(&self, text: &str, value: Option<T>, expected: &str) -> Option<T> {
        if value.is_none() {
            self.bad(text, expected);
        }
        value
    }

    /// A path as the process will use it: a file's is relative to the file's folder, a flag's to
    /// the working directory.
    pub fn resolve(&self, path: &str) -> PathBuf {
        match self.place() {
            Place::Override(_) => PathBuf::from(path),
            _ => self.context.base.join(path),
        }
    }

    /// Whether what is written may be compared with what is on this machine.
    pub const fn looks(&self) -> bool {
        self.context.look
    }

    /// A file that must be there and readable.
    pub fn readable(&self, path: &str) -> PathBuf {
        let resolved = self.resolve(path);
        if path.is_empty() {
            self.fault("an empty path", "the path of a file");
        } else if self.context.look
            && let Err(why) = open(&resolved)
        {
            self.bad(path, format!("a readable file ({}: {why})", resolved.display()));
        }
        resolved
    }
}

fn open(path: &Path) -> Result<(), String> {
    let file = std::fs::File::open(path).map_err(|error| reason(&error))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_dir() => Err("it is a directory".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(reason(&error)),
    }
}

/// The system's words without its number, the same on every platform for the usual two.
pub fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is none".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

fn is_word(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '<'))
}
