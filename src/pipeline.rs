//! The stages.
pub mod plan;
pub mod admit;
pub mod forward;
