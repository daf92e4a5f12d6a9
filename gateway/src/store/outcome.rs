//! What became of changes: custody, hub sequences, dots known by other routes.
use std::collections::BTreeSet;

use wadi_protocol::change::Change;
use wadi_protocol::wire::downlink::{KnownRuns, Notice};
use wadi_protocol::wire::message::Outcome;

use super::error::Problem;
use super::image::Key;
use super::work::{Work, decode, row_id};
use super::{Custody, intake, log, stretches};

/// A change of which something is told.
struct Subject {
    id: i64,
    custody: Custody,
    laid: i64,
    key: Option<Key>,
}

const SUBJECT: &str = "SELECT id, custody, laid, tbl, row FROM wadi_change";

fn subject(row: &rusqlite::Row<'_>) -> rusqlite::Result<Subject> {
    let table: Option<u16> = row.get(3)?;
    let id = row_id(row, 4)?;
    Ok(Subject {
        id: row.get(0)?,
        custody: Custody::of(row.get(1)?),
        laid: row.get(2)?,
        key: table.map(|table| (table, id)),
    })
}

/// The outcomes of a round's changes, in their order. Rows to show anew go into `dirty`.
pub(super) fn of_round(
    work: &mut Work<'_>,
    changes: &[i64],
    outcomes: &[(u32, Outcome)],
    verdicts: &[(u32, String)],
    dirty: &mut BTreeSet<Key>,
) -> Result<(), Problem> {
    let mut at: usize = 0;
    for (count, outcome) in outcomes {
        for step in 0..u64::from(*count) {
            let Some(&id) = changes.get(at) else {
                return Err(Problem::Damaged("the round's changes are not those stored".into()));
            };
            let reason = verdicts.iter().find(|(index, _)| *index as usize == at);
            let found = work.one(&format!("{SUBJECT} WHERE id = ?"), (id,), subject)?;
            let subject = found.ok_or_else(|| Problem::Damaged(format!("change {id} is gone")))?;
            let reason = reason.map_or("", |(_, reason)| reason.as_str());
            dirty.extend(apply(work, &subject, &later(outcome, step), reason, true)?);
            at += 1;
        }
    }
    Ok(())
}

/// News of changes of earlier rounds. A change that was parked or quarantined and is no
/// more (or was rejected) makes room at the hub: what was held may be offered again.
pub(super) fn of_notices(
    work: &mut Work<'_>,
    notices: &[Notice],
    dirty: &mut BTreeSet<Key>,
) -> Result<(), Problem> {
    let mut released = false;
    for notice in notices {
        let Some(run) = work.run_id(notice.dot.device, notice.dot.run) else {
            continue;
        };
        let sql = format!("{SUBJECT} WHERE run = ? AND seq = ?");
        // Of a change that came to the hub by another route nothing is kept here.
        let Some(subject) = work.one(&sql, (run, notice.dot.seq as i64), subject)? else {
            continue;
        };
        dirty.extend(apply(work, &subject, &notice.outcome, &notice.reason, false)?);
        released |= match subject.custody {
            Custody::Parked => notice.outcome != Outcome::Parked,
            custody => custody == Custody::Quarantined,
        };
    }
    if released {
        let held = format!("{SUBJECT} WHERE custody = 3 AND custody <> 1");
        for subject in work.all(&held, (), subject)? {
            work.run("UPDATE wadi_change SET custody = 0 WHERE id = ?", (subject.id,))?;
            dirty.extend(subject.key);
        }
    }
    Ok(())
}

/// In a stretch the sequences count up.
fn later(outcome: &Outcome, step: u64) -> Outcome {
    match outcome {
        Outcome::Applied { seq } => Outcome::Applied { seq: seq.saturating_add(step) },
        other => other.clone(),
    }
}

/// Note what became of a change; the row that it is of, as far as its table is known.
fn apply(
    work: &mut Work<'_>,
    subject: &Subject,
    outcome: &Outcome,
    reason: &str,
    by_round: bool,
) -> Result<Option<Key>, Problem> {
    let (custody, seq, brought) = match outcome {
        Outcome::Applied { seq } => (Custody::Committed, Some(*seq), Some(true)),
        Outcome::Known { seq: 0 } => (Custody::Parked, None, Some(false)),
        Outcome::Known { seq } => (Custody::Committed, Some(*seq), Some(false)),
        Outcome::Parked => (Custody::Parked, None, Some(true)),
        Outcome::Quarantined => (Custody::Quarantined, None, Some(true)),
        Outcome::Held => (Custody::Held, None, None),
    };
    // Who brought it was settled by its round, not by what comes later; unless the hub
    // has it in another form than ours, since an operator repaired it.
    let repaired = !by_round && brought == Some(false);
    let brought = brought.filter(|_| by_round || repaired);
    // The hub took what we could not lay: it is folded, so it counts as laid. What our
    // schema has no place for cannot be folded: that waits for the schema that has. And
    // what was repaired comes as state.
    let (laid, key) = match (custody, subject.laid) {
        (Custody::Committed, log::UNLAID) if repaired => (log::DONE, subject.key),
        (Custody::Committed, log::UNLAID) => match place(work, subject)? {
            Some(key) => (log::LAID, Some(key)),
            None => (log::UNLAID, subject.key),
        },
        (_, laid) => (laid, subject.key),
    };
    let reason = match custody {
        Custody::Quarantined if reason.is_empty() => Some("the hub did not say why"),
        Custody::Committed => None,
        _ => Some(reason).filter(|reason| !reason.is_empty()),
    };
    work.run(
        "UPDATE wadi_change SET custody = ?, hub_seq = coalesce(?, hub_seq),
         brought = coalesce(?, brought), laid = ?, tbl = ?, reason = ? WHERE id = ?",
        (
            custody as i64,
            seq.map(|seq| seq as i64),
            brought,
            laid,
            key.map(|(table, _)| table),
            reason,
            subject.id,
        ),
    )?;
    count(work, subject.custody, custody);
    Ok(key)
}

/// The row that a change goes to, if our schema has a place for it: its table may have
/// come while it was in quarantine.
fn place(work: &Work<'_>, subject: &Subject) -> Result<Option<Key>, Problem> {
    let body: Option<Vec<u8>> =
        work.one("SELECT body FROM wadi_change WHERE id = ?", (subject.id,), |row| row.get(0))?;
    let change: Change = decode("a change", &body.unwrap_or_default())?;
    let table = intake::table_number(work, &change);
    let fits = intake::judged(work, std::slice::from_ref(&change)).is_ok();
    Ok(table.filter(|_| fits).map(|table| (table, change.row)))
}

fn count(work: &mut Work<'_>, before: Custody, after: Custody) {
    let waits = |custody| matches!(custody, Custody::Pending | Custody::Held);
    match (waits(before), waits(after)) {
        (true, false) => work.ground.waiting -= 1,
        (false, true) => work.ground.waiting += 1,
        _ => {}
    }
}

/// Dots that other gateways brought and the page covers: remembered for those who
/// offer them later, and no longer laid over where they are here already. What the hub
/// has not decided about goes there all the same: only the hub can say whether the
/// change that has the dot is this one.
pub(super) fn of_known(
    work: &mut Work<'_>,
    known: &[KnownRuns],
    dirty: &mut BTreeSet<Key>,
) -> Result<(), Problem> {
    for runs in known {
        let run = work.name_run(runs.device, runs.run)?;
        for &(first, last) in &runs.spans {
            let (first, last) = (first as i64, last as i64);
            stretches::join(work, stretches::KNOWN, run, (first, last))?;
            let sql = format!(
                "{SUBJECT} WHERE run = ? AND seq BETWEEN ? AND ? AND brought = 0 AND laid <> 0"
            );
            for subject in work.all(&sql, (run, first, last), subject)? {
                let custody = match subject.custody {
                    Custody::Parked => Custody::Committed,
                    custody => custody,
                };
                work.run(
                    "UPDATE wadi_change SET custody = ?, laid = 0 WHERE id = ?",
                    (custody as i64, subject.id),
                )?;
                dirty.extend(subject.key);
            }
        }
    }
    Ok(())
}
