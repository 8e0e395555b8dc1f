//! `Cache-Status` (RFC 9211): what the cache did with a request, in one line.

use std::fmt::Write as _;
use std::time::Duration;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::exchange::CacheUse;

static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What is told beside the verdict.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// Seconds of freshness left; negative for a stale answer.
    pub ttl: Option<i64>,
    /// The status that upstream answered with, where the client is told another.
    pub fwd_status: Option<u16>,
    /// Whether the answer is kept.
    pub stored: bool,
    /// Why it is not, or another word of explanation.
    pub detail: Option<&'static str>,
}

/// Seconds of freshness left at an age.
pub fn ttl(fresh: Duration, age: Duration) -> Option<i64> {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).ok();
    Some(seconds(fresh)? - seconds(age)?)
}

/// Adds our member behind those of caches before us.
pub fn tell(headers: &mut HeaderMap, verdict: CacheUse, told: Told) {
    let mut text = String::with_capacity(64);
    text.push_str("Ravelin; ");
    text.push_str(match verdict {
        CacheUse::Hit | CacheUse::Stale | CacheUse::Revalidating => "hit",
        CacheUse::Expired | CacheUse::Error | CacheUse::Revalidated => "fwd=stale",
        CacheUse::Miss | CacheUse::Collapsed => "fwd=uri-miss",
        CacheUse::VaryMiss => "fwd=vary-miss",
        CacheUse::Wanted => "fwd=request",
        CacheUse::Method => "fwd=method",
        CacheUse::Only => "fwd=miss",
        CacheUse::Authorization | CacheUse::Cookie | CacheUse::Never => "fwd=bypass",
    });
    if let Some(status) = told.fwd_status {
        let _ = write!(text, "; fwd-status={status}");
    }
    if let Some(ttl) = told.ttl {
        let _ = write!(text, "; ttl={ttl}");
    }
    if told.stored {
        text.push_str("; stored");
    }
    if verdict == CacheUse::Collapsed {
        text.push_str("; collapsed");
    }
    if let Some(detail) = told.detail {
        let _ = write!(text, "; detail={detail}");
    }
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.append(&CACHE_STATUS, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_as_rfc_9211_wants_it() {
        for (verdict, told, expected) in [
            (CacheUse::Hit, Told { ttl: Some(9), ..Told::default() }, "Ravelin; hit; ttl=9"),
            (
                CacheUse::Miss,
                Told { stored: true, ..Told::default() },
                "Ravelin; fwd=uri-miss; stored",
            ),
            (CacheUse::Collapsed, Told::default(), "Ravelin; fwd=uri-miss; collapsed"),
            (
                CacheUse::Revalidated,
                Told { fwd_status: Some(304), stored: true, ..Told::default() },
                "Ravelin; fwd=stale; fwd-status=304; stored",
            ),
            (
                CacheUse::Cookie,
                Told { detail: Some("cookie"), ..Told::default() },
                "Ravelin; fwd=bypass; detail=cookie",
            ),
        ] {
            let mut headers = HeaderMap::new();
            tell(&mut headers, verdict, told);
            assert_eq!(headers[&CACHE_STATUS], expected);
        }
        assert_eq!(ttl(Duration::from_secs(1), Duration::from_secs(5)), Some(-4));
    }
}
