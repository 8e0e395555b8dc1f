//! Decides which header fields go on to the other leg, in both directions (RFC 9110 §7.6).
//!
//! Fields are edited in place. What the client says about itself (`X-Forwarded-*`, `Forwarded`) is
//! replaced by what the connection says: ZITADEL believes the first such word it finds.

use http::{HeaderValue, Version};

use crate::error::{Error, Kind};
use crate::exchange::{Class, Identity};
use crate::message::name::{
    ALT_SVC, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, FORWARDED, HOST, HTTP2_SETTINGS,
    KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE, VIA, X_FORWARDED_FOR,
    X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO, X_REQUEST_ID,
};
use crate::message::{FieldName, Fields};
use crate::pipeline::plan::HeaderEdits;

/// The media type of gRPC, before its suffix; gRPC-Web's goes on with a dash.
const GRPC: &[u8] = b"application/grpc";

/// Fields that a request gets: `Via`, four `X-Forwarded-*`, its id, and a deadline. Room is made for
/// them once.
const ADDED: usize = 7;

/// How often a request may have passed here before; more is a circle, not a chain of proxies.
const MOST_PASSAGES: usize = 10;

/// What the request's new head is made of, beside the old one.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    /// The version in which the request came.
    pub received: Version,
    /// Whether it leaves over HTTP/2.
    pub upstream_h2: bool,
    /// What it is: `TE` goes on for gRPC alone.
    pub class: Class,
    /// What the connection says.
    pub identity: &'a Identity,
    /// The authority that the client asked for.
    pub asked: &'a HeaderValue,
    /// Its port, where it named one.
    pub asked_port: Option<u16>,
    /// The authority that upstream sees: `Host` over HTTP/1.1; over HTTP/2 it is `:authority`, which
    /// is not a field and not set here.
    pub authority: &'a HeaderValue,
    /// The request's id.
    pub request_id: Option<&'a str>,
}

/// Makes a request's fields those of the upstream leg. The route's edits come after it.
///
/// `Expect` is left to whoever relays interim answers, and the fields of an upgrade to whoever
/// upgrades: both are gone here if `Connection` named them. The error is `Loop`.
pub fn request(headers: &mut Fields, passage: &Passage<'_>) -> Result<(), Error> {
    headers.reserve(ADDED);
    if headers.contains_key(VIA) && passages(headers) > MOST_PASSAGES {
        return Err(Kind::Loop.into());
    }
    // By media type, not by class: a GET with gRPC's type is no call, and still the server's to refuse.
    let te = headers.contains_key(TE);
    let trailers = te && is_grpc(headers) && wants_trailers(headers);
    remove_hop_by_hop(headers);
    if trailers {
        // Nowhere else: ZITADEL's REST gateway answers it with trailers that hang clients (#8341).
        if !is_only(headers, &TE, b"trailers") {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
    } else if te {
        headers.remove(TE);
    }
    append_via(headers, passage.received);
    headers.remove(FORWARDED);
    identify(headers, passage);
    if !passage.upstream_h2 {
        headers.insert(HOST, passage.authority.clone());
        join_cookies(headers);
    } else {
        headers.remove(HOST);
    }
    Ok(())
}

/// Makes an answer's fields the ones of the client's leg. `received` is the version that upstream
/// spoke. The route's edits come after it.
pub fn response(headers: &mut Fields, received: Version) {
    end_with_this_leg(headers);
    append_via(headers, received);
}

/// The fields of an interim answer on the client's leg: neither an HTTP/2 client nor a strict one of
/// HTTP/1.1 takes the others (RFC 9113 §8.2.2, RFC 9112 §6.1, RFC 9110 §8.6).
pub fn interim(headers: &Fields) -> Fields {
    let mut headers = headers.clone();
    end_with_this_leg(&mut headers);
    headers.remove(CONTENT_LENGTH);
    headers
}

/// Removes what an answer says for this leg alone.
fn end_with_this_leg(headers: &mut Fields) {
    remove_hop_by_hop(headers);
    headers.remove(TE);
    // What upstream offers on its own address is no alternative to this one (RFC 7838 §2).
    headers.remove(ALT_SVC);
}

/// Applies a route's edits: removals, then sets, then additions. Fields that [`is_editable`] rules
/// out are passed over.
pub fn edit(headers: &mut Fields, edits: &HeaderEdits) {
    for name in edits.remove.iter().filter(|name| is_editable(name)) {
        headers.remove(name);
    }
    for (name, value) in edits.set.iter().filter(|(name, _)| is_editable(name)) {
        headers.insert(name, value.clone());
    }
    for (name, value) in edits.add.iter().filter(|(name, _)| is_editable(name)) {
        headers.append(name, value.clone());
    }
}

/// Whether a configuration may edit this field. Not those that frame the message or belong to a
/// connection, nor the authority, which has a key of its own.
pub fn is_editable(name: &FieldName) -> bool {
    !is_hop_by_hop(name) && *name != CONTENT_LENGTH && *name != HOST
}

/// Whether the field belongs to one connection only (RFC 9110 §7.6.1, RFC 9113 §8.2.2).
/// `Trailer` is not among them: trailers go through.
pub fn is_hop_by_hop(name: &FieldName) -> bool {
    *name == CONNECTION
        || *name == TE
        || *name == TRANSFER_ENCODING
        || *name == UPGRADE
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
        || *name == HTTP2_SETTINGS
}

/// Removes all of them but `TE`.
fn remove_hop_by_hop(headers: &mut Fields) {
    if headers.contains_key(CONNECTION) {
        remove_nominated(headers);
        headers.remove(CONNECTION);
    }
    headers.remove(TRANSFER_ENCODING);
    headers.remove(UPGRADE);
    headers.remove(&KEEP_ALIVE);
    headers.remove(&PROXY_CONNECTION);
    headers.remove(&HTTP2_SETTINGS);
}

/// Removes what `Connection` nominates. The ordinary nominations are removed anyway, so that only
/// the rare other one costs a copy.
fn remove_nominated(headers: &mut Fields) {
    let nominated: Vec<FieldName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !is_ordinary(token))
        .filter_map(|token| FieldName::try_from(token).ok())
        .filter(|name| !is_essential(name))
        .collect();
    for name in &nominated {
        headers.remove(name);
    }
}

fn is_ordinary(token: &str) -> bool {
    ["close", "keep-alive", "upgrade", "te", "http2-settings", ""]
        .iter()
        .any(|word| token.eq_ignore_ascii_case(word))
}

/// End-to-end fields that no nomination strips: a client could otherwise take away what upstream
/// frames the message by (`content-length`, `content-type`, `trailer`), whom it is for (`host`), who
/// asks (`authorization`, `cookie`), what it was told about the client (`x-forwarded-*`, `via`,
/// `x-request-id`), or how an answer may be stored (`cache-control`, `vary`, `set-cookie`).
/// RFC 9110 §7.6.1 forbids senders to nominate such fields.
fn is_essential(name: &FieldName) -> bool {
    const ESSENTIAL: &[&str] = &[
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "trailer",
        "authorization",
        "cookie",
        "origin",
        "forwarded",
        "via",
        "x-request-id",
        "cache-control",
        "cdn-cache-control",
        "vary",
        "set-cookie",
        "date",
        "age",
        "traceparent",
        "grpc-status",
        "grpc-message",
        "grpc-timeout",
    ];
    let name = name.as_str();
    ESSENTIAL.contains(&name) || name.starts_with("x-forwarded-") || name.starts_with("x-zitadel-")
}

/// Whether a message says that it is gRPC; gRPC-Web is another type.
pub fn is_grpc(headers: &Fields) -> bool {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    match kind.split_at_checked(GRPC.len()) {
        Some((start, rest)) => {
            start.eq_ignore_ascii_case(GRPC)
                && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
        }
        None => false,
    }
}

/// Whether a field is there once, with this value.
fn is_only(headers: &Fields, name: &FieldName, value: &[u8]) -> bool {
    let mut values = headers.get_all(name).iter();
    values.next().is_some_and(|only| only.as_bytes() == value) && values.next().is_none()
}

fn wants_trailers(headers: &Fields) -> bool {
    headers
        .get_all(TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|member| member.trim().eq_ignore_ascii_case("trailers"))
}

/// RFC 9110 §7.6.3: the version received, and who received it.
fn append_via(headers: &mut Fields, received: Version) {
    // Constants: a value that is made is looked at byte by byte.
    let via = match received {
        Version::HTTP_2 => const { HeaderValue::from_static("2.0 ravelin") },
        Version::HTTP_10 => const { HeaderValue::from_static("1.0 ravelin") },
        _ => const { HeaderValue::from_static("1.1 ravelin") },
    };
    headers.append(VIA, via);
}

/// How often `Via` names Ravelin.
fn passages(headers: &Fields) -> usize {
    headers
        .get_all(VIA)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|member| member.split_ascii_whitespace().nth(1) == Some("ravelin"))
        .count()
}

fn identify(headers: &mut Fields, passage: &Passage<'_>) {
    let identity = passage.identity;
    match identity.client() {
        Some(client) => headers.insert(&X_FORWARDED_FOR, client.clone()),
        None => headers.remove(&X_FORWARDED_FOR),
    };
    headers.insert(&X_FORWARDED_HOST, passage.asked.clone());
    let scheme = match identity.https() {
        true => const { HeaderValue::from_static("https") },
        false => const { HeaderValue::from_static("http") },
    };
    headers.insert(&X_FORWARDED_PROTO, scheme);
    let port = match (passage.asked_port, identity.https()) {
        (None | Some(443), true) => const { HeaderValue::from_static("443") },
        (None | Some(80), false) => const { HeaderValue::from_static("80") },
        (Some(port), _) => HeaderValue::from(port),
    };
    headers.insert(&X_FORWARDED_PORT, port);
    identify_request(headers, passage.request_id);
}

/// The id is most often the client's own, which is there already.
fn identify_request(headers: &mut Fields, id: Option<&str>) {
    let known = headers.get(&X_REQUEST_ID).map(HeaderValue::as_bytes);
    if known == id.map(str::as_bytes) && headers.get_all(&X_REQUEST_ID).iter().count() < 2 {
        return;
    }
    match id.and_then(|id| HeaderValue::from_str(id).ok()) {
        Some(mut id) => {
            // No two are the same: kept out of HPACK's dynamic table (RFC 7541 §6.2.3), which each
            // would push the fields out of that every request repeats.
            id.set_sensitive(true);
            headers.insert(&X_REQUEST_ID, id)
        }
        None => headers.remove(&X_REQUEST_ID),
    };
}

/// RFC 9113 §8.2.3: cookie crumbs become one field again before they leave HTTP/2.
fn join_cookies(headers: &mut Fields) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.nth(1).is_none() {
        return;
    }
    let mut cookie = Vec::new();
    for crumb in headers.get_all(COOKIE) {
        if !cookie.is_empty() {
            cookie.extend_from_slice(b"; ");
        }
        cookie.extend_from_slice(crumb.as_bytes());
    }
    // Field values joined by two visible characters are a field value.
    if let Ok(value) = HeaderValue::try_from(cookie) {
        headers.insert(COOKIE, value);
    }
}

#[cfg(test)]
mod tests;
