//! What the hub must show in fields of which a text with one value is not all: lists that
//! grow, sets, codes, numbers; and which rows wait since they share a value.
use std::collections::{BTreeMap, BTreeSet};

use rusqlite::OptionalExtension;
use wadi_protocol::change::{Change, Delta, Op};
use wadi_protocol::id::RowId;
use wadi_protocol::value::Value;

use crate::model::{Key, Model};
use crate::sample::{cell, delta_of};
use crate::schema::number_of;
use crate::screen;
use crate::truth::{Graph, Runs};
use crate::world::{Outcome, World};

/// The fields, by table.
const FIELDS: [(&str, &[&str]); 2] =
    [("house", &["log"]), ("sample", &["kind", "level", "code", "tags", "log"])];

/// What a field must be: its column, and what was seen on the way there.
struct Gathered {
    cell: Option<String>,
    branch: Option<&'static str>,
}

impl World {
    /// Each of these fields at the hub is what its changes say.
    pub fn gathered(&mut self) -> Outcome<()> {
        let eye = self.hub.machine.eye().expect("on");
        let runs = screen::runs(eye).map_err(|error| error.to_string())?;
        for key in self.model.plain_rows() {
            let Some((table, fields)) = FIELDS.iter().find(|(table, _)| *table == key.0) else {
                continue;
            };
            for name in *fields {
                let Some(gathered) = self.model.gathered(key, name, &runs) else { continue };
                gathered.branch.into_iter().for_each(|branch| self.tally.note(branch));
                let eye = self.hub.machine.eye().expect("on");
                let sql = format!("SELECT CAST({name} AS TEXT) FROM {table} WHERE id = ?");
                let cell = eye.query_row(&sql, [key.1.to_string()], |row| row.get(0)).optional();
                let cell: Option<Option<String>> = cell.map_err(|error| error.to_string())?;
                if let Some(cell) = cell.filter(|cell| *cell != gathered.cell) {
                    return Err(format!(
                        "hub: {name} of {table} {} is {cell:?}, by its changes {:?}",
                        key.1, gathered.cell
                    ));
                }
            }
        }
        self.twins()
    }

    /// Rows that share a value that should be unique are all kept, and each is in an open
    /// case for as long as they do.
    fn twins(&mut self) -> Outcome<()> {
        let eye = self.hub.machine.eye().expect("on");
        let text = |error: rusqlite::Error| error.to_string();
        let rows = |sql: &str| -> rusqlite::Result<BTreeSet<String>> {
            eye.prepare_cached(sql)?.query_map((), |row| row.get(0))?.collect()
        };
        let twins = "SELECT id FROM sample WHERE code IN
                     (SELECT code FROM sample GROUP BY code HAVING count(*) > 1)";
        let twins = rows(twins).map_err(text)?;
        let (table, field) =
            (screen::number("sample"), number_of("sample", "code").expect("it is"));
        let mut query = eye
            .prepare(
                "SELECT row FROM wadi_review WHERE tbl = ? AND field = ? AND closed_seq IS NULL",
            )
            .map_err(text)?;
        let cases = query.query_map((table, field), |row| Ok(RowId(row.get(0)?).to_string()));
        let cases: BTreeSet<String> =
            cases.map_err(text)?.collect::<rusqlite::Result<_>>().map_err(text)?;
        if let Some(row) = twins.symmetric_difference(&cases).next() {
            let is = if twins.contains(row) { "has a twin and no" } else { "has no twin and a" };
            return Err(format!("hub: sample {row} {is} case"));
        }
        Ok(())
    }
}

impl Model {
    /// What the hub must show of such a field; none where that is not plain.
    fn gathered(&self, key: Key, name: &str, runs: &Runs) -> Option<Gathered> {
        let told = self.applied(key);
        let vague = |change: &&Change| self.is_vague(change);
        let changes: Vec<&Change> = told.iter().map(|told| self.form(told)).collect();
        if !changes.iter().any(|change| change.op == Op::Insert) || changes.iter().any(vague) {
            return None;
        }
        let graph = Graph::new(self, &changes, key, number_of(key.0, name), runs);
        let mut alive: Vec<usize> =
            (0..graph.changes.len()).filter(|&at| graph.gives(at) && !ended(&graph, at)).collect();
        alive.sort_by_key(|&at| self.order(graph.changes[at]));
        Some(match name {
            "log" => entries(&graph, &alive, key),
            "tags" => tags(&graph, &alive, key),
            _ => {
                let last = |at: &&usize| !alive.iter().any(|&other| graph.before(**at, other));
                let winner = alive.iter().rfind(last)?;
                let cell = cell(name, delta_of(key, graph.changes[*winner], name));
                Gathered { cell, branch: None }
            }
        })
    }
}

/// Whether a change is of a life of the row that is over: another began behind its end.
fn ended(graph: &Graph<'_>, at: usize) -> bool {
    let of = |op: Op| (0..graph.changes.len()).filter(move |&it| graph.changes[it].op == op);
    of(Op::Delete)
        .any(|end| graph.before(at, end) && of(Op::Insert).any(|begin| graph.before(end, begin)))
}

/// Every entry once, in the order in which they were made.
fn entries(graph: &Graph<'_>, alive: &[usize], key: Key) -> Gathered {
    let mut list = Vec::new();
    let mut devices = BTreeSet::new();
    for &at in alive {
        let change = graph.changes[at];
        if let Some(Delta::Append(entry) | Delta::Set(Value::Text(entry))) =
            delta_of(key, change, "log")
        {
            list.push(entry.as_str());
            devices.insert(change.dot.device);
        }
    }
    Gathered { cell: json(&list), branch: (devices.len() > 1).then_some("rule: append by two") }
}

/// Of each code, whether somebody added it and nobody who had seen that removed it.
fn tags(graph: &Graph<'_>, alive: &[usize], key: Key) -> Gathered {
    let (mut adds, mut removes) = (BTreeMap::new(), BTreeMap::new());
    for &at in alive {
        let (add, remove): (&[String], &[String]) = match delta_of(key, graph.changes[at], "tags") {
            Some(Delta::Edit { add, remove }) => (add, remove),
            Some(Delta::Set(Value::List(add))) => (add, &[]),
            _ => continue,
        };
        for tag in add {
            adds.entry(tag.as_str()).or_insert_with(Vec::new).push(at);
        }
        for tag in remove {
            removes.entry(tag.as_str()).or_insert_with(Vec::new).push(at);
        }
    }
    let mut branch = None;
    let mut list = Vec::new();
    for (tag, adds) in adds {
        let removes = removes.get(tag).map_or(&[][..], Vec::as_slice);
        let stays = |add: &&usize| !removes.iter().any(|&remove| graph.before(**add, remove));
        if adds.iter().any(|add| stays(&add)) {
            list.push(tag);
            branch = branch.or((!removes.is_empty()).then_some("rule: set add against removal"));
        }
    }
    Gathered { cell: json(&list), branch }
}

/// The column of a list; an empty one is no value.
fn json(list: &[&str]) -> Option<String> {
    let all: Vec<String> = list.iter().map(|entry| format!("\"{entry}\"")).collect();
    (!all.is_empty()).then(|| format!("[{}]", all.join(",")))
}
