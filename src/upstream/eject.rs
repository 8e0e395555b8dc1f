//! When what exchanges tell of an endpoint is reason to leave it alone for a while. Pure.
//!
//! Ejection is a guess, made of what one worker sees; so it is short, grows only while it proves
//! right, and never leaves fewer than a third of a cluster ([`is_panic`]).

use std::time::Duration;

use http::StatusCode;

use crate::error::Kind;

/// The first ejection, doubled with each further one in a row.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// An answer faster than this is never an outlier: password hashing and the like take as long.
const SLOW: Duration = Duration::from_millis(400);
/// How many times slower than the other endpoint that was drawn an outlier is.
const OUTLIER: f32 = 5.0;

/// What speaks against an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// It cannot be connected to.
    Connect,
    /// It resets streams, closes connections, or answers what is no HTTP.
    Reset,
    /// It answers 502, 503 or 504.
    GatewayError,
    /// It is far slower than the others.
    Latency,
}

impl Charge {
    /// Every charge, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Reset, Self::GatewayError, Self::Latency];

    /// The stable word for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::GatewayError => "gateway_error",
            Self::Latency => "latency",
        }
    }

    /// How many in a row are enough.
    pub const fn enough(self) -> u32 {
        match self {
            Self::Connect => 1,
            Self::Reset => 3,
            Self::GatewayError | Self::Latency => 5,
        }
    }

    /// Whether it speaks against the whole endpoint, not only against one kind of service.
    pub const fn is_of_all(self) -> bool {
        matches!(self, Self::Connect)
    }
}

/// What the outcome of an attempt says of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It serves.
    Good,
    /// It does not.
    Bad(Charge),
    /// Nothing: the client, or a limit, ended it.
    None,
}

/// What an outcome says: the answer's status or what failed, how long its head took, and how many
/// milliseconds the other endpoint needs that could have been chosen (0: not known).
pub fn word(heard: Result<StatusCode, Kind>, took: Option<Duration>, other: f32) -> Word {
    let slow = |took: Duration| {
        took >= SLOW && other > 0.0 && took.as_secs_f32() * 1_000.0 > other * OUTLIER
    };
    match heard {
        Ok(status) if matches!(status.as_u16(), 502..=504) => Word::Bad(Charge::GatewayError),
        Ok(_) if took.is_some_and(slow) => Word::Bad(Charge::Latency),
        Ok(_) => Word::Good,
        Err(Kind::Connect | Kind::ConnectTimeout | Kind::UpstreamTls | Kind::NoPreface) => {
            Word::Bad(Charge::Connect)
        }
        Err(Kind::Reset | Kind::Protocol) => Word::Bad(Charge::Reset),
        Err(_) => Word::None,
    }
}

/// How long an endpoint is left alone that was so `times` times in a row before; `chance` is 0 to
/// 1 and keeps workers and endpoints from coming back together.
pub fn pause(times: u32, chance: f32) -> Duration {
    let longest = PAUSE.saturating_mul(1 << times.min(10)).min(PAUSE_MAX);
    longest.mul_f32(0.75 + chance.clamp(0.0, 1.0) / 4.0)
}

/// Whether so many are ejected that ejections are rather a fault of the judge: fewer than a third
/// of those that are up are left. Then all are asked.
pub const fn is_panic(fit: usize, up: usize) -> bool {
    fit < up && fit * 3 < up
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_outcome_says() {
        let status = |code| Ok(StatusCode::from_u16(code).unwrap());
        let millis = |millis| Some(Duration::from_millis(millis));
        for (heard, took, other, expected) in [
            (status(200), None, 0.0, Word::Good),
            (status(500), millis(3), 1.0, Word::Good),
            (status(503), millis(3), 1.0, Word::Bad(Charge::GatewayError)),
            (status(200), millis(500), 2.0, Word::Bad(Charge::Latency)),
            (status(200), millis(500), 200.0, Word::Good),
            (status(200), millis(500), 0.0, Word::Good),
            (status(200), millis(300), 2.0, Word::Good),
            (Err(Kind::ConnectTimeout), None, 0.0, Word::Bad(Charge::Connect)),
            (Err(Kind::NoPreface), None, 0.0, Word::Bad(Charge::Connect)),
            (Err(Kind::NoSocket), None, 0.0, Word::None),
            (Err(Kind::Reset), millis(3), 1.0, Word::Bad(Charge::Reset)),
            (Err(Kind::Refused), millis(3), 1.0, Word::None),
            (Err(Kind::ClientGone), millis(3), 1.0, Word::None),
        ] {
            assert_eq!(word(heard, took, other), expected, "{heard:?} {took:?} {other}");
        }
    }

    #[test]
    fn pauses_grow_to_a_minute() {
        for (times, most) in [(0, 1), (1, 2), (3, 8), (6, 60), (40, 60)] {
            assert_eq!(pause(times, 1.0), Duration::from_secs(most), "{times}");
            assert_eq!(pause(times, 0.0), Duration::from_secs(most).mul_f32(0.75), "{times}");
        }
    }

    #[test]
    fn a_third_of_the_cluster_is_always_asked() {
        for (fit, up, panic) in [
            (1, 1, false),
            (0, 1, true),
            (1, 2, false),
            (0, 2, true),
            (1, 3, false),
            (1, 4, true),
            (2, 4, false),
            (0, 0, false),
        ] {
            assert_eq!(is_panic(fit, up), panic, "{fit} of {up}");
        }
    }
}
