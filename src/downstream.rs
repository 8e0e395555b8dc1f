//! The client's side.
pub mod plan;
pub mod rescue;
