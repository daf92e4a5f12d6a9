//! A batch of changes: the body of a changeset, and of an offer on the link.
//!
//! Every batch decodes to exactly what was encoded, raw names and all. Values
//! of one kind stand together and say only what cannot be foreseen:
//! ```text
//! batch   = version (1 byte) | runs | changes | hubs | tables | field sets
//!         | columns | details | values
//! runs    = devices (8 bytes each) | (device, run) names | parents and labels
//! columns = 2 bits each: all zero, plain, stretches | one number a change each
//! details = change by change, what its columns announce: group, row, stamp of
//!           containment, dots seen above, closure
//! values  = one column for each field of each table, in order of appearance
//! ```
//! Numbers are postcard's varints, signed ones zigzag. `stream` holds the
//! primitives and the bounds, `dictionaries`, `column`, `rows`, `texts` and `values`
//! both directions of one piece each, `encode` and `decode` their order.
//!
//! The bytes may be hostile: every count is checked against its limit, and what
//! has been decoded against [`crate::limits::BATCH_MEMORY_BYTES_MAX`], before
//! it is made.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::id::{Hash, RunInfo};
use crate::limits::CHANGESET_BYTES_MAX;

mod column;
mod decode;
mod dictionaries;
mod encode;
mod memory;
mod rows;
mod stream;
mod texts;
mod values;

/// The first byte of every batch.
pub const BATCH_VERSION: u8 = 1;

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
    #[error("batch has more {what} than the {max} that are allowed")]
    Limit {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The rest is not a batch.
    #[error("batch does not decode: {0}")]
    Malformed(&'static str),
}

/// What decoding this change may count against
/// [`crate::limits::BATCH_MEMORY_BYTES_MAX`], at most.
///
/// Few bytes of a batch can say much: names and texts that come again are
/// hardly seen in its length. So a batch is filled by both measures.
pub fn memory_bytes(change: &Change) -> usize {
    memory::bytes(change)
}

/// Encode a batch.
///
/// Within the limits of changes (see [`crate::limits`]) the result decodes
/// again; whoever fills batches keeps them.
pub fn encode(batch: &Batch) -> Vec<u8> {
    encode::encode(batch)
}

/// Decode a batch.
///
/// # Errors
/// Too large, of another version, beyond a limit, or no batch at all.
pub fn decode(bytes: &[u8]) -> Result<Batch, BatchError> {
    if bytes.len() > CHANGESET_BYTES_MAX {
        return Err(BatchError::TooLarge(bytes.len()));
    }
    match bytes.split_first() {
        Some((&BATCH_VERSION, rest)) => decode::decode(rest),
        Some((&version, _)) => Err(BatchError::Version(version)),
        None => Err(BatchError::Malformed("no bytes")),
    }
}
