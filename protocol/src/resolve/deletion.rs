//! Deletes against references: which rows are dead.
//!
//! T = rows deleted by their own candidates; D = T closed under `cascade`. While
//! some t in T has in its cascade closure a row that is referenced by `restrict`
//! from outside D, or that survives t, take t out of T and record a conflict.
//! What then is in D is dead. Taking out is monotone, so there is one greatest
//! fixed point and the order of taking does not matter.
use alloc::vec;
use alloc::vec::Vec;

use crate::order::{Edges, Strong};
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

/// Decide which rows are dead. References to rows that are not given count for nothing.
pub fn decide(nodes: &[Node]) -> Verdict {
    let mut cascade = Cascade::new(nodes);
    cascade.settle();
    let dead = (0..nodes.len()).map(|row| cascade.support[cascade.circle[row]] > 0).collect();
    let kept = (0..nodes.len()).filter(|&row| nodes[row].deleted && !cascade.asks[row]).collect();
    Verdict { dead, kept }
}

/// T and D while rows are being taken out of T.
///
/// A *circle* is a set of rows that cascade into one another, nearly always one
/// row. Between circles cascades have a direction, so D is kept by counting what
/// each circle's death rests on: its own rows in T and the dead circles above it.
struct Cascade<'a> {
    nodes: &'a [Node],
    /// Each row's circle; those that it cascades into have lower ones.
    circle: Vec<usize>,
    members: Vec<Vec<usize>>,
    /// From each circle to those that go with it.
    down: Edges,
    /// From each circle to those that it goes with.
    up: Edges,
    /// Whether each row is in T.
    asks: Vec<bool>,
    /// What each circle's death rests on; 0 = it is not in D.
    support: Vec<usize>,
    /// Whether each circle's closure holds a row that a reference from outside D keeps.
    barred: Vec<bool>,
    /// The rows in T that each row would survive and really is in the closure of.
    survives: Vec<Vec<usize>>,
    work: Vec<Work>,
}

enum Work {
    /// A row is not in D: what it restricts stays.
    Outside(usize),
    /// A row is not in T: what it survives stays.
    Unasked(usize),
    /// Something in this circle stays, so whatever cascades into it does.
    Bar(usize),
    /// Take a row out of T.
    Keep(usize),
}

impl<'a> Cascade<'a> {
    fn new(nodes: &'a [Node]) -> Cascade<'a> {
        let len = nodes.len();
        let cascades = nodes.iter().enumerate().flat_map(|(row, node)| {
            let cascade = node.references.iter().filter(|(_, how)| *how == OnDelete::Cascade);
            cascade.map(move |&(to, _)| (to, row))
        });
        let cascades: Vec<(usize, usize)> = cascades.filter(|&(to, _)| to < len).collect();
        let Strong { of: circle, count } = Strong::new(&Edges::new(len, cascades.iter().copied()));
        let between = cascades.iter().map(|&(to, row)| (circle[to], circle[row]));
        let between: Vec<_> = between.filter(|(above, below)| above != below).collect();
        let down = Edges::new(count, between.iter().copied());
        let up = Edges::new(count, between.iter().map(|&(above, below)| (below, above)));
        let mut members = vec![Vec::new(); count];
        circle.iter().enumerate().for_each(|(row, &circle)| members[circle].push(row));
        let asks: Vec<bool> = nodes.iter().map(|node| node.deleted).collect();
        let mut support = vec![0; count];
        for circle in (0..count).rev() {
            support[circle] += members[circle].iter().filter(|&&row| asks[row]).count();
            if support[circle] > 0 {
                down.from(circle).iter().for_each(|&below| support[below] += 1);
            }
        }
        let barred = vec![false; count];
        let (survives, work) = (Vec::new(), Vec::new());
        let mut cascade =
            Cascade { nodes, circle, members, down, up, asks, support, barred, survives, work };
        cascade.survives = cascade.survivors();
        cascade
    }

    /// For each row, the rows of `survives` whose closure it is in. 64 rows at a time.
    fn survivors(&self) -> Vec<Vec<usize>> {
        let mut survives = vec![Vec::new(); self.nodes.len()];
        let claims = |row: &usize| !self.nodes[*row].survives.is_empty();
        let rows: Vec<usize> = (0..self.nodes.len()).filter(claims).collect();
        for block in rows.chunks(64) {
            let mut below = vec![0u64; self.members.len()];
            for (at, &row) in block.iter().enumerate() {
                below[self.circle[row]] |= 1 << at;
            }
            for circle in 0..below.len() {
                for &lower in self.down.from(circle) {
                    below[circle] |= below[lower];
                }
            }
            for (at, &row) in block.iter().enumerate() {
                let named = self.nodes[row].survives.iter().copied();
                let inside = |of: &usize| {
                    self.circle.get(*of).is_some_and(|&circle| below[circle] >> at & 1 == 1)
                };
                survives[row] = named.filter(inside).collect();
            }
        }
        survives
    }

    /// Take rows out of T until none has to be.
    fn settle(&mut self) {
        for row in 0..self.nodes.len() {
            if self.support[self.circle[row]] == 0 {
                self.work.push(Work::Outside(row));
            }
            if !self.asks[row] {
                self.work.push(Work::Unasked(row));
            }
        }
        while let Some(work) = self.work.pop() {
            match work {
                Work::Outside(row) => {
                    let references = self.nodes[row].references.iter();
                    let restrict = references.filter(|(_, how)| *how == OnDelete::Restrict);
                    let kept = restrict.filter_map(|(to, _)| self.circle.get(*to));
                    self.work.extend(kept.map(|&circle| Work::Bar(circle)));
                }
                Work::Unasked(row) => {
                    self.work.extend(self.survives[row].iter().map(|&of| Work::Keep(of)));
                }
                Work::Bar(circle) => {
                    if !core::mem::replace(&mut self.barred[circle], true) {
                        self.work.extend(self.members[circle].iter().map(|&row| Work::Keep(row)));
                        self.work
                            .extend(self.up.from(circle).iter().map(|&above| Work::Bar(above)));
                    }
                }
                Work::Keep(row) => {
                    if core::mem::replace(&mut self.asks[row], false) {
                        self.work.push(Work::Unasked(row));
                        self.weaken(self.circle[row]);
                    }
                }
            }
        }
    }

    /// One support of a circle falls; without any it leaves D, and so on downwards.
    fn weaken(&mut self, circle: usize) {
        let mut falling = vec![circle];
        while let Some(circle) = falling.pop() {
            self.support[circle] -= 1;
            if self.support[circle] == 0 {
                falling.extend(self.down.from(circle));
                self.work.extend(self.members[circle].iter().map(|&row| Work::Outside(row)));
            }
        }
    }
}
