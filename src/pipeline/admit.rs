//! May it enter, and as what? The pure decisions on a request's head, in the order in which they
//! are asked: is the target sound, what class is it, which route takes it.
//!
//! Nothing here waits, and an ordinary request allocates nothing.

pub mod authority;
pub mod normalise;
pub mod classify;
pub mod route;
pub mod redirect;
