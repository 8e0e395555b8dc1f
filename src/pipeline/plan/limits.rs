//! What a request may cost, and how often one client may ask.

use std::time::Duration;

/// What a request may cost. `None`: no such limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsPlan {
    /// Bytes of a request's body; of a gRPC stream: of all its messages.
    pub body: Option<u64>,
    /// Bytes of one message of gRPC, gRPC-Web or Connect, as it is sent.
    pub grpc_message: Option<u32>,
    /// How long the client may be silent within its body before upstream has answered. Not for
    /// what may be silent for long by its nature: gRPC and Connect streams, WebSockets.
    pub body_idle: Option<Duration>,
    /// How often one client address (IPv6: one /64) may ask.
    pub rate: Option<RatePlan>,
}

impl Default for LimitsPlan {
    fn default() -> Self {
        let body_idle = Some(Duration::from_secs(60));
        Self { body: None, grpc_message: None, body_idle, rate: None }
    }
}

/// Which rate limit a route follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RatePlan {
    /// One of its own, which no other route counts for.
    Own(Rate),
    /// ZITADEL Cloud's published policy (`docs/legal/policies/rate-limit-policy.md`): `/ui` and
    /// everything else, [`Rate::CLOUD_UI`] and [`Rate::CLOUD_API`], with [`BanRule`]s of the same
    /// names, each counted over all routes that follow it.
    ZitadelCloud,
}

/// How often one client may ask: on average, and at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Requests per minute, at least one.
    pub per_minute: u32,
    /// Requests at once, at least one.
    pub burst: u32,
}

impl Rate {
    /// Ten a second; the policy's average is over a minute, so a minute's worth may come at once.
    pub const CLOUD_UI: Self = Self { per_minute: 600, burst: 600 };
    /// Fifty a second, averaged over a minute.
    pub const CLOUD_API: Self = Self { per_minute: 3_000, burst: 3_000 };
}

/// When a client is not answered for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BanRule {
    /// More attempts than these, answered or not,
    pub attempts: u32,
    /// within so long,
    pub within: Duration,
    /// and for so long.
    pub lasts: Duration,
}

impl BanRule {
    /// 15 a second for three minutes.
    pub const CLOUD_UI: Self = Self::a_minute(15 * 180);
    /// 50 a second for three minutes.
    pub const CLOUD_API: Self = Self::a_minute(50 * 180);

    const fn a_minute(attempts: u32) -> Self {
        Self { attempts, within: Duration::from_secs(180), lasts: Duration::from_secs(60) }
    }
}
