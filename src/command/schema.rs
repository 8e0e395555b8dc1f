//! `ravelin schema`: the configuration's description, for editors and for people.

use std::process::ExitCode;

use crate::command::print;
use crate::config::reference;

/// Prints the JSON schema, or the reference made from it.
pub fn schema(as_reference: bool) -> ExitCode {
    print(&if as_reference { reference::markdown() } else { reference::json() })
}
