//! One write transaction of our own, with the copy of the ground it works on.
//!
//! The capture triggers are off inside it: the switch is a row that only this
//! transaction sees changed.
use std::cell::Cell;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row, Transaction};
use wadi_protocol::id::{DeviceId, RowId, RunId, RunInfo};
use wadi_protocol::schema::{Schema, Table};

use super::error::Problem;
use super::open::run_info;
use super::{Ground, PENDING_CHANGES_MAX};

/// A write transaction.
pub(crate) struct Work<'s> {
    pub tx: Transaction<'s>,
    pub ground: Ground,
    pub now_s: u64,
    /// Bytes of the last stored clock and feed position, to spare a write.
    stored: (u64, Vec<u8>),
    /// Whether any change could not be laid, as far as that was asked for.
    unlaid: Cell<Option<bool>>,
}

impl<'s> Work<'s> {
    /// Begin: captures off.
    pub fn begin(tx: Transaction<'s>, ground: Ground, now_s: u64) -> Result<Work<'s>, Problem> {
        tx.prepare_cached("UPDATE wadi_switch SET capturing = 0")?.execute(())?;
        let stored = (ground.feed_seq, encode(&ground.clock));
        Ok(Work { tx, ground, now_s, stored, unlaid: Cell::new(None) })
    }

    /// Captures on, what memory holds written down, commit.
    pub fn commit(mut self) -> Result<Ground, Problem> {
        assert!(!self.ground.round.is_answered(), "an answer is checked before it is stored");
        self.ground.clock.pass(self.now_s);
        let full = match self.ground.scarce {
            Some(_) => 2,
            None => i64::from(self.ground.waiting >= PENDING_CHANGES_MAX),
        };
        self.run("UPDATE wadi_switch SET capturing = 1, full = ?", (full,))?;
        let clock = encode(&self.ground.clock);
        if self.stored != (self.ground.feed_seq, clock.clone()) {
            self.run(
                "UPDATE wadi_store SET feed_seq = ?, clock = ?",
                (self.ground.feed_seq as i64, clock),
            )?;
        }
        self.tx.commit()?;
        Ok(self.ground)
    }

    /// A prepared statement.
    pub fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>, Problem> {
        Ok(self.tx.prepare_cached(sql)?)
    }

    /// Execute a statement; how many rows it changed.
    pub fn run(&self, sql: &str, params: impl Params) -> Result<usize, Problem> {
        Ok(self.prepare(sql)?.execute(params)?)
    }

    /// The first row of a query, if any.
    pub fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Problem> {
        Ok(self.prepare(sql)?.query_row(params, read).optional()?)
    }

    /// All rows of a query.
    pub fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Problem> {
        let mut statement = self.prepare(sql)?;
        let rows = statement.query_map(params, read)?.collect::<Result<Vec<T>, _>>()?;
        Ok(rows)
    }

    /// Whether the changelog has changes that could not be laid: mostly there are none.
    pub fn has_unlaid(&self) -> Result<bool, Problem> {
        if let Some(unlaid) = self.unlaid.get() {
            return Ok(unlaid);
        }
        let unlaid = self.prepare("SELECT 1 FROM wadi_change WHERE laid = 2 LIMIT 1")?.exists(())?;
        self.unlaid.set(Some(unlaid));
        Ok(unlaid)
    }

    /// A change could not be laid.
    pub fn note_unlaid(&self) {
        self.unlaid.set(Some(true));
    }

    /// The schema, once the hub has sent one.
    pub fn schema(&self) -> Option<Arc<Schema>> {
        self.ground.schema.clone()
    }

    /// Learn of a run; its local id.
    pub fn register(&mut self, info: &RunInfo) -> Result<i64, Problem> {
        let Some(id) = self.run_id(info.device, info.run) else {
            let id = self.insert_run(info, true)?;
            Arc::make_mut(&mut self.ground.lines).add(info);
            return Ok(id);
        };
        let held = self.one(
            "SELECT device, run, parent_run, parent_seq, label, told FROM wadi_run WHERE id = ?",
            (id,),
            |row| Ok((run_info(row, 0)?, row.get::<_, bool>(5)?)),
        )?;
        let (held, told) =
            held.ok_or_else(|| Problem::Damaged(format!("run {} has no row", info.run)))?;
        if told && held.parent == info.parent && (info.label.is_empty() || held.label == info.label)
        {
            return Ok(id);
        }
        // The same rule as in `Lines::add`: of two stories the lesser is believed.
        let parent = match (told, held.parent, info.parent) {
            (false, _, parent) => parent,
            (true, Some((run, seq)), Some((other, other_seq))) if run == other => {
                Some((run, seq.min(other_seq)))
            }
            _ => None,
        };
        let label = if info.label.is_empty() { &held.label } else { &info.label };
        self.run(
            "UPDATE wadi_run SET parent_run = ?, parent_seq = ?, label = ?, told = 1 WHERE id = ?",
            (parent.map(|p| p.0.0 as i64), parent.map(|p| p.1 as i64), label, id),
        )?;
        Arc::make_mut(&mut self.ground.lines).add(info);
        Ok(id)
    }

    /// The local id of a run of which only the name is known.
    pub fn name_run(&mut self, device: DeviceId, run: RunId) -> Result<i64, Problem> {
        match self.run_id(device, run) {
            Some(id) => Ok(id),
            None => {
                let info = RunInfo { device, run, parent: None, label: String::new() };
                self.insert_run(&info, false)
            }
        }
    }

    fn insert_run(&mut self, info: &RunInfo, told: bool) -> Result<i64, Problem> {
        self.run(
            "INSERT INTO wadi_run (device, run, parent_run, parent_seq, label, told)
             VALUES (?, ?, ?, ?, ?, ?)",
            (
                info.device.0 as i64,
                info.run.0 as i64,
                info.parent.map(|p| p.0.0 as i64),
                info.parent.map(|p| p.1 as i64),
                &info.label,
                told,
            ),
        )?;
        let id = self.tx.last_insert_rowid();
        Arc::make_mut(&mut self.ground.runs).insert((info.device, info.run), id);
        Ok(id)
    }

    /// The local id of a run, if it was ever named here.
    pub fn run_id(&self, device: DeviceId, run: RunId) -> Option<i64> {
        self.ground.runs.get(&(device, run)).copied()
    }

    /// Count waits for a lock that ran out, so that status can name them.
    pub fn note_lock_waits(&self, waits: u64) -> Result<(), Problem> {
        if waits > 0 {
            self.run(
                "UPDATE wadi_store SET lock_waits = lock_waits + ?, last_lock_wait_s = ?",
                (waits as i64, self.now_s as i64),
            )?;
        }
        Ok(())
    }

    /// Do something that may fail without the rest failing: `None` = it could
    /// not be done, and nothing of it was.
    pub fn attempt<T>(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Work<'s>) -> Result<Result<T, String>, Problem>,
    ) -> Result<Result<T, String>, Problem> {
        self.tx.execute_batch(&format!("SAVEPOINT {name}"))?;
        let outcome = work(self)?;
        if outcome.is_err() {
            self.tx.execute_batch(&format!("ROLLBACK TO {name}"))?;
        }
        self.tx.execute_batch(&format!("RELEASE {name}"))?;
        Ok(outcome)
    }
}

/// `PRAGMA data_version`: changes when another connection has committed.
pub(crate) fn data_version(db: &Connection) -> Result<i64, Problem> {
    Ok(db.prepare_cached("PRAGMA data_version")?.query_row((), |row| row.get(0))?)
}

/// Encode for a BLOB column.
pub(crate) fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("our own values always encode")
}

/// Decode a BLOB column that we wrote.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(
    what: &str,
    bytes: &[u8],
) -> Result<T, Problem> {
    postcard::from_bytes(bytes).map_err(|_| Problem::Damaged(format!("{what} does not decode")))
}

/// A row id from a BLOB column.
pub(crate) fn row_id(row: &Row<'_>, index: usize) -> rusqlite::Result<RowId> {
    row.get::<_, [u8; 16]>(index).map(RowId)
}

/// A table of the schema, or the damage.
pub(crate) fn table_of(schema: &Schema, number: u16) -> Result<&Table, Problem> {
    schema
        .table(number)
        .ok_or_else(|| Problem::Damaged(format!("table number {number} is not in the schema")))
}
