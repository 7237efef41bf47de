//! Where do the service's own words go? To stderr: people's format on a terminal, JSON lines everywhere else.
//!
//! Set up once, before anything else speaks. What is logged is logged once, where it is handled: an error that is
//! returned to a caller is not also logged on its way up. Decisions and the audit are not logs and do not pass here.
//!
//! Invariants: stdout stays free for the answers of commands; a field's value never becomes part of the message's
//! text, so that a caller cannot write lines of the log; a panic is one line of the log like any other.
//! A log file with rotation lost: whoever runs the process already keeps its stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("`{filter}` is not a log filter such as `info` or `warn,mandate=debug`: {reason}")]
    Filter {
        /// As given.
        filter: String,
        /// What the parser said.
        reason: String,
    },
    /// The process has a log already.
    #[error("the log is already set up")]
    Twice,
}

/// Sends everything that passes `filter` to stderr, and panics too.
///
/// # Errors
/// The filter does not parse, or the log is already set up.
pub fn init(filter: &str) -> Result<(), TelemetryError> {
    let filter = parse(filter)?;
    // A log that cannot be written (disk full, reader gone) must not end the service: by default the library reports its
    // own failure with `eprintln!`, which panics on the same stderr.
    let format =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    if std::io::stderr().is_terminal() {
        format.try_init()
    } else {
        format.json().flatten_event(true).with_ansi(false).try_init()
    }
    .map_err(|_| TelemetryError::Twice)?;
    // The standard hook writes several lines of plain text between the JSON lines.
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("a value that is not text");
        let place = panic.location().map(ToString::to_string);
        tracing::error!(message, place, "panicked");
    }));
    Ok(())
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    // The migrations' library announces itself in three lines at every first start.
    EnvFilter::try_new(format!("refinery_core=warn,{filter}"))
        .map_err(|error| TelemetryError::Filter { filter: filter.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_does_not_parse_is_named() {
        assert!(parse("info").is_ok());
        assert!(parse("warn,mandate=debug").is_ok());
        let error = parse("mandate=loud").unwrap_err().to_string();
        assert!(error.starts_with("`mandate=loud` is not a log filter"), "{error}");
    }
}
