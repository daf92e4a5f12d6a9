//! Values as the model remembers them: a kind and a number, packed in words.
//!
//! ```text
//! cell  = 1 (1 bit) | integer + 4096, if that is below 32767 (15 bits)
//!       | kind (5 bits) | number + 16, if that is below 2032 (11 bits)
//!       | kind (5 bits) | 2032 + words that follow (11 bits) | words, the lowest first
//! ```
//! No cell begins with a word of all ones.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[repr(u8)]
pub(super) enum Kind {
    /// The field is not carried.
    #[default]
    Absent,
    Null,
    Int,
    Bool,
    /// The place of a text among those of its field.
    Text,
    /// The ordinal of a row among those of its table.
    Row,
    /// Days since 1970, of a text that is a date.
    Day,
    /// Minutes since 1970, of a text that is a time to the minute in UTC.
    Minute,
    /// Seconds since 1970, of a text that is a time to the second in UTC.
    Second,
    /// A sum's delta.
    Add,
    /// An entry: the place of its text.
    Append,
    /// What is not remembered.
    List,
    Number,
    Edit,
    /// A value that did not travel: the one before is remembered.
    Passed,
}

/// All kinds by number.
pub(super) const KINDS: [Kind; 15] = [
    Kind::Absent,
    Kind::Null,
    Kind::Int,
    Kind::Bool,
    Kind::Text,
    Kind::Row,
    Kind::Day,
    Kind::Minute,
    Kind::Second,
    Kind::Add,
    Kind::Append,
    Kind::List,
    Kind::Number,
    Kind::Edit,
    Kind::Passed,
];

/// A remembered value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Cell {
    pub(super) kind: Kind,
    pub(super) number: i64,
}

const BIAS: i64 = 16;
const WIDE: i64 = 2032;
const KIND_SHIFT: u32 = 11;
/// Integers up to this distance from zero, downwards, take one word.
const INT_BIAS: i64 = 4096;
const INT: u16 = 0x8000;

impl Cell {
    pub(super) fn new(kind: Kind, number: i64) -> Cell {
        Cell { kind, number }
    }

    /// Its number, if numbers of its kind can be reckoned with.
    pub(super) fn amount(self) -> Option<i64> {
        match self.kind {
            Kind::Int | Kind::Day | Kind::Minute | Kind::Second | Kind::Add => Some(self.number),
            _ => None,
        }
    }

    /// Something to tell values apart by.
    pub(super) fn mark(self) -> u32 {
        let number = self.number.cast_unsigned();
        super::engine::hash(self.kind as u32, (number ^ number >> 32) as u32)
    }

    pub(super) fn pack(self, out: &mut Vec<u16>) {
        let integer = self.number.wrapping_add(INT_BIAS);
        if self.kind == Kind::Int && (0..0x7fff).contains(&integer) {
            out.push(INT | integer as u16);
            return;
        }
        let kind = (self.kind as u16) << KIND_SHIFT;
        let direct = self.number.wrapping_add(BIAS);
        if (0..WIDE).contains(&direct) {
            out.push(kind | direct as u16);
            return;
        }
        let words = (1..4).find(|words| {
            let bits = 64 - 16 * words;
            self.number << bits >> bits == self.number
        });
        let words = words.unwrap_or(4);
        out.push(kind | (WIDE as u16 + words as u16));
        out.extend((0..words).map(|at| (self.number >> (16 * at)) as u16));
    }

    /// The first cell of some words, and how many it takes.
    pub(super) fn unpack(words: &[u16]) -> (Cell, usize) {
        let Some(&first) = words.first() else { return (Cell::default(), 1) };
        if first & INT != 0 {
            return (Cell::new(Kind::Int, i64::from(first & !INT) - INT_BIAS), 1);
        }
        let kind = KINDS.get(usize::from(first >> KIND_SHIFT)).copied().unwrap_or_default();
        let direct = i64::from(first & ((1 << KIND_SHIFT) - 1));
        if direct < WIDE {
            return (Cell::new(kind, direct - BIAS), 1);
        }
        let len = ((direct - WIDE) as usize).clamp(1, 4);
        let mut number = 0;
        for at in (0..len).rev() {
            number = number << 16 | i64::from(words.get(1 + at).copied().unwrap_or(0));
        }
        let bits = 64 - 16 * len;
        (Cell::new(kind, number << bits >> bits), 1 + len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_come_back() {
        for number in [
            0,
            -1,
            -16,
            -17,
            2015,
            2016,
            -4096,
            -4097,
            28670,
            28671,
            32767,
            -32769,
            1 << 40,
            i64::MIN,
            i64::MAX,
        ] {
            for kind in KINDS {
                let mut words = Vec::new();
                Cell::new(kind, number).pack(&mut words);
                assert_eq!(Cell::unpack(&words), (Cell::new(kind, number), words.len()));
            }
        }
    }
}
