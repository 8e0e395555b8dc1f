//! What the user typed: one module for each command, and the exit codes.
//!
//! 0: done. 1: it did not work. 64: the usage or the configuration is wrong (`EX_USAGE` of
//! sysexits.h).

pub mod args;
pub mod run;
pub mod demo;
pub mod dev;
pub mod check;
pub mod live;
pub mod schema;
pub mod completions;
pub mod health;
pub mod purge;
pub mod steer;
pub mod warm;
mod call;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::ArgMatches;

use crate::config::fault::Faults;

/// The exit code for wrong usage and wrong configuration.
pub const USAGE: u8 = 64;

/// Does what the arguments say.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match args::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            // Help and version are no mistakes.
            return if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let (name, below) = matches.subcommand().unwrap_or(("run", &matches));
    match name {
        "check" if below.get_flag("live") => live::check(args::source(below)),
        "check" => check::check(
            &args::source(below),
            below.get_one::<String>("explain").map(String::as_str),
        ),
        "schema" => schema::schema(below.get_flag("reference")),
        "completions" => completions::completions(below),
        "purge" => purge::purge(below),
        "warm" => warm::warm(&warm::Order::new(below)),
        "health" => health::health(admin_address(below), &args::source(below)),
        "reload" => steer::reload(below),
        "drain" => steer::drain(below),
        "undrain" => steer::undrain(below),
        "dev" => dev::dev(&dev::Order::new(below)),
        "demo" => demo::demo(below.get_one("port").copied().unwrap_or(demo::PORT)),
        _ => run::run(args::source(below)),
    }
}

fn admin_address(matches: &ArgMatches) -> Option<&str> {
    matches.get_one::<String>("admin").map(String::as_str).filter(|text| !text.is_empty())
}

/// Shows faults as the terminal allows.
pub fn report(faults: &Faults) -> ExitCode {
    if std::io::stderr().is_terminal() {
        // https://no-color.org: set and not empty.
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        eprint!("{}", faults.render(colour));
    } else {
        eprintln!("{faults}");
    }
    USAGE.into()
}

/// Writes to standard output; a reader that went away (`| head`) is no failure.
pub fn print(text: &str) -> ExitCode {
    use std::io::{ErrorKind, Write as _};
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("ravelin: cannot write: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
