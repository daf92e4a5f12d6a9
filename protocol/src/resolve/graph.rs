//! What precedes what among the changes of one field.
//!
//! e directly precedes f if e is in what f had seen, or lies before f on one
//! device's line; *precedes* is the closure of that through changes of this
//! field only. Changes that precede each other (forged) are concurrent. Kept
//! as a condensed graph with helper nodes for row versions, so that a row of
//! many changes costs little more than one pass; no pair is ever compared.
use alloc::vec;
use alloc::vec::Vec;

use super::history::History;
use crate::order::{Edges, Strong};

/// The graph. A *node* is an index of `members`.
pub(super) struct Graph {
    /// The places of the changes, ascending.
    pub members: Vec<usize>,
    /// The circle of each node; nearly always it is alone in it. Ancestors have higher ones.
    pub circle: Vec<usize>,
    /// How many circles there are, helper nodes included.
    circles: usize,
    /// Edges between circles, from the lowest to the highest start.
    edges: Vec<(usize, usize)>,
    /// The node before each on its line.
    pub line: Vec<Option<usize>>,
    /// The nodes, each behind those on its line.
    pub by_line: Vec<usize>,
}

/// The maximal values in the past of each node.
pub(super) struct Heads {
    /// The least by (stamp, dot).
    pub least: Vec<Option<usize>>,
    /// The greatest by (stamp, dot); another than the least if there are several.
    pub greatest: Vec<Option<usize>>,
}

impl Graph {
    /// The graph of the changes at these places, ascending.
    pub fn new(history: &History<'_>, members: Vec<usize>) -> Graph {
        let len = members.len();
        let (line, by_line) = lines(history, &members);
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        pairs.extend(line.iter().enumerate().filter_map(|(at, &before)| Some((before?, at))));
        for (at, &member) in members.iter().enumerate() {
            let seen = history.above[member].iter().filter_map(|of| members.binary_search(of).ok());
            pairs.extend(seen.map(|seen| (seen, at)));
        }
        let helpers = versions(history, &members, &mut pairs);
        let strong = Strong::new(&Edges::new(len + helpers, pairs.iter().copied()));
        let condensed = pairs.iter().map(|&(from, to)| (strong.of[from], strong.of[to]));
        let mut edges: Vec<(usize, usize)> = condensed.filter(|(from, to)| from != to).collect();
        edges.sort_unstable();
        edges.dedup();
        let mut circle = strong.of;
        circle.truncate(len);
        Graph { members, circle, circles: strong.count, edges, line, by_line }
    }

    /// For each node, the marks of all nodes that follow it.
    pub fn after(&self, marks: &[u64]) -> Vec<u64> {
        let own = self.of_circles(marks);
        let mut after = vec![0; self.circles];
        for &(from, to) in &self.edges {
            after[from] |= after[to] | own[to];
        }
        self.circle.iter().map(|&circle| after[circle]).collect()
    }

    /// For each node, the marks of all nodes that precede it.
    pub fn before(&self, marks: &[u64]) -> Vec<u64> {
        let own = self.of_circles(marks);
        let mut before = vec![0; self.circles];
        for &(from, to) in self.edges.iter().rev() {
            before[to] |= before[from] | own[from];
        }
        self.circle.iter().map(|&circle| before[circle]).collect()
    }

    fn of_circles(&self, marks: &[u64]) -> Vec<u64> {
        let mut own = vec![0; self.circles];
        self.circle.iter().zip(marks).for_each(|(&circle, mark)| own[circle] |= mark);
        own
    }

    /// The maximal values in the past of each node, of those that live on there:
    /// for an insert, what precedes a delete that it follows does not.
    pub fn heads(&self, value: &[bool], delete: &[bool], insert: &[bool]) -> Heads {
        let len = self.members.len();
        let mut heads = Heads { least: vec![None; len], greatest: vec![None; len] };
        for first in (0..len).step_by(64) {
            let block = first..len.min(first + 64);
            let bit = |at: usize| 1u64 << (at - first);
            let inside = |at: usize| if block.contains(&at) { bit(at) } else { 0 };
            let past = self.after(&(0..len).map(inside).collect::<Vec<_>>());
            let inserts = block.clone().filter(|&at| insert[at]).fold(0, |all, at| all | bit(at));
            let covers = |at: usize| match (value[at], delete[at]) {
                (true, _) => past[at],
                (false, true) => past[at] & inserts,
                (false, false) => 0,
            };
            let covered = self.after(&(0..len).map(covers).collect::<Vec<_>>());
            let head = |at: usize| {
                if value[at] { past[at] & !covered[at] } else { 0 }
            };
            let take = |into: &mut [Option<usize>], at: usize, done: &mut u64| {
                let mut left = head(at) & !*done;
                *done |= left;
                while left != 0 {
                    into[first + left.trailing_zeros() as usize] = Some(at);
                    left &= left - 1;
                }
            };
            let (mut done_least, mut done_greatest) = (0, 0);
            for at in 0..len {
                take(&mut heads.least, at, &mut done_least);
                take(&mut heads.greatest, len - 1 - at, &mut done_greatest);
            }
        }
        heads
    }
}

/// The node before each on its line, and the nodes in an order of lines.
fn lines(history: &History<'_>, members: &[usize]) -> (Vec<Option<usize>>, Vec<usize>) {
    let seq = |node: usize| history.changes[members[node]].change.dot.seq;
    let run = |node: usize| history.run[members[node]];
    let mut by_line: Vec<usize> = (0..members.len()).collect();
    by_line.sort_unstable_by_key(|&node| (run(node), seq(node)));
    let mut line = vec![None; members.len()];
    // What a run of the row finds before its own first change.
    let mut entry: Vec<Option<usize>> = Vec::with_capacity(history.runs.len());
    let mut own: Vec<&[usize]> = Vec::with_capacity(history.runs.len());
    let mut rest: &[usize] = &by_line;
    for (slot, above) in history.runs.iter().enumerate() {
        let (mine, others) = rest.split_at(rest.partition_point(|&node| run(node) == slot));
        rest = others;
        let before = above.and_then(|(parent, last)| {
            let shared = own[parent].partition_point(|&node| seq(node) <= last);
            own[parent][..shared].last().copied().or(entry[parent])
        });
        let mut previous = before;
        for &node in mine {
            line[node] = previous;
            previous = Some(node);
        }
        entry.push(before);
        own.push(mine);
    }
    (line, by_line)
}

/// Edges for what was seen by row version, through a chain of helper nodes, one a
/// change with a hub sequence: each stands for the changes up to there. Returns
/// how many helpers there are.
fn versions(history: &History<'_>, members: &[usize], pairs: &mut Vec<(usize, usize)>) -> usize {
    let len = members.len();
    let placed = |node: usize| &history.changes[members[node]];
    if (0..len).all(|node| placed(node).seen_seq == 0) {
        return 0;
    }
    let mut applied: Vec<usize> = (0..len).filter(|&node| placed(node).seq != 0).collect();
    applied.sort_unstable_by_key(|&node| placed(node).seq);
    for (at, &node) in applied.iter().enumerate() {
        pairs.push((node, len + at));
        if at > 0 {
            pairs.push((len + at - 1, len + at));
        }
    }
    for node in 0..len {
        let shown = applied.partition_point(|&other| placed(other).seq <= placed(node).seen_seq);
        if shown > 0 {
            pairs.push((len + shown - 1, node));
        }
    }
    applied.len()
}
