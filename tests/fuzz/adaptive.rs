//! The adaptive codec: batches that nobody honest would make come back, and bytes that
//! nobody honest wrote leave a model that still works.
use std::sync::LazyLock;

use wadi_protocol::id::DeviceId;
use wadi_protocol::wire::adaptive::{self, MODEL_BYTES_MAX, Model};
use wadi_protocol::wire::batch::Batch;

use crate::script::Script;
use crate::{fuzz, memory, sample, village};

/// A model that has seen some days, and what it makes of the next one.
static PRIMED: LazyLock<(Model, Vec<Vec<u8>>)> = LazyLock::new(|| {
    let mut model = Model::new();
    for _ in 0..3 {
        adaptive::encode(&mut model, &sample::day()).expect("a day is no large batch");
    }
    let day = sample::day();
    let alone = day
        .changes
        .iter()
        .map(|change| Batch { runs: day.runs.clone(), changes: vec![change.clone()] });
    let next = std::iter::once(day.clone()).chain(alone);
    let encoded = |batch| adaptive::encode(&mut model.clone(), &batch).expect("small batches");
    let bytes = next.map(encoded).collect();
    (model, bytes)
});

/// Batches that go through a model in one input: checking them all takes its time.
const BATCHES_MAX: usize = 4;

/// What a new model makes of a day.
static FRESH: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let bytes = adaptive::encode(&mut Model::new(), &sample::day());
    vec![bytes.expect("a day is no large batch")]
});

/// A batch goes from one model to the other, and both stay equal.
fn comes_back(writer: &mut Model, reader: &mut Model, batch: &Batch) {
    let bytes = adaptive::encode(writer, batch).expect("small batches");
    let back = adaptive::decode(reader, &bytes);
    assert!(back.as_ref() == Ok(batch), "{batch:?} came back as {back:?}");
    assert!(writer == reader, "the models differ");
    let taken = writer.memory_bytes();
    assert!(taken <= MODEL_BYTES_MAX, "a model of {taken} bytes");
}

#[test]
fn what_hostile_ends_send_comes_back() {
    fuzz!(|input: &[u8]| {
        let mut script = Script(input);
        let mut cast = village::cast(DeviceId(7));
        let mut writer = if script.one_in(2) { PRIMED.0.clone() } else { Model::new() };
        let mut reader = writer.clone();
        for _ in 0..BATCHES_MAX {
            let batch = cast.batch(&mut script);
            comes_back(&mut writer, &mut reader, &batch);
        }
        let restored = Model::restore(&writer.checkpoint());
        assert!(restored.as_ref() == Some(&writer), "a checkpoint differs");
    });
}

#[test]
fn a_model_works_on_after_hostile_bytes() {
    fuzz!(|input: &[u8]| {
        let mut script = Script(input);
        let primed = script.one_in(2);
        let (mut model, samples) =
            if primed { (PRIMED.0.clone(), &PRIMED.1) } else { (Model::new(), &*FRESH) };
        for _ in 0..3 {
            let bytes = if script.one_in(4) { script.0.to_vec() } else { script.spoiled(samples) };
            memory::adaptive(&mut model, &bytes);
        }
        let taken = model.memory_bytes();
        assert!(taken <= MODEL_BYTES_MAX, "a model of {taken} bytes");
        // Spoilt, but in the same way at both ends.
        comes_back(&mut model.clone(), &mut model, &sample::day());
        let restored = Model::restore(&model.checkpoint());
        assert!(restored.as_ref() == Some(&model), "a checkpoint differs");
    });
}
