//! What the telemetry is told. Filled by `config`, immutable.

use std::path::PathBuf;

/// The access record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessPlan {
    /// How a record looks.
    pub format: Format,
    /// Where it goes.
    pub output: Output,
}

impl Default for AccessPlan {
    fn default() -> Self {
        Self { format: Format::Json, output: Output::Stdout }
    }
}

/// How a record looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// No record.
    Off,
    /// One JSON object a line.
    Json,
    /// One line for people.
    Text,
}

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Appended to a file, reopened on SIGHUP.
    File(PathBuf),
}
