//! One binary: the real server on ports that the system chooses, before the stand-in and before
//! peers that misbehave on purpose. One module for each kind of behaviour.

#![allow(
    unreachable_pub,
    dead_code,
    reason = "support is written for every module, whichever uses it"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
mod support;
mod certificates;
mod forwarded;
mod listeners;
mod routing;
mod smoke;
