//! Typed tables, as a schema asks for them: tables, columns, indexes on
//! references, capture triggers, views.
//!
//! Everything is compared with what is there and made anew where it differs, so
//! the same function installs, upgrades, and repairs after a program update.
use std::collections::BTreeMap;
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
    let held = Held::read(db)?;
    for table in &schema.tables {
        // It may have the name that another's view had until now.
        if held.get("view", &table.name).is_some() {
            db.execute_batch(&format!("DROP VIEW {}", ident(&table.name)))?;
        }
        columns(db, table)?;
        for field in &table.fields {
            let index = format!("wadi_ref_{}_{}", table.name, field.name);
            let refers = matches!(field.kind, Kind::Reference { .. });
            if refers && held.get("index", &index).is_none() {
                let (index, table) = (ident(&index), ident(&table.name));
                let field = ident(&field.name);
                db.execute_batch(&format!("CREATE INDEX {index} ON {table} ({field})"))?;
            }
        }
        for (name, sql) in capture::triggers(table) {
            held.replace(db, "trigger", &name, &sql)?;
        }
        let name = format!("{}_view", table.name);
        // A table of that name comes first: people can read it as it is.
        if schema.table_named(&name).is_none() {
            held.replace(db, "view", &name, &view(table, &name))?;
        }
    }
    Ok(())
}

/// What the database is made of, read once: whatever is made anew has SQLite read it all again.
struct Held(BTreeMap<(String, String), Option<String>>);

impl Held {
    fn read(db: &Connection) -> Result<Held, Problem> {
        let mut query = db.prepare("SELECT type, name, sql FROM sqlite_schema")?;
        let parts = query.query_map((), |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
        Ok(Held(parts.collect::<Result<_, _>>()?))
    }

    fn get(&self, kind: &str, name: &str) -> Option<&Option<String>> {
        self.0.get(&(kind.to_owned(), name.to_owned()))
    }

    /// Make a trigger or a view anew where it differs.
    fn replace(&self, db: &Connection, kind: &str, name: &str, sql: &str) -> Result<(), Problem> {
        match self.get(kind, name) {
            Some(Some(held)) if held == sql => return Ok(()),
            Some(_) => db.execute_batch(&format!("DROP {kind} {}", ident(name)))?,
            None => {}
        }
        Ok(db.execute_batch(sql)?)
    }
}

fn columns(db: &Connection, table: &Table) -> Result<(), Problem> {
    let name = ident(&table.name);
    let held: Vec<String> = db
        .prepare_cached("SELECT name FROM pragma_table_info(?)")?
        .query_map((&table.name,), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let columns = table.fields.iter().filter(|field| !held.contains(&field.name)).map(|field| {
        let kind = if is_integer(field) { "INTEGER" } else { "TEXT" };
        format!("{} {kind}", ident(&field.name))
    });
    if held.is_empty() {
        let id = format!("id TEXT PRIMARY KEY NOT NULL DEFAULT ({NEW_ID})");
        let columns: Vec<String> = std::iter::once(id).chain(columns).collect();
        db.execute_batch(&format!(
            "CREATE TABLE {name} ({}) STRICT, WITHOUT ROWID",
            columns.join(", ")
        ))?;
        return Ok(());
    }
    for column in columns {
        db.execute_batch(&format!("ALTER TABLE {name} ADD COLUMN {column}"))?;
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
