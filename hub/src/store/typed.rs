//! The tables that analysts read: one for each table of the schema, and a view.
//!
//! STRICT, a primary key and nothing else; names come from the schema, which
//! allows only lower case letters, digits and `_`, and are quoted all the same.
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write;

use rusqlite::types::{ToSqlOutput, Value as Sql};
use rusqlite::{CachedStatement, Connection, params_from_iter};
use wadi_protocol::schema::cell::{Cell, to_cell};
use wadi_protocol::schema::{Field, Kind, Table};
use wadi_protocol::value::Value;

use super::StoreError;
use super::sql::RowKey;
use super::work::Fields;

/// Make a table, or add the columns that it lacks, and its view.
pub(super) fn make(db: &Connection, table: &Table) -> Result<(), StoreError> {
    let name = &table.name;
    let have: Vec<String> = db
        .prepare("SELECT name FROM pragma_table_info(?1)")?
        .query_map([name], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if have.is_empty() {
        let columns: String =
            table.fields.iter().map(|field| format!(", {}", column(field))).collect();
        db.execute_batch(&format!(
            "CREATE TABLE \"{name}\" (id TEXT PRIMARY KEY NOT NULL{columns}) STRICT, WITHOUT ROWID"
        ))?;
    } else {
        for field in table.fields.iter().filter(|field| !have.contains(&field.name)) {
            db.execute_batch(&format!("ALTER TABLE \"{name}\" ADD COLUMN {}", column(field)))?;
        }
    }
    let shown: String = table.fields.iter().map(|field| format!(", {}", shown(field))).collect();
    Ok(db.execute_batch(&format!(
        "DROP VIEW IF EXISTS \"{name}_view\";
         CREATE VIEW \"{name}_view\" AS SELECT id{shown} FROM \"{name}\""
    ))?)
}

fn column(field: &Field) -> String {
    let affinity = match field.kind {
        Kind::Integer | Kind::Decimal { .. } | Kind::Boolean => "INTEGER",
        _ => "TEXT",
    };
    format!("\"{}\" {affinity}", field.name)
}

/// The expression that shows a column to people: decimals as real numbers.
fn shown(field: &Field) -> String {
    let name = &field.name;
    match field.kind {
        Kind::Decimal { scale } if scale > 0 => {
            format!("\"{name}\" / 1e{scale} AS \"{name}\"")
        }
        _ => format!("\"{name}\""),
    }
}

/// Writes rows.
pub(super) struct Writer<'a> {
    db: &'a Connection,
    /// Statements by table.
    puts: BTreeMap<u16, CachedStatement<'a>>,
}

impl<'a> Writer<'a> {
    /// Into this database.
    pub fn new(db: &'a Connection) -> Writer<'a> {
        Writer { db, puts: BTreeMap::new() }
    }

    /// Write a row as people see it; none = it is not there.
    pub fn write(
        &mut self,
        table: &Table,
        key: RowKey,
        fields: Option<&Fields>,
    ) -> Result<(), StoreError> {
        let id = key.row.to_string();
        let Some(fields) = fields else {
            let delete = format!("DELETE FROM \"{}\" WHERE id = ?1", table.name);
            self.db.prepare_cached(&delete)?.execute([id])?;
            return Ok(());
        };
        let put = match self.puts.entry(key.table) {
            Entry::Occupied(put) => put.into_mut(),
            Entry::Vacant(place) => place.insert(self.db.prepare_cached(&put(table))?),
        };
        let cells = table.fields.iter().map(|field| sql(field, fields.get(&field.number)));
        put.execute(params_from_iter(
            std::iter::once(Sql::Text(id)).chain(cells).map(ToSqlOutput::Owned),
        ))?;
        Ok(())
    }
}

/// The statement that writes a row of a table, its id before its fields.
fn put(table: &Table) -> String {
    let mut sql = format!("INSERT OR REPLACE INTO \"{}\" (id", table.name);
    for field in &table.fields {
        let _ = write!(sql, ", \"{}\"", field.name);
    }
    sql + ") VALUES (?" + &", ?".repeat(table.fields.len()) + ")"
}

fn sql(field: &Field, value: Option<&Value>) -> Sql {
    match to_cell(field, value.unwrap_or(&Value::Null)) {
        Cell::Null => Sql::Null,
        Cell::Int(number) => Sql::Integer(number),
        Cell::Text(text) => Sql::Text(text),
    }
}
