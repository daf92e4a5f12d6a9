//! A batch of changes: the body of a changeset, and of an offer on the link.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::id::{Hash, RunInfo};
use crate::limits::CHANGESET_BYTES_MAX;

/// Changes that travel together, with the runs that they name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Batch {
    /// Every run that a change of the batch was made in, and every run on the
    /// line of one as far as the sender knows it. Sorted by (device, run).
    pub runs: Vec<RunInfo>,
    /// The changes, groups whole, in the sender's order.
    pub changes: Vec<Change>,
}

/// The hash of a batch's content: taken over the decoded form, so that a
/// re-encoding is the same round.
pub fn content_hash(batch: &Batch) -> Hash {
    let plain = postcard::to_allocvec(batch).expect("batches always encode");
    Hash::of(&[&plain])
}

/// The first byte of every batch.
pub const BATCH_VERSION: u8 = 1;

/// A batch that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BatchError {
    /// More bytes than [`CHANGESET_BYTES_MAX`].
    #[error("batch of {0} bytes, at most {CHANGESET_BYTES_MAX} are allowed")]
    TooLarge(usize),
    /// The first byte is not [`BATCH_VERSION`].
    #[error("batch version {0}, this side speaks {BATCH_VERSION}")]
    Version(u8),
    /// A named limit is passed.
    #[error("batch passes a limit: {0}")]
    Limit(&'static str),
    /// The rest is not a batch.
    #[error("batch does not decode: {0}")]
    Malformed(&'static str),
}

/// Encode a batch.
pub fn encode(batch: &Batch) -> Vec<u8> {
    postcard::to_extend(batch, alloc::vec![BATCH_VERSION]).expect("batches always encode")
}

/// Decode a batch.
pub fn decode(bytes: &[u8]) -> Result<Batch, BatchError> {
    if bytes.len() > CHANGESET_BYTES_MAX {
        return Err(BatchError::TooLarge(bytes.len()));
    }
    match bytes.split_first() {
        Some((&BATCH_VERSION, rest)) => match postcard::take_from_bytes(rest) {
            Ok((batch, [])) => Ok(batch),
            _ => Err(BatchError::Malformed("batch")),
        },
        Some((&version, _)) => Err(BatchError::Version(version)),
        None => Err(BatchError::Malformed("empty")),
    }
}
