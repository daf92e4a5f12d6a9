//! Devices that were copied: their runs go on in two places.
//!
//! Nothing is wrong with either line: a copy draws a run, so both count, and what they
//! edit unseen by each other is concurrent. But two people may hold one name, or somebody
//! put an old file back, so operators are told. Of gateways their rounds tell (see `line`).
use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use wadi_protocol::change::Change;
use wadi_protocol::id::{DeviceId, RunId, RunInfo};

use super::StoreError;
use super::sql::{Bits, number_at};

/// Copied devices that a status names.
const COPIED_LISTED_MAX: u32 = 16;

/// A device that goes on in two places.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copied {
    /// Its name.
    pub label: String,
    /// The two runs.
    pub runs: (RunId, RunId),
    /// When that was noticed, seconds since 1970.
    pub noticed_s: u64,
}

/// Look whether the runs of a changeset, just learnt, go on beside others of their line.
pub(super) fn notice(
    db: &Connection,
    runs: &[RunInfo],
    changes: &[Change],
    now_s: u64,
) -> Result<(), StoreError> {
    let mut ends: BTreeMap<(DeviceId, RunId), u64> = BTreeMap::new();
    for dot in changes.iter().map(|change| change.dot) {
        let end = ends.entry((dot.device, dot.run)).or_default();
        *end = dot.seq.max(*end);
    }
    for info in runs {
        if let Some(other) = beside(db, info, ends.get(&(info.device, info.run)))? {
            note(db, info, other, now_s)?;
        }
    }
    Ok(())
}

/// A run that begins where this one does or before it ends, or that it begins before the end of.
fn beside(db: &Connection, info: &RunInfo, end: Option<&u64>) -> Result<Option<RunId>, StoreError> {
    let device = Bits(info.device.0);
    if let Some((parent, seq)) = info.parent {
        let mut sibling = db.prepare_cached(
            "SELECT run FROM wadi_run WHERE device = ?1 AND parent_run = ?2 AND run <> ?3",
        )?;
        let key = params![device, Bits(parent.0), Bits(info.run.0)];
        if let Some(run) = sibling.query_row(key, |row| number_at(row, 0)).optional()? {
            return Ok(Some(RunId(run)));
        }
        let mut later = db.prepare_cached(
            "SELECT 1 FROM wadi_change WHERE device = ?1 AND run = ?2 AND seq > ?3",
        )?;
        if later.exists(params![device, Bits(parent.0), Bits(seq)])? {
            return Ok(Some(parent));
        }
    }
    let Some(end) = end else { return Ok(None) };
    let mut child = db.prepare_cached(
        "SELECT run FROM wadi_run WHERE device = ?1 AND parent_run = ?2 AND parent_seq < ?3",
    )?;
    let key = params![device, Bits(info.run.0), Bits(*end)];
    let run = child.query_row(key, |row| number_at(row, 0)).optional()?;
    Ok(run.map(RunId))
}

fn note(db: &Connection, info: &RunInfo, other: RunId, now_s: u64) -> Result<(), StoreError> {
    let (first, second) = (info.run.min(other), info.run.max(other));
    db.prepare_cached(
        "INSERT INTO wadi_copied (device, label, run, other, noticed_s)
         SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM wadi_gateway WHERE site = ?2)
         ON CONFLICT DO UPDATE SET label = excluded.label, run = excluded.run,
             other = excluded.other, noticed_s = excluded.noticed_s
         WHERE run <> excluded.run OR other <> excluded.other",
    )?
    .execute(params![
        Bits(info.device.0),
        info.label,
        Bits(first.0),
        Bits(second.0),
        Bits(now_s)
    ])?;
    Ok(())
}

/// The devices of which that was noticed last.
pub(super) fn list(db: &Connection) -> Result<Vec<Copied>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT label, run, other, noticed_s FROM wadi_copied
         ORDER BY noticed_s DESC, device LIMIT ?1",
    )?;
    let rows = query.query_map([COPIED_LISTED_MAX], |row| {
        Ok(Copied {
            label: row.get(0)?,
            runs: (RunId(number_at(row, 1)?), RunId(number_at(row, 2)?)),
            noticed_s: number_at(row, 3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
