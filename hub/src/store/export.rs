//! The canonical export: JSON lines, the same for the same set of changes.
//!
//! No hub sequences, rounds, receipt times or case numbers: nothing that tells
//! by which route or in what order the changes came.
use std::io::{self, Write};

use rusqlite::{Connection, params};
use serde_json::{Map, Value as Json, json};
use wadi_protocol::change::Delta;
use wadi_protocol::schema::Table;

use super::sql::{Id, RowKey, dot_at, unpack};
use super::work::{State, is_dead, load, shown};
use super::{Catalog, Store, StoreError, text};

/// Exporting stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// At the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// At the output.
    #[error("writing the export: {0}")]
    Write(#[from] io::Error),
}

impl From<rusqlite::Error> for ExportError {
    fn from(error: rusqlite::Error) -> ExportError {
        ExportError::Store(error.into())
    }
}

impl Store {
    /// Write everything that the changes amount to, table by table, rows by id.
    pub fn export(&self, out: &mut impl Write) -> Result<(), ExportError> {
        let tx = self.db.unchecked_transaction()?;
        let mut catalog = self.catalog.clone();
        Catalog::refresh(&mut catalog, &tx)?;
        for table in catalog.newest().map(|schema| &schema.tables[..]).unwrap_or_default() {
            let mut query = tx.prepare("SELECT row FROM wadi_row WHERE tbl = ?1 ORDER BY row")?;
            let mut rows = query.query([table.number])?;
            while let Some(row) = rows.next()? {
                let Id(row) = row.get(0)?;
                let key = RowKey { table: table.number, row };
                let state = load(&tx, key)?.unwrap_or_default();
                write_row(&tx, table, key, &state, out)?;
            }
        }
        out.flush()?;
        Ok(())
    }
}

fn write_row(
    db: &Connection,
    table: &Table,
    key: RowKey,
    state: &State,
    out: &mut impl Write,
) -> Result<(), ExportError> {
    let id = key.row.to_string();
    let mut line = |json: Json| writeln!(out, "{json}");
    if state.is_live() {
        let values = shown(table, &state.fields, |parent| is_dead(db, parent))?;
        let mut fields = Map::new();
        for field in &table.fields {
            if let Some(value) = values.get(&field.number) {
                fields.insert(field.name.clone(), text::json(value));
            }
        }
        line(json!({ "table": table.name, "id": id, "fields": fields }))?;
    }
    if state.kept {
        line(json!({ "conflict": "delete", "table": table.name, "id": id }))?;
    }
    for (field, candidates) in candidates(db, key)? {
        let field = text::field_name(table, field);
        line(
            json!({ "conflict": field, "table": table.name, "id": id, "candidates": candidates }),
        )?;
    }
    for field in state.waiting() {
        let field = text::field_name(table, field);
        line(json!({ "review": field, "table": table.name, "id": id }))?;
    }
    Ok(())
}

/// The competing changes of a row, by field, each list by dot.
fn candidates(db: &Connection, key: RowKey) -> Result<Vec<(u16, Vec<Json>)>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT device, run, seq, field, value, winner FROM wadi_candidate
         WHERE tbl = ?1 AND row = ?2 ORDER BY field",
    )?;
    let mut rows = query.query(params![key.table, Id(key.row)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let delta: Option<Delta> = unpack(&row.get::<_, Vec<u8>>(4)?, "wadi_candidate.value")?;
        let shown: bool = row.get(5)?;
        found.push((row.get::<_, u16>(3)?, dot_at(row, 0)?, delta, shown));
    }
    found.sort_by_key(|(field, dot, ..)| (*field, *dot));
    let mut fields: Vec<(u16, Vec<Json>)> = Vec::new();
    for (field, dot, delta, shown) in found {
        let candidate = json!({
            "dot": dot.to_string(),
            "value": text::delta_json(delta.as_ref()),
            "shown": shown,
        });
        match fields.last_mut() {
            Some((last, candidates)) if *last == field => candidates.push(candidate),
            _ => fields.push((field, vec![candidate])),
        }
    }
    Ok(fields)
}
