//! The ledger: every change that ever came in has exactly one custody.
//!
//! Runs are counted from the changelog, the quarantine and the rulings; gaps are sequences
//! that nobody brought yet (they may be under way by another gateway, or lost
//! with a card). A second change under one number has its own account: it is kept
//! in quarantine beside the first. What contradicts itself is named in words.
use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use wadi_protocol::id::{DeviceId, Dot, RunId};

use super::page::stretches;
use super::review::label;
use super::sql::dot_at;
use super::{Store, StoreError, head};

/// Problems of the database file that a ledger names.
const WRONG_MAX: usize = 100;

/// The ledger.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    /// The hub sequence.
    pub head: u64,
    /// Every run, by device and run.
    pub runs: Vec<Run>,
    /// What is wrong, in words; empty = all is accounted for.
    pub wrong: Vec<String>,
}

/// The account of one run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// The device.
    pub device: DeviceId,
    /// The run.
    pub run: RunId,
    /// The device's name.
    pub label: String,
    /// The first sequence that came in.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// How many are applied.
    pub committed: u64,
    /// How many wait for what they need.
    pub parked: u64,
    /// How many are in quarantine.
    pub quarantined: u64,
    /// How many more came under numbers that other changes have; in quarantine too.
    pub clashes: u64,
    /// Where each sequence is: first and last of each stretch, and its custody.
    pub stretches: Vec<(u64, u64, &'static str)>,
    /// The sequences under which more than one change came, ascending.
    pub clashing: Vec<u64>,
    /// Stretches (first, last) between 1 and `last` that never came in.
    pub gaps: Vec<(u64, u64)>,
}

#[derive(Default)]
struct Account {
    committed: BTreeSet<u64>,
    parked: BTreeSet<u64>,
    quarantined: BTreeSet<u64>,
    /// The numbers under which more than one change came, each as often as more came.
    clashes: Vec<u64>,
}

impl Store {
    /// Account for every change.
    pub fn ledger(&self) -> Result<Ledger, StoreError> {
        self.read(|tx, _| {
            let mut accounts: BTreeMap<(DeviceId, RunId), Account> = BTreeMap::new();
            let account = |dot: Dot| (dot.device, dot.run);
            for dot in dots(tx, "wadi_change WHERE hub_seq IS NOT NULL")? {
                accounts.entry(account(dot)).or_default().committed.insert(dot.seq);
            }
            for dot in dots(tx, "wadi_change WHERE hub_seq IS NULL")? {
                accounts.entry(account(dot)).or_default().parked.insert(dot.seq);
            }
            for dot in dots(tx, "wadi_quarantine")? {
                accounts.entry(account(dot)).or_default().quarantined.insert(dot.seq);
            }
            for dot in dots(tx, "wadi_clash")? {
                accounts.entry(account(dot)).or_default().clashes.push(dot.seq);
            }
            for dot in dots(tx, "wadi_ruling")? {
                accounts.entry(account(dot)).or_default().committed.insert(dot.seq);
            }
            let mut wrong = Vec::new();
            let mut runs = Vec::new();
            for ((device, run), account) in &accounts {
                for seq in account.committed.union(&account.parked) {
                    if account.quarantined.contains(seq) {
                        let dot = Dot { device: *device, run: *run, seq: *seq };
                        wrong.push(format!("{dot} is in the changelog and in quarantine"));
                    }
                }
                for seq in &account.clashes {
                    let sets = [&account.committed, &account.parked, &account.quarantined];
                    if !sets.iter().any(|set| set.contains(seq)) {
                        let dot = Dot { device: *device, run: *run, seq: *seq };
                        wrong.push(format!("{dot} clashes with a change that is not here"));
                    }
                }
                runs.push(account.run(tx, *device, *run)?);
            }
            wrong.extend(broken(tx)?);
            Ok(Ledger { head: head(tx)?, runs, wrong })
        })
    }
}

impl Account {
    fn run(&self, db: &Connection, device: DeviceId, run: RunId) -> Result<Run, StoreError> {
        let all: BTreeSet<u64> =
            self.committed.iter().chain(&self.parked).chain(&self.quarantined).copied().collect();
        let first = all.first().copied().unwrap_or_default();
        let last = all.last().copied().unwrap_or_default();
        let mut gaps = Vec::new();
        let mut next = 1;
        for (from, to) in stretches(&all) {
            if from > next {
                gaps.push((next, from - 1));
            }
            next = to.saturating_add(1);
        }
        let sets = [
            (&self.committed, "committed"),
            (&self.parked, "parked"),
            (&self.quarantined, "quarantined"),
        ];
        let named = |&(set, name): &(&BTreeSet<u64>, &'static str)| {
            stretches(set).into_iter().map(move |(first, last)| (first, last, name))
        };
        let mut by_custody: Vec<(u64, u64, &'static str)> = sets.iter().flat_map(named).collect();
        by_custody.sort_unstable();
        let mut clashing = self.clashes.clone();
        clashing.sort_unstable();
        clashing.dedup();
        Ok(Run {
            device,
            run,
            label: label(db, Dot { device, run, seq: first })?,
            first,
            last,
            committed: self.committed.len() as u64,
            parked: self.parked.len() as u64,
            quarantined: self.quarantined.len() as u64,
            clashes: self.clashes.len() as u64,
            stretches: by_custody,
            clashing,
            gaps,
        })
    }
}

fn dots(db: &Connection, from: &str) -> Result<Vec<Dot>, StoreError> {
    let mut query = db.prepare_cached(&format!("SELECT device, run, seq FROM {from}"))?;
    let dots = query.query_map([], |row| dot_at(row, 0))?;
    Ok(dots.collect::<Result<_, _>>()?)
}

/// What our own tables must never show, each as (words, a query that finds it).
const NEVER: &[(&str, &str)] = &[
    (
        "changes are numbered beyond the hub sequence",
        "SELECT count(*) FROM wadi_change
         WHERE hub_seq > (SELECT value FROM wadi_store WHERE key = 'head')",
    ),
    (
        "applied changes are in no row",
        "SELECT count(*) FROM wadi_change c WHERE hub_seq IS NOT NULL AND NOT EXISTS
             (SELECT 1 FROM wadi_row r WHERE r.tbl = c.tbl AND r.row = c.row)",
    ),
    (
        "applied changes are in no line of the log",
        "SELECT count(*) FROM wadi_change c WHERE hub_seq IS NOT NULL AND NOT EXISTS
             (SELECT 1 FROM wadi_log l WHERE l.seq = c.hub_seq AND l.tbl = c.tbl AND l.row = c.row)",
    ),
    (
        "changes were made in runs that nobody told of",
        "SELECT count(*) FROM wadi_change c WHERE NOT EXISTS
             (SELECT 1 FROM wadi_run r WHERE r.device = c.device AND r.run = c.run)",
    ),
    (
        "changes are repaired by nobody's ruling",
        "SELECT count(*) FROM wadi_change c WHERE repaired AND NOT EXISTS
             (SELECT 1 FROM wadi_ruling r WHERE r.subject_device = c.device
                 AND r.subject_run = c.run AND r.subject_seq = c.seq)",
    ),
    (
        "changes left quarantine and are in no changelog",
        "SELECT count(*) FROM wadi_released q WHERE NOT EXISTS
             (SELECT 1 FROM wadi_change c WHERE c.device = q.device
                 AND c.run = q.run AND c.seq = q.seq)",
    ),
    (
        "live rows reference rows that are not there",
        "SELECT count(*) FROM wadi_reference f
             JOIN wadi_row c ON c.tbl = f.tbl AND c.row = f.row AND NOT c.dead
         WHERE NOT EXISTS (SELECT 1 FROM wadi_row p WHERE p.tbl = f.to_tbl AND p.row = f.to_row)",
    ),
    (
        "rows wait for a person in no open case",
        "SELECT count(*) FROM wadi_candidate c
             JOIN wadi_row r ON r.tbl = c.tbl AND r.row = c.row AND NOT r.dead
         WHERE c.review AND NOT EXISTS (SELECT 1 FROM wadi_review o WHERE o.closed_seq IS NULL
             AND o.tbl = c.tbl AND o.row = c.row AND o.field = c.field)",
    ),
];

fn broken(db: &Connection) -> Result<Vec<String>, StoreError> {
    let mut wrong = Vec::new();
    for (words, query) in NEVER {
        let mut query = db.prepare_cached(query)?;
        let count: u64 = query.query_row([], |row| super::sql::number_at(row, 0))?;
        if count > 0 {
            wrong.push(format!("{count} {words}"));
        }
    }
    let mut check = db.prepare("PRAGMA quick_check")?;
    let lines = check.query_map([], |row| row.get::<_, String>(0))?.take(WRONG_MAX);
    for line in lines {
        let line = line?;
        if line != "ok" {
            wrong.push(format!("database file: {line}"));
        }
    }
    Ok(wrong)
}
