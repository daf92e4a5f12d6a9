//! What rulings do: changes leave quarantine in the form that operators gave them, or
//! are rejected there; a later repair changes the form of one that left before.
//!
//! A group leaves when each of its changes stands alone in the form that counts and
//! one of them was repaired; then everything that waited for it follows by itself. What
//! has left never comes back: others may have built on it.
use std::collections::{BTreeMap, btree_map::Entry};
use std::rc::Rc;

use rusqlite::{Connection, params};
use wadi_protocol::change::{Change, Delta, FieldRef, Op};
use wadi_protocol::id::Dot;
use wadi_protocol::ruling::{self, Word};
use wadi_protocol::schema::{Kind, Table};
use wadi_protocol::value::Value;
use wadi_protocol::wire::downlink::Notice;
use wadi_protocol::wire::message::Outcome;

use super::changes::{self, Entered, Form};
use super::judge::{self, GroupKey, group_key};
use super::kept::{self, Kept};
use super::sql::{Bits, RowKey, dot_at};
use super::work::Work;
use super::{StoreError, commit, line, notice, operators, rulings};

/// What became of what was ruled about.
#[derive(Default)]
pub(super) struct Heeded {
    /// Of the changes that came or left quarantine.
    pub outcomes: BTreeMap<Dot, Outcome>,
    /// Changes that left quarantine, and what each had waited for until then.
    pub released: Vec<Dot>,
    /// Changes that stand alone now and wait for another of their group: which, and why
    /// that does not.
    pub waiting: BTreeMap<Dot, (Dot, String)>,
}

/// Do what the rulings about these changes say, and apply `fresh` ones with it.
pub(super) fn heed(
    work: &mut Work<'_>,
    subjects: &[Dot],
    mut fresh: Vec<(Entered, Form)>,
) -> Result<Heeded, StoreError> {
    let mut heeded = Heeded::default();
    let mut groups: BTreeMap<GroupKey, Vec<Kept>> = BTreeMap::new();
    for &subject in subjects {
        let rulings = rulings::about(work.db, subject)?;
        kept::reject(work.db, subject, &rulings)?;
        if let Some(found) = kept::find(work.db, subject)? {
            let key = group_key(&found.change);
            if let Entry::Vacant(group) = groups.entry(key) {
                group.insert(kept::mates(work.db, &found.change)?);
            }
        } else if is_released(work.db, subject)? {
            reform(work, subject)?;
        } else if rulings.iter().any(|ruling| ruling.word == Word::Undo) {
            undo(work, subject)?;
        }
    }
    for mates in groups.into_values() {
        match forms(work, &mates)? {
            Forms::Unrepaired => {}
            Forms::Waits(why) => {
                let repaired = mates.iter().map(|kept| kept.change.dot);
                let others = repaired.filter(|dot| *dot != why.0);
                heeded.waiting.extend(others.map(|dot| (dot, why.clone())));
            }
            Forms::Stand(forms) => {
                for (kept, form) in mates.into_iter().zip(forms) {
                    heeded.released.push(kept.change.dot);
                    fresh.push(leave(work, kept, form)?);
                }
            }
        }
    }
    // Those that are parked now were counted in quarantine until now: no bound but that.
    heeded.outcomes = commit::go(work, fresh, None)?;
    for dot in &heeded.released {
        let (Some(outcome), Some(left)) =
            (heeded.outcomes.get(dot).cloned(), changes::find(work.db, *dot)?)
        else {
            return Err(StoreError::Broken(format!("{dot} left quarantine for nowhere")));
        };
        let notice = Notice { dot: *dot, outcome, reason: String::new() };
        notice::put_all(work.db, left.gateway, &notice)?;
    }
    Ok(heeded)
}

/// In what form the changes of a group count.
enum Forms {
    /// Nobody repaired any of them.
    Unrepaired,
    /// One does not stand alone.
    Waits((Dot, String)),
    /// Each stands alone: its form, where a repair gave it one.
    Stand(Vec<Option<Change>>),
}

fn forms(work: &Work<'_>, mates: &[Kept]) -> Result<Forms, StoreError> {
    let operators = operators::device(work.db)?;
    let mut forms = Vec::with_capacity(mates.len());
    let mut bad = None;
    for kept in mates {
        let rulings = rulings::about(work.db, kept.change.dot)?;
        let repair = ruling::repairs(&rulings).first().map(|(_, repair)| *repair);
        let form = repair.map(|repair| ruling::repaired(&kept.change, repair));
        let judged = judge::typed(work.catalog, form.as_ref().unwrap_or(&kept.change));
        match judged {
            Ok(_) if kept.change.dot.device == operators => {
                bad = bad.or(Some((kept.change.dot, kept.reason.clone())));
            }
            Ok(typed) => forms.push(repair.map(|_| typed)),
            Err(why) => bad = bad.or(Some((kept.change.dot, why))),
        }
    }
    let any = forms.iter().any(Option::is_some);
    Ok(match bad {
        _ if !any => Forms::Unrepaired,
        Some(why) => Forms::Waits(why),
        None => Forms::Stand(forms),
    })
}

/// Take a change out of quarantine, as it was made or in another form.
fn leave(work: &Work<'_>, kept: Kept, form: Option<Change>) -> Result<(Entered, Form), StoreError> {
    let dot = kept.change.dot;
    kept::remove(work.db, dot)?;
    work.db
        .prepare_cached(
            "INSERT INTO wadi_released (device, run, seq, reason, released_s)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            Bits(dot.device.0),
            Bits(dot.run.0),
            Bits(dot.seq),
            kept.reason,
            Bits(work.now_s)
        ])?;
    let repaired = form.is_some();
    let typed = match form {
        Some(form) => form,
        None => judge::typed(work.catalog, &kept.change)
            .map_err(|why| StoreError::Broken(format!("{dot} stood alone and does not: {why}")))?,
    };
    let entry = Entered {
        number: 0,
        change: Rc::new(typed),
        seq: 0,
        gateway: kept.gateway,
        received_s: kept.received_s,
        seen_seq: kept.seen_seq,
        closure_seqs: kept.closure_seqs,
        repaired,
        // It may have come by a line that ended since.
        stray: line::of(work.db, kept.gateway)?.number > 0,
    };
    let form = Form::of(kept.round, &kept.change, &entry.change);
    Ok((entry, form))
}

/// Whether a change left quarantine.
pub(super) fn is_released(db: &Connection, dot: Dot) -> Result<bool, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT 1 FROM wadi_released WHERE device = ?1 AND run = ?2 AND seq = ?3",
    )?;
    Ok(query.exists(params![Bits(dot.device.0), Bits(dot.run.0), Bits(dot.seq)])?)
}

/// Bring a change that left quarantine into the form that counts. One that is applied
/// keeps an older form while the rows that the new one references have not come.
fn reform(work: &mut Work<'_>, dot: Dot) -> Result<(), StoreError> {
    let rulings = rulings::about(work.db, dot)?;
    let (Some(stored), Some(original)) =
        (changes::find(work.db, dot)?, changes::as_made(work.db, dot)?)
    else {
        return Err(StoreError::Broken(format!("{dot} left quarantine for nowhere")));
    };
    let mut waits = false;
    for (_, repair) in ruling::repairs(&rulings) {
        let Ok(typed) = judge::typed(work.catalog, &ruling::repaired(&original, repair)) else {
            continue;
        };
        let form = Change { contained: stored.change.contained, ..typed };
        if stored.seq != 0 && !all_known(work, &form)? {
            waits = true;
            continue;
        }
        if form != *stored.change || !stored.repaired {
            changes::reform(work.db, &stored, &form)?;
            if stored.seq != 0 {
                // Whatever was known of its chain was known of another form.
                work.row(stored.key())?.before.chain = None;
            }
        }
        break;
    }
    work.db
        .prepare_cached(
            "UPDATE wadi_released SET waits = ?4 WHERE device = ?1 AND run = ?2 AND seq = ?3",
        )?
        .execute(params![Bits(dot.device.0), Bits(dot.run.0), Bits(dot.seq), waits])?;
    Ok(())
}

/// Rows have come: repairs that waited for them count now.
pub(super) fn promote(work: &mut Work<'_>) -> Result<(), StoreError> {
    let waiting: Vec<Dot> = work
        .db
        .prepare_cached("SELECT device, run, seq FROM wadi_released WHERE waits")?
        .query_map([], |row| dot_at(row, 0))?
        .collect::<Result<_, _>>()?;
    waiting.into_iter().try_for_each(|dot| reform(work, dot))
}

fn all_known(work: &Work<'_>, form: &Change) -> Result<bool, StoreError> {
    let key = changes::key_of(form);
    for (_, parent) in references(work.table(key)?, &form.fields) {
        if !work.is_known(parent)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The rows that fields of a change reference, as far as they can be read.
pub(super) fn references(table: &Table, fields: &[(FieldRef, Delta)]) -> BTreeMap<u16, RowKey> {
    let mut rows = BTreeMap::new();
    for (named, delta) in fields {
        let field = match named {
            FieldRef::Number(number) => table.field(*number),
            FieldRef::Name(name) => table.field_named(name),
        };
        if let Some(field) = field
            && let Kind::Reference { table, .. } = field.kind
        {
            let row = match delta {
                Delta::Set(Value::Row(row)) => Some(*row),
                Delta::Set(Value::Text(text)) => text.parse().ok(),
                _ => None,
            };
            rows.extend(row.map(|row| (field.number, RowKey { table, row })));
        }
    }
    rows
}

/// A settle says nothing any more. Nothing but an operator's own settle is ever undone.
fn undo(work: &mut Work<'_>, dot: Dot) -> Result<(), StoreError> {
    let Some(stored) = changes::find(work.db, dot)? else {
        return Ok(());
    };
    if stored.change.op != Op::Settle || dot.device != operators::device(work.db)? {
        return Ok(());
    }
    changes::retype(work.db, &stored, &ruling::undone(&stored.change))?;
    if stored.seq != 0 {
        work.row(stored.key())?.before.chain = None;
    }
    Ok(())
}

/// Of changes that were just put into quarantine, those that were ruled about before.
pub(super) fn ruled(db: &Connection, dots: &[Dot]) -> Result<Vec<Dot>, StoreError> {
    let mut ruled = Vec::new();
    for &dot in dots {
        if rulings::any(db, dot)? {
            ruled.push(dot);
        }
    }
    Ok(ruled)
}
