//! Rows like the one that is coded, and what they hold.
use alloc::vec::Vec;

use super::cell::Cell;
use super::model::{Model, WIDTH_MAX};

/// Rows that are compared.
const ROWS: usize = 256;
/// Cells of a row that most tables do with.
const CELLS: usize = 20;
/// Values that are proposed.
pub(super) const PROPOSED: usize = 3;
/// Instead of a field: who makes the change.
pub(super) const WHO: usize = WIDTH_MAX;
/// Rows that teach which fields tell of which.
const LESSONS: usize = 24;

/// Rows of the table, the newest first.
pub(super) struct Neighbours {
    /// Where the cells of each end.
    ends: Vec<u32>,
    cells: Vec<Cell>,
    /// Fields in which each agrees with what is known of the row that is coded.
    agree: Vec<u64>,
    scores: Vec<i32>,
    table: u32,
}

/// A value that a neighbour holds.
#[derive(Clone, Copy, Default)]
pub(super) struct Proposal {
    pub(super) cell: Cell,
    /// How much speaks for it, 0 to 7.
    pub(super) strength: u8,
    /// Place of the neighbour.
    pub(super) row: usize,
}

impl Neighbours {
    /// The rows of a table that were last touched in this way, else those touched in any.
    pub(super) fn gather(
        model: &Model,
        place: u8,
        table: u32,
        class: u8,
        who: u8,
        not: Option<u16>,
    ) -> Neighbours {
        // As one number each: those of the class, then the newest. That is sorted fast.
        let mut found: Vec<u64> = model
            .rows
            .of_table(place)
            .filter(|at| Some(*at) != not)
            .map(|at| {
                let row = model.rows.get(at);
                u64::from(row.class == class) << 48 | u64::from(row.touched) << 16 | u64::from(at)
            })
            .collect();
        if found.len() > ROWS {
            found.select_nth_unstable_by(ROWS, |a, b| b.cmp(a));
            found.truncate(ROWS);
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        let mut these = Neighbours {
            ends: Vec::with_capacity(found.len()),
            cells: Vec::with_capacity(found.len() * CELLS),
            agree: Vec::with_capacity(found.len()),
            scores: Vec::with_capacity(found.len()),
            table,
        };
        for at in found {
            let at = at as u16;
            model.rows.cells(at, &mut these.cells);
            these.ends.push(these.cells.len() as u32);
            these.agree.push(u64::from(model.rows.get(at).name == who) << WHO);
        }
        these
    }

    /// Say what the row that is coded holds in a field.
    pub(super) fn know(&mut self, field: usize, cell: Cell) {
        for row in 0..self.ends.len() {
            let same = self.cell(row, field) == cell;
            self.agree[row] = self.agree[row] & !(1 << field) | u64::from(same) << field;
        }
    }

    /// How much speaks for each row where a field is concerned.
    pub(super) fn score(&mut self, model: &Model, field: usize) {
        let mut weights = [0; 64];
        let mut some = self.agree.iter().fold(0, |some, agree| some | agree) & !(1 << field);
        let mut telling = 0;
        while some != 0 {
            let of = some.trailing_zeros() as usize;
            weights[of] = model.ties.weight(self.table, of, field);
            telling |= u64::from(weights[of] != 0) << of;
            some &= some - 1;
        }
        self.scores.clear();
        for (place, agree) in self.agree.iter().enumerate() {
            let mut score = -(place.min(64) as i32);
            let mut rest = agree & telling;
            while rest != 0 {
                score += weights[rest.trailing_zeros() as usize];
                rest &= rest - 1;
            }
            self.scores.push(score);
        }
    }

    /// What the rows most like it hold in the field that was scored, each value once.
    pub(super) fn propose(
        &self,
        field: usize,
        only: impl Fn(Cell) -> bool,
    ) -> [Option<Proposal>; PROPOSED] {
        let mut best: [Option<(i32, Cell, usize)>; PROPOSED] = [None; PROPOSED];
        for (place, score) in self.scores.iter().enumerate() {
            if best[PROPOSED - 1].is_some_and(|least| least.0 >= *score) {
                continue;
            }
            let cell = self.cell(place, field);
            if only(cell) {
                insert(&mut best, (*score, cell, place));
            }
        }
        let mut proposals = [None; PROPOSED];
        for at in 0..PROPOSED {
            proposals[at] = best[at].map(|(score, cell, row)| {
                let next = best.get(at + 1).copied().flatten().map_or(score - 1000, |next| next.0);
                let lead = ((score - next) / 128).clamp(0, 3) as u8;
                let high = (score / 512).clamp(0, 1) as u8;
                Proposal { cell, strength: high << 2 | lead, row }
            });
        }
        proposals
    }

    /// What a neighbour holds in a field.
    pub(super) fn cell(&self, row: usize, field: usize) -> Cell {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        let cells = &self.cells[start as usize..self.ends[row] as usize];
        cells.get(field).copied().unwrap_or_default()
    }

    /// The fields that tell most of another, the best first.
    pub(super) fn telling(&self, model: &Model, field: usize, known: u64) -> [Option<usize>; 2] {
        let mut best = [(0, None); 2];
        for of in (0..WIDTH_MAX).filter(|of| *of != field && known >> of & 1 != 0) {
            let weight = model.ties.weight(self.table, of, field);
            if weight > best[0].0 {
                best = [(weight, Some(of)), best[0]];
            } else if weight > best[1].0 {
                best[1] = (weight, Some(of));
            }
        }
        best.map(|(_, of)| of)
    }

    /// Learn which fields tell of which, once the row is known.
    pub(super) fn learn(&self, model: &mut Model, slots: usize) {
        let lessons = &self.agree[..self.agree.len().min(LESSONS)];
        model.ties.learn(self.table, lessons, slots);
    }
}

fn insert(best: &mut [Option<(i32, Cell, usize)>; PROPOSED], new: (i32, Cell, usize)) {
    let mut new = Some(new);
    for at in 0..PROPOSED {
        let (Some(mine), held) = (new, best[at]) else { return };
        if best[..at].iter().flatten().any(|better| better.1 == mine.1) {
            return;
        }
        match held {
            Some(held) if held.1 == mine.1 && held.0 >= mine.0 => return,
            Some(held) if held.0 >= mine.0 => {}
            _ => {
                best[at] = new;
                // What it drives out goes on, unless it is the same value.
                match held {
                    Some(held) if held.1 != mine.1 => new = Some(held),
                    _ => return,
                }
            }
        }
    }
}
