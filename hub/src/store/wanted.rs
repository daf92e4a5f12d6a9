//! Rows that parked changes wait for: who is to be asked, and what operators see.
//!
//! A parked change is released by itself when all it needs is there, and never dropped.
//! What never comes is mostly with a gateway that has much to send, or is kept back
//! there: after an hour the gateways are asked to send it first, seldom enough for the
//! link that is paid by the byte. What is in quarantine nobody can send: operators see it.
use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use wadi_protocol::change::Op;
use wadi_protocol::id::RowId;
use wadi_protocol::limits::WANTED_ROWS_MAX;

use super::sql::{Bits, Id, RowKey, number_at};
use super::work::load;
use super::{Catalog, StoreError, admit, changes};

/// The oldest parked changes that are looked at.
const LOOKED_AT_MAX: u32 = 1_024;
/// A change that waits for less is not asked after, in seconds.
const WAIT_S_MIN: u64 = 3_600;
/// A gateway is asked no more often, in seconds.
const ASK_INTERVAL_S: u64 = 86_400;
/// Rows that operators are told of by name.
const MISSING_ROWS_MAX: usize = 16;

/// A row that parked changes wait for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    /// Its table, by name.
    pub table: String,
    /// Its id.
    pub row: RowId,
    /// How many changes wait for it, of the oldest that wait at all.
    pub changes: u64,
    /// When the first of them came, seconds since 1970.
    pub since_s: u64,
    /// Whether a change of the row is in quarantine.
    pub quarantined: bool,
}

/// When the first change came that needs a row, and how many need it.
type Need = (u64, u64);

/// The rows that the oldest parked changes wait for, longest first.
pub(super) fn missing(db: &Connection, catalog: &Catalog) -> Result<Vec<Missing>, StoreError> {
    let mut missing = Vec::new();
    for (key, (since_s, changes)) in awaited(db, catalog)?.into_iter().take(MISSING_ROWS_MAX) {
        let table = catalog.table(key.table)?.name.clone();
        let quarantined = is_quarantined(db, catalog, key)?;
        missing.push(Missing { table, row: key.row, changes, since_s, quarantined });
    }
    Ok(missing)
}

/// The rows that a gateway is to send first, if it has them; none if it was asked lately.
pub(super) fn ask(
    db: &Connection,
    catalog: &Catalog,
    gateway: u32,
    now_s: u64,
) -> Result<Vec<(u16, RowId)>, StoreError> {
    let mut asked = db.prepare_cached("SELECT asked_s FROM wadi_gateway WHERE number = ?1")?;
    let asked_s: u64 = asked.query_row([gateway], |row| number_at(row, 0))?;
    if now_s.abs_diff(asked_s) < ASK_INTERVAL_S {
        return Ok(Vec::new());
    }
    let mut rows = Vec::new();
    for (key, (since_s, _)) in awaited(db, catalog)? {
        let long = now_s.saturating_sub(since_s) >= WAIT_S_MIN;
        if long && rows.len() < WANTED_ROWS_MAX && !is_quarantined(db, catalog, key)? {
            rows.push((key.table, key.row));
        }
    }
    Ok(rows)
}

/// A gateway has heard what is wanted.
pub(super) fn asked(db: &Connection, gateway: u32, now_s: u64) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE wadi_gateway SET asked_s = ?2 WHERE number = ?1")?
        .execute(params![gateway, Bits(now_s)])?;
    Ok(())
}

/// Rows that are not there and that no parked change inserts, longest first.
fn awaited(db: &Connection, catalog: &Catalog) -> Result<Vec<(RowKey, Need)>, StoreError> {
    let mut rows: BTreeMap<RowKey, Need> = BTreeMap::new();
    for entered in changes::parked_first(db, LOOKED_AT_MAX)? {
        for key in admit::needs(catalog, &entered)? {
            let (since_s, count) = rows.entry(key).or_insert((entered.received_s, 0));
            *since_s = entered.received_s.min(*since_s);
            *count += 1;
        }
    }
    let mut awaited = Vec::new();
    for (key, found) in rows {
        let inserts = |entered: &changes::Entered| entered.change.op == Op::Insert;
        if load(db, key)?.is_none() && !changes::parked_of(db, key)?.iter().any(inserts) {
            awaited.push((key, found));
        }
    }
    awaited.sort_by_key(|(key, (since_s, _))| (*since_s, *key));
    Ok(awaited)
}

/// Whether a change of a row is in quarantine, under the table's number or its name.
fn is_quarantined(db: &Connection, catalog: &Catalog, key: RowKey) -> Result<bool, StoreError> {
    let mut query =
        db.prepare_cached("SELECT 1 FROM wadi_quarantine WHERE row = ?1 AND tbl IN (?2, ?3)")?;
    let name = &catalog.table(key.table)?.name;
    Ok(query.exists(params![Id(key.row), key.table.to_string(), name])?)
}
