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

    /// Learn from the fields in which some rows agree with one that is known now.
    pub(super) fn learn(&mut self, table: u32, lessons: &[u64], slots: usize) {
        let some = lessons.iter().fold(0, |some, agree| some | agree);
        for on in 0..slots {
            self.towards(tie(table, ANY, on), lessons, u64::MAX, on);
            let mut rest = some & !(1 << on);
            while rest != 0 {
                let of = rest.trailing_zeros() as usize;
                self.towards(tie(table, of as u32, on), lessons, 1 << of, on);
                rest &= rest - 1;
            }
        }
    }

    /// Learn from those lessons that agree in a field of `of`.
    fn towards(&mut self, tie: usize, lessons: &[u64], of: u64, on: usize) {
        let mut known = i32::from(self.known[tie]);
        for agree in lessons.iter().filter(|agree| of == u64::MAX || *agree & of != 0) {
            let target = if agree >> on & 1 != 0 { 65535 } else { 0 };
            known += (target - known) / 32;
        }
        self.known[tie] = known as u16;
    }
}

fn tie(table: u32, of: u32, on: usize) -> usize {
    place(hash(hash(table, of), on as u32), TIES)
}
