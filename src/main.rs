//! The program: parse and dispatch. Everything is in the library.

use std::process::ExitCode;

/// Evaluating policies allocates a lot and briefly, from every thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mandate::cli::run(std::env::args_os())
}
