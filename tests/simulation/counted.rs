//! Sums between the rounds: what a village shows of one is what the hub had at some time and
//! what the village holds beside, each change once. At the end such a mistake is mended, for
//! the hub has decided about everything then.
use std::collections::{BTreeMap, BTreeSet};

use wadi_protocol::change::Op;
use wadi_protocol::id::Dot;

use crate::model::{Key, Told};
use crate::screen;
use crate::world::{Outcome, World};

impl World {
    /// `laid`: what the village holds and laid itself.
    pub fn counted(&mut self, at: usize, laid: &BTreeSet<Dot>) -> Outcome<()> {
        if self.went_back() {
            return Ok(());
        }
        let mut rows: BTreeMap<Key, Vec<&Told>> = BTreeMap::new();
        for told in self.model.told.values().filter(|told| told.key.0 == "house") {
            rows.entry(told.key).or_default().push(told);
        }
        let at_hub = |told: &Told| self.model.eras.seq(told.change.dot);
        // A row that is made anew, or deleted at the hub, begins again.
        rows.retain(|_, told| {
            let held = told.iter().any(|told| laid.contains(&told.change.dot) && told.adds != 0);
            let ends = |told: &&Told| told.change.op == Op::Delete && at_hub(told).is_some();
            let begins = told.iter().filter(|told| told.change.op == Op::Insert).count();
            held && begins == 1 && !told.iter().any(ends)
        });
        let name = self.villages[at].machine.name.clone();
        let Some(eye) = self.villages[at].machine.eye() else { return Ok(()) };
        let shown = screen::counts(eye).map_err(|error| error.to_string())?;
        for (key, told) in rows {
            let Some(count) = shown.get(&key.1) else { continue };
            let sum = |version: u64| -> i64 {
                let seen = |told: &&&Told| {
                    let dot = told.change.dot;
                    laid.contains(&dot)
                        || self.model.eras.seq(dot).is_some_and(|seq| seq <= version)
                };
                told.iter().filter(seen).map(|told| told.adds).sum()
            };
            let versions = told.iter().filter_map(|told| self.model.eras.seq(told.change.dot));
            let mut sums = versions.chain([0]).map(sum);
            if !sums.any(|sum| sum == *count) {
                return Err(format!("{name}: the count of house {} is {count} at no time", key.1));
            }
        }
        Ok(())
    }
}
