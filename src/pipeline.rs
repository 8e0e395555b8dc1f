//! The stages.
pub mod plan;
