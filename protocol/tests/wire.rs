//! Every batch, page and message comes back as it was; hostile bytes are
//! errors, never panics, and never cost much memory.
mod sample;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use wadi_protocol::change::{Change, Delta, FieldRef, Group, Op, Seen, SeenRow, TableRef};
use wadi_protocol::id::{DeviceId, Dot, Hash, RowId, RowVersion, RunId, RunInfo};
use wadi_protocol::limits::{
    BATCH_MEMORY_BYTES_MAX, CHANGE_BYTES_HARD_MAX, CHANGESET_BYTES_MAX, MESSAGE_BYTES_MAX,
};
use wadi_protocol::stamp::Stamp;
use wadi_protocol::value::Value;
use wadi_protocol::wire::batch::{self, Batch, BatchError};
use wadi_protocol::wire::downlink::{self, KnownRuns, Notice, Page, PageRow, Renewal, RowState};
use wadi_protocol::wire::message::{self, Committed, Down, DownBody, Outcome, Part, Up, UpBody};

// Few different ids and texts, so that dictionaries and repetitions are met;
// and the extremes.

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..5u64, 2 => 1_766_700_000..1_766_700_100u64, 1 => any::<u64>()]
}

fn device() -> impl Strategy<Value = DeviceId> {
    prop_oneof![4 => (1..3u64).prop_map(DeviceId), 1 => any::<u64>().prop_map(DeviceId)]
}

fn run() -> impl Strategy<Value = RunId> {
    prop_oneof![4 => (0..3u64).prop_map(RunId), 1 => any::<u64>().prop_map(RunId)]
}

fn dot() -> impl Strategy<Value = Dot> {
    (device(), run(), number()).prop_map(|(device, run, seq)| Dot { device, run, seq })
}

fn row() -> impl Strategy<Value = RowId> {
    prop_oneof![
        4 => (device(), run(), number()).prop_map(|(device, run, counter)| RowId::derive(device, run, counter)),
        1 => any::<[u8; 16]>().prop_map(RowId),
        1 => Just(RowId([0xff; 16])),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "(2026-01-0[1-9]|AA|é|è|)",
        2 => any::<String>(),
        1 => (250..260usize).prop_map(|len| "x".repeat(len)),
    ]
}

fn value() -> impl Strategy<Value = Value> {
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

fn delta() -> impl Strategy<Value = Delta> {
    let edit = (vec(text(), 0..3), vec(text(), 0..3));
    prop_oneof![
        4 => value().prop_map(Delta::Set),
        1 => any::<i64>().prop_map(Delta::Add),
        1 => text().prop_map(Delta::Append),
        1 => edit.prop_map(|(add, remove)| Delta::Edit { add, remove }),
    ]
}

/// Fields as a record has them: typed all alike, or anything, twins too.
fn fields() -> impl Strategy<Value = Vec<(FieldRef, Delta)>> {
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

fn seen() -> impl Strategy<Value = Seen> {
    let version = (run(), number()).prop_map(|(hub, seq)| RowVersion { hub, seq });
    let above = prop_oneof![3 => Just(Vec::new()), 1 => vec(dot(), 0..5)];
    (version, above).prop_map(|(version, above)| Seen { version, above })
}

fn stamp() -> impl Strategy<Value = Stamp> {
    let counter = prop_oneof![Just(0), 0..3u16, any::<u16>()];
    (number(), counter).prop_map(|(seconds, counter)| Stamp { seconds, counter })
}

fn change() -> impl Strategy<Value = Change> {
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

fn any_batch() -> impl Strategy<Value = Batch> {
    let info = (device(), run(), option::of((run(), number())), text())
        .prop_map(|(device, run, parent, label)| RunInfo { device, run, parent, label });
    (vec(info, 0..4), vec(change(), 0..12)).prop_map(|(runs, changes)| Batch { runs, changes })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        any::<u64>().prop_map(|seq| Outcome::Applied { seq }),
        any::<u64>().prop_map(|seq| Outcome::Known { seq }),
        Just(Outcome::Parked),
        Just(Outcome::Quarantined),
        Just(Outcome::Held),
    ]
}

fn page() -> impl Strategy<Value = Page> {
    let state = prop_oneof![Just(RowState::Live), Just(RowState::Dead), Just(RowState::Left)];
    let followed = vec((dot(), vec(any::<u16>(), 0..3)), 0..3);
    let fields = vec((any::<u16>(), value()), 0..4);
    let wanted = vec((any::<u16>(), row()), 0..3);
    let row = (
        any::<u16>(),
        row(),
        number(),
        state,
        fields,
        any::<bool>(),
        vec(any::<u16>(), 0..3),
        followed,
    );
    let row = row.prop_map(|(table, row, version, state, fields, whole, review, followed)| {
        PageRow { table, row, version, state, fields, whole, review, followed }
    });
    let notice = (dot(), outcome(), text()).prop_map(|(dot, outcome, reason)| Notice {
        dot,
        outcome,
        reason,
    });
    let known = (device(), run(), vec((number(), number()), 0..3))
        .prop_map(|(device, run, spans)| KnownRuns { device, run, spans });
    let schema = any::<bool>().prop_map(|there| there.then(sample::schema));
    let to = [any::<u64>(), any::<u64>()];
    let verdicts = vec((any::<u32>(), text()), 0..3);
    let renewal = (any::<u32>(), number(), vec(any::<u8>(), 0..5));
    let renewal = renewal.prop_map(|(enrolment, until_s, der)| Renewal { enrolment, until_s, der });
    let certificate = option::of(renewal);
    let last = (number(), certificate, any::<u32>(), number(), wanted);
    (schema, verdicts, vec(notice, 0..3), to, vec(row, 0..4), vec(known, 0..3), last).prop_map(
        |(schema, verdicts, notices, to, rows, known, last)| {
            let (clock_s, certificate, line, backup, wanted) = last;
            Page {
                schema,
                verdicts,
                notices,
                to,
                rows,
                known,
                clock_s,
                certificate,
                line,
                backup,
                wanted,
            }
        },
    )
}

fn spoilt(bytes: &[u8], at: usize, with: u8, cut: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = at % bytes.len();
    // The version stays: what follows is to be reached.
    bytes[at.max(1)] ^= with;
    let cut = cut % (4 * bytes.len());
    bytes.truncate(cut.max(1));
    bytes
}

proptest! {
    #[test]
    fn every_batch_comes_back(batch in any_batch()) {
        let bytes = batch::encode(&batch);
        prop_assert_eq!(batch::decode(&bytes), Ok(batch));
    }

    #[test]
    fn every_page_comes_back(page in page()) {
        prop_assert_eq!(downlink::decode(&downlink::encode(&page)), Ok(page));
    }

    #[test]
    fn every_message_comes_back(
        run in run(), hub in run(), round in number(), bytes in vec(any::<u8>(), 0..300),
        outcomes in vec((any::<u32>(), outcome()), 0..9), hash in any::<[u8; 16]>(),
    ) {
        let up = Up { run, hub, round, body: UpBody::Part(Part { index: 3, bytes }) };
        prop_assert_eq!(message::decode::<Up>(&message::encode(&up)), Ok(up));
        let content = Hash(hash);
        let body = Committed { content, outcomes, chain: content, paged: true, more: false };
        let down = Down { hub, known: run, round, body: DownBody::Committed(body) };
        prop_assert_eq!(message::decode::<Down>(&message::encode(&down)), Ok(down));
    }

    #[test]
    fn random_bytes_are_survived(bytes in vec(any::<u8>(), 0..600)) {
        let mut versioned = vec![1];
        versioned.extend(&bytes);
        for bytes in [bytes, versioned] {
            let _ = batch::decode(&bytes);
            let _ = downlink::decode(&bytes);
            let _ = message::decode::<Up>(&bytes);
            let _ = message::decode::<Down>(&bytes);
        }
    }

    #[test]
    fn spoilt_batches_are_survived(batch in any_batch(), at: usize, with: u8, cut: usize) {
        // Whatever still decodes is a batch like any other.
        if let Ok(batch) = batch::decode(&spoilt(&batch::encode(&batch), at, with, cut)) {
            prop_assert_eq!(batch::decode(&batch::encode(&batch)), Ok(batch));
        }
    }

    #[test]
    fn spoilt_pages_are_survived(page in page(), at: usize, with: u8, cut: usize) {
        if let Ok(page) = downlink::decode(&spoilt(&downlink::encode(&page), at, with, cut)) {
            prop_assert_eq!(downlink::decode(&downlink::encode(&page)), Ok(page));
        }
    }

    #[test]
    fn spoilt_messages_are_survived(which: usize, at: usize, with: u8, cut: usize) {
        let ups = sample::ups();
        let up = message::encode(&ups[which % ups.len()].1);
        let _ = message::decode::<Up>(&spoilt(&up, at, with, cut));
        let downs = sample::downs();
        let down = message::encode(&downs[which % downs.len()].1);
        let _ = message::decode::<Down>(&spoilt(&down, at, with, cut));
    }
}

#[test]
fn the_day_comes_back_and_every_byte_of_it_may_be_spoilt() {
    let day = sample::day();
    let bytes = batch::encode(&day);
    assert_eq!(batch::decode(&bytes), Ok(day.clone()));
    assert_eq!(day.changes.len(), 20);
    for at in 1..bytes.len() {
        for bit in 0..8 {
            let _ = batch::decode(&spoilt(&bytes, at, 1 << bit, bytes.len()));
        }
        assert!(batch::decode(&bytes[..at]).is_err(), "cut to {at} bytes");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(batch::decode(&longer), Err(BatchError::Malformed("bytes follow it")));
}

#[test]
fn foreign_versions_and_sizes_are_named() {
    assert_eq!(batch::decode(&[2, 0]), Err(BatchError::Version(2)));
    assert_eq!(batch::decode(&[]), Err(BatchError::Malformed("no bytes")));
    let len = CHANGESET_BYTES_MAX + 1;
    assert_eq!(batch::decode(&vec![1; len]), Err(BatchError::TooLarge(len)));
}

/// Many changes that share a table, whose name is long, and a set of fields,
/// whose names are long.
fn repetitive(changes: usize, fields: usize) -> Batch {
    let name = |number: usize| format!("{number}{}", "x".repeat(200));
    let fields: Vec<_> = (0..fields)
        .map(|number| (FieldRef::Name(name(number)), Delta::Set(Value::Bool(true))))
        .collect();
    let change = |seq| {
        let mut change = sample::change(seq, Op::Update, 1, sample::row(1), fields.clone());
        change.table = TableRef::Name("t".repeat(10_000));
        change
    };
    Batch { runs: vec![], changes: (1..=changes as u64).map(change).collect() }
}

#[test]
fn a_small_batch_does_not_become_a_huge_one() {
    let memory = |batch: &Batch| batch.changes.iter().map(batch::memory_bytes).sum::<usize>();
    // As much as is counted to fit does fit.
    let most = BATCH_MEMORY_BYTES_MAX / memory(&repetitive(1, 50));
    assert!((100..2048).contains(&most));
    let fair = repetitive(most, 50);
    assert!(batch::decode(&batch::encode(&fair)) == Ok(fair));
    let huge = repetitive(2000, 500);
    assert!(memory(&huge) > BATCH_MEMORY_BYTES_MAX);
    let bytes = batch::encode(&huge);
    assert!(bytes.len() < CHANGESET_BYTES_MAX / 2);
    assert!(matches!(
        batch::decode(&bytes),
        Err(BatchError::Limit { what: "bytes in memory", .. })
    ));
    let bytes = batch::encode(&repetitive(3000, 1));
    assert_eq!(batch::decode(&bytes), Err(BatchError::Limit { what: "changes", max: 2048 }));
    let bytes = batch::encode(&repetitive(1, 513));
    assert_eq!(
        batch::decode(&bytes),
        Err(BatchError::Limit { what: "fields in a change", max: 512 })
    );
}

/// The largest group that the limits of changes allow still travels.
#[test]
fn the_largest_group_decodes() {
    let text = "y".repeat(119);
    let fields: Vec<_> = (1..=512u16)
        .map(|number| (FieldRef::Number(number), Delta::Set(Value::Text(text.clone()))))
        .collect();
    let changes =
        (1..=256).map(|seq| sample::change(seq, Op::Update, 1, sample::row(1), fields.clone()));
    let group = Batch { runs: vec![], changes: changes.collect() };
    let plain = postcard::to_allocvec(&group.changes[0]).unwrap();
    assert!((CHANGE_BYTES_HARD_MAX * 9 / 10..CHANGE_BYTES_HARD_MAX).contains(&plain.len()));
    assert!(batch::decode(&batch::encode(&group)) == Ok(group));
}

/// What cannot be read is named in the log of whoever got it, with the limit or version.
#[test]
fn what_cannot_be_read_says_why() {
    let read = |bytes: &[u8]| message::decode::<Up>(bytes).unwrap_err().to_string();
    let large = vec![0; MESSAGE_BYTES_MAX + 1];
    assert_eq!(
        read(&large),
        format!("message of {} bytes, at most {MESSAGE_BYTES_MAX} are allowed", large.len())
    );
    assert_eq!(read(&[9, 0]), "message version 9, this side speaks 1");
    assert_eq!(read(&[]), "message does not decode");
    assert_eq!(read(&[1, 0xff]), "message does not decode");
    let read = |bytes: &[u8]| batch::decode(bytes).unwrap_err().to_string();
    assert_eq!(read(&[2, 0]), "batch version 2, this side speaks 1");
    let large = vec![0; CHANGESET_BYTES_MAX + 1];
    assert!(read(&large).ends_with(&format!("at most {CHANGESET_BYTES_MAX} are allowed")));
    assert!(read(&[1, 0xff]).starts_with("batch does not decode: "));
}
