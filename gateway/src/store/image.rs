//! Rows of typed tables as images, and back.
use std::collections::BTreeMap;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use wadi_protocol::id::RowId;
use wadi_protocol::resolve::Image;
use wadi_protocol::schema::cell::{Cell, from_cell, to_cell};
use wadi_protocol::schema::{Field, Kind, Merge, OnDelete, Schema, Table};
use wadi_protocol::value::Value;

use super::error::Problem;
use super::work::{decode, encode};

/// A row's values by field; absent = null.
pub(crate) type Fields = BTreeMap<u16, Value>;

/// A row: table and id.
pub(crate) type Key = (u16, RowId);

/// A name as an SQL identifier.
pub(crate) fn ident(name: &str) -> String {
    let mut sql = String::with_capacity(name.len() + 2);
    push_ident(&mut sql, name);
    sql
}

fn push_ident(sql: &mut String, name: &str) {
    sql.push('"');
    for (at, piece) in name.split('"').enumerate() {
        if at > 0 {
            sql.push_str("\"\"");
        }
        sql.push_str(piece);
    }
    sql.push('"');
}

/// Whether a field's column is INTEGER; else it is TEXT.
pub(crate) fn is_integer(field: &Field) -> bool {
    let list = field.merge == Merge::Append;
    matches!(field.kind, Kind::Integer | Kind::Decimal { .. } | Kind::Boolean) && !list
}

/// Whether a value is of the variant that the field's column holds.
pub(crate) fn fits(field: &Field, value: &Value) -> bool {
    let list = matches!(field.kind, Kind::Set { .. }) || field.merge == Merge::Append;
    match value {
        Value::Null => true,
        Value::List(_) => list,
        _ if list => false,
        Value::Int(_) => matches!(field.kind, Kind::Integer | Kind::Decimal { .. }),
        Value::Bool(_) => field.kind == Kind::Boolean,
        Value::Row(_) => matches!(field.kind, Kind::Reference { .. }),
        Value::Text(_) => {
            matches!(field.kind, Kind::Text | Kind::Date | Kind::Timestamp | Kind::Enum { .. })
        }
        Value::Number(_) => false,
    }
}

/// A cell as a statement's parameter.
struct Bound(Cell);

impl ToSql for Bound {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match &self.0 {
            Cell::Null => ValueRef::Null,
            Cell::Int(number) => ValueRef::Integer(*number),
            Cell::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// What a column holds; STRICT tables hold no other types.
fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Int(number),
        ValueRef::Real(number) => Cell::Text(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Cell::Text(String::from_utf8_lossy(bytes).into_owned())
        }
    }
}

/// A cell's value; one that does not fit its field is kept raw, for the hub to judge.
pub(crate) fn value_of(field: &Field, cell: &Cell) -> Value {
    from_cell(field, cell).unwrap_or_else(|_| match cell {
        Cell::Null => Value::Null,
        Cell::Int(number) => Value::Int(*number),
        Cell::Text(text) => Value::Text(text.clone()),
    })
}

/// The row as the typed table holds it.
pub(crate) fn read(db: &Connection, table: &Table, row: RowId) -> Result<Option<Fields>, Problem> {
    let columns: Vec<String> = table.fields.iter().map(|field| ident(&field.name)).collect();
    let sql = format!(
        "SELECT {} FROM {} WHERE id = ?",
        if columns.is_empty() { "1".into() } else { columns.join(", ") },
        ident(&table.name),
    );
    let mut statement = db.prepare_cached(&sql)?;
    let found = statement
        .query_row((row.to_string(),), |cells| {
            let mut fields = Fields::new();
            for (at, field) in table.fields.iter().enumerate() {
                let value = value_of(field, &cell(cells.get_ref(at)?));
                if !value.is_null() {
                    fields.insert(field.number, value);
                }
            }
            Ok(fields)
        })
        .optional()?;
    Ok(found)
}

/// Make the typed table hold the row so, or not at all.
pub(crate) fn write(
    db: &Connection,
    table: &Table,
    row: RowId,
    fields: Option<&Fields>,
) -> Result<(), Problem> {
    let cells = fields.map(|fields| {
        let cell =
            |field: &Field| fields.get(&field.number).map_or(Cell::Null, |v| to_cell(field, v));
        table.fields.iter().map(cell).collect()
    });
    write_cells(db, table, &row.to_string(), cells)
}

/// The same, with cells in the order of the table's fields.
pub(crate) fn write_cells(
    db: &Connection,
    table: &Table,
    id: &str,
    cells: Option<Vec<Cell>>,
) -> Result<(), Problem> {
    let Some(cells) = cells else {
        let sql = format!("DELETE FROM {} WHERE id = ?", ident(&table.name));
        db.prepare_cached(&sql)?.execute((id,))?;
        return Ok(());
    };
    let mut sql = String::with_capacity(64 + 32 * table.fields.len());
    sql.push_str("INSERT OR REPLACE INTO ");
    push_ident(&mut sql, &table.name);
    sql.push_str(" (id");
    for field in &table.fields {
        sql.push_str(", ");
        push_ident(&mut sql, &field.name);
    }
    sql.push_str(") VALUES (?");
    table.fields.iter().for_each(|_| sql.push_str(", ?"));
    sql.push(')');
    let id = Bound(Cell::Text(id.to_owned()));
    let values = std::iter::once(id).chain(cells.into_iter().map(Bound));
    db.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    Ok(())
}

/// The references of an image: field, what it points at, what happens if that is deleted.
pub(crate) fn references(table: &Table, fields: &Fields) -> Vec<(u16, Key, OnDelete)> {
    let one = |field: &Field| {
        let Kind::Reference { table: target, on_delete } = field.kind else {
            return None;
        };
        match fields.get(&field.number)? {
            Value::Row(row) => Some((field.number, (target, *row), on_delete)),
            _ => None,
        }
    };
    table.fields.iter().filter_map(one).collect()
}

/// The rows that reference a row: those that the typed tables show, and those that they hide.
pub(crate) fn referrers(
    db: &Connection,
    schema: &Schema,
    key: Key,
) -> Result<Vec<(Key, OnDelete)>, Problem> {
    let mut found = Vec::new();
    for table in &schema.tables {
        for field in &table.fields {
            let Kind::Reference { table: target, on_delete } = field.kind else {
                continue;
            };
            if target != key.0 {
                continue;
            }
            let sql =
                format!("SELECT id FROM {} WHERE {} = ?", ident(&table.name), ident(&field.name));
            let mut statement = db.prepare_cached(&sql)?;
            let mut rows = statement.query((key.1.to_string(),))?;
            while let Some(row) = rows.next()? {
                let id: String = row.get(0)?;
                if let Ok(id) = id.parse() {
                    found.push(((table.number, id), on_delete));
                }
            }
        }
    }
    let mut statement = db.prepare_cached(
        "SELECT tbl, row, field FROM wadi_ref WHERE target_tbl = ? AND target_row = ?",
    )?;
    let mut rows = statement.query((key.0, key.1.0))?;
    while let Some(row) = rows.next()? {
        let (number, field): (u16, u16) = (row.get(0)?, row.get(2)?);
        let kind = schema.table(number).and_then(|t| t.field(field)).map(|f| &f.kind);
        if let Some(Kind::Reference { on_delete, .. }) = kind {
            found.push(((number, RowId(row.get(1)?)), *on_delete));
        }
    }
    Ok(found)
}

/// For the column `base`.
pub(crate) fn encode_image(image: &Image) -> Vec<u8> {
    encode(&(image.live, &image.fields))
}

/// From the column `base`.
pub(crate) fn decode_image(bytes: &[u8]) -> Result<Image, Problem> {
    let (live, fields) = decode("a base image", bytes)?;
    Ok(Image { live, fields })
}
