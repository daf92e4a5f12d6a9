//! Fields that wait for a person: who competes there, found out again from the rule as it is
//! told to people. An edit by somebody whose past holds an open case joins the case, and
//! takes the place of what the same device had in it; only a settle closes it.
use std::collections::BTreeSet;

use rusqlite::OptionalExtension;
use wadi_protocol::change::{Change, Op};
use wadi_protocol::id::Dot;

use crate::model::{Key, Model};
use crate::sample::{cell, delta_of};
use crate::schema::number_of;
use crate::screen;
use crate::truth::{Graph, Runs};
use crate::world::{Outcome, World};

/// What a field that waits for people must be.
struct Waits {
    rivals: BTreeSet<Dot>,
    /// What is shown meanwhile: the greatest stamp.
    shown: Option<String>,
}

impl World {
    /// Each case that must be open is, with all who compete, and no other.
    pub fn cases_at_the_end(&mut self) -> Outcome<()> {
        let text = |error: rusqlite::Error| error.to_string();
        let eye = self.hub.machine.eye().expect("on");
        let runs = screen::runs(eye).map_err(text)?;
        let (table, field) = (screen::number("house"), number_of("house", "note").expect("it is"));
        for key in self.model.plain_rows().into_iter().filter(|key| key.0 == "house") {
            let Some(waits) = self.model.waits(key, &runs) else { continue };
            let sql = "SELECT CAST(note AS TEXT) FROM house WHERE id = ?";
            let note = eye.query_row(sql, [key.1.to_string()], |row| row.get(0)).optional();
            let note: Option<Option<String>> = note.map_err(text)?;
            let Some(note) = note else { continue };
            let sql = "SELECT count(*) FROM wadi_review
                       WHERE tbl = ? AND row = ? AND field = ? AND closed_seq IS NULL";
            let place = (table, key.1.0, field);
            let open: i64 = eye.query_row(sql, place, |row| row.get(0)).map_err(text)?;
            let sql = "SELECT device, run, seq FROM wadi_candidate
                       WHERE tbl = ? AND row = ? AND field = ?";
            let mut query = eye.prepare_cached(sql).map_err(text)?;
            let rivals = query.query_map(place, screen::dot).map_err(text)?;
            let rivals: BTreeSet<Dot> = rivals.collect::<Result<_, _>>().map_err(text)?;
            let must = waits.rivals.len() > 1;
            if (open == 1) != must || must && rivals != waits.rivals {
                return Err(format!(
                    "hub: of the note of house {}, {open} cases are open, of {rivals:?}; by its \
                     changes {:?} compete",
                    key.1, waits.rivals
                ));
            }
            if note != waits.shown {
                return Err(format!(
                    "hub: the note of house {} is {note:?}, by its changes {:?}",
                    key.1, waits.shown
                ));
            }
        }
        Ok(())
    }
}

impl Model {
    fn waits(&self, key: Key, runs: &Runs) -> Option<Waits> {
        let told = self.applied(key);
        let changes: Vec<&Change> = told.iter().map(|told| self.form(told)).collect();
        let inserts = changes.iter().filter(|change| change.op == Op::Insert).count();
        if inserts != 1 || changes.iter().any(|change| self.is_vague(change)) {
            return None;
        }
        let graph = Graph::new(self, &changes, key, number_of(key.0, "note"), runs);
        let on_line = |one: usize, other: usize| {
            self.is_on_line(graph.changes[one].dot, graph.changes[other].dot, runs)
        };
        let mut values: Vec<usize> =
            (0..graph.changes.len()).filter(|&at| graph.gives(at)).collect();
        let past = |at: usize| -> Vec<usize> {
            values.iter().copied().filter(|&it| graph.before(it, at)).collect()
        };
        let mut in_order = values.clone();
        in_order.sort_by_key(|&at| past(at).len());
        let mut joins: BTreeSet<usize> = BTreeSet::new();
        let case = |all: &[usize], joins: &BTreeSet<usize>| -> Vec<usize> {
            let ends = |one: usize, other: usize| {
                graph.before(one, other) && (!joins.contains(&other) || on_line(one, other))
            };
            let stays = |one: &usize| !all.iter().any(|&other| ends(*one, other));
            all.iter().copied().filter(stays).collect()
        };
        for at in in_order {
            if graph.changes[at].op != Op::Settle && case(&past(at), &joins).len() > 1 {
                joins.insert(at);
            }
        }
        values.sort_by_key(|&at| self.order(graph.changes[at]));
        let rivals = case(&values, &joins);
        let last = graph.changes[*rivals.last()?];
        Some(Waits {
            shown: cell("note", delta_of(key, last, "note")),
            rivals: rivals.iter().map(|&at| graph.changes[at].dot).collect(),
        })
    }
}
