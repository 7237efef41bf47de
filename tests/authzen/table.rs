//! Tables in Markdown, read as they stand: what a reviewer reads is what is asked.

use std::path::Path;

/// The rows of the tables whose head is `head`, each with its line.
pub fn rows<const N: usize>(path: &Path, head: [&str; N]) -> Vec<(usize, [String; N])> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut rows, mut inside) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        let Some(cells) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            inside = false;
            continue;
        };
        let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
        if cells == head {
            inside = true;
        } else if inside && !cells.iter().all(|cell| cell.chars().all(|sign| sign == '-')) {
            let wrong = |cells: Vec<String>| panic!("{}:{}: {cells:?}", path.display(), number + 1);
            let cells: Vec<String> = cells.into_iter().map(str::to_owned).collect();
            rows.push((number + 1, cells.try_into().unwrap_or_else(wrong)));
        }
    }
    assert!(!rows.is_empty(), "{} has no table with the head {head:?}", path.display());
    rows
}

/// What stands between two back quotes; the cell itself where there are none.
pub fn code(cell: &str) -> &str {
    cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).unwrap_or(cell)
}
