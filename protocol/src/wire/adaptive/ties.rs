//! How much the agreement of two rows in one field says about another field.
//!
//! For each pair of fields of a table: how often rows that agree in the one agree
//! in the other. Rows like the one that is coded are those that agree where it says most.
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::curve::stretch;
use super::engine::{hash, place};

const TIES: usize = 3 * 1024;
/// Instead of a field: how often rows agree at all.
const ANY: u32 = 999;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ties {
    /// How likely agreement is, in 65536ths.
    known: Vec<u16>,
}

impl Ties {
    pub(super) fn new() -> Ties {
        Ties { known: vec![1 << 15; TIES] }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        2 * self.known.capacity()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.known.len() == TIES
    }

    /// What agreement in `of` says about agreement in `on`, in 256ths of log odds; never below 0.
    pub(super) fn weight(&self, table: u32, of: usize, on: usize) -> i32 {
        let odds = |of: u32| stretch(self.known[tie(table, of, on)]);
        (odds(of as u32) - odds(ANY)).max(0)
    }

    /// How likely agreement on a field is at all, in 65536ths.
    pub(super) fn learn(&mut self, table: u32, agree: u64, slots: usize) {
        for on in 0..slots {
            let target = if agree >> on & 1 != 0 { 65535 } else { 0 };
            let mut towards = |of: u32| {
                let known = &mut self.known[tie(table, of, on)];
                *known = (i32::from(*known) + (target - i32::from(*known)) / 32) as u16;
            };
            towards(ANY);
            let mut rest = agree & !(1 << on);
            while rest != 0 {
                towards(rest.trailing_zeros());
                rest &= rest - 1;
            }
        }
    }
}

fn tie(table: u32, of: u32, on: usize) -> usize {
    place(hash(hash(table, of), on as u32), TIES)
}
