//! The rows that the model remembers: ids, who touched them, and their cells.
//!
//! What happens when there are too many is in `evict`.
mod evict;

use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use self::evict::again;
use super::blocks::{BLOCK_WORDS, Blocks, FILL, NONE};
use super::cell::{Cell, Kind};
use crate::id::RowId;

/// Rows.
pub(super) const ROWS_MAX: usize = 3350;
/// Rows of more fields are remembered without them.
pub(super) const CELLS_MAX: usize = 48;
/// Instead of a maker: the id stands in the first block.
const FOREIGN: u8 = u8::MAX;
/// The place of the table of rows that were referenced before they were seen.
pub(super) const STRANGERS: u8 = u8::MAX;
/// Classes of rows: what was done to them last.
const CLASSES: usize = 256;

/// One row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// When it was last touched, in changes; 0 = no row.
    pub(super) touched: u32,
    /// For a row of our own making, its counter.
    counter: u32,
    /// Its ordinal among the rows of its table, cut to 16 bits.
    pub(super) ordinal: u16,
    first: u16,
    /// The stamp of the last touch, seconds since 1970 cut to 16 bits.
    pub(super) stamp_s: u16,
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
    blocks: Blocks,
    /// Where rows that give way are looked for, and those that shrink.
    hand: u16,
    shrink_hand: u16,
    /// Changes so far.
    now: u32,
    /// How often rows of a table and class were touched again, of 65536; then the same
    /// with references to them.
    again: Vec<u16>,
}

impl Rows {
    pub(super) fn new() -> Rows {
        Rows {
            entries: vec![EMPTY; ROWS_MAX],
            blocks: Blocks::new(),
            hand: 0,
            shrink_hand: 0,
            now: 0,
            again: vec![1 << 15; 2 * CLASSES],
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Entry>() * self.entries.capacity()
            + self.blocks.memory_bytes()
            + 2 * self.again.capacity()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.entries.len() == ROWS_MAX
            && self.blocks.is_whole()
            && self.again.len() == 2 * CLASSES
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
            let words = self.blocks.words(row.first);
            for (two, word) in id[4..].chunks_exact_mut(2).zip(words) {
                two.copy_from_slice(&word.to_be_bytes());
            }
            id[..4].copy_from_slice(&row.counter.to_be_bytes());
        }
        RowId(id)
    }

    /// The cells of a row, in the order of its table's fields.
    pub(super) fn cells(&self, at: u16, out: &mut Vec<Cell>) {
        let from = out.len();
        let mut words = [FILL; CELLS_MAX * 5 + 2 * BLOCK_WORDS];
        let mut len = 0;
        for block in self.blocks.chain(self.first_of_cells(self.get(at))) {
            if len + BLOCK_WORDS <= words.len() {
                words[len..len + BLOCK_WORDS].copy_from_slice(self.blocks.words(block));
                len += BLOCK_WORDS;
            }
        }
        let mut at = 0;
        while at < len && out.len() - from < CELLS_MAX {
            if words[at] == FILL {
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
            None => self.give_way(),
        };
        let (maker, counter) = match called {
            Called::Made { maker, counter } => (maker, counter),
            Called::Foreign(id) => (FOREIGN, cut(id)),
        };
        self.entries[usize::from(at)] =
            Entry { touched: 1, ordinal, counter, table, maker, ..EMPTY };
        if let Called::Foreign(id) = called {
            let words = id.0[4..].chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]]));
            let words: Vec<u16> = words.collect();
            self.write(at, &words, true);
        }
        at
    }

    /// A row that was referenced and is not remembered; its table will be known later.
    pub(super) fn add_stranger(&mut self, called: Called, ordinal: u16) -> u16 {
        let at = self.add(called, STRANGERS, ordinal);
        self.entries[usize::from(at)].touched = self.now.max(2);
        at
    }

    /// Say that a row was touched, by whom and how, and what its cells are now.
    pub(super) fn touch(&mut self, at: u16, touched: (u32, u16), by: (u8, u8), cells: &[Cell]) {
        self.now = touched.0;
        let row = *self.get(at);
        if row.touched > 1 {
            self.learn(again(&row), true);
            self.learn(CLASSES + again(&row), true);
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
        let mut last = self.get(at).first;
        for chunk in words.chunks(BLOCK_WORDS) {
            while self.blocks.is_full() {
                self.shrink(at);
            }
            let block = self.blocks.put(last, chunk);
            if last == NONE {
                self.entries[usize::from(at)].first = block;
            }
            last = block;
        }
    }

    /// The first block of a row's cells.
    fn first_of_cells(&self, row: &Entry) -> u16 {
        if row.maker == FOREIGN { self.blocks.next(row.first) } else { row.first }
    }

    /// How many blocks a row's cells take.
    fn cell_blocks(&self, row: &Entry) -> usize {
        self.blocks.chain(self.first_of_cells(row)).count()
    }

    /// Free the blocks of a row, but that of its id if it is to be kept.
    fn release(&mut self, at: u16, keep_id: bool) {
        let row = self.entries[usize::from(at)];
        if keep_id && row.maker == FOREIGN {
            self.blocks.release_after(row.first);
        } else {
            self.entries[usize::from(at)].first = NONE;
            self.blocks.release(row.first);
        }
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

fn cut(id: RowId) -> u32 {
    u32::from_be_bytes([id.0[0], id.0[1], id.0[2], id.0[3]])
}
