//! The request leaves: what its head and the answer's head look like on the other leg, and how
//! long the caller is willing to wait.

pub mod framing;
pub mod headers;
pub mod deadline;
