//! Ravelin: the HTTP/2 front-end made for ZITADEL.

pub mod command;
pub mod server;
pub mod worker;
pub mod config;
pub mod admin;
pub mod downstream;
pub mod pipeline;
pub mod upstream;
pub mod telemetry;
pub mod exchange;
pub mod body;
pub mod io;
pub mod error;
pub mod standin;
