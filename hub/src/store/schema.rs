//! Publishing a schema: only what follows the one before.
use rusqlite::{Connection, OptionalExtension, params};
use wadi_protocol::id::RunId;
use wadi_protocol::schema::compat;
use wadi_protocol::schema::file::SchemaFile;
use wadi_protocol::schema::{Schema, Table};

use super::sql::{Bits, pack};
use super::{Catalog, Store, StoreError, run, typed};

/// What a schema file would do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Nothing: it is the published one.
    Same(u32),
    /// It would become this version.
    Next(u32),
}

impl Store {
    /// Check a schema file against what is published. The error lists every problem.
    pub fn check_schema(&self, text: &str) -> Result<Change, StoreError> {
        self.read(|_, catalog| Ok(change(catalog, &numbered(catalog, text)?)))
    }

    /// The same where nothing was ever published.
    pub fn check_first_schema(text: &str) -> Result<Change, StoreError> {
        let catalog = Catalog::default();
        Ok(change(&catalog, &numbered(&catalog, text)?))
    }

    /// Publish a schema file; the published version, and whether it is new.
    pub fn publish_schema(&mut self, text: &str, now_s: u64) -> Result<Change, StoreError> {
        let draw = self.draw.clone();
        self.write(|tx, catalog| {
            let schema = numbered(catalog, text)?;
            let change = change(catalog, &schema);
            if let Change::Next(version) = change {
                publish(tx, &schema, version, text, now_s)?;
                if run::current_run(tx)? == RunId::NONE {
                    run::begin_run(tx, &draw, now_s)?;
                }
            }
            Ok(change)
        })
    }

    /// The newest schema, if any was published.
    pub fn schema(&self) -> Result<Option<Schema>, StoreError> {
        self.read(|_, catalog| Ok(catalog.newest().cloned()))
    }
}

fn change(catalog: &Catalog, schema: &Schema) -> Change {
    match catalog.newest() {
        Some(newest) if newest.version == schema.version => Change::Same(schema.version),
        _ => Change::Next(schema.version),
    }
}

/// The numbered form of a file that may be published.
fn numbered(catalog: &Catalog, text: &str) -> Result<Schema, StoreError> {
    let refuse = |problems: Vec<String>| StoreError::Refused(problems.join("\n"));
    let file: SchemaFile =
        toml::from_str(text).map_err(|error| refuse(vec![error.to_string().trim_end().into()]))?;
    let schema = file.number(catalog.newest()).map_err(refuse)?;
    let problems = catalog.newest().map(|old| compat::check_file(old, &schema, &file));
    let problems = problems.unwrap_or_default();
    if problems.is_empty() { Ok(schema) } else { Err(refuse(problems)) }
}

fn publish(
    db: &Connection,
    schema: &Schema,
    version: u32,
    text: &str,
    now_s: u64,
) -> Result<(), StoreError> {
    for table in &schema.tables {
        free(db, table)?;
        typed::make(db, table)?;
    }
    db.execute(
        "INSERT INTO wadi_schema (version, published_s, body, source) VALUES (?1, ?2, ?3, ?4)",
        params![version, Bits(now_s), pack(schema), text],
    )?;
    Ok(())
}

/// Whether a view of somebody's own is in the way of a table.
fn free(db: &Connection, table: &Table) -> Result<(), StoreError> {
    let found: Option<String> = db
        .query_row(
            "SELECT type FROM sqlite_schema WHERE name = ?1 AND type <> 'table'",
            [&table.name],
            |row| row.get(0),
        )
        .optional()?;
    match found {
        Some(kind) => Err(StoreError::Refused(format!(
            "{}: the database has a {kind} of this name; rename one of them",
            table.name
        ))),
        None => Ok(()),
    }
}
