//! What is wrong with a configuration, where it stands, and how that is told.

use std::fmt::{self, Write as _};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// On the command line or in the environment: `--upstream`, `RAVELIN_UPSTREAM`.
    Override(String),
    /// In the file, both counted from 1, columns in characters.
    File {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// Nowhere: it is about the configuration as a whole.
    Whole,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file's name as it was given; `None`: there is no file.
    pub file: Option<String>,
    /// Where the faulty value stands.
    pub place: Place,
    /// The key's path, `routes[0].timeouts.first_byte`; empty for the whole.
    pub key: String,
    /// What was found there, quoted where it is the user's own text.
    pub found: String,
    /// What was expected instead.
    pub expected: String,
    /// The known word nearest to what was found.
    pub nearest: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, &self.file) {
            (Place::File { line, column }, Some(file)) => write!(f, "{file}:{line}:{column}: ")?,
            (Place::File { line, column }, None) => write!(f, "{line}:{column}: ")?,
            (Place::Override(origin), _) => write!(f, "{origin}: ")?,
            (Place::Whole, Some(file)) => write!(f, "{file}: ")?,
            (Place::Whole, None) => f.write_str("configuration: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "found {}, expected {}", self.found, self.expected)?;
        if let Some(nearest) = &self.nearest {
            write!(f, " (did you mean \"{nearest}\"?)")?;
        }
        Ok(())
    }
}

/// What a fault says was found where the value is a secret.
pub const UNSHOWN: &str = "a value that is not shown";

/// Every fault of a configuration, in the order of the file; never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Faults {
    faults: Vec<Fault>,
    text: String,
}

impl Faults {
    /// The faults of `text`, sorted by place, each once.
    pub fn new(mut faults: Vec<Fault>, text: &str) -> Self {
        faults.sort_by(|a, b| a.place.cmp(&b.place));
        faults.dedup();
        Self { faults, text: text.to_owned() }
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter()
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.faults.len()
    }

    /// As shown to a person: every fault with its source line and a caret below the place.
    pub fn render(&self, colour: bool) -> String {
        let (bold, red, dim, off) =
            if colour { ("\x1b[1m", "\x1b[31m", "\x1b[2m", "\x1b[0m") } else { ("", "", "", "") };
        let mut out = String::new();
        for fault in &self.faults {
            let _ = writeln!(out, "{bold}{fault}{off}");
            let Place::File { line, column } = fault.place else { continue };
            let Some(source) = self.text.lines().nth(line.saturating_sub(1)) else { continue };
            // A line that may hold a secret is not repeated.
            if fault.found == UNSHOWN || without_userinfo(source) != source {
                continue;
            }
            let shown = shown(source);
            let indent = " ".repeat(column.saturating_sub(1));
            let _ = writeln!(out, "{dim}{line:>5} |{off} {shown}");
            let _ = writeln!(out, "{dim}      |{off} {indent}{red}^{off}");
        }
        out
    }
}

/// A source line as it may be shown: one column a character, and no escape sequences.
fn shown(source: &str) -> String {
    source.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            if i > 0 {
                f.write_char('\n')?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Faults {}

/// The candidate that `word` is probably a slip of, if any is near enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(score, _)| *score >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

/// The user's own text in quotes, shortened, without control characters, and without the
/// credentials of an address (`scheme://user:password@host`).
pub fn quoted(text: &str) -> String {
    let masked = without_userinfo(text);
    let mut short: String = masked.chars().take(80).collect();
    if masked.chars().count() > 80 {
        short.push('…');
    }
    format!("\"{}\"", short.escape_debug())
}

/// An address whose credentials are replaced by `***`.
pub fn without_userinfo(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest.get(..end).and_then(|authority| authority.rfind('@')) {
        Some(at) => format!("{scheme}://***{}", rest.get(at..).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_show() {
        assert_eq!(quoted("http://user:secret@host/x"), "\"http://***@host/x\"");
        assert_eq!(quoted("http://host/x@y"), "\"http://host/x@y\"");
    }

    #[test]
    fn a_far_word_is_not_suggested() {
        assert_eq!(nearest("listners", ["listeners", "routes"]).as_deref(), Some("listeners"));
        assert_eq!(nearest("xyz", ["listeners", "routes"]), None);
    }

    #[test]
    fn the_caret_stands_below_the_place() {
        let fault = Fault {
            file: Some("a.yaml".into()),
            place: Place::File { line: 1, column: 10 },
            key: "workers".into(),
            found: "\"x\"".into(),
            expected: "a number".into(),
            nearest: None,
        };
        let text = Faults::new(vec![fault], "workers: x").render(false);
        assert_eq!(
            text,
            "a.yaml:1:10: workers: found \"x\", expected a number\n    1 | workers: x\n      |          ^\n"
        );
    }
}
