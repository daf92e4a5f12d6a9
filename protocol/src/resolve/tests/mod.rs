//! What the rules decide, as tables of cases that an operator can read.
//!
//! A case is a line of changes, parted by `|`:
//! ```text
//! B1@20 v=2 saw A1      device B's first change, stamp 20: sets v to 2, had been shown A1
//! A1@10 insert v=1      a new row; `delete` and `settle` likewise, an update is not named
//! O1@9 undone v=1       a settle that was undone
//! v+5  v-2              added to a sum          v<x       an entry appended
//! v+{a,b}  v-{a}        entries of a set        v=[a,b]   a whole list
//! is=true               an operator's word on the row's existence
//! #7  upto=7            its hub sequence        the version of the row it had been shown
//! A'1  A"1              two later runs of A, both from A's first change on: copied devices
//! ```
mod deletion;
mod model;
mod properties;
mod rows;
mod values;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::change::{Seen, TableRef};
use crate::id::{DeviceId, Dot, RowId, RowVersion, RunId, RunInfo};
use crate::schema::{DeletePolicy, History, Kind, Lane, Scope};
use crate::stamp::Stamp;

/// A change and its place in the hub's lineage.
#[derive(Clone, Debug)]
struct Told {
    name: String,
    change: Change,
    seq: u64,
    seen_seq: u64,
}

fn told(cases: &str) -> Vec<Told> {
    cases.split('|').map(|one| one.trim()).filter(|one| !one.is_empty()).map(tell).collect()
}

fn tell(text: &str) -> Told {
    let mut words = text.split_whitespace();
    let (name, stamp) = words.next().and_then(|head| head.split_once('@')).expect("name@stamp");
    let mut told = Told {
        name: name.into(),
        change: change(dot(name), stamp.parse().expect("a stamp")),
        seq: 0,
        seen_seq: 0,
    };
    let mut saw = false;
    for word in words {
        let change = &mut told.change;
        match word {
            "insert" => change.op = Op::Insert,
            "delete" => change.op = Op::Delete,
            "settle" => change.op = Op::Settle,
            "undone" => change.op = Op::Undone,
            "saw" => saw = true,
            _ if saw => change.seen.above.push(dot(word)),
            _ if word.starts_with('#') => told.seq = word[1..].parse().expect("a sequence"),
            _ if word.starts_with("upto=") => told.seen_seq = word[5..].parse().expect("a version"),
            _ => change.fields.push(delta(word)),
        }
    }
    told.change.fields.sort();
    told.change.seen.above.sort();
    told
}

fn change(dot: Dot, seconds: u64) -> Change {
    Change {
        dot,
        stamp: Stamp { seconds, counter: 0 },
        entered_s: seconds,
        contained: None,
        schema: 1,
        rights: 0,
        group: None,
        table: TableRef::Number(1),
        row: RowId([1; 16]),
        op: Op::Update,
        fields: Vec::new(),
        seen: Seen { version: RowVersion::default(), above: Vec::new() },
        closure: Vec::new(),
    }
}

fn dot(name: &str) -> Dot {
    let device = name.bytes().next().expect("a device");
    let (run, seq) = match name.as_bytes()[1] {
        b'\'' => (2, &name[2..]),
        b'"' => (3, &name[2..]),
        _ => (1, &name[1..]),
    };
    let seq = seq.parse().expect("a sequence");
    Dot { device: DeviceId(device.into()), run: RunId(run), seq }
}

fn delta(word: &str) -> (FieldRef, Delta) {
    let (name, rest) = word.split_at(word.find(['=', '+', '-', '<']).expect("a field's delta"));
    let number = match name {
        "is" => 0,
        "v" => 1,
        "w" => 2,
        _ => panic!("fields are v and w, not {name}"),
    };
    let (how, what) = rest.split_at(1);
    let list = |text: &str| -> Vec<String> {
        let inner = text.trim_matches(['[', ']', '{', '}']);
        inner.split(',').filter(|entry| !entry.is_empty()).map(|entry| entry.to_string()).collect()
    };
    let braces = what.starts_with('{');
    let delta = match how {
        "+" if braces => Delta::Edit { add: list(what), remove: vec![] },
        "-" if braces => Delta::Edit { add: vec![], remove: list(what) },
        "+" => Delta::Add(what.parse().expect("a number")),
        "-" => Delta::Add(-what.parse::<i64>().expect("a number")),
        "<" => Delta::Append(what.into()),
        _ if what == "…" => Delta::Passed,
        _ if what.starts_with('[') => Delta::Set(Value::List(list(what))),
        _ => Delta::Set(scalar(what)),
    };
    (FieldRef::Number(number), delta)
}

fn scalar(text: &str) -> Value {
    match text {
        "null" => Value::Null,
        "true" | "false" => Value::Bool(text == "true"),
        _ => text.parse().map_or_else(|_| Value::Text(text.into()), Value::Int),
    }
}

fn value(text: &str) -> Value {
    if !text.starts_with('[') {
        return scalar(text);
    }
    let inner = text.trim_matches(['[', ']']);
    Value::List(inner.split(", ").map(|entry| entry.to_string()).collect())
}

fn field(number: u16, name: &str, kind: Kind, merge: Merge) -> Field {
    Field {
        number,
        name: name.into(),
        kind,
        merge,
        required: false,
        min: None,
        max: None,
        unique: false,
        label: None,
        unit: None,
    }
}

/// A table of two fields: `v` of the strategy in question, `w` last-write.
fn table(merge: Merge, mode: Mode, delete: DeletePolicy) -> Table {
    let kind = match merge {
        Merge::Append => Kind::Text,
        Merge::Set => Kind::Set { values: vec![] },
        _ => Kind::Integer,
    };
    Table {
        number: 1,
        name: "stock".into(),
        fields: vec![field(1, "v", kind, merge), field(2, "w", Kind::Integer, Merge::LastWrite)],
        mode,
        delete,
        scope: Scope::Global,
        site: None,
        lane: Lane::Routine,
        history: History::Full,
        retention_days: None,
    }
}

/// Runs 2 and 3 of every device are copies taken after the first change of run 1.
fn copied() -> Lines {
    let mut lines = Lines::new();
    for device in b'A'..=b'Z' {
        for run in [2, 3] {
            let parent = Some((RunId(1), 1));
            let device = DeviceId(device.into());
            lines.add(&RunInfo { device, run: RunId(run), parent, label: String::new() });
        }
    }
    lines
}

fn placed(told: &[Told]) -> Vec<Placed<'_>> {
    let placed = |told: &'_ Told| (told.seq, told.seen_seq);
    told.iter()
        .map(|told| {
            let (seq, seen_seq) = placed(told);
            Placed { change: &told.change, seq, seen_seq }
        })
        .collect()
}

fn image(live: bool, v: &str) -> Image {
    let fields = [(1, value(v))].into_iter().filter(|(_, value)| !value.is_null());
    Image { live, fields: BTreeMap::from_iter(fields) }
}

fn names(told: &[Told], indices: &[usize]) -> String {
    let names: Vec<&str> = indices.iter().map(|&at| told[at].name.as_str()).collect();
    names.join(" ")
}

fn marks(conflict: bool, review: bool) -> &'static str {
    match (conflict, review) {
        (false, false) => "",
        (true, false) => "conflict",
        (false, true) => "review",
        (true, true) => "conflict review",
    }
}

/// Situation, changes, value of `v`, its candidates, marks.
type ValueCase = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// Check what `v` becomes, for the changes as told and told backwards.
fn check_values(table: &Table, base: Option<&Image>, cases: &[ValueCase]) {
    for (situation, text, value, candidates, wanted) in cases {
        let mut told = told(text);
        for _ in 0..2 {
            let resolved = resolve(table, base, &placed(&told), &copied());
            let v = &resolved.fields[0];
            let found = format!("{} of {}", v.value, names(&told, &v.candidates));
            assert_eq!(found, format!("{value} of {candidates}"), "{situation}");
            assert_eq!(marks(v.conflict, v.review), *wanted, "{situation}");
            told.reverse();
        }
    }
}
