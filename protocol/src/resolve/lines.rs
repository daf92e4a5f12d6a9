//! Lines of runs: which changes of one device come before which others.
//!
//! A device's runs form a tree by their parents; the path from a run up to its
//! root is its *line*. Two runs with one parent (a copied phone) are concurrent.
//! Where the reports of a run disagree, or form a circle, the least is claimed:
//! claiming less costs a conflict, claiming more costs data.
use alloc::collections::{BTreeMap, BTreeSet};

use crate::id::{DeviceId, Dot, RunId, RunInfo};

/// What is known of the runs of all devices.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lines {
    /// The parent of each run and the last sequence there that precedes it.
    parents: BTreeMap<(DeviceId, RunId), Option<(RunId, u64)>>,
}

impl Lines {
    /// Nothing is known yet: only changes of one run are ordered.
    pub fn new() -> Lines {
        Lines::default()
    }

    /// Learn of a run. Of reports that name one parent the least sequence counts;
    /// reports that name different parents leave the run without one. The order
    /// of the reports does not matter.
    pub fn add(&mut self, info: &RunInfo) {
        let told = info.parent.filter(|(run, _)| *run != RunId::NONE);
        self.parents
            .entry((info.device, info.run))
            .and_modify(|known| {
                *known = match (*known, told) {
                    (Some((run, last)), Some((other, other_last))) if run == other => {
                        Some((run, last.min(other_last)))
                    }
                    _ => None,
                }
            })
            .or_insert(told);
    }

    /// Whether both are of one device, `a`'s run is on `b`'s line, and `a` lies before `b`.
    pub fn earlier(&self, a: Dot, b: Dot) -> bool {
        if a.device != b.device {
            return false;
        }
        if a.run == b.run {
            return a.seq < b.seq;
        }
        let found = self.ancestor(b.device, b.run, |run| run == a.run);
        found.is_some_and(|(_, last)| a.seq <= last)
    }

    /// The nearest run above `run` on its line that is `wanted`, and the last
    /// sequence of it that precedes. Runs in a circle of parents have none.
    pub(super) fn ancestor(
        &self,
        device: DeviceId,
        run: RunId,
        wanted: impl Fn(RunId) -> bool,
    ) -> Option<(RunId, u64)> {
        let parent = |run| self.parents.get(&(device, run)).copied().flatten();
        let mut found = None;
        let mut at = run;
        for _ in 0..=self.parents.len() {
            let Some((above, last)) = parent(at) else {
                return found;
            };
            if found.is_none() && wanted(above) {
                found = Some((above, last));
            }
            at = above;
        }
        // More steps than runs: a circle. The line ends at the first run of it.
        let mut passed = BTreeSet::new();
        let mut entry = run;
        while passed.insert(entry) {
            entry = parent(entry)?.0;
        }
        let mut at = run;
        while at != entry {
            let (above, last) = parent(at)?;
            if wanted(above) {
                return Some((above, last));
            }
            at = above;
        }
        None
    }
}
