//! Which branch of the rules really happened, by the hub's own tables; and both ends of
//! what operators decided.
use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use wadi_protocol::change::{Change, Op};
use wadi_protocol::id::{Dot, RowId};

use crate::model::Key;
use crate::schema::{TABLES, number_of};
use crate::screen;
use crate::world::{Outcome, World};

/// How a row stands that its changes or others say is deleted, or that has twins.
struct Stands {
    key: Key,
    deleted: bool,
    dead: bool,
    kept: bool,
    twins: bool,
}

/// The candidates of a field: which, how many there are, whether they wait for a person.
struct Rivals {
    key: Key,
    field: u16,
    dots: Vec<Dot>,
    waits: bool,
    loses: bool,
}

impl World {
    /// A change that nobody on the ground made.
    pub fn learn_settle(&mut self, dot: Dot, key: Key) -> Outcome<()> {
        let change = at_hub(self.hub.machine.eye().expect("it was looked at"), dot)?;
        if change.op != Op::Settle {
            return Err(format!("hub: {dot} was made by nobody"));
        }
        self.model.settle(change, key);
        Ok(())
    }

    /// What the hub decided since the last look, before that becomes the last.
    pub fn decided(
        &mut self,
        new: &[Dot],
        waiting: &BTreeSet<Dot>,
        aside: &BTreeSet<Dot>,
    ) -> Outcome<()> {
        let eye = self.hub.machine.eye().expect("it was looked at");
        self.model.rule(eye)?;
        self.model.check_verdicts(new, aside)?;
        let model = &self.model;
        let mut seen = Vec::new();
        let told = |dot: &&Dot| model.told.get(dot).is_some_and(|told| told.key.0 == "visit");
        for dot in new.iter().filter(told) {
            if at_hub(eye, *dot)?.passes_any() {
                seen.push("rule: a value is left out");
            }
        }
        if !waiting.is_subset(&model.parked) {
            seen.push("rule: parked");
        }
        if !aside.is_subset(&model.aside) {
            seen.push("rule: quarantined");
        }
        for dot in new {
            if model.parked.contains(dot) {
                seen.push("rule: parked and released");
            }
            if model.aside.contains(dot) {
                let mended = model.is_repaired(*dot);
                seen.push(if mended { "rule: repaired" } else { "rule: released with its group" });
            }
            if model.contained.contains_key(dot) {
                seen.push("rule: contained stamp");
            }
        }
        if !new.is_empty() {
            let stands = stands(eye).map_err(|error| error.to_string())?;
            let rivals = rivals(eye).map_err(|error| error.to_string())?;
            seen.extend(stands.iter().flat_map(of_stands));
            seen.extend(rivals.iter().filter_map(|rivals| of_rivals(rivals, &stands)));
            let joined = |rivals: &&Rivals| {
                let dots = &rivals.dots;
                let after = |one: &Dot| {
                    dots.iter().any(|other| other != one && model.names(*one, *other, "note"))
                };
                rivals.waits && rivals.key.0 == "house" && dots.iter().any(after)
            };
            if rivals.iter().any(|rivals| rivals.loses && !rivals.waits) {
                seen.push("rule: a value is superseded");
            }
            if rivals.iter().any(|rivals| joined(&rivals)) {
                seen.push("rule: an edit joins a case");
            }
            let dead: BTreeSet<Key> =
                stands.iter().filter(|row| row.dead).map(|row| row.key).collect();
            let made: BTreeSet<Key> = new
                .iter()
                .filter_map(|dot| model.told.get(dot))
                .filter(|told| told.change.op == Op::Insert)
                .map(|told| told.key)
                .collect();
            for key in model.dead.difference(&dead) {
                seen.push(match made.contains(key) {
                    true => "rule: a row is made anew",
                    false => "rule: a delete that was shown is revived",
                });
            }
            self.model.dead = dead;
        }
        seen.into_iter().for_each(|what| self.tally.note(what));
        Ok(())
    }

    /// Both ends agree about what was rejected and what was repaired.
    pub fn words(&mut self) -> Outcome<()> {
        let eye = self.hub.machine.eye().expect("on");
        let sql = "SELECT device, run, seq, coalesce(rejected, reason) FROM wadi_quarantine";
        let reasons = reasons(eye, sql).map_err(|error| error.to_string())?;
        for phone in &mut self.phones {
            let name = phone.machine.name.clone();
            let eye = phone.machine.eye().expect("on");
            let sql = "SELECT device, run, seq, reason FROM wadi_change
                       WHERE custody = 'quarantined'";
            let told = self::reasons(eye, sql).map_err(|error| error.to_string())?;
            for (dot, reason) in &told {
                if reasons.get(dot) != Some(reason) {
                    return Err(format!(
                        "{name}: {dot} is in quarantine for {reason:?}, at the hub {:?}",
                        reasons.get(dot)
                    ));
                }
                if self.model.rulings.rejected.contains_key(dot) {
                    self.tally.note("rule: the reason reached the device");
                }
            }
        }
        Ok(())
    }

    /// A reference of a row that is there is empty since what it refers to is not.
    pub fn emptied(&mut self) -> Outcome<()> {
        let eye = self.hub.machine.eye().expect("on");
        let sql = "SELECT EXISTS (SELECT 1 FROM wadi_reference AS f
                   JOIN wadi_row AS c ON c.tbl = f.tbl AND c.row = f.row AND NOT c.dead
                   JOIN wadi_row AS p ON p.tbl = f.to_tbl AND p.row = f.to_row AND p.dead)";
        if eye.query_row(sql, (), |row| row.get(0)).map_err(|error| error.to_string())? {
            self.tally.note("rule: a reference is emptied");
        }
        Ok(())
    }
}

fn of_stands(row: &Stands) -> Vec<&'static str> {
    let mut seen = Vec::new();
    if row.kept {
        seen.push("rule: restrict keeps a row");
    }
    if row.dead && !row.deleted {
        seen.push("rule: cascade takes a row");
    }
    if row.twins {
        seen.push("rule: twins");
    }
    seen
}

fn of_rivals(rivals: &Rivals, stands: &[Stands]) -> Option<&'static str> {
    let Rivals { key, field, dots, waits, .. } = rivals;
    let is = |table: &str, name: &str| key.0 == table && number_of(table, name) == Some(*field);
    let deleted = stands.iter().any(|row| row.key == *key && row.deleted);
    Some(match (*field, dots.len()) {
        (0, _) if *waits => "rule: a delete waits for a person",
        (0, 1) if deleted => "rule: delete wins",
        (0, 1) if key.0 == "person" => "rule: update wins",
        (0, _) => "rule: several say whether a row is there",
        (_, 2..) if is("house", "note") => "rule: several wait for a person",
        (_, 2..) if is("house", "first") => "rule: first write wins",
        (_, 2..) if is("house", "count") => "rule: sum by two",
        (_, 2..) if is("house", "log") || is("sample", "log") => "rule: append beside another",
        (_, 2..) if is("sample", "tags") => "rule: set beside another",
        (_, 2..) if key.0 == "card" => "rule: a whole record wins",
        (_, 2..) => "rule: last write wins",
        _ => return None,
    })
}

fn key_of(number: u16, row: [u8; 16]) -> Key {
    (TABLES[usize::from(number) - 1].name, RowId(row))
}

fn stands(db: &Connection) -> rusqlite::Result<Vec<Stands>> {
    let sql = "SELECT tbl, row, deleted, dead, kept, twins <> x'00' FROM wadi_row
               WHERE deleted OR dead OR kept OR twins <> x'00'";
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map((), |row| {
        Ok(Stands {
            key: key_of(row.get(0)?, row.get(1)?),
            deleted: row.get(2)?,
            dead: row.get(3)?,
            kept: row.get(4)?,
            twins: row.get(5)?,
        })
    })?;
    rows.collect()
}

fn rivals(db: &Connection) -> rusqlite::Result<Vec<Rivals>> {
    let sql = "SELECT device, run, seq, tbl, row, field, review, NOT winner
               FROM wadi_candidate
               ORDER BY tbl, row, field";
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query(())?;
    let mut all: Vec<Rivals> = Vec::new();
    while let Some(row) = rows.next()? {
        let (dot, key) = (screen::dot(row)?, key_of(row.get(3)?, row.get(4)?));
        let (field, waits, loses): (u16, bool, bool) = (row.get(5)?, row.get(6)?, row.get(7)?);
        match all.last_mut().filter(|last| (last.key, last.field) == (key, field)) {
            Some(last) => {
                last.dots.push(dot);
                last.loses |= loses;
            }
            None => all.push(Rivals { key, field, dots: vec![dot], waits, loses }),
        }
    }
    Ok(all)
}

fn reasons(db: &Connection, sql: &str) -> rusqlite::Result<BTreeMap<Dot, String>> {
    let mut query = db.prepare(sql)?;
    let rows = query.query_map((), |row| Ok((screen::dot(row)?, row.get::<_, String>(3)?)))?;
    rows.collect()
}

/// A change as the hub has it.
fn at_hub(eye: &Connection, dot: Dot) -> Outcome<Change> {
    let sql = "SELECT body FROM wadi_change WHERE device = ? AND run = ? AND seq = ?";
    let bits = [dot.device.0 as i64, dot.run.0 as i64, dot.seq as i64];
    let body: Vec<u8> =
        eye.query_row(sql, bits, |row| row.get(0)).map_err(|error| error.to_string())?;
    postcard::from_bytes(&body).map_err(|error| error.to_string())
}
