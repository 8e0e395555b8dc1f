//! File → Plan.
pub mod plan;
