//! The ledger: every change ever acknowledged here, and where it is.
//!
//! It proves the first promise from this side: each change has exactly one
//! custody, and the sequences of a run have no holes but those it names.
use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;

use super::error::{Problem, StoreError};
use super::open::{open_to_look, run_info};
use super::{Custody, Store};

/// The whole ledger.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Ledger {
    /// The site.
    pub site: String,
    /// The number that the hub gave this gateway.
    pub gateway: u32,
    /// One entry a run that made changes kept here.
    pub runs: Vec<RunLedger>,
    /// Over all runs.
    pub total: Counts,
    /// What contradicts itself, in words; empty = the books balance.
    pub faults: Vec<String>,
}

/// One run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct RunLedger {
    /// The device, in hexadecimal digits.
    pub device: String,
    /// Its name.
    pub label: String,
    /// The run, in hexadecimal digits.
    pub run: String,
    /// The first sequence here.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// How many, by custody.
    pub counts: Counts,
    /// Where each sequence is: first and last of each stretch, and its custody.
    pub stretches: Vec<(u64, u64, &'static str)>,
    /// Stretches between first and last that are not here: first, last, and
    /// whether all of it is known to be at the hub.
    pub gaps: Vec<(u64, u64, bool)>,
}

/// Changes by custody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counts {
    /// All.
    pub changes: u64,
    /// Here, undecided.
    pub pending: u64,
    /// At the hub.
    pub committed: u64,
    /// Of those, no longer kept here whole: the hub's backup has them.
    pub compacted: u64,
    /// At the hub, waiting.
    pub parked: u64,
    /// Kept here at the hub's request.
    pub held: u64,
    /// At the hub, outside the tables.
    pub quarantined: u64,
}

impl Counts {
    fn add(&mut self, custody: Custody, count: u64) {
        self.changes += count;
        *match custody {
            Custody::Pending => &mut self.pending,
            Custody::Committed => &mut self.committed,
            Custody::Parked => &mut self.parked,
            Custody::Held => &mut self.held,
            Custody::Quarantined => &mut self.quarantined,
        } += count;
    }

    fn join(&mut self, other: Counts) {
        self.changes += other.changes;
        self.pending += other.pending;
        self.committed += other.committed;
        self.compacted += other.compacted;
        self.parked += other.parked;
        self.held += other.held;
        self.quarantined += other.quarantined;
    }
}

/// The ledger of a database file, beside a running gateway or without one.
pub fn read(path: &Path) -> Result<Ledger, StoreError> {
    // One picture: the gateway goes on writing while the columns are added up.
    let ledger = open_to_look(path).and_then(|db| of(&*db.unchecked_transaction()?));
    ledger.map_err(|problem| problem.at(path))
}

impl Store {
    /// The ledger.
    pub fn ledger(&self) -> Result<Ledger, StoreError> {
        self.read(|db, _| of(db))
    }
}

fn of(db: &Connection) -> Result<Ledger, Problem> {
    let mut whose = db.prepare_cached("SELECT site, gateway FROM wadi_store")?;
    let mut ledger = whose.query_row((), |row| {
        Ok(Ledger { site: row.get(0)?, gateway: row.get(1)?, ..Ledger::default() })
    })?;
    let mut statement = db.prepare_cached(
        "SELECT id, device, run, parent_run, parent_seq, label FROM wadi_run ORDER BY id",
    )?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let info = run_info(row, 1)?;
        let (device, name) = (info.device.to_string(), info.run.to_string());
        let run = RunLedger { device, run: name, label: info.label, ..RunLedger::default() };
        if let Some(run) = of_run(db, row.get(0)?, run, &mut ledger.faults)? {
            ledger.total.join(run.counts);
            ledger.runs.push(run);
        }
    }
    let changes = "SELECT (SELECT count(*) FROM wadi_change)
        + (SELECT coalesce(sum(last - first + 1), 0) FROM wadi_compacted)";
    let changes: i64 = db.prepare_cached(changes)?.query_row((), |row| row.get(0))?;
    if changes as u64 != ledger.total.changes {
        ledger.faults.push(format!(
            "{changes} changes, of which the runs account for {}",
            ledger.total.changes
        ));
    }
    let unplaced =
        "SELECT count(*) FROM wadi_change WHERE custody = 1 AND brought AND hub_seq IS NULL";
    let unplaced: i64 = db.prepare_cached(unplaced)?.query_row((), |row| row.get(0))?;
    if unplaced > 0 {
        ledger.faults.push(format!("{unplaced} committed changes without a hub sequence"));
    }
    Ok(ledger)
}

fn of_run(
    db: &Connection,
    id: i64,
    mut run: RunLedger,
    faults: &mut Vec<String>,
) -> Result<Option<RunLedger>, Problem> {
    let mut statement = db.prepare_cached(
        "SELECT seq, seq, custody, 0 FROM wadi_change WHERE run = ?1
         UNION ALL SELECT first, last, 1, 1 FROM wadi_compacted WHERE run = ?1 ORDER BY 1",
    )?;
    let mut rows = statement.query((id,))?;
    while let Some(row) = rows.next()? {
        let (first, last) = (row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64);
        let (custody, compacted) = (Custody::of(row.get(2)?), row.get::<_, bool>(3)?);
        if run.first == 0 {
            run.first = first;
        } else if first <= run.last {
            faults
                .push(format!("{}.{}.{first} is kept and was let go as well", run.device, run.run));
        } else if first > run.last + 1 {
            let gap = (run.last + 1, first - 1);
            run.gaps.push((gap.0, gap.1, is_known(db, id, gap)?));
        }
        run.last = run.last.max(last);
        let count = last - first + 1;
        run.counts.add(custody, count);
        run.counts.compacted += if compacted { count } else { 0 };
        match run.stretches.last_mut() {
            Some((_, end, of)) if *end + 1 == first && *of == custody.name() => *end = last,
            _ => run.stretches.push((first, last, custody.name())),
        }
    }
    Ok((run.last > 0).then_some(run))
}

/// Whether all of a stretch came to the hub by another way.
fn is_known(db: &Connection, run: i64, (first, last): (u64, u64)) -> Result<bool, Problem> {
    let sql = "SELECT 1 FROM wadi_known WHERE run = ? AND first <= ? AND last >= ?";
    Ok(db.prepare_cached(sql)?.exists((run, first as i64, last as i64))?)
}
