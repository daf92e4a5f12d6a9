//! From touched rows to written rows: resolution, the delete rule, marks, tables and log.
//!
//! Each row is resolved once, from all its changes; nothing here depends on
//! the order in which they came. Everything is written at the end, so that
//! until then the database says what was before.
use std::collections::BTreeSet;

use rusqlite::{CachedStatement, Connection, params};
use wadi_protocol::change::{Delta, Op};
use wadi_protocol::limits::EFFECT_BYTES_MAX;
use wadi_protocol::schema::{OnDelete, Scope};
use wadi_protocol::value::Value;

use super::log::{self, Entry};
use super::sql::{Bits, Id, RowKey, pack, packed_len};
use super::work::{Fields, RowWork, Work, children, parents};
use super::{StoreError, deletion, put_stored, review, scope, twins, typed};

/// What one of these takes at least, whatever it holds.
const EFFECT_BYTES: usize = 64;

/// Bring everything up to date that the rows at work affect, and write it.
pub(super) fn finish(work: &mut Work<'_>) -> Result<(), StoreError> {
    let touched: Vec<RowKey> = work.rows.keys().copied().collect();
    let mut seeds: BTreeSet<RowKey> = touched.iter().copied().collect();
    for &key in &touched {
        let table = work.table(key)?;
        seeds.extend(parents(table, &work.row(key)?.before.fields).map(|(parent, ..)| parent));
        work.renew(key)?;
        index_references(work, key)?;
    }
    deletion::decide(work, &seeds)?;
    call_referencing(work)?;
    twins::renew(work)?;
    let leavers = leavers(work)?;
    for &key in &leavers {
        work.row(key)?;
    }
    write(work, &leavers)
}

/// Bring the index of references up to date with a row's new values.
fn index_references(work: &mut Work<'_>, key: RowKey) -> Result<(), StoreError> {
    let table = work.table(key)?;
    let db = work.db;
    let row = work.row(key)?;
    let to = |fields| parents(table, fields).map(|(parent, field, _)| (parent, field));
    let old: Vec<(RowKey, u16)> = to(&row.before.fields).collect();
    let new: Vec<(RowKey, u16)> = to(&row.after.fields).collect();
    for (parent, field) in old.iter().filter(|reference| !new.contains(reference)) {
        db.prepare_cached(
            "DELETE FROM wadi_reference
             WHERE to_tbl = ?1 AND to_row = ?2 AND tbl = ?3 AND row = ?4 AND field = ?5",
        )?
        .execute(params![parent.table, Id(parent.row), key.table, Id(key.row), field])?;
    }
    for (parent, field) in new.iter().filter(|reference| !old.contains(reference)) {
        db.prepare_cached(
            "INSERT INTO wadi_reference (to_tbl, to_row, tbl, row, field)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![parent.table, Id(parent.row), key.table, Id(key.row), field])?;
    }
    Ok(())
}

/// Put to work the rows whose reference shows null, or no longer does, since its target changed fate.
fn call_referencing(work: &mut Work<'_>) -> Result<(), StoreError> {
    let turned: Vec<RowKey> = work
        .rows
        .iter()
        .filter(|(_, row)| row.before.dead != row.after.dead)
        .map(|(key, _)| *key)
        .collect();
    for key in turned {
        for (child, field) in children(work.db, key)? {
            let fields = &work.peek(child)?.fields;
            let nulled = parents(work.table(child)?, fields)
                .any(|(_, at, rule)| at == field && rule == OnDelete::SetNull);
            if nulled {
                work.row(child)?;
            }
        }
    }
    Ok(())
}

/// Rows of narrow scope that lose a reference, and those above them: sites that held them
/// for its sake may have to let go. The log must say when.
fn leavers(work: &Work<'_>) -> Result<BTreeSet<RowKey>, StoreError> {
    let mut leavers = BTreeSet::new();
    let mut open = Vec::new();
    for (key, row) in work.rows.iter().filter(|(_, row)| row.before.known) {
        let table = work.table(*key)?;
        let old = parents(table, &row.before.fields).map(|(parent, ..)| parent);
        let stays =
            row.after.is_live() && scope::moves(work.db, table, &row.before, &row.after)?.is_none();
        let new: BTreeSet<RowKey> = if stays {
            parents(table, &row.after.fields).map(|(parent, ..)| parent).collect()
        } else {
            BTreeSet::new()
        };
        open.extend(old.filter(|parent| !new.contains(parent)));
    }
    while let Some(key) = open.pop() {
        let table = work.table(key)?;
        let state = work.peek(key)?;
        if table.scope != Scope::Global && state.known && leavers.insert(key) {
            open.extend(parents(table, &state.fields).map(|(parent, ..)| parent));
        }
    }
    Ok(leavers)
}

/// Write every row at work whose state changed or that a change touched.
fn write(work: &mut Work<'_>, leavers: &BTreeSet<RowKey>) -> Result<(), StoreError> {
    let keys: Vec<RowKey> = work.rows.keys().copied().collect();
    let mut effects = 0;
    let mut writer = Writer::new(work.db)?;
    for key in keys {
        let shown = work.shown(key)?;
        let (table, db, now_s) = (work.table(key)?, work.db, work.now_s);
        let row = &work.rows[&key];
        let mut entries = log::entries(table, row, &shown, work.head);
        if entries.is_empty() && leavers.contains(&key) {
            entries.push(Entry { seq: work.head, ..Entry::default() });
        }
        if entries.is_empty() && row.before == row.after && row.resolved.is_none() {
            continue;
        }
        if row.touches.is_empty() && !entries.is_empty() {
            // Where no change was numbered, what moved needs a sequence of its own.
            if work.head == work.start || effects > EFFECT_BYTES_MAX {
                work.next_seq();
                effects = 0;
            }
            effects += EFFECT_BYTES + packed_len(&*shown);
            entries.iter_mut().for_each(|entry| entry.seq = work.head);
        }
        let row = work.row(key)?;
        let moves = scope::moves(db, table, &row.before, &row.after)?;
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            if !row.before.known {
                row.after.first_seq = first.seq;
            }
            row.after.last_seq = last.seq;
        }
        if let (Some(from), Some(last)) = (moves, entries.last_mut()) {
            // All of it goes to its new site, and the old one may have it.
            row.after.moved_seq = last.seq;
            log::whole(last);
            if let Some(from) = from {
                scope::set_perhaps_present(db, from, key)?;
            }
        }
        for entry in &entries {
            writer.log.insert(table, key, entry)?;
        }
        writer.row(key, row)?;
        write_candidates(db, key, row)?;
        let waiting = (row.before.waiting(), row.after.waiting());
        review::renew(db, key, (&waiting.0, &waiting.1), row.after.last_seq, now_s)?;
        writer.typed.write(table, key, row.after.is_live().then_some(&*shown))?;
    }
    put_stored(work.db, "head", work.head)
}

/// The statements that every row needs, at hand for all of them.
struct Writer<'a> {
    log: log::Writer<'a>,
    typed: typed::Writer<'a>,
    row: CachedStatement<'a>,
}

impl<'a> Writer<'a> {
    fn new(db: &'a Connection) -> Result<Writer<'a>, StoreError> {
        let row = db.prepare_cached(
            "INSERT OR REPLACE INTO wadi_row (tbl, row, site, first_seq, last_seq, deleted, dead,
                 kept, fields, review, twins, chain, moved_seq)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?;
        Ok(Writer { log: log::Writer::new(db)?, typed: typed::Writer::new(db), row })
    }

    fn row(&mut self, key: RowKey, row: &RowWork) -> Result<(), StoreError> {
        let state = &row.after;
        self.row.execute(params![
            key.table,
            Id(key.row),
            state.site,
            Bits(state.first_seq),
            Bits(state.last_seq),
            state.deleted,
            state.dead,
            state.kept,
            pack::<Fields>(&state.fields),
            pack(&state.review),
            pack(&state.twins),
            state.chain.as_ref().map(pack),
            Bits(state.moved_seq),
        ])?;
        Ok(())
    }
}

/// Keep the candidates of fields that have several, or wait for a person.
fn write_candidates(db: &Connection, key: RowKey, row: &RowWork) -> Result<(), StoreError> {
    let Some((changes, resolved)) = &row.resolved else {
        return Ok(());
    };
    if row.before.known {
        db.prepare_cached("DELETE FROM wadi_candidate WHERE tbl = ?1 AND row = ?2")?
            .execute(params![key.table, Id(key.row)])?;
    }
    let mut insert = db.prepare_cached(
        "INSERT INTO wadi_candidate (tbl, row, field, device, run, seq, value, winner, review)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let mut put = |field: u16, index: usize, winner: bool, review: bool| {
        let change = &changes[index].change;
        insert.execute(params![
            key.table,
            Id(key.row),
            field,
            Bits(change.dot.device.0),
            Bits(change.dot.run.0),
            Bits(change.dot.seq),
            pack(&candidate(change.op, change.delta(field), field)),
            winner,
            review
        ])
    };
    let existence = &resolved.existence;
    if existence.conflict || existence.review {
        for &index in &existence.candidates {
            // By the row's own changes; what the delete rule makes of it is not theirs.
            let gone = Some(Delta::Set(Value::Bool(false)));
            let said = candidate(changes[index].change.op, changes[index].change.delta(0), 0);
            let wins = (said == gone) != existence.deletes.is_empty();
            put(0, index, wins, existence.review)?;
        }
    }
    for field in resolved.fields.iter().filter(|field| field.conflict || field.review) {
        for &index in &field.candidates {
            let wins = field.winner == Some(index) || field.shown.contains(&index);
            put(field.field, index, wins, field.review)?;
        }
    }
    Ok(())
}

/// What a candidate says of a field; an insert that does not carry it says null, a change
/// of the whole record that does not carry it says nothing.
fn candidate(op: Op, delta: Option<&Delta>, field: u16) -> Option<Delta> {
    match delta {
        Some(delta) => Some(delta.clone()),
        None if field == 0 => Some(Delta::Set(Value::Bool(op != Op::Delete))),
        None if op == Op::Insert => Some(Delta::Set(Value::Null)),
        None => None,
    }
}
