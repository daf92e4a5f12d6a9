//! The capture door, our side: what other programs did becomes changes of the
//! gateway's own device and run.
//!
//! It comes first in every write transaction of ours, so what was captured was
//! done to exactly the picture that base and overlay give: the typed rows are put
//! back to it, and the changes laid over it like any others.
use std::collections::BTreeMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use wadi_protocol::change::{Change, Delta, FieldRef, Group, Op, TableRef};
use wadi_protocol::id::{Dot, RowId};
use wadi_protocol::limits::{CHANGESET_BYTES_MAX, GROUP_CHANGES_MAX};
use wadi_protocol::schema::cell::Cell;
use wadi_protocol::schema::{Field, Merge, Schema, Table};
use wadi_protocol::value::Value;

use super::error::Problem;
use super::image::{Key, is_integer, value_of, write_cells};
use super::intake::{Appended, append, lay};
use super::literal::parse_list;
use super::overlay::Meta;
use super::seen;
use super::telling::table_name;
use super::work::{Work, encode};

/// What a trigger wrote down.
struct Captured {
    key: Key,
    group: Option<i64>,
    old: Option<Vec<Cell>>,
    new: Option<Vec<Cell>>,
}

type Deltas = Vec<(FieldRef, Delta)>;

/// Changes to be: row, what happens, to which fields.
type Draft = (Key, Op, Deltas);

/// Whether anything waits.
pub(crate) fn is_needed(db: &Connection) -> Result<bool, Problem> {
    Ok(db
        .prepare_cached("SELECT 1 FROM wadi_capture UNION ALL SELECT 1 FROM wadi_group")?
        .exists(())?)
}

/// Put what was captured into the changelog and lay it over.
pub(crate) fn drain(work: &mut Work<'_>) -> Result<(), Problem> {
    if !is_needed(&work.tx)? {
        return Ok(());
    }
    if let Some(schema) = work.schema() {
        let captured = read(work, &schema)?;
        tell(work, &schema, &captured);
        put_back(work, &schema, &captured)?;
        let mut groups = Vec::new();
        for group in captured.chunk_by(|a, b| a.group.is_some() && a.group == b.group) {
            let drafts = drafts(&schema, group);
            for part in parts(&drafts) {
                // What a delete takes along is asked of the picture: it must be up to date.
                if part.iter().any(|(_, op, _)| *op == Op::Delete) {
                    lay(work, &std::mem::take(&mut groups))?;
                }
                groups.push(record(work, &schema, part)?);
            }
        }
        lay(work, &groups)?;
    }
    work.run("DELETE FROM wadi_capture", ())?;
    work.run("DELETE FROM wadi_replaced", ())?;
    // A mark does not outlive its transaction, even if its writer forgot it.
    work.run("DELETE FROM wadi_group", ())?;
    work.run("UPDATE wadi_switch SET captured = 0", ())?;
    Ok(())
}

fn read(work: &Work<'_>, schema: &Schema) -> Result<Vec<Captured>, Problem> {
    type Line = (i64, Option<String>, Option<i64>, Option<String>, Option<String>);
    let lines: Vec<Line> =
        work.all("SELECT tbl, id, grp, old, new FROM wadi_capture ORDER BY n", (), |row| {
            Ok((row.get(0)?, text(row, 1)?, row.get(2)?, text(row, 3)?, text(row, 4)?))
        })?;
    let mut captured = Vec::new();
    for (table, id, group, old, new) in lines {
        let whole = || {
            let number = u16::try_from(table).ok()?;
            let held = schema.table(number)?;
            let cells = |text: &Option<String>| match text {
                Some(text) => parse_list(text).ok().filter(|cells| is_row(held, cells)).map(Some),
                None => Some(None),
            };
            let row: RowId = id.as_ref()?.parse().ok()?;
            Some(Captured { key: (number, row), group, old: cells(&old)?, new: cells(&new)? })
        };
        match whole() {
            Some(line) => captured.push(line),
            // Not from our triggers: somebody wrote into wadi_capture.
            None => tracing::error!(
                phase = "capture",
                table,
                row = id,
                "wadi_capture holds a line that no trigger wrote: ignored"
            ),
        }
    }
    Ok(captured)
}

/// What other programs wrote, for the log: a line for each table.
fn tell(work: &Work<'_>, schema: &Schema, captured: &[Captured]) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let mut rows: BTreeMap<u16, u64> = BTreeMap::new();
    for line in captured {
        *rows.entry(line.key.0).or_default() += 1;
    }
    for (number, changes) in rows {
        let table = table_name(Some(schema), &TableRef::Number(number));
        tracing::debug!(phase = "capture", device = %work.ground.device, table, changes, "SQL writes");
    }
}

/// Whether cells are such as the columns of a table hold; triggers write no others.
fn is_row(table: &Table, cells: &[Cell]) -> bool {
    let held = |field: &Field, cell: &Cell| match cell {
        Cell::Null => true,
        Cell::Int(_) => is_integer(field),
        Cell::Text(_) => !is_integer(field),
    };
    let mut pairs = table.fields.iter().zip(cells);
    cells.len() == table.fields.len() && pairs.all(|(field, cell)| held(field, cell))
}

/// Text of any program: what of it is not UTF-8 is replaced, and then is no line of ours.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    })
}

/// Make the typed rows what they were before the first of the captured writes.
fn put_back(work: &Work<'_>, schema: &Schema, captured: &[Captured]) -> Result<(), Problem> {
    let mut first: BTreeMap<Key, &Captured> = BTreeMap::new();
    for line in captured {
        first.entry(line.key).or_insert(line);
    }
    for (key, line) in first {
        if let Some(table) = schema.table(key.0) {
            write_cells(&work.tx, table, &key.1.to_string(), line.old.clone())?;
        }
    }
    Ok(())
}

fn drafts(schema: &Schema, captured: &[Captured]) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for line in captured {
        let Some(table) = schema.table(line.key.0) else {
            continue;
        };
        match (&line.old, &line.new) {
            (_, None) => drafts.push((line.key, Op::Delete, Vec::new())),
            (old, Some(new)) => {
                let mut changes = deltas(table, old.as_deref(), new);
                if changes.is_empty() && old.is_none() {
                    changes.push(Vec::new());
                }
                for (at, fields) in changes.into_iter().enumerate() {
                    let op = if at == 0 && old.is_none() { Op::Insert } else { Op::Update };
                    drafts.push((line.key, op, fields));
                }
            }
        }
    }
    drafts
}

/// A group, or the fewest parts of it that are within the limits of a group:
/// several entries appended to one row are a change each.
fn parts(drafts: &[Draft]) -> Vec<&[Draft]> {
    let mut parts = Vec::new();
    if drafts.is_empty() {
        return parts;
    }
    let (mut from, mut bytes) = (0, 0);
    for (at, (_, _, fields)) in drafts.iter().enumerate() {
        let size = encode(fields).len();
        if at - from == GROUP_CHANGES_MAX || bytes + size > CHANGESET_BYTES_MAX / 2 {
            parts.push(&drafts[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += size;
    }
    parts.push(&drafts[from..]);
    parts
}

/// What shares custody becomes changes and is appended.
fn record(work: &mut Work<'_>, schema: &Schema, drafts: &[Draft]) -> Result<Appended, Problem> {
    let first = work.ground.last_seq + 1;
    let group = (drafts.len() > 1).then_some(Group { first, len: drafts.len() as u16 });
    let run = work
        .run_id(work.ground.device, work.ground.run)
        .ok_or_else(|| Problem::Damaged("the own run is not registered".into()))?;
    let mut changes = Vec::with_capacity(drafts.len());
    for (key, op, fields) in drafts {
        work.ground.last_seq += 1;
        let dot =
            Dot { device: work.ground.device, run: work.ground.run, seq: work.ground.last_seq };
        let meta = Meta::load(&work.tx, *key)?;
        let closure = match op {
            Op::Delete => seen::closure(&work.tx, &work.ground, schema, *key, dot)?,
            _ => Vec::new(),
        };
        changes.push(Change {
            dot,
            stamp: work.ground.clock.issue(work.now_s),
            entered_s: work.now_s,
            contained: None,
            schema: schema.version,
            rights: 0,
            group,
            table: TableRef::Number(key.0),
            row: key.1,
            op: *op,
            fields: fields.clone(),
            seen: seen::of_row(&work.ground, schema, *key, &meta, dot),
            closure,
        });
    }
    append(work, run, &changes)
}

/// What changed between two rows, as one change's deltas or, where one change
/// cannot say it (several entries appended), several.
fn deltas(table: &Table, old: Option<&[Cell]>, new: &[Cell]) -> Vec<Deltas> {
    let mut changes: Vec<Deltas> = Vec::new();
    for (at, field) in table.fields.iter().enumerate() {
        let before = old.map_or(&Cell::Null, |cells| &cells[at]);
        let steps = if *before == new[at] { Vec::new() } else { steps(field, before, &new[at]) };
        for (step, delta) in steps.into_iter().enumerate() {
            if changes.len() == step {
                changes.push(Vec::new());
            }
            changes[step].push((FieldRef::Number(field.number), delta));
        }
    }
    changes
}

/// One field's deltas, by its strategy; what does not fit the field goes raw, for
/// the hub to judge.
fn steps(field: &Field, before: &Cell, after: &Cell) -> Vec<Delta> {
    let (before, after) = (value_of(field, before), value_of(field, after));
    match (field.merge, &before, &after) {
        (Merge::Sum, Value::Int(_) | Value::Null, Value::Int(_) | Value::Null) => {
            let number = |value: &Value| {
                if let Value::Int(number) = value { i128::from(*number) } else { 0 }
            };
            let mut rest = number(&after) - number(&before);
            let mut adds = Vec::new();
            // From one end of the range to the other takes more than one addition.
            while rest != 0 {
                let add = rest.clamp(i64::MIN.into(), i64::MAX.into());
                adds.push(Delta::Add(add as i64));
                rest -= add;
            }
            if adds.is_empty() && before.is_null() {
                adds.push(Delta::Add(0));
            }
            adds
        }
        (Merge::Append, Value::List(_) | Value::Null, Value::List(list)) => {
            let mut gone = entries(&before).to_vec();
            let mut added = list.clone();
            // Entries cannot be taken back: what is no longer there stays.
            added.retain(|entry| match gone.iter().position(|old| old == entry) {
                Some(at) => {
                    gone.swap_remove(at);
                    false
                }
                None => true,
            });
            added.into_iter().map(Delta::Append).collect()
        }
        (Merge::Append, _, Value::Null) => Vec::new(),
        (Merge::Set, Value::List(_) | Value::Null, Value::List(_) | Value::Null) => {
            let (old, new) = (entries(&before), entries(&after));
            let missing = |from: &[String], other: &[String]| -> Vec<String> {
                from.iter().filter(|entry| !other.contains(entry)).cloned().collect()
            };
            let (add, remove) = (missing(new, old), missing(old, new));
            if add.is_empty() && remove.is_empty() {
                Vec::new()
            } else {
                vec![Delta::Edit { add, remove }]
            }
        }
        _ if before == after => Vec::new(),
        _ => vec![Delta::Set(after)],
    }
}

fn entries(value: &Value) -> &[String] {
    if let Value::List(entries) = value { entries } else { &[] }
}
