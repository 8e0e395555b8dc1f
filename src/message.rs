//! What a message is made of, from the decoder of one leg to the encoder of the other.
//!
//! [`Fields`] are a list, not a map: a head has a dozen fields, of which nearly all have names that are
//! known here by a number ([`FieldName`]). Whether one of those is there is one bit, and finding it is a
//! look along the list; nothing is hashed, and what is appended moves nothing. The `http` crate's
//! `HeaderMap` took a fifth of a call's instructions (benches/README.md).
//!
//! Methods, statuses, targets and values are those of the `http` crate. Where hyper speaks HTTP/1.1,
//! messages are made of its own and become them.

pub mod fields;
pub mod frame;
pub mod heads;
pub mod name;

pub use self::fields::Fields;
pub use self::frame::Frame;
pub use self::heads::{Request, Response};
pub use self::name::FieldName;
