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
use http::{HeaderValue, StatusCode};
use http_body::SizeHint;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::ask::Ask;
use super::directives::Answer;
use super::purge::Purge;
use super::status::{self, Told};
use super::store;
use super::{Next, bypass, fetch, pass, reuse};
use crate::body::{Body, Frames};
use crate::error::Error;
use crate::exchange::{CacheUse, Exchange};
use crate::message::name::{
    ACCESS_CONTROL_ALLOW_ORIGIN, AGE, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, ORIGIN,
    SET_COOKIE, TRANSFER_ENCODING,
};
use crate::message::{Fields, Frame, Request, Response};

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

/// Under what an answer is kept: its address, and whether a script of another origin may read it.
type Name = (Box<str>, bool);

/// What is kept, of all hosts.
pub struct Shield {
    all: Cache<Name, Arc<Copy>>,
    /// The life of each host's keys, by scheme and authority.
    lives: Cache<Box<str>, Duration>,
}

/// A copy of an answer.
struct Copy {
    headers: Fields,
    body: Bytes,
    since: Instant,
    /// How old it was when it came.
    age: Duration,
    /// What it says itself; `None`: as long as the host's keys.
    life: Option<Duration>,
}

impl Default for Shield {
    fn default() -> Self {
        let weight = |(address, _): &Name, copy: &Arc<Copy>| {
            let fields = copy.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
            let bytes = address.len() + fields.sum::<usize>() + copy.body.len() + 512;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let all = Cache::builder().max_capacity(MEMORY).weigher(weight);
        let lives = Cache::builder().max_capacity(MEMORY / 1024);
        Self { all: all.eviction_policy(EvictionPolicy::lru()).build(), lives: lives.build() }
    }
}

impl Shield {
    /// Under what the answer to a request is kept.
    ///
    /// # Errors
    /// Why it is not: it is about somebody, or has a query, which means nothing here and of which a
    /// client could make up any number.
    pub(super) fn name(address: &str, asked: &Fields) -> Result<Name, &'static str> {
        if asked.contains_key(AUTHORIZATION) {
            return Err("authorization");
        }
        if address.contains('?') {
            return Err("query");
        }
        Ok((address.into(), asked.contains_key(ORIGIN)))
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
            self.lives.insert(store::split(&name.0).0.into(), life);
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

    /// The answer in the place of one that failed, to a script of `origin`.
    pub(super) fn instead(
        &self,
        name: &Name,
        origin: Option<HeaderValue>,
        now: Instant,
    ) -> Option<Response<Body>> {
        let copy = self.all.get(name)?;
        let life = copy.life.or_else(|| self.lives.get(store::split(&name.0).0))?;
        let age = copy.age + now.saturating_duration_since(copy.since);
        if age >= life {
            return None;
        }
        let mut response = Response::new(Body::from(copy.body.clone()));
        response.headers_mut().clone_from(&copy.headers);
        response.headers_mut().insert(AGE, age.as_secs().into());
        response.headers_mut().insert(CONTENT_LENGTH, copy.body.len().into());
        // ZITADEL lets every origin read these, each by its name (zitadel/oidc, `pkg/op/op.go`:
        // `allowAllOrigins`).
        if let (Some(allowed), Some(origin)) =
            (response.headers_mut().get_mut(ACCESS_CONTROL_ALLOW_ORIGIN), origin)
            && allowed != "*"
        {
            *allowed = origin;
        }
        Some(response)
    }

    /// Forgets; how many answers went.
    pub(super) fn purge(&self, purge: &Purge) -> usize {
        let matching = |(address, _): &Name| {
            let (site, path) = store::split(address);
            purge.matches(site, path)
        };
        let gone: Vec<_> = self.all.iter().filter(|(name, _)| matching(name)).collect();
        gone.iter().for_each(|(name, _)| self.all.invalidate(&**name));
        gone.len()
    }
}

impl super::Cache {
    /// ZITADEL's keys and discovery: always upstream's own answer, but when it fails.
    pub(super) async fn shielded(
        &self,
        ask: Ask,
        request: Request<Body>,
        exchange: &mut Exchange,
        next: &impl Next,
    ) -> Result<Response<Body>, Error> {
        let name = match Shield::name(&ask.address, request.headers()) {
            Ok(name) => name,
            Err(why) => return pass(bypass(why), Some(why), request, exchange, next).await,
        };
        let origin = request.headers().get(ORIGIN).cloned();
        exchange.cache = Some(CacheUse::Never);
        let result = next.send(request, exchange).await;
        let failed = match &result {
            Ok(response) => reuse::is_failure(response.status()),
            Err(error) => fetch::of_everybody(error.kind()).is_some(),
        };
        let told = Told { detail: Some("shield"), ..Told::default() };
        let instead = failed.then(|| self.shield.instead(&name, origin, Instant::now())).flatten();
        if let Some(mut response) = instead {
            let fwd_status = result.ok().map(|response| response.status().as_u16());
            status::tell(response.headers_mut(), CacheUse::Error, Told { fwd_status, ..told });
            exchange.cache = Some(CacheUse::Error);
            return Ok(response);
        }
        let mut response = result?;
        if !failed {
            // As it came: what is told below is of this answer alone.
            response = self.shield.copy(name, response, Instant::now());
        }
        status::tell(response.headers_mut(), CacheUse::Never, told);
        Ok(response)
    }
}

fn is_keys(address: &str) -> bool {
    address.ends_with(KEYS)
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

impl Frames for Along {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
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
mod tests;
