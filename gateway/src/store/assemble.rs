//! Filling a changeset: pending changes in the order of their arrival, urgent
//! ones first, groups whole, up to the target.
use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, Row};
use wadi_protocol::change::Change;
use wadi_protocol::id::{DeviceId, RunId, RunInfo};
use wadi_protocol::limits::{CHANGESET_BYTES_TARGET, CHANGESET_CHANGES_MAX, GROUP_CHANGES_MAX};
use wadi_protocol::wire::batch::{self, Batch};

use super::error::Problem;
use super::open::run_info;
use super::promote::promoted;
use super::work::{Work, decode};

/// Encoded bytes of changes looked at for one changeset: a batch is several
/// times smaller than its changes one by one.
const LOOKED_AT_BYTES_MAX: usize = 16 * CHANGESET_BYTES_TARGET;

/// The pending changes that go next, as many groups as fit the target, one at
/// least: local ids, the batch and its encoding. Nothing pending gives no bytes.
pub(super) fn assemble(work: &Work<'_>) -> Result<(Vec<i64>, Batch, Vec<u8>), Problem> {
    let Gathered { groups, changes, .. } = gather(work)?;
    let mut batch = Batch { changes, ..Batch::default() };
    let mut take = groups.len();
    loop {
        let ids: Vec<i64> = groups[..take].concat();
        if ids.is_empty() {
            return Ok((ids, Batch::default(), Vec::new()));
        }
        batch.changes.truncate(ids.len());
        batch.runs = runs_of(work, &batch)?;
        let body = batch::encode(&batch);
        if body.len() <= CHANGESET_BYTES_TARGET || take == 1 {
            return Ok((ids, batch, body));
        }
        let aim = take * CHANGESET_BYTES_TARGET / body.len();
        take = aim.clamp(1, take - 1);
    }
}

/// Groups for a changeset, as they come.
#[derive(Default)]
struct Gathered {
    groups: Vec<Vec<i64>>,
    changes: Vec<Change>,
    bytes: usize,
    /// Run and first sequence of the group that the last change is of.
    open: Option<(i64, i64)>,
}

/// A pending change: local id, body, run, first sequence of its group.
type Line = (i64, Vec<u8>, i64, Option<i64>);

fn line(row: &Row<'_>) -> rusqlite::Result<Line> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

impl Gathered {
    /// Take a change; false when there is enough and a new group would begin.
    fn take(&mut self, (id, body, run, first): Line) -> Result<bool, Problem> {
        let group = first.map(|first| (run, first));
        let joins = group.is_some() && group == self.open;
        let full = self.bytes >= LOOKED_AT_BYTES_MAX || self.changes.len() >= CHANGESET_CHANGES_MAX;
        if full && !joins {
            return Ok(false);
        }
        self.bytes += body.len();
        self.changes.push(decode("a change", &body)?);
        match self.groups.last_mut() {
            Some(last) if joins => last.push(id),
            _ => self.groups.push(vec![id]),
        }
        self.open = group;
        Ok(true)
    }
}

/// Pending changes, urgent first, then in the order of their arrival.
fn gather(work: &Work<'_>) -> Result<Gathered, Problem> {
    let mut gathered = Gathered::default();
    let first = promoted(work)?;
    let mut enough = false;
    for &id in &first {
        let sql = "SELECT id, body, run, grp FROM wadi_change WHERE id = ?";
        let found = work.one(sql, (id,), line)?;
        let found = found.ok_or_else(|| Problem::Damaged(format!("change {id} is gone")))?;
        enough = enough || !gathered.take(found)?;
    }
    let mut statement = work.prepare(
        "SELECT id, body, run, grp FROM wadi_change WHERE custody = 0 AND custody <> 1
         ORDER BY id LIMIT ?",
    )?;
    let looked_at = first.len() + CHANGESET_CHANGES_MAX + GROUP_CHANGES_MAX;
    let mut rows = statement.query((looked_at as i64,))?;
    while let Some(row) = rows.next()?
        && !enough
    {
        if !first.contains(&row.get(0)?) {
            enough = !gathered.take(line(row)?)?;
        }
    }
    // The last group may have passed the limit: it waits, unless it is alone.
    if gathered.changes.len() > CHANGESET_CHANGES_MAX && gathered.groups.len() > 1 {
        gathered.groups.pop();
    }
    Ok(gathered)
}

/// The runs of a batch and those on their lines, sorted.
fn runs_of(work: &Work<'_>, batch: &Batch) -> Result<Vec<RunInfo>, Problem> {
    let mut wanted: Vec<(DeviceId, RunId)> =
        batch.changes.iter().map(|change| (change.dot.device, change.dot.run)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut found = BTreeSet::new();
    let mut runs = Vec::new();
    let mut statement = work.prepare(
        "SELECT device, run, parent_run, parent_seq, label FROM wadi_run WHERE device = ? AND run = ? AND told",
    )?;
    while let Some((device, run)) = wanted.pop() {
        if !found.insert((device, run)) {
            continue;
        }
        let info = statement
            .query_row((device.0 as i64, run.0 as i64), |row| run_info(row, 0))
            .optional()?;
        if let Some(info) = info {
            wanted.extend(info.parent.map(|(parent, _)| (device, parent)));
            runs.push(info);
        }
    }
    runs.sort_by_key(|info| (info.device, info.run));
    Ok(runs)
}
