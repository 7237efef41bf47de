//! The command line: one file for each command, each a thin layer over the library.
//!
//! A command parses its words, reads what it needs, asks the library and prints. Answers go to stdout, everything else
//! to stderr, so that a pipe carries answers only. How a command ends is [`Exit`]; which settings there are, in
//! `settings`. No command decides anything by itself: `check` asks the same code as the server.

mod activate;
mod audit;
mod bundled;
mod canary;
mod check;
mod client;
mod database;
mod demo;
mod domains;
mod exit;
mod export;
mod grants;
mod health;
mod import;
mod lines;
mod policies;
mod policy;
mod restore;
mod serve;
mod service;
mod settings;
mod telling;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand, error::ErrorKind};

pub use exit::{Exit, Stop};

/// Who may do what on a website, and how a website passes between a client and a partner.
#[derive(Debug, Parser)]
#[command(
    name = "mandate",
    version,
    about,
    arg_required_else_help = true,
    after_help = "Examples:
  mandate demo                                  play the story against a real server, then keep serving
  mandate serve                                 serve on 127.0.0.1:8080, data under ./data
  mandate check maria PublishSite bakery        one question; exit 0 allow, 2 deny, 1 could not decide"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Serve(serve::Serve),
    Check(check::Check),
    #[command(subcommand)]
    Policy(policy::Policy),
    Import(import::Import),
    Export(export::Export),
    Restore(restore::Restore),
    Grants(grants::Grants),
    #[command(subcommand)]
    Audit(audit::Audit),
    Health(health::Health),
    Canary(canary::Canary),
}

/// A runtime for a command that asks the store one thing after another.
fn block_on<F: Future>(work: F) -> Result<F::Output, Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::failed(format!("cannot start: {error}")))?;
    Ok(runtime.block_on(work))
}

/// Runs the program with the words of its command line, the first being its own name.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done about a closed terminal.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
                _ => Exit::Usage,
            }
            .into();
        }
    };
    let ended = match cli.command {
        Command::Demo(command) => command.run(),
        Command::Serve(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Policy(command) => command.run(),
        Command::Import(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Restore(command) => command.run(),
        Command::Grants(command) => command.run(),
        Command::Audit(command) => command.run(),
        Command::Health(command) => command.run(),
        Command::Canary(command) => command.run(),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(stop) => {
            if !stop.message.is_empty() {
                eprintln!("mandate: {}", stop.message);
            }
            stop.exit.into()
        }
    }
}
