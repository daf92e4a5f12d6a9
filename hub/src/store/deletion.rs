//! Who is dead: the delete rule over what a transaction touched.
//!
//! [`neighbours`] says which rows are looked at, the protocol's rule decides,
//! and this file tells it what only the changelog knows: which rows survive a
//! cascade because every delete of the ancestor had missed something of them.
use std::collections::{BTreeMap, BTreeSet};

use wadi_protocol::change::SeenRow;
use wadi_protocol::resolve::{Lines, deletion};
use wadi_protocol::schema::DeletePolicy;

use super::StoreError;
use super::changes::{self, Entered};
use super::neighbours::{self, Neighbourhood};
use super::sql::RowKey;
use super::work::Work;

/// Decide for everything that the seeds can affect; rows whose fate changed are put to work.
pub(super) fn decide(work: &mut Work<'_>, seeds: &BTreeSet<RowKey>) -> Result<(), StoreError> {
    if !neighbours::any_gone(work, seeds)? {
        return Ok(());
    }
    let mut around = neighbours::around(work, seeds)?;
    if around.rows.iter().any(|(_, state)| state.deleted) {
        survivors(work, &mut around)?;
    }
    let verdict = deletion::decide(&around.nodes);
    for (place, (key, state)) in around.rows.iter().enumerate() {
        let dead = verdict.dead[place];
        let kept = verdict.kept.binary_search(&place).is_ok();
        if state.dead != dead || state.kept != kept {
            let row = work.row(*key)?;
            row.after.dead = dead;
            row.after.kept = kept;
        }
    }
    Ok(())
}

/// Note for each row which deleted ancestors it survives.
fn survivors(work: &mut Work<'_>, around: &mut Neighbourhood) -> Result<(), StoreError> {
    let deleted: Vec<usize> =
        (0..around.rows.len()).filter(|&place| around.rows[place].1.deleted).collect();
    for top in deleted {
        let below: Vec<usize> = around.closure(top).into_iter().collect();
        let mut deletes = None;
        for place in below {
            let key = around.rows[place].0;
            if work.table(key)?.delete == DeletePolicy::DeleteWins {
                continue;
            }
            if deletes.is_none() {
                deletes = Some(deletes_of(work, around.rows[top].0)?);
            }
            let deletes = deletes.as_deref().unwrap_or_default();
            if survives(work, key, deletes)? {
                around.nodes[place].survives.push(top);
            }
        }
    }
    Ok(())
}

/// The delete candidates that make a row deleted.
fn deletes_of(work: &mut Work<'_>, key: RowKey) -> Result<Vec<Entered>, StoreError> {
    let (changes, resolved) = work.resolve(key)?;
    Ok(resolved.existence.deletes.iter().map(|&index| changes[index].clone()).collect())
}

/// Whether every one of the deletes missed some change of the row.
fn survives(work: &mut Work<'_>, key: RowKey, deletes: &[Entered]) -> Result<bool, StoreError> {
    let changes = changes::applied(work.db, key)?;
    let fields: Vec<u16> = work.table(key)?.fields.iter().map(|field| field.number).collect();
    let lines = {
        work.lines_for(deletes)?;
        work.lines_for(&changes)?
    };
    Ok(deletes.iter().all(|delete| missed(key, delete, &changes, &fields, lines)))
}

/// Whether a delete's writer had not been shown some change of the row, on some field of it.
fn missed(
    key: RowKey,
    delete: &Entered,
    changes: &[Entered],
    fields: &[u16],
    lines: &Lines,
) -> bool {
    let listed: BTreeMap<RowKey, (&SeenRow, u64)> = delete
        .change
        .closure
        .iter()
        .zip(&delete.closure_seqs)
        .map(|(row, &seq)| (RowKey { table: row.table, row: row.row }, (row, seq)))
        .collect();
    let shown = |change: &Entered| {
        lines.earlier(change.change.dot, delete.change.dot)
            || listed.get(&key).is_some_and(|(row, seq)| {
                change.seq <= *seq || row.seen.above.contains(&change.change.dot)
            })
    };
    std::iter::once(&0).chain(fields).any(|&field| missed_on(field, changes, &shown, lines))
}

/// The same for one field: seen is what was shown, and what precedes that on the field.
fn missed_on(
    field: u16,
    changes: &[Entered],
    shown: &impl Fn(&Entered) -> bool,
    lines: &Lines,
) -> bool {
    let touching: Vec<&Entered> =
        changes.iter().filter(|change| change.change.touches(field)).collect();
    let mut seen: Vec<bool> = touching.iter().map(|change| shown(change)).collect();
    let mut open: Vec<usize> = (0..seen.len()).filter(|&place| seen[place]).collect();
    while let Some(after) = open.pop() {
        for before in 0..touching.len() {
            if !seen[before] && precedes(touching[before], touching[after], lines) {
                seen[before] = true;
                open.push(before);
            }
        }
    }
    seen.contains(&false)
}

/// Whether one change of a row directly precedes another, on a field that both touch.
fn precedes(before: &Entered, after: &Entered, lines: &Lines) -> bool {
    before.seq <= after.seen_seq
        || after.change.seen.above.contains(&before.change.dot)
        || lines.earlier(before.change.dot, after.change.dot)
}
