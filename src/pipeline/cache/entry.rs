//! What is kept of an answer: its head, one for each host and choice of request fields, and its
//! body, one for all that have the same bytes.
//!
//! A thousand hosts of one Console differ in little but the host in their `Content-Security-Policy`:
//! the fields that do not differ are shared too, and dates are kept as numbers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
    CONTENT_SECURITY_POLICY_REPORT_ONLY, CONTENT_TYPE, DATE, ETAG, EXPIRES, HeaderName,
    HeaderValue, LAST_MODIFIED, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE,
};
use http::{HeaderMap, StatusCode};

use super::content::{Content, Hash, hash};
use super::date::{self, Seconds};
use super::directives::Answer;
use super::policy::Life;
use super::vary::{self, Chosen};
use crate::pipeline::coding::media;

/// What is weighed beside the bytes of an entry: the map's own and ours.
const ENTRY: usize = 640;

/// Whose answer something is: a route, as it was configured when it asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The route's name: another may lead elsewhere.
    pub route: Arc<str>,
    /// [`crate::pipeline::plan::RoutePlan::print`]: after a change it may lead elsewhere too, and edits
    /// heads in another way.
    pub print: u64,
}

/// Fields that many heads have in common.
#[derive(Debug, PartialEq, Eq)]
pub struct Fields {
    /// Name and value, in upstream's order.
    pub list: Box<[(HeaderName, HeaderValue)]>,
}

impl Fields {
    /// What two heads with the same fields have in common.
    pub fn hash(&self) -> Hash {
        let mut text = Vec::with_capacity(512);
        for (name, value) in &self.list {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.push(b'\n');
        }
        hash(&text)
    }
}

/// All of an answer but its body.
#[derive(Clone, Debug)]
pub struct Head {
    /// Whose answer it is.
    pub source: Arc<Source>,
    /// The request's fields that it was chosen by.
    pub chosen: Chosen,
    /// Its status.
    pub status: StatusCode,
    /// Its fields, but for those below.
    pub fields: Arc<Fields>,
    /// Fields that are this answer's alone.
    pub own: Box<[(HeaderName, HeaderValue)]>,
    /// `Expires`, where it is a date.
    pub expires: Option<Seconds>,
    /// How long it lives.
    pub life: Life,
    /// When it came, or was last confirmed.
    pub since: Instant,
    /// The same by the wall clock.
    pub came: Seconds,
    /// Upstream's entity tag.
    pub tag: Option<HeaderValue>,
    /// `Last-Modified`.
    pub modified: Option<Seconds>,
    /// The media type.
    pub content_type: Option<HeaderValue>,
    /// How upstream has coded it.
    pub coded: Option<HeaderValue>,
    /// Whether upstream chose it by `Accept-Encoding`.
    pub by_coding: bool,
    /// Whether it is worth coding here, and allowed.
    pub codable: bool,
}

impl Head {
    /// What is kept of `headers`, an answer to `request`. The fields are not shared yet.
    pub fn new(
        source: &Arc<Source>,
        request: &HeaderMap,
        status: StatusCode,
        mut headers: HeaderMap,
        life: Life,
        (since, came): (Instant, Seconds),
    ) -> Self {
        let says = Answer::of(&headers);
        for name in &says.no_cache_fields {
            headers.remove(name);
        }
        let coded = headers.get(CONTENT_ENCODING).cloned();
        let content_type = headers.get(CONTENT_TYPE).cloned();
        let codable = coded.is_none()
            && !says.no_transform
            && status == StatusCode::OK
            && media::shrinks(content_type.as_ref());
        let exact = |name| {
            let value = headers.get(name)?;
            date::parse(value).filter(|seconds| date::value(*seconds) == *value)
        };
        let (made, expires) = (exact(&DATE), exact(&EXPIRES));
        let (mut list, mut own) = (Vec::with_capacity(headers.len()), Vec::new());
        for (name, value) in &headers {
            if is_left_out(name) || (*name == DATE && made.is_some()) {
                continue;
            }
            if *name == EXPIRES && expires.is_some() {
                continue;
            }
            let place = if is_own(name) { &mut own } else { &mut list };
            place.push((name.clone(), value.clone()));
        }
        Self {
            source: Arc::clone(source),
            chosen: vary::choose(&headers, request),
            status,
            fields: Arc::new(Fields { list: list.into() }),
            own: own.into(),
            expires,
            life: Life { date: made, ..life },
            since,
            came,
            tag: headers.get(ETAG).cloned(),
            modified: date::field(&headers, &LAST_MODIFIED),
            content_type,
            coded,
            by_coding: vary::by_coding(&headers),
            codable,
        }
    }

    /// Its age (RFC 9111 §4.2.3).
    pub fn age(&self, now: Instant) -> Duration {
        self.life.age + now.saturating_duration_since(self.since)
    }

    /// The fields as they came, but for what is never passed on from the cache.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.fields.list.len() + self.own.len() + 8);
        for (name, value) in self.fields.list.iter().chain(&self.own) {
            headers.append(name, value.clone());
        }
        if let Some(made) = self.life.date {
            headers.insert(DATE, date::value(made));
        }
        if let Some(expires) = self.expires {
            headers.insert(EXPIRES, date::value(expires));
        }
        headers
    }

    /// What `If-Modified-Since` is held against: its own word, else when it was made (RFC 9111 §4.3.2).
    pub fn dated(&self) -> Seconds {
        self.modified.or(self.life.date).unwrap_or(self.came)
    }

    fn weight(&self) -> usize {
        let field = |(name, value): &(HeaderName, HeaderValue)| name.as_str().len() + value.len();
        let chosen: usize = self
            .chosen
            .iter()
            .map(|(name, value)| name.as_str().len() + value.as_ref().map_or(0, |v| v.len()))
            .sum();
        // Shared fields are counted where they are not shared.
        let shared = if Arc::strong_count(&self.fields) > 1 { 0 } else { 1 };
        let list: usize = self.fields.list.iter().map(field).sum::<usize>() * shared;
        ENTRY + self.own.iter().map(field).sum::<usize>() + list + chosen
    }
}

/// Fields that are made anew for each answer, or are about the connection to the next proxy.
fn is_left_out(name: &HeaderName) -> bool {
    [&AGE, &CONTENT_LENGTH, &SET_COOKIE, &PROXY_AUTHENTICATE, &PROXY_AUTHORIZATION].contains(&name)
        || name == "proxy-authentication-info"
}

/// Fields that differ from host to host, or from answer to answer.
fn is_own(name: &HeaderName) -> bool {
    [&DATE, &EXPIRES, &CONTENT_SECURITY_POLICY, &CONTENT_SECURITY_POLICY_REPORT_ONLY]
        .contains(&name)
        || ["x-request-id", "server-timing", "traceparent", "etag", "last-modified"]
            .contains(&name.as_str())
}

/// A kept answer.
#[derive(Clone, Debug)]
pub struct Entry {
    /// All but its body.
    pub head: Arc<Head>,
    /// Which body.
    pub body: Hash,
    /// The body's length, uncoded.
    pub length: u64,
}

impl Entry {
    /// A head with its body.
    pub fn new(head: Arc<Head>, content: &Content) -> Self {
        Self { head, body: content.hash, length: content.plain.len() as u64 }
    }

    /// Bytes in memory, about.
    pub fn weight(&self) -> usize {
        self.head.weight()
    }
}
