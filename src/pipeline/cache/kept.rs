//! Answers from what is kept: which entry is for a request, whether it may be used, and what is told
//! with it.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;

use super::answer::{self, Client, Made};
use super::ask::{Ask, Found, applied, applies, client, moment};
use super::entry::{Entry, Head};
use super::fetch;
use super::flight::Phase;
use super::generation::Piece;
use super::reuse::{self, Reuse};
use super::status::{self, Told};
use super::{Cache, Next};
use crate::body::Body;
use crate::exchange::{CacheUse, Exchange};
use crate::message::{Fields, Request, Response};
use crate::pipeline::coding::load::Load;

impl Cache {
    /// How what is kept may be used, else why not: too old by what was said, or perhaps of another
    /// generation of its application than the one that is served.
    pub(super) fn judge(
        &self,
        ask: &Ask,
        head: &Head,
        now: Instant,
        waited: bool,
    ) -> Result<Reuse, CacheUse> {
        let mutable = matches!(ask.app, Some(Piece::Page | Piece::Plain));
        if mutable && self.generations.app(&ask.source.route).outdates(head.since, now) {
            return Err(CacheUse::Expired);
        }
        match reuse::reuse(&ask.says, &head.life, head.age(now)) {
            Reuse::Wanted if !waited => Err(CacheUse::Wanted),
            Reuse::Ask | Reuse::Wanted => Err(CacheUse::Expired),
            usable => Ok(usable),
        }
    }

    /// What is kept for a request, else why there is nothing.
    pub(super) fn find(&self, ask: &Ask, headers: &Fields) -> (Option<Found>, CacheUse) {
        let Some(entries) = self.store.entries(&ask.address) else { return (None, CacheUse::Miss) };
        let entry = entries.as_slice().iter().find(|entry| applies(&entry.head, ask, headers));
        let Some(entry) = entry else { return (None, CacheUse::VaryMiss) };
        match self.whole(entry) {
            Some(found) => (Some(found), CacheUse::Expired),
            None => (None, CacheUse::Miss),
        }
    }

    /// What the route kept before it was configured anew, of a file that never changes.
    pub(super) fn former(&self, ask: &Ask, headers: &Fields) -> Option<Found> {
        if ask.app != Some(Piece::Hashed) {
            return None;
        }
        let entries = self.store.entries(&ask.address)?;
        self.whole(entries.as_slice().iter().find(|entry| applied(&entry.head, ask, headers))?)
    }

    fn whole(&self, entry: &Arc<Entry>) -> Option<Found> {
        let content = self.store.content(&entry.body)?;
        Some(Found { entry: Arc::clone(entry), content })
    }

    /// Answers from what is kept.
    pub(super) fn hit(
        self: &Arc<Self>,
        ask: &Ask,
        usable: Reuse,
        found: &Found,
        request: Request<Body>,
        exchange: &mut Exchange,
        next: &impl Next,
    ) -> Response<Body> {
        let verdict = match usable {
            Reuse::Stale => CacheUse::Stale,
            Reuse::Revalidating => CacheUse::Revalidating,
            Reuse::Fresh | Reuse::Ask | Reuse::Wanted => CacheUse::Hit,
        };
        let client = client(&request);
        if usable == Reuse::Revalidating {
            fetch::behind(self, ask, found, request, exchange, next);
        }
        self.improve(found);
        self.kept(&client, found, verdict, Told::default(), exchange)
    }

    /// Lets the best variants be made of what is used.
    pub(super) fn improve(&self, found: &Found) {
        if found.entry.head.codable {
            self.variants.want(&found.content);
        }
    }

    /// The answer from what is kept, with what is told of it.
    pub(super) fn kept(
        &self,
        client: &Client,
        found: &Found,
        verdict: CacheUse,
        told: Told,
        exchange: &mut Exchange,
    ) -> Response<Body> {
        let now = moment(exchange, verdict != CacheUse::Hit);
        let head = &found.entry.head;
        let Made { mut response, saved } = answer::kept(client, &found.entry, &found.content, now);
        let ttl = status::ttl(head.life.fresh, head.age(now));
        status::tell(response.headers_mut(), verdict, Told { ttl, ..told });
        exchange.cache = Some(verdict);
        exchange.cache_saved = saved;
        response
    }

    /// What is kept in the place of a failure, where that is allowed.
    pub(super) fn instead(
        &self,
        ask: &Ask,
        client: &Client,
        found: Option<&Found>,
        failed: Option<StatusCode>,
        exchange: &mut Exchange,
    ) -> Option<Response<Body>> {
        let found = found?;
        let head = &found.entry.head;
        let age = head.age(Instant::now());
        if !reuse::despite_error(&ask.says, &head.life, age, ask.plan.stale_if_error) {
            return None;
        }
        let fwd_status = failed.map(|status| status.as_u16());
        let told = Told { fwd_status, detail: Some("stale-if-error"), ..Told::default() };
        Some(self.kept(client, found, CacheUse::Error, told, exchange))
    }

    /// The answer that another asked for, if it is for this request too.
    pub(super) fn share(
        &self,
        ask: &Ask,
        client: &Client,
        phase: Phase,
        load: &Load,
        exchange: &mut Exchange,
    ) -> Option<Response<Body>> {
        let told = Told::default();
        match phase {
            Phase::Filling(fill) if applies(&fill.head, ask, &client.headers) => {
                let mut response = answer::filling(client, &fill, load.level(), Instant::now());
                status::tell(response.headers_mut(), CacheUse::Collapsed, told);
                exchange.cache = Some(CacheUse::Collapsed);
                Some(response)
            }
            Phase::Kept(entry, content) if applies(&entry.head, ask, &client.headers) => {
                let found = Found { entry, content };
                Some(self.kept(client, &found, CacheUse::Collapsed, told, exchange))
            }
            _ => None,
        }
    }
}
