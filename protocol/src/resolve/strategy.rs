//! How the candidates of a field become its value, a strategy each.
//!
//! Looks at candidates only, never at pairs in order of arrival. The strategies
//! that gather (`sum`, `append`, `set`) take in every change that lives on,
//! followed or not, over the value in the base image; the others take the
//! value of one candidate, and the base image speaks only where none is there.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::Resolution;
use super::history::History;
use super::standing::Standing;
use crate::change::{Delta, Op};
use crate::limits::ENTRIES_MAX;
use crate::schema::{Field, Merge};
use crate::value::Value;

/// What a field is, by the changes that stand; indices are places.
pub(super) fn resolve(
    field: &Field,
    base: &Value,
    standing: &Standing,
    history: &History<'_>,
) -> Resolution {
    let case = field.merge == Merge::Review;
    let candidates = if case { standing.case(history) } else { standing.candidates() };
    let gathered = match field.merge {
        Merge::Sum => sum(field, base, standing, history),
        Merge::Append => append(field, base, standing, history),
        Merge::Set => set(field, base, standing, history),
        _ => assign(field, base, &candidates, standing, history),
    };
    let places = |nodes: Vec<usize>| nodes.into_iter().map(|node| standing.place(node)).collect();
    let conflict = candidates.len() > 1;
    Resolution {
        field: field.number,
        value: gathered.value,
        candidates: places(candidates),
        winner: gathered.winner.map(|node| standing.place(node)),
        shown: places(gathered.shown),
        conflict,
        review: gathered.review || case && conflict,
    }
}

/// A value and where it is from; indices are nodes.
struct Gathered {
    value: Value,
    winner: Option<usize>,
    shown: Vec<usize>,
    review: bool,
}

/// The value that one change alone gives a field; null for an insert without one.
pub(super) fn value_of(field: &Field, history: &History<'_>, place: usize) -> Value {
    let delta = history.change(place).delta(field.number);
    delta.map_or(Value::Null, |delta| super::lay(field, &Value::Null, delta))
}

/// `last-write`, `first-write`, `max`, `min` and `review`: one candidate's value.
fn assign(
    field: &Field,
    base: &Value,
    candidates: &[usize],
    standing: &Standing,
    history: &History<'_>,
) -> Gathered {
    let value = |node: usize| value_of(field, history, standing.place(node));
    // Candidates ascend by (stamp, dot). Having no value never beats having one.
    let valued = || candidates.iter().copied().filter(|&node| !value(node).is_null());
    let last = candidates.last().copied();
    let winner = match field.merge {
        Merge::FirstWrite => candidates.first().copied(),
        Merge::Max => valued().max_by_key(|&node| value(node)).or(last),
        Merge::Min => valued().rev().min_by_key(|&node| value(node)).or(last),
        _ => last,
    };
    let shown = Vec::from_iter(winner);
    Gathered { value: winner.map_or_else(|| base.clone(), value), winner, shown, review: false }
}

/// Every delta is added to the base. A total that is set (only a settle does)
/// replaces what it follows; two such totals side by side wait for a person, as
/// does one that leaves the field's range. Accumulated wide.
fn sum(field: &Field, base: &Value, standing: &Standing, history: &History<'_>) -> Gathered {
    let delta = |node: usize| {
        let change = history.change(standing.place(node));
        match change.delta(field.number) {
            // The first value of a row replaces nothing.
            Some(Delta::Set(Value::Int(number))) if change.op == Op::Insert => {
                Some(Term::Part(*number))
            }
            Some(Delta::Set(Value::Int(number))) => Some(Term::Total(*number)),
            Some(Delta::Set(_)) if change.op != Op::Insert => Some(Term::Total(0)),
            Some(Delta::Add(number)) => Some(Term::Part(*number)),
            _ => None,
        }
    };
    let mut terms: Vec<Option<Term>> = vec![None; standing.value.len()];
    standing.alive().for_each(|node| terms[node] = delta(node));
    let is_total = |term: &Option<Term>| u64::from(matches!(term, Some(Term::Total(_))));
    let totals: Vec<u64> = terms.iter().map(is_total).collect();
    let (mut heads, mut winner) = (0, None);
    if totals.contains(&1) {
        let replaced = standing.graph.after(&totals);
        let mut head = (0..totals.len()).filter(|&node| totals[node] == 1 && replaced[node] == 0);
        (heads, winner) = (head.clone().count(), head.next_back());
    }
    if let Some(winner) = winner {
        let mut mark = vec![0; totals.len()];
        mark[winner] = 1;
        let replaced = standing.graph.after(&mark);
        (0..terms.len())
            .filter(|&node| node != winner && (totals[node] == 1 || replaced[node] == 1))
            .for_each(|node| terms[node] = None);
    }
    let mut total = match (winner, base) {
        (None, Value::Int(number)) => i128::from(*number),
        _ => 0,
    };
    let mut shown = Vec::new();
    for (node, term) in terms.iter().enumerate() {
        if let Some(Term::Part(number) | Term::Total(number)) = term {
            total += i128::from(*number);
            shown.push(node);
        }
    }
    let value = match shown.is_empty() {
        true => base.clone(),
        false => Value::Int(total.clamp(i64::MIN.into(), i64::MAX.into()) as i64),
    };
    let least = i128::from(field.min.unwrap_or(i64::MIN));
    let greatest = i128::from(field.max.unwrap_or(i64::MAX));
    let outside = !shown.is_empty() && (total < least || total > greatest);
    Gathered { value, winner: None, shown, review: heads > 1 || outside }
}

/// What a change does to a sum.
#[derive(Clone, Copy)]
enum Term {
    Part(i64),
    Total(i64),
}

/// Every entry is kept, in order of (stamp, dot), behind those of the base. Only
/// a settle that gives the whole list replaces the entries that it follows.
fn append(field: &Field, base: &Value, standing: &Standing, history: &History<'_>) -> Gathered {
    let change = |node: usize| history.change(standing.place(node));
    let settles = |node: usize| {
        let whole = matches!(change(node).delta(field.number), Some(Delta::Set(_)));
        u64::from(whole && change(node).op == Op::Settle && !standing.ended[node])
    };
    let settles: Vec<u64> = (0..standing.value.len()).map(settles).collect();
    let settled = settles.contains(&1);
    let replaced = match settled {
        true => standing.graph.after(&settles),
        false => vec![0; settles.len()],
    };
    let mut list = if settled { Vec::new() } else { entries(base).to_vec() };
    let mut shown = Vec::new();
    for node in standing.alive().filter(|&node| replaced[node] == 0) {
        let before = list.len();
        match change(node).delta(field.number) {
            Some(Delta::Append(entry)) => list.push(entry.clone()),
            Some(Delta::Set(value)) => list.extend_from_slice(entries(value)),
            Some(Delta::Edit { add, .. }) => list.extend_from_slice(add),
            Some(Delta::Add(_) | Delta::Passed) | None => {}
        }
        if list.len() > before || settles[node] == 1 {
            shown.push(node);
        }
    }
    let review = list.len() > ENTRIES_MAX;
    Gathered { value: list_or_null(list), winner: None, shown, review }
}

/// Additions win: a removal takes away exactly the additions that it follows,
/// entry by entry. A whole list (only a settle gives one) adds its entries and
/// removes all others.
fn set(field: &Field, base: &Value, standing: &Standing, history: &History<'_>) -> Gathered {
    let edits: Vec<Option<SetEdit<'_>>> = (0..standing.value.len())
        .map(|node| {
            let alive = standing.value[node] && !standing.ended[node];
            let delta = history.change(standing.place(node)).delta(field.number);
            alive.then(|| delta.and_then(SetEdit::of)).flatten()
        })
        .collect();
    // Who adds each entry; nobody for those that the base image holds.
    let in_base: BTreeSet<&String> = entries(base).iter().collect();
    let mut adders: BTreeMap<&String, Vec<usize>> =
        in_base.iter().map(|&entry| (entry, Vec::new())).collect();
    for (node, edit) in edits.iter().enumerate() {
        let add = edit.iter().flat_map(|edit| edit.add);
        add.for_each(|entry| adders.entry(entry).or_default().push(node));
    }
    let sweeps = edits.iter().flatten().any(|edit| edit.remove.is_none());
    let removed = edits.iter().flatten().filter_map(|edit| edit.remove).flatten();
    let removed: BTreeSet<&String> = removed.collect();
    let names: Vec<&String> = adders.keys().copied().collect();
    let (contested, safe): (Vec<&String>, Vec<&String>) =
        names.into_iter().partition(|entry| sweeps || removed.contains(entry));

    let mut list: Vec<String> = safe.iter().map(|entry| (*entry).clone()).collect();
    // A removal shows in that its entry is not there.
    let idle = |edit: &SetEdit<'_>| {
        edit.remove.is_some_and(|all| all.iter().any(|entry| !adders.contains_key(entry)))
    };
    let mut shows: Vec<bool> = edits.iter().map(|edit| edit.as_ref().is_some_and(idle)).collect();
    safe.iter().flat_map(|entry| &adders[*entry]).for_each(|&node| shows[node] = true);
    for block in contested.chunks(64) {
        let removes = |edit: &SetEdit<'_>| edit.removes(block);
        let marks: Vec<u64> = edits.iter().map(|edit| edit.as_ref().map_or(0, removes)).collect();
        let gone = standing.graph.after(&marks);
        let any = marks.iter().fold(0, |all, marks| all | marks);
        let mut there = 0u64;
        for (at, &entry) in block.iter().enumerate() {
            let stays = adders[entry].iter().filter(|&&node| gone[node] >> at & 1 == 0);
            let stays: Vec<usize> = stays.copied().collect();
            stays.iter().for_each(|&node| shows[node] = true);
            if !stays.is_empty() || any >> at & 1 == 0 && in_base.contains(entry) {
                there |= 1 << at;
                list.push(entry.clone());
            }
        }
        marks.iter().zip(&mut shows).for_each(|(marks, shows)| *shows |= marks & !there != 0);
    }
    list.sort();
    let review = list.len() > ENTRIES_MAX;
    let shown = (0..shows.len()).filter(|&node| shows[node]).collect();
    Gathered { value: list_or_null(list), winner: None, shown, review }
}

/// What a change does to a set.
struct SetEdit<'a> {
    add: &'a [String],
    /// None: all but what it adds.
    remove: Option<&'a [String]>,
}

impl<'a> SetEdit<'a> {
    fn of(delta: &'a Delta) -> Option<SetEdit<'a>> {
        match delta {
            Delta::Edit { add, remove } => Some(SetEdit { add, remove: Some(remove) }),
            Delta::Append(entry) => {
                Some(SetEdit { add: core::slice::from_ref(entry), remove: Some(&[]) })
            }
            Delta::Set(value) => Some(SetEdit { add: entries(value), remove: None }),
            Delta::Add(_) | Delta::Passed => None,
        }
    }

    /// Which of up to 64 entries, sorted, it removes: a bit each. Its own additions win.
    fn removes(&self, block: &[&String]) -> u64 {
        let bits = |entries: &[String]| {
            let place = |entry: &String| block.binary_search(&entry).ok();
            entries.iter().filter_map(place).fold(0u64, |bits, at| bits | 1 << at)
        };
        let all = u64::MAX >> (64 - block.len());
        self.remove.map_or(all, bits) & !bits(self.add)
    }
}

/// The entries of a list, of a text as one entry, of anything else none.
pub(super) fn entries(value: &Value) -> &[String] {
    match value {
        Value::List(list) => list,
        Value::Text(text) => core::slice::from_ref(text),
        _ => &[],
    }
}

/// An empty list is no value.
pub(super) fn list_or_null(list: Vec<String>) -> Value {
    if list.is_empty() { Value::Null } else { Value::List(list) }
}
