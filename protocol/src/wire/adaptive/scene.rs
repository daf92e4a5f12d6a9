//! What is known while the fields of one change are coded.
use alloc::vec::Vec;

use super::cell::{Cell, Kind};
use super::engine::hash;
use super::model::{Model, WIDTH_MAX};
use super::neighbours::{Neighbours, PROPOSED, Proposal};
use super::number::SIDES;
use super::relations::{SOURCES, Sources};
use super::values::Spot;

// Places of the sources of relations: the fields first, then these.
const TIME_OF_DAY: usize = WIDTH_MAX;
const DAY: usize = WIDTH_MAX + 1;
const MINUTE: usize = WIDTH_MAX + 2;
const SECOND: usize = WIDTH_MAX + 3;
const SINCE_MIN: usize = WIDTH_MAX + 4;
const SINCE_S: usize = WIDTH_MAX + 5;
/// The first numbers of the row that was referenced last.
pub(super) const REFERENCED: usize = WIDTH_MAX + 6;

/// One change at work.
pub(super) struct Scene {
    pub(super) table: u32,
    pub(super) name: usize,
    pub(super) class: u8,
    /// Cells before the change, and with it.
    before: Vec<Cell>,
    pub(super) cells: Vec<Cell>,
    known: u64,
    neighbours: Neighbours,
    pub(super) sources: Sources,
    /// Mark of the value before.
    pub(super) last: u32,
    referenced: Option<(u16, Vec<Cell>)>,
}

impl Scene {
    pub(super) fn new(
        table: u32,
        name: usize,
        class: u8,
        before: Vec<Cell>,
        neighbours: Neighbours,
    ) -> Scene {
        let mut scene = Scene {
            table,
            name,
            class,
            cells: before.clone(),
            known: 0,
            before,
            neighbours,
            sources: [None; SOURCES],
            last: 0,
            referenced: None,
        };
        for slot in 0..scene.before.len().min(WIDTH_MAX) {
            scene.sources[slot] = scene.before[slot].amount();
        }
        scene
    }

    /// The times of the change, and of the one of its row before.
    pub(super) fn time(&mut self, stamp_s: u64, row_s: Option<u16>) {
        let seconds = stamp_s.min(1 << 40) as i64;
        let of_day = seconds % 86_400 / 60;
        self.sources[TIME_OF_DAY] = Some(of_day / 60 * 100 + of_day % 60);
        self.sources[DAY] = Some(seconds / 86_400);
        self.sources[MINUTE] = Some(seconds / 60);
        self.sources[SECOND] = Some(seconds);
        if let Some(row_s) = row_s {
            let since = i64::from((stamp_s as u16).wrapping_sub(row_s));
            self.sources[SINCE_MIN] = Some(since / 60);
            self.sources[SINCE_S] = Some(since);
        }
    }

    /// Say which fields stay as they were.
    pub(super) fn keep(&mut self, but: u64) {
        for slot in 0..self.before.len().min(WIDTH_MAX) {
            if but >> slot & 1 == 0 {
                self.known |= 1 << slot;
                self.neighbours.know(slot, self.before[slot]);
            }
        }
    }

    /// A value is known.
    pub(super) fn know(&mut self, spot: Spot, cell: Cell) {
        self.last = cell.mark();
        let Some(slot) = spot.slot else { return };
        if self.cells.len() <= slot {
            self.cells.resize(slot + 1, Cell::default());
        }
        self.cells[slot] = cell;
        self.known |= 1 << slot;
        self.sources[slot] = cell.amount();
        self.neighbours.know(slot, cell);
    }

    pub(super) fn old(&self, spot: Spot) -> Option<Cell> {
        let cell = self.before.get(spot.slot?).copied()?;
        (cell.kind != Kind::Absent).then_some(cell)
    }

    pub(super) fn proposals(
        &self,
        spot: Spot,
        only: impl Fn(Cell) -> bool,
    ) -> [Option<Proposal>; PROPOSED] {
        match spot.slot {
            Some(slot) => self.neighbours.propose(slot, only),
            None => [None; PROPOSED],
        }
    }

    /// Look at a field: to be called before the others are asked about it.
    pub(super) fn look(&mut self, model: &Model, spot: Spot) {
        if let Some(slot) = spot.slot {
            self.neighbours.score(model, slot);
        }
    }

    /// What tells of a value: others of the record, who writes, what stood there.
    pub(super) fn sides(&self, model: &Model, spot: Spot) -> [u32; SIDES] {
        let mark = |slot: usize| self.cells.get(slot).copied().unwrap_or_default().mark();
        let telling = match spot.slot {
            Some(slot) => self.neighbours.telling(model, slot, self.known),
            None => [None; 2],
        };
        let told = telling.map(|slot| slot.map_or(0, |slot| hash(slot as u32, mark(slot))));
        [
            hash(1, self.last),
            hash(2, told[0]),
            hash(3, told[1]),
            hash(hash(4, told[0]), told[1]),
            hash(5, self.name as u32),
            hash(hash(6, self.class.into()), self.old(spot).map_or(0, Cell::mark)),
        ]
    }

    /// What a neighbour holds, and as much more as this record is ahead of it elsewhere.
    pub(super) fn shifted(&self, model: &Model, spot: Spot, like: Option<Proposal>) -> Option<i64> {
        let like = like?;
        let slot = spot.slot?;
        let numbers = (0..WIDTH_MAX).filter(|of| *of != slot && self.known >> of & 1 != 0);
        let numbers =
            numbers.filter(|of| self.cells.get(*of).is_some_and(|cell| cell.amount().is_some()));
        let best = numbers.max_by_key(|of| (model.ties.weight(self.table, *of, slot), *of))?;
        let theirs = self.neighbours.cell(like.row, best);
        let mine = self.cells[best];
        (theirs.kind == mine.kind)
            .then(|| like.cell.number.wrapping_add(mine.number.wrapping_sub(theirs.number)))
    }

    /// Remember which row is referenced.
    pub(super) fn refer(&mut self, model: &Model, at: u16) {
        let mut cells = Vec::new();
        model.rows.cells(at, &mut cells);
        for (source, cell) in self.sources[REFERENCED..].iter_mut().zip(&cells) {
            *source = cell.amount();
        }
        self.referenced = Some((at, cells));
    }

    /// The text of the referenced row that is usually copied here.
    pub(super) fn copied(&self, model: &Model, field: u32) -> Option<Vec<u8>> {
        let note = model.memo.get(hash(field, 0xc09))?;
        let slot = usize::try_from(note.last).ok()?;
        self.text_there(model, slot)
    }

    /// Learn which text of the referenced row was copied.
    pub(super) fn learn_copy(&self, model: &mut Model, field: u32, text: &[u8]) {
        let Some((_, cells)) = &self.referenced else { return };
        let from =
            (0..cells.len()).find(|slot| self.text_there(model, *slot).as_deref() == Some(text));
        if let Some(slot) = from {
            model.memo.keep(hash(field, 0xc09), slot as i64);
        }
    }

    fn text_there(&self, model: &Model, slot: usize) -> Option<Vec<u8>> {
        let (at, cells) = self.referenced.as_ref()?;
        let cell = cells.get(slot).filter(|cell| cell.kind == Kind::Text)?;
        let table = model.tables.get(usize::from(model.rows.get(*at).table))?.key;
        let field = hash(field_key(table, slot as u32 + 1), Kind::Text as u32);
        model.texts.get(field, u16::try_from(cell.number.wrapping_sub(1)).ok()?)
    }

    /// Learn which fields tell of which.
    pub(super) fn learn(&self, model: &mut Model) {
        self.neighbours.learn(model, self.cells.len().min(WIDTH_MAX));
    }
}

/// A numbered field of a table as one number.
pub(super) fn field_key(table: u32, number: u32) -> u32 {
    hash(hash(0xf1e1d, table), number)
}
