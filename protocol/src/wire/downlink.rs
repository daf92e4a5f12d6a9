//! A downlink page: state, never deltas.
//!
//! A page covers the hub sequences (cursor, to] of each lane. It holds, for
//! every row with a log entry there, the values that do not stay home, as they
//! are at the row's version (which may lie beyond `to`). A page never splits a
//! hub sequence. The gateway applies it in the transaction of Committed.
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::budget::{self, Fault};
use crate::id::{DeviceId, Dot, RowId, RunId};
use crate::limits::{DOWNLINK_BYTES_MAX, DOWNLINK_MEMORY_BYTES_MAX};
use crate::schema::{LANES, Schema};
use crate::value::Value;
use crate::wire::message::Outcome;

/// The first byte of every page.
pub const PAGE_VERSION: u8 = 1;

/// What a round brings back.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Page {
    /// The hub's schema, where the gateway's is older.
    pub schema: Option<Schema>,
    /// Changes of this round that will be quarantined: index in the changeset, why.
    pub verdicts: Vec<(u32, String)>,
    /// Outcomes that came later than their round.
    pub notices: Vec<Notice>,
    /// Where the cursors stand after this page, a lane each.
    pub to: [u64; LANES],
    /// Rows, in the order of their tables' and their own first need: a row stands
    /// behind the rows it references where that is possible.
    pub rows: Vec<PageRow>,
    /// Dots that other gateways brought and the page covers: changes so named are
    /// not laid over when a handheld offers them here later.
    pub known: Vec<KnownRuns>,
    /// The hub's clock, seconds since 1970.
    pub clock_s: u64,
    /// A later certificate of the gateway, while it has not got it.
    pub certificate: Option<Renewal>,
    /// Counts the gateway's lines of rounds, from 0: another one than before says that
    /// outcomes may have been told to another box, which this one must ask for again.
    pub line: u32,
    /// Up to which hub sequence a backup of the hub exists; 0 = there is none. What the
    /// gateway still holds of later ones is needed if the hub is ever lost.
    pub backup: u64,
    /// Rows that changes parked at the hub wait for, for long: whoever has them, or what
    /// makes them, sends that first. At most [`WANTED_ROWS_MAX`] by table and id.
    ///
    /// [`WANTED_ROWS_MAX`]: crate::limits::WANTED_ROWS_MAX
    pub wanted: Vec<(u16, RowId)>,
    /// How changesets may be written from now on: the newest way that both ends speak, see
    /// [`crate::wire::coded`].
    pub codec: u8,
}

/// A renewed certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Renewal {
    /// The enrolment that it belongs to.
    pub enrolment: u32,
    /// When it ends, seconds since 1970.
    pub until_s: u64,
    /// Itself, in DER.
    pub der: Vec<u8>,
}

/// News of a change whose outcome came later than its round.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Notice {
    /// The change.
    pub dot: Dot,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, for people; empty when it was applied.
    pub reason: String,
}

/// One row as the hub has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PageRow {
    /// Its table.
    pub table: u16,
    /// The row.
    pub row: RowId,
    /// The hub sequence up to which this image (with what stays home) is current.
    pub version: u64,
    /// What the row is.
    pub state: RowState,
    /// Fields that travel, sorted by number. For a row that the gateway lacks: all but nulls.
    pub fields: Vec<(u16, Value)>,
    /// Whether `fields` is the whole row (absent = null) rather than an amendment.
    pub whole: bool,
    /// Fields that wait for a person; 0 is the row's existence. Sorted, complete.
    pub review: Vec<u16>,
    /// Dots not applied at the hub that applied changes of the row had seen, with
    /// the fields on which those follow them (0 = existence, as a delete does): an own
    /// change so named is not laid over those fields.
    pub followed: Vec<(Dot, Vec<u16>)>,
}

/// Whether a row is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RowState {
    /// It is.
    Live,
    /// It was deleted.
    Dead,
    /// It is no longer this site's.
    Left,
}

/// Stretches of one run's sequences.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KnownRuns {
    /// The device.
    pub device: DeviceId,
    /// The run.
    pub run: RunId,
    /// First and last sequence of each stretch, ascending.
    pub spans: Vec<(u64, u64)>,
}

/// A page that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PageError {
    /// More bytes than [`DOWNLINK_BYTES_MAX`].
    #[error("page of {0} bytes, at most {DOWNLINK_BYTES_MAX} are allowed")]
    TooLarge(usize),
    /// The first byte is not [`PAGE_VERSION`].
    #[error("page version {0}, this side speaks {PAGE_VERSION}")]
    Version(u8),
    /// What it says takes more memory than [`DOWNLINK_MEMORY_BYTES_MAX`].
    #[error(
        "page takes more than the {DOWNLINK_MEMORY_BYTES_MAX} bytes of memory that are allowed"
    )]
    Memory,
    /// The rest is not a page.
    #[error("page does not decode")]
    Malformed,
    /// It was written against a model that is not here, see [`super::coded`].
    #[error("page is written against a model that is not here")]
    OtherModel,
}

impl From<Fault> for PageError {
    fn from(fault: Fault) -> PageError {
        match fault {
            Fault::Memory => PageError::Memory,
            Fault::Malformed => PageError::Malformed,
        }
    }
}

/// Encode a page.
pub fn encode(page: &Page) -> Vec<u8> {
    postcard::to_extend(page, alloc::vec![PAGE_VERSION]).expect("pages always encode")
}

/// Decode a page.
pub fn decode(bytes: &[u8]) -> Result<Page, PageError> {
    if bytes.len() > DOWNLINK_BYTES_MAX {
        return Err(PageError::TooLarge(bytes.len()));
    }
    match bytes.split_first() {
        Some((&PAGE_VERSION, rest)) => Ok(budget::decode(rest, DOWNLINK_MEMORY_BYTES_MAX)?),
        Some((&version, _)) => Err(PageError::Version(version)),
        None => Err(PageError::Malformed),
    }
}
