//! Which rows are forgotten, and how far.
//!
//! When blocks run out, rows shrink: of some that were long untouched, the one that
//! takes most keeps only its integers, then nothing but its id. When places run out,
//! one gives way: an old one of a class that is seldom touched again or referenced.
use alloc::vec::Vec;

use super::{CLASSES, Entry, ROWS_MAX, Rows, packed};
use crate::wire::adaptive::blocks::{BLOCK_WORDS, NONE};
use crate::wire::adaptive::cell::{Cell, Kind};

/// Rows touched within so many changes are the last to shrink or give way.
const RECENT: u32 = 64;
/// Rows that are compared when one shrinks or gives way.
const CHOICE: usize = 24;

impl Rows {
    /// Free a block at least, never of `not`.
    pub(super) fn shrink(&mut self, not: u16) {
        let at = self.largest(not);
        let row = *self.get(at);
        let blocks = self.cell_blocks(&row);
        if blocks == 0 {
            self.learn(CLASSES + again(&row), false);
            self.remove(at);
            return;
        }
        let mut cells = Vec::new();
        self.cells(at, &mut cells);
        self.release(at, true);
        self.learn(again(&row), false);
        for cell in &mut cells {
            if !matches!(cell.kind, Kind::Int | Kind::Add) {
                *cell = Cell::default();
            }
        }
        let words = packed(&cells);
        if words.len().div_ceil(BLOCK_WORDS) < blocks {
            self.write(at, &words, false);
        }
    }

    /// A row that takes more blocks than others and is needed less.
    fn largest(&mut self, not: u16) -> u16 {
        let mut most: Option<(bool, usize, u16, u32, u16)> = None;
        let mut seen = 0;
        for _ in 0..ROWS_MAX {
            let at = self.shrink_hand;
            self.shrink_hand = (self.shrink_hand + 1) % ROWS_MAX as u16;
            let row = self.get(at);
            if row.touched == 0 || at == not || row.first == NONE {
                continue;
            }
            let small = 2 - self.cell_blocks(row).min(2);
            let needed = self.again[again(row)] >> 14;
            let key = (self.is_recent(row), small, needed, row.touched, at);
            most = Some(most.map_or(key, |most| most.min(key)));
            seen += 1;
            if seen >= CHOICE && most.is_some_and(|most| !most.0 && most.1 < 2) {
                break;
            }
        }
        most.expect("one row never takes all blocks").4
    }

    /// Empty the place of a row that is needed least.
    pub(super) fn give_way(&mut self) -> u16 {
        let mut least: Option<(bool, u16, u32, u16)> = None;
        let mut seen = 0;
        for _ in 0..ROWS_MAX {
            let at = self.hand;
            self.hand = (self.hand + 1) % ROWS_MAX as u16;
            let row = self.get(at);
            if row.touched == 0 {
                continue;
            }
            let key =
                (self.is_recent(row), self.again[CLASSES + again(row)] >> 14, row.touched, at);
            least = Some(least.map_or(key, |least| least.min(key)));
            seen += 1;
            if seen == CHOICE {
                break;
            }
        }
        let (_, _, _, at) = least.expect("no place is free");
        let row = *self.get(at);
        self.learn(CLASSES + again(&row), false);
        self.remove(at);
        at
    }

    /// Say that another row references it.
    pub(in super::super) fn refer(&mut self, at: u16) {
        let row = *self.get(at);
        self.learn(CLASSES + again(&row), true);
    }

    fn is_recent(&self, row: &Entry) -> bool {
        self.now.wrapping_sub(row.touched) < RECENT
    }

    pub(super) fn learn(&mut self, class: usize, again_touched: bool) {
        let known = &mut self.again[class];
        let target = if again_touched { 65535 } else { 0 };
        let slow = if again_touched { 32 } else { 512 };
        *known = (i32::from(*known) + (target - i32::from(*known)) / slow) as u16;
    }
}

/// The class of a row: its table and what was done to it last.
pub(super) fn again(row: &Entry) -> usize {
    (usize::from(row.table) * 31 + usize::from(row.class)) % CLASSES
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::Called;
    use super::*;
    use crate::id::RowId;

    fn foreign(number: u32) -> Called {
        let mut id = [7; 16];
        id[10..14].copy_from_slice(&number.to_be_bytes());
        Called::Foreign(RowId(id))
    }

    fn cells(number: i64) -> Vec<Cell> {
        let text = |number| Cell::new(Kind::Text, number);
        let int = |number| Cell::new(Kind::Int, number);
        vec![text(number), Cell::default(), int(number), text(1), text(2), text(3), text(4)]
    }

    #[test]
    fn rows_shrink_before_they_go_and_the_newest_stay_whole() {
        let mut rows = Rows::new();
        let count = ROWS_MAX as u32;
        for number in 0..count {
            let at = rows.add(foreign(number), 1, number as u16);
            rows.touch(at, (number + 2, 0), (0, 0), &cells(number.into()));
        }
        let held = |rows: &Rows, number: u32| {
            let at = rows.find(foreign(number)).unwrap();
            assert_eq!(rows.called(at), foreign(number));
            assert_eq!(rows.nth(1, number as u16), Some(at));
            let mut found = Vec::new();
            rows.cells(at, &mut found);
            found
        };
        assert_eq!(held(&rows, count - 1), cells((count - 1).into()));
        assert!((0..count).any(|number| held(&rows, number).is_empty()));
        // One more: some old row gives way, and its blocks serve others.
        let at = rows.add(foreign(count), 1, count as u16);
        rows.touch(at, (count + 2, 0), (0, 0), &cells(5));
        assert_eq!(held(&rows, count), cells(5));
        assert_eq!((0..=count).filter(|number| rows.find(foreign(*number)).is_none()).count(), 1);
    }

    #[test]
    fn the_rows_of_a_name_that_is_forgotten_are_gone() {
        let mut rows = Rows::new();
        let made = |maker| Called::Made { maker, counter: 3 };
        rows.add(made(1), 1, 0);
        rows.add(made(2), 1, 1);
        rows.forget(1);
        assert_eq!((rows.find(made(1)), rows.find(made(2)).is_some()), (None, true));
    }
}
