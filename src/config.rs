//! File → Plan: what is configured, or everything that is wrong with it.
//!
//! ```text
//! text → tree (values with places) → walk (× JSON schema: types, keys) → schema (serde's image)
//!      → compile (meaning, defaults) → Plan
//! ```
//!
//! Flags and variables are set into the tree before the walk, so that they are judged by the same
//! rules and their faults read the same.

pub mod plan;
pub mod schema;
pub mod fault;
pub mod tree;
pub mod scope;
pub mod walk;
pub mod zitadel;
pub mod parse;
pub mod compile;
pub mod explain;
pub mod reference;
pub mod proxies;

use std::path::{Path, PathBuf};

use crate::config::fault::{Fault, Faults, Place};
use crate::config::plan::Plan;
use crate::config::schema::Document;
use crate::config::scope::Context;
use crate::config::tree::{Entry, Node, Value};

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file; `None`: the overrides alone.
    pub file: Option<PathBuf>,
    /// What stands before the file.
    pub overrides: Overrides,
}

/// Values that flags and variables put before the file's.
#[derive(Clone, Debug, Default)]
pub struct Overrides(pub Vec<Override>);

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The key path, `access_log.format`: names with dots between.
    pub key: &'static str,
    /// The value, as it would be written plainly in the file.
    pub value: String,
    /// `--access-log` or `RAVELIN_ACCESS_LOG`, for faults.
    pub origin: String,
}

/// Whether the files that a configuration names must be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Files {
    /// They must exist and be readable.
    #[default]
    MustExist,
    /// Not looked at.
    Ignored,
}

/// The plan of a source. Files that it names must exist and be readable.
pub fn load(source: Source) -> Result<Plan, Faults> {
    load_with(source, Files::MustExist)
}

/// The plan of a source.
pub fn load_with(source: Source, files: Files) -> Result<Plan, Faults> {
    let Some(path) = &source.file else {
        return compile(None, "", Path::new(""), &source.overrides, files);
    };
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let base = path.parent().unwrap_or_else(|| Path::new(""));
            compile(Some(name), &text, base, &source.overrides, files)
        }
        Err(error) => {
            let fault = Fault {
                file: Some(name),
                place: Place::Whole,
                key: String::new(),
                found: scope::reason(&error),
                expected: "a readable YAML file in UTF-8".to_owned(),
                nearest: None,
            };
            Err(Faults::new(vec![fault], ""))
        }
    }
}

/// The plan of a text that is called `name` in faults; relative paths stay as they are.
pub fn load_str(
    name: &str,
    text: &str,
    overrides: &Overrides,
    files: Files,
) -> Result<Plan, Faults> {
    compile(Some(name.to_owned()), text, Path::new(""), overrides, files)
}

fn compile(
    name: Option<String>,
    text: &str,
    base: &Path,
    overrides: &Overrides,
    files: Files,
) -> Result<Plan, Faults> {
    let context = Context::new(name, base.to_owned(), files == Files::MustExist);
    let scope = context.root();
    let mut root = match tree::parse(text.trim_start_matches('\u{feff}')) {
        Ok(root) => root,
        Err(malformed) => {
            scope.report(malformed.place, malformed.found, malformed.expected, None);
            return Err(Faults::new(context.take(), text));
        }
    };
    for one in overrides.0.iter().filter(|one| one.key != "domain") {
        set(&mut root, one);
    }
    // Last, since a flag or variable may bring the installation whose host it is.
    if let Some(domain) = overrides.0.iter().find(|one| one.key == "domain") {
        let key = if has_one_zitadel(&root) { "zitadel.domain" } else { "domain" };
        set(&mut root, &Override { key, ..domain.clone() });
    }
    let schema = schema::json_schema();
    let left = walk::walk(&root, walk::Rules::new(&schema), &scope);
    // The start of the file is no place for what is missing in it.
    context.remember("", &Place::Whole);
    if let Some(left) = left {
        match serde_json::from_value::<Document>(left) {
            Ok(document) => {
                let plan = compile::document(&document, &scope);
                let faults = context.take();
                return if faults.is_empty() { Ok(plan) } else { Err(Faults::new(faults, text)) };
            }
            Err(error) => scope.fault(error.to_string(), "what the schema describes"),
        }
    }
    Err(Faults::new(context.take(), text))
}

/// Whether there is one installation, which `--domain` is then about.
fn has_one_zitadel(root: &Node) -> bool {
    let Value::Map(entries) = &root.value else { return false };
    let one = |entry: &Entry| entry.key == "zitadel" && matches!(entry.value.value, Value::Map(_));
    entries.iter().any(one)
}

/// Puts an override's value into the tree, with its origin as its place.
fn set(root: &mut Node, one: &Override) {
    let place = Place::Override(one.origin.clone());
    let mut node = root;
    let mut keys = one.key.split('.').peekable();
    while let Some(key) = keys.next() {
        if !matches!(node.value, Value::Map(_)) {
            *node = Node { place: place.clone(), value: Value::Map(Vec::new()) };
        }
        let Value::Map(entries) = &mut node.value else { return };
        let at = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
            let value = Node { place: place.clone(), value: Value::Null };
            entries.push(Entry { key: key.to_owned(), place: place.clone(), value });
            entries.len() - 1
        });
        let Some(entry) = entries.get_mut(at) else { return };
        if keys.peek().is_none() {
            entry.place = place.clone();
            entry.value = Node { place: place.clone(), value: tree::plain(&one.value) };
        }
        node = &mut entry.value;
    }
}
