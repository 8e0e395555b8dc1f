//! `ravelin health`: asks a running Ravelin's admin listener whether it is ready, for container health
//! checks.

use std::process::ExitCode;

use super::call::{self, PATIENCE};
use crate::config::Source;

/// Exit code 0 if the Ravelin at `given` (else: at the admin address of `source`, else: at the
/// default one) says that it is ready.
pub fn health(given: Option<&str>, source: &Source) -> ExitCode {
    let address = match call::admin("health", given, source.clone()) {
        Ok(address) => address,
        Err(code) => return code,
    };
    match call::call(address, "GET", "/readyz", PATIENCE) {
        Ok((200, _)) => ExitCode::SUCCESS,
        Ok((status, _)) => {
            eprintln!("health: {address} answered {status}: not ready");
            ExitCode::FAILURE
        }
        Err(error) => call::unanswered("health", address, &error, given, source),
    }
}
