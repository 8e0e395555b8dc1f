//! `ravelin reload`, `drain` and `undrain`: tell a running Ravelin what to do, through its admin
//! listener, and say what came of it.

use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;

use super::{admin_address, args, call, print};

/// Reading and checking a configuration, and every worker taking it up.
const RELOAD: Duration = Duration::from_secs(60);
/// What a drain waits where no time is given, as the admin listener does.
const DRAIN: Duration = Duration::from_secs(30);
/// What comes on top of the time that a drain waits.
const MARGIN: Duration = Duration::from_secs(5);

/// Exit code 0 when the new configuration is in force.
pub fn reload(matches: &ArgMatches) -> ExitCode {
    tell("reload", "/reload", RELOAD, matches)
}

/// Exit code 0 when nothing is in flight at the endpoints any more.
pub fn drain(matches: &ArgMatches) -> ExitCode {
    let duration = |name: &str| match matches.get_one::<String>(name) {
        None => Ok(None),
        Some(text) => match humantime::parse_duration(text) {
            Ok(duration) => Ok(Some(duration)),
            Err(error) => {
                eprintln!("--{name}: {error}");
                Err(super::USAGE)
            }
        },
    };
    let (delay, timeout) = match (duration("delay"), duration("timeout")) {
        (Ok(delay), Ok(timeout)) => (delay.unwrap_or_default(), timeout.unwrap_or(DRAIN)),
        (Err(code), _) | (_, Err(code)) => return code.into(),
    };
    let target = target("/drain", &["cluster", "endpoint", "delay", "timeout", "for"], matches);
    tell("drain", &target, delay.saturating_add(timeout).saturating_add(MARGIN), matches)
}

/// Exit code 0 when the endpoints are taken back.
pub fn undrain(matches: &ArgMatches) -> ExitCode {
    let target = target("/undrain", &["cluster", "endpoint"], matches);
    tell("undrain", &target, call::PATIENCE, matches)
}

fn target(path: &str, names: &[&str], matches: &ArgMatches) -> String {
    let given = names.iter().filter_map(|name| Some((*name, matches.get_one::<String>(name)?)));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

pub(super) fn tell(who: &str, target: &str, patience: Duration, matches: &ArgMatches) -> ExitCode {
    let (given, source) = (admin_address(matches), args::source(matches));
    let address = match call::admin(who, given, source.clone()) {
        Ok(address) => address,
        Err(code) => return code,
    };
    match call::call(address, "POST", target, patience) {
        Ok((200, body)) => {
            let code = print(&body);
            remark(who, &body);
            code
        }
        Ok((status, body)) => {
            eprint!("{who}: {address} answered {status}: {body}");
            remark(who, &body);
            ExitCode::FAILURE
        }
        Err(error) => call::unanswered(who, address, &error, given, &source),
    }
}

/// Says what in an answer is not to be missed: warnings, and how to undo what was done.
fn remark(who: &str, body: &str) {
    let Ok(answer) = serde_json::from_str::<serde_json::Value>(body) else { return };
    let text = |key: &str| answer.get(key).and_then(serde_json::Value::as_str);
    let warnings = answer.get("warnings").and_then(serde_json::Value::as_array);
    for warning in warnings.into_iter().flatten().filter_map(serde_json::Value::as_str) {
        eprintln!("{who}: warning: {warning}");
    }
    if let Some(undo) = text("undo") {
        match text("until") {
            Some(until) => eprintln!("{who}: until {until}; undone at once by: {undo}"),
            None => eprintln!("{who}: undone by: {undo}"),
        }
    }
}
