//! Batches of any kind, for properties.
#![allow(dead_code, reason = "each test uses its own part")]
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use wadi_protocol::change::{Change, Delta, FieldRef, Group, Op, Seen, SeenRow, TableRef};
use wadi_protocol::id::{DeviceId, Dot, RowId, RowVersion, RunId, RunInfo};
use wadi_protocol::stamp::Stamp;
use wadi_protocol::value::Value;
use wadi_protocol::wire::batch::Batch;

pub mod pages;

// Few different ids and texts, so that dictionaries and repetitions are met;
// and the extremes.

pub fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..5u64, 2 => 1_766_700_000..1_766_700_100u64, 1 => any::<u64>()]
}

pub fn device() -> impl Strategy<Value = DeviceId> {
    prop_oneof![4 => (1..3u64).prop_map(DeviceId), 1 => any::<u64>().prop_map(DeviceId)]
}

pub fn run() -> impl Strategy<Value = RunId> {
    prop_oneof![4 => (0..3u64).prop_map(RunId), 1 => any::<u64>().prop_map(RunId)]
}

pub fn dot() -> impl Strategy<Value = Dot> {
    (device(), run(), number()).prop_map(|(device, run, seq)| Dot { device, run, seq })
}

pub fn row() -> impl Strategy<Value = RowId> {
    prop_oneof![
        4 => (device(), run(), number()).prop_map(|(device, run, counter)| RowId::derive(device, run, counter)),
        1 => any::<[u8; 16]>().prop_map(RowId),
        1 => Just(RowId([0xff; 16])),
    ]
}

pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "(2026-01-0[1-9]|AA|é|è|)",
        2 => any::<String>(),
        1 => (250..260usize).prop_map(|len| "x".repeat(len)),
    ]
}

pub fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Int),
        any::<bool>().prop_map(Value::Bool),
        text().prop_map(Value::Text),
        row().prop_map(Value::Row),
        vec(text(), 0..4).prop_map(Value::List),
        text().prop_map(Value::Number),
    ]
}

pub fn delta() -> impl Strategy<Value = Delta> {
    let edit = (vec(text(), 0..3), vec(text(), 0..3));
    prop_oneof![
        4 => value().prop_map(Delta::Set),
        1 => any::<i64>().prop_map(Delta::Add),
        1 => text().prop_map(Delta::Append),
        1 => edit.prop_map(|(add, remove)| Delta::Edit { add, remove }),
        1 => Just(Delta::Passed),
    ]
}

/// Fields as a record has them: typed all alike, or anything, twins too.
pub fn fields() -> impl Strategy<Value = Vec<(FieldRef, Delta)>> {
    let named = prop_oneof![
        4 => (0..4u16).prop_map(FieldRef::Number),
        1 => any::<u16>().prop_map(FieldRef::Number),
        1 => text().prop_map(FieldRef::Name),
    ];
    let usual = (any::<i64>(), text(), row()).prop_map(|(number, text, row)| {
        let values = [Value::Int(number), Value::Text(text), Value::Row(row)];
        (1u16..).map(FieldRef::Number).zip(values.map(Delta::Set)).collect()
    });
    prop_oneof![usual, vec((named, delta()), 0..6)]
}

pub fn seen() -> impl Strategy<Value = Seen> {
    let version = (run(), number()).prop_map(|(hub, seq)| RowVersion { hub, seq });
    let above = prop_oneof![3 => Just(Vec::new()), 1 => vec(dot(), 0..5)];
    (version, above).prop_map(|(version, above)| Seen { version, above })
}

pub fn stamp() -> impl Strategy<Value = Stamp> {
    let counter = prop_oneof![Just(0), 0..3u16, any::<u16>()];
    (number(), counter).prop_map(|(seconds, counter)| Stamp { seconds, counter })
}

pub fn change() -> impl Strategy<Value = Change> {
    let table = prop_oneof![
        4 => (0..3u16).prop_map(TableRef::Number),
        1 => any::<u16>().prop_map(TableRef::Number),
        1 => text().prop_map(TableRef::Name),
    ];
    let group = option::of((number(), any::<u16>()).prop_map(|(first, len)| Group { first, len }));
    let op = prop_oneof![Just(Op::Insert), Just(Op::Update), Just(Op::Delete), Just(Op::Settle)];
    let closure =
        (any::<u16>(), row(), seen()).prop_map(|(table, row, seen)| SeenRow { table, row, seen });
    let closure = prop_oneof![3 => Just(Vec::new()), 1 => vec(closure, 0..4)];
    let small = || prop_oneof![Just(0u32), any::<u32>()];
    let when = (dot(), stamp(), number(), option::weighted(0.2, stamp()), small(), small(), group);
    (when, table, row(), op, fields(), seen(), closure).prop_map(
        |(
            (dot, stamp, entered_s, contained, schema, rights, group),
            table,
            row,
            op,
            fields,
            seen,
            closure,
        )| {
            Change {
                dot,
                stamp,
                entered_s,
                contained,
                schema,
                rights,
                group,
                table,
                row,
                op,
                fields,
                seen,
                closure,
            }
        },
    )
}

pub fn any_batch() -> impl Strategy<Value = Batch> {
    let info = (device(), run(), option::of((run(), number())), text())
        .prop_map(|(device, run, parent, label)| RunInfo { device, run, parent, label });
    (vec(info, 0..4), vec(change(), 0..12)).prop_map(|(runs, changes)| Batch { runs, changes })
}
