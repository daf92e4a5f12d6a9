//! Changes that no honest device makes, from a script: everything that a batch can
//! say, most of it nearly right, so that it gets past the first check.
//!
//! A [`Cast`] is what the hostile end knows of the world: whose devices there are,
//! which rows, runs and versions. What it makes lies about any of them.
use std::collections::BTreeMap;

use wadi_protocol::change::{Change, Delta, FieldRef, Group, Op, Seen, SeenRow, TableRef};
use wadi_protocol::id::{DeviceId, Dot, RowId, RowVersion, RunId, RunInfo};
use wadi_protocol::schema::{Field, Kind, Merge, Schema};
use wadi_protocol::stamp::Stamp;
use wadi_protocol::value::Value;
use wadi_protocol::wire::batch::Batch;

use crate::script::Script;

/// Changes in one batch, at most.
const CHANGES_MAX: usize = 8;
/// A text that makes its change oversize, and its batch several parts.
const LONG_BYTES: usize = 9_000;

/// Who and what there is to lie about.
#[derive(Clone)]
pub struct Cast {
    /// Devices and their runs, with the label that each goes by.
    pub runs: Vec<(DeviceId, RunId, String)>,
    /// Sequences used so far.
    pub seqs: BTreeMap<(DeviceId, RunId), u64>,
    /// Rows by table; some are not there.
    pub rows: Vec<(u16, RowId)>,
    /// What the tables are, most of them.
    pub schema: Schema,
    /// Runs of the hub.
    pub hubs: Vec<RunId>,
    /// A hub sequence that is about now.
    pub head: u64,
    /// The second of the clocks.
    pub now_s: u64,
}

impl Cast {
    /// A batch of a few changes with the runs that they name, or some others.
    pub fn batch(&mut self, script: &mut Script<'_>) -> Batch {
        let count = 1 + script.below(CHANGES_MAX);
        let mut changes: Vec<Change> = (0..count).map(|_| self.change(script)).collect();
        self.group(script, &mut changes);
        let mut runs: BTreeMap<(DeviceId, RunId), RunInfo> = BTreeMap::new();
        for change in &changes {
            let (device, run) = (change.dot.device, change.dot.run);
            let label = self.label(device);
            runs.insert((device, run), RunInfo { device, run, parent: None, label });
        }
        for _ in 0..script.byte() % 3 {
            let info = self.run(script);
            runs.insert((info.device, info.run), info);
        }
        if script.one_in(16) {
            runs.pop_first();
        }
        Batch { runs: runs.into_values().collect(), changes }
    }

    fn label(&self, device: DeviceId) -> String {
        let known = self.runs.iter().find(|(known, ..)| *known == device);
        known.map_or_else(|| "stranger".into(), |(_, _, label)| label.clone())
    }

    /// A run with some parent: itself, another's, one that never was.
    fn run(&self, script: &mut Script<'_>) -> RunInfo {
        let (device, run, label) = script.pick(&self.runs).clone();
        let run = if script.one_in(2) { run } else { RunId(1 + u64::from(script.byte() % 4)) };
        let parent = match script.byte() % 4 {
            0 => None,
            1 => Some((run, script.number())),
            2 => Some((script.pick(&self.runs).1, script.number())),
            _ => Some((RunId(1 + u64::from(script.byte() % 4)), script.number())),
        };
        let label = if script.one_in(8) { String::new() } else { label };
        RunInfo { device, run, parent, label }
    }

    fn dot(&mut self, script: &mut Script<'_>) -> Dot {
        let (device, run, _) = script.pick(&self.runs).clone();
        let seq = self.seqs.entry((device, run)).or_default();
        let seq = match script.byte() % 16 {
            0 => script.number(),
            1 => *seq,
            2 => {
                *seq = seq.saturating_add(2);
                *seq
            }
            _ => {
                *seq = seq.saturating_add(1);
                *seq
            }
        };
        Dot { device, run, seq }
    }

    /// A dot of somebody, used or not.
    pub fn any_dot(&self, script: &mut Script<'_>) -> Dot {
        let (device, run, _) = *script.pick(&self.runs);
        let seq = if script.one_in(8) { script.number() } else { u64::from(script.byte() % 32) };
        Dot { device, run, seq }
    }

    /// One change, alone.
    pub fn change(&mut self, script: &mut Script<'_>) -> Change {
        let dot = self.dot(script);
        let (table, row) = *script.pick(&self.rows);
        let op = match script.byte() % 16 {
            0..=5 => Op::Insert,
            6..=11 => Op::Update,
            12..=14 => Op::Delete,
            _ => Op::Settle,
        };
        let mut fields = Vec::new();
        if op != Op::Delete || script.one_in(16) {
            for _ in 0..script.byte() % 5 {
                fields.push(self.touch(script, table));
            }
        }
        if !script.one_in(32) {
            fields.sort_by(|a: &(FieldRef, Delta), b| a.0.cmp(&b.0));
            fields.dedup_by(|a, b| a.0 == b.0);
        }
        let closure = if op == Op::Delete || script.one_in(16) {
            (0..script.byte() % 4).map(|_| self.seen_row(script)).collect()
        } else {
            Vec::new()
        };
        let stamp = self.stamp(script);
        Change {
            dot,
            stamp,
            entered_s: if script.one_in(8) { script.number() } else { stamp.seconds },
            contained: script.one_in(8).then(|| self.stamp(script)),
            schema: self.schema(script),
            rights: if script.one_in(32) { script.number() as u32 } else { 0 },
            group: None,
            table: self.table(script, table),
            row: if script.one_in(32) { script.pick(&self.rows).1 } else { row },
            op,
            fields,
            seen: self.seen(script),
            closure,
        }
    }

    fn schema(&self, script: &mut Script<'_>) -> u32 {
        match script.byte() % 32 {
            1 => script.number() as u32,
            2 => 0,
            3..=12 => 2,
            _ => 1,
        }
    }

    fn table(&self, script: &mut Script<'_>, table: u16) -> TableRef {
        match script.byte() % 32 {
            1 => TableRef::Number(script.number() as u16),
            2 => TableRef::Name("wadi_change".into()),
            3 | 4 => TableRef::Name(script.pick(&self.schema.tables).name.clone()),
            _ => TableRef::Number(table),
        }
    }

    /// A field and what happens to it: mostly one that the table has, and what fits it.
    fn touch(&self, script: &mut Script<'_>, table: u16) -> (FieldRef, Delta) {
        let table = self.schema.table(table).unwrap_or(&self.schema.tables[0]);
        let field = script.pick(&table.fields);
        let name = match script.byte() % 64 {
            1 => FieldRef::Number(script.number() as u16),
            2 => FieldRef::Name("x".repeat(script.below(70))),
            3 | 4 => FieldRef::Name(field.name.clone()),
            _ => FieldRef::Number(field.number),
        };
        let delta = match script.byte() % 32 {
            1 => Delta::Add(script.number() as i64),
            2 => Delta::Append(text(script)),
            3 => Delta::Edit { add: texts(script), remove: texts(script) },
            4 => Delta::Set(self.value(script)),
            _ => self.fitting(script, field),
        };
        (name, delta)
    }

    /// What may happen to a field.
    pub fn fitting(&self, script: &mut Script<'_>, field: &Field) -> Delta {
        let number = |script: &mut Script<'_>| match script.byte() % 4 {
            1 => script.number() as i64,
            _ => i64::from(script.byte()) - 100,
        };
        match (field.merge, &field.kind) {
            (Merge::Sum, _) => Delta::Add(number(script)),
            (Merge::Append, _) => Delta::Append(text(script)),
            (Merge::Set, _) => Delta::Edit { add: texts(script), remove: texts(script) },
            _ if script.one_in(8) => Delta::Set(Value::Null),
            (_, Kind::Integer | Kind::Decimal { .. }) => Delta::Set(Value::Int(number(script))),
            (_, Kind::Boolean) => Delta::Set(Value::Bool(script.one_in(2))),
            (_, Kind::Reference { .. }) => Delta::Set(Value::Row(script.pick(&self.rows).1)),
            (_, Kind::Date) => Delta::Set(Value::Text("2026-11-22".into())),
            (_, Kind::Set { .. }) => Delta::Set(Value::List(texts(script))),
            _ => Delta::Set(Value::Text(text(script))),
        }
    }

    /// A value of any kind.
    pub fn value(&self, script: &mut Script<'_>) -> Value {
        match script.byte() % 16 {
            0 => Value::Null,
            1 | 2 => Value::Int(script.number() as i64),
            3 => Value::Bool(script.one_in(2)),
            4..=7 => Value::Text(text(script)),
            8 => Value::List(texts(script)),
            9 => Value::Number(
                script.pick(&["1", "-0.5", "1e400", "99999999999999999999", "x"]).to_string(),
            ),
            _ => Value::Row(script.pick(&self.rows).1),
        }
    }

    /// A stamp: about now, long ago, or at the end of time.
    fn stamp(&self, script: &mut Script<'_>) -> Stamp {
        let seconds = match script.byte() % 8 {
            0 => script.number(),
            1 => 0,
            byte => self.now_s - 1_000 + u64::from(byte) * 100 + u64::from(script.byte()),
        };
        Stamp { seconds, counter: u16::from(script.byte() % 3).wrapping_sub(1) }
    }

    fn version(&self, script: &mut Script<'_>) -> RowVersion {
        let hub = *script.pick(&self.hubs);
        let seq = match script.byte() % 4 {
            0 => script.number(),
            1 => 0,
            _ => u64::from(script.byte()) % (self.head + 1),
        };
        RowVersion { hub, seq }
    }

    /// What was shown, or is said to have been: also what does not exist yet.
    pub fn seen(&self, script: &mut Script<'_>) -> Seen {
        let mut above: Vec<Dot> = (0..script.byte() % 4)
            .map(|_| {
                let (device, run, _) = *script.pick(&self.runs);
                let seq = if script.one_in(4) { script.number() } else { script.byte().into() };
                Dot { device, run, seq }
            })
            .collect();
        if !script.one_in(32) {
            above.sort();
        }
        Seen { version: self.version(script), above }
    }

    fn seen_row(&self, script: &mut Script<'_>) -> SeenRow {
        let (table, row) = *script.pick(&self.rows);
        SeenRow { table, row, seen: self.seen(script) }
    }

    /// Make groups of some: right ones, overlapping ones, ones that hold others' numbers.
    fn group(&mut self, script: &mut Script<'_>, changes: &mut [Change]) {
        if changes.is_empty() || !script.one_in(3) {
            return;
        }
        let from = script.below(changes.len());
        let to = (from + 1 + script.below(4)).min(changes.len());
        let first = changes[from].dot;
        let len = (to - from) as u16;
        let right = !script.one_in(4);
        for (at, change) in changes[from..to].iter_mut().enumerate() {
            if right {
                change.dot = Dot { seq: first.seq.saturating_add(at as u64), ..first };
                change.group = Some(Group { first: first.seq, len });
            } else {
                let (first, len) = (script.number(), script.number() as u16);
                change.group = Some(Group { first, len });
            }
        }
        let seq = self.seqs.entry((first.device, first.run)).or_default();
        if first.seq < u64::MAX >> 1 {
            *seq = (*seq).max(first.seq + u64::from(len));
        }
    }
}

fn text(script: &mut Script<'_>) -> String {
    match script.byte() % 16 {
        15 if script.one_in(4) => "x".repeat(LONG_BYTES),
        14 => String::new(),
        13 => "'; DROP TABLE wadi_change; --\0".into(),
        12 => "2026-02-30".into(),
        byte => format!("text {}", byte % 4),
    }
}

fn texts(script: &mut Script<'_>) -> Vec<String> {
    (0..script.byte() % 4).map(|_| text(script)).collect()
}
