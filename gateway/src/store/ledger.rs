//! The ledger: every change ever acknowledged here, and where it is.
//!
//! It proves the first promise from this side: each change has exactly one
//! custody, and the sequences of a run have no holes but those it names.
use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;

use super::error::{Problem, StoreError};
use super::open::{open_to_read, run_info};
use super::{Custody, Store};

/// The whole ledger.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Ledger {
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
        self.parked += other.parked;
        self.held += other.held;
        self.quarantined += other.quarantined;
    }
}

/// The ledger of a database file, beside a running gateway or without one.
pub fn read(path: &Path) -> Result<Ledger, StoreError> {
    // One picture: the gateway goes on writing while the columns are added up.
    let ledger = open_to_read(path).and_then(|db| of(&*db.unchecked_transaction()?));
    ledger.map_err(|problem| problem.at(path))
}

impl Store {
    /// The ledger.
    pub fn ledger(&self) -> Result<Ledger, StoreError> {
        self.read(|db, _| of(db))
    }
}

fn of(db: &Connection) -> Result<Ledger, Problem> {
    let mut ledger = Ledger::default();
    let mut statement = db.prepare(
        "SELECT id, device, run, parent_run, parent_seq, label FROM wadi_run ORDER BY id",
    )?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let info = run_info(row, 1)?;
        if let Some(mut run) = of_run(db, row.get(0)?)? {
            run.device = info.device.to_string();
            run.run = info.run.to_string();
            run.label = info.label;
            ledger.total.join(run.counts);
            ledger.runs.push(run);
        }
    }
    let changes: i64 = db.query_row("SELECT count(*) FROM wadi_change", (), |row| row.get(0))?;
    if changes as u64 != ledger.total.changes {
        ledger.faults.push(format!(
            "{changes} changes, of which the runs account for {}",
            ledger.total.changes
        ));
    }
    let unplaced =
        "SELECT count(*) FROM wadi_change WHERE custody = 1 AND brought AND hub_seq IS NULL";
    let unplaced: i64 = db.query_row(unplaced, (), |row| row.get(0))?;
    if unplaced > 0 {
        ledger.faults.push(format!("{unplaced} committed changes without a hub sequence"));
    }
    Ok(ledger)
}

fn of_run(db: &Connection, id: i64) -> Result<Option<RunLedger>, Problem> {
    let mut run = RunLedger::default();
    let mut statement = db.prepare_cached(
        "SELECT custody, count(*), min(seq), max(seq) FROM wadi_change WHERE run = ? GROUP BY custody",
    )?;
    let mut rows = statement.query((id,))?;
    while let Some(row) = rows.next()? {
        let (first, last): (i64, i64) = (row.get(2)?, row.get(3)?);
        run.first = if run.first == 0 { first as u64 } else { run.first.min(first as u64) };
        run.last = run.last.max(last as u64);
        run.counts.add(Custody::of(row.get(0)?), row.get::<_, i64>(1)? as u64);
    }
    if run.last == 0 {
        return Ok(None);
    }
    let mut statement = db.prepare_cached(
        "SELECT before + 1, seq - 1, EXISTS (SELECT 1 FROM wadi_known k
             WHERE k.run = ?1 AND k.first <= before + 1 AND k.last >= seq - 1)
         FROM (SELECT seq, lag(seq) OVER (ORDER BY seq) AS before FROM wadi_change WHERE run = ?1)
         WHERE seq > before + 1",
    )?;
    let gaps = statement.query_map((id,), |row| {
        Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64, row.get(2)?))
    })?;
    run.gaps = gaps.collect::<Result<_, _>>()?;
    Ok(Some(run))
}
