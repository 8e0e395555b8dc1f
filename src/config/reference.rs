//! The configuration reference as Markdown, made from the JSON schema.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use crate::config::schema;
use crate::config::walk::Rules;

/// The JSON schema as it is printed and committed.
pub fn json() -> String {
    format!("{:#}\n", schema::json_schema())
}

/// The whole reference.
pub fn markdown() -> String {
    let root = schema::json_schema();
    let mut out = String::from(
        "# Configuration reference\n\n<!-- Made by `ravelin schema --reference`; a test compares it. -->\n\n",
    );
    let rules = Rules::new(&root);
    let _ = writeln!(out, "{}\n", text(&root));
    out.push_str("`ravelin check` reports every fault of a file at once, `ravelin check --explain` prints what is in effect.\n\n## Top level\n\n");
    let mut seen = Vec::new();
    table(&mut out, rules, &mut seen);
    let mut at = 0;
    while let Some((name, title)) = seen.get(at).cloned() {
        at += 1;
        let Some(rule) = root.pointer(&format!("/$defs/{name}")) else { continue };
        let _ = writeln!(out, "## {title}\n\n{}\n", text(rule));
        table(&mut out, rules.at(rule), &mut seen);
    }
    format!("{}\n", out.trim_end())
}

/// The keys of a mapping; mappings below that were not seen yet are appended to `seen`.
fn table(out: &mut String, rules: Rules<'_>, seen: &mut Vec<(String, String)>) {
    let empty = Map::new();
    let required = rules.json().get("required").and_then(Json::as_array);
    out.push_str("| Key | Value | Default | |\n|---|---|---|---|\n");
    for (key, rule) in rules.properties().unwrap_or(&empty) {
        let needed = required.is_some_and(|all| all.iter().any(|one| one == key.as_str()));
        let default = match rule.get("default") {
            Some(Json::String(text)) if text.is_empty() => "empty".to_owned(),
            Some(Json::String(text)) => format!("`{text}`"),
            Some(other) if !other.is_null() => format!("`{other}`"),
            _ if needed => "required".to_owned(),
            _ => String::new(),
        };
        let value = value(rules.at(rule), key, seen);
        let _ = writeln!(out, "| `{key}` | {} | {default} | {} |", cell(&value), cell(&text(rule)));
    }
    out.push('\n');
}

/// What a value looks like; a link for a mapping with a section of its own.
fn value(rules: Rules<'_>, key: &str, seen: &mut Vec<(String, String)>) -> String {
    if let Some(name) = definition(rules.json()) {
        return link(&name, key, seen);
    }
    if let Some(forms) = union(rules.json()) {
        let mut parts: Vec<String> = Vec::new();
        let words: Vec<String> = forms.iter().flat_map(|form| rules.at(form).words()).collect();
        if !words.is_empty() {
            parts.push(words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", "));
        }
        for form in forms.iter().filter(|form| form.get("const").is_none()) {
            let mut part = value(rules.at(form), key, seen);
            if parts.iter().any(|known| part == format!("a list, each {known}")) {
                part = "a list of such".to_owned();
            }
            if part != "nothing" && !parts.contains(&part) {
                parts.push(part);
            }
        }
        return parts.join(", or ");
    }
    if let Some(items) = rules.json().get("items") {
        return format!("a list, each {}", value(rules.at(items), key, seen));
    }
    if let Some(inner) = rules.json().get("additionalProperties").filter(|rule| rule.is_object()) {
        return format!("a mapping of names, each {}", value(rules.at(inner), key, seen));
    }
    let words = rules.words();
    if !words.is_empty() && rules.json().get("title").is_none() {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    match rules.json().get("type").and_then(Json::as_str) {
        Some("null") => "nothing".to_owned(),
        _ => rules.expected(),
    }
}

fn link(name: &str, key: &str, seen: &mut Vec<(String, String)>) -> String {
    if !seen.iter().any(|(known, _)| known == name) {
        // Named by the definition where two keys of the same name lead to different mappings.
        let taken = seen.iter().any(|(_, title)| title.trim_matches('`') == key);
        let title = if taken { name.to_owned() } else { format!("`{key}`") };
        seen.push((name.to_owned(), title));
    }
    let title = seen.iter().find(|(known, _)| known == name).map_or(key, |(_, title)| title);
    let anchor = title.trim_matches('`').to_lowercase();
    format!("[{}](#{anchor})", title.trim_matches('`'))
}

fn definition(rule: &Json) -> Option<String> {
    let name = rule.get("$ref").and_then(Json::as_str)?;
    name.strip_prefix("#/$defs/").map(str::to_owned)
}

fn union(rule: &Json) -> Option<&Vec<Json>> {
    rule.get("anyOf").or_else(|| rule.get("oneOf")).and_then(Json::as_array)
}

fn text(rule: &Json) -> String {
    rule.get("description").and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn cell(text: &str) -> String {
    text.replace("\n\n", "<br>").replace('\n', " ").replace('|', "\\|")
}
