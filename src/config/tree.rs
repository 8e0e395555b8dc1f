//! YAML text → a tree in which every value knows where it was written.
//!
//! The events come from the parser that serde-saphyr is built on. Its serde side is not used:
//! serde stops at the first fault, and here all are wanted.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput};

use crate::config::fault::Place;

/// Aliases may repeat what they name; a file that grows beyond this is not a configuration.
const MAX_NODES: usize = 100_000;

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it was written.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// A YAML value by the core schema (YAML 1.2 §10.3: `yes`, `no`, `on` and `off` are text).
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`, `~`, or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number, as it was written: `1.10` is not `1.1` where a text is meant.
    Float(String),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key was written.
    pub place: Place,
    /// Its value.
    pub value: Node,
}

/// Why there is no tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where.
    pub place: Place,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

/// The tree of a text; an empty text is an empty mapping.
pub fn parse(text: &str) -> Result<Node, Malformed> {
    let mut builder =
        Builder { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut root = None;
    while let Some((event, at)) = builder.next()? {
        match event {
            Event::DocumentStart(..) if root.is_some() => {
                return Err(malformed(at, "a second document", "one document a file"));
            }
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd => {}
            event => root = Some(builder.node(event, at)?),
        }
    }
    Ok(match root {
        Some(Node { value: Value::Null, place }) => Node { place, value: Value::Map(Vec::new()) },
        Some(root) => root,
        None => Node { place: Place::Whole, value: Value::Map(Vec::new()) },
    })
}

/// A plain (unquoted) scalar by the core schema; also used for flags and variables.
pub fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    // `007` and `+5` stay texts: nothing that is a number here is written like that.
    if let Ok(number) = text.parse::<i64>()
        && number.to_string() == text
    {
        return Value::Int(number);
    }
    // Rust also reads `inf` and `nan`, which are names here.
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.'));
    match text.parse::<f64>() {
        Ok(number) if numeric && number.is_finite() => Value::Float(text.to_owned()),
        _ => Value::Text(text.to_owned()),
    }
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Marker)>, Malformed> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, span.start))),
            Some(Err(error)) => Err(syntax(&error)),
        }
    }

    fn node(&mut self, event: Event<'a>, at: Marker) -> Result<Node, Malformed> {
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                self.grow(1, at)?;
                let value = match style {
                    ScalarStyle::Plain => plain(&text),
                    _ => Value::Text(text.into_owned()),
                };
                (value, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.list(at)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.map(at)?, anchor),
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor).cloned();
                let target = target.ok_or_else(|| {
                    malformed(at, "an alias of what encloses it", "an alias of a finished value")
                })?;
                self.grow(size(&target), at)?;
                return Ok(target);
            }
            _ => return Err(malformed(at, "an incomplete document", "a value")),
        };
        let node = Node { place: place(at), value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, at: Marker) -> Result<Value, Malformed> {
        self.grow(1, at)?;
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Some((Event::SequenceEnd, _)) => return Ok(Value::List(items)),
                Some((event, at)) => items.push(self.node(event, at)?),
                None => return Err(malformed(at, "an unfinished list", "its end")),
            }
        }
    }

    fn map(&mut self, at: Marker) -> Result<Value, Malformed> {
        self.grow(1, at)?;
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (key, key_at) = match self.next()? {
                Some((Event::MappingEnd, _)) => return Ok(Value::Map(entries)),
                Some((Event::Scalar(key, ..), at)) => (key.into_owned(), at),
                Some((_, at)) => return Err(malformed(at, "a compound key", "a plain key")),
                None => return Err(malformed(at, "an unfinished mapping", "its end")),
            };
            if entries.iter().any(|entry| entry.key == key) {
                return Err(malformed(
                    key_at,
                    &format!("the key \"{}\" again", key.escape_debug()),
                    "each key once",
                ));
            }
            let Some((event, at)) = self.next()? else {
                return Err(malformed(key_at, "an unfinished mapping", "its end"));
            };
            let value = self.node(event, at)?;
            entries.push(Entry { key, place: place(key_at), value });
        }
    }

    fn grow(&mut self, by: usize, at: Marker) -> Result<(), Malformed> {
        self.nodes = self.nodes.saturating_add(by);
        if self.nodes > MAX_NODES {
            return Err(malformed(at, "too many values", "at most 100000"));
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => items.iter().map(size).sum::<usize>() + 1,
        Value::Map(entries) => entries.iter().map(|entry| size(&entry.value)).sum::<usize>() + 1,
        _ => 1,
    }
}

fn place(at: Marker) -> Place {
    Place::File { line: at.line(), column: at.col() + 1 }
}

fn malformed(at: Marker, found: &str, expected: &str) -> Malformed {
    Malformed { place: place(at), found: found.to_owned(), expected: expected.to_owned() }
}

fn syntax(error: &ScanError) -> Malformed {
    malformed(*error.marker(), &format!("malformed YAML ({})", error.info()), "valid YAML")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_know_their_place() {
        let Value::Map(entries) = parse("a: 1\nb:\n  - x\n").unwrap().value else { panic!() };
        let Value::List(items) = &entries[1].value.value else { panic!() };
        assert_eq!(items[0].place, Place::File { line: 3, column: 5 });
        assert_eq!(entries[1].place, Place::File { line: 2, column: 1 });
    }

    #[test]
    fn off_is_text() {
        assert!(matches!(plain("off"), Value::Text(_)));
        assert!(matches!(plain("1.3"), Value::Float(_)));
        assert!(matches!(plain("nan"), Value::Text(_)));
    }

    #[test]
    fn a_growing_alias_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..8 {
            let prior = format!("*a{}, ", i - 1).repeat(10);
            text.push_str(&format!("a{i}: &a{i} [{prior}]\n"));
        }
        assert_eq!(parse(&text).unwrap_err().found, "too many values");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ a-z:\\-\\[\\]{}&*\"'#|>\n0-9,!?%@~]{0,80}") {
            let _ = parse(&text);
        }
    }
}
