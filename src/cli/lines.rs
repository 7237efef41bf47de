//! JSON Lines, one record after another: what `import` and `check --data` read.
//!
//! Lines are read one at a time into one buffer, so that a file of any size needs the memory of its longest line, and
//! that has a limit. A line's number is part of everything said about it. Empty lines are passed over, because editors
//! leave one at the end.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, stdin},
    path::Path,
};

use super::exit::Stop;
use crate::app::import::{Line, LineError, Record};

/// Longest line, in bytes: a site with about a hundred thousand people.
const MAX_LINE: u64 = 32 * 1024 * 1024;

/// A file of records, or stdin for `-`.
pub struct Lines {
    reader: Box<dyn BufRead + Send>,
    buffer: Vec<u8>,
    number: u64,
    read: u64,
    size: Option<u64>,
}

impl Lines {
    /// Opens a file; `-` is stdin.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Stop> {
        let unreadable = |error| Stop::failed(format!("cannot read `{}`: {error}", path.display()));
        let (reader, size): (Box<dyn BufRead + Send>, _) = if path == Path::new("-") {
            (Box::new(BufReader::new(stdin())), None)
        } else {
            let file = File::open(path).map_err(unreadable)?;
            let about = file.metadata().map_err(unreadable)?;
            if about.is_dir() {
                return Err(Stop::failed(format!("`{}` is a folder, not a file of JSON Lines", path.display())));
            }
            (Box::new(BufReader::with_capacity(256 * 1024, file)), about.is_file().then_some(about.len()))
        };
        Ok(Self { reader, buffer: Vec::new(), number: 0, read: 0, size })
    }

    /// Bytes read so far.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read
    }
    /// Bytes there are, where the system knows.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The next line that is not empty; none at the end.
    ///
    /// # Errors
    /// The line's number, and what is wrong with it.
    pub fn next(&mut self) -> Option<Result<Line, LineError>> {
        loop {
            self.buffer.clear();
            self.number += 1;
            let line = self.number;
            let wrong = |reason: String| Some(Err(LineError { line, reason }));
            let mut limited = (&mut self.reader).take(MAX_LINE + 1);
            match limited.read_until(b'\n', &mut self.buffer) {
                Ok(0) => return None,
                Ok(read) => self.read += u64::try_from(read).unwrap_or(u64::MAX),
                Err(error) => return wrong(format!("cannot be read: {error}")),
            }
            if self.buffer.len() > usize::try_from(MAX_LINE).unwrap_or(usize::MAX) {
                return wrong(format!("is longer than {MAX_LINE} bytes"));
            }
            let text = self.buffer.trim_ascii();
            if text.is_empty() {
                continue;
            }
            return match serde_json::from_slice::<Record>(text) {
                Ok(record) => Some(Ok(Line { number: line, record })),
                Err(error) => wrong(explain(&error)),
            };
        }
    }
}

/// What serde says, without its own line number: it counts within the one line.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    match error.classify() {
        serde_json::error::Category::Syntax | serde_json::error::Category::Eof => {
            format!("not JSON: {what} at column {}", error.column())
        }
        serde_json::error::Category::Data | serde_json::error::Category::Io => what.to_owned(),
    }
}
