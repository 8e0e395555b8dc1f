//! `ravelin purge`: tells a running Ravelin to forget what its cache holds.

use std::process::ExitCode;

use clap::ArgMatches;

use super::steer;

/// Exit code 0 and how many answers went, if the Ravelin that is asked did so.
pub fn purge(matches: &ArgMatches) -> ExitCode {
    let query = match (matches.get_one::<String>("url"), matches.get_one::<String>("host")) {
        (Some(url), _) => format!("url={url}"),
        (None, Some(host)) => format!("host={host}"),
        (None, None) => "all".to_owned(),
    };
    // What would end the request's line early is encoded.
    let query = query.replace(' ', "%20").replace(['\r', '\n'], "");
    steer::tell("purge", &format!("/purge?{query}"), super::call::PATIENCE, matches)
}
