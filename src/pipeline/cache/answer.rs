//! An answer made of what is kept, or of what is on its way in: conditions, ranges, codings, and the
//! fields that say where it comes from.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use super::conditional::{self, Condition, IfRange};
use super::content::{Coded, Content};
use super::date::Seconds;
use super::entry::{Entry, Head};
use super::fill::{Fill, Pieces};
use super::range::{self, Ranges};
use super::vary;
use crate::body::Body;
use crate::message::name::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION,
    CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, EXPIRES, LAST_MODIFIED, RANGE, VARY,
};
use crate::message::{FieldName, Fields, Response};
use crate::pipeline::coding::accept::Accepted;
use crate::pipeline::coding::{Coding, Level, media};

/// What of a request decides on its answer.
#[derive(Clone, Debug)]
pub struct Client {
    /// GET or HEAD.
    pub method: Method,
    /// Its fields.
    pub headers: Fields,
}

/// An answer, and how many bytes its coding saves.
pub struct Made {
    /// The answer.
    pub response: Response<Body>,
    /// Bytes.
    pub saved: u64,
}

/// How old an answer is, in `Age`.
fn age(headers: &mut Fields, age: Duration) {
    headers.insert(AGE, HeaderValue::from(age.as_secs()));
}

/// The answer from what is kept.
pub fn kept(client: &Client, entry: &Entry, content: &Content, now: Instant) -> Made {
    let head = &entry.head;
    let mut headers = head.headers();
    age(&mut headers, head.age(now));
    if head.codable && content.plain.len() as u64 >= media::MIN_SIZE {
        add_vary(&mut headers);
    }
    let found = head.status == StatusCode::OK;
    if found {
        let tag = head.tag.as_ref().unwrap_or(&content.tag);
        let condition = conditional::judge(&client.headers, Some(tag), Some(head.dated()));
        if let Some(tag) = tag_of(condition, tag) {
            return Made { response: not_modified(headers, tag), saved: 0 };
        }
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    let coded = representation(client, head, content);
    let (bytes, tag) = match coded {
        None => (&content.plain, head.tag.clone().unwrap_or_else(|| content.tag.clone())),
        Some((coding, coded)) => {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
            (&coded.bytes, variant_tag(head, coded))
        }
    };
    let ranged = found
        && client.method == Method::GET
        && client.headers.contains_key(RANGE)
        && holds(&client.headers, &tag, head.modified);
    let asked = match ranged {
        true => range::ranges(&client.headers, bytes.len() as u64),
        false => Ranges::Whole,
    };
    if found || head.tag.is_some() {
        headers.insert(ETAG, tag);
    }
    let whole = if head.codable { content.plain.len() } else { bytes.len() };
    let saved = whole.saturating_sub(bytes.len()) as u64;
    let mut made = Made { response: parts(head.status, headers, bytes, asked), saved };
    if client.method == Method::HEAD {
        *made.response.body_mut() = Body::Empty;
    }
    made
}

/// The tag of a coded form under this head.
fn variant_tag(head: &Head, coded: &Coded) -> HeaderValue {
    match &head.tag {
        None => coded.tag.clone(),
        Some(base) => conditional::tag(base, &coded.suffix),
    }
}

/// The tag that a 304 repeats; `None`: the client is to be sent it.
fn tag_of(condition: Condition, tag: &HeaderValue) -> Option<HeaderValue> {
    match condition {
        Condition::Tagged(tag) => Some(tag),
        Condition::Unmodified => Some(tag.clone()),
        Condition::Send => None,
    }
}

/// Which coded form is sent; `None`: the identity. A range without `If-Range` is one of the identity,
/// since the coded bytes are replaced by better ones after a while.
fn representation<'a>(
    client: &Client,
    head: &Head,
    content: &'a Content,
) -> Option<(Coding, &'a Coded)> {
    if !head.codable {
        return None;
    }
    if client.headers.contains_key(RANGE) {
        let IfRange::Tag(tag) = conditional::if_range(&client.headers) else { return None };
        let mut forms =
            content.variants.iter().filter_map(|one| Some((one.coding, one.coded.as_ref()?)));
        return forms.find(|(_, coded)| variant_tag(head, coded) == tag);
    }
    let (mut order, mut count) = ([Coding::Identity; Coding::BY_SIZE.len()], 0);
    let made = Coding::BY_SIZE.into_iter().filter(|coding| content.variant(*coding).is_some());
    for (place, coding) in order.iter_mut().zip(made) {
        *place = coding;
        count += 1;
    }
    let coding = Accepted::of(&client.headers).choose(order.get(..count)?)?;
    Some((coding, content.variant(coding)?))
}

/// 200, 206 or 416, with as many bytes as are asked for.
fn parts(status: StatusCode, mut headers: Fields, bytes: &Bytes, asked: Ranges) -> Response<Body> {
    let length = bytes.len() as u64;
    let (status, size, body) = match asked {
        Ranges::Whole => (status, length, Body::from(bytes.clone())),
        Ranges::Outside => {
            headers.insert(CONTENT_RANGE, range::outside(length));
            headers.remove(CONTENT_TYPE);
            headers.remove(CONTENT_ENCODING);
            (StatusCode::RANGE_NOT_SATISFIABLE, 0, Body::Empty)
        }
        Ranges::Parts(parts) => match parts.as_slice() {
            [part] => {
                headers.insert(CONTENT_RANGE, range::content_range(part, length));
                let bytes = range::slice(bytes, part);
                (StatusCode::PARTIAL_CONTENT, bytes.len() as u64, Body::from(bytes))
            }
            parts => {
                let boundary = format!("ravelin-{:016x}", fastrand::u64(..));
                let kind = headers.get(CONTENT_TYPE);
                let (pieces, kind) = range::multipart(bytes, parts, kind, &boundary);
                headers.insert(CONTENT_TYPE, kind);
                let size = pieces.iter().map(|piece| piece.len() as u64).sum();
                (StatusCode::PARTIAL_CONTENT, size, Body::boxed(Pieces::new(pieces)))
            }
        },
    };
    if status != StatusCode::NO_CONTENT {
        headers.insert(CONTENT_LENGTH, size.into());
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// 304, with the fields that it must have (RFC 9110 §15.4.5).
fn not_modified(mut kept: Fields, tag: HeaderValue) -> Response<Body> {
    const CDN: FieldName = FieldName::from_static("cdn-cache-control");
    let mut headers = Fields::with_capacity(10);
    for name in [CACHE_CONTROL, CDN, CONTENT_LOCATION, DATE, EXPIRES, VARY, AGE, LAST_MODIFIED] {
        for value in kept.get_all(&name) {
            headers.append(&name, value.clone());
        }
    }
    // Those of caches before us stay.
    if let Some(status) = kept.remove("cache-status") {
        headers.insert("cache-status", status);
    }
    headers.insert(ETAG, tag);
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = headers;
    response
}

/// An answer that Ravelin codes depends on what the client takes.
fn add_vary(headers: &mut Fields) {
    if !vary::by_coding(headers) {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// The answer from what is on its way in; `level`: how it may be coded, if nobody wanted that before.
pub fn filling(
    client: &Client,
    fill: &Arc<Fill>,
    level: Option<Level>,
    now: Instant,
) -> Response<Body> {
    let head = &*fill.head;
    let mut headers = head.headers();
    let old = head.age(now);
    if old.as_secs() > 0 {
        age(&mut headers, old);
    }
    if head.codable && fill.length.is_none_or(|length| length >= media::MIN_SIZE) {
        add_vary(&mut headers);
    }
    let found = head.status == StatusCode::OK;
    if found {
        let condition = conditional::judge(&client.headers, head.tag.as_ref(), head.modified);
        let tag = head.tag.clone().or_else(|| headers.get(ETAG).cloned());
        if let Some(tag) = tag.and_then(|tag| tag_of(condition, &tag)) {
            return not_modified(headers, tag);
        }
    }
    if found && let Some(part) = part(client, head, fill.length) {
        let length = fill.length.unwrap_or_default();
        headers.insert(CONTENT_RANGE, range::content_range(&part, length));
        headers.insert(CONTENT_LENGTH, (part.end - part.start).into());
        let body = Body::boxed(fill.read_part(part));
        return made(StatusCode::PARTIAL_CONTENT, headers, body);
    }
    let reader = fill.read(coding(client, fill), level);
    match (reader.coding().header(), fill.length) {
        (Some(name), _) => {
            headers.insert(CONTENT_ENCODING, name);
            if let Some(tag) = &head.tag {
                // What its bytes will come to is not known yet: no strong tag can name them.
                match conditional::weak(tag) {
                    Some(tag) => headers.insert(ETAG, tag),
                    None => headers.remove(ETAG),
                };
            }
        }
        (None, Some(length)) if head.status != StatusCode::NO_CONTENT => {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        (None, _) => {}
    }
    made(head.status, headers, Body::boxed(reader))
}

fn made(status: StatusCode, headers: Fields, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Whether `If-Range` lets ranges of the variant with this tag hold.
fn holds(headers: &Fields, tag: &HeaderValue, modified: Option<Seconds>) -> bool {
    match conditional::if_range(headers) {
        IfRange::Absent => true,
        IfRange::Tag(asked) => asked == *tag,
        IfRange::Date(date) => modified == Some(date),
        IfRange::Never => false,
    }
}

/// The one range of the identity that a request wants, where it is known where it lies.
fn part(client: &Client, head: &Head, length: Option<u64>) -> Option<std::ops::Range<u64>> {
    let length = length?;
    let unnamed = HeaderValue::from_static("");
    let tag = head.tag.as_ref().unwrap_or(&unnamed);
    if !holds(&client.headers, tag, head.modified) {
        return None;
    }
    match range::ranges(&client.headers, length) {
        Ranges::Parts(parts) => match parts.as_slice() {
            [part] => Some(part.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// In which coding a body is read while it comes.
fn coding(client: &Client, fill: &Fill) -> Coding {
    let worth = fill.length.is_some_and(|length| length >= media::MIN_SIZE);
    if !fill.head.codable || !worth || client.headers.contains_key(RANGE) {
        return Coding::Identity;
    }
    Accepted::of(&client.headers).choose(&Coding::BY_SIZE).unwrap_or(Coding::Identity)
}

#[cfg(test)]
mod tests;
