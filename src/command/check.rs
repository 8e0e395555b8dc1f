//! `ravelin check`: is this configuration sound, and what does it mean?

use std::process::ExitCode;

use crate::command::{print, report};
use crate::config::{self, Source, explain};

/// Loads a source and says so, or all that is wrong with it.
pub fn check(source: &Source, explained: bool) -> ExitCode {
    let name = match &source.file {
        Some(file) => file.display().to_string(),
        None => "configuration".to_owned(),
    };
    match config::load(source.clone()) {
        Err(faults) => report(&faults),
        Ok(plan) if explained => print(&explain::yaml(&plan)),
        Ok(plan) => print(&format!(
            "{name}: ok ({}, {}, {})\n",
            counted(plan.listeners.len(), "listener"),
            counted(plan.routes.len(), "route"),
            counted(plan.clusters.len(), "cluster"),
        )),
    }
}

fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
