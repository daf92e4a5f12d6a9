//! What operators said, as the hub holds it, and how changes count by that.
//!
//! A hub that is put back from a backup has lost some of it: what counts is read anew at
//! every look.
use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use wadi_protocol::change::{Change, FieldRef, Op};
use wadi_protocol::id::Dot;
use wadi_protocol::ruling::{Ruling, Word};

use crate::eras::Eras;
use crate::model::{Key, Model, Told};
use crate::sample::flaws;
use crate::screen;

/// What operators said.
#[derive(Default)]
pub struct Rulings {
    /// The changes that settle cases, those of a lost hub too.
    pub settles: BTreeMap<Dot, Told>,
    /// How a change counts where that is not as it was made.
    forms: BTreeMap<Dot, Change>,
    /// Why changes are never to be applied.
    pub rejected: BTreeMap<Dot, String>,
    read: Vec<Vec<u8>>,
}

impl Rulings {
    /// Rows of which an operator has said whether they are there.
    pub fn rows(&self, eras: &Eras) -> BTreeSet<Key> {
        let existence = |told: &&Told| {
            let change = &told.change;
            eras.seq(change.dot).is_some()
                && change.fields.iter().any(|(at, _)| *at == FieldRef::Number(0))
        };
        self.settles.values().filter(existence).map(|told| told.key).collect()
    }
}

impl Model {
    /// A change as it counts.
    pub fn form<'a>(&'a self, told: &'a Told) -> &'a Change {
        self.rulings.forms.get(&told.change.dot).unwrap_or(&told.change)
    }

    /// All that the hub applied to a row.
    pub fn applied(&self, key: Key) -> Vec<&Told> {
        let all = self.told.values().chain(self.rulings.settles.values());
        let of_row = all.filter(|told| told.key == key);
        of_row.filter(|told| self.eras.seq(told.change.dot).is_some()).collect()
    }

    /// An operator's change that settles a case.
    pub fn settle(&mut self, change: Change, key: Key) {
        let told = Told { key, marks: Vec::new(), screen: None, adds: 0, change };
        self.rulings.settles.insert(told.change.dot, told);
    }

    /// Read the rulings that the hub holds.
    pub fn rule(&mut self, db: &Connection) -> Result<(), String> {
        let text = |error: rusqlite::Error| format!("an eye: {error}");
        let mut query = db.prepare_cached("SELECT body FROM wadi_ruling").map_err(text)?;
        let bodies = query.query_map((), |row| row.get::<_, Vec<u8>>(0)).map_err(text)?;
        let bodies: Vec<Vec<u8>> = bodies.collect::<Result<_, _>>().map_err(text)?;
        if bodies == self.rulings.read {
            return Ok(());
        }
        let mut all: Vec<Ruling> = Vec::new();
        for body in &bodies {
            all.push(postcard::from_bytes(body).map_err(|error| error.to_string())?);
        }
        self.rulings.read = bodies;
        all.sort_by_key(|ruling| (ruling.stamp, ruling.dot));
        self.rulings.forms.clear();
        self.rulings.rejected.clear();
        for ruling in all {
            let made = self.told.get(&ruling.subject);
            let made = made.or(self.rulings.settles.get(&ruling.subject));
            let Some(made) = made else {
                return Err(format!(
                    "hub: an operator rules about {}, made by nobody",
                    ruling.subject
                ));
            };
            let made = made.change.clone();
            let form = match ruling.word {
                Word::Repair(repair) => {
                    let (schema, table) = (repair.schema, repair.table);
                    Change { schema, table, fields: repair.fields, ..made }
                }
                Word::Undo => Change { op: Op::Undone, ..made },
                Word::Reject { reason } => {
                    self.rulings.rejected.insert(ruling.subject, reason);
                    continue;
                }
            };
            self.rulings.forms.insert(ruling.subject, form);
        }
        // A repair outdoes every reject.
        let forms = &self.rulings.forms;
        self.rulings.rejected.retain(|dot, _| !forms.contains_key(dot));
        Ok(())
    }

    /// Whether a change was repaired.
    pub fn is_repaired(&self, dot: Dot) -> bool {
        self.told.contains_key(&dot) && self.rulings.forms.contains_key(&dot)
    }

    /// The changes of a group; of one that stands alone itself.
    pub fn group(&self, told: &Told) -> Vec<&Told> {
        let (first, last) = told.change.group_span();
        let dot = told.change.dot;
        (first..=last).filter_map(|seq| self.told.get(&Dot { seq, ..dot })).collect()
    }

    /// Whether judges let a change pass: it and its group have no flaw, as they count.
    pub fn is_sound(&self, told: &Told) -> bool {
        self.group(told).iter().all(|mate| flaws(mate.key, self.form(mate)).is_empty())
    }

    /// The same, as they were made: what is not sound is laid nowhere.
    pub fn was_sound(&self, told: &Told) -> bool {
        self.group(told).iter().all(|mate| flaws(mate.key, &mate.change).is_empty())
    }

    /// What may not be in quarantine is not, and the other way round.
    pub fn check_verdicts(&self, new: &[Dot], aside: &BTreeSet<Dot>) -> Result<(), String> {
        for dot in new {
            if let Some(told) = self.told.get(dot).filter(|told| !self.is_sound(told)) {
                let flaws = flaws(told.key, self.form(told));
                return Err(format!("hub: {dot} is applied, be it that {flaws:?} is not sound"));
            }
        }
        for dot in aside.difference(&self.aside) {
            // A hub that was put back may lack what was published since.
            let whole = |told: &&Told| {
                let (first, last) = told.change.group_span();
                let mates = self.group(told);
                let first_schema =
                    |mate: &&Told| mate.change.schema <= 1 && screen::table(mate.key.0).since == 1;
                mates.len() as u64 == last - first + 1 && mates.iter().all(first_schema)
            };
            if self.told.get(dot).filter(whole).is_some_and(|told| self.is_sound(told)) {
                return Err(format!("hub: {dot} is in quarantine, and nothing is wrong with it"));
            }
        }
        Ok(())
    }
}
