//! The client's side.
pub mod plan;
pub mod bind;
pub mod accept;
pub mod stream;
pub mod coverage;
pub mod proxy_protocol;
pub mod certificates;
pub mod handshake;
