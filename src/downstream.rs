//! The client's side, in the order of a connection: bind, accept, PROXY header, certificates,
//! handshake, HTTP, exchange; and the rescue, which turns an error into an answer.

pub mod plan;
pub mod bind;
pub mod accept;
pub mod stream;
pub mod proxy_protocol;
pub mod certificates;
pub mod handshake;
pub mod connection;
pub mod http1;
pub mod h2c;
pub mod tunnel;
pub mod http2;
pub mod exchange;
pub mod rescue;

pub use connection::Peer;
