//! `match`: when a route applies.

use http::Method;
use regex::Regex;

use crate::config::compile::{headers, item};
use crate::config::fault::nearest;
use crate::config::parse;
use crate::config::schema::text::{
    GrpcText, HeaderText, HostText, MethodText, OneOrMany, PathText, RangeText, RegexText,
};
use crate::config::schema::{HeaderMatch, Match, PathForm, PathMatch};
use crate::config::scope::Scope;
use crate::pipeline::path::decode;
use crate::pipeline::plan::{HeaderPattern, Matcher, PathPattern};

/// Of a path that is well formed.
const SEEN: &str = "a path that a request can have: percent-encoded or plain, without empty or dot segments, encoded slashes or control characters";

/// The matcher of a route; `listeners` are the names that exist.
pub(super) fn matcher(written: Option<&Match>, listeners: &[&str], scope: &Scope<'_>) -> Matcher {
    let Some(written) = written else { return Matcher::default() };
    if written.grpc.is_some() && written.path.is_some() {
        scope.key("grpc").fault("it beside \"path\"", "one of the two (a gRPC method is a path)");
    }
    Matcher {
        listeners: each(written.listeners.as_ref(), &scope.key("listeners"), |text, scope| {
            if !listeners.contains(&&**text) {
                let near = nearest(text, listeners.iter().copied());
                scope.unknown(text, "the name of a listener", near);
            }
            Some((**text).into())
        }),
        hosts: each(written.host.as_ref(), &scope.key("host"), |text, scope| {
            scope.parsed(text, parse::host(text), HostText::EXPECTED)
        }),
        path: path(written.path.as_ref(), &scope.key("path")),
        methods: each(written.methods.as_ref(), &scope.key("methods"), method),
        headers: headers_of(written, &scope.key("headers")),
        grpc: written
            .grpc
            .as_ref()
            .and_then(|text| scope.key("grpc").parsed(text, parse::grpc(text), GrpcText::EXPECTED)),
        clients: each(written.clients.as_ref(), &scope.key("clients"), |text, scope| {
            scope.parsed(text, parse::range(text), RangeText::EXPECTED)
        }),
    }
}

fn each<T: schemars::JsonSchema, U>(
    written: Option<&OneOrMany<T>>,
    scope: &Scope<'_>,
    mut read: impl FnMut(&T, &Scope<'_>) -> Option<U>,
) -> Vec<U> {
    let Some(written) = written else { return Vec::new() };
    if matches!(written, OneOrMany::Many(list) if list.is_empty()) {
        scope.fault("an empty list", "at least one item, or not the key at all");
    }
    written.iter().filter_map(|(i, value)| read(value, &item(scope, i))).collect()
}

fn method(text: &MethodText, scope: &Scope<'_>) -> Option<Method> {
    let method = Method::from_bytes(text.as_bytes()).ok();
    let upper = text.to_ascii_uppercase();
    // Methods are case-sensitive (RFC 9110 §9.1): `get` would match nothing.
    if upper != **text {
        scope.unknown(text, MethodText::EXPECTED, Some(upper));
        return None;
    }
    scope.parsed(text, method, MethodText::EXPECTED)
}

fn path(written: Option<&PathMatch>, scope: &Scope<'_>) -> PathPattern {
    let plain = |text: &PathText, scope: &Scope<'_>| -> Option<Box<str>> {
        let path = scope.parsed(text, parse::path(text), PathText::EXPECTED)?;
        scope.parsed(text, decode::pattern(path), SEEN)
    };
    let pattern = match written {
        None => None,
        Some(PathMatch::Prefix(text)) => plain(text, scope).map(|path| prefix(&path)),
        Some(PathMatch::Form(form)) => match form {
            PathForm { exact: Some(text), prefix: None, regex: None } => {
                plain(text, &scope.key("exact")).map(PathPattern::Exact)
            }
            PathForm { exact: None, prefix: Some(text), regex: None } => {
                plain(text, &scope.key("prefix")).map(|path| prefix(&path))
            }
            PathForm { exact: None, prefix: None, regex: Some(text) } => {
                regex(text, &scope.key("regex"))
            }
            _ => {
                let given = ["exact", "prefix", "regex"];
                let given: Vec<_> = given.into_iter().filter(|k| scope.key(k).given()).collect();
                if given.len() != 1 {
                    let found =
                        if given.is_empty() { "none".to_owned() } else { given.join(" and ") };
                    scope.fault(found, "exactly one of exact, prefix, regex");
                }
                None
            }
        },
    };
    pattern.unwrap_or_default()
}

/// `/ui/` means what `/ui` means, and `/` means everything.
fn prefix(path: &str) -> PathPattern {
    match path.trim_end_matches('/') {
        "" => PathPattern::Any,
        path => PathPattern::Prefix(path.into()),
    }
}

fn regex(text: &RegexText, scope: &Scope<'_>) -> Option<PathPattern> {
    // Judged alone first: `a)|(b` must not become valid by the anchors around it.
    let regex = Regex::new(text).and_then(|_| Regex::new(&format!("^(?:{})$", &**text)));
    scope.parsed(text, regex.ok(), RegexText::EXPECTED).map(PathPattern::Regex)
}

fn headers_of(written: &Match, scope: &Scope<'_>) -> Vec<HeaderPattern> {
    let mut patterns = Vec::new();
    for (text, wanted) in written.headers.iter().flatten() {
        let below = scope.key(text);
        let Some(name) = headers::name(text, &below) else { continue };
        if name == "host" {
            below.bad(text, "\"match.host\" for the host");
        }
        let value = match wanted {
            HeaderMatch::Present(true) => None,
            HeaderMatch::Present(false) => {
                below.fault("false", format!("true, or {}", HeaderText::EXPECTED));
                continue;
            }
            HeaderMatch::Value(text) => match headers::value(Some(&name), text, &below) {
                Some(value) => Some(value),
                None => continue,
            },
        };
        patterns.push(HeaderPattern { name, value });
    }
    patterns
}
