//! The figures and how they are shown.
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::sessions::Session;

/// What one encoding costs for one pattern in batches of one size.
pub struct Figure {
    pub encoding: &'static str,
    pub pattern: String,
    pub size: usize,
    pub bytes: usize,
    pub changes: usize,
    /// Bytes a change of the middle batch.
    pub p50: f64,
}

impl Figure {
    /// From bytes and changes of each batch.
    pub fn of(
        encoding: &'static str,
        pattern: &str,
        size: usize,
        batches: &[(usize, usize)],
    ) -> Figure {
        let mut each: Vec<f64> =
            batches.iter().map(|(bytes, changes)| *bytes as f64 / *changes as f64).collect();
        each.sort_by(f64::total_cmp);
        Figure {
            encoding,
            pattern: pattern.into(),
            size,
            bytes: batches.iter().map(|(bytes, _)| bytes).sum(),
            changes: batches.iter().map(|(_, changes)| changes).sum(),
            p50: each.get(each.len() / 2).copied().unwrap_or(0.0),
        }
    }

    fn mean(&self) -> f64 {
        self.bytes as f64 / self.changes as f64
    }
}

/// Print a table: a line for each encoding, a column for each pattern and size.
pub fn print(title: &str, figures: &[Figure]) {
    let mut columns: Vec<(&str, usize)> = Vec::new();
    let mut lines: Vec<&str> = Vec::new();
    for figure in figures {
        let column = (figure.pattern.as_str(), figure.size);
        if !columns.contains(&column) {
            columns.push(column);
        }
        if !lines.contains(&figure.encoding) {
            lines.push(figure.encoding);
        }
    }
    let heads: Vec<String> =
        columns.iter().map(|(pattern, size)| format!("{pattern} × {size}")).collect();
    println!("| {title} | {} |", heads.join(" | "));
    println!("| --- |{}", " ---: |".repeat(columns.len()));
    for line in lines {
        let cell = |(pattern, size): &(&str, usize)| {
            let of = |figure: &&Figure| {
                (figure.encoding, figure.pattern.as_str(), figure.size) == (line, *pattern, *size)
            };
            figures.iter().find(of).map_or(String::new(), |figure| {
                let (mean, p50) = (figure.mean(), figure.p50);
                let places = usize::from(mean < 100.0) + usize::from(mean < 20.0);
                format!("{mean:.places$} ({p50:.places$})")
            })
        };
        let cells: Vec<String> = columns.iter().map(cell).collect();
        println!("| {line} | {} |", cells.join(" | "));
    }
    println!();
}

/// Write all figures as JSON, and those of sessions that carry something.
pub fn save(path: &Path, figures: &[Figure], sessions: &[Session]) -> Result<()> {
    let mut list: Vec<_> = figures
        .iter()
        .map(|figure| {
            json!({
                "encoding": figure.encoding,
                "pattern": figure.pattern,
                "size": figure.size,
                "bytes": figure.bytes,
                "changes": figure.changes,
            })
        })
        .collect();
    list.extend(sessions.iter().filter(|session| session.changes > 0).map(Session::figure));
    let text = serde_json::to_string_pretty(&list)? + "\n";
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}
