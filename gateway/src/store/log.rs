//! The changelog: appending changes, and reading those of a row.
use rusqlite::Row;
use wadi_protocol::change::Change;
use wadi_protocol::id::{DeviceId, Dot, RunId};

use super::Custody;
use super::error::Problem;
use super::image::Key;
use super::stretches::{self, COMPACTED, KNOWN, LOST_KNOWN, covers};
use super::work::{Work, decode, encode};

/// A change is in the overlay.
pub(crate) const LAID: i64 = 1;
/// It no longer is: base holds what became of it.
pub(crate) const DONE: i64 = 0;
/// It could not be laid over; `reason` says why.
pub(crate) const UNLAID: i64 = 2;

/// In SQL: the greatest sequence that was ever taken of run `r`, be it that only its
/// number is left; 0 = none.
pub(crate) const LAST_OF_RUN: &str = "max(
    coalesce((SELECT max(seq) FROM wadi_change WHERE run = r.id), 0),
    coalesce((SELECT last FROM wadi_compacted WHERE run = r.id ORDER BY first DESC LIMIT 1), 0))";

/// A change as the changelog has it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Local number: the order of arrival.
    pub id: i64,
    /// The change, as received.
    pub change: Change,
    /// Where it is.
    pub custody: Custody,
    /// Its hub sequence; 0 = none yet.
    pub seq: u64,
    /// A round of this gateway brought it.
    pub brought: bool,
}

const COLUMNS: &str = "id, body, custody, hub_seq, brought";

/// The columns as read; the body is decoded outside, for its damage is not SQLite's.
type Columns = (i64, Vec<u8>, i64, Option<i64>, bool);

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

fn entry((id, body, custody, seq, brought): Columns) -> Result<Entry, Problem> {
    let change = decode("a change", &body)?;
    Ok(Entry { id, change, custody: Custody::of(custody), seq: seq.unwrap_or(0) as u64, brought })
}

/// Append a change, as received, laid unless it is `unfit`; its local id. It waits for
/// the hub. Written once: to mark it afterwards would write its indexes again.
pub(crate) fn append(
    work: &mut Work<'_>,
    run: i64,
    change: &Change,
    table: Option<u16>,
    unfit: Option<&str>,
) -> Result<i64, Problem> {
    work.run(
        "INSERT INTO wadi_change (run, seq, tbl, row, op, grp, laid, reason, taken_s, body)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            run,
            change.dot.seq as i64,
            table,
            change.row.0,
            change.op as i64,
            change.group.map(|group| group.first as i64),
            if unfit.is_some() { UNLAID } else { LAID },
            unfit,
            work.now_s as i64,
            encode(change),
        ),
    )?;
    if unfit.is_some() {
        work.note_unlaid();
    }
    work.ground.waiting += 1;
    work.ground.appended += 1;
    Ok(work.tx.last_insert_rowid())
}

/// How far a run is known, so that what lies behind need not be looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// The greatest sequence in the changelog.
    last: Option<u64>,
    /// The greatest sequence that the changelog has let go.
    compacted: Option<u64>,
    /// The greatest sequence that other gateways brought.
    elsewhere: Option<u64>,
    /// The same at a hub that is lost.
    lost: Option<u64>,
}

impl Reach {
    /// Of a run.
    pub fn of(work: &Work<'_>, run: i64) -> Result<Reach, Problem> {
        let last = "SELECT max(seq) FROM wadi_change WHERE run = ?";
        let last = work.one(last, (run,), |row| row.get::<_, Option<i64>>(0))?.flatten();
        Ok(Reach {
            last: last.map(|last| last as u64),
            compacted: stretches::last(&work.tx, COMPACTED, run)?,
            elsewhere: stretches::last(&work.tx, KNOWN, run)?,
            lost: stretches::last(&work.tx, LOST_KNOWN, run)?,
        })
    }

    /// Whether a sequence of the run was taken here, be it that only its number is left.
    pub fn has(&self, work: &Work<'_>, run: i64, seq: u64) -> Result<bool, Problem> {
        let within = |last: Option<u64>| last.is_some_and(|last| seq <= last);
        Ok(within(self.last) && has(work, run, seq)?
            || within(self.compacted) && covers(&work.tx, COMPACTED, run, seq)?)
    }

    /// Whether it is known to be committed by another route.
    pub fn is_known(&self, work: &Work<'_>, run: i64, seq: u64) -> Result<bool, Problem> {
        let within = self.elsewhere.is_some_and(|last| seq <= last);
        Ok(within && covers(&work.tx, KNOWN, run, seq)?)
    }

    /// Whether a hub that is lost had called it known, and its rows may still count it.
    pub fn was_known(&self, work: &Work<'_>, run: i64, seq: u64) -> Result<bool, Problem> {
        let within = self.lost.is_some_and(|last| seq <= last);
        Ok(within && covers(&work.tx, LOST_KNOWN, run, seq)?)
    }

    /// A sequence was appended.
    pub fn grow(&mut self, seq: u64) {
        self.last = self.last.max(Some(seq));
    }
}

/// Whether the changelog has a dot.
fn has(work: &Work<'_>, run: i64, seq: u64) -> Result<bool, Problem> {
    let mut statement = work.prepare("SELECT 1 FROM wadi_change WHERE run = ? AND seq = ?")?;
    Ok(statement.exists((run, seq as i64))?)
}

/// The changes of a row that lie over base, in order of arrival.
pub(crate) fn overlay(work: &Work<'_>, key: Key) -> Result<Vec<Entry>, Problem> {
    let sql = format!(
        "SELECT {COLUMNS} FROM wadi_change WHERE tbl = ? AND row = ? AND laid = 1 ORDER BY id"
    );
    work.all(&sql, (key.0, key.1.0), columns)?.into_iter().map(entry).collect()
}

/// The changes that could not be laid, in order of arrival.
pub(crate) fn unlaid(work: &Work<'_>) -> Result<Vec<Entry>, Problem> {
    let sql = format!("SELECT {COLUMNS} FROM wadi_change WHERE laid = 2 ORDER BY id");
    work.all(&sql, (), columns)?.into_iter().map(entry).collect()
}

/// Dots of changes to a row that could not be laid.
pub(crate) fn unlaid_dots(work: &Work<'_>, key: Key) -> Result<Vec<Dot>, Problem> {
    if !work.has_unlaid()? {
        return Ok(Vec::new());
    }
    work.all(
        "SELECT r.device, r.run, c.seq FROM wadi_change c JOIN wadi_run r ON r.id = c.run
         WHERE c.laid = 2 AND c.tbl = ? AND c.row = ? ORDER BY c.id",
        (key.0, key.1.0),
        |row| {
            Ok(Dot {
                device: DeviceId(row.get::<_, i64>(0)? as u64),
                run: RunId(row.get::<_, i64>(1)? as u64),
                seq: row.get::<_, i64>(2)? as u64,
            })
        },
    )
}

/// Note whether a change is laid, on which table, and why not.
pub(crate) fn set_laid(
    work: &Work<'_>,
    id: i64,
    laid: i64,
    table: Option<u16>,
    reason: Option<&str>,
) -> Result<(), Problem> {
    if laid == UNLAID {
        work.note_unlaid();
    }
    work.run(
        "UPDATE wadi_change SET laid = ?, tbl = coalesce(?, tbl), reason = ? WHERE id = ?",
        (laid, table, reason, id),
    )?;
    Ok(())
}
