//! Undoing a settle: a ruling by which it says nothing any more.
//!
//! The case is open again as it was, with whatever has come since; an edit by someone
//! who had seen the decision has seen the case, and joins it.
use rusqlite::{Connection, OptionalExtension, params};
use wadi_protocol::change::Op;
use wadi_protocol::id::Dot;
use wadi_protocol::ruling::Word;

use super::operators::{self, Names};
use super::repair::rule;
use super::review::{Case, case_of, closed_case, open_number};
use super::sql::{Bits, Id, dot_at};
use super::{Store, StoreError, changes, run};

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Undone {
    /// The settle.
    pub settle: Dot,
    /// The case that is open again, if the field waits again.
    pub case: Option<u64>,
}

impl Store {
    /// Undo the settle that closed a case.
    pub fn undo(&mut self, number: u64, now_s: u64) -> Result<Undone, StoreError> {
        let draw = self.draw.clone();
        self.write(|tx, catalog| {
            let (case, closed_seq) = closed_case(tx, catalog, number)?;
            let settle = settle_of(tx, &case, closed_seq)?.ok_or_else(|| {
                StoreError::Refused(format!(
                    "case {number} was closed by no decision about it: see `wadi-hub history {} {}`",
                    case.names.0, case.key.row
                ))
            })?;
            let stored = changes::find(tx, settle)?;
            if stored.is_some_and(|stored| stored.change.op == Op::Undone) {
                return Err(StoreError::Refused(format!(
                    "case {number}: its settle is undone already"
                )));
            }
            run::begin_run(tx, &draw, now_s)?;
            let mut names = Names::draw(tx, &draw)?;
            let act = rule(tx, &mut names, settle, Word::Undo, now_s)?;
            operators::take(tx, catalog, &[act], now_s)?;
            Ok(Undone { settle, case: open_number(tx, case.key, case.field)? })
        })
    }

    /// Closed cases, the newest first; whether each was closed by a settle that counts.
    pub fn closed_cases(&self, most: usize) -> Result<Vec<(Case, u64, bool)>, StoreError> {
        self.read(|tx, catalog| {
            let mut query = tx.prepare_cached(
                "SELECT number, closed_seq, closed_s FROM wadi_review
                 WHERE closed_seq IS NOT NULL ORDER BY closed_seq DESC, number DESC LIMIT ?1",
            )?;
            let found = query
                .query_map([most as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<Result<Vec<(Bits, Bits, Bits)>, _>>()?;
            let mut closed = Vec::with_capacity(found.len());
            for (Bits(number), Bits(seq), Bits(closed_s)) in found {
                let case = case_of(tx, catalog, number)?;
                let by_settle = match settle_of(tx, &case, seq)? {
                    Some(settle) => changes::find(tx, settle)?
                        .is_some_and(|stored| stored.change.op == Op::Settle),
                    None => false,
                };
                closed.push((case, closed_s, by_settle));
            }
            Ok(closed)
        })
    }
}

/// The settle that closed a case, undone or not.
fn settle_of(db: &Connection, case: &Case, closed_seq: u64) -> Result<Option<Dot>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT device, run, seq FROM wadi_change
         WHERE tbl = ?1 AND row = ?2 AND hub_seq = ?3 AND device = ?4",
    )?;
    let operators = operators::device(db)?;
    let key = params![case.key.table, Id(case.key.row), Bits(closed_seq), Bits(operators.0)];
    let dot = query.query_row(key, |row| dot_at(row, 0)).optional()?;
    let Some(dot) = dot else { return Ok(None) };
    let settles = |op| matches!(op, Op::Settle | Op::Undone);
    let stored = changes::find(db, dot)?;
    Ok(stored.filter(|stored| settles(stored.change.op)).map(|_| dot))
}
