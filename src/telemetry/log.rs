//! Ravelin's own diagnostics: to standard error, so that the access record may have standard output.
//!
//! `RAVELIN_LOG` takes `tracing-subscriber`'s directives (`debug`, `ravelin::upstream=trace`);
//! without it `info`. The libraries below stay at `warn` unless they are named.

use std::fmt;
use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// The variable that says how much is told.
pub const VARIABLE: &str = "RAVELIN_LOG";

const QUIET: &str = "h2=warn,hyper=warn,hyper_util=warn,rustls=warn,tokio_rustls=warn,axum=warn";

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; in colours on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why diagnostics could not be set up.
#[derive(Debug)]
pub enum LogError {
    /// The directives cannot be understood.
    Directives(ParseError),
    /// Somebody else's subscriber is there already.
    Taken(TryInitError),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directives(error) => write!(f, "{VARIABLE}: {error}"),
            Self::Taken(error) => write!(f, "diagnostics are set up already: {error}"),
        }
    }
}

impl std::error::Error for LogError {}

/// Sets diagnostics up for the whole process, with the directives of [`VARIABLE`].
///
/// # Errors
/// When the directives cannot be understood, or when it has been done before.
pub fn init(format: LogFormat) -> Result<(), LogError> {
    let directives = std::env::var(VARIABLE).unwrap_or_default();
    let filter = filter(&directives).map_err(LogError::Directives)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.with_ansi(colours).finish().try_init()
        }
    }
    .map_err(LogError::Taken)
}

/// The filter of these directives; empty ones mean `info`.
fn filter(directives: &str) -> Result<EnvFilter, ParseError> {
    let wanted = if directives.trim().is_empty() { "info" } else { directives };
    EnvFilter::builder().parse(format!("{QUIET},{wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quiet_unless_named() {
        let plain = filter("").unwrap().to_string();
        assert!(plain.contains("h2=warn") && plain.contains("info"), "{plain}");
        let named = filter("debug,h2=trace").unwrap().to_string();
        assert!(named.contains("h2=trace") && !named.contains("h2=warn"), "{named}");
        assert!(named.contains("rustls=warn") && named.contains("debug"), "{named}");
    }

    #[test]
    fn directives_that_make_no_sense_are_refused() {
        assert!(filter("ravelin=loud").is_err());
    }
}
