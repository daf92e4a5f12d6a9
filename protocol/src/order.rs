//! Order among things that need one another: parked changes, rows that
//! reference rows, changes that had seen changes.
//!
//! Works on indices and keys only. Nothing recurses, so a hostile chain of any
//! length costs time and no stack; indices out of range count for nothing.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

/// Something that waits for what it needs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Item<K> {
    /// What must be known, or given by an admitted item (itself included).
    pub needs: Vec<K>,
    /// What it makes known once admitted.
    pub gives: Vec<K>,
    /// Items without which it may not go. One that does not exist holds it back.
    pub with: Vec<usize>,
}

/// The greatest set of items whose needs are all met, as one flag an item.
///
/// Items that need only one another are admitted together. The set does not
/// depend on the order of the items.
pub fn admit<K: Ord>(items: &[Item<K>], known: impl Fn(&K) -> bool) -> Vec<bool> {
    struct Key {
        known: bool,
        givers: usize,
        needed_by: Vec<usize>,
    }
    let mut keys: BTreeMap<&K, Key> = BTreeMap::new();
    let mut companions: Vec<Vec<usize>> = vec![Vec::new(); items.len()];
    let mut refused = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let new = |key: &K| Key { known: known(key), givers: 0, needed_by: Vec::new() };
        for key in &item.gives {
            keys.entry(key).or_insert_with(|| new(key)).givers += 1;
        }
        for key in &item.needs {
            keys.entry(key).or_insert_with(|| new(key)).needed_by.push(at);
        }
        for &other in &item.with {
            match companions.get_mut(other) {
                Some(companions) => companions.push(at),
                None => refused.push(at),
            }
        }
    }
    let unmet = keys.values().filter(|key| !key.known && key.givers == 0);
    refused.extend(unmet.flat_map(|key| key.needed_by.iter().copied()));

    // Every item stands until something it rests on falls.
    let mut admitted = vec![true; items.len()];
    while let Some(at) = refused.pop() {
        if !core::mem::replace(&mut admitted[at], false) {
            continue;
        }
        refused.extend(&companions[at]);
        for key in &items[at].gives {
            let key = keys.get_mut(key).expect("every key given was entered above");
            key.givers -= 1;
            if key.givers == 0 && !key.known {
                refused.extend(&key.needed_by);
            }
        }
    }
    admitted
}

/// The things 0..`len` in an order that respects `before`, pairs of (earlier,
/// later). Things that lie before one another stand together, ascending. Of
/// those that may come next, the one that holds the least index does.
pub fn components(len: usize, before: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let strong = Strong::new(&Edges::new(len, before.iter().copied()));
    let mut members = vec![Vec::new(); strong.count];
    for (at, &component) in strong.of.iter().enumerate() {
        members[component].push(at);
    }
    let inside = before.iter().filter(|&&(a, b)| a < len && b < len);
    let outer = Edges::new(strong.count, inside.map(|&(a, b)| (strong.of[a], strong.of[b])));
    let mut waits = vec![0usize; strong.count];
    for from in 0..strong.count {
        outer.from(from).iter().filter(|&&to| to != from).for_each(|&to| waits[to] += 1);
    }
    let ready = (0..strong.count).filter(|&at| waits[at] == 0);
    let mut ready: BTreeSet<(usize, usize)> = ready.map(|at| (members[at][0], at)).collect();
    let mut order = Vec::with_capacity(strong.count);
    while let Some((_, from)) = ready.pop_first() {
        order.push(core::mem::take(&mut members[from]));
        for &to in outer.from(from).iter().filter(|&&to| to != from) {
            waits[to] -= 1;
            if waits[to] == 0 {
                ready.insert((members[to][0], to));
            }
        }
    }
    order
}

/// Edges between nodes 0..len, grouped by where they start.
pub(crate) struct Edges {
    starts: Vec<usize>,
    ends: Vec<usize>,
}

impl Edges {
    /// From pairs of (from, to); pairs out of range are left out.
    pub(crate) fn new(len: usize, pairs: impl Iterator<Item = (usize, usize)> + Clone) -> Edges {
        let pairs = pairs.filter(|&(from, to)| from < len && to < len);
        let mut starts = vec![0; len + 1];
        for (from, _) in pairs.clone() {
            starts[from + 1] += 1;
        }
        for at in 0..len {
            starts[at + 1] += starts[at];
        }
        let mut ends = vec![0; starts[len]];
        let mut next = starts.clone();
        for (from, to) in pairs {
            ends[next[from]] = to;
            next[from] += 1;
        }
        Edges { starts, ends }
    }

    /// Where the edges from a node lead.
    pub(crate) fn from(&self, node: usize) -> &[usize] {
        &self.ends[self.starts[node]..self.starts[node + 1]]
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }
}

/// The strongly connected components of a graph.
pub(crate) struct Strong {
    /// The component of each node. An edge never leads to a higher one.
    pub(crate) of: Vec<usize>,
    /// How many there are.
    pub(crate) count: usize,
}

impl Strong {
    /// Tarjan's algorithm with its own stack.
    pub(crate) fn new(edges: &Edges) -> Strong {
        const NONE: usize = usize::MAX;
        let len = edges.len();
        let mut strong = Strong { of: vec![NONE; len], count: 0 };
        let mut found = vec![NONE; len];
        let mut low = vec![NONE; len];
        let mut next = 0;
        let mut open = Vec::new();
        let mut path: Vec<(usize, usize)> = Vec::new();
        for root in 0..len {
            if found[root] == NONE {
                path.push((root, 0));
            }
            while let Some((node, edge)) = path.last_mut() {
                let node = *node;
                if found[node] == NONE {
                    (found[node], low[node]) = (next, next);
                    next += 1;
                    open.push(node);
                }
                if let Some(&to) = edges.from(node).get(*edge) {
                    *edge += 1;
                    if found[to] == NONE {
                        path.push((to, 0));
                    } else if strong.of[to] == NONE {
                        low[node] = low[node].min(found[to]);
                    }
                    continue;
                }
                path.pop();
                if low[node] == found[node] {
                    while let Some(member) = open.pop() {
                        strong.of[member] = strong.count;
                        if member == node {
                            break;
                        }
                    }
                    strong.count += 1;
                }
                if let Some(&(parent, _)) = path.last() {
                    low[parent] = low[parent].min(low[node]);
                }
            }
        }
        strong
    }
}

#[cfg(test)]
mod tests;
