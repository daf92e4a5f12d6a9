//! What is to be known of a gateway, for `status`: from the file alone, so that
//! it can be read beside a running gateway and without one.
//!
//! The names of the fields are those of `status --json`: programs rely on them,
//! and a test keeps their list. Times are seconds since 1970.
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;
use wadi_protocol::schema::{LANES, Schema};
use wadi_protocol::stamp::Clock;

use super::error::{Problem, StoreError};
use super::open::{load_round, open_to_look, open_to_read};
use super::round::phase_name;
use super::work::decode;
use super::{Custody, Store, compact, install};

/// How long a certificate counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Term {
    /// The enrolment that it belongs to.
    pub enrolment: u32,
    /// When it ends, seconds since 1970.
    pub until_s: u64,
}

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
    /// The certificate that the hub renewed, if it did.
    #[serde(skip)]
    pub renewed: Option<Term>,
    /// The schema version held; 0 = none.
    pub schema: u32,
    /// Changes that only this gateway has, by table.
    pub pending: Vec<Pending>,
    /// All of them.
    pub pending_changes: u64,
    /// When the oldest of them was taken, seconds since 1970.
    pub oldest_pending_s: Option<u64>,
    /// Changes of other programs that are not in the changelog yet.
    pub captured: u64,
    /// Changes kept here at the hub's request.
    pub held: u64,
    /// Committed changes that wait for what they need.
    pub parked: u64,
    /// Changes that the hub put aside.
    pub quarantined_changes: u64,
    /// The newest of them, 100 at most.
    pub quarantined: Vec<Quarantined>,
    /// Changes kept here that are not shown because they could not be laid over.
    pub unlaid: u64,
    /// Changes that are kept here whole, in whatever custody.
    pub changelog_changes: u64,
    /// Changes that are durable and in a backup of the hub, of which only numbers are kept.
    pub compacted_changes: u64,
    /// Up to which hub sequence a backup of the hub exists, as it told last; 0 = none.
    pub backup_seq: u64,
    /// Rows with a field that waits for a person.
    pub review_rows: u64,
    /// Handhelds that wait to be allowed.
    pub handhelds_waiting: u64,
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
    /// The latest time known, told by the hub or passed here, seconds since 1970; 0 = none
    /// yet. The real time is not before it.
    pub learnt_s: u64,
}

/// Changes of one table that only this gateway has.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Pending {
    /// The table; "?" = the schema does not know it.
    pub table: String,
    /// How many.
    pub changes: u64,
    /// When the oldest of them was taken, seconds since 1970.
    pub oldest_s: u64,
    /// How long ago that is; 0 while the clock says that it lies ahead.
    pub oldest_age_s: u64,
}

/// A change that the hub put aside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Quarantined {
    /// Its dot.
    pub dot: String,
    /// Why.
    pub reason: String,
}

/// Quarantined changes that a status lists; the others are counted.
const QUARANTINED_LISTED_MAX: usize = 100;

/// The status of a database file.
pub fn read(path: &Path) -> Result<Status, StoreError> {
    let status = open_to_look(path).and_then(|db| {
        let snapshot = db.unchecked_transaction()?;
        of(&snapshot)
    });
    status.map_err(|problem| problem.at(path))
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
    status.pending = pending(db, schema.as_deref())?;
    status.pending_changes = status.pending.iter().map(|table| table.changes).sum();
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
    status.quarantined_changes = custody(Custody::Quarantined)?;
    status.captured = count("SELECT count(*) FROM wadi_capture")?;
    status.unlaid = count("SELECT count(*) FROM wadi_change WHERE laid = 2 AND custody IN (0, 3)")?;
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
    status.handhelds_waiting = count("SELECT count(*) FROM wadi_handheld WHERE state = 'waiting'")?;
    status.changelog_changes = count("SELECT count(*) FROM wadi_change")?;
    status.compacted_changes =
        count("SELECT coalesce(sum(last - first + 1), 0) FROM wadi_compacted")?;
    status.backup_seq = compact::watermark(db)?;
    Ok(status)
}

/// By table: the index knows how many and which is the oldest, one row says its age.
fn pending(db: &Connection, schema: Option<&Schema>) -> Result<Vec<Pending>, Problem> {
    let mut statement = db.prepare(
        "SELECT p.tbl, p.changes, c.taken_s FROM (
             SELECT tbl, count(*) AS changes, min(id) AS oldest
             FROM wadi_change WHERE custody = 0 GROUP BY tbl
         ) p JOIN wadi_change c ON c.id = p.oldest ORDER BY p.changes DESC, p.tbl",
    )?;
    let tables = statement.query_map((), |row| {
        let number: Option<u16> = row.get(0)?;
        let table = schema.zip(number).and_then(|(schema, number)| schema.table(number));
        Ok(Pending {
            table: table.map_or_else(|| "?".to_owned(), |table| table.name.clone()),
            changes: row.get::<_, i64>(1)? as u64,
            oldest_s: row.get::<_, i64>(2)? as u64,
            oldest_age_s: 0,
        })
    })?;
    Ok(tables.collect::<Result<_, _>>()?)
}

fn of_store(db: &Connection) -> Result<Status, Problem> {
    let sql = "SELECT site, gateway, device, run, feed_seq, rounds, last_round_s, lock_waits, last_lock_wait_s, clock,
        certificate_of, certificate_until_s FROM wadi_store";
    let time = |value: Option<i64>| value.map(|seconds| seconds as u64);
    let (mut status, clock) = db.query_row(sql, (), |row| {
        let clock: Vec<u8> = row.get(9)?;
        let renewed: (Option<u32>, Option<i64>) = (row.get(10)?, row.get(11)?);
        let status = Status {
            site: row.get(0)?,
            gateway: row.get(1)?,
            device: wadi_protocol::id::DeviceId(row.get::<_, i64>(2)? as u64).to_string(),
            run: wadi_protocol::id::RunId(row.get::<_, i64>(3)? as u64).to_string(),
            feed_seq: row.get::<_, i64>(4)? as u64,
            rounds: row.get::<_, i64>(5)? as u64,
            last_round_s: time(row.get(6)?),
            lock_waits: row.get::<_, i64>(7)? as u64,
            last_lock_wait_s: time(row.get(8)?),
            renewed: renewed
                .0
                .zip(renewed.1)
                .map(|(enrolment, until_s)| Term { enrolment, until_s: until_s.cast_unsigned() }),
            ..Status::default()
        };
        Ok((status, clock))
    })?;
    let clock: Clock = decode("the clock", &clock)?;
    status.learnt_s = clock.learnt_s;
    Ok(status)
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
