//! What is told about exchanges: counters, the access record, and the ids that tie it to others'.
//!
//! A worker writes into its own [`metrics::Shard`] and its own [`access::AccessLog`]; nothing here
//! takes a lock or looks a name up on the path of a request.

pub mod access;
pub mod grpc_status;
pub mod log;
pub mod metrics;
pub mod plan;
pub mod redact;
pub mod trace;
