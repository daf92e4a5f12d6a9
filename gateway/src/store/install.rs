//! Typed tables, as a schema asks for them: tables, columns, indexes on
//! references, capture triggers, views.
//!
//! Everything is compared with what is there and made anew where it differs, so
//! the same function installs, upgrades, and repairs after a program update.
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use wadi_protocol::schema::{Kind, Schema, Table};

use super::capture;
use super::error::Problem;
use super::image::{ident, is_integer};
use super::work::{Work, decode, encode};

/// A random UUID (version 4) as an expression: ids of rows that other programs insert.
const NEW_ID: &str = "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' \
    || substr(hex(randomblob(2)), 2) || '-' || substr('89ab', 1 + (random() & 3), 1) \
    || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))";

/// The newest schema that is stored.
pub(super) fn newest(db: &Connection) -> Result<Option<Arc<Schema>>, Problem> {
    let sql = "SELECT body FROM wadi_schema ORDER BY version DESC LIMIT 1";
    let body: Option<Vec<u8>> = db.query_row(sql, (), |row| row.get(0)).optional()?;
    body.map(|body| decode("the schema", &body).map(Arc::new)).transpose()
}

/// Take a schema from the hub. Older than what is there: ignored.
pub(super) fn install(work: &mut Work<'_>, schema: &Schema) -> Result<bool, Problem> {
    if work.ground.schema.as_ref().is_some_and(|held| held.version >= schema.version) {
        return Ok(false);
    }
    work.run(
        "INSERT INTO wadi_schema (version, body) VALUES (?, ?)",
        (schema.version, encode(schema)),
    )?;
    refresh(&work.tx)?;
    work.ground.schema = Some(Arc::new(schema.clone()));
    Ok(true)
}

/// Make the typed tables what the newest schema asks for.
pub(super) fn refresh(db: &Connection) -> Result<(), Problem> {
    let Some(schema) = newest(db)? else {
        return Ok(());
    };
    for table in &schema.tables {
        make_way(db, table)?;
        columns(db, table)?;
        for field in &table.fields {
            if matches!(field.kind, Kind::Reference { .. }) {
                let index = format!("wadi_ref_{}_{}", table.name, field.name);
                db.execute_batch(&format!(
                    "CREATE INDEX IF NOT EXISTS {} ON {} ({})",
                    ident(&index),
                    ident(&table.name),
                    ident(&field.name),
                ))?;
            }
        }
        for (name, sql) in capture::triggers(table) {
            replace(db, "TRIGGER", &name, &sql)?;
        }
        let name = format!("{}_view", table.name);
        // A table of that name comes first: people can read it as it is.
        if schema.table_named(&name).is_none() {
            replace(db, "VIEW", &name, &view(table, &name))?;
        }
    }
    Ok(())
}

/// A table may come to have the name that another's view had until now.
fn make_way(db: &Connection, table: &Table) -> Result<(), Problem> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'view' AND name = ?";
    if db.prepare_cached(sql)?.exists((&table.name,))? {
        db.execute_batch(&format!("DROP VIEW {}", ident(&table.name)))?;
    }
    Ok(())
}

fn columns(db: &Connection, table: &Table) -> Result<(), Problem> {
    let name = ident(&table.name);
    db.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {name} (id TEXT PRIMARY KEY NOT NULL DEFAULT ({NEW_ID})) STRICT, WITHOUT ROWID"
    ))?;
    let mut statement = db.prepare("SELECT 1 FROM pragma_table_info(?) WHERE name = ?")?;
    for field in &table.fields {
        if !statement.exists((&table.name, &field.name))? {
            let kind = if is_integer(field) { "INTEGER" } else { "TEXT" };
            db.execute_batch(&format!(
                "ALTER TABLE {name} ADD COLUMN {} {kind}",
                ident(&field.name)
            ))?;
        }
    }
    Ok(())
}

/// For people: decimals as real numbers.
fn view(table: &Table, name: &str) -> String {
    let mut columns = vec!["id".to_owned()];
    for field in &table.fields {
        let column = ident(&field.name);
        columns.push(match field.kind {
            Kind::Decimal { scale } if scale > 0 => {
                format!("{column} / 1e{scale} AS {column}")
            }
            _ => column,
        });
    }
    format!(
        "CREATE VIEW {} AS SELECT {} FROM {}",
        ident(name),
        columns.join(", "),
        ident(&table.name)
    )
}

fn replace(db: &Connection, kind: &str, name: &str, sql: &str) -> Result<(), Problem> {
    let held: Option<String> = db
        .prepare_cached("SELECT sql FROM sqlite_schema WHERE type = lower(?) AND name = ?")?
        .query_row((kind, name), |row| row.get(0))
        .optional()?;
    if held.as_deref() != Some(sql) {
        db.execute_batch(&format!("DROP {kind} IF EXISTS {}; {sql}", ident(name)))?;
    }
    Ok(())
}
