//! The hub was restored from an older backup: what it does not have any more is returned.
//!
//! Every change that was at the lost hub behind the fork, where the two part, is pending
//! again. Base stays on the screen, marked as stale, until the hub has said anew what
//! each row is; a stale image holds what was folded into it, so what is returned lies over
//! a row only from then on. What nobody returned goes when all is told. Whoever edits what
//! a stale row shows claims the lost hub's version of it, as everybody did before.
//!
//! The first round names the run in which the two part, and the fork as heard there: should
//! that hub be lost in turn before it, an older one says so, and more is returned.
use std::collections::BTreeSet;

use rusqlite::Connection;
use wadi_protocol::change::Change;
use wadi_protocol::id::RunId;
use wadi_protocol::limits::{LOST_RUNS_MAX, RETURNED_STRETCHES_MAX};
use wadi_protocol::round::gateway::GatewayRound;
use wadi_protocol::wire::message::Returned;

use super::error::Problem;
use super::image::Key;
use super::overlay::Meta;
use super::work::{Work, decode, row_id};
use super::{base, compact, intake, log, stretches};

/// Begin anew with the hub of these runs, each with its last sequence.
pub(super) fn restart(
    work: &mut Work<'_>,
    before: &GatewayRound,
    line: &[(RunId, u64)],
) -> Result<(), Problem> {
    let heard = |run: &RunId| work.ground.hubs.contains(run);
    let fork = line.iter().filter(|(run, _)| heard(run)).map(|(_, end)| *end).max().unwrap_or(0);
    // The run in which the two part is both lost and known: its sequences go on behind.
    let common = |run: &RunId| line.iter().any(|(known, end)| known == run && *end < fork);
    let lost: Vec<RunId> = work.ground.hubs.iter().filter(|run| !common(run)).copied().collect();
    work.run("DELETE FROM wadi_lost", ())?;
    for run in lost.iter().rev().take(LOST_RUNS_MAX) {
        work.run("INSERT INTO wadi_lost (run, fork) VALUES (?, ?)", (run.0 as i64, fork as i64))?;
    }
    let kept: BTreeSet<RunId> = work
        .ground
        .hubs
        .iter()
        .filter(|run| line.iter().any(|(known, _)| known == *run))
        .copied()
        .collect();
    work.run("DELETE FROM wadi_hub", ())?;
    for run in &kept {
        work.run("INSERT INTO wadi_hub (run) VALUES (?)", (run.0 as i64,))?;
    }
    work.ground.hubs = std::sync::Arc::new(kept);
    let parts = |(run, end): &&(RunId, u64)| *end == fork && work.ground.hubs.contains(run);
    if let Some((run, _)) = line.iter().find(parts).filter(|_| fork > 0) {
        work.ground.round.hub = *run;
    }
    // The lost hub's newest backup says nothing of what this one numbers.
    compact::forget_behind(work, fork)?;
    work.run("UPDATE wadi_change SET alias = NULL WHERE alias IS NOT NULL", ())?;
    let returned = work.run(
        "UPDATE wadi_change SET custody = 0, alias = coalesce(hub_seq, 0), hub_seq = NULL,
             brought = 0, reason = iif(laid = 2, reason, NULL)
         WHERE custody IN (2, 3, 4) OR (custody = 1 AND (hub_seq IS NULL OR hub_seq > ?))
             OR (custody = 0 AND laid = 0)",
        (fork as i64,),
    )?;
    let contained = contained_later(&work.tx, fork)?;
    for id in &contained {
        work.run("UPDATE wadi_change SET custody = 0, hub_seq = NULL WHERE id = ?", (id,))?;
    }
    let returned = returned + contained.len();
    // What others had brought may be nowhere now; what was not laid since base had it by
    // their hands is returned like the rest.
    let of_others =
        "SELECT k.run, k.first, k.last FROM wadi_known k JOIN wadi_run r ON r.id = k.run
                     WHERE r.device <> ?";
    let known = work.all(of_others, (work.ground.device.0 as i64,), |row| {
        Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))
    })?;
    for (run, stretch) in known {
        stretches::join(work, stretches::LOST_KNOWN, run, stretch)?;
    }
    work.run("DELETE FROM wadi_known", ())?;
    make_stale(work, before)?;
    let waiting = work.one(
        "SELECT count(*) FROM wadi_change WHERE custody <> 1 AND custody IN (0, 3)",
        (),
        |row| row.get::<_, i64>(0),
    )?;
    work.ground.waiting = waiting.unwrap_or(0) as u64;
    tracing::warn!(
        phase = "session",
        fork,
        returned,
        "the hub was restored from an older backup: what it does not have any more goes there again"
    );
    Ok(())
}

/// Changes before the fork that another gateway brought and whose stamp an intake here
/// contained: the hub heard of that when it knew the change already, perhaps behind the fork.
fn contained_later(db: &Connection, fork: u64) -> Result<Vec<i64>, Problem> {
    let sql = "SELECT id, body FROM wadi_change WHERE custody = 1 AND NOT brought AND hub_seq <= ?";
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query((fork as i64,))?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        let change: Change = decode("a change", &row.get::<_, Vec<u8>>(1)?)?;
        if change.contained.is_some() {
            ids.push(row.get(0)?);
        }
    }
    Ok(ids)
}

/// The last run of the hub that was lost; none before one was.
pub(super) fn lost_hub(db: &Connection) -> Result<RunId, Problem> {
    let run: i64 = db.query_row("SELECT lost_hub FROM wadi_store", (), |row| row.get(0))?;
    Ok(RunId(run as u64))
}

/// What is known of rows is what a hub told that is lost, be it nothing: own changes may have
/// been folded into that. Of those that were stale
/// already, from which of the two is not kept: nothing is claimed of them.
fn make_stale(work: &mut Work<'_>, before: &GatewayRound) -> Result<(), Problem> {
    work.run("UPDATE wadi_row SET stale = -1 WHERE stale", ())?;
    for table in work.schema().iter().flat_map(|schema| &schema.tables) {
        let cursor = before.cursors[table.lane as usize] as i64;
        // 3 = it left: nothing was told of it since.
        let sql = "UPDATE wadi_row SET stale = 1 + iif(state = 3, version, max(version, ?))
                   WHERE tbl = ? AND stale = 0";
        work.run(sql, (cursor, table.number))?;
    }
    work.run("UPDATE wadi_row SET stale = 1 WHERE stale < 0", ())?;
    work.run("UPDATE wadi_store SET lost_hub = ?", (before.hub.0 as i64,))?;
    work.ground.lost_hub = before.hub;
    Ok(())
}

/// What the changes of a changeset were at the lost hub; none if they were not there and
/// nobody who made them was shown what that had.
pub(super) fn returned(
    work: &Work<'_>,
    ids: &[i64],
    changes: &[Change],
) -> Result<Option<Returned>, Problem> {
    let runs = work.all("SELECT run, fork FROM wadi_lost ORDER BY run", (), |row| {
        Ok((RunId(row.get::<_, i64>(0)? as u64), row.get::<_, i64>(1)? as u64))
    })?;
    let Some(&(_, fork)) = runs.first() else {
        return Ok(None);
    };
    let mut seqs: Vec<(u32, u64)> = Vec::new();
    for id in ids {
        let alias = "SELECT coalesce(alias, 0) FROM wadi_change WHERE id = ?";
        let seq = work.one(alias, (id,), |row| row.get::<_, i64>(0))?.unwrap_or(0) as u64;
        let full = seqs.len() == RETURNED_STRETCHES_MAX;
        match seqs.last_mut() {
            Some((count, 0)) if seq == 0 => *count += 1,
            Some((count, first)) if *first != 0 && seq == *first + u64::from(*count) => *count += 1,
            _ if full => break,
            _ => seqs.push((1, seq)),
        }
    }
    let runs: Vec<RunId> = runs.into_iter().map(|(run, _)| run).collect();
    let saw = |change: &Change| runs.contains(&change.seen.version.hub);
    let matters = seqs.iter().any(|&(_, first)| first != 0) || changes.iter().any(saw);
    Ok(matters.then_some(Returned { fork, runs, seqs }))
}

/// What a stale row is now is known: its old base goes, and what of it is returned lies
/// over the new one, until it is folded into that as any other change. What the two hubs have
/// in common is in what the new one says, be it that it says nothing, and so is what it calls
/// known: laid over that again it would stand above changes that followed it.
pub(super) fn renew(work: &Work<'_>, key: Key, stale: &Meta) -> Result<Meta, Problem> {
    work.run(
        "UPDATE wadi_change SET laid = 0
         WHERE tbl = ? AND row = ? AND laid = 1 AND alias IS NULL
             AND hub_seq <= (SELECT max(fork) FROM wadi_lost)",
        (key.0, key.1.0),
    )?;
    work.run(
        "UPDATE wadi_change SET laid = 1
         WHERE tbl = ? AND row = ? AND alias IS NOT NULL AND laid = 0 AND custody <> 4
             AND NOT EXISTS (SELECT 1 FROM wadi_known k
                 WHERE k.run = wadi_change.run AND wadi_change.seq BETWEEN k.first AND k.last)",
        (key.0, key.1.0),
    )?;
    // What the new one does not take as it is: it may be here since an operator of the lost
    // one had repaired what no column holds.
    let refused = work.all(
        "SELECT id, body FROM wadi_change
         WHERE tbl = ? AND row = ? AND alias IS NOT NULL AND laid = 0 AND custody = 4",
        (key.0, key.1.0),
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)),
    )?;
    for (id, body) in refused {
        let change: Change = decode("a change", &body)?;
        let fits = intake::judged(work, std::slice::from_ref(&change)).is_ok();
        let laid = if fits { log::LAID } else { log::UNLAID };
        if !fits {
            work.note_unlaid();
        }
        work.run("UPDATE wadi_change SET laid = ? WHERE id = ?", (laid, id))?;
    }
    let Meta { shown, feed_seq, .. } = *stale;
    Ok(Meta { shown, feed_seq, sight: stale.sight.clone(), ..Meta::default() })
}

/// Whether what people see of a row is what a lost hub had told.
pub(super) fn is_stale(work: &Work<'_>, key: Key) -> Result<bool, Problem> {
    let stale = "SELECT 1 FROM wadi_row WHERE tbl = ? AND row = ? AND stale";
    Ok(work.one(stale, (key.0, key.1.0), |_| Ok(()))?.is_some())
}

/// A change that a stale row counts was brought again: it is returned like the rest.
pub(super) fn comes_back(work: &Work<'_>, id: i64) -> Result<(), Problem> {
    work.run("UPDATE wadi_change SET alias = 0 WHERE id = ?", (id,))?;
    Ok(())
}

/// Whether some row is still as a lost hub told it.
pub(super) fn is_unswept(db: &Connection) -> Result<bool, Problem> {
    Ok(db.prepare_cached("SELECT 1 FROM wadi_row WHERE stale LIMIT 1")?.exists(())?)
}

/// The hub has told everything: rows of which it said nothing are what returned changes
/// make them. Rows to show anew go into `dirty`.
pub(super) fn sweep(work: &mut Work<'_>, dirty: &mut BTreeSet<Key>) -> Result<(), Problem> {
    let Some(schema) = work.schema() else {
        return Ok(());
    };
    let stale = work.all("SELECT tbl, row FROM wadi_row WHERE stale", (), |row| {
        Ok((row.get::<_, u16>(0)?, row_id(row, 1)?))
    })?;
    work.run("DELETE FROM wadi_lost_known", ())?;
    for key in stale {
        renew(work, key, &Meta::load(&work.tx, key)?)?.save(&work.tx, key)?;
        base::advance(work, &schema, key, None)?;
        dirty.insert(key);
    }
    Ok(())
}
