//! How is the story told, and was every answer the expected one?
//!
//! The teller prints each question with its answer and keeps count. An answer that is not the expected one is marked
//! where it happened and listed again at the end; the story goes on, so that one run shows all of them.

use std::{collections::BTreeSet, io::Write};

use serde_json::Value;

use crate::cli::exit::Stop;

/// Columns that a line of text takes at most.
const WIDTH: usize = 100;

/// Prints, compares, counts.
pub struct Teller {
    out: Box<dyn Write + Send>,
    colour: bool,
    compared: usize,
    wrong: Vec<String>,
    explained: BTreeSet<String>,
    only_calls: bool,
    /// The comparison whose expectation is made wrong on purpose, from 1: the test that the comparing works.
    planted: Option<usize>,
}

#[derive(Clone, Copy)]
enum Paint {
    Bold,
    Dim,
    Green,
    Red,
    Yellow,
}

impl Teller {
    /// A teller that writes to `out`.
    pub fn new(out: Box<dyn Write + Send>, colour: bool, planted: Option<usize>) -> Self {
        Self { out, colour, compared: 0, wrong: Vec::new(), explained: BTreeSet::new(), only_calls: false, planted }
    }

    /// Whether texts and notes are left out.
    pub fn only_calls(&mut self, only: bool) {
        self.only_calls = only;
    }

    /// Begins a chapter.
    pub fn chapter(&mut self, title: &str) -> Result<(), Stop> {
        let title = self.paint(title, Paint::Bold);
        Ok(writeln!(self.out, "\n\n{title}")?)
    }

    /// A sentence of the story, after an empty line.
    pub fn say(&mut self, text: &str) -> Result<(), Stop> {
        if self.only_calls {
            return Ok(());
        }
        writeln!(self.out)?;
        for line in wrap(text, WIDTH) {
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }

    /// A line as it stands.
    pub fn line(&mut self, line: &str) -> Result<(), Stop> {
        Ok(writeln!(self.out, "{}", line.trim_end())?)
    }

    /// What somebody reads before they decide.
    pub fn quote(&mut self, text: &str) -> Result<(), Stop> {
        if self.only_calls {
            return Ok(());
        }
        for (n, line) in wrap(text, WIDTH - 6).iter().enumerate() {
            writeln!(self.out, "    {} {line}", if n == 0 { "·" } else { " " })?;
        }
        Ok(())
    }

    /// What can be done about a deny; said once for each reason.
    pub fn remedy(&mut self, reason: &str, remedy: &str) -> Result<(), Stop> {
        if self.explained.insert(reason.to_owned()) { self.note(remedy) } else { Ok(()) }
    }

    /// An answer's further words.
    pub fn note(&mut self, text: &str) -> Result<(), Stop> {
        if self.only_calls {
            return Ok(());
        }
        for line in wrap(text, WIDTH - 6) {
            let line = self.paint(&line, Paint::Dim);
            writeln!(self.out, "      {line}")?;
        }
        Ok(())
    }

    /// A call and its answer; `expected` and `actual` say in the same words what came of it.
    pub fn call(&mut self, question: &str, answer: &str, expected: &str, actual: &str) -> Result<bool, Stop> {
        let right = self.compare(question, expected, actual);
        let mark = if right { String::new() } else { self.paint(&format!("  EXPECTED {expected}"), Paint::Red) };
        let paint = match answer.split(' ').next() {
            Some("allow" | "200" | "201") => Paint::Green,
            Some("deny") => Paint::Yellow,
            _ => Paint::Dim,
        };
        let answer = self.paint(answer, paint);
        writeln!(self.out, "  {question:<58} {answer}{mark}")?;
        Ok(right)
    }

    fn compare(&mut self, question: &str, expected: &str, actual: &str) -> bool {
        self.compared += 1;
        let right = expected == actual && self.planted != Some(self.compared);
        if !right {
            self.wrong.push(format!("{question}: expected {expected}, got {actual}"));
        }
        right
    }

    /// The last word.
    pub fn verdict(&mut self) -> Result<bool, Stop> {
        writeln!(self.out)?;
        if self.wrong.is_empty() {
            let text = self.paint(&format!("All {} answers were as expected.", self.compared), Paint::Green);
            writeln!(self.out, "{text}")?;
            return Ok(true);
        }
        let text = format!("{} of {} answers were not as expected:", self.wrong.len(), self.compared);
        let text = self.paint(&text, Paint::Red);
        writeln!(self.out, "{text}")?;
        for wrong in &self.wrong {
            writeln!(self.out, "  {wrong}")?;
        }
        Ok(false)
    }

    fn paint(&self, text: &str, paint: Paint) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Green => "32",
            Paint::Red => "1;31",
            Paint::Yellow => "33",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// What to try while the server keeps running.
///
/// # Errors
/// Nobody reads.
pub fn invite(out: &mut dyn Write, base: &str, admin: &str) -> Result<(), Stop> {
    writeln!(
        out,
        "
The server keeps running until Ctrl-C; its store is temporary.
  decisions and control API  {base}
  health                     {admin}/readyz

Try:
  curl -sS {base}/v1/sites/florist
  curl -sS {base}/v1/sites/florist/access
  curl -sS {base}/access/v1/evaluation -H 'Content-Type: application/json' \\
    -d '{{\"subject\":{{\"type\":\"user\",\"id\":\"tom\"}},\"action\":{{\"name\":\"UpgradePlan\"}},
         \"resource\":{{\"type\":\"site\",\"id\":\"florist\"}},\"context\":{{\"explain\":true}}}}'
  mandate check dana PublishSite florist --explain --server {base}"
    )?;
    Ok(out.flush()?)
}

/// The text in lines of at most `width` characters, broken at spaces.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// The text at a JSON pointer; a dash where there is none.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("-")
}

/// A list's texts at a JSON pointer.
pub fn texts<'a>(value: &'a Value, pointer: &str) -> Vec<&'a str> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The first few of a list, and how many more there are.
pub fn few(words: &[&str], most: usize) -> String {
    let shown = words.iter().take(most).copied().collect::<Vec<_>>().join(", ");
    match words.len().checked_sub(most).filter(|more| *more > 0) {
        Some(more) => format!("{shown} and {more} more"),
        None => shown,
    }
}
