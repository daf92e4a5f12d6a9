//! The baseline: the same rows into the same typed tables of a plain SQLite file,
//! WAL, `synchronous=FULL`, prepared statements, and nothing else.
use std::path::Path;

use anyhow::Result;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};
use wadi_protocol::change::{Change, Delta, FieldRef, Op};
use wadi_protocol::schema::cell::{Cell, to_cell};
use wadi_protocol::schema::{Kind, Schema, Table};
use wadi_protocol::value::Value;

use crate::figures::{Spent, timed};
use crate::samples::table_of;

/// A statement and its parameters.
pub type Write = (String, Vec<Sql>);

/// A plain database.
pub struct Plain {
    db: Connection,
}

impl Plain {
    /// In this file.
    pub fn new(path: &Path, schema: &Schema) -> Result<Plain> {
        let db = Connection::open(path)?;
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "synchronous", "full")?;
        Plain::with(db, schema)
    }

    /// In memory.
    pub fn in_memory(schema: &Schema) -> Result<Plain> {
        Plain::with(Connection::open_in_memory()?, schema)
    }

    fn with(db: Connection, schema: &Schema) -> Result<Plain> {
        db.set_prepared_statement_cache_capacity(256);
        for table in &schema.tables {
            let columns: String = table
                .fields
                .iter()
                .map(|field| {
                    let number =
                        matches!(field.kind, Kind::Integer | Kind::Decimal { .. } | Kind::Boolean);
                    format!(", \"{}\" {}", field.name, if number { "INTEGER" } else { "TEXT" })
                })
                .collect();
            db.execute_batch(&format!(
                "CREATE TABLE \"{}\" (id TEXT PRIMARY KEY NOT NULL{columns}) STRICT, WITHOUT ROWID",
                table.name
            ))?;
        }
        Ok(Plain { db })
    }

    /// One transaction.
    pub fn commit(&mut self, writes: &[Write]) -> Result<Spent> {
        commit(&mut self.db, writes)
    }
}

/// One transaction of plain writes on any database; how long it took.
pub fn commit(db: &mut Connection, writes: &[Write]) -> Result<Spent> {
    let (time, ()) = timed(|| {
        let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for (sql, params) in writes {
            tx.prepare_cached(sql)?.execute(params_from_iter(params))?;
        }
        Ok(tx.commit()?)
    })?;
    Ok(time)
}

/// What a program without Wadi would write for these changes.
pub fn writes(schema: &Schema, changes: &[Change]) -> Vec<Write> {
    let one = |change: &Change| {
        let table = schema.table(table_of(change)).expect("typed");
        match change.op {
            Op::Insert => insert(table, change),
            _ => update(table, change),
        }
    };
    changes.iter().map(one).collect()
}

fn insert(table: &Table, change: &Change) -> Write {
    let names: String = table.fields.iter().map(|field| format!(", \"{}\"", field.name)).collect();
    let marks = ", ?".repeat(table.fields.len());
    let sql = format!("INSERT INTO \"{}\" (id{names}) VALUES (?{marks})", table.name);
    let cells = table.fields.iter().map(|field| match change.delta(field.number) {
        Some(Delta::Set(value)) => cell(to_cell(field, value)),
        _ => Sql::Null,
    });
    (sql, std::iter::once(Sql::Text(change.row.to_string())).chain(cells).collect())
}

fn update(table: &Table, change: &Change) -> Write {
    let mut sets = Vec::new();
    let mut params = Vec::new();
    for (at, delta) in &change.fields {
        let FieldRef::Number(number) = at else { continue };
        let field = table.field(*number).expect("typed");
        let value = if let Delta::Set(value) = delta { value } else { &Value::Null };
        sets.push(format!("\"{}\" = ?", field.name));
        params.push(cell(to_cell(field, value)));
    }
    params.push(Sql::Text(change.row.to_string()));
    (format!("UPDATE \"{}\" SET {} WHERE id = ?", table.name, sets.join(", ")), params)
}

fn cell(cell: Cell) -> Sql {
    match cell {
        Cell::Null => Sql::Null,
        Cell::Int(number) => Sql::Integer(number),
        Cell::Text(text) => Sql::Text(text),
    }
}
