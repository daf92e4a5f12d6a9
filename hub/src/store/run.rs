//! The hub's own line of runs.
//!
//! A version names a run; which of our sequences it stands for is decided
//! here, once, at arrival. A run that this line does not hold stands for
//! nothing: that claims less, which can only cost a conflict.
use rusqlite::{Connection, OptionalExtension, params};
use wadi_protocol::id::{RowVersion, RunId};

use super::sql::{Bits, number_at};
use super::{Draw, Store, StoreError, head, restored};

impl Store {
    /// Draw a run: every start that will number changes does.
    pub fn begin_run(&mut self, now_s: u64) -> Result<RunId, StoreError> {
        let draw = self.draw.clone();
        self.run = self.write(|tx, _| begin_run(tx, &draw, now_s))?;
        Ok(self.run)
    }

    /// Whether this hub continues what a gateway knows: its run is ours (or none yet)
    /// and the greatest sequence that was heard of it lies within it.
    pub fn continues(&self, run: RunId, heard: u64) -> Result<bool, StoreError> {
        if run == RunId::NONE {
            return Ok(heard == 0);
        }
        Ok(end_of(&self.db, run)?.is_some_and(|end| heard <= end))
    }
}

/// Draw a run that continues the last one.
pub(super) fn begin_run(db: &Connection, draw: &Draw, now_s: u64) -> Result<RunId, StoreError> {
    let run = RunId::from_random(draw.bits()?);
    let parent = current_run(db)?;
    db.execute(
        "INSERT INTO wadi_hub_run (run, parent, start, started_s) VALUES (?1, ?2, ?3, ?4)",
        params![Bits(run.0), Bits(parent.0), Bits(head(db)?), Bits(now_s)],
    )?;
    Ok(run)
}

/// The last run drawn; none before the first.
pub(super) fn current_run(db: &Connection) -> Result<RunId, StoreError> {
    let mut query =
        db.prepare_cached("SELECT run FROM wadi_hub_run ORDER BY number DESC LIMIT 1")?;
    let run = query.query_row([], |row| number_at(row, 0)).optional()?;
    Ok(RunId(run.unwrap_or_default()))
}

/// The last sequence that belongs to a run of our line.
fn end_of(db: &Connection, run: RunId) -> Result<Option<u64>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT (SELECT next.start FROM wadi_hub_run next
                 WHERE next.number > this.number ORDER BY next.number LIMIT 1)
         FROM wadi_hub_run this WHERE this.run = ?1",
    )?;
    let next = query.query_row([Bits(run.0)], |row| row.get::<_, Option<Bits>>(0)).optional()?;
    Ok(match next {
        None => None,
        Some(Some(Bits(start))) => Some(start),
        Some(None) => Some(head(db)?),
    })
}

/// The last runs of our line, the newest first, each with its last sequence.
pub(super) fn newest(db: &Connection, count: usize) -> Result<Vec<(RunId, u64)>, StoreError> {
    let mut query =
        db.prepare_cached("SELECT run FROM wadi_hub_run ORDER BY number DESC LIMIT ?1")?;
    let runs = query.query_map([count as i64], |row| Ok(RunId(number_at(row, 0)?)))?;
    let runs = runs.collect::<Result<Vec<RunId>, _>>()?;
    runs.into_iter().map(|run| Ok((run, end_of(db, run)?.unwrap_or(0)))).collect()
}

/// The sequence of ours that a version stands for, if its run is of our own line.
pub(super) fn own(db: &Connection, version: RowVersion) -> Result<Option<u64>, StoreError> {
    Ok(end_of(db, version.hub)?.map(|end| version.seq.min(end)))
}

/// The sequence of ours that a version stands for, in a change that a gateway brings:
/// of a run of a hub that is lost, as far as that was ours.
pub(super) fn expand(
    db: &Connection,
    gateway: u32,
    version: RowVersion,
) -> Result<u64, StoreError> {
    if version.seq == 0 || version.hub == RunId::NONE {
        return Ok(0);
    }
    if let Some(seq) = own(db, version)? {
        return Ok(seq);
    }
    let fork = restored::fork(db, gateway, version.hub)?;
    Ok(fork.map_or(0, |fork| version.seq.min(fork)))
}
