//! Stretches of a run's sequences: what is known of changes that are not kept here
//! whole, a watermark and its gaps.
//!
//! Stretches of one table neither touch nor overlap, so there are as many of a run as
//! it has gaps, whatever the number of changes.
use rusqlite::{Connection, OptionalExtension};

use super::error::Problem;
use super::work::Work;

/// Whose stretches: a table with the columns run, first and last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kind(&'static str);

/// Changes that other gateways brought and base covers.
pub(crate) const KNOWN: Kind = Kind("wadi_known");
/// Those of a hub that is lost, which rows may count that the one in its place has not told of.
pub(crate) const LOST_KNOWN: Kind = Kind("wadi_lost_known");
/// Changes that were kept here and are in a backup of the hub.
pub(crate) const COMPACTED: Kind = Kind("wadi_compacted");

/// Put a stretch to those that it touches.
pub(crate) fn join(
    work: &Work<'_>,
    kind: Kind,
    run: i64,
    (first, last): (i64, i64),
) -> Result<(), Problem> {
    let Kind(table) = kind;
    let touching = "run = ?1 AND first <= ?3 + 1 AND last >= ?2 - 1";
    let joined = work.one(
        &format!("SELECT min(first), max(last) FROM {table} WHERE {touching}"),
        (run, first, last),
        |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?)),
    )?;
    let (least, greatest) = joined.unwrap_or((None, None));
    work.run(&format!("DELETE FROM {table} WHERE {touching}"), (run, first, last))?;
    let (first, last) = (least.unwrap_or(first).min(first), greatest.unwrap_or(last).max(last));
    let insert = format!("INSERT INTO {table} (run, first, last) VALUES (?, ?, ?)");
    work.run(&insert, (run, first, last))?;
    Ok(())
}

/// Whether a sequence lies in a stretch.
pub(crate) fn covers(db: &Connection, kind: Kind, run: i64, seq: u64) -> Result<bool, Problem> {
    let Kind(table) = kind;
    let sql = format!(
        "SELECT last FROM {table} WHERE run = ? AND first <= ? ORDER BY first DESC LIMIT 1"
    );
    let last: Option<i64> =
        db.prepare_cached(&sql)?.query_row((run, seq as i64), |row| row.get(0)).optional()?;
    Ok(last.is_some_and(|last| seq as i64 <= last))
}

/// The greatest sequence of a run that lies in one.
pub(crate) fn last(db: &Connection, kind: Kind, run: i64) -> Result<Option<u64>, Problem> {
    let Kind(table) = kind;
    let sql = format!("SELECT last FROM {table} WHERE run = ? ORDER BY first DESC LIMIT 1");
    let last: Option<i64> =
        db.prepare_cached(&sql)?.query_row((run,), |row| row.get(0)).optional()?;
    Ok(last.map(|last| last as u64))
}

/// Ascending numbers as stretches (first, last).
pub(crate) fn of(numbers: impl IntoIterator<Item = i64>) -> Vec<(i64, i64)> {
    let mut stretches: Vec<(i64, i64)> = Vec::new();
    for number in numbers {
        match stretches.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => stretches.push((number, number)),
        }
    }
    stretches
}
