//! The same records under other names: what the codec knows of these and no others
//! would show as a difference.
//!
//! Tables and fields get other names, another order and so other numbers; devices other
//! names, and a new one takes over from each for the second half; all happens later.
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value as Json;
use toml::{Table, Value};
use wadi_protocol::schema::Schema;

use crate::pattern::Pattern;
use crate::records::{Record, Rows, schema_of};

/// A year and some days, so that days of the week and of the month differ too.
const LATER_DAYS: u64 = 400;
const DAY_MS: u64 = 86_400_000;

/// Disguise the patterns of a folder.
pub fn disguise(folder: &Path, patterns: &mut [Pattern]) -> Result<()> {
    let text = std::fs::read_to_string(folder.join("schema.toml"))?;
    let schema = disguised(&text)?;
    for pattern in patterns {
        let len = pattern.history.len() + pattern.measured.len();
        let mut rows = Rows::default();
        let all = pattern.history.iter_mut().chain(&mut pattern.measured);
        for (at, record) in all.enumerate() {
            rename(&schema, record, at * 2 >= len);
        }
        rows.follow(&schema, &mut pattern.history);
        rows.follow(&schema, &mut pattern.measured);
        pattern.schema = schema.clone();
    }
    Ok(())
}

/// Another name, in another place of the alphabet.
fn other(name: &str) -> String {
    let turned: String = name.chars().rev().collect();
    format!("{}{turned}", if turned.len().is_multiple_of(2) { "x" } else { "a" })
}

fn disguised(text: &str) -> Result<Schema> {
    let mut schema: Table = text.parse()?;
    let tables = schema.get("tables").and_then(Value::as_table).context("no tables")?;
    let mut others = Table::new();
    for (name, table) in tables.iter().rev() {
        let mut table = table.as_table().context("no table")?.clone();
        let fields = table.get("fields").and_then(Value::as_table).context("no fields")?;
        let mut turned = Table::new();
        let half = fields.len() / 2;
        for (name, field) in fields.iter().skip(half).chain(fields.iter().take(half)) {
            let mut field = field.clone();
            let of = field.get("table").and_then(Value::as_str).map(other);
            if let (Some(of), Some(field)) = (of, field.as_table_mut()) {
                field.insert("table".into(), Value::String(of));
            }
            turned.insert(other(name), field);
        }
        table.insert("fields".into(), Value::Table(turned));
        others.insert(other(name), Value::Table(table));
    }
    schema.insert("tables".into(), Value::Table(others));
    schema_of(&toml::to_string(&schema)?)
}

fn rename(schema: &Schema, record: &mut Record, is_late: bool) {
    record.table = other(&record.table);
    record.ts_ms += LATER_DAYS * DAY_MS;
    record.device = other(&record.device) + if is_late { "-2" } else { "" };
    record.row.clear();
    let table = schema.tables.iter().find(|table| table.name == record.table);
    for (name, value) in &mut record.fields {
        *name = other(name);
        if let Json::String(text) = value
            && let Some(later) = later(text)
        {
            *text = later;
        }
    }
    record.fields.sort_by_key(|(name, _)| {
        table.and_then(|table| table.fields.iter().position(|field| field.name == *name))
    });
}

/// A date, or a time that begins with one, moved as the records are.
fn later(text: &str) -> Option<String> {
    let date = text.get(..10).filter(|_| matches!(text.len(), 10 | 17 | 20))?;
    let day = (0..30_000).find(|day| crate::made::day(*day) == date)?;
    Some(crate::made::day(day + LATER_DAYS) + &text[10..])
}
