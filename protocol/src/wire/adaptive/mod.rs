//! Batches against a model that both ends keep: what was committed before on a
//! link foretells most of what comes.
//!
//! A batch is a row of binary decisions, change by change: who, what, which row, when,
//! what had been seen, and the fields. Each decision is expected by counters of its
//! contexts and by experts that name a value outright (what the row held, what rows
//! like it hold, what other fields add up to); learned weights mix them (`engine`), and
//! an arithmetic coder says only what was not expected (`coder`). Every value becomes a
//! number (`number`): a text is its place among those of its field, a date its day.
//!
//! The same functions write and read: each takes what is given, none when it reads, and
//! returns what was coded; so the two directions cannot differ. All is integer
//! arithmetic, the same on every machine, and no schema is asked: contexts are keyed by
//! the numbers of tables and fields, so a new field starts with what others taught.
//!
//! The caller owns the model's life. It works on a clone, and keeps that only when the
//! round commits; it names the model that a batch was written with, and writes plainly
//! ([`super::batch`]) where the other end may not have it, or a batch is refused here.
//! Bytes that were written with another model decode to something else or fail: the
//! content hash of the round tells.
//!
//! The bytes may be hostile: limits are checked and memory is charged as in
//! [`super::batch`], before anything is made, and decisions and spelled texts are bounded.
use alloc::vec::Vec;

mod blocks;
mod cell;
mod change;
mod coder;
mod curve;
mod engine;
mod frame;
mod memo;
mod model;
mod moment;
mod neighbours;
mod number;
mod pick;
mod relations;
mod rows;
mod runs;
mod scene;
mod spell;
mod texts;
mod ties;
mod times;
mod values;
mod what;
mod work;

pub use self::model::{CHECKPOINT_BYTES_MAX, MODEL_BYTES_MAX, Model};
use super::batch::{Batch, BatchError};
use crate::limits::{CHANGESET_BYTES_MAX, CHANGESET_CHANGES_MAX};
use coder::Coder;
use work::Work;

/// The version of the codec: part of a model's name, since another version would
/// make another model of the same batches.
pub const ADAPTIVE_VERSION: u8 = 1;

/// Bytes of texts that are spelled in one batch: some seconds of a small computer. A
/// batch of more travels plainly ([`super::batch`]).
pub const ADAPTIVE_BYTES_MAX: usize = 256 * 1024;

/// Encode a batch; the model then has seen it.
///
/// # Errors
/// The batch is beyond a limit: it has to travel plainly, and the model is spoilt.
pub fn encode(model: &mut Model, batch: &Batch) -> Result<Vec<u8>, BatchError> {
    let mut work = Work::new(model, Coder::writer());
    whole(&mut work, Some(batch))?;
    Ok(work.coder.finish())
}

/// Decode a batch that was written with an equal model; the model then has seen it.
///
/// # Errors
/// Too large, beyond a limit, or no batch at all; the model is spoilt.
pub fn decode(model: &mut Model, bytes: &[u8]) -> Result<Batch, BatchError> {
    if bytes.len() > CHANGESET_BYTES_MAX {
        return Err(BatchError::TooLarge(bytes.len()));
    }
    let mut work = Work::new(model, Coder::reader(bytes));
    let batch = whole(&mut work, None)?;
    match work.coder.is_at_end() {
        true => Ok(batch),
        false => Err(BatchError::Malformed("bytes follow it")),
    }
}

fn whole(work: &mut Work<'_>, given: Option<&Batch>) -> Result<Batch, BatchError> {
    work.model.batch = work.model.changes;
    let wanted = given.map_or(0, |batch| batch.changes.len());
    let last = work.model.before.count;
    let count = work.count(60, &[last], "changes", CHANGESET_CHANGES_MAX, wanted)?;
    work.model.before.count = count as u32;
    let mut changes = Vec::new();
    let mut group = None;
    for at in 0..count {
        work.charge(size_of::<crate::change::Change>())?;
        let change = work.change(given.map(|batch| &batch.changes[at]), group)?;
        group = change.group;
        changes.push(change);
    }
    let runs = work.runs(given, &changes)?;
    work.check()?;
    Ok(Batch { runs, changes })
}
