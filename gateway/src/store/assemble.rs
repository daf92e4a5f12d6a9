//! Filling a changeset: pending changes in the order of their arrival, urgent
//! ones first, groups whole, up to the target; and writing it, see [`super::models`].
//!
//! A changeset with something urgent is a small one: on a slow link that would wait for
//! whatever goes along. Some of the rest does, lest it wait for ever where there is always
//! something urgent. And where urgent changes may come at all, the others go in smaller
//! changesets: what is urgent waits for the one that is open.
use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row};
use wadi_protocol::change::Change;
use wadi_protocol::id::{DeviceId, RunId, RunInfo};
use wadi_protocol::limits::{
    CHANGESET_BYTES_TARGET, CHANGESET_CHANGES_MAX, CODED_CHANGES_TARGET, GROUP_CHANGES_MAX,
};
use wadi_protocol::schema::Schema;
use wadi_protocol::wire::batch::Batch;
use wadi_protocol::wire::coded::{CODEC_PLAIN, Named, Written, write_batch};

use super::error::Problem;
use super::latest;
use super::models::{self, Direction};
use super::open::run_info;
use super::promote::{promoted, urgent_list};
use super::work::{Work, decode};

/// With something urgent a changeset is filled up to this many encoded bytes: half a second
/// at 30 kbit/s, and one message.
const URGENT_BYTES_TARGET: usize = 2 * 1024;
/// Where a table is urgent, the others' changesets are filled up to this many encoded bytes:
/// at 30 kbit/s and 600 ms a round of them, begun anew on a link that has just opened, and one
/// for what is urgent behind it are done within 10 s.
const PATIENT_BYTES_TARGET: usize = 8 * 1024;
/// Encoded bytes of changes are looked at, so many for each byte of the target: a batch is
/// several times smaller than its changes one by one.
const LOOKED_AT_TIMES: usize = 16;

/// The pending changes that go next, as many groups as fit the target, one at
/// least: local ids, the batch and how it is written. Nothing pending gives no bytes. With
/// `only_urgent` the others stay, and so much of the urgent ones goes as fits one message.
pub(super) fn assemble(
    work: &mut Work<'_>,
    only_urgent: bool,
) -> Result<(Vec<i64>, Batch, Written), Problem> {
    let before = model(work)?;
    let at_most = if before.is_some() { CODED_CHANGES_TARGET } else { CHANGESET_CHANGES_MAX };
    let Gathered { groups, changes, urgent, .. } = gather(work, at_most, only_urgent)?;
    let schema = work.schema();
    let patient = match urgent {
        _ if only_urgent => URGENT_BYTES_TARGET,
        0 => patient_bytes(schema.as_deref()),
        _ => CHANGESET_BYTES_TARGET,
    };
    // What a restored hub knows of our schema is not known here, see [`latest`].
    let schema = schema.filter(|_| work.ground.lost_hub == RunId::NONE);
    let mut take = groups.len();
    loop {
        let ids: Vec<i64> = groups[..take].concat();
        if ids.is_empty() {
            return Ok((ids, Batch::default(), Written { bytes: Vec::new(), after: None }));
        }
        let changes = &changes[..ids.len()];
        let (batch, written) = write(&work.tx, schema.as_deref(), before.as_ref(), changes)?;
        let len = written.bytes.len();
        let (target, least) = match urgent {
            1.. if take > urgent => (URGENT_BYTES_TARGET, urgent),
            _ => (patient, 1),
        };
        if len <= target || take == 1 {
            return Ok((ids, batch, written));
        }
        take = (take * target / len).clamp(least, take - 1);
    }
}

/// How many bytes a changeset with nothing urgent is filled up to.
pub(super) fn patient_bytes(schema: Option<&Schema>) -> usize {
    if urgent_list(schema).is_empty() { CHANGESET_BYTES_TARGET } else { PATIENT_BYTES_TARGET }
}

/// Changes as they travel together.
pub(super) fn write(
    db: &Connection,
    schema: Option<&Schema>,
    model: Option<&Named>,
    changes: &[Change],
) -> Result<(Batch, Written), Problem> {
    let mut batch = Batch { changes: latest::net(schema, changes), ..Batch::default() };
    batch.runs = runs_of(db, &batch)?;
    let written = write_batch(model, &batch);
    Ok((batch, written))
}

/// The model that changesets are written against; none while the hub has not proposed it.
fn model(work: &mut Work<'_>) -> Result<Option<Named>, Problem> {
    let codec = work.one("SELECT codec FROM wadi_store", (), |row| row.get::<_, u8>(0))?;
    if codec.is_none_or(|codec| codec <= CODEC_PLAIN) {
        return Ok(None);
    }
    let name = models::newest(&work.tx, Direction::Up)?;
    let found = models::find(work, Direction::Up, name)?;
    Ok(Some(found.unwrap_or_else(Named::empty)))
}

/// Groups for a changeset, as they come.
#[derive(Default)]
struct Gathered {
    groups: Vec<Vec<i64>>,
    changes: Vec<Change>,
    bytes: usize,
    /// Groups that are urgent; they come first.
    urgent: usize,
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
    fn take(&mut self, (id, body, run, first): Line, at_most: usize) -> Result<bool, Problem> {
        let group = first.map(|first| (run, first));
        let joins = group.is_some() && group == self.open;
        let target = if self.urgent > 0 { URGENT_BYTES_TARGET } else { CHANGESET_BYTES_TARGET };
        let full = self.bytes >= LOOKED_AT_TIMES * target || self.changes.len() >= at_most;
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

/// Pending changes, urgent first, then in the order of their arrival: so many, and what is
/// left of the last group. Or only those that are urgent.
fn gather(work: &Work<'_>, at_most: usize, only_urgent: bool) -> Result<Gathered, Problem> {
    let mut gathered = Gathered::default();
    let first = promoted(work)?;
    let mut enough = false;
    for &id in &first {
        let sql = "SELECT id, body, run, grp FROM wadi_change WHERE id = ?";
        let found = work.one(sql, (id,), line)?;
        let found = found.ok_or_else(|| Problem::Damaged(format!("change {id} is gone")))?;
        enough = enough || !gathered.take(found, at_most)?;
    }
    gathered.urgent = gathered.groups.len();
    enough |= only_urgent;
    let mut statement = work.prepare(
        "SELECT id, body, run, grp FROM wadi_change WHERE custody = 0 AND custody <> 1
         ORDER BY id LIMIT ?",
    )?;
    let looked_at = first.len() + at_most + GROUP_CHANGES_MAX;
    let mut rows = statement.query((looked_at as i64,))?;
    while !enough && let Some(row) = rows.next()? {
        if !first.contains(&row.get(0)?) {
            enough = !gathered.take(line(row)?, at_most)?;
        }
    }
    // The last group may have passed the limit: it waits, unless it is alone.
    if gathered.changes.len() > CHANGESET_CHANGES_MAX && gathered.groups.len() > 1 {
        gathered.groups.pop();
    }
    Ok(gathered)
}

/// The runs of a batch and those on their lines, sorted.
fn runs_of(db: &Connection, batch: &Batch) -> Result<Vec<RunInfo>, Problem> {
    let mut wanted: Vec<(DeviceId, RunId)> =
        batch.changes.iter().map(|change| (change.dot.device, change.dot.run)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut found = BTreeSet::new();
    let mut runs = Vec::new();
    let mut statement = db.prepare_cached(
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
