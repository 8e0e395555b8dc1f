//! What is kept of an answer: its head, one for each host and choice of request fields, and its
//! body, one for all that have the same bytes.
//!
//! A thousand hosts of one Console differ in little but the host in their `Content-Security-Policy`:
//! what does not differ is shared too ([`Shape`]), and dates are kept as numbers.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};

use super::content::{Content, Hash};
use super::date::{self, Seconds};
use super::directives::Answer;
use super::policy::Life;
use super::vary::{self, Chosen};
use crate::message::name::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
    CONTENT_SECURITY_POLICY_REPORT_ONLY, CONTENT_TYPE, DATE, ETAG, EXPIRES, LAST_MODIFIED,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE,
};
use crate::message::{FieldName, Fields};
use crate::pipeline::coding::media;

/// What is weighed for an entry: itself, and its place in its path's table.
const ENTRY: usize = 224;
/// What is weighed for a field beside its name and value.
const FIELD: usize = 72;

/// Whose answer something is: a route, as it was configured when it asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The route's name: another may lead elsewhere.
    pub route: Arc<str>,
    /// [`crate::pipeline::plan::RoutePlan::print`]: after a change it may lead elsewhere too, and edits
    /// heads in another way.
    pub print: u64,
}

/// Name and value.
pub type Field = (FieldName, HeaderValue);

/// What the answers of many hosts have in common, but for their body.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Whose answer it is.
    pub source: Arc<Source>,
    /// The request's fields that it was chosen by.
    pub chosen: Chosen,
    /// Its status.
    pub status: StatusCode,
    /// Its fields in upstream's order, but for those below and those that are a head's own.
    pub fields: Box<[Field]>,
    /// How long it lives.
    pub life: Life,
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

/// All of an answer but its body.
#[derive(Clone, Debug)]
pub struct Head {
    /// What it has in common with others.
    pub shape: Arc<Shape>,
    /// Fields that are its host's alone, or its own.
    pub own: Arc<[Field]>,
    /// `Date`, where it is one.
    pub date: Option<Seconds>,
    /// `Expires`, where it is a date.
    pub expires: Option<Seconds>,
    /// How old it was when it came.
    pub first_age: Duration,
    /// When it came, or was last confirmed.
    pub since: Instant,
    /// The same by the wall clock.
    pub came: Seconds,
    /// Which of `shape` and `own` weigh with it.
    pub brings: Brings,
}

/// What an answer has brought that no other had: it weighs with this one alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Brings {
    /// [`Head::shape`].
    pub shape: bool,
    /// [`Head::own`].
    pub own: bool,
}

impl Deref for Head {
    type Target = Shape;

    fn deref(&self) -> &Shape {
        &self.shape
    }
}

impl Head {
    /// Comes in the place of `before`: what that had brought and both have weighs on.
    pub fn succeeds(&mut self, before: &Self) {
        self.brings.shape |= before.brings.shape && Arc::ptr_eq(&self.shape, &before.shape);
        self.brings.own |= before.brings.own && Arc::ptr_eq(&self.own, &before.own);
    }

    /// What is kept of `headers`, an answer to `request`. Nothing is shared yet.
    pub fn new(
        source: &Arc<Source>,
        request: &Fields,
        status: StatusCode,
        mut headers: Fields,
        (life, first_age): (Life, Duration),
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
        let (mut fields, mut own) = (Vec::with_capacity(headers.len()), Vec::new());
        for (name, value) in &headers {
            if is_left_out(name) || (*name == DATE && made.is_some()) {
                continue;
            }
            if *name == EXPIRES && expires.is_some() {
                continue;
            }
            let place = if is_own(name) { &mut own } else { &mut fields };
            place.push((name.clone(), value.clone()));
        }
        let shape = Shape {
            source: Arc::clone(source),
            chosen: vary::choose(&headers, request),
            status,
            fields: fields.into(),
            life,
            tag: headers.get(ETAG).cloned(),
            modified: date::field(&headers, &LAST_MODIFIED),
            content_type,
            coded,
            by_coding: vary::by_coding(&headers),
            codable,
        };
        let (shape, own) = (Arc::new(shape), own.into());
        Self { shape, own, date: made, expires, first_age, since, came, brings: Brings::default() }
    }

    /// Its age (RFC 9111 §4.2.3).
    pub fn age(&self, now: Instant) -> Duration {
        self.first_age + now.saturating_duration_since(self.since)
    }

    /// The fields as they came, but for what is never passed on from the cache.
    pub fn headers(&self) -> Fields {
        let mut headers = Fields::with_capacity(self.fields.len() + self.own.len() + 8);
        for (name, value) in self.fields.iter().chain(&*self.own) {
            headers.append(name, value.clone());
        }
        if let Some(made) = self.date {
            headers.insert(DATE, date::value(made));
        }
        if let Some(expires) = self.expires {
            headers.insert(EXPIRES, date::value(expires));
        }
        headers
    }

    /// What `If-Modified-Since` is held against: its own word, else when it was made (RFC 9111 §4.3.2).
    pub fn dated(&self) -> Seconds {
        self.modified.or(self.date).unwrap_or(self.came)
    }
}

impl Shape {
    /// Bytes in memory, about.
    pub fn weight(&self) -> usize {
        let chosen = self.chosen.iter();
        let chosen: usize = chosen
            .map(|(name, value)| name.as_str().len() + value.as_ref().map_or(0, |v| v.len()))
            .sum();
        size_of::<Self>() + weight(&self.fields) + chosen
    }
}

/// Bytes of some fields, about.
pub fn weight(fields: &[Field]) -> usize {
    fields.iter().map(|(name, value)| FIELD + name.as_str().len() + value.len()).sum()
}

/// Fields that are made anew for each answer, or are about the connection to the next proxy.
fn is_left_out(name: &FieldName) -> bool {
    [&AGE, &CONTENT_LENGTH, &SET_COOKIE, &PROXY_AUTHENTICATE, &PROXY_AUTHORIZATION].contains(&name)
        || name == "proxy-authentication-info"
}

/// Fields that differ from host to host, or from answer to answer.
fn is_own(name: &FieldName) -> bool {
    [&DATE, &EXPIRES, &CONTENT_SECURITY_POLICY, &CONTENT_SECURITY_POLICY_REPORT_ONLY]
        .contains(&name)
        || ["x-request-id", "server-timing", "traceparent"].contains(&name.as_str())
}

/// A kept answer.
#[derive(Clone, Debug)]
pub struct Entry {
    /// All but its body.
    pub head: Head,
    /// Which body.
    pub body: Hash,
    /// The body's length, uncoded.
    pub length: u64,
}

impl Entry {
    /// A head with its body.
    pub fn new(head: Head, content: &Content) -> Self {
        Self { head, body: content.hash, length: content.plain.len() as u64 }
    }

    /// Bytes in memory, about.
    pub fn weight(&self) -> usize {
        let Head { shape, own, brings, .. } = &self.head;
        let shape = if brings.shape { shape.weight() } else { 0 };
        let own = if brings.own { weight(own) } else { 0 };
        ENTRY + shape + own
    }
}
