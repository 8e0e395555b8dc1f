//! Block YAML, with comments for what is shown and not said.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::{COMMENT, FROM_PRESET};

/// Block YAML. Texts are quoted as JSON, which YAML 1.2 reads the same.
pub(super) fn emit(value: &Json, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Json::Object(map) => {
            for (key, value) in map {
                if key.starts_with(COMMENT) {
                    commented(value, depth, out);
                } else {
                    let _ = write!(out, "{indent}{}:", key_text(key));
                    emit_below(value, depth, out);
                }
            }
        }
        Json::Array(items) => {
            for item in items {
                if let Some(shown) = item.get(FROM_PRESET) {
                    commented(shown, depth, out);
                    continue;
                }
                let mut text = String::new();
                if is_block(item) {
                    emit(item, depth + 1, &mut text);
                } else {
                    text = format!("{}\n", flow(item));
                }
                let _ = write!(out, "{indent}- {}", text.trim_start());
            }
        }
        other => {
            let _ = writeln!(out, "{indent}{}", flow(other));
        }
    }
}

/// What an installation brings, every line a comment.
fn commented(value: &Json, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    let mut text = String::new();
    match value {
        Json::String(lines) => text.clone_from(lines),
        block => emit(block, 0, &mut text),
    }
    let _ = writeln!(out, "{indent}{FROM_PRESET}:");
    for line in text.lines() {
        let _ = writeln!(out, "{indent}#   {line}");
    }
}

fn emit_below(value: &Json, depth: usize, out: &mut String) {
    if is_block(value) {
        out.push('\n');
        emit(value, depth + 1, out);
    } else {
        let _ = writeln!(out, " {}", flow(value));
    }
}

fn is_block(value: &Json) -> bool {
    match value {
        Json::Object(map) => !map.is_empty(),
        Json::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn flow(value: &Json) -> String {
    match value {
        Json::String(text) if is_plain(text) => text.clone(),
        other => other.to_string(),
    }
}

fn key_text(key: &str) -> String {
    if is_plain(key) { key.to_owned() } else { Json::from(key).to_string() }
}

/// Texts that no reader takes for anything else, not even one of YAML 1.1.
fn is_plain(text: &str) -> bool {
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
    let taken = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    word && !taken.contains(&text.to_ascii_lowercase().as_str())
}
