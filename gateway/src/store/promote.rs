//! Urgent first: which pending changes go before their turn.
//!
//! A change to an urgent table brings its group, every earlier pending change to
//! the rows it touches, and the pending changes of the rows it references, so
//! that it does not wait at the hub for what was left behind here.
use std::collections::BTreeSet;

use rusqlite::Connection;
use wadi_protocol::change::{Change, Delta};
use wadi_protocol::limits::{CHANGESET_CHANGES_MAX, WANTED_ROWS_MAX};
use wadi_protocol::schema::interpret::interpret;
use wadi_protocol::schema::{Kind, Lane, Schema};
use wadi_protocol::value::Value;

use super::error::Problem;
use super::image::Key;
use super::work::{Work, decode, row_id};

/// Local ids of the changes that go first. More than fit one changeset are not
/// looked for: a next round follows.
pub(super) fn promoted(work: &Work<'_>) -> Result<BTreeSet<i64>, Problem> {
    let mut chosen = BTreeSet::new();
    let Some(schema) = work.schema() else {
        return Ok(chosen);
    };
    let wanted: Vec<i64> = work.all(
        "SELECT c.id FROM wadi_wanted w JOIN wadi_change c ON c.tbl = w.tbl AND c.row = w.row
         WHERE c.custody = 0 AND c.laid = 1 ORDER BY c.id LIMIT ?",
        (CHANGESET_CHANGES_MAX as i64,),
        |row| row.get(0),
    )?;
    for seed in wanted {
        bring(work, &schema, seed, &mut chosen)?;
    }
    for table in schema.tables.iter().filter(|table| table.lane == Lane::Urgent) {
        let seeds: Vec<i64> = work.all(
            "SELECT id FROM wadi_change WHERE custody = 0 AND laid = 1 AND tbl = ? ORDER BY id LIMIT ?",
            (table.number, CHANGESET_CHANGES_MAX as i64),
            |row| row.get(0),
        )?;
        for seed in seeds {
            if chosen.len() >= CHANGESET_CHANGES_MAX {
                return Ok(chosen);
            }
            bring(work, &schema, seed, &mut chosen)?;
        }
    }
    Ok(chosen)
}

/// The numbers of the tables that are urgent, as SQL lists them; empty if none is.
pub(super) fn urgent_list(schema: Option<&Schema>) -> String {
    let tables = schema.map_or(&[][..], |schema| &schema.tables);
    let urgent = tables.iter().filter(|table| table.lane == Lane::Urgent);
    urgent.map(|table| table.number.to_string()).collect::<Vec<_>>().join(", ")
}

/// Whether anything urgent waits.
pub(super) fn waits(db: &Connection, schema: Option<&Schema>) -> Result<bool, Problem> {
    let list = urgent_list(schema);
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM wadi_change WHERE custody = 0 AND laid = 1 AND tbl IN ({list}))
             OR EXISTS (SELECT 1 FROM wadi_wanted w JOIN wadi_change c ON c.tbl = w.tbl AND c.row = w.row
                        WHERE c.custody = 0 AND c.laid = 1)"
    );
    Ok(db.query_row(&sql, (), |row| row.get(0))?)
}

/// The hub asks for rows: what makes them goes first, and what of it was held is offered
/// again. A page that asks for none leaves those that were asked for before.
pub(super) fn want(
    work: &mut Work<'_>,
    rows: &[Key],
    dirty: &mut BTreeSet<Key>,
) -> Result<(), Problem> {
    if rows.is_empty() {
        return Ok(());
    }
    work.run("DELETE FROM wadi_wanted", ())?;
    for &(table, row) in rows.iter().take(WANTED_ROWS_MAX) {
        let sql = "INSERT OR IGNORE INTO wadi_wanted (tbl, row) VALUES (?, ?)";
        work.run(sql, (table, row.0))?;
        let held: Vec<(i64, Vec<u8>)> = work.all(
            "SELECT run, body FROM wadi_change
             WHERE custody = 3 AND custody <> 1 AND tbl = ? AND row = ? ORDER BY id",
            (table, row.0),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        for (run, body) in held {
            let (first, last) = decode::<Change>("a change", &body)?.group_span();
            let group = work.all(
                "UPDATE wadi_change SET custody = 0
                 WHERE custody = 3 AND run = ? AND seq BETWEEN ? AND ? RETURNING tbl, row",
                (run, first as i64, last as i64),
                |row| Ok((row.get::<_, Option<u16>>(0)?, row_id(row, 1)?)),
            )?;
            dirty.extend(group.into_iter().filter_map(|(table, row)| Some((table?, row))));
        }
    }
    Ok(())
}

/// One change, and what it cannot go without.
fn bring(
    work: &Work<'_>,
    schema: &Schema,
    seed: i64,
    chosen: &mut BTreeSet<i64>,
) -> Result<(), Problem> {
    let mut queue = vec![seed];
    while let Some(id) = queue.pop() {
        if !chosen.insert(id) {
            continue;
        }
        let found: Option<(Vec<u8>, i64)> =
            work.one("SELECT body, run FROM wadi_change WHERE id = ?", (id,), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let Some((body, run)) = found else { continue };
        let change: Change = decode("a change", &body)?;
        let (first, last) = change.group_span();
        queue.extend(work.all(
            "SELECT id FROM wadi_change WHERE run = ? AND seq BETWEEN ? AND ? AND custody = 0",
            (run, first as i64, last as i64),
            |row| row.get::<_, i64>(0),
        )?);
        for (table, row) in rows(schema, &change) {
            queue.extend(work.all(
                "SELECT id FROM wadi_change
                 WHERE tbl = ? AND row = ? AND laid = 1 AND custody = 0 AND id < ?",
                (table, row.0, id),
                |row| row.get::<_, i64>(0),
            )?);
        }
    }
    Ok(())
}

/// The row that a change touches, and those that it references.
fn rows(schema: &Schema, change: &Change) -> Vec<Key> {
    let Ok(change) = interpret(schema, change) else {
        return Vec::new();
    };
    let Some(table) = change.table_number().and_then(|number| schema.table(number)) else {
        return Vec::new();
    };
    let mut rows = vec![(table.number, change.row)];
    for field in &table.fields {
        if let Kind::Reference { table: target, .. } = field.kind
            && let Some(Delta::Set(Value::Row(row))) = change.delta(field.number)
        {
            rows.push((target, *row));
        }
    }
    rows
}
