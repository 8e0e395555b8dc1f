//! One binary: the real server on ports that the system chooses, before the stand-in and before
//! peers that misbehave on purpose. One module for each kind of behaviour.

#![allow(
    unreachable_pub,
    dead_code,
    reason = "support is written for every module, whichever uses it"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;
mod smoke;
mod tonic_interop;
