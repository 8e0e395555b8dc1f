//! Failures for people: one small page without anything to load, saying what happened and what to
//! do about it.

use http::HeaderValue;

use super::{Answer, phrase};
use crate::error::Kind;
use crate::message::name::CONTENT_SECURITY_POLICY;

const PAGE: &str = include_str!("page.html");

/// Nothing but the page's own style; there is nothing else in it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
);

/// Seconds after which the page of a service that is away is asked for again; with GET, whatever
/// brought it here.
const REFRESH: &str = "<meta http-equiv=\"refresh\" content=\"5\">\n";

pub(super) fn html(kind: Kind, request_id: Option<&str>) -> Answer {
    let status = kind.status();
    let body = filled(|name| match name {
        "status" => status.as_str().to_owned(),
        "title" => escaped(phrase(status)),
        "message" => escaped(kind.message()),
        "advice" => escaped(advice(kind)),
        "refresh" if is_away(kind) => REFRESH.to_owned(),
        "request" => request_id.map(request_line).unwrap_or_default(),
        _ => String::new(),
    });
    let mut answer =
        Answer::new(status, HeaderValue::from_static("text/html; charset=utf-8"), body);
    answer.headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    answer
}

/// The page with every `{{name}}` replaced, in one pass: what is put in is not looked at again.
fn filled(value: impl Fn(&str) -> String) -> String {
    let mut page = String::with_capacity(PAGE.len() + 256);
    let mut rest = PAGE;
    while let Some((before, marked)) = rest.split_once("{{") {
        let (name, after) = marked.split_once("}}").unwrap_or((marked, ""));
        page.push_str(before);
        page.push_str(&value(name));
        rest = after;
    }
    page.push_str(rest);
    page
}

fn request_line(id: &str) -> String {
    format!("<footer>Request <code>{}</code></footer>", escaped(id))
}

/// Nobody is there to ask: it will pass.
const fn is_away(kind: Kind) -> bool {
    matches!(kind, Kind::Connect | Kind::ConnectTimeout | Kind::NoEndpoint | Kind::Starting)
}

/// What the person can do.
const fn advice(kind: Kind) -> &'static str {
    match kind {
        Kind::BadRequest | Kind::Unsupported => {
            "Go back and try again; if you typed the address, check it."
        }
        Kind::UnknownHost | Kind::NoHost | Kind::NoRoute | Kind::Forbidden => {
            "Check the address, or go back to where you came from."
        }
        Kind::Misdirected => {
            "Reload the page: your browser then opens a connection of its own for this address."
        }
        Kind::Unauthorized => {
            "Choose a certificate when your browser asks, or ask your administrator for one."
        }
        Kind::HeadersTooLarge => "Delete this site's cookies, then try again.",
        Kind::BodyTooLarge => "Send less at once, a smaller file for example.",
        Kind::RateLimited => "Wait a moment, then reload the page.",
        Kind::RateBanned => "Wait a minute, then reload the page once.",
        Kind::Exhausted => "Please tell whoever runs this service for you.",
        Kind::RequestTimeout | Kind::ClientStalled | Kind::ClientGone => {
            "Check your connection, then reload the page."
        }
        Kind::Connect | Kind::ConnectTimeout | Kind::NoEndpoint | Kind::Starting => {
            "The service is probably being updated. This page asks again by itself in a moment."
        }
        Kind::Refused
        | Kind::Gateway
        | Kind::Failing
        | Kind::Missing
        | Kind::Reset
        | Kind::FirstByteTimeout
        | Kind::IdleTimeout
        | Kind::TotalTimeout
        | Kind::Deadline
        | Kind::Incomplete
        | Kind::Overloaded
        | Kind::NoSocket
        | Kind::UpstreamFull
        | Kind::Draining
        | Kind::Cut => {
            "Reload the page in a moment. If it stays like this, tell your administrator."
        }
        Kind::UpstreamTls
        | Kind::NoPreface
        | Kind::NotHttp2
        | Kind::Protocol
        | Kind::Internal
        | Kind::Loop => "Reloading is unlikely to help: please tell your administrator.",
    }
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}
