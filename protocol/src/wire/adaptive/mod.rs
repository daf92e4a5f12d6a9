//! The adaptive codec of batches.
use alloc::vec::Vec;

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

/// The version of what follows.
pub const ADAPTIVE_VERSION: u8 = 1;

/// Bytes of texts that are spelled in one batch: some seconds of a small computer. A
/// batch of more travels plainly ([`super::batch`]).
pub const ADAPTIVE_BYTES_MAX: usize = 256 * 1024;

/// Encode a batch; the model then has seen it.
pub fn encode(model: &mut Model, batch: &Batch) -> Result<Vec<u8>, BatchError> {
    let mut work = Work::new(model, Coder::writer());
    whole(&mut work, Some(batch))?;
    Ok(work.coder.finish())
}

/// Decode a batch; the model then has seen it.
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
