//! How the changes of one field stand to one another: which of them are its
//! candidates, under the plain rule and under that of `review`.
//!
//! Candidates are the values that no other value follows. A delete is never
//! one; what precedes a delete that an insert follows has ended, for good.
use alloc::vec;
use alloc::vec::Vec;

use super::graph::Graph;
use super::history::{History, deletes};
use crate::change::Op;

/// The changes of one field, or in `record` mode of the row. Flags by node.
pub(super) struct Standing {
    /// What precedes what.
    pub graph: Graph,
    /// Whether it gives the field a value (an insert without one gives null).
    pub value: Vec<bool>,
    /// Whether it gave the field a value where it was made: here it may have been left out.
    pub edit: Vec<bool>,
    /// Whether it ends the row.
    pub delete: Vec<bool>,
    /// Whether it precedes a delete that an insert follows.
    pub ended: Vec<bool>,
    /// Whether a delete and then an insert stand here: they end the base image too.
    pub reborn: bool,
    /// Whether another value follows it.
    followed: Vec<bool>,
}

const VALUE: u64 = 1;
const INSERT: u64 = 2;

impl Standing {
    /// Of the changes at these places, ascending; `value` tells who gives a value, `passed`
    /// whose was left out.
    pub fn new(
        history: &History<'_>,
        members: Vec<usize>,
        value: impl Fn(usize) -> bool,
        passed: impl Fn(usize) -> bool,
    ) -> Standing {
        let edit = members.iter().map(|&place| value(place) || passed(place)).collect();
        let value: Vec<bool> = members.iter().map(|&place| value(place)).collect();
        let change = |place: &usize| history.change(*place);
        let delete: Vec<bool> = members.iter().map(|place| deletes(change(place))).collect();
        let insert = members.iter().map(|place| change(place).op == Op::Insert);
        let marks = value.iter().zip(insert);
        let marks: Vec<u64> = marks
            .map(|(&value, insert)| (u64::from(value) * VALUE) | (u64::from(insert) * INSERT))
            .collect();
        let graph = Graph::new(history, members);
        let after = graph.after(&marks);
        let followed = after.iter().map(|mark| mark & VALUE != 0).collect();
        let undone = delete.iter().zip(&after).map(|(&delete, mark)| delete && mark & INSERT != 0);
        let undone: Vec<u64> = undone.map(u64::from).collect();
        let reborn = undone.contains(&1);
        let ended = match reborn {
            true => graph.after(&undone).iter().map(|&mark| mark != 0).collect(),
            false => vec![false; value.len()],
        };
        Standing { graph, value, edit, delete, ended, reborn, followed }
    }

    /// The place of a node.
    pub fn place(&self, node: usize) -> usize {
        self.graph.members[node]
    }

    /// Nodes that give a value and have not ended.
    pub fn alive(&self) -> impl Iterator<Item = usize> {
        (0..self.value.len()).filter(|&node| self.value[node] && !self.ended[node])
    }

    /// The candidates: what is alive and no other value follows.
    pub fn candidates(&self) -> Vec<usize> {
        self.alive().filter(|&node| !self.followed[node]).collect()
    }

    /// The candidates of a `review` field.
    ///
    /// An edit whose past holds an open case (several maximal values live on
    /// there, or its only one was such an edit itself) joins the case: it
    /// replaces what its own line had in it, nothing else. Any other edit, and
    /// every settle, replaces all that it follows. A copied device's other run
    /// is not on the line: it counts as somebody else.
    pub fn case(&self, history: &History<'_>) -> Vec<usize> {
        let plain = self.candidates();
        if self.alive().nth(1).is_none() {
            return plain;
        }
        let joins = self.joins(history);
        let closers = self.value.iter().zip(&joins).map(|(&value, &joins)| value && !joins);
        let closed = self.graph.after(&closers.map(u64::from).collect::<Vec<_>>());
        let replaced = self.replaced_on_line();
        self.alive().filter(|&node| closed[node] == 0 && !replaced[node]).collect()
    }

    /// Which edits join an open case.
    fn joins(&self, history: &History<'_>) -> Vec<bool> {
        let op = |node: usize| history.change(self.place(node)).op;
        let len = self.value.len();
        let insert: Vec<bool> = (0..len).map(|node| op(node) == Op::Insert).collect();
        let heads = self.graph.heads(&self.value, &self.delete, &insert);
        let mut from_oldest: Vec<usize> = (0..len).filter(|&node| self.value[node]).collect();
        from_oldest.sort_unstable_by_key(|&node| core::cmp::Reverse(self.graph.circle[node]));
        let mut joins = vec![false; len];
        for node in from_oldest {
            let open = match (heads.least[node], heads.greatest[node]) {
                (Some(least), Some(greatest)) => least != greatest || joins[least],
                _ => false,
            };
            joins[node] = open && op(node) != Op::Settle;
        }
        joins
    }

    /// Which values are followed by another on their own line.
    fn replaced_on_line(&self) -> Vec<bool> {
        let circle = &self.graph.circle;
        // The circle of the last value behind each on its line: the least there is.
        let mut last = vec![usize::MAX; self.value.len()];
        for &node in self.graph.by_line.iter().rev() {
            if let Some(before) = self.graph.line[node] {
                let own = if self.value[node] { circle[node] } else { usize::MAX };
                last[before] = last[before].min(last[node]).min(own);
            }
        }
        last.iter().zip(circle).map(|(last, own)| last < own).collect()
    }
}
