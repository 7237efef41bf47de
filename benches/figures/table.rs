//! The table at the end, and the arithmetic behind its figures.

/// One line: what was measured, what came out, and what was wanted.
#[derive(Debug)]
pub struct Row {
    what: String,
    figure: String,
    target: String,
    met: Option<bool>,
}

impl Row {
    /// A figure without a target.
    pub fn told(what: impl Into<String>, figure: impl Into<String>) -> Self {
        Self { what: what.into(), figure: figure.into(), target: String::new(), met: None }
    }
    /// A figure with a target.
    pub fn aimed(what: impl Into<String>, figure: impl Into<String>, target: &str, met: bool) -> Self {
        Self { what: what.into(), figure: figure.into(), target: target.to_owned(), met: Some(met) }
    }
    /// The same figure where the target does not apply.
    pub fn without_target(self) -> Self {
        Self { target: String::new(), met: None, ..self }
    }
}

/// Prints the rows as Markdown.
pub fn print(rows: &[Row]) {
    let mut cells = vec![["what".to_owned(), "measured".to_owned(), "target".to_owned(), String::new()]];
    cells.extend(rows.iter().map(|row| {
        let verdict = match row.met {
            None => "",
            Some(true) => "met",
            Some(false) => "missed",
        };
        [row.what.clone(), row.figure.clone(), row.target.clone(), verdict.to_owned()]
    }));
    let width = |n: usize| cells.iter().map(|row| row[n].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    println!("\n{}\n", crate::machine::describe());
    for (n, row) in cells.iter().enumerate() {
        let line: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("| {} |", line.join(" | "));
        if n == 0 {
            println!("|{}|", widths.map(|width| "-".repeat(width + 2)).join("|"));
        }
    }
}

/// The middle of the samples, which are sorted by this.
pub fn median(samples: &mut [f64]) -> f64 {
    quantile(samples, 0.5)
}

/// The smallest sample that at least this share of them does not exceed.
pub fn quantile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a position in the samples")]
    let at = ((samples.len() as f64 * share).ceil() as usize).clamp(1, samples.len());
    samples[at - 1]
}
