//! `ravelin purge`: tells a running Ravelin to forget what its cache holds.

use std::process::ExitCode;

use clap::ArgMatches;

use super::steer;

/// Exit code 0 and how many answers went, if the Ravelin that is asked did so.
pub fn purge(matches: &ArgMatches) -> ExitCode {
    let given = ["url", "host", "generation"]
        .into_iter()
        .find_map(|name| Some(format!("{name}={}", matches.get_one::<String>(name)?)));
    let query = given.unwrap_or_else(|| "all".to_owned());
    // What would end the request's line early is encoded.
    let query = query.replace(' ', "%20").replace(['\r', '\n'], "");
    steer::tell("purge", &format!("/purge?{query}"), super::call::PATIENCE, matches)
}
