//! Which parts of a whole are there.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// A set of part indexes below `of`, as ascending stretches (first, last).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PartSet {
    of: u16,
    spans: Vec<(u16, u16)>,
}

impl PartSet {
    /// None of `of` parts.
    pub fn none(of: u16) -> PartSet {
        PartSet { of, spans: Vec::new() }
    }

    /// Whether every part is there.
    pub fn is_whole(&self) -> bool {
        self.of == 0 || self.spans == [(0, self.of - 1)]
    }

    /// Whether a part is there.
    pub fn has(&self, index: u16) -> bool {
        self.spans.iter().any(|&(first, last)| first <= index && index <= last)
    }

    /// Add a part; false if it was there already or is none of the whole.
    pub fn add(&mut self, index: u16) -> bool {
        if index >= self.of || self.has(index) {
            return false;
        }
        let at = self.spans.partition_point(|&(first, _)| first < index);
        self.spans.insert(at, (index, index));
        self.join(at);
        if at > 0 {
            self.join(at - 1);
        }
        true
    }

    /// Add every part of the stretches that was not there, and say which. Looks at
    /// no more than twice the whole, so that hostile stretches cost little.
    pub fn add_stretches(&mut self, stretches: &[(u16, u16)]) -> Vec<u16> {
        let of = self.of;
        let indexes = stretches.iter().flat_map(|&(first, last)| first..=last.min(of));
        let looked_at = usize::from(of).saturating_mul(2);
        indexes.take(looked_at).filter(|&index| self.add(index)).collect()
    }

    /// Stretches of parts that are not there.
    pub fn missing(&self) -> Vec<(u16, u16)> {
        let mut missing = Vec::new();
        let mut next = 0;
        for &(first, last) in &self.spans {
            if first > next {
                missing.push((next, first - 1));
            }
            next = last + 1;
        }
        if next < self.of {
            missing.push((next, self.of - 1));
        }
        missing
    }

    fn join(&mut self, at: usize) {
        if let [(_, last), (first, new_last), ..] = self.spans[at..]
            && last + 1 == first
        {
            self.spans[at].1 = new_last;
            self.spans.remove(at + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_any_order_and_twice() {
        let mut set = PartSet::none(5);
        assert!(set.add(3) && set.add(0) && !set.add(3) && !set.add(5));
        assert_eq!(set.missing(), [(1, 2), (4, 4)]);
        assert!(set.add(2) && set.add(1) && !set.is_whole());
        assert!(set.add(4) && set.is_whole());
        assert_eq!(set.missing(), []);
    }

    #[test]
    fn nothing_is_whole_at_once() {
        assert!(PartSet::none(0).is_whole());
        assert!(!PartSet::none(0).add(0));
    }

    #[test]
    fn the_largest_whole_fits() {
        let mut set = PartSet::none(u16::MAX);
        for index in (0..u16::MAX).rev() {
            assert!(set.add(index));
        }
        assert!(set.is_whole());
    }
}
