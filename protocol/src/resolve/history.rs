//! The changes of one row, made ready for the question of what precedes what.
//!
//! Changes are renamed here once: their *place* is their rank by (stamp, dot),
//! so that nothing below can depend on the order in which they were given, and
//! "the greatest stamp" is simply the last place.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{Lines, Placed};
use crate::change::{Change, Delta, Op};
use crate::id::{DeviceId, Dot, RunId};
use crate::order;
use crate::value::Value;

/// For each run the nearest above it on its line, and the last sequence there that precedes.
type Runs = Vec<Option<(usize, u64)>>;

/// The distinct changes of a row, least (stamp, dot) first.
pub(super) struct History<'a> {
    /// By place.
    pub changes: Vec<Placed<'a>>,
    /// The index of each in the slice that was given.
    pub given: Vec<usize>,
    /// The changes that each names as seen above its row version.
    pub above: Vec<Vec<usize>>,
    /// The run of each: an index of `runs`.
    pub run: Vec<usize>,
    /// Every run with changes here, a run behind those on its line: the nearest
    /// such run on its line, and the last sequence of it that precedes.
    pub runs: Runs,
}

impl<'a> History<'a> {
    /// Of changes that carry one dot (forged, or twice contained) the least counts.
    pub fn new(given: &[Placed<'a>], lines: &Lines) -> History<'a> {
        let key = |at: usize| {
            let placed = &given[at];
            (placed.change.order(), placed.change, placed.seq, placed.seen_seq)
        };
        let mut ranked: Vec<usize> = (0..given.len()).collect();
        ranked.sort_by(|&a, &b| key(a).cmp(&key(b)));
        let mut places: BTreeMap<Dot, usize> = BTreeMap::new();
        ranked.retain(|&at| {
            let place = places.len();
            *places.entry(given[at].change.dot).or_insert(place) == place
        });

        let changes: Vec<Placed<'a>> = ranked.iter().map(|&at| given[at]).collect();
        let named = |placed: &Placed<'_>| {
            placed.change.seen.above.iter().filter_map(|dot| places.get(dot).copied()).collect()
        };
        let above = changes.iter().map(named).collect();
        let (run, runs) = runs(&changes, lines);
        History { changes, given: ranked, above, run, runs }
    }

    /// The change at a place.
    pub fn change(&self, place: usize) -> &'a Change {
        self.changes[place].change
    }

    /// The indices that were given for these places.
    pub fn given(&self, places: &[usize]) -> Vec<usize> {
        places.iter().map(|&place| self.given[place]).collect()
    }
}

/// Whether the change ends the row: a delete, or an operator's word that the row is not.
pub(super) fn deletes(change: &Change) -> bool {
    match change.op {
        Op::Delete => true,
        Op::Settle => change.delta(0) == Some(&Delta::Set(Value::Bool(false))),
        Op::Insert | Op::Update | Op::Undone => false,
    }
}

/// Whether the change says that the row is there: an insert, or an operator's word.
pub(super) fn affirms(change: &Change) -> bool {
    match change.op {
        Op::Insert => true,
        Op::Settle => change.delta(0).is_some() && !deletes(change),
        Op::Update | Op::Delete | Op::Undone => false,
    }
}

/// Whether the change touches every field: it makes the row or ends it, or once did.
pub(super) fn touches_every(change: &Change) -> bool {
    match change.op {
        Op::Insert | Op::Delete => true,
        Op::Settle | Op::Undone => change.delta(0) == Some(&Delta::Set(Value::Bool(false))),
        Op::Update => false,
    }
}

/// Whether the change touches the existence alone, not every field.
pub(super) fn touches_existence(change: &Change) -> bool {
    let word = matches!(change.op, Op::Settle | Op::Undone) && change.delta(0).is_some();
    word && !touches_every(change)
}

/// The run of each change, and how the runs follow one another.
fn runs(changes: &[Placed<'_>], lines: &Lines) -> (Vec<usize>, Runs) {
    let mut slots: BTreeMap<(DeviceId, RunId), usize> = BTreeMap::new();
    let mut of_device: BTreeMap<DeviceId, usize> = BTreeMap::new();
    for placed in changes {
        let dot = placed.change.dot;
        let next = slots.len();
        if *slots.entry((dot.device, dot.run)).or_insert(next) == next {
            *of_device.entry(dot.device).or_default() += 1;
        }
    }
    let mut above = alloc::vec![None; slots.len()];
    for (&(device, run), &slot) in &slots {
        // Most devices changed the row in one run only: spare their lines.
        if of_device[&device] > 1 {
            let nearest = lines.ancestor(device, run, |run| slots.contains_key(&(device, run)));
            above[slot] = nearest.map(|(run, last)| (slots[&(device, run)], last));
        }
    }
    let before: Vec<(usize, usize)> =
        (0..above.len()).filter_map(|slot| above[slot].map(|(parent, _)| (parent, slot))).collect();
    let order: Vec<usize> = order::components(above.len(), &before).into_iter().flatten().collect();
    let mut renamed = alloc::vec![0; order.len()];
    order.iter().enumerate().for_each(|(new, &old)| renamed[old] = new);
    let rename = |(slot, last): (usize, u64)| (renamed[slot], last);
    let runs = order.iter().map(|&old| above[old].map(rename)).collect();
    let slot = |placed: &Placed<'_>| {
        let dot = placed.change.dot;
        renamed[slots[&(dot.device, dot.run)]]
    };
    (changes.iter().map(slot).collect(), runs)
}
