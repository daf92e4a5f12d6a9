//! Urgent first: which pending changes go before their turn.
//!
//! A change to an urgent table brings its group, every earlier pending change to
//! the rows it touches, and the pending changes of the rows it references, so
//! that it does not wait at the hub for what was left behind here.
use std::collections::BTreeSet;

use wadi_protocol::change::{Change, Delta};
use wadi_protocol::limits::CHANGESET_CHANGES_MAX;
use wadi_protocol::schema::interpret::interpret;
use wadi_protocol::schema::{Kind, Lane, Schema};
use wadi_protocol::value::Value;

use super::error::Problem;
use super::image::Key;
use super::work::{Work, decode};

/// Local ids of the changes that go first. More than fit one changeset are not
/// looked for: a next round follows.
pub(super) fn promoted(work: &Work<'_>) -> Result<BTreeSet<i64>, Problem> {
    let mut chosen = BTreeSet::new();
    let Some(schema) = work.schema() else {
        return Ok(chosen);
    };
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
