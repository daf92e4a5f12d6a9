//! What is to be known of a gateway, for `status`: from the file alone, so that
//! it can be read beside a running gateway and without one.
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;
use wadi_protocol::schema::{LANES, Schema};

use super::error::{Problem, StoreError};
use super::open::{load_round, open_to_read};
use super::round::phase_name;
use super::{Custody, Store, install};

/// The facts.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Status {
    /// The site.
    pub site: String,
    /// The number that the hub gave this gateway.
    pub gateway: u32,
    /// Its device, in hexadecimal digits.
    pub device: String,
    /// Its run, in hexadecimal digits.
    pub run: String,
    /// The schema version held; 0 = none.
    pub schema: u32,
    /// Changes that only this gateway has, by table ("?" = the table is not known).
    pub pending: Vec<(String, u64)>,
    /// When the oldest of them was taken, seconds since 1970.
    pub oldest_pending_s: Option<u64>,
    /// Changes of other programs that are not in the changelog yet.
    pub captured: u64,
    /// Changes kept here at the hub's request.
    pub held: u64,
    /// Committed changes that wait for what they need.
    pub parked: u64,
    /// Changes that the hub put aside.
    pub quarantined: Vec<Quarantined>,
    /// Changes that are not shown because they could not be laid over.
    pub unlaid: u64,
    /// Rows with a field that waits for a person.
    pub review_rows: u64,
    /// Rows shown.
    pub rows: u64,
    /// How far base has the hub's sequence, a lane each.
    pub cursors: [u64; LANES],
    /// The place of the feed.
    pub feed_seq: u64,
    /// Rounds committed.
    pub rounds: u64,
    /// Where the open round stands, or `idle`.
    pub phase: &'static str,
    /// The open round's number, or the next.
    pub round: u64,
    /// Why the hub refuses to go on.
    pub refused: Option<String>,
    /// When the last round was committed, seconds since 1970.
    pub last_round_s: Option<u64>,
    /// How often another program held its lock for more than 5 s.
    pub lock_waits: u64,
    /// When last, seconds since 1970.
    pub last_lock_wait_s: Option<u64>,
}

/// A change that the hub put aside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Quarantined {
    /// Its dot.
    pub dot: String,
    /// Why.
    pub reason: String,
}

/// Quarantined changes that a status lists; the count is in the ledger.
const QUARANTINED_LISTED_MAX: usize = 100;

/// The status of a database file.
pub fn read(path: &Path) -> Result<Status, StoreError> {
    open_to_read(path).and_then(|db| of(&db)).map_err(|problem| problem.at(path))
}

/// The schema of a database file, once the hub has sent one.
pub fn schema(path: &Path) -> Result<Option<Schema>, StoreError> {
    let schema = open_to_read(path).and_then(|db| install::newest(&db));
    schema.map(|schema| schema.map(|schema| (*schema).clone())).map_err(|problem| problem.at(path))
}

impl Store {
    /// The status.
    pub fn status(&self) -> Result<Status, StoreError> {
        self.read(|db, _| {
            let mut status = of(db)?;
            status.lock_waits += self.lock_waits;
            Ok(status)
        })
    }
}

impl Store {
    /// The certificate that the hub renewed, if it did.
    pub fn certificate(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT certificate FROM wadi_store";
        self.read(|db, _| Ok(db.query_row(sql, (), |row| row.get(0))?))
    }
}

fn of(db: &Connection) -> Result<Status, Problem> {
    let schema = install::newest(db)?;
    let round = load_round(db)?;
    let mut status = of_store(db)?;
    status.schema = schema.as_ref().map_or(0, |schema| schema.version);
    status.cursors = round.cursors;
    status.round = round.round;
    status.phase = phase_name(&round.phase);
    status.refused = round.refused.as_ref().map(ToString::to_string);
    let mut statement = db.prepare(
        "SELECT tbl, count(*) FROM wadi_change WHERE custody = 0 AND custody <> 1 GROUP BY tbl",
    )?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let number: Option<u16> = row.get(0)?;
        let table = schema.as_ref().zip(number).and_then(|(schema, number)| schema.table(number));
        let name = table.map_or_else(|| "?".to_owned(), |table| table.name.clone());
        status.pending.push((name, row.get::<_, i64>(1)? as u64));
    }
    let count = |sql: &str| -> Result<u64, Problem> {
        Ok(db.query_row(sql, (), |row| row.get::<_, i64>(0))? as u64)
    };
    let custody = |custody: Custody| {
        count(&format!(
            "SELECT count(*) FROM wadi_change WHERE custody = {} AND custody <> 1",
            custody as i64
        ))
    };
    status.held = custody(Custody::Held)?;
    status.parked = custody(Custody::Parked)?;
    status.captured = count("SELECT count(*) FROM wadi_capture")?;
    status.unlaid = count("SELECT count(*) FROM wadi_change WHERE laid = 2")?;
    status.rows = count("SELECT count(*) FROM wadi_row WHERE shown IN (1, 3)")?;
    status.review_rows = count("SELECT count(*) FROM wadi_row WHERE review IS NOT NULL")?;
    status.oldest_pending_s = db
        .query_row(
            "SELECT taken_s FROM wadi_change WHERE custody = 0 AND custody <> 1 ORDER BY id LIMIT 1",
            (),
            |row| row.get::<_, i64>(0),
        )
        .optional()?
        .map(|taken_s| taken_s as u64);
    status.quarantined = quarantined(db)?;
    Ok(status)
}

fn of_store(db: &Connection) -> Result<Status, Problem> {
    let sql = "SELECT site, gateway, device, run, feed_seq, rounds, last_round_s, lock_waits, last_lock_wait_s FROM wadi_store";
    let time = |value: Option<i64>| value.map(|seconds| seconds as u64);
    Ok(db.query_row(sql, (), |row| {
        Ok(Status {
            site: row.get(0)?,
            gateway: row.get(1)?,
            device: wadi_protocol::id::DeviceId(row.get::<_, i64>(2)? as u64).to_string(),
            run: wadi_protocol::id::RunId(row.get::<_, i64>(3)? as u64).to_string(),
            feed_seq: row.get::<_, i64>(4)? as u64,
            rounds: row.get::<_, i64>(5)? as u64,
            last_round_s: time(row.get(6)?),
            lock_waits: row.get::<_, i64>(7)? as u64,
            last_lock_wait_s: time(row.get(8)?),
            ..Status::default()
        })
    })?)
}

fn quarantined(db: &Connection) -> Result<Vec<Quarantined>, Problem> {
    let mut statement = db.prepare(
        "SELECT r.device, r.run, c.seq, c.reason FROM wadi_change c JOIN wadi_run r ON r.id = c.run
         WHERE c.custody = 4 AND c.custody <> 1 ORDER BY c.id DESC LIMIT ?",
    )?;
    let rows = statement.query_map((QUARANTINED_LISTED_MAX as i64,), |row| {
        let dot = wadi_protocol::id::Dot {
            device: wadi_protocol::id::DeviceId(row.get::<_, i64>(0)? as u64),
            run: wadi_protocol::id::RunId(row.get::<_, i64>(1)? as u64),
            seq: row.get::<_, i64>(2)? as u64,
        };
        let reason: Option<String> = row.get(3)?;
        Ok(Quarantined { dot: dot.to_string(), reason: reason.unwrap_or_default() })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
