//! May a kept answer be used for this request (RFC 9111 §4.2, §5.2.1)? Pure: what was said, and an
//! age.

use std::time::Duration;

use http::StatusCode;

use super::directives::Asked;
use super::policy::Life;

/// What may be done with a kept answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Use it.
    Fresh,
    /// Use it, though it is stale: the request allows it.
    Stale,
    /// Use it, and ask upstream anew behind the client's back.
    Revalidating,
    /// Ask upstream first: it is stale.
    Ask,
    /// Ask upstream first: the request wants it.
    Wanted,
}

/// Decides on an answer that is `age` old.
pub fn reuse(asked: &Asked, life: &Life, age: Duration) -> Reuse {
    if asked.no_cache {
        return Reuse::Wanted;
    }
    if life.no_cache {
        return Reuse::Ask;
    }
    if asked.max_age.is_some_and(|most| age > most || most.is_zero()) {
        return Reuse::Wanted;
    }
    let left = life.fresh.saturating_sub(age);
    if left > asked.min_fresh.unwrap_or_default() {
        return Reuse::Fresh;
    }
    if !left.is_zero() {
        return Reuse::Wanted;
    }
    let over = age.saturating_sub(life.fresh);
    if life.strict {
        return Reuse::Ask;
    }
    if asked.min_fresh.is_none() && over < life.while_revalidating {
        return Reuse::Revalidating;
    }
    if !life.shared && asked.max_stale.is_some_and(|most| over <= most) {
        return Reuse::Stale;
    }
    Reuse::Ask
}

/// Whether an answer with this status is a failure, which a stale answer may take the place of
/// (RFC 5861 §4).
pub fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Whether an answer may be used now that upstream has failed. `allowed` is what the route allows
/// where the answer is silent.
pub fn despite_error(asked: &Asked, life: &Life, age: Duration, allowed: Duration) -> bool {
    if life.no_cache || life.strict || asked.no_cache {
        return false;
    }
    let own = life.if_error.or_else(|| asked.stale_if_error.filter(|_| !life.shared));
    let most = own.unwrap_or(if life.shared { Duration::ZERO } else { allowed });
    age.saturating_sub(life.fresh) < most
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn life() -> Life {
        Life {
            fresh: s(100),
            no_cache: false,
            strict: false,
            shared: false,
            while_revalidating: Duration::ZERO,
            if_error: None,
        }
    }

    fn asked() -> Asked {
        Asked::default()
    }

    #[test]
    fn the_answer_s_life_and_the_request_s_wishes_decide() {
        let strict = || Life { strict: true, ..life() };
        let shared = || Life { shared: true, ..life() };
        let revalidating = || Life { while_revalidating: s(10), ..life() };
        let stale = || Asked { max_stale: Some(s(20)), ..asked() };
        for (asked, life, age, expected) in [
            (asked(), life(), 99, Reuse::Fresh),
            (asked(), life(), 100, Reuse::Ask),
            (asked(), Life { no_cache: true, ..life() }, 0, Reuse::Ask),
            (Asked { no_cache: true, ..asked() }, life(), 0, Reuse::Wanted),
            (Asked { max_age: Some(s(0)), ..asked() }, life(), 0, Reuse::Wanted),
            (Asked { max_age: Some(s(10)), ..asked() }, life(), 11, Reuse::Wanted),
            (Asked { max_age: Some(s(10)), ..asked() }, life(), 10, Reuse::Fresh),
            (Asked { min_fresh: Some(s(50)), ..asked() }, life(), 49, Reuse::Fresh),
            (Asked { min_fresh: Some(s(50)), ..asked() }, life(), 50, Reuse::Wanted),
            (stale(), life(), 120, Reuse::Stale),
            (stale(), life(), 121, Reuse::Ask),
            (stale(), strict(), 101, Reuse::Ask),
            (stale(), shared(), 101, Reuse::Ask),
            (asked(), revalidating(), 109, Reuse::Revalidating),
            (asked(), revalidating(), 110, Reuse::Ask),
            (asked(), Life { strict: true, ..revalidating() }, 105, Reuse::Ask),
            (asked(), Life { shared: true, ..revalidating() }, 105, Reuse::Revalidating),
        ] {
            assert_eq!(reuse(&asked, &life, s(age)), expected, "{asked:?} {life:?} {age}");
        }
    }

    #[test]
    fn an_error_is_covered_where_answer_request_or_route_allow_it() {
        let own = || Life { if_error: Some(s(60)), ..life() };
        for (life, allowed, age, expected) in [
            (life(), 0, 100, false),
            (life(), 30, 129, true),
            (life(), 30, 130, false),
            (own(), 0, 159, true),
            (own(), 900, 160, false),
            (Life { shared: true, ..life() }, 30, 101, false),
            (Life { shared: true, ..own() }, 0, 101, true),
            (Life { strict: true, ..own() }, 30, 101, false),
            (Life { no_cache: true, ..own() }, 30, 1, false),
        ] {
            let covered = despite_error(&asked(), &life, s(age), s(allowed));
            assert_eq!(covered, expected, "{life:?} {allowed} {age}");
        }
    }
}
