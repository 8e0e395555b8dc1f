//! May an answer be kept (RFC 9111 §3), and for how long is it fresh (§4.2)? Pure: heads in, a
//! verdict out.

use std::time::Duration;

use http::StatusCode;

use super::date::{self, Seconds};
use super::directives::{self, Answer};
use super::{never, vary};
use crate::message::Fields;
use crate::message::name::{AGE, DATE, ETAG, EXPIRES, LAST_MODIFIED};
use crate::pipeline::plan::CachePlan;

/// The age of an answer that says it in a way that cannot be read: surely stale.
const UNKNOWN_AGE: Duration = Duration::from_secs(1 << 31);
/// The most that a guess may come to: a day.
const MOST_GUESSED: u64 = 86_400;

/// How long an answer lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Life {
    /// For how long it is fresh, from age zero.
    pub fresh: Duration,
    /// Ask before each use, however fresh.
    pub no_cache: bool,
    /// Never to be used stale: `must-revalidate`, `proxy-revalidate`.
    pub strict: bool,
    /// As `strict`, except for what the answer allows itself: `s-maxage` alone (§5.2.2.10).
    pub shared: bool,
    /// How much longer it may be used while it is asked for anew.
    pub while_revalidating: Duration,
    /// How much longer it may be used when upstream fails.
    pub if_error: Option<Duration>,
}

/// Why an answer is not kept: the word in `Cache-Status`.
pub type Why = &'static str;

/// Whether the answer to a GET may be kept, how long it lives then, and how old it was when it came
/// (§4.2.3, `corrected_initial_age`). `now` is the wall clock at that moment.
///
/// # Errors
/// Why not.
pub fn keep(
    plan: &CachePlan,
    path: &str,
    status: StatusCode,
    headers: &Fields,
    now: Seconds,
) -> Result<(Life, Duration), Why> {
    if let Some(why) = never::answer(path, status, headers) {
        return Err(why);
    }
    let says = Answer::of(headers);
    // Said beside `must-understand`, it is for caches that do not know it (§5.2.2.3).
    if says.no_store && !(says.must_understand && is_understood(status)) {
        return Err("no-store");
    }
    if says.private {
        return Err("private");
    }
    if vary::is_unbounded(headers) {
        return Err("vary");
    }
    if status.is_informational() || status == StatusCode::NOT_MODIFIED {
        return Err("status");
    }
    if says.must_understand && !is_understood(status) {
        return Err("status");
    }
    let error = status.as_u16() >= 400;
    if error && !plan.errors {
        return Err("status");
    }
    let (life, age) = life(plan, &says, status, headers, now);
    let expires = !says.targeted && headers.contains_key(EXPIRES);
    let stated = says.s_maxage.is_some() || says.max_age.is_some() || expires;
    let usable = life.fresh > Duration::ZERO && !says.no_cache;
    let has_validator = headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
    if usable || (has_validator && status == StatusCode::OK) {
        return Ok((life, age));
    }
    Err(if stated || says.no_cache { "stale" } else { "silent" })
}

/// Statuses whose meaning for a cache is known here (RFC 9110 §15.1).
fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300..=303 | 307 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Statuses that may be guessed about (RFC 9110 §15.1).
fn may_be_guessed(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// How long an answer lives, and how old it was when it came, whether or not it may be kept.
pub fn life(
    plan: &CachePlan,
    says: &Answer,
    status: StatusCode,
    headers: &Fields,
    now: Seconds,
) -> (Life, Duration) {
    let date = date::field(headers, &DATE);
    let strict = says.must_revalidate || says.proxy_revalidate;
    let life = Life {
        fresh: fresh(plan, says, status, headers, date.unwrap_or(now)),
        no_cache: says.no_cache,
        strict,
        shared: says.s_maxage.is_some(),
        while_revalidating: says.stale_while_revalidate.unwrap_or_default(),
        if_error: says.stale_if_error,
    };
    (life, age(headers, date, now))
}

/// §4.2.3: the larger of what upstream says and what the clocks say.
fn age(headers: &Fields, date: Option<Seconds>, now: Seconds) -> Duration {
    let apparent = Duration::from_secs(now.saturating_sub(date.unwrap_or(now)));
    let mut lines = headers.get_all(AGE).iter();
    let said = match (lines.next(), lines.next()) {
        (None, _) => Duration::ZERO,
        (Some(one), None) => {
            directives::seconds(one.as_bytes().trim_ascii()).unwrap_or(UNKNOWN_AGE)
        }
        (Some(_), Some(_)) => UNKNOWN_AGE,
    };
    apparent.max(said)
}

/// §4.2.1: the first of `s-maxage`, `max-age`, `Expires` and, where that is asked for, a guess.
fn fresh(
    plan: &CachePlan,
    says: &Answer,
    status: StatusCode,
    headers: &Fields,
    made: Seconds,
) -> Duration {
    if let Some(stated) = says.s_maxage.or(says.max_age) {
        return stated;
    }
    if let Some(expires) = headers.get(EXPIRES).filter(|_| !says.targeted) {
        // What cannot be read is in the past (§5.3), and so is a zone that is not GMT (§4.2).
        let until = date::strict(expires).unwrap_or_default();
        return Duration::from_secs(until.saturating_sub(made).min(1 << 31));
    }
    if !plan.heuristic || says.no_cache || !(may_be_guessed(status) || says.public) {
        return Duration::ZERO;
    }
    let changed = date::field(headers, &LAST_MODIFIED);
    let since = changed.map_or(0, |changed| made.saturating_sub(changed));
    Duration::from_secs((since / 10).min(MOST_GUESSED))
}

#[cfg(test)]
mod tests;
