//! Names, values and edits of headers.

use std::collections::BTreeMap;

use http::HeaderValue;

use crate::config::compile::item;
use crate::config::fault::UNSHOWN;
use crate::config::schema::HeaderEdits as Edits;
use crate::config::schema::text::HeaderText;
use crate::config::scope::Scope;
use crate::message::FieldName;
use crate::pipeline::plan::HeaderEdits;

/// What the connection and its framing own (RFC 9110 §7.6.1, RFC 9112 §6, RFC 9113 §8.2.2).
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Values that must never be shown: they are, or hold, credentials.
pub const SECRET: [&str; 6] =
    ["authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key", "x-auth-token"];

/// Edits of a route's request or answer.
pub fn edits(edits: Option<&Edits>, scope: &Scope<'_>) -> HeaderEdits {
    let Some(edits) = edits else { return HeaderEdits::default() };
    let below = scope.key("remove");
    let remove = edits
        .remove
        .iter()
        .flat_map(|names| names.iter())
        .filter_map(|(i, text)| editable(text, &item(&below, i)))
        .collect();
    HeaderEdits {
        remove,
        set: fields(edits.set.as_ref(), &scope.key("set")),
        add: fields(edits.add.as_ref(), &scope.key("add")),
    }
}

fn fields(
    fields: Option<&BTreeMap<String, HeaderText>>,
    scope: &Scope<'_>,
) -> Vec<(FieldName, HeaderValue)> {
    let mut known: Vec<(FieldName, HeaderValue)> = Vec::new();
    for (name, text) in fields.into_iter().flatten() {
        let below = scope.key(name);
        let name = editable(name, &below);
        let value = value(name.as_ref(), text, &below);
        let (Some(name), Some(value)) = (name, value) else { continue };
        if known.iter().any(|(prior, _)| *prior == name) {
            below.fault("this header again", "each header once, in any case");
        }
        known.push((name, value));
    }
    known
}

/// The name of a header that may be edited.
fn editable(text: &str, scope: &Scope<'_>) -> Option<FieldName> {
    let name = name(text, scope)?;
    if name == "host" {
        scope.bad(text, "another header (the host is set by \"rewrite.host\")");
    } else if FRAMING.contains(&name.as_str()) {
        scope.bad(text, "another header (this one belongs to the connection)");
    } else {
        return Some(name);
    }
    None
}

/// The name of a header.
pub fn name(text: &str, scope: &Scope<'_>) -> Option<FieldName> {
    let name = FieldName::from_bytes(text.as_bytes()).ok();
    scope.parsed(text, name, "the name of a header, such as x-canary")
}

/// The value of a header; what a secret one holds is not repeated in a fault.
pub fn value(name: Option<&FieldName>, text: &str, scope: &Scope<'_>) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok();
    let secret = name.is_some_and(|name| SECRET.contains(&name.as_str()));
    match &mut value {
        None if secret => scope.fault(UNSHOWN, HeaderText::EXPECTED),
        None => scope.bad(text, HeaderText::EXPECTED),
        Some(value) => value.set_sensitive(secret),
    }
    value
}
