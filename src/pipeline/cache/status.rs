//! `Cache-Status` (RFC 9211): what the cache did with a request, in one line.

use std::fmt;
use std::time::Duration;

use super::line::Line;
use crate::exchange::CacheUse;
use crate::message::Fields;
use crate::message::name::CACHE_STATUS;

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
pub fn tell(headers: &mut Fields, verdict: CacheUse, told: Told) {
    headers.append(&CACHE_STATUS, Line::value(format_args!("{}", Member { verdict, told })));
}

/// Our member of the list.
struct Member {
    verdict: CacheUse,
    told: Told,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, told } = self;
        f.write_str("Ravelin; ")?;
        f.write_str(match verdict {
            CacheUse::Hit | CacheUse::Stale | CacheUse::Revalidating => "hit",
            CacheUse::Expired | CacheUse::Error | CacheUse::Revalidated => "fwd=stale",
            CacheUse::Miss | CacheUse::Collapsed => "fwd=uri-miss",
            CacheUse::VaryMiss => "fwd=vary-miss",
            CacheUse::Wanted => "fwd=request",
            CacheUse::Method => "fwd=method",
            CacheUse::Only => "fwd=miss",
            CacheUse::Authorization | CacheUse::Cookie | CacheUse::Never => "fwd=bypass",
        })?;
        if let Some(status) = told.fwd_status {
            write!(f, "; fwd-status={status}")?;
        }
        if let Some(ttl) = told.ttl {
            write!(f, "; ttl={ttl}")?;
        }
        if told.stored {
            f.write_str("; stored")?;
        }
        if *verdict == CacheUse::Collapsed {
            f.write_str("; collapsed")?;
        }
        match told.detail {
            Some(detail) => write!(f, "; detail={detail}"),
            None => Ok(()),
        }
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
            let mut headers = Fields::new();
            tell(&mut headers, verdict, told);
            assert_eq!(headers[&CACHE_STATUS], expected);
        }
        assert_eq!(ttl(Duration::from_secs(1), Duration::from_secs(5)), Some(-4));
    }
}
