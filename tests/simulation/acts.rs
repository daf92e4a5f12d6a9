//! What people and programs do: records on phones, SQL at the gateways, decisions and
//! schemas at the hub.
use wadi_gateway::handheld::entry::enter;
use wadi_gateway::handheld::record::parse;
use wadi_protocol::id::RowId;

use crate::act::Act;
use crate::dice::Dice;
use crate::eye::Eye;
use crate::model::Key;
use crate::schema::{self, TABLES, Table};
use crate::screen;
use crate::world::{Outcome, World, survived};

/// A row is made this often, in thousandths; otherwise one that is shown is changed.
const INSERT_PERMILLE: u64 = 350;
/// Of what is changed, so much is where fields of all kinds are, beside what falls on them.
const SAMPLE_PERMILLE: u64 = 150;
const DELETE_PERMILLE: u64 = 120;
/// A reference is to a row that is still to be made, or such a row is made, this often.
const AHEAD_PERMILLE: u64 = 100;
/// A program replaces a row that it is shown rather than update it.
const REPLACE_PERMILLE: u64 = 200;
/// A record of a site is assigned to another one.
const REASSIGN_PERMILLE: u64 = 300;
/// A program makes a row whose id had another that was deleted.
const ANEW_PERMILLE: u64 = 80;
/// Bytes of a long text, at most.
const BULK_BYTES_MAX: u64 = 2_000;
/// Somebody names a table that this machine has not heard of yet.
const UNKNOWN_PERMILLE: u64 = 15;

impl World {
    /// Somebody enters a record, or a few that belong together, on a phone.
    pub fn enter(&mut self) -> Outcome<()> {
        let at = self.dice.index(self.phones.len());
        if self.phones[at].store.is_none() {
            return Ok(());
        }
        let group = if self.dice.permille(200) { 2 + self.dice.index(3) } else { 1 };
        let mut acts: Vec<Act> = Vec::new();
        for _ in 0..group {
            let eye = self.phones[at].machine.eye().map(rows_of);
            let known = eye.transpose().map_err(|error| error.to_string())?.unwrap_or_default();
            let tables = self.tables_of_phone(at)?;
            let act = self.act(&known, |table| tables.contains(&table.name));
            if acts.iter().all(|other| other.row != act.row) {
                acts.push(act);
            }
        }
        let records: Vec<String> = acts.iter().map(Act::json).collect();
        let line = match &records[..] {
            [one] => one.clone(),
            all => format!("{{\"group\":[{}]}}", all.join(",")),
        };
        let mut screens = Vec::new();
        for act in &acts {
            let eye = self.phones[at].machine.eye();
            let shown = eye.map(|eye| screen::row(eye, act.key()));
            screens.push((act.key(), shown.transpose().map_err(|e| e.to_string())?.flatten()));
        }
        let now_s = self.phones[at].machine.skew.now_s(self.now_s);
        let phone = &mut self.phones[at];
        let name = phone.machine.name.clone();
        let records = parse(&line).map_err(|reason| format!("{line}: {reason}"))?;
        let store = phone.store.as_mut().expect("on");
        let label = store.device().label.clone();
        let outcome = store.write(now_s, |work| enter(work, &records, &label));
        let Some(entered) = survived(&phone.machine, "put", outcome)? else {
            return self.phone_failed(at);
        };
        if let Err(reason) = entered {
            return Err(format!("{name}: {line}: {reason}"));
        }
        self.phones[at].failed = false;
        self.tally.note(if acts.len() > 1 { "group entered" } else { "record entered" });
        self.tell(|| format!("{name}: {line}"));
        self.learn_phone(at, &screens)?;
        self.look_at_phone(at)
    }

    /// Some other program writes SQL into a gateway's database.
    pub fn program(&mut self) -> Outcome<()> {
        let at = self.dice.index(self.villages.len());
        if self.villages[at].store.is_none() {
            return Ok(());
        }
        // What was written before has to be told apart from what is written now.
        if !self.drain(at)? {
            return Ok(());
        }
        let eye = self.villages[at].machine.eye().map(rows_of);
        let known = eye.transpose().map_err(|error| error.to_string())?.unwrap_or_default();
        let mut act = self.act(&known, |_| true);
        let mut replace = act.op == "insert" && self.dice.permille(300);
        let dead = self.model.dead.iter().filter(|key| !known.contains(key));
        let dead: Vec<Key> = dead.copied().collect();
        if act.op == "insert" && !dead.is_empty() && self.dice.permille(ANEW_PERMILLE) {
            let (name, row) = *self.dice.pick(&dead);
            act.table = screen::table(name);
            (act.row, act.fields) = (row, Vec::new());
            act = self.whole(&act);
        }
        if act.op == "update" && self.dice.permille(REPLACE_PERMILLE) {
            (act, replace) = (self.whole(&act), true);
            self.tally.note("SQL REPLACE of a row");
        }
        self.write_sql(at, &act, replace)
    }

    /// SQL in a gateway's database; what it wrote is on the screen, then and later.
    pub fn write_sql(&mut self, at: usize, act: &Act, replace: bool) -> Outcome<()> {
        let Some(eye) = self.villages[at].machine.eye() else { return Ok(()) };
        if !screen::has(eye, act.table.name).map_err(|error| error.to_string())? {
            return Ok(());
        }
        let shown = screen::row(eye, act.key()).map_err(|error| error.to_string())?;
        let sql = act.sql(replace);
        let outcome = eye.execute_batch(&sql);
        let village = &self.villages[at];
        let name = village.machine.name.clone();
        if survived(&village.machine, &sql, outcome)?.is_none() {
            return self.village_failed(at);
        }
        self.tally.note(if replace { "SQL REPLACE" } else { "SQL written" });
        self.tell(|| format!("{name}: {sql}"));
        let screens = [(act.key(), shown)];
        let written = self.written(at, act.key())?;
        if self.drain(at)? {
            let found = self.written(at, act.key())?;
            if let (Some(written), Some(found)) = (&written, &found)
                && written != found
                && !act.is_poison()
                && !self.model.dead.contains(&act.key())
            {
                return Err(format!("{name}: {sql}\nwrote {written:?}, and shows {found:?}"));
            }
            self.learn_village(at, &screens)?;
            self.look_at_village(at)?;
        }
        Ok(())
    }

    /// What a gateway shows of a row in fields whose value is the last one written.
    fn written(&mut self, at: usize, key: Key) -> Outcome<Option<Vec<String>>> {
        let Some(eye) = self.villages[at].machine.eye() else { return Ok(None) };
        let row = screen::whole_row(eye, key).map_err(|error| error.to_string())?;
        let plain = |shown: &String| {
            let field = shown.split('=').next().expect("a name");
            schema::is_plain(key.0, field)
        };
        Ok(row.map(|row| row.into_iter().filter(plain).collect()))
    }

    /// What other programs wrote goes into the changelog; whether the gateway lives on.
    pub fn drain(&mut self, at: usize) -> Outcome<bool> {
        let now_s = self.villages[at].machine.skew.now_s(self.now_s);
        let village = &mut self.villages[at];
        let outcome = village.store.as_mut().expect("on").drain(now_s);
        if survived(&village.machine, "drain", outcome)?.is_none() {
            self.village_failed(at)?;
            return Ok(false);
        }
        self.learn_village(at, &[])?;
        Ok(true)
    }

    fn tables_of_phone(&mut self, at: usize) -> Outcome<Vec<&'static str>> {
        let Some(eye) = self.phones[at].machine.eye() else { return Ok(Vec::new()) };
        let held = screen::names(eye).map_err(|error| error.to_string())?;
        Ok(TABLES.iter().map(|table| table.name).filter(|name| held.contains(*name)).collect())
    }

    /// Something to do, to one of the known rows or a new one.
    fn act(&mut self, known: &[Key], has: impl Fn(&Table) -> bool) -> Act {
        let any = self.dice.permille(UNKNOWN_PERMILLE);
        let tables: Vec<&'static Table> =
            TABLES.iter().filter(|table| has(table) || any && table.since <= self.schema).collect();
        let tables = if tables.is_empty() { vec![&TABLES[0]] } else { tables };
        let mut table = *self.dice.pick(&tables);
        let mut row = self.new_row();
        let mut op = "insert";
        let ahead = |dice: &mut Dice| dice.permille(AHEAD_PERMILLE);
        let due = |key: &Key| tables.iter().any(|table| table.name == key.0);
        if let Some(place) = self.promised.iter().position(due).filter(|_| ahead(&mut self.dice)) {
            let key = self.promised.remove(place);
            (table, row) = (screen::table(key.0), key.1);
        } else if !known.is_empty() && !self.dice.permille(INSERT_PERMILLE) {
            let samples: Vec<Key> = known.iter().filter(|key| key.0 == "sample").copied().collect();
            let at_sample = !samples.is_empty() && self.dice.permille(SAMPLE_PERMILLE);
            let key = *self.dice.pick(if at_sample { &samples } else { known });
            (table, row) = (screen::table(key.0), key.1);
            op = if self.dice.permille(DELETE_PERMILLE) { "delete" } else { "update" };
        }
        let key = (table.name, row);
        let mut fields = Vec::new();
        for field in table.marks {
            if op == "insert" || (op == "update" && self.dice.permille(500)) {
                fields.push((*field, self.text(key, field)));
            }
        }
        for (field, to) in table.references {
            let there: Vec<&Key> = known.iter().filter(|(name, _)| name == to).collect();
            if op != "delete" && matches!(*to, "photo" | "sample") && ahead(&mut self.dice) {
                self.tally.note("reference ahead of its row");
                let made = self.promised.iter().find(|key| key.0 == *to).copied();
                let key = made.unwrap_or_else(|| (*to, self.new_row()));
                if made.is_none() {
                    self.promised.push(key);
                }
                fields.push((*field, key.1.to_string()));
            } else if op != "delete" && !there.is_empty() && self.dice.permille(600) {
                fields.push((*field, self.dice.pick(&there).1.to_string()));
            }
        }
        if table.name == "local" && op != "delete" && self.dice.permille(REASSIGN_PERMILLE) {
            // Of one of the villages, or one that nobody has heard of.
            let site = format!("village-{}", 1 + self.dice.below(4));
            fields.push(("home", site));
            self.tally.note("record assigned to a site");
        }
        let add = (op != "delete" && !table.sums.is_empty() && self.dice.permille(500))
            .then(|| self.dice.below(19) as i64 - 9);
        let more = self.more(key, op);
        if op == "update" && fields.is_empty() && add.is_none() && more.is_empty() {
            op = "delete";
        }
        Act { op, table, row, fields, add, more }
    }

    fn new_row(&mut self) -> RowId {
        let (high, low) = (u128::from(self.dice.bits()), u128::from(self.dice.bits() >> 4));
        RowId((high << 64 | 8 << 60 | low).to_be_bytes())
    }

    /// A mark for a field, in a text that may be long.
    fn text(&mut self, key: Key, field: &'static str) -> String {
        let long = self.dice.permille(self.faults.bulky);
        let bytes = if long { self.dice.below(BULK_BYTES_MAX) } else { 0 };
        self.model.mark(key, field, bytes as usize)
    }

    /// The same row, all of it anew.
    fn whole(&mut self, act: &Act) -> Act {
        let key = act.key();
        let Act { table, row, ref fields, .. } = *act;
        let more = self.more(key, "insert");
        let mut fields: Vec<(&'static str, String)> = fields.clone();
        fields.retain(|(field, _)| !table.marks.contains(field));
        fields.extend(table.marks.iter().map(|field| (*field, self.text(key, field))));
        let add = (!table.sums.is_empty()).then(|| self.dice.below(19) as i64 - 9);
        Act { op: "insert", table, row, fields, add, more }
    }

    /// The rows that others wait for are made.
    pub fn keep_promises(&mut self) -> Outcome<()> {
        for key in std::mem::take(&mut self.promised) {
            let table = screen::table(key.0);
            let fields = table.marks.iter().map(|field| (*field, self.text(key, field))).collect();
            let act = Act { op: "insert", table, row: key.1, fields, add: None, more: Vec::new() };
            self.write_sql(0, &act, false)?;
        }
        Ok(())
    }

    /// The next version of the schema is published.
    pub fn publish(&mut self) -> Outcome<()> {
        if self.schema as usize > schema::LATER.len() || !self.dice.permille(300) {
            return Ok(());
        }
        self.publish_next()
    }

    pub fn publish_next(&mut self) -> Outcome<()> {
        let now_s = self.hub.machine.skew.now_s(self.now_s);
        let Some(store) = self.hub.store.as_mut() else { return Ok(()) };
        let outcome = store.publish_schema(&schema::text(self.schema + 1), now_s);
        if survived(&self.hub.machine, "publish", outcome)?.is_none() {
            self.hub.stop();
            return Ok(());
        }
        self.schema += 1;
        self.tally.note("schema published");
        Ok(())
    }
}

/// Every row that is shown.
fn rows_of(eye: &Eye) -> rusqlite::Result<Vec<Key>> {
    let mut keys = Vec::new();
    for table in &TABLES {
        keys.extend(screen::rows(eye, table.name)?.into_iter().map(|row| (table.name, row)));
    }
    Ok(keys)
}
