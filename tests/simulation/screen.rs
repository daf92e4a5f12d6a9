//! What people are shown: the typed tables of a machine, read as any program reads them.
use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params};
use wadi_protocol::id::{DeviceId, Dot, RowId, RunId};

use crate::eye::Eye;
use crate::model::{Key, Screen};
use crate::schema::{TABLES, Table};
use crate::truth::Runs;

/// A table by name.
pub fn table(name: &str) -> &'static Table {
    TABLES.iter().find(|table| table.name == name).expect("a table of the simulation")
}

/// Its number: its place in the file.
pub fn number(name: &str) -> u16 {
    TABLES.iter().position(|table| table.name == name).expect("a table of the simulation") as u16
        + 1
}

/// Whether the machine has the table yet.
pub fn has(db: &Connection, name: &str) -> rusqlite::Result<bool> {
    Ok(names(db)?.contains(name))
}

/// The tables that the machine has.
pub fn names(db: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table'";
    db.prepare_cached(sql)?.query_map((), |row| row.get(0))?.collect()
}

/// A query of a typed table; none where the machine has not heard of the table yet.
fn of_table<'a>(
    eye: &'a Eye,
    table: &'static str,
    sql: &str,
) -> rusqlite::Result<Option<CachedStatement<'a>>> {
    if eye.lacks(table)? {
        return Ok(None);
    }
    match eye.prepare_cached(sql) {
        Ok(query) => Ok(Some(query)),
        Err(error) if error.to_string().contains("no such table") => {
            eye.missed(table)?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The one number that a query gives.
pub fn one_number(db: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<i64> {
    db.prepare_cached(sql)?.query_row(params, |row| row.get(0))
}

/// The marks that are shown of a row.
pub fn row(eye: &Eye, key: Key) -> rusqlite::Result<Screen> {
    let table = table(key.0);
    let fields: Vec<&str> = std::iter::once("id").chain(table.marks.iter().copied()).collect();
    let sql = format!("SELECT {} FROM {} WHERE id = ?", fields.join(", "), table.name);
    let Some(mut query) = of_table(eye, table.name, &sql)? else { return Ok(None) };
    let found = query.query_row([key.1.to_string()], |row| {
        let mut marks = BTreeMap::new();
        for (at, field) in table.marks.iter().enumerate() {
            marks.insert(*field, row.get::<_, Option<String>>(at + 1)?);
        }
        Ok(marks)
    });
    found.optional()
}

/// The rows that are shown.
pub fn rows(eye: &Eye, name: &'static str) -> rusqlite::Result<Vec<RowId>> {
    let sql = format!("SELECT id FROM {name} ORDER BY id");
    let Some(mut query) = of_table(eye, name, &sql)? else { return Ok(Vec::new()) };
    let ids = query.query_map((), |row| row.get::<_, String>(0))?;
    ids.map(|id| Ok(id?.parse().expect("ids are UUIDs"))).collect()
}

/// The counts of houses; none while something that a program wrote has no name yet.
pub fn counts(eye: &Eye) -> rusqlite::Result<BTreeMap<RowId, i64>> {
    let waits = one_number(eye, "SELECT EXISTS (SELECT 1 FROM wadi_capture)", ())?;
    let query = of_table(eye, "house", "SELECT id, coalesce(count, 0) FROM house")?;
    let Some(mut query) = query.filter(|_| waits == 0) else { return Ok(BTreeMap::new()) };
    let rows = query.query_map((), |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    rows.map(|row| row.map(|(id, count)| (id.parse().expect("ids are UUIDs"), count))).collect()
}

/// A whole table, to be compared: by id, everything else as it is stored.
pub fn whole(db: &Connection, name: &str) -> rusqlite::Result<BTreeMap<String, Vec<String>>> {
    let mut columns: Vec<String> = Vec::new();
    let mut info = db.prepare_cached("SELECT name FROM pragma_table_info(?) ORDER BY name")?;
    for column in info.query_map([name], |row| row.get::<_, String>(0))? {
        columns.push(column?);
    }
    if columns.is_empty() {
        return Ok(BTreeMap::new());
    }
    let others: Vec<String> = columns.into_iter().filter(|column| column != "id").collect();
    let sql = format!(
        "SELECT {} FROM {name}",
        ["id".to_owned()].iter().chain(&others).cloned().collect::<Vec<_>>().join(", ")
    );
    let mut query = db.prepare_cached(&sql)?;
    let rows = query.query_map((), |row| {
        let mut fields = Vec::new();
        for (at, column) in others.iter().enumerate() {
            let value: Value = row.get(at + 1)?;
            fields.push(format!("{column}={value:?}"));
        }
        Ok((row.get::<_, String>(0)?, fields))
    })?;
    rows.collect()
}

/// One row of it.
pub fn whole_row(db: &Connection, key: Key) -> rusqlite::Result<Option<Vec<String>>> {
    Ok(whole(db, key.0)?.remove(&key.1.to_string()))
}

/// References of shown rows to rows that are not there, and are known not to be: what
/// another village made may be referred to before it is heard of.
pub fn orphans_of_the_known(eye: &Eye) -> rusqlite::Result<Vec<String>> {
    let mut query = eye.prepare_cached(
        "SELECT lower(hex(row)) FROM wadi_row WHERE state IN (2, 3) OR shown IN (2, 3)",
    )?;
    let known: Vec<String> =
        query.query_map((), |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<_>>()?;
    let mut all = orphans(eye)?;
    all.retain(|orphan| {
        let target = orphan.rsplit(' ').next().expect("a row").replace('-', "");
        known.contains(&target)
    });
    Ok(all)
}

/// References of shown rows to rows that are not there.
pub fn orphans(eye: &Eye) -> rusqlite::Result<Vec<String>> {
    let mut found = Vec::new();
    for table in &TABLES {
        for (field, to) in table.references {
            let sql = format!(
                "SELECT id, {field} FROM {} AS it WHERE {field} IS NOT NULL
                 AND NOT EXISTS (SELECT 1 FROM {to} WHERE id = it.{field})",
                table.name
            );
            let Some(mut query) = of_table(eye, table.name, &sql)? else { continue };
            let rows = query
                .query_map((), |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            for row in rows {
                let (id, to_id) = row?;
                found.push(format!("{} {id}: {field} refers to {to} {to_id}", table.name));
            }
        }
    }
    Ok(found)
}

/// The dots that a query gives: its columns and the rest of it.
pub fn dots(db: &Connection, query: &str) -> rusqlite::Result<BTreeSet<Dot>> {
    db.prepare_cached(&format!("SELECT {query}"))?.query_map((), dot)?.collect()
}

/// A dot in the first three columns.
pub fn dot(row: &rusqlite::Row<'_>) -> rusqlite::Result<Dot> {
    let number = |at| row.get::<_, i64>(at).map(|bits| bits as u64);
    Ok(Dot { device: DeviceId(number(0)?), run: RunId(number(1)?), seq: number(2)? })
}

/// Where the runs that the hub has heard of began.
pub fn runs(db: &Connection) -> rusqlite::Result<Runs> {
    let sql = "SELECT device, run, parent_run, parent_seq FROM wadi_run
               WHERE parent_run IS NOT NULL";
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map((), |row| {
        let number = |at| row.get::<_, i64>(at).map(|bits| bits as u64);
        let run = (DeviceId(number(0)?), RunId(number(1)?));
        Ok((run, (RunId(number(2)?), number(3)?)))
    })?;
    rows.collect()
}

/// The hub's own runs.
pub fn hub_runs(db: &Connection) -> rusqlite::Result<Vec<RunId>> {
    let mut query = db.prepare_cached("SELECT run FROM wadi_hub_run")?;
    let rows = query.query_map((), |row| Ok(RunId(row.get::<_, i64>(0)? as u64)))?;
    rows.collect()
}
