//! HTTP/2 (RFC 9113) itself, both ends: frames, HPACK, windows, and the rules of streams.
//!
//! Its own, since two thirds of a call's instructions were spent in the `h2` crate's two connections
//! and their locks (`benches/README.md`). What makes it cheaper:
//!
//! - A connection and its streams live on one thread: no locks, no atomic counts.
//! - A frame is written where it leaves, when it is sent; nothing is queued between a stream and
//!   the socket. Data stays with whoever sends it until windows and socket have room.
//! - What HPACK remembers is kept parsed ([`hpack::decode`]), and what is said with every head is
//!   found by one look ([`hpack::encode`]).
//! - Small DATA frames that come together are put together.
//! - An idle connection holds no buffers.
//!
//! | For | See |
//! |---|---|
//! | what a frame of the peer does, and may not | `receive` |
//! | what a peer may do in vain, and how often | `budget` |
//! | what we send, windows, whose turn it is | `send` |
//! | what all of it shares, and how it ends | `core` |
//! | reading and writing | `driver` |
//! | what a stream's user holds | [`ends`] |
//! | malformed heads | `head` |

mod budget;
mod core;
mod driver;
mod head;
mod receive;
mod send;
mod stream;

pub mod client;
pub mod ends;
pub mod error;
pub mod frame;
pub mod hpack;
pub mod server;

pub use self::core::Local;
pub use self::head::Bounds;

#[cfg(test)]
mod tests;
