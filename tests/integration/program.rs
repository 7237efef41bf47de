//! The built program, run once: its arguments in, its exit code and words out.

use std::{
    ffi::OsStr,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// The built program, in `folder`, without any setting of the environment that runs the tests. The variable of the
/// same name as cargo's own lets the same tests judge another binary, a packaged one for example.
pub fn program(folder: &Path) -> Command {
    let named = std::env::var_os("CARGO_BIN_EXE_mandate");
    let mut command = Command::new(named.as_deref().unwrap_or(OsStr::new(env!("CARGO_BIN_EXE_mandate"))));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MANDATE_")) {
        command.env_remove(name);
    }
    command.current_dir(folder);
    command
}

/// Runs a command to its end.
pub fn run<S: AsRef<OsStr>>(folder: &Path, words: &[S]) -> Run {
    Run::of(&program(folder).args(words).stdin(Stdio::null()).output().unwrap())
}

/// The same with something to read.
pub fn run_reading<S: AsRef<OsStr>>(folder: &Path, words: &[S], input: &str) -> Run {
    let mut command = program(folder);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    // A command that refuses before it reads closes the pipe.
    let _ = process.stdin.take().unwrap().write_all(input.as_bytes());
    Run::of(&process.wait_with_output().unwrap())
}

/// How a command ended.
#[derive(Debug)]
pub struct Run {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its answer.
    pub out: String,
    /// Everything else.
    pub err: String,
}

impl Run {
    /// What a finished process left.
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// A built example. Built now when it is missing, or older than its sources or the program, which are of one library: a run
/// of single tests builds no examples.
pub fn example(name: &str, sources: &[&str]) -> PathBuf {
    // This binary is `<target>/<profile>/deps/integration-…`.
    let profile = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    let built = profile.join("examples").join(name);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let when = |path: &Path| path.metadata().and_then(|about| about.modified()).ok();
    let mut newest: Vec<_> = sources.iter().map(|file| when(&root.join("examples").join(file)).expect(file)).collect();
    newest.extend(when(Path::new(env!("CARGO_BIN_EXE_mandate"))));
    if when(&built).is_none_or(|built| newest.iter().any(|source| *source > built)) {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--example", name, "--target-dir"]);
        cargo.arg(profile.parent().unwrap()).current_dir(root);
        // What cargo told this test about its own package would make build scripts believe that something has changed, and
        // half of the tree be built again.
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_", "OUT_DIR"];
        for (name, _) in std::env::vars_os() {
            if told.iter().any(|told| name.to_string_lossy().starts_with(told)) {
                cargo.env_remove(name);
            }
        }
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "the example `{name}` was not built");
    }
    built
}
