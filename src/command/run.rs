//! `ravelin` and `ravelin run`: carries requests until a signal ends it.

use std::process::ExitCode;

use crate::command::live::Questions;
use crate::config::{self, Source};
use crate::server::life;
use crate::telemetry::log;

/// Exit code 64 for a configuration with faults, 1 for a failed start and
/// for an end that a second signal forced.
pub fn run(source: Source) -> ExitCode {
    let plan = match config::load(source.clone()) {
        Ok(plan) => plan,
        Err(faults) => return super::report(&faults),
    };
    if let Err(error) = log::init(log::LogFormat::Text) {
        eprintln!("ravelin: {error}");
        return super::USAGE.into();
    }
    let questions = Questions::of(&plan);
    match life::run(plan, Some(source), |_| questions.warn_beside()) {
        Ok(life::End::Drained) => ExitCode::SUCCESS,
        Ok(life::End::Cut) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ravelin: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
