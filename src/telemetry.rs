//! Metrics, access record.
pub mod plan;
