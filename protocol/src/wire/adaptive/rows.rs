//! The rows that the model remembers: ids, who touched them, and their cells.
//!
//! Cells stand in blocks of eight words, chained. When blocks or entries run out,
//! a row gives way: of some that were long untouched, the one whose kind was
//! touched again least often.
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::cell::{Cell, Kind};
use crate::id::RowId;

/// Rows.
pub(super) const ROWS_MAX: usize = 3100;
/// Blocks of cells.
const BLOCKS: usize = 2800;
const BLOCK_WORDS: usize = 8;
/// Rows of more fields are remembered without them.
pub(super) const CELLS_MAX: usize = 48;
/// Rows that are compared when one gives way.
const CHOICE: usize = 24;
const NONE: u16 = u16::MAX;
/// Instead of a maker: the id stands in the first block.
const FOREIGN: u8 = u8::MAX;
/// Classes of rows: what was done to them last.
const CLASSES: usize = 256;

/// One row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// When it was last touched, in changes; 0 = no row.
    pub(super) touched: u32,
    /// The stamp of that, seconds since 1970 cut to 32 bits.
    pub(super) stamp_s: u32,
    /// For a row of our own making, its counter.
    counter: u32,
    /// Its ordinal among the rows of its table, cut to 16 bits.
    pub(super) ordinal: u16,
    first: u16,
    /// Place of its table.
    pub(super) table: u8,
    /// Place of the name that made it, or [`FOREIGN`].
    maker: u8,
    /// Place of the name that touched it last.
    pub(super) name: u8,
    /// What was done to it last.
    pub(super) class: u8,
}

const EMPTY: Entry = Entry {
    touched: 0,
    stamp_s: 0,
    counter: 0,
    ordinal: 0,
    first: NONE,
    table: 0,
    maker: 0,
    name: 0,
    class: 0,
};

/// What a row is called: by its maker and counter, or by its id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Called {
    Made { maker: u8, counter: u32 },
    Foreign(RowId),
}

/// All rows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rows {
    entries: Vec<Entry>,
    blocks: Vec<u16>,
    /// The block after each, in its row or among the free.
    next: Vec<u16>,
    free: u16,
    /// Where rows that give way are looked for, and those that shrink.
    hand: u16,
    shrink_hand: u16,
    /// How often rows of a table and class were touched again, of 65536 that were or gave way.
    again: Vec<u16>,
}

impl Rows {
    pub(super) fn new() -> Rows {
        let next = (1..=BLOCKS as u16).map(|at| if at == BLOCKS as u16 { NONE } else { at });
        Rows {
            entries: vec![EMPTY; ROWS_MAX],
            blocks: vec![0; BLOCKS * BLOCK_WORDS],
            next: next.collect(),
            free: 0,
            hand: 0,
            shrink_hand: 0,
            again: vec![1 << 15; CLASSES],
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Entry>() * self.entries.capacity()
            + 2 * (self.blocks.capacity() + self.next.capacity() + self.again.capacity())
    }

    pub(super) fn is_whole(&self) -> bool {
        self.entries.len() == ROWS_MAX
            && self.blocks.len() == BLOCKS * BLOCK_WORDS
            && self.next.len() == BLOCKS
            && self.again.len() == CLASSES
            && usize::from(self.hand.max(self.shrink_hand)) < ROWS_MAX
    }

    pub(super) fn get(&self, at: u16) -> &Entry {
        &self.entries[usize::from(at)]
    }

    pub(super) fn is_there(&self, at: u16) -> bool {
        self.entries.get(usize::from(at)).is_some_and(|row| row.touched != 0)
    }

    /// The places of all rows of a table.
    pub(super) fn of_table(&self, table: u8) -> impl Iterator<Item = u16> + '_ {
        let rows = self.entries.iter().enumerate();
        rows.filter(move |(_, row)| row.table == table && row.touched != 0).map(|(at, _)| at as u16)
    }

    pub(super) fn find(&self, called: Called) -> Option<u16> {
        let of_maker = match called {
            Called::Made { maker, .. } => maker,
            Called::Foreign(_) => FOREIGN,
        };
        let mut rows = self.entries.iter().enumerate();
        let found = rows.find(|(_, row)| {
            row.maker == of_maker
                && row.touched != 0
                && match called {
                    Called::Made { counter, .. } => row.counter == counter,
                    Called::Foreign(id) => row.counter == cut(id) && self.id_of(row) == id,
                }
        });
        found.map(|(at, _)| at as u16)
    }

    /// The row of a table with this ordinal.
    pub(super) fn nth(&self, table: u8, ordinal: u16) -> Option<u16> {
        let at = self
            .entries
            .iter()
            .position(|row| row.ordinal == ordinal && row.table == table && row.touched != 0);
        at.map(|at| at as u16)
    }

    pub(super) fn called(&self, at: u16) -> Called {
        let row = self.get(at);
        match row.maker {
            FOREIGN => Called::Foreign(self.id_of(row)),
            maker => Called::Made { maker, counter: row.counter },
        }
    }

    fn id_of(&self, row: &Entry) -> RowId {
        let mut id = [0; 16];
        if row.first != NONE {
            let words = &self.blocks[usize::from(row.first) * BLOCK_WORDS..][..BLOCK_WORDS];
            for (two, word) in id.chunks_exact_mut(2).zip(words) {
                two.copy_from_slice(&word.to_be_bytes());
            }
        }
        RowId(id)
    }

    /// The cells of a row, in the order of its table's fields.
    pub(super) fn cells(&self, at: u16, out: &mut Vec<Cell>) {
        let from = out.len();
        let row = self.get(at);
        let mut words = [0; CELLS_MAX * 5 + 2 * BLOCK_WORDS];
        let mut len = 0;
        let mut block = row.first;
        if row.maker == FOREIGN && block != NONE {
            block = self.next[usize::from(block)];
        }
        while block != NONE && len + BLOCK_WORDS <= words.len() {
            let from = &self.blocks[usize::from(block) * BLOCK_WORDS..][..BLOCK_WORDS];
            words[len..len + BLOCK_WORDS].copy_from_slice(from);
            len += BLOCK_WORDS;
            block = self.next[usize::from(block)];
        }
        let mut at = 0;
        while at < len && out.len() - from < CELLS_MAX {
            if words[at] == u16::MAX {
                break;
            }
            let (cell, taken) = Cell::unpack(&words[at..len]);
            at += taken;
            match cell.kind {
                // That many that are absent.
                Kind::Absent => {
                    let count = cell.number.clamp(1, CELLS_MAX as i64) as usize;
                    let len = (out.len() + count).min(from + CELLS_MAX);
                    out.resize(len, Cell::default());
                }
                _ => out.push(cell),
            }
        }
    }

    /// A new row, without cells yet; another may give way for it.
    pub(super) fn add(&mut self, called: Called, table: u8, ordinal: u16) -> u16 {
        let at = match self.entries.iter().position(|row| row.touched == 0) {
            Some(at) => at as u16,
            None => self.give_way(NONE),
        };
        let (maker, counter) = match called {
            Called::Made { maker, counter } => (maker, counter),
            Called::Foreign(id) => (FOREIGN, cut(id)),
        };
        self.entries[usize::from(at)] =
            Entry { touched: 1, ordinal, counter, table, maker, ..EMPTY };
        if let Called::Foreign(id) = called {
            let words = id.0.chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]]));
            let words: Vec<u16> = words.collect();
            self.write(at, &words, true);
        }
        at
    }

    /// Say that a row was touched, by whom and how, and what its cells are now.
    pub(super) fn touch(&mut self, at: u16, touched: (u32, u32), by: (u8, u8), cells: &[Cell]) {
        let row = *self.get(at);
        if row.touched > 1 {
            self.learn(&row, true);
        }
        let row = &mut self.entries[usize::from(at)];
        (row.touched, row.stamp_s) = (touched.0.max(2), touched.1);
        (row.name, row.class) = by;
        self.write(at, &packed(cells), false);
    }

    pub(super) fn remove(&mut self, at: u16) {
        self.release(at, false);
        self.entries[usize::from(at)] = EMPTY;
    }

    /// Forget all rows that a name made, because another takes its place.
    pub(super) fn forget(&mut self, maker: u8) {
        for at in 0..ROWS_MAX as u16 {
            if self.get(at).maker == maker && self.get(at).touched != 0 {
                self.remove(at);
            }
        }
    }

    fn write(&mut self, at: u16, words: &[u16], id: bool) {
        self.release(at, !id);
        let mut last = NONE;
        if !id && self.get(at).maker == FOREIGN {
            last = self.get(at).first;
        }
        for chunk in words.chunks(BLOCK_WORDS) {
            while self.free == NONE {
                self.shrink(at);
            }
            let block = self.free;
            let place = usize::from(block);
            self.free = self.next[place];
            self.next[place] = NONE;
            let to = &mut self.blocks[place * BLOCK_WORDS..][..BLOCK_WORDS];
            to.fill(u16::MAX);
            to[..chunk.len()].copy_from_slice(chunk);
            match last {
                NONE => self.entries[usize::from(at)].first = block,
                last => self.next[usize::from(last)] = block,
            }
            last = block;
        }
    }

    /// Blocks of a row's cells, three at most.
    fn cell_blocks(&self, row: &Entry) -> usize {
        let mut block = row.first;
        if row.maker == FOREIGN && block != NONE {
            block = self.next[usize::from(block)];
        }
        let mut count = 0;
        while block != NONE && count < 3 {
            count += 1;
            block = self.next[usize::from(block)];
        }
        count
    }

    /// Free blocks, never those of `not`: a row keeps only its numbers, if those take
    /// one block, else no cells; if no row has any, one gives way.
    fn shrink(&mut self, not: u16) {
        let mut most: Option<(usize, u16, u32, u16)> = None;
        let mut seen = 0;
        for _ in 0..ROWS_MAX {
            let at = self.shrink_hand;
            self.shrink_hand = (self.shrink_hand + 1) % ROWS_MAX as u16;
            let row = self.get(at);
            if row.touched == 0 || at == not || row.first == NONE {
                continue;
            }
            let key =
                (3 - self.cell_blocks(row).min(2), self.again[again(row)] >> 11, row.touched, at);
            most = Some(most.map_or(key, |most| most.min(key)));
            seen += 1;
            if seen >= CHOICE && most.is_some_and(|most| most.0 == 1) {
                break;
            }
        }
        let Some((_, _, _, at)) = most else {
            self.give_way(not);
            return;
        };
        let blocks = self.cell_blocks(self.get(at));
        if blocks == 0 {
            self.give_way(not);
            return;
        }
        let mut cells = Vec::new();
        self.cells(at, &mut cells);
        self.release(at, true);
        for cell in &mut cells {
            if cell.amount().is_none() {
                *cell = Cell::default();
            }
        }
        let words = packed(&cells);
        if blocks > 1 && words.len() <= BLOCK_WORDS {
            self.write(at, &words, false);
        }
    }

    /// Free the blocks of a row, but that of its id if it is to be kept.
    fn release(&mut self, at: u16, keep_id: bool) {
        let row = self.entries[usize::from(at)];
        let mut block = row.first;
        if keep_id && row.maker == FOREIGN && block != NONE {
            block = core::mem::replace(&mut self.next[usize::from(block)], NONE);
        } else {
            self.entries[usize::from(at)].first = NONE;
        }
        while block != NONE {
            let next = core::mem::replace(&mut self.next[usize::from(block)], self.free);
            self.free = block;
            block = next;
        }
    }

    /// Empty the place of a row that is needed least, never that of `not`.
    fn give_way(&mut self, not: u16) -> u16 {
        let mut least: Option<(u16, u32, u16)> = None;
        let mut seen = 0;
        for _ in 0..ROWS_MAX {
            let at = self.hand;
            self.hand = (self.hand + 1) % ROWS_MAX as u16;
            let row = self.get(at);
            if row.touched == 0 || at == not {
                continue;
            }
            let key = (self.again[again(row)] >> 11, row.touched, at);
            least = Some(least.map_or(key, |least| least.min(key)));
            seen += 1;
            if seen == CHOICE {
                break;
            }
        }
        let (_, _, at) = least.expect("one row never takes all blocks");
        let row = *self.get(at);
        self.learn(&row, false);
        self.remove(at);
        at
    }

    fn learn(&mut self, row: &Entry, again_touched: bool) {
        let known = &mut self.again[again(row)];
        let target = if again_touched { 65535 } else { 0 };
        *known = (i32::from(*known) + (target - i32::from(*known)) / 32) as u16;
    }
}

/// Cells as words: those absent one after the other are one, those at the end none.
fn packed(cells: &[Cell]) -> Vec<u16> {
    let mut words = Vec::with_capacity(2 * cells.len());
    let mut absent = 0;
    for cell in cells.iter().take(CELLS_MAX) {
        if cell.kind == Kind::Absent {
            absent += 1;
            continue;
        }
        if absent > 0 {
            Cell::new(Kind::Absent, absent).pack(&mut words);
            absent = 0;
        }
        cell.pack(&mut words);
    }
    words
}

fn again(row: &Entry) -> usize {
    (usize::from(row.table) * 31 + usize::from(row.class)) % CLASSES
}

fn cut(id: RowId) -> u32 {
    u32::from_be_bytes([id.0[0], id.0[1], id.0[2], id.0[3]])
}
