//! Decides whether a request that came to nothing is sent again, and when. Pure: what is known of
//! the attempt goes in, what to do comes out.
//!
//! Two sentences hold for everything here. What upstream provably has not processed may be sent
//! again whatever it is; what upstream may have seen is sent again only where it is declared to be
//! a read. And nothing is sent again once a byte of an answer went down to the client.
//!
//! | Cause | Proof | Sent again |
//! |---|---|---|
//! | connect failed, or Ravelin had no socket | nothing was sent | anything, as long as the route holds requests |
//! | it does not begin to speak HTTP/2 | nothing was sent | anything, [`SENT`] times |
//! | REST 503, `Error while dialing` (`zitadel.md` §13.5) | ZITADEL says so | the same |
//! | REFUSED_STREAM, GOAWAY (RFC 9113 §8.7, §6.8) | the protocol says so | anything, [`SENT`] times |
//! | reset or cut before the answer's head | none | reads, [`SENT`] times |
//! | 502, 503, 504 from a gateway behind | none | reads, once, elsewhere |
//! | 404 for a hashed file of an application (`cache::generation`) | the answer | once, elsewhere |

pub mod budget;
pub mod peek;
pub mod reads;

use std::time::Duration;

use crate::error::{Kind, Retry};
use crate::pipeline::plan::RetryPolicy;

/// How often one request reaches an endpoint at most.
pub const SENT: u32 = 3;
/// The first pause before endpoints that were all asked are asked again, doubled each time.
const PAUSE: Duration = Duration::from_millis(25);
/// A shorter one is not worth it.
const SHORTEST: Duration = Duration::from_millis(5);
/// The longest: a replica that is back is noticed within it.
const LONGEST: Duration = Duration::from_millis(250);

/// An attempt that came to nothing, and what was before it.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// Why.
    pub cause: Kind,
    /// The route's word on it.
    pub policy: RetryPolicy,
    /// The request is declared to be a read.
    pub read: bool,
    /// Its body is still there, from the first byte.
    pub replayable: bool,
    /// How often an endpoint has seen it, this attempt included.
    pub sent: u32,
    /// Endpoints that were asked since the last pause, this one included.
    pub asked: usize,
    /// There is an endpoint that was not asked since the last pause.
    pub another: bool,
    /// Pauses so far.
    pub pauses: u32,
    /// What is left of the time that the route holds requests; zero where it holds none.
    pub hold: Duration,
    /// What is left until the exchange's deadline.
    pub left: Option<Duration>,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Tell the client.
    Give,
    /// Send it again at once, to an endpoint not asked yet if there is one.
    Again,
    /// Wait so long, then ask every endpoint anew.
    Later(Duration),
}

/// The decision.
pub fn next(failed: &Failed) -> Next {
    if !may(failed) || !failed.replayable || failed.left.is_some_and(|left| left.is_zero()) {
        return Next::Give;
    }
    if is_absent(failed.cause) {
        return absent(failed);
    }
    if matches!(failed.cause, Kind::Gateway | Kind::Missing) {
        // The answer that is there is as good as a second one of the same endpoint.
        return if failed.another && failed.sent < 2 { Next::Again } else { Next::Give };
    }
    if failed.sent >= SENT {
        return Next::Give;
    }
    // A GOAWAY is how connections age: the next connection of the same endpoint takes it.
    if failed.another || (failed.cause == Kind::Refused && failed.pauses == 0 && failed.sent == 1) {
        return Next::Again;
    }
    later(failed, LONGEST)
}

/// Nobody was there to see it: asked again without count, but only for a while.
fn absent(failed: &Failed) -> Next {
    if failed.hold.is_zero() {
        // Asking the only endpoint that cannot be reached once more would only be told the same.
        let more = failed.another && failed.asked < SENT as usize;
        return if more { Next::Again } else { Next::Give };
    }
    if failed.another { Next::Again } else { later(failed, failed.hold) }
}

/// The pause grows, but the last one ends with what is left.
fn later(failed: &Failed, within: Duration) -> Next {
    let pause = PAUSE.saturating_mul(1 << failed.pauses.min(8)).min(LONGEST).min(within);
    let ends_in_time = failed.left.is_none_or(|left| pause < left);
    if pause >= SHORTEST && ends_in_time { Next::Later(pause) } else { Next::Give }
}

/// Whether sending it again is taken out of the budget. Where nobody was there it costs upstream
/// next to nothing, and is bounded by time; that a connection takes no more streams, once, is how
/// connections are.
pub const fn costs(failed: &Failed) -> bool {
    let ordinary = matches!(failed.cause, Kind::Refused) && failed.sent == 1;
    // A 404 came from a server that is well.
    !is_absent(failed.cause) && !ordinary && !matches!(failed.cause, Kind::Missing)
}

/// Whether the route's policy allows it at all.
fn may(failed: &Failed) -> bool {
    match (failed.policy, failed.cause.retry()) {
        (RetryPolicy::Never, _) | (_, Retry::Never) | (RetryPolicy::Unsent, Retry::Reads) => false,
        (RetryPolicy::Unsent | RetryPolicy::Reads, Retry::Unsent) => true,
        (RetryPolicy::Reads, Retry::Reads) => failed.read,
    }
}

/// Whether a cause means that nobody was there.
pub const fn is_absent(cause: Kind) -> bool {
    matches!(
        cause,
        Kind::Connect
            | Kind::ConnectTimeout
            | Kind::NoSocket
            | Kind::UpstreamTls
            | Kind::NoEndpoint
            | Kind::Starting
    )
}

#[cfg(test)]
mod tests;
