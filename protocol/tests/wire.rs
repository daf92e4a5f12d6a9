//! Every batch, page and message comes back as it was; hostile bytes are
//! errors, never panics, and never cost much memory.
mod arbitrary;
mod sample;

use arbitrary::any_batch;
use arbitrary::pages::{outcome, page};
use arbitrary::{number, run};
use proptest::collection::vec;
use proptest::prelude::*;
use wadi_protocol::change::{Delta, FieldRef, Op, TableRef};
use wadi_protocol::id::Hash;
use wadi_protocol::limits::{
    BATCH_MEMORY_BYTES_MAX, CHANGE_BYTES_HARD_MAX, CHANGESET_BYTES_MAX, MESSAGE_BYTES_MAX,
};
use wadi_protocol::value::Value;
use wadi_protocol::wire::batch::{self, Batch, BatchError};
use wadi_protocol::wire::downlink;
use wadi_protocol::wire::message::{self, Attached, Committed, Down, DownBody, Part, Up, UpBody};

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
        let up = Up { run, hub, round, body: UpBody::Part(Part { index: 3, bytes: bytes.clone() }) };
        prop_assert_eq!(message::decode::<Up>(&message::encode(&up)), Ok(up));
        let content = Hash(hash);
        let page = Some(Attached { hash: content, bytes });
        let body = Committed { outcomes, chain: content, paged: true, more: false, page };
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
