//! One binary: the real server on ports that the system chooses, before the stand-in and before
//! peers that misbehave on purpose. One module for each kind of behaviour.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test fails as the test does"
)]
#![allow(
    unreachable_pub,
    dead_code,
    reason = "support is written for every module, whichever uses it"
)]
mod access_record;
mod counts;
mod drain;
mod errors;
mod metrics;
mod process;
mod reconnect;
mod retries;
mod smoke;
mod support;
mod timeouts;
