//! The horizon of the feed: behind it deleted rows are named no more, and only their ids
//! and versions stay.
//!
//! A handheld that pulled within [`SILENT_S_MAX`] has heard of them. One that was silent
//! for longer begins anew when it comes again: it pulls everything, drops what is not
//! there, and offers what of its own is not durable, which is taken once. The horizon
//! moves only when a run begins: a cursor of that run or a later one was given by a feed
//! that had forgotten already, so that nobody is sent back in the midst of a long pull.
use rusqlite::{Connection, OptionalExtension, Transaction};
use wadi_protocol::id::RunId;
use wadi_protocol::link::message::FeedCursor;

use super::Ground;
use super::error::Problem;

/// A handheld silent for longer may have to begin anew, in seconds: 90 days.
pub(super) const SILENT_S_MAX: u64 = 90 * 86_400;
/// Runs of this store whose cursors are known, at most: a box that starts again and again
/// does not remember for ever.
pub(super) const LIVES_MAX: usize = 1_000;

/// A run of this store.
struct Life {
    run: i64,
    before: Option<i64>,
    feed_from: i64,
    began_s: u64,
}

fn life(db: &Connection, run: i64) -> Result<Option<Life>, Problem> {
    let mut statement =
        db.prepare_cached("SELECT before, feed_from, began_s FROM wadi_life WHERE run = ?")?;
    let found = statement.query_row((run,), |row| {
        let began_s = row.get::<_, i64>(2)? as u64;
        Ok(Life { run, before: row.get(0)?, feed_from: row.get(1)?, began_s })
    });
    Ok(found.optional()?)
}

/// A run begins: move the horizon. `now_s` is not before any time that the hub told.
pub(super) fn advance(tx: &Transaction<'_>, run: RunId, now_s: u64) -> Result<(), Problem> {
    let mut kept = Vec::new();
    let mut next = life(tx, run.0 as i64)?;
    let horizon = loop {
        let Some(found) = next else { return Ok(()) };
        kept.push(found.run);
        // A clock that was ahead then makes it young: that forgets less.
        let old = now_s.saturating_sub(found.began_s) >= SILENT_S_MAX;
        if old || kept.len() == LIVES_MAX {
            break found;
        }
        next = found.before.map(|before| life(tx, before)).transpose()?.flatten();
    };
    let mut runs = tx.prepare("SELECT run FROM wadi_life")?;
    let runs = runs.query_map((), |row| row.get::<_, i64>(0))?.collect::<Result<Vec<_>, _>>()?;
    for forgotten in runs.iter().filter(|run| !kept.contains(run)) {
        tx.execute("DELETE FROM wadi_life WHERE run = ?", (forgotten,))?;
    }
    let rows = tx.execute(
        "UPDATE wadi_row SET feed_seq = 0, review = NULL
         WHERE state >= 2 AND shown = 0 AND base IS NULL AND sight IS NULL
             AND feed_seq > 0 AND feed_seq <= ?",
        (horizon.feed_from,),
    )?;
    if rows > 0 {
        let sql = "UPDATE wadi_store SET feed_floor = ?, feed_floor_run = ?";
        tx.execute(sql, (horizon.feed_from, run.0 as i64))?;
        tracing::info!(phase = "compact", rows, "deleted rows are named no more in the feed");
    }
    Ok(())
}

/// Whether a cursor is of this feed: of the current run, or of one before it and not
/// beyond where the next one took over; and not from before what the feed has forgotten.
pub(super) fn continues(
    db: &Connection,
    ground: &Ground,
    cursor: FeedCursor,
) -> Result<bool, Problem> {
    if cursor.run == RunId::NONE {
        return Ok(cursor.seq == 0);
    }
    let (floor, forgot): (i64, Option<i64>) = db
        .prepare_cached("SELECT feed_floor, feed_floor_run FROM wadi_store")?
        .query_row((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (mut run, mut end) = (ground.run.0 as i64, ground.feed_seq);
    let mut forgotten = false;
    loop {
        if run == cursor.run.0 as i64 {
            let heard = !forgotten || cursor.seq == 0 || cursor.seq >= floor as u64;
            return Ok(heard && cursor.seq <= end);
        }
        forgotten |= forgot == Some(run);
        match life(db, run)? {
            Some(Life { before: Some(before), feed_from, .. }) => {
                (run, end) = (before, end.min(feed_from as u64));
            }
            _ => return Ok(false),
        }
    }
}
