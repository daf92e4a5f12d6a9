//! The short way for a row whose history is a simple chain.
//!
//! Nearly every row is made by one run of one device: an insert, then perhaps
//! updates, each behind the one before. There every field has one candidate, the
//! last change that gives it a value, and no graph is needed to see it. Gives
//! exactly what the general way gives, or nothing: whatever could make a
//! difference (a base image, another run, a delete, a settle, something named as
//! seen, a claim to have seen what comes later, deltas that gather) is left to that.
//!
//! [`grown`] and [`grow`] do the same one change at a time, for a store that keeps the
//! last change of a chain with its row: then the history need not be read again.
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::{Existence, Placed, Resolution, Resolved, lay};
use crate::change::{Change, Delta, FieldRef, Op};
use crate::id::Dot;
use crate::schema::{Field, Merge, Mode, Table};
use crate::value::Value;

/// The last change of a chain (none = there is no row yet) once this change, applied
/// behind all of it, is there too; none if that is no simple chain.
pub fn grown(table: &Table, last: Option<Dot>, placed: &Placed<'_>) -> Option<Dot> {
    let change = placed.change;
    let follows = match last {
        None => change.op == Op::Insert,
        Some(last) => {
            change.op == Op::Update
                && (change.dot.device, change.dot.run) == (last.device, last.run)
                && change.dot.seq > last.seq
        }
    };
    let gathering = |field: &FieldRef| match field {
        FieldRef::Number(number) => table.field(*number).is_some_and(|f| gathers(f.merge)),
        FieldRef::Name(_) => false,
    };
    let simple = follows
        && table.mode == Mode::Field
        && change.seen.above.is_empty()
        && placed.seen_seq < placed.seq
        && !change.fields.iter().any(|(field, _)| gathering(field));
    simple.then_some(change.dot)
}

/// Lay the next change of a chain over the row's values (no nulls).
pub fn grow(table: &Table, fields: &mut BTreeMap<u16, Value>, change: &Change) {
    for (field, delta) in &change.fields {
        let FieldRef::Number(number) = field else { continue };
        let Some(field) = table.field(*number) else { continue };
        if *delta == Delta::Passed {
            continue;
        }
        match lay(field, &Value::Null, delta) {
            Value::Null => fields.remove(number),
            value => fields.insert(*number, value),
        };
    }
}

/// The last change of the chain that these applied changes are, given in hub order;
/// none if they are no simple chain.
pub fn end(table: &Table, changes: &[Placed<'_>]) -> Option<Dot> {
    let mut last = None;
    for placed in changes {
        last = Some(grown(table, last, placed)?);
    }
    last
}

/// What the row is, if its history is such a chain.
pub(super) fn resolve(table: &Table, changes: &[Placed<'_>]) -> Option<Resolved> {
    if table.mode != Mode::Field {
        return None;
    }
    let chain = in_order(changes)?;
    let (&insert, updates) = chain.split_first()?;
    let is_op = |at: usize, op: Op| changes[at].change.op == op;
    if !is_op(insert, Op::Insert) || !updates.iter().all(|&at| is_op(at, Op::Update)) {
        return None;
    }
    let mut givers = vec![insert; table.fields.len()];
    for &at in &chain {
        for (field, _) in &changes[at].change.fields {
            let FieldRef::Number(number) = field else { continue };
            let place = table.fields.iter().position(|field| field.number == *number);
            let Some(place) = place else { continue };
            if gathers(table.fields[place].merge) {
                return None;
            }
            if changes[at].change.delta(*number).is_some_and(|delta| *delta != Delta::Passed) {
                givers[place] = at;
            }
        }
    }
    // Nobody gives a field a value, if nothing replaces what the insert left out.
    let passes = |(field, &giver): (&Field, &usize)| changes[giver].change.passes(field.number);
    if table.fields.iter().zip(&givers).any(passes) {
        return None;
    }
    let fields = table.fields.iter().zip(givers).map(|(field, giver)| {
        let single = !gathers(field.merge);
        let delta = changes[giver].change.delta(field.number);
        Resolution {
            field: field.number,
            value: delta.map_or(Value::Null, |delta| lay(field, &Value::Null, delta)),
            candidates: vec![giver],
            winner: single.then_some(giver),
            shown: Vec::from_iter(single.then_some(giver)),
            conflict: false,
            review: false,
        }
    });
    let existence = Existence { inserted: true, candidates: vec![insert], ..Existence::default() };
    Some(Resolved { existence, fields: fields.collect() })
}

/// Strategies that gather what every change says: the last one alone tells nothing.
fn gathers(merge: Merge) -> bool {
    matches!(merge, Merge::Sum | Merge::Append | Merge::Set)
}

/// The changes in the order of their one run, if nothing but that order holds between them.
fn in_order(changes: &[Placed<'_>]) -> Option<Vec<usize>> {
    let dot = |at: usize| changes[at].change.dot;
    let first = changes.first()?.change.dot;
    let one_run = |placed: &Placed<'_>| {
        let change = placed.change;
        (change.dot.device, change.dot.run) == (first.device, first.run)
            && change.seen.above.is_empty()
    };
    if !changes.iter().all(one_run) {
        return None;
    }
    let mut order: Vec<usize> = (0..changes.len()).collect();
    order.sort_unstable_by_key(|&at| dot(at).seq);
    if order.windows(2).any(|pair| dot(pair[0]).seq == dot(pair[1]).seq) {
        return None;
    }
    // Nobody claims to have seen itself or what lies behind it: that would be forged.
    let mut least = u64::MAX;
    for &at in order.iter().rev() {
        if changes[at].seq != 0 {
            least = least.min(changes[at].seq);
        }
        if changes[at].seen_seq >= least {
            return None;
        }
    }
    Some(order)
}
