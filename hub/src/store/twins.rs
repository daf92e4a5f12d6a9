//! Unique fields: rows that share a value wait for a person.
//!
//! What depends on other changes is never a reason to refuse, so twins are
//! both kept and both marked; the mark goes when the value differs again.
use std::collections::BTreeSet;
use std::rc::Rc;

use rusqlite::params;
use wadi_protocol::value::Value;

use super::StoreError;
use super::sql::{Id, RowKey, pack};
use super::work::Work;

/// A value of a unique field.
type Claim = (u16, u16, Vec<u8>);

/// Bring the index and the marks up to date for every row at work.
pub(super) fn renew(work: &mut Work<'_>) -> Result<(), StoreError> {
    let keys: Vec<RowKey> = work.rows.keys().copied().collect();
    let mut claims = BTreeSet::new();
    for key in keys {
        move_claims(work, key, &mut claims)?;
    }
    for claim in &claims {
        mark(work, claim)?;
    }
    Ok(())
}

/// Give up a row's old values and take its new ones.
fn move_claims(
    work: &mut Work<'_>,
    key: RowKey,
    claims: &mut BTreeSet<Claim>,
) -> Result<(), StoreError> {
    let table = work.table(key)?;
    if !table.fields.iter().any(|field| field.unique) {
        return Ok(());
    }
    let shown = work.shown(key)?;
    let row = work.row(key)?;
    let before = if row.before.is_live() { row.shown_before.clone() } else { Rc::default() };
    let after = if row.after.is_live() { shown } else { Rc::default() };
    for field in table.fields.iter().filter(|field| field.unique).map(|field| field.number) {
        let (old, new) = (before.get(&field), after.get(&field));
        if old == new {
            continue;
        }
        // A mark on this row is set again below, where the new value has a twin.
        work.row(key)?.after.twins.retain(|&twin| twin != field);
        for (sql, value) in [
            (
                "DELETE FROM wadi_unique WHERE tbl = ?1 AND field = ?2 AND value = ?3 AND row = ?4",
                old,
            ),
            ("INSERT INTO wadi_unique (tbl, field, value, row) VALUES (?1, ?2, ?3, ?4)", new),
        ] {
            let Some(value) = value.map(pack::<Value>) else {
                continue;
            };
            work.db.prepare_cached(sql)?.execute(params![key.table, field, value, Id(key.row)])?;
            claims.insert((key.table, field, value));
        }
    }
    Ok(())
}

/// Mark every row that holds the value, or none if it is alone.
fn mark(work: &mut Work<'_>, (table, field, value): &Claim) -> Result<(), StoreError> {
    let rows: Vec<Id> = work
        .db
        .prepare_cached("SELECT row FROM wadi_unique WHERE tbl = ?1 AND field = ?2 AND value = ?3")?
        .query_map(params![table, field, value], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for &Id(row) in &rows {
        let key = RowKey { table: *table, row };
        let marked = work.peek(key)?.twins.contains(field);
        if marked != (rows.len() > 1) {
            let twins = &mut work.row(key)?.after.twins;
            twins.retain(|twin| twin != field);
            if rows.len() > 1 {
                twins.push(*field);
                twins.sort_unstable();
            }
        }
    }
    Ok(())
}
