//! The adaptive codec: every batch comes back, the ends stay equal, hostile bytes are
//! errors, and memory stays within its bound.
mod arbitrary;
mod sample;

use arbitrary::any_batch;
use proptest::collection::vec;
use proptest::prelude::*;
use wadi_protocol::change::{Change, Delta, FieldRef, Op, TableRef};
use wadi_protocol::id::RowId;
use wadi_protocol::limits::{BATCH_MEMORY_BYTES_MAX, CHANGESET_BYTES_MAX};
use wadi_protocol::value::Value;
use wadi_protocol::wire::adaptive::{self, ADAPTIVE_BYTES_MAX, MODEL_BYTES_MAX, Model};
use wadi_protocol::wire::batch::{self, Batch, BatchError};

/// Send a batch from one model to the other, and back as bytes.
fn send(writer: &mut Model, reader: &mut Model, batch: &Batch) -> Vec<u8> {
    let bytes = adaptive::encode(writer, batch).unwrap();
    assert_eq!(adaptive::decode(reader, &bytes).as_ref(), Ok(batch));
    assert!(writer == reader, "the models differ");
    assert!(writer.memory_bytes() <= MODEL_BYTES_MAX, "{} bytes", writer.memory_bytes());
    bytes
}

/// A generator that is the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % sides
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_chain_of_batches_comes_back(batches in vec(any_batch(), 1..5)) {
        let (mut writer, mut reader) = (Model::new(), Model::new());
        for batch in &batches {
            let bytes = adaptive::encode(&mut writer, batch).unwrap();
            prop_assert_eq!(&adaptive::decode(&mut reader, &bytes), &Ok(batch.clone()));
            prop_assert!(writer == reader);
        }
        prop_assert!(writer.memory_bytes() <= MODEL_BYTES_MAX);
    }

    #[test]
    fn spoilt_bytes_are_survived(
        before in any_batch(), batch in any_batch(), at: usize, with: u8, cut: usize,
    ) {
        let mut writer = Model::new();
        adaptive::encode(&mut writer, &before).unwrap();
        let mut reader = writer.clone();
        let mut bytes = adaptive::encode(&mut writer, &batch).unwrap();
        if !bytes.is_empty() {
            let at = at % bytes.len();
            bytes[at] ^= with;
            bytes.truncate(cut % (4 * bytes.len()));
        }
        // Whatever still decodes is a batch like any other.
        if let Ok(batch) = adaptive::decode(&mut reader, &bytes) {
            let mut writer = reader.clone();
            send(&mut writer, &mut reader, &batch);
        }
    }

    #[test]
    fn random_bytes_are_survived(bytes in vec(any::<u8>(), 0..300)) {
        let mut model = Model::new();
        let _ = adaptive::decode(&mut model, &bytes);
        let _ = adaptive::decode(&mut model, &bytes);
    }
}

#[test]
fn the_day_comes_back_again_and_again_and_takes_ever_less() {
    let (mut writer, mut reader) = (Model::new(), Model::new());
    let first = send(&mut writer, &mut reader, &sample::day()).len();
    assert!(first < batch::encode(&sample::day()).len(), "{first} bytes");
    send(&mut writer, &mut reader, &sample::day());
    let third = send(&mut writer, &mut reader, &sample::day()).len();
    assert!(third * 2 < first, "{first} bytes became {third}");
    assert_eq!(send(&mut writer, &mut reader, &Batch::default()).len() / 4, 0);
}

#[test]
fn every_bit_of_a_day_may_be_spoilt_and_every_byte_missing() {
    let (mut writer, mut reader) = (Model::new(), Model::new());
    send(&mut writer, &mut reader, &sample::day());
    let bytes = adaptive::encode(&mut writer, &sample::day()).unwrap();
    for at in 0..bytes.len() {
        let mut spoilt = bytes.clone();
        spoilt[at] ^= 1 << (at % 8);
        let found = adaptive::decode(&mut reader.clone(), &spoilt);
        assert!(found != Ok(sample::day()), "byte {at}");
        let cut = adaptive::decode(&mut reader.clone(), &bytes[..at]);
        assert!(cut.is_err(), "cut to {at} bytes");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(
        adaptive::decode(&mut reader, &longer),
        Err(BatchError::Malformed("bytes follow it"))
    );
}

#[test]
fn a_checkpoint_brings_the_model_back() {
    let mut model = Model::new();
    adaptive::encode(&mut model, &sample::day()).unwrap();
    let bytes = model.checkpoint();
    let mut restored = Model::restore(&bytes).unwrap();
    assert!(restored == model);
    send(&mut model, &mut restored, &sample::day());
    for at in [0, 1, 16, 17, 1000, bytes.len() - 1] {
        let mut spoilt = bytes.clone();
        spoilt[at] ^= 1;
        assert!(Model::restore(&spoilt).is_none(), "byte {at}");
        assert!(Model::restore(&bytes[..at]).is_none(), "cut to {at} bytes");
    }
}

#[test]
fn a_clone_that_went_another_way_does_not_touch_the_model() {
    let (mut writer, mut reader) = (Model::new(), Model::new());
    send(&mut writer, &mut reader, &sample::day());
    let mut aborted = writer.clone();
    adaptive::encode(&mut aborted, &Batch::default()).unwrap();
    assert!(aborted != writer);
    send(&mut writer, &mut reader, &sample::day());
}

/// Changes that nothing tells of: each number, text and id is random.
fn noise(dice: &mut Dice, count: u64) -> Batch {
    let change = |seq| {
        let mut wide = || dice.roll(u64::MAX) as i64;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&wide().to_be_bytes());
        id[8..].copy_from_slice(&wide().to_be_bytes());
        let mut fields = sample::fields([(1, sample::int(wide())), (2, sample::int(wide()))]);
        let letters = (0..64).map(|_| char::from(b' ' + dice.roll(95) as u8)).collect();
        fields.push((FieldRef::Number(3), Delta::Set(Value::Text(letters))));
        sample::change(seq, Op::Insert, 7, RowId(id), fields)
    };
    Batch { runs: vec![], changes: (1..=count).map(change).collect() }
}

#[test]
fn what_nothing_tells_of_hardly_grows() {
    let (mut writer, mut reader) = (Model::new(), Model::new());
    let mut dice = Dice(1);
    // 16 bytes of id, two numbers of 8, and 64 letters of 6.57 bits.
    let raw = 300 * (16 + 16 + 53);
    let bytes: usize =
        (0..3).map(|_| send(&mut writer, &mut reader, &noise(&mut dice, 100)).len()).sum();
    assert!(bytes < raw + raw / 16, "{bytes} bytes of {raw}");
}

#[test]
fn more_of_everything_than_it_remembers_keeps_within_memory() {
    let (mut writer, mut reader) = (Model::new(), Model::new());
    let mut dice = Dice(7);
    for round in 0..6 {
        let mut batch = noise(&mut dice, 200);
        for (at, change) in batch.changes.iter_mut().enumerate() {
            // New devices, tables, sets of fields and texts throughout, and rows of before.
            change.dot.device.0 += dice.roll(90);
            change.table = TableRef::Number(dice.roll(60) as u16);
            change.fields.truncate(dice.roll(4) as usize);
            change.seen.version.hub.0 = dice.roll(6);
            if at % 3 == 0 {
                change.row = sample::row(dice.roll(4000));
                change.op = Op::Update;
            }
        }
        let wide = (0..60).map(|at| (FieldRef::Number(at), sample::int(dice.roll(1 << 40) as i64)));
        batch.changes[0].fields = wide.collect();
        send(&mut writer, &mut reader, &batch);
        if round == 5 {
            assert!(Model::restore(&writer.checkpoint()).is_some_and(|back| back == writer));
        }
    }
}

#[test]
fn sizes_beyond_the_limits_are_named() {
    let mut model = Model::new();
    let len = CHANGESET_BYTES_MAX + 1;
    assert_eq!(adaptive::decode(&mut model, &vec![0; len]), Err(BatchError::TooLarge(len)));
    let text = "x".repeat(ADAPTIVE_BYTES_MAX + 1);
    let change = sample::change(
        1,
        Op::Insert,
        1,
        sample::row(1),
        sample::fields([(1, sample::text(&text))]),
    );
    let batch = Batch { runs: vec![], changes: vec![change] };
    let refused = adaptive::encode(&mut model, &batch).unwrap_err().to_string();
    assert_eq!(refused, "batch has more bytes of texts than the 262144 that are allowed");
    let changes: Vec<Change> =
        (0..2049).map(|seq| sample::change(seq, Op::Delete, 1, sample::row(1), vec![])).collect();
    let refused =
        adaptive::encode(&mut Model::new(), &Batch { runs: vec![], changes }).unwrap_err();
    assert_eq!(refused.to_string(), "batch has more changes than the 2048 that are allowed");
    const { assert!(ADAPTIVE_BYTES_MAX < BATCH_MEMORY_BYTES_MAX) };
}

#[test]
fn names_and_rows_of_every_kind_come_back() {
    let (mut writer, mut reader) = (Model::new(), Model::new());
    let mut batch = sample::day();
    for change in &mut batch.changes {
        change.dot.run.0 |= 1 << 60;
        change.row = RowId::derive(change.dot.device, change.dot.run, 1 << 39);
        change.fields.reverse();
        change.table = TableRef::Name("t".repeat(300));
    }
    send(&mut writer, &mut reader, &batch);
    send(&mut writer, &mut reader, &batch);
}
