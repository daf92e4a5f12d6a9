//! What whole sessions cost in bytes of IP packets. They need two processes, a broker and a
//! kernel that counts: the end-to-end test `sessions` measures them, and leaves the figures
//! in a file.
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

/// One kind of session.
#[derive(Deserialize)]
pub struct Session {
    pub encoding: String,
    /// Of which kind, and with how many records.
    pub pattern: String,
    pub size: usize,
    /// Of IP packets, both ways.
    pub bytes: u64,
    pub packets: u64,
    pub changes: usize,
}

impl Session {
    /// It as one of the figures: its bytes are those of IP, not of the payload.
    pub fn figure(&self) -> Value {
        let Session { encoding, pattern, size, bytes, changes, .. } = self;
        let encoding = format!("{encoding}, IP");
        json!({ "encoding": encoding, "pattern": pattern, "size": size, "bytes": bytes,
            "changes": changes })
    }
}

/// What the test left.
pub fn read(path: &Path) -> Result<Vec<Session>> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("{} cannot be read", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} does not hold figures of sessions", path.display()))
}

/// Print a table: a line for each kind, a column for each way to send.
pub fn print(sessions: &[Session]) {
    let column = |all: &mut Vec<String>, one: &str| {
        if !all.iter().any(|it| it == one) {
            all.push(one.into());
        }
    };
    let (mut lines, mut columns) = (Vec::new(), Vec::new());
    for session in sessions {
        column(&mut lines, &session.pattern);
        column(&mut columns, &session.encoding);
    }
    if lines.is_empty() {
        return;
    }
    println!("\n| bytes of IP, both ways (packets) | {} |", columns.join(" | "));
    println!("| --- |{}", " ---: |".repeat(columns.len()));
    for line in &lines {
        let cell = |column: &String| {
            let of = |it: &&Session| it.pattern == *line && it.encoding == *column;
            let found = sessions.iter().find(of);
            found.map_or(String::new(), |it| format!("{} ({})", it.bytes, it.packets))
        };
        let cells: Vec<String> = columns.iter().map(cell).collect();
        println!("| {line} | {} |", cells.join(" | "));
    }
}
