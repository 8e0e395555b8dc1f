//! Spares relying parties a ZITADEL that restarts: its keys and its discovery are kept beside what
//! passes, and answered with while upstream fails, for as long as the keys' own `max-age` says.
//!
//! Never otherwise. Each of these answers sets a browser's identity for a year (zitadel.md §13.2), so
//! whoever asks is answered by ZITADEL itself as long as that answers, and what is kept has no
//! `Set-Cookie`. Discovery says `no-store`, as all of OIDC does, though it names nothing but addresses:
//! whoever switches this on wants it kept as long as the keys that it leads to.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{
    AGE, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, ORIGIN, SET_COOKIE,
    TRANSFER_ENCODING,
};
use http::{HeaderMap, Response, StatusCode};
use http_body::{Frame, SizeHint};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::directives::Answer;
use super::store::{Key, Purge};
use crate::body::Body;
use crate::error::Error;

const KEYS: &str = "/oauth/v2/keys";
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// The largest answer that is kept, in bytes.
const LARGEST: usize = 64 * 1024;
/// Bytes of all.
const MEMORY: u64 = 4 << 20;

/// Whether a path (decoded) is one of those that this is about.
pub fn concerns(path: &str) -> bool {
    matches!(path, KEYS | DISCOVERY)
}

/// Under what an answer is kept: its address, and the origin of the script that it is for, which the
/// answer repeats.
type Name = (Box<str>, Option<HeaderValue>);

/// What is kept, of all hosts.
pub struct Shield {
    all: Cache<Name, Arc<Copy>>,
    /// The life of each host's keys, by scheme and authority.
    lives: Cache<Box<str>, Duration>,
}

/// A copy of an answer.
struct Copy {
    headers: HeaderMap,
    body: Bytes,
    since: Instant,
    /// How old it was when it came.
    age: Duration,
    /// What it says itself; `None`: as long as the host's keys.
    life: Option<Duration>,
}

impl Default for Shield {
    fn default() -> Self {
        let weight = |(address, origin): &Name, copy: &Arc<Copy>| {
            let fields = copy.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
            let origin = origin.as_ref().map_or(0, HeaderValue::len);
            let bytes = address.len() + origin + fields.sum::<usize>() + copy.body.len() + 512;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let all = Cache::builder().max_capacity(MEMORY).weigher(weight);
        let lives = Cache::builder().max_capacity(MEMORY / 1024);
        Self { all: all.eviction_policy(EvictionPolicy::lru()).build(), lives: lives.build() }
    }
}

impl Shield {
    /// Under what the answer to a request is kept; `None`: it is about somebody.
    pub(super) fn name(address: &str, asked: &HeaderMap) -> Option<Name> {
        (!asked.contains_key(AUTHORIZATION)).then(|| (address.into(), asked.get(ORIGIN).cloned()))
    }

    /// Copies an answer as it passes.
    pub(super) fn copy(
        self: &Arc<Self>,
        name: Name,
        response: Response<Body>,
        now: Instant,
    ) -> Response<Body> {
        let says = Answer::of(response.headers());
        let own = says.s_maxage.or(says.max_age).filter(|_| !says.no_store);
        let keys = is_keys(&name.0);
        let coded = response.headers().contains_key(CONTENT_ENCODING);
        if response.status() != StatusCode::OK || coded || says.private || (keys && own.is_none()) {
            return response;
        }
        if let (true, Some(life)) = (keys, own) {
            self.lives.insert(site(&name.0).into(), life);
        }
        let mut headers = response.headers().clone();
        for field in [SET_COOKIE, CONTENT_LENGTH, TRANSFER_ENCODING, AGE] {
            headers.remove(field);
        }
        let age = response.headers().get(AGE).and_then(|age| age.to_str().ok()?.parse().ok());
        let age = Duration::from_secs(age.unwrap_or_default());
        let copy = Copy { headers, body: Bytes::new(), since: now, age, life: own };
        let copying =
            Copying { shield: Arc::clone(self), kept: Some((name, copy, BytesMut::new())) };
        response.map(|body| Body::boxed(Along { body, copying }))
    }

    /// The answer in the place of one that failed.
    pub(super) fn instead(&self, name: &Name, now: Instant) -> Option<Response<Body>> {
        let copy = self.all.get(name)?;
        let life = copy.life.or_else(|| self.lives.get(site(&name.0)))?;
        let age = copy.age + now.saturating_duration_since(copy.since);
        if age >= life {
            return None;
        }
        let mut response = Response::new(Body::from(copy.body.clone()));
        response.headers_mut().clone_from(&copy.headers);
        response.headers_mut().insert(AGE, age.as_secs().into());
        response.headers_mut().insert(CONTENT_LENGTH, copy.body.len().into());
        Some(response)
    }

    /// Forgets; how many answers went.
    pub(super) fn purge(&self, purge: &Purge) -> usize {
        let matching = |name: &Name| purge.matches(&Key::Address(name.0.clone()));
        let gone: Vec<_> = self.all.iter().filter(|(name, _)| matching(name)).collect();
        gone.iter().for_each(|(name, _)| self.all.invalidate(&**name));
        gone.len()
    }
}

fn is_keys(address: &str) -> bool {
    address.split('?').next().is_some_and(|address| address.ends_with(KEYS))
}

/// Scheme and authority of an address.
fn site(address: &str) -> &str {
    let start = address.find("://").map_or(0, |at| at + 3);
    let end = address.get(start..).and_then(|rest| rest.find('/'));
    end.and_then(|end| address.get(..start + end)).unwrap_or(address)
}

/// What has been copied so far; `None`: it became too large, or is whole and kept.
struct Copying {
    shield: Arc<Shield>,
    kept: Option<(Name, Copy, BytesMut)>,
}

impl Copying {
    fn take(&mut self, data: &Bytes) {
        if let Some((_, _, body)) = &mut self.kept {
            if body.len() + data.len() > LARGEST {
                self.kept = None;
            } else {
                body.extend_from_slice(data);
            }
        }
    }

    fn keep(&mut self) {
        if let Some((name, copy, body)) = self.kept.take() {
            self.shield.all.insert(name, Arc::new(Copy { body: body.freeze(), ..copy }));
        }
    }
}

/// A body that is copied as it passes.
struct Along {
    body: Body,
    copying: Copying,
}

impl http_body::Body for Along {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.copying.take(data);
                }
                // Whoever reads it need not ask once more.
                if self.body.is_end_stream() {
                    self.copying.keep();
                }
            }
            Some(Err(_)) => self.copying.kept = None,
            None => self.copying.keep(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    const SITE: &str = "https://id.test";

    fn name(path: &str, origin: Option<&'static str>) -> Name {
        let mut asked = HeaderMap::new();
        asked.extend(origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin))));
        Shield::name(&format!("{SITE}{path}"), &asked).unwrap()
    }

    async fn passes(shield: &Arc<Shield>, name: Name, says: &'static str, body: &str, at: Instant) {
        let mut response = Response::new(Body::from(Bytes::copy_from_slice(body.as_bytes())));
        for (name, value) in [("cache-control", says), ("set-cookie", "a=1"), ("x", "y")] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        let answer = shield.copy(name, response, at);
        assert_eq!(answer.headers()["set-cookie"], "a=1", "who asks has it");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), body);
    }

    #[tokio::test]
    async fn copies_stand_in_for_as_long_as_the_keys_live_and_without_cookies() {
        let (shield, start) = (Arc::new(Shield::default()), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let discovery = name(DISCOVERY, None);
        passes(&shield, discovery.clone(), "no-store", "discovery", start).await;
        assert!(shield.instead(&discovery, start).is_none(), "nothing is known of the keys");
        let keys = name(KEYS, None);
        passes(&shield, keys.clone(), "max-age=300, must-revalidate", "keys", at(10)).await;
        for (name, body, last) in [(&discovery, "discovery", 299), (&keys, "keys", 309)] {
            let answer = shield.instead(name, at(last)).unwrap();
            assert!(!answer.headers().contains_key(SET_COOKIE));
            assert_eq!(
                (&answer.headers()["age"], &answer.headers()["x"]),
                (&"299".parse().unwrap(), &"y".parse().unwrap())
            );
            assert_eq!(answer.headers()[CONTENT_LENGTH], body.len().to_string());
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), body);
            assert!(shield.instead(name, at(last + 1)).is_none());
        }
        assert!(shield.instead(&name(KEYS, Some("https://app.test")), start).is_none());
        assert_eq!(shield.purge(&Purge::Host("other.test".into())), 0);
        assert_eq!(shield.purge(&Purge::Host("id.test".into())), 2);
        assert!(shield.instead(&keys, at(10)).is_none());
    }

    #[tokio::test]
    async fn what_is_private_personal_or_large_is_not_copied() {
        let (shield, now) = (Arc::new(Shield::default()), Instant::now());
        let keys = name(KEYS, None);
        let large = "x".repeat(LARGEST + 1);
        for (says, body) in [
            ("private, max-age=9", "a"),
            ("no-store", "a"),
            ("no-store, max-age=9", "a"),
            ("max-age=9", &large),
        ] {
            passes(&shield, keys.clone(), says, body, now).await;
            assert!(shield.instead(&keys, now).is_none(), "{says}");
        }
        let mut asked = HeaderMap::new();
        asked.insert(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        assert!(Shield::name(SITE, &asked).is_none());
    }
}
