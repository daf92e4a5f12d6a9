//! Another line of rounds: this store was restored or cloned, and the hub goes on with it.
//!
//! Base needs nothing done to it: the hub sends all that came behind its cursors,
//! whoever brought it. Only outcomes that came later than their round may have been told
//! to another box: what waits for one, or is in quarantine, is asked about again, as
//! pending changes are, and the hub knows each by its dot.
use std::collections::BTreeSet;

use super::error::Problem;
use super::image::Key;
use super::work::{Work, row_id};

/// The hub has said which line this is. Rows to show anew go into `dirty`.
pub(super) fn follow(
    work: &mut Work<'_>,
    line: u32,
    dirty: &mut BTreeSet<Key>,
) -> Result<(), Problem> {
    let held = work.one("SELECT line FROM wadi_store", (), |row| row.get::<_, u32>(0))?;
    if held == Some(line) {
        return Ok(());
    }
    work.run("UPDATE wadi_store SET line = ?", (line,))?;
    let rows = work.all(
        "SELECT tbl, row FROM wadi_change WHERE custody IN (2, 3, 4) AND custody <> 1 AND tbl IS NOT NULL",
        (),
        |row| Ok((row.get::<_, u16>(0)?, row_id(row, 1)?)),
    )?;
    dirty.extend(rows);
    let decided = work.run(
        "UPDATE wadi_change SET custody = 0, reason = iif(laid = 2, reason, NULL)
         WHERE custody IN (2, 4) AND custody <> 1",
        (),
    )?;
    // What is held waited for the hub all along.
    let held =
        work.run("UPDATE wadi_change SET custody = 0 WHERE custody = 3 AND custody <> 1", ())?;
    work.ground.waiting += decided as u64;
    tracing::warn!(
        phase = "apply",
        round = work.ground.round.round,
        line,
        asked_again = decided + held,
        "the hub goes on with this box: its database is an older copy, or is new"
    );
    Ok(())
}
