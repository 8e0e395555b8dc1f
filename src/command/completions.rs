//! `ravelin completions`: what a shell needs to complete Ravelin's command line.

use std::process::ExitCode;

use clap::ArgMatches;
use clap_complete::{Shell, generate};

use crate::command::{args, print};

/// Prints the completions of the named shell.
pub fn completions(matches: &ArgMatches) -> ExitCode {
    let Some(shell) = matches.get_one::<Shell>("shell").copied() else {
        return super::USAGE.into();
    };
    let mut script = Vec::new();
    generate(shell, &mut args::command(), "ravelin", &mut script);
    print(&String::from_utf8_lossy(&script))
}
