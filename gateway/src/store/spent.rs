//! What the link cost, kept by day; and what may still be spent.
//!
//! Counts wait in memory for the next transaction of a round, so that they cost no write of
//! their own; the worker has them written every so often beside that. A power cut loses a few
//! minutes of an idle link. What a round carried is told from what carried it when it is
//! committed: shares of its tables are by the size of their changes and rows.
use std::collections::BTreeMap;

use rusqlite::Connection;
use wadi_protocol::limits::DAYS_TOLD_MAX;
use wadi_protocol::stamp::{Clock, is_lost};
use wadi_protocol::wire::downlink::{Page, RowState};
use wadi_protocol::wire::message::Spent;

use super::error::{Problem, StoreError};
use super::promote;
use super::work::{Work, decode};
use super::{Ground, Store};
use crate::spending::{Allowance, Bill, Gate, Moment, Purpose, Sums, Traffic, Window};

/// Days that are kept.
const DAYS_KEPT: i64 = 400;

/// Counts that are not in the file yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unwritten {
    /// The day, and whether in cheap hours; none before anything was counted.
    now: Option<(i64, bool)>,
    bill: Bill,
    /// By the link since the round began.
    round: Traffic,
    /// Days that the round tells the hub of.
    pub told: Vec<Spent>,
}

/// What a worker has to know before it sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// What may be sent.
    pub gate: Gate,
    /// The time that this was found at: not before any time known, seconds since 1970.
    pub now_s: u64,
    /// Something urgent waits.
    pub urgent_waits: bool,
    /// Some table is urgent.
    pub urgent_tables: bool,
}

impl Store {
    /// Count what the link took; what may be sent now. With `write` nothing is left in memory.
    pub fn spend(
        &mut self,
        bill: &Bill,
        allowance: &Allowance,
        now_s: u64,
        write: bool,
    ) -> Result<Standing, StoreError> {
        let now_s = now_s.max(self.ground.clock.learnt_s);
        let now_s = match is_lost(now_s) {
            true => self.read(|db, _| last_counted(db, now_s))?,
            false => now_s,
        };
        let at = allowance.moment(now_s);
        let now = (at.day.days.start, at.cheap);
        let waits = &mut self.ground.spent;
        let passed = waits.now.is_some_and(|before| before != now);
        if passed {
            self.write_spent(now_s)?;
        }
        let waits = &mut self.ground.spent;
        waits.now = Some(now);
        waits.bill.add_all(bill);
        waits.round += bill.of(Purpose::Protocol);
        if write {
            self.write_spent(now_s)?;
        }
        self.read(|db, ground| {
            let gate = match allowance.is_limited() {
                true => allowance.gate(&at, sums(db, Some(ground), &at, allowance.cheap_free)?),
                false => Gate::Open,
            };
            let urgent_waits = gate != Gate::Open && promote::waits(db, ground.schema.as_deref())?;
            let urgent_tables = !promote::urgent_list(ground.schema.as_deref()).is_empty();
            Ok(Standing { gate, now_s, urgent_waits, urgent_tables })
        })
    }

    /// Where another program's lock or a full disk is in the way, counts wait on in memory.
    fn write_spent(&mut self, now_s: u64) -> Result<(), StoreError> {
        if self.ground.spent.bill == Bill::default() {
            return Ok(());
        }
        match self.write(now_s, write) {
            Err(error) if error.problem.is_passing() => Ok(()),
            other => other,
        }
    }
}

/// A clock that was lost gives no new budget: not before the last day that something was
/// counted on.
fn last_counted(db: &Connection, now_s: u64) -> Result<u64, Problem> {
    let sql = "SELECT coalesce(max(day), 0) FROM wadi_spent_day";
    let day: i64 = db.query_row(sql, (), |row| row.get(0))?;
    // Its noon, wherever that is.
    Ok(now_s.max(day.max(0).cast_unsigned() * 86_400 + 43_200))
}

/// The same of a file that nobody has open.
pub(super) fn now_of(db: &Connection, now_s: u64) -> Result<u64, Problem> {
    let clock: Vec<u8> = db.query_row("SELECT clock FROM wadi_store", (), |row| row.get(0))?;
    let now_s = now_s.max(decode::<Clock>("the clock", &clock)?.learnt_s);
    if is_lost(now_s) { last_counted(db, now_s) } else { Ok(now_s) }
}

/// What counts for the budgets.
pub(super) fn sums(
    db: &Connection,
    ground: Option<&Ground>,
    at: &Moment,
    cheap_free: bool,
) -> Result<Sums, Problem> {
    let of = |window: &Window| -> Result<u64, Problem> {
        let sql = "SELECT coalesce(sum(up + down), 0) FROM wadi_spent
                   WHERE day >= ? AND day < ? AND cheap <= ?";
        let given = (window.days.start, window.days.end, !cheap_free);
        let written: i64 = db.prepare_cached(sql)?.query_row(given, |row| row.get(0))?;
        let waits = ground.map_or(0, |ground| {
            let counts =
                |(day, cheap): (i64, bool)| window.days.contains(&day) && (!cheap || !cheap_free);
            if ground.spent.now.is_some_and(counts) { ground.spent.bill.total() } else { 0 }
        });
        Ok(written.max(0).cast_unsigned().saturating_add(waits))
    };
    Ok(Sums { day: of(&at.day)?, month: of(&at.month)? })
}

/// Put what was counted into the file.
pub(super) fn write(work: &mut Work<'_>) -> Result<(), Problem> {
    let Some(now) = work.ground.spent.now else { return Ok(()) };
    let bill = std::mem::take(&mut work.ground.spent.bill);
    if bill == Bill::default() {
        return Ok(());
    }
    if work.run("INSERT OR IGNORE INTO wadi_spent_day (day) VALUES (?)", (now.0,))? > 0 {
        let oldest = now.0 - DAYS_KEPT;
        work.run("DELETE FROM wadi_spent WHERE day < ?", (oldest,))?;
        work.run("DELETE FROM wadi_spent_day WHERE day < ?", (oldest,))?;
    }
    for (purpose, traffic) in bill.each() {
        add(work, now, purpose, 0, traffic)?;
    }
    Ok(())
}

/// A round begins: what its messages cost is counted from here, and it tells of days that
/// are over, unless it is a frugal one.
pub(super) fn begins(work: &mut Work<'_>, frugal: bool) -> Result<(), Problem> {
    work.ground.spent.round = Traffic::default();
    write(work)?;
    work.ground.spent.told = match work.ground.spent.now {
        Some((today, _)) if !frugal => untold(work, today)?,
        _ => Vec::new(),
    };
    Ok(())
}

/// Days before this one that the hub has not heard of, the oldest first.
fn untold(work: &Work<'_>, today: i64) -> Result<Vec<Spent>, Problem> {
    let sql = "SELECT d.day, s.purpose, sum(s.up + s.down) FROM wadi_spent s
               JOIN (SELECT day FROM wadi_spent_day WHERE told = 0 AND day < ? ORDER BY day LIMIT ?) d
               ON s.day = d.day GROUP BY d.day, s.purpose ORDER BY d.day";
    let line = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?));
    let lines: Vec<(i64, u8, i64)> = work.all(sql, (today, DAYS_TOLD_MAX as i64), line)?;
    let mut days: BTreeMap<i64, Spent> = BTreeMap::new();
    for (day, purpose, bytes) in lines {
        let bytes = bytes.cast_unsigned();
        let spent = days.entry(day).or_default();
        spent.day = u32::try_from(day).unwrap_or(0);
        *match Purpose::of(purpose) {
            Purpose::Payload => &mut spent.payload,
            Purpose::Protocol => &mut spent.protocol,
            Purpose::Connect => &mut spent.connect,
            Purpose::Idle => &mut spent.idle,
            Purpose::Others => &mut spent.others,
        } += bytes;
    }
    Ok(days.into_values().collect())
}

fn add(
    work: &Work<'_>,
    (day, cheap): (i64, bool),
    purpose: Purpose,
    table: u16,
    traffic: Traffic,
) -> Result<(), Problem> {
    let sql =
        "INSERT INTO wadi_spent (day, cheap, purpose, tbl, up, down) VALUES (?, ?, ?, ?, ?, ?)
               ON CONFLICT DO UPDATE SET up = up + excluded.up, down = down + excluded.down";
    let (up, down) = (traffic.up.cast_signed(), traffic.down.cast_signed());
    work.run(sql, (day, cheap, purpose as u8, table, up, down)).map(drop)
}

/// A round is committed, which carried these changes, and this page in so many bytes.
pub(super) fn of_round(
    work: &mut Work<'_>,
    changes: &[i64],
    page: Option<(&Page, usize)>,
) -> Result<(), Problem> {
    write(work)?;
    // Where nobody counts there is nothing to divide.
    let Some(now) = work.ground.spent.now else { return Ok(()) };
    let body = "SELECT length(body) FROM wadi_round";
    let up: u64 = work.one(body, (), |row| row.get::<_, i64>(0))?.unwrap_or(0).cast_unsigned();
    let mut tables: BTreeMap<u16, Traffic> = BTreeMap::new();
    for (table, bytes) in shares(up, weights_up(work, changes)?) {
        tables.entry(table).or_default().up = bytes;
    }
    if let Some((page, bytes)) = page {
        for (table, bytes) in shares(bytes as u64, weights_down(page)) {
            tables.entry(table).or_default().down = bytes;
        }
    }
    let mut payload = Traffic::default();
    for (table, traffic) in tables {
        add(work, now, Purpose::Payload, table, traffic)?;
        payload += traffic;
    }
    let protocol = (payload.up.cast_signed(), payload.down.cast_signed(), now.0, now.1);
    work.run(
        "UPDATE wadi_spent SET up = max(up - ?, 0), down = max(down - ?, 0)
         WHERE day = ? AND cheap = ? AND purpose = 1 AND tbl = 0",
        protocol,
    )?;
    let sql = "UPDATE wadi_spent_day SET rounds = rounds + 1 WHERE day = ?";
    work.run(sql, (now.0,))?;
    for spent in std::mem::take(&mut work.ground.spent.told) {
        work.run("UPDATE wadi_spent_day SET told = 1 WHERE day = ?", (spent.day,))?;
    }
    let Traffic { up, down } = std::mem::take(&mut work.ground.spent.round);
    let sql = "UPDATE wadi_store SET last_round_up = ?, last_round_down = ?";
    work.run(sql, (up.cast_signed(), down.cast_signed())).map(drop)
}

/// The bytes of changes by table.
fn weights_up(work: &Work<'_>, changes: &[i64]) -> Result<BTreeMap<u16, u64>, Problem> {
    let mut weights = BTreeMap::new();
    for id in changes {
        let sql = "SELECT tbl, length(body) FROM wadi_change WHERE id = ?";
        let read =
            |row: &rusqlite::Row<'_>| Ok((row.get::<_, Option<u16>>(0)?, row.get::<_, i64>(1)?));
        if let Some((table, bytes)) = work.one(sql, (id,), read)? {
            *weights.entry(table.unwrap_or(0)).or_default() += bytes.cast_unsigned();
        }
    }
    Ok(weights)
}

/// Rows by table, each as heavy as its fields and itself.
fn weights_down(page: &Page) -> BTreeMap<u16, u64> {
    let mut weights = BTreeMap::new();
    for row in &page.rows {
        let fields = if row.state == RowState::Live { row.fields.len() as u64 } else { 0 };
        *weights.entry(row.table).or_default() += 1 + fields;
    }
    weights
}

/// So many bytes, divided by weight; what nobody stands for is of no table.
fn shares(bytes: u64, weights: BTreeMap<u16, u64>) -> BTreeMap<u16, u64> {
    let all: u64 = weights.values().sum();
    let mut left = bytes;
    let mut shares = BTreeMap::new();
    for (table, weight) in weights {
        let share = (u128::from(bytes) * u128::from(weight) / u128::from(all.max(1))) as u64;
        left -= share;
        shares.insert(table, share);
    }
    if left > 0 {
        let heaviest =
            shares.iter().max_by_key(|(_, share)| **share).map_or(0, |(table, _)| *table);
        *shares.entry(heaviest).or_default() += left;
    }
    shares
}
