//! Tree × JSON schema → every structural fault at once, and what is left without them.
//!
//! serde's derive stops at the first fault. This walker reports each unknown key, wrong type,
//! missing key and number out of range, drops what is faulty, and hands on a value that decodes.

use serde_json::{Map, Value as Json};

use crate::config::fault::{Place, nearest, quoted};
use crate::config::scope::Scope;
use crate::config::tree::{Entry, Node, Value};

/// A schema and the definitions that it refers to.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    root: &'a Json,
    rule: &'a Json,
}

impl<'a> Rules<'a> {
    /// The rules of a whole document.
    pub fn new(root: &'a Json) -> Self {
        Self { root, rule: root }
    }

    /// The schema itself.
    pub fn json(&self) -> &'a Json {
        self.rule
    }

    /// Another schema of the same document.
    pub fn at(&self, rule: &'a Json) -> Self {
        Self { root: self.root, rule }
    }

    /// The forms a value may take: references followed, unions flattened, `null` left out.
    pub fn forms(&self) -> Vec<Self> {
        if let Some(name) = self.rule.get("$ref").and_then(Json::as_str) {
            let pointer = name.trim_start_matches('#');
            return self
                .root
                .pointer(pointer)
                .map(|rule| self.at(rule).forms())
                .unwrap_or_default();
        }
        match self.rule.get("anyOf").or_else(|| self.rule.get("oneOf")).and_then(Json::as_array) {
            Some(forms) => forms.iter().flat_map(|form| self.at(form).forms()).collect(),
            None if self.kinds() == ["null"] => Vec::new(),
            None => vec![*self],
        }
    }

    /// The JSON types that are allowed.
    fn kinds(&self) -> Vec<&'a str> {
        match self.rule.get("type") {
            Some(Json::String(kind)) => vec![kind],
            Some(Json::Array(kinds)) => kinds.iter().filter_map(Json::as_str).collect(),
            _ => match self.rule.get("const") {
                Some(Json::String(_)) => vec!["string"],
                _ => Vec::new(),
            },
        }
    }

    fn allows(&self, kind: &str) -> bool {
        self.kinds().contains(&kind)
    }

    /// The words that are allowed, if only some are.
    pub fn words(&self) -> Vec<String> {
        let words = match (self.rule.get("const"), self.rule.get("enum")) {
            (Some(word), _) => std::slice::from_ref(word),
            (None, Some(Json::Array(words))) => words.as_slice(),
            _ => &[],
        };
        words.iter().filter(|word| !word.is_null()).map(word_text).collect()
    }

    /// The keys of a mapping.
    pub fn properties(&self) -> Option<&'a Map<String, Json>> {
        self.rule.get("properties").and_then(Json::as_object)
    }

    /// What a fault says was expected.
    pub fn expected(&self) -> String {
        let forms = self.forms();
        let words: Vec<String> =
            forms.iter().filter(|form| form.title().is_none()).flat_map(Self::words).collect();
        let mut parts: Vec<String> = Vec::new();
        if !words.is_empty() {
            parts.push(words.iter().map(|word| shown_word(word)).collect::<Vec<_>>().join(" or "));
        }
        for form in &forms {
            let mut part = form.expected_form();
            if let Some(items) = form.rule.get("items")
                && parts.contains(&form.at(items).expected())
            {
                part = "a list of such".to_owned();
            }
            if !part.is_empty() && !parts.contains(&part) {
                parts.push(part);
            }
        }
        parts.join(", or ")
    }

    fn title(&self) -> Option<&'a str> {
        self.rule.get("title").and_then(Json::as_str)
    }

    fn expected_form(&self) -> String {
        let kinds = self.kinds();
        if kinds.contains(&"object") {
            return match self.properties() {
                Some(keys) => format!("a mapping with {}", keys_text(keys)),
                None => "a mapping of names".to_owned(),
            };
        }
        if kinds.contains(&"array") {
            return match self.rule.get("items") {
                Some(items) if !self.at(items).forms().iter().any(|f| f.allows("object")) => {
                    format!("a list, each {}", self.at(items).expected())
                }
                _ => "a list".to_owned(),
            };
        }
        if let Some(title) = self.title() {
            return title.to_owned();
        }
        if !self.words().is_empty() {
            return String::new();
        }
        match kinds.iter().find(|kind| **kind != "null").copied() {
            Some("boolean") => "true or false".to_owned(),
            Some("integer") => match self.range() {
                (Some(min), Some(max)) => format!("a whole number from {min} to {max}"),
                (Some(min), None) if min != 0 => format!("a whole number, at least {min}"),
                _ => "a whole number".to_owned(),
            },
            _ => "text".to_owned(),
        }
    }

    fn range(&self) -> (Option<i64>, Option<i64>) {
        let limit = |name: &str| self.rule.get(name).and_then(Json::as_i64);
        (limit("minimum"), limit("maximum"))
    }
}

/// The part of `node` that follows the rules; its faults are reported, and every place is
/// remembered under its key path.
pub fn walk(node: &Node, rules: Rules<'_>, scope: &Scope<'_>) -> Option<Json> {
    scope.remember(&node.place);
    let kind = kind(&node.value);
    let forms = rules.forms();
    let fitting: Vec<Rules<'_>> = forms
        .iter()
        .copied()
        .filter(|form| form.allows(kind) || (kind == "integer" && form.allows("number")))
        .collect();
    let Some(first) = fitting.first() else {
        scope.fault(found(&node.value), rules.expected());
        return None;
    };
    match &node.value {
        Value::Map(entries) => Some(Json::Object(mapping(entries, &node.place, *first, scope))),
        Value::List(items) => list(items, *first, scope),
        _ => scalar(&node.value, &fitting, rules, scope),
    }
}

fn mapping(
    entries: &[Entry],
    place: &Place,
    rules: Rules<'_>,
    scope: &Scope<'_>,
) -> Map<String, Json> {
    let mut left = Map::new();
    let open = rules.json().get("additionalProperties").filter(|rule| rule.is_object());
    for entry in entries {
        let below = scope.key(&entry.key);
        let known = rules.properties().and_then(|known| known.get(&entry.key));
        match known.or(open) {
            // Nothing written is as good as nothing there; what must be there is asked for below.
            Some(_) if matches!(entry.value.value, Value::Null) => {}
            Some(rule) => {
                if let Some(value) = walk(&entry.value, rules.at(rule), &below) {
                    left.insert(entry.key.clone(), value);
                }
                // The key is the better place for a fault of a whole block.
                if matches!(entry.value.value, Value::Map(_) | Value::List(_)) {
                    below.remember(&entry.place);
                }
            }
            None => unknown(entry, rules, &below),
        }
    }
    required(entries, place, rules, scope);
    left
}

fn unknown(entry: &Entry, rules: Rules<'_>, scope: &Scope<'_>) {
    let empty = Map::new();
    let known = rules.properties().unwrap_or(&empty);
    let near = nearest(&entry.key, known.keys().map(String::as_str));
    let expected = format!("one of {}", keys_text(known));
    scope.report(entry.place.clone(), "an unknown key".to_owned(), expected, near);
}

fn required(entries: &[Entry], place: &Place, rules: Rules<'_>, scope: &Scope<'_>) {
    let Some(required) = rules.json().get("required").and_then(Json::as_array) else { return };
    for key in required.iter().filter_map(Json::as_str) {
        let written = entries.iter().find(|entry| entry.key == key);
        let empty = written.is_some_and(|entry| matches!(entry.value.value, Value::Null));
        if written.is_some() && !empty {
            continue;
        }
        let expected = rules.properties().and_then(|known| known.get(key));
        let expected =
            expected.map_or_else(|| "a value".to_owned(), |rule| rules.at(rule).expected());
        let place = written.map_or_else(|| place.clone(), |entry| entry.place.clone());
        scope.key(key).report(place, "nothing".to_owned(), expected, None);
    }
}

fn list(items: &[Node], rules: Rules<'_>, scope: &Scope<'_>) -> Option<Json> {
    let least = rules.json().get("minItems").and_then(Json::as_u64).unwrap_or_default();
    if (items.len() as u64) < least {
        scope.fault("an empty list", "at least one item");
        return None;
    }
    let rule = rules.json().get("items")?;
    // A faulty item stays as an empty one, so that the later ones keep their index.
    let values = items.iter().enumerate().map(|(i, item)| {
        let value = walk(item, rules.at(rule), &scope.index(i));
        value.unwrap_or_else(|| blank(rules.at(rule)))
    });
    Some(Json::Array(values.collect()))
}

/// What stands for a faulty item: an empty mapping where mappings are wanted, else nothing.
fn blank(rules: Rules<'_>) -> Json {
    if rules.forms().iter().any(|form| form.allows("object")) {
        Json::Object(Map::new())
    } else {
        Json::Null
    }
}

fn scalar(
    value: &Value,
    fitting: &[Rules<'_>],
    rules: Rules<'_>,
    scope: &Scope<'_>,
) -> Option<Json> {
    let text = value_text(value);
    let words: Vec<String> = fitting.iter().flat_map(Rules::words).collect();
    let free = fitting.iter().find(|form| form.words().is_empty());
    if free.is_none() && !words.contains(&text) {
        let near = nearest(&text, words.iter().map(String::as_str));
        scope.report(scope.place(), found(value), rules.expected(), near);
        return None;
    }
    let form = free.or_else(|| fitting.first())?;
    if let Value::Int(number) = value
        && !form.allows("string")
    {
        let (min, max) = form.range();
        if min.is_some_and(|min| *number < min) || max.is_some_and(|max| *number > max) {
            scope.fault(number.to_string(), rules.expected());
            return None;
        }
        return Some(Json::from(*number));
    }
    Some(match value {
        Value::Bool(flag) => Json::Bool(*flag),
        _ => Json::String(text),
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Int(_) => "integer",
        Value::Float(_) => "number",
        Value::Text(_) => "string",
        Value::List(_) => "array",
        Value::Map(_) => "object",
    }
}

fn found(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
        Value::Text(text) => quoted(text),
        other => value_text(other),
    }
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(text) | Value::Text(text) => text.clone(),
        Value::Null | Value::List(_) | Value::Map(_) => String::new(),
    }
}

fn word_text(word: &Json) -> String {
    word.as_str().map_or_else(|| word.to_string(), str::to_owned)
}

fn shown_word(word: &str) -> String {
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        word.to_owned()
    } else {
        format!("\"{word}\"")
    }
}

fn keys_text(keys: &Map<String, Json>) -> String {
    keys.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}
