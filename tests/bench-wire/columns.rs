//! The columns of a batch, one after the other: what a good columnar format does,
//! without any memory of what was sent before.
//!
//! Devices, stamps, rows and operations of all changes, then each field of each table:
//! which changes carry it, and the values. Numbers are differences to the one before;
//! ids that our own writers made are a maker and a counter.
use std::collections::{BTreeMap, BTreeSet};

use wadi_protocol::change::{Change, Delta, FieldRef, TableRef};
use wadi_protocol::id::{RowId, RunInfo};
use wadi_protocol::value::Value;
use wadi_protocol::wire::batch::Batch;

/// The batch, not packed yet. `makers` are all that may have made its rows.
pub fn write(batch: &Batch, makers: &[RunInfo]) -> Vec<u8> {
    let ids = Ids::new(batch, makers);
    let mut out = Column::default();
    for info in &ids.makers {
        out.bytes.extend(info.device.0.to_be_bytes());
        out.bytes.extend(info.run.0.to_be_bytes());
        out.text(&info.label);
    }
    out.number(batch.changes.len() as i64);
    let changes = &batch.changes;
    let column = |out: &mut Column, of: &dyn Fn(&Change) -> i64| {
        let mut last = 0;
        for change in changes {
            let number = of(change);
            out.number(number.wrapping_sub(last));
            last = number;
        }
    };
    let place = |change: &Change| {
        let of = |info: &RunInfo| info.device == change.dot.device && info.run == change.dot.run;
        batch.runs.iter().position(of).unwrap_or(0) as i64
    };
    column(&mut out, &place);
    out.apart(changes.iter().map(|change| (place(change), change.dot.seq as i64)));
    out.apart(changes.iter().map(|change| (place(change), change.stamp.seconds as i64)));
    column(&mut out, &|change| table(change));
    column(&mut out, &|change| change.op as i64);
    column(&mut out, &|change| change.seen.version.seq as i64);
    out.rows(&ids, changes.iter().map(|change| change.row));
    let tables: BTreeSet<i64> = changes.iter().map(table).collect();
    for of in tables {
        let of_table: Vec<&Change> = changes.iter().filter(|change| table(change) == of).collect();
        fields(&mut out, &ids, &of_table);
    }
    out.bytes
}

fn table(change: &Change) -> i64 {
    match change.table {
        TableRef::Number(number) => number.into(),
        TableRef::Name(_) => 0,
    }
}

fn fields(out: &mut Column, ids: &Ids, changes: &[&Change]) {
    let all: BTreeSet<&FieldRef> =
        changes.iter().flat_map(|change| change.fields.iter().map(|(field, _)| field)).collect();
    for field in all {
        let value = |change: &&Change| {
            let found = change.fields.iter().find(|(known, _)| known == field);
            found.map(|(_, delta)| delta.clone())
        };
        let values: Vec<Option<Delta>> = changes.iter().map(value).collect();
        out.bytes.extend(values.iter().map(kind));
        let mut last = 0;
        for delta in values.iter().flatten() {
            match delta {
                Delta::Set(Value::Int(number)) | Delta::Add(number) => {
                    out.number(number.wrapping_sub(last));
                    last = *number;
                }
                Delta::Set(Value::Bool(flag)) => out.number(i64::from(*flag)),
                Delta::Set(Value::Text(text) | Value::Number(text)) | Delta::Append(text) => {
                    out.text(text);
                }
                Delta::Set(Value::List(list)) => list.iter().for_each(|text| out.text(text)),
                Delta::Edit { add, remove } => {
                    add.iter().chain(remove).for_each(|text| out.text(text));
                }
                Delta::Set(Value::Null | Value::Row(_)) | Delta::Passed => {}
            }
        }
        let rows = values.iter().flatten().filter_map(|delta| match delta {
            Delta::Set(Value::Row(row)) => Some(*row),
            _ => None,
        });
        out.rows(ids, rows);
    }
}

/// What a change says of a field, as a byte.
fn kind(delta: &Option<Delta>) -> u8 {
    match delta {
        None => 0,
        Some(Delta::Set(Value::Null)) => 1,
        Some(Delta::Set(Value::List(list))) => 2 + list.len().min(200) as u8,
        Some(Delta::Edit { add, remove }) => 203 + (add.len() + remove.len()).min(50) as u8,
        Some(_) => 2,
    }
}

/// Who made the rows of a batch.
struct Ids {
    makers: Vec<RunInfo>,
}

impl Ids {
    /// Those that made changes, then those that made rows.
    fn new(batch: &Batch, all: &[RunInfo]) -> Ids {
        let mut rows: Vec<RowId> = batch.changes.iter().map(|change| change.row).collect();
        for (_, delta) in batch.changes.iter().flat_map(|change| &change.fields) {
            if let Delta::Set(Value::Row(row)) = delta {
                rows.push(*row);
            }
        }
        let others = all.iter().filter(|info| {
            !batch.runs.contains(info) && rows.iter().any(|row| made(info, *row).is_some())
        });
        Ids { makers: batch.runs.iter().chain(others).cloned().collect() }
    }

    /// Place of the maker, and its counter.
    fn find(&self, row: RowId) -> Option<(i64, i64)> {
        let mut makers = self.makers.iter().enumerate();
        makers.find_map(|(at, info)| Some((at as i64, made(info, row)? as i64)))
    }
}

/// The counter of a row, if this run made it.
fn made(info: &RunInfo, row: RowId) -> Option<u64> {
    let counter = row.0[11..].iter().fold(0, |counter, byte| counter << 8 | u64::from(*byte));
    (RowId::derive(info.device, info.run, counter) == row).then_some(counter)
}

#[derive(Default)]
struct Column {
    bytes: Vec<u8>,
}

impl Column {
    /// Seven bits a byte, the sign in the lowest.
    fn number(&mut self, number: i64) {
        let mut rest = (number << 1 ^ number >> 63).cast_unsigned();
        while rest >= 0x80 {
            self.bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.bytes.push(rest as u8);
    }

    fn text(&mut self, text: &str) {
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    /// Numbers, each as its difference to the last of the same key.
    fn apart(&mut self, numbers: impl Iterator<Item = (i64, i64)>) {
        let mut last: BTreeMap<i64, i64> = BTreeMap::new();
        for (key, number) in numbers {
            let before = last.insert(key, number).unwrap_or(0);
            self.number(number.wrapping_sub(before));
        }
    }

    fn rows(&mut self, ids: &Ids, rows: impl Iterator<Item = RowId>) {
        let rows: Vec<RowId> = rows.collect();
        let known: Vec<_> = rows.iter().map(|row| ids.find(*row)).collect();
        known.iter().for_each(|known| self.number(known.map_or(-1, |(maker, _)| maker)));
        self.apart(known.iter().flatten().copied());
        for (row, known) in rows.iter().zip(&known) {
            if known.is_none() {
                self.bytes.extend(row.0);
            }
        }
    }
}
