//! After every step: what the machine that acted holds and shows, against the model.
use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use wadi_protocol::change::{Change, TableRef};
use wadi_protocol::id::{Dot, RowId};

use crate::eye::Eye;
use crate::model::{Key, Screen};
use crate::schema::{TABLES, is_plain};
use crate::screen::{self, dot};
use crate::world::{Outcome, World};

type Found<T> = rusqlite::Result<T>;
/// The changes of a machine that are laid over a field, and whether one is undecided.
type Own = BTreeMap<(Key, &'static str), (Vec<Dot>, bool)>;

/// The whole ledger is drawn up once in so many looks.
const LEDGER_LOOKS: u64 = 8;

impl World {
    /// Changes that a phone's file has and the model does not know yet.
    pub fn learn_phone(&mut self, at: usize, screens: &[(Key, Screen)]) -> Outcome<()> {
        let looked = self.phones[at].looked;
        let Some(eye) = self.phones[at].machine.eye() else { return Ok(()) };
        let new = changes(eye, "place", looked).map_err(text)?;
        for (place, change) in new {
            self.phones[at].looked = place;
            if !self.model.told.contains_key(&change.dot) {
                if screens.is_empty() {
                    self.phones[at].doubtful.insert(change.dot);
                }
                self.learn(change, screens)?;
            }
        }
        Ok(())
    }

    /// Changes that a gateway's changelog has and the model does not know yet, or knows
    /// otherwise.
    pub fn learn_village(&mut self, at: usize, screens: &[(Key, Screen)]) -> Outcome<()> {
        let Some(own) = self.villages[at].store.as_ref().map(|store| store.device()) else {
            return Ok(());
        };
        let looked = self.villages[at].looked;
        let name = self.villages[at].machine.name.clone();
        let Some(eye) = self.villages[at].machine.eye() else { return Ok(()) };
        let new = changes(eye, "id", looked).map_err(text)?;
        for (id, change) in new {
            self.villages[at].looked = id;
            self.villages[at].holds.insert(change.dot);
            self.model.contain(change.dot, change.contained);
            match self.model.told.get(&change.dot) {
                Some(told) => {
                    let contained = told.change.contained;
                    if (Change { contained, ..change.clone() }) != told.change {
                        return Err(format!(
                            "{name}: {} is not what was entered: {change:?}, once {:?}",
                            change.dot, told.change
                        ));
                    }
                }
                None if change.dot.device == own => self.learn(change, screens)?,
                None => return Err(format!("{name}: {} was made by nobody", change.dot)),
            }
        }
        Ok(())
    }

    fn learn(&mut self, change: Change, screens: &[(Key, Screen)]) -> Outcome<()> {
        let key = self.key(&change.table, change.row)?;
        let screen = screens.iter().find(|(at, _)| *at == key).and_then(|(_, it)| it.clone());
        self.model.made(change, key, screen)
    }

    fn key(&self, table: &TableRef, row: RowId) -> Outcome<Key> {
        let name = match table {
            TableRef::Name(name) => TABLES.iter().find(|table| table.name == *name),
            TableRef::Number(number) => TABLES.get(usize::from(*number) - 1),
        };
        name.map(|table| (table.name, row)).ok_or(format!("{table:?} is no table"))
    }

    pub fn look_at_phone(&mut self, at: usize) -> Outcome<()> {
        self.learn_phone(at, &[])?;
        let name = self.phones[at].machine.name.clone();
        let Some(eye) = self.phones[at].machine.eye() else { return Ok(()) };
        let sql = "SELECT device, run, seq, custody, shown, body FROM wadi_change";
        let mut query = eye.prepare_cached(sql).map_err(text)?;
        let found = query.query_map((), |row| {
            let custody: String = row.get(3)?;
            let laid = row.get::<_, i64>(4)? == 0;
            Ok((dot(row)?, custody, laid, row.get::<_, Vec<u8>>(5)?))
        });
        let found: Vec<_> = found.map_err(text)?.collect::<Found<_>>().map_err(text)?;
        drop(query);
        let mut own = Own::new();
        let held: BTreeSet<Dot> = found.iter().map(|(dot, ..)| *dot).collect();
        for (dot, custody, laid, body) in &found {
            if custody == "durable" && !self.model.eras.was_committed(*dot) {
                return Err(format!(
                    "{name} calls {dot} durable, and the hub has not committed it"
                ));
            }
            if *laid {
                let change = postcard::from_bytes(body).map_err(|error| error.to_string())?;
                self.note_own(&mut own, &change)?;
            } else if !self.has_decided(*dot)
                && !self.went_back()
                // Of one that is off nobody can tell.
                && self.villages.iter().all(|it| it.store.is_some() && !it.holds.contains(dot))
            {
                return Err(format!("{name} takes {dot} for one that its village has"));
            }
        }
        let doubtful = &self.phones[at].doubtful;
        let known = |dot: &Dot| self.has_decided(*dot) || doubtful.contains(dot);
        let gone = |dot: &&Dot| !held.contains(dot) && !known(dot);
        if let Some(dot) = self.phones[at].holds.iter().find(gone) {
            return Err(format!("{name} has lost {dot}"));
        }
        // What was written and never acknowledged may go with the power, if nobody has it.
        let gone: Vec<Dot> = self.phones[at].doubtful.difference(&held).copied().collect();
        self.phones[at].holds = held;
        for dot in gone {
            self.phones[at].doubtful.remove(&dot);
            if !self.villages.iter().any(|it| it.holds.contains(&dot))
                && !self.phones.iter().any(|it| it.holds.contains(&dot))
            {
                self.model.told.remove(&dot);
            }
        }
        let eye = self.phones[at].machine.eye();
        let screens = shown(eye, &own).map_err(text)?;
        self.check_own(&name, &own, &screens)
    }

    pub fn look_at_village(&mut self, at: usize) -> Outcome<()> {
        self.learn_village(at, &[])?;
        let name = self.villages[at].machine.name.clone();
        let Some(eye) = self.villages[at].machine.eye() else { return Ok(()) };
        let sql = "SELECT r.device, r.run, c.seq, c.custody, c.laid, c.body, c.brought
                   FROM wadi_change AS c JOIN wadi_run AS r ON r.id = c.run";
        let mut query = eye.prepare_cached(sql).map_err(text)?;
        let found = query.query_map((), |row| {
            let (custody, laid): (i64, i64) = (row.get(3)?, row.get(4)?);
            let brought: bool = row.get(6)?;
            Ok((dot(row)?, custody, laid, brought, row.get::<_, Vec<u8>>(5)?))
        });
        let found: Vec<_> = found.map_err(text)?.collect::<Found<_>>().map_err(text)?;
        drop(query);
        let orphans = screen::orphans_of_the_known(eye).map_err(text)?;
        let held: BTreeSet<Dot> = found.iter().map(|(dot, ..)| *dot).collect();
        // Only what a backup of the hub has may go; if an older one took its place, that is lost.
        for dot in self.villages[at].holds.difference(&held) {
            if !self.model.eras.is_backed_up(*dot) {
                return Err(format!("{name} has lost {dot}"));
            }
            if !self.model.is_at_hub(*dot) {
                self.model.eras.lost.insert(*dot);
            }
        }
        self.villages[at].holds = held;
        // 2 = it could not be laid. What another village brought, or an operator repaired,
        // comes as state: it may be told of before that state is.
        let laid =
            found.iter().filter(|(_, _, laid, brought, _)| *laid == 1 || *laid == 0 && *brought);
        let laid: BTreeSet<Dot> = laid.map(|(dot, ..)| *dot).collect();
        let mut own = Own::new();
        for (dot, custody, laid, _, body) in &found {
            let decided = self.model.eras.was_committed(*dot);
            if *custody == 1 && !decided {
                return Err(format!("{name} calls {dot} committed, and the hub has not"));
            }
            if *custody == 0 && *laid == 0 && !decided {
                return Err(format!(
                    "{name} takes {dot} for one that base has, and the hub lacks it"
                ));
            }
            if *laid == 1 {
                let change = postcard::from_bytes(body).map_err(|error| error.to_string())?;
                self.note_own(&mut own, &change)?;
            }
        }
        if let Some(orphan) = orphans.first() {
            return Err(format!("{name} shows an orphan: {orphan}"));
        }
        let eye = self.villages[at].machine.eye();
        let screens = shown(eye, &own).map_err(text)?;
        self.check_own(&name, &own, &screens)?;
        self.counted(at, &laid)?;
        if self.dice.below(LEDGER_LOOKS) == 0
            && let Some(store) = &self.villages[at].store
        {
            let ledger = store.ledger().map_err(|error| format!("{name}: ledger: {error}"))?;
            if !ledger.faults.is_empty() {
                return Err(format!("{name}: the books do not balance: {:?}", ledger.faults));
            }
        }
        Ok(())
    }

    /// Whether somebody's storage went back in time.
    pub fn went_back(&self) -> bool {
        let back = ["card restored", "gateway cloned", "hub lost"];
        back.iter().any(|what| self.tally.0.contains_key(what))
    }

    /// Whether the hub has a change, or had it before it was lost.
    fn has_decided(&self, dot: Dot) -> bool {
        self.model.is_at_hub(dot) || self.model.eras.was_committed(dot)
    }

    fn note_own(&self, own: &mut Own, change: &Change) -> Outcome<()> {
        let Some(told) = self.model.told.get(&change.dot) else {
            return Err(format!("{} was made by nobody", change.dot));
        };
        for (field, _) in &told.marks {
            if is_plain(told.key.0, field) && self.model.was_sound(told) {
                let (laid, waits) = own.entry((told.key, field)).or_default();
                laid.push(change.dot);
                *waits |= !self.model.eras.was_committed(change.dot);
            }
        }
        Ok(())
    }

    /// Where own edits are laid over what the hub told, the screen shows one of them, or one
    /// that had seen them, or at the hub the rival of such a one.
    fn check_own(&self, name: &str, own: &Own, screens: &BTreeMap<Key, Screen>) -> Outcome<()> {
        for ((key, field), (own, waits)) in own {
            let Some(Some(marks)) = screens.get(key) else { continue };
            let mark = marks.get(field).cloned().flatten();
            let by = mark.as_deref().and_then(|mark| self.model.maker(mark));
            let well = by.is_some_and(|by| {
                let after = |own| self.model.names(by, own, field);
                own.contains(&by) || own.iter().any(|own| after(*own))
            });
            // Of one that waits, only if the hub showed just that when it had what follows it.
            let behind = || {
                let mut decided = self.model.eras.committed_ever();
                decided.any(|dot| {
                    own.iter().any(|own| self.model.names(dot, *own, field))
                        && (!*waits || self.model.eras.stood_with((*key, field), &mark, dot))
                })
            };
            if !well && !behind() {
                return Err(format!(
                    "{name} shows {mark:?} by {by:?} in {field} of {key:?}, and not its own {own:?}"
                ));
            }
        }
        Ok(())
    }

    pub fn look_at_hub(&mut self) -> Outcome<()> {
        let head = self.head;
        let Some(eye) = self.hub.machine.eye() else { return Ok(()) };
        let new = committed(eye, head).map_err(text)?;
        let dots = |from: &str| screen::dots(eye, &format!("device, run, seq FROM {from}"));
        let waiting = dots("wadi_change WHERE hub_seq IS NULL").map_err(text)?;
        let aside = dots("wadi_quarantine").map_err(text)?;
        let runs = screen::hub_runs(eye).map_err(text)?;
        self.model.eras.begun(runs.into_iter());
        let dots: Vec<Dot> = new.iter().map(|(dot, ..)| *dot).collect();
        let mut rows: BTreeMap<Key, u64> = BTreeMap::new();
        for (dot, seq, number, row) in new {
            self.head = self.head.max(seq);
            if let Some(before) = self.model.eras.committed(dot, seq) {
                return Err(format!("hub: {dot} is committed at {before} and at {seq}"));
            }
            let key = self.key(&TableRef::Number(number), row)?;
            if !self.model.told.contains_key(&dot) {
                self.learn_settle(dot, key)?;
            }
            let last = rows.entry(key).or_default();
            *last = seq.max(*last);
        }
        self.decided(&dots, &waiting, &aside)?;
        // Other rows moved with them, or by an operator's word alone.
        let eye = self.hub.machine.eye().expect("just looked");
        for (seq, number, row) in moved(eye, head).map_err(text)? {
            self.head = self.head.max(seq);
            let last = rows.entry(self.key(&TableRef::Number(number), row)?).or_default();
            *last = seq.max(*last);
        }
        self.model.parked = waiting;
        self.model.aside = aside;
        for (key, seq) in rows {
            let eye = self.hub.machine.eye().expect("just looked");
            let shown = screen::row(eye, key).map_err(text)?;
            for field in screen::table(key.0).marks {
                let mark = shown.as_ref().map(|marks| marks[field].clone());
                self.model.eras.shows((key, field), seq, mark);
            }
        }
        let eye = self.hub.machine.eye().expect("just looked");
        if let Some(orphan) = screen::orphans(eye).map_err(text)?.first() {
            return Err(format!("the hub shows an orphan: {orphan}"));
        }
        self.model.check_groups()?;
        if let Some(dot) = self.model.parked_for_nothing() {
            return Err(format!("hub: {dot} waits, and all that it needs is there"));
        }
        if let Some(store) = &self.hub.store
            && self.dice.below(LEDGER_LOOKS) == 0
        {
            let ledger = store.ledger().map_err(|error| format!("hub: ledger: {error}"))?;
            if !ledger.wrong.is_empty() {
                return Err(format!("hub: the books do not balance: {:?}", ledger.wrong));
            }
        }
        Ok(())
    }
}

impl World {
    /// What each machine's own tables say of the rows that a text names.
    pub fn dump(&mut self, named: &str) -> Vec<String> {
        let mut lines = self.model.lives(named);
        let rows: BTreeSet<RowId> = self.model.told.values().map(|told| told.key.1).collect();
        let rows: Vec<RowId> =
            rows.into_iter().filter(|row| named.contains(&row.to_string())).collect();
        let machines = std::iter::once(&mut self.hub.machine)
            .chain(self.villages.iter_mut().map(|it| &mut it.machine))
            .chain(self.phones.iter_mut().map(|it| &mut it.machine));
        for machine in machines {
            let name = machine.name.clone();
            let Some(eye) = machine.eye() else { continue };
            for table in ["wadi_row", "wadi_change", "wadi_log", "wadi_quarantine"] {
                for row in &rows {
                    let Ok(mut query) =
                        eye.prepare(&format!("SELECT * FROM {table} WHERE row = ?"))
                    else {
                        continue;
                    };
                    let names: Vec<String> = query.column_names().map(str::to_owned).collect();
                    let told = query.query_map([row.0], |row| {
                        let mut line = String::new();
                        for (at, name) in names.iter().enumerate() {
                            let value: rusqlite::types::Value = row.get(at)?;
                            let value = match value {
                                rusqlite::types::Value::Integer(number) => number.to_string(),
                                rusqlite::types::Value::Text(text) => text,
                                rusqlite::types::Value::Null => continue,
                                rusqlite::types::Value::Blob(blob) => told(&blob),
                                real => format!("{real:?}"),
                            };
                            line += &format!(" {name}={value}");
                        }
                        Ok(line)
                    });
                    for line in told.into_iter().flatten().flatten() {
                        lines.push(format!("# {name} {table} {row}{line}"));
                    }
                }
            }
        }
        lines
    }
}

/// How many bytes are printed whole.
const SHORT: usize = 80;

/// A change's stamp of containment; of other bytes what is short, else how many they are.
fn told(blob: &[u8]) -> String {
    match postcard::from_bytes::<Change>(blob).ok().and_then(|change| change.contained) {
        Some(stamp) => format!("contained at {}.{}", stamp.seconds, stamp.counter),
        None if blob.len() <= SHORT => format!("'{}'", blob.escape_ascii()),
        None => format!("[{}]", blob.len()),
    }
}

fn shown(eye: Option<&Eye>, own: &Own) -> Found<BTreeMap<Key, Screen>> {
    let Some(eye) = eye else { return Ok(BTreeMap::new()) };
    own.keys().map(|(key, _)| Ok((*key, screen::row(eye, *key)?))).collect()
}

/// Changes of a phone or a gateway beyond a place.
fn changes(db: &Connection, place: &str, after: i64) -> Found<Vec<(i64, Change)>> {
    let sql = format!("SELECT {place}, body FROM wadi_change WHERE {place} > ? ORDER BY {place}");
    let mut query = db.prepare_cached(&sql)?;
    let rows = query.query_map([after], |row| {
        let body: Vec<u8> = row.get(1)?;
        Ok((row.get(0)?, postcard::from_bytes(&body).expect("a change")))
    })?;
    rows.collect()
}

fn committed(db: &Connection, after: u64) -> Found<Vec<(Dot, u64, u16, RowId)>> {
    let sql = "SELECT device, run, seq, hub_seq, tbl, row FROM wadi_change
               WHERE hub_seq > ? ORDER BY hub_seq";
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map([after as i64], |row| {
        Ok((dot(row)?, row.get::<_, i64>(3)? as u64, row.get(4)?, RowId(row.get(5)?)))
    })?;
    rows.collect()
}

fn moved(db: &Connection, after: u64) -> Found<Vec<(u64, u16, RowId)>> {
    let mut query = db.prepare_cached("SELECT seq, tbl, row FROM wadi_log WHERE seq > ?")?;
    let rows = query.query_map([after as i64], |row| {
        Ok((row.get::<_, i64>(0)? as u64, row.get(1)?, RowId(row.get(2)?)))
    })?;
    rows.collect()
}

fn text(error: rusqlite::Error) -> String {
    format!("an eye: {error}")
}
