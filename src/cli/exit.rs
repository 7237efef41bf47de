//! How does a command end? One number for scripts, one sentence for people.
//!
//! The numbers tell a fault from an answer: a deny (2) is never the same as "could not decide" (1), and a script that
//! only asks for zero refuses in both cases. A usage error is 64 as in `sysexits.h`, because clap's own 2 is our deny.

use std::{fmt, process::ExitCode};

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done; for a check: allow.
    Done,
    /// Could not run, or could not decide.
    Failed,
    /// Ran, and the answer is no: a deny, a failed test, a difference, a broken chain.
    Negative,
    /// The policies or the schema cannot be used.
    InvalidPolicies,
    /// The command line or a setting is wrong.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Negative => 2,
            Exit::InvalidPolicies => 3,
            Exit::Usage => 64,
        })
    }
}

/// Why a command ended without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// How the process ends.
    pub exit: Exit,
    /// What is said on stderr; nothing when empty.
    pub message: String,
}

impl Stop {
    /// Could not run.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Failed, message: message.to_string() }
    }
    /// The command line or a setting is wrong.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }
}

/// Writing the answer failed. A reader that closed the pipe has seen enough and is told nothing.
impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        let message = match error.kind() {
            std::io::ErrorKind::BrokenPipe => String::new(),
            _ => format!("cannot write the answer: {error}"),
        };
        Self { exit: Exit::Failed, message }
    }
}

impl From<crate::config::ConfigError> for Stop {
    fn from(error: crate::config::ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<crate::store::StoreError> for Stop {
    fn from(error: crate::store::StoreError) -> Self {
        Self::failed(error)
    }
}
