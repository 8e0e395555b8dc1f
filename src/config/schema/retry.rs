//! `retry`, of a route or of all.

use schemars::JsonSchema;
use serde::Deserialize;

use super::text::{ClockText, DurationText, OneOrMany, ReadText};

/// What is sent again when it came to nothing, and how long a request waits for an endpoint: a
/// policy, or its keys.
///
/// Never more than a fifth of a cluster's requests (20 in 10 s are always allowed), never what
/// cannot end within the caller's deadline, never a body of more than 64KiB, and never once a byte
/// of an answer has gone to the client.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Retry {
    /// A policy alone.
    Policy(RetryPolicy),
    /// Its keys.
    Form(RetryForm),
}

/// What may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RetryPolicy {
    /// Nothing.
    Never,
    /// Whatever upstream provably has not processed: no connection, REFUSED_STREAM, a GOAWAY below
    /// the stream, and the 503 of a ZITADEL whose REST gateway cannot dial its own server.
    Unsent,
    /// That, and reads that got no answer: GET and HEAD, methods of gRPC, gRPC-Web and Connect whose
    /// names begin with Get, List or Search, Healthz, what ZITADEL has besides (on its routes), and
    /// `reads`; but never `writes`, such as the callbacks of ZITADEL's logins.
    Reads,
}

/// What is sent again, key by key.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryForm {
    /// What may be sent again. Default: `reads` for routes of `zitadel`, else `unsent`.
    pub policy: Option<RetryPolicy>,
    /// Further requests that only read, by gRPC method (`acme.v1.Shop/Lookup`) or by HTTP method and
    /// path as upstream sees it (`POST /oauth/v2/introspect`; `*` is one segment, `**` one or more).
    pub reads: Option<OneOrMany<ReadText>>,
    /// Requests that are no reads though their method or their name says so, in the same words: a GET
    /// that brings a one-time code (`GET /login/callback`; HEAD with it). They win over `reads`.
    /// ZITADEL's own, on its routes, are among them.
    pub writes: Option<OneOrMany<ReadText>>,
    /// How long a request waits while no endpoint of its cluster can be reached, 1,024 at once for
    /// each worker; then it is answered with 503 or gRPC's UNAVAILABLE and the time after which to
    /// ask again. Default: 5s for routes of `zitadel`, else `off`.
    pub hold: Option<ClockText>,
    /// Ask a second endpoint too when a read has no answer after a while; the first answer counts.
    /// Only with the policy `reads`. Default: never.
    pub hedge: Option<Hedge>,
}

/// When a second endpoint is asked.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["after"]))]
pub struct Hedge {
    /// How long the first is waited for: more than most answers take.
    #[schemars(required)]
    pub after: Option<DurationText>,
}
