//! What Ravelin knows of ZITADEL beyond its protocols.

pub mod guards;
