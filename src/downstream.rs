//! The client's side.
pub mod plan;
