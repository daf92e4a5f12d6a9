//! The intake door: what handhelds offer, appended as received.
//!
//! Batches of several callers share one transaction and so one fsync. A change
//! is appended whatever it holds; laying it over comes after, in a savepoint of
//! its group: what cannot be laid stays pending, unshown and marked, for the hub
//! to judge.
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rusqlite::ErrorCode;
use wadi_protocol::change::{Change, TableRef};
use wadi_protocol::id::{DeviceId, Dot, RunInfo};
use wadi_protocol::limits::{
    CHANGE_BYTES_HARD_MAX, CHANGESET_BYTES_MAX, CLOCK_S_MAX, CLOCK_S_MIN, DRIFT_SECONDS_MAX,
    GROUP_CHANGES_MAX,
};
use wadi_protocol::schema::judge::judge;
use wadi_protocol::stamp::{Stamp, is_lost};
use wadi_protocol::wire::batch::Batch;

use super::error::{IntakeError, Problem, StoreError};
use super::image::Key;
use super::log::Reach;
use super::work::{Work, encode};
use super::{Custody, PENDING_CHANGES_MAX, Store, log, picture, restored};

/// When to ask again after Busy.
const BUSY_RETRY_MS: u32 = 2_000;
/// The same, where somebody has to make room first.
const SCARCE_RETRY_MS: u32 = 10_000;

impl Store {
    /// Take several batches, each whole or not at all, in one transaction. When
    /// this returns `Ok` for a batch, each of its changes is fsynced here (or was
    /// before).
    pub fn intake(
        &mut self,
        batches: &[Batch],
        now_s: u64,
    ) -> Result<Vec<Result<(), IntakeError>>, StoreError> {
        let own = self.ground.device;
        let mut answers: Vec<_> = batches.iter().map(|batch| check(batch, own)).collect();
        let full = self.ground.waiting >= PENDING_CHANGES_MAX;
        let scarce = self.ground.scarce;
        let outcome = if let Some(reason) = scarce {
            Err(reason.to_owned())
        } else if full {
            Err(format!(
                "{PENDING_CHANGES_MAX} changes wait for the hub here; the gateway must reach it first"
            ))
        } else {
            let wanted = || batches.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
            let take_all = |work: &mut Work<'_>| {
                let mut groups = Vec::new();
                wanted().try_for_each(|(batch, _)| take(work, batch, &mut groups))?;
                lay(work, &groups)
            };
            match self.write(now_s, take_all) {
                Ok(()) => Ok(()),
                Err(error) if error.problem.is_passing() => Err(error.problem.to_string()),
                Err(error) => return Err(error),
            }
        };
        if let Err(reason) = outcome {
            let retry_ms = if scarce.is_some() { SCARCE_RETRY_MS } else { BUSY_RETRY_MS };
            let busy = || IntakeError::Busy { reason: reason.clone(), retry_ms };
            answers
                .iter_mut()
                .filter(|answer| answer.is_ok())
                .for_each(|answer| *answer = Err(busy()));
        }
        Ok(answers)
    }
}

/// What must hold of a batch before anything of it is taken.
fn check(batch: &Batch, own: DeviceId) -> Result<(), IntakeError> {
    let refuse =
        |dot: Dot, why: &str| Err(IntakeError::Refused { reason: format!("change {dot} {why}") });
    let mut changes = batch.changes.as_slice();
    while let Some(first) = changes.first() {
        let len = usize::from(first.group.map_or(1, |group| group.len));
        let (group, rest) = match changes.split_at_checked(len) {
            Some(split) if len > 0 && len <= GROUP_CHANGES_MAX => split,
            _ => {
                return refuse(first.dot, "is of a group that is not whole: offer the group whole");
            }
        };
        let mut bytes = 0;
        for (at, change) in group.iter().enumerate() {
            let dot = change.dot;
            let expected = Dot { seq: first.dot.seq.saturating_add(at as u64), ..first.dot };
            let whole = first.group.is_none_or(|group| group.first == first.dot.seq);
            if dot != expected || change.group != first.group || !whole {
                return refuse(dot, "is of a group that is not whole: offer the group whole");
            }
            if dot.seq == 0 || dot.seq > i64::MAX as u64 {
                return refuse(dot, "has an impossible sequence");
            }
            if dot.device == own {
                return refuse(dot, "claims to be this gateway's own");
            }
            let named = |run: &RunInfo| run.device == dot.device && run.run == dot.run;
            if !batch.runs.iter().any(named) {
                return refuse(dot, "is of a run that its batch does not name");
            }
            let size = encode(change).len();
            if size > CHANGE_BYTES_HARD_MAX {
                return refuse(
                    dot,
                    &format!(
                        "takes {size} bytes; {CHANGE_BYTES_HARD_MAX} are allowed: shorten its values"
                    ),
                );
            }
            bytes += size;
        }
        // It must fit one changeset, since a group is never split.
        if bytes > CHANGESET_BYTES_MAX / 2 {
            return refuse(first.dot, "is of a group of too many bytes: make smaller groups");
        }
        changes = rest;
    }
    Ok(())
}

/// Changes that share custody, in the changelog.
pub(crate) struct Appended {
    /// Local ids, and the rows as far as their tables are known.
    lines: Vec<(i64, Option<Key>)>,
    /// Why they cannot be laid, if one of them cannot.
    unfit: Option<String>,
}

/// Where a change that comes is counted already. Whether it is this change that has its dot the
/// hub will say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// In base, by another's hands.
    ByBase,
    /// In what the lost hub had told of its row.
    ByLost,
}

impl Held {
    fn of(
        work: &Work<'_>,
        reach: &Reach,
        run: i64,
        change: &Change,
    ) -> Result<Option<Held>, Problem> {
        if reach.is_known(work, run, change.dot.seq)? {
            return Ok(Some(Held::ByBase));
        }
        if !reach.was_known(work, run, change.dot.seq)? {
            return Ok(None);
        }
        let stale = match table_number(work, change) {
            Some(table) => restored::is_stale(work, (table, change.row))?,
            None => false,
        };
        Ok(stale.then_some(Held::ByLost))
    }
}

/// Append what is not here yet; what is to be laid over goes into `groups`.
fn take(work: &mut Work<'_>, batch: &Batch, groups: &mut Vec<Appended>) -> Result<(), Problem> {
    for info in &batch.runs {
        if info.device != work.ground.device {
            work.register(info)?;
        }
    }
    let mut reaches: BTreeMap<i64, Reach> = BTreeMap::new();
    for group in batch.changes.chunk_by(|a, b| a.group.is_some() && same_group(a, b)) {
        let Dot { device, run, .. } = group[0].dot;
        let run = work
            .run_id(device, run)
            .ok_or_else(|| Problem::Damaged(format!("run {run} was not registered")))?;
        let reach = match reaches.entry(run) {
            Entry::Occupied(reach) => reach.into_mut(),
            Entry::Vacant(place) => place.insert(Reach::of(work, run)?),
        };
        let (mut new, mut held) = (Vec::with_capacity(group.len()), Vec::new());
        for change in group {
            let seq = change.dot.seq;
            if !reach.has(work, run, seq)? {
                held.push(Held::of(work, reach, run, change)?);
                new.push(contain(work, change));
            }
        }
        new.iter().for_each(|change| reach.grow(change.dot.seq));
        if !new.is_empty() {
            let mut appended = append(work, run, &new)?;
            for (place, held) in held.iter().enumerate().rev() {
                let Some(held) = held else { continue };
                let (id, key) = appended.lines.remove(place);
                log::set_laid(work, id, log::DONE, key.map(|(table, _)| table), None)?;
                if *held == Held::ByLost {
                    restored::comes_back(work, id)?;
                }
            }
            groups.push(appended);
        }
    }
    Ok(())
}

/// Append changes that share custody.
pub(crate) fn append(
    work: &mut Work<'_>,
    run: i64,
    changes: &[Change],
) -> Result<Appended, Problem> {
    let unfit = judged(work, changes).err();
    let mut lines = Vec::with_capacity(changes.len());
    for change in changes {
        let table = table_number(work, change);
        let id = log::append(work, run, change, table, unfit.as_deref())?;
        lines.push((id, table.map(|table| (table, change.row))));
    }
    Ok(Appended { lines, unfit })
}

fn same_group(a: &Change, b: &Change) -> bool {
    let name = |change: &Change| (change.dot.device, change.dot.run, change.group);
    name(a) == name(b)
}

/// A stamp beyond the bound is contained, if the hub has said what time it is: nobody
/// can judge by a clock that may be wrong.
fn contain(work: &Work<'_>, change: &Change) -> Change {
    let mut change = change.clone();
    let bound_s = told_s(work).map(|told_s| told_s.saturating_add(DRIFT_SECONDS_MAX));
    if let Some(bound_s) = bound_s.filter(|&bound_s| change.stamp.seconds > bound_s) {
        let ours = Stamp { seconds: bound_s, counter: 0 };
        change.contained = Some(change.contained.map_or(ours, |theirs| theirs.min(ours)));
    }
    change
}

/// What time it is, by our clock where the hub has confirmed it since the start, and by
/// the hub's where ours is lost.
fn told_s(work: &Work<'_>) -> Option<u64> {
    if work.ground.clock_confirmed {
        return Some(work.now_s);
    }
    let told_s = work.now_s.checked_add_signed(work.ground.hub_offset_s?)?;
    (is_lost(work.now_s) && (CLOCK_S_MIN..=CLOCK_S_MAX).contains(&told_s)).then_some(told_s)
}

/// The number of a change's table, once our schema has that.
pub(super) fn table_number(work: &Work<'_>, change: &Change) -> Option<u16> {
    let schema = work.ground.schema.as_ref()?;
    match &change.table {
        TableRef::Number(number) => schema.table(*number).map(|table| table.number),
        TableRef::Name(name) => schema.table_named(name).map(|table| table.number),
    }
}

/// Lay appended groups over, each whole or not at all. Rows are shown once for all of
/// them; only if that fails is every group laid by itself, to find the one.
pub(crate) fn lay(work: &mut Work<'_>, groups: &[Appended]) -> Result<(), Problem> {
    let good = || groups.iter().filter(|group| group.unfit.is_none());
    let all: Vec<Key> = good().flat_map(Appended::rows).collect();
    if work.attempt("lay", |work| show(work, &all))?.is_err() {
        for group in good() {
            group.set_laid(work, log::UNLAID, None)?;
        }
        for group in good() {
            let laid = work.attempt("lay", |work| {
                group.set_laid(work, log::LAID, None)?;
                show(work, &group.rows().collect::<Vec<Key>>())
            })?;
            if let Err(reason) = laid {
                leave(work, group, &reason)?;
            }
        }
    }
    // What is marked so already still marks its row.
    let unfit = groups.iter().filter(|group| group.unfit.is_some());
    let marked: Vec<Key> = unfit.flat_map(Appended::rows).collect();
    picture::show(work, &marked, false)
}

impl Appended {
    fn rows(&self) -> impl Iterator<Item = Key> {
        self.lines.iter().filter_map(|(_, key)| *key)
    }

    fn set_laid(&self, work: &Work<'_>, laid: i64, reason: Option<&str>) -> Result<(), Problem> {
        for (id, key) in &self.lines {
            log::set_laid(work, *id, laid, key.map(|(table, _)| table), reason)?;
        }
        Ok(())
    }
}

/// Whether every change of a group stands alone; if not, why.
pub(super) fn judged(work: &Work<'_>, group: &[Change]) -> Result<(), String> {
    let schema = work.ground.schema.as_deref().ok_or("no schema has come from the hub yet")?;
    for change in group {
        judge(schema, change)?;
        table_number(work, change).ok_or("its table is unknown")?;
    }
    Ok(())
}

fn show(work: &mut Work<'_>, rows: &[Key]) -> Result<Result<(), String>, Problem> {
    match picture::show(work, rows, false) {
        Ok(()) => Ok(Ok(())),
        // A value that its column cannot hold is the change's fault, not the store's.
        Err(Problem::Sqlite(error)) if is_misfit(&error) => Ok(Err(error.to_string())),
        Err(problem) => Err(problem),
    }
}

/// What cannot be laid stays pending, unshown, and is marked where its row is shown.
fn leave(work: &mut Work<'_>, group: &Appended, reason: &str) -> Result<(), Problem> {
    group.set_laid(work, log::UNLAID, Some(reason))?;
    picture::show(work, &group.rows().collect::<Vec<Key>>(), false)
}

fn is_misfit(error: &rusqlite::Error) -> bool {
    use ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    matches!(error.sqlite_error_code(), Some(ConstraintViolation | TooBig | TypeMismatch))
}

/// Try again what could not be laid: a schema has come.
pub(crate) fn lay_again(work: &mut Work<'_>) -> Result<(), Problem> {
    let unlaid: Vec<(i64, Change)> = log::unlaid(work)?
        .into_iter()
        .filter(|entry| entry.custody != Custody::Quarantined)
        .map(|entry| (entry.id, entry.change))
        .collect();
    let grouped = |a: &Change, b: &Change| a.group.is_some() && same_group(a, b);
    let mut groups = Vec::new();
    for group in unlaid.chunk_by(|(_, a), (_, b)| grouped(a, b)) {
        let changes: Vec<Change> = group.iter().map(|(_, change)| change.clone()).collect();
        let key = |change: &Change| table_number(work, change).map(|table| (table, change.row));
        let lines = group.iter().map(|(id, change)| (*id, key(change))).collect();
        let appended = Appended { lines, unfit: judged(work, &changes).err() };
        let laid = if appended.unfit.is_none() { log::LAID } else { log::UNLAID };
        appended.set_laid(work, laid, appended.unfit.as_deref())?;
        groups.push(appended);
    }
    lay(work, &groups)
}
