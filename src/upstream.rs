//! The server's side.
pub mod plan;
