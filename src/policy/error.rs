//! What is wrong with a bundle: every problem with its file, its line and the reason.

use std::fmt;

/// One thing that keeps a bundle from being used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as its [`super::Source`] names it.
    pub path: String,
    /// The line, from 1; 0 when the problem is the file as a whole.
    pub line: usize,
    /// The reason, as a sentence without a full stop.
    pub reason: String,
}

impl Problem {
    /// A problem of a whole file.
    pub fn of_file(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), line: 0, reason: reason.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.path, self.reason)
        } else {
            write!(f, "{}:{}: {}", self.path, self.line, self.reason)
        }
    }
}

/// Everything found wrong, at least one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// The line of a byte offset, from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The line of the first occurrence of `needle`, from 1; 0 when it does not occur.
pub(super) fn line_of_text(text: &str, needle: &str) -> usize {
    text.find(needle).map_or(0, |offset| line_of(text, offset))
}
