//! Content codings (RFC 9110 §8.4.1): which of them a client takes, what is worth coding, and the
//! encoders. Shared by the stages that code answers; nothing here knows a request.

pub mod accept;
pub mod encode;
pub mod load;
pub mod media;
pub mod shelf;
pub mod stream;

use http::HeaderValue;

/// How a body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, with the window that RFC 9659 allows.
    Zstd,
}

impl Coding {
    /// What Ravelin would rather send where the client has no wish: fewest bytes first.
    pub const BY_SIZE: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// Its name in `Content-Encoding` and `Accept-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The coding of this name, in any case; `x-gzip` is gzip (RFC 9110 §8.4.1.3).
    pub fn named(name: &[u8]) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let all = [Self::Identity, Self::Gzip, Self::Brotli, Self::Zstd];
        let known = all.into_iter().find(|coding| is(coding.name()));
        known.or_else(|| is("x-gzip").then_some(Self::Gzip))
    }

    /// The value of `Content-Encoding`; identity has none.
    pub fn header(self) -> Option<HeaderValue> {
        (self != Self::Identity).then(|| HeaderValue::from_static(self.name()))
    }
}

/// How hard an encoder works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// As little as possible, for a busy machine: br 1, zstd 1, gzip 1.
    Light,
    /// While somebody waits: br 5, zstd 3, gzip 5; from 75 MB/s (br) to 500 MB/s (zstd).
    Fast,
    /// Once, in the background: br 11 and zstd 19 with the largest window, gzip 9. br 11 makes some
    /// 0.3 MB/s of a script.
    Best,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_each_other_in_any_case() {
        for (name, coding) in [
            ("gzip", Some(Coding::Gzip)),
            ("X-GZIP", Some(Coding::Gzip)),
            ("Br", Some(Coding::Brotli)),
            ("zstd", Some(Coding::Zstd)),
            ("IDENTITY", Some(Coding::Identity)),
            ("deflate", None),
            ("compress", None),
            ("dcb", None),
            ("", None),
        ] {
            assert_eq!(Coding::named(name.as_bytes()), coding, "{name}");
        }
        assert_eq!(Coding::Identity.header(), None);
        assert_eq!(Coding::Zstd.header().unwrap(), "zstd");
    }
}
