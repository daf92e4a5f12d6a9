//! The messages of a round.
//!
//! ```text
//! message  = version (1 byte) | postcard(Up or Down)
//! ```
//! Some can be said in brief, see [`super::brief`]. On its way it carries a tag, see [`crate::tag`].
//! A message may be lost, doubled, reordered or a year late; every one names
//! the round it is about and the lineage its sender believes in.
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::budget;
use crate::id::{Hash, RunId};
use crate::limits::{
    MESSAGE_BYTES_MAX, MESSAGE_MEMORY_BYTES_MAX, PART_BYTES_MAX, RETURNED_STRETCHES_MAX,
};
use crate::schema::LANES;
use crate::wire::coded::ModelName;

/// The first byte of every message.
pub const MESSAGE_VERSION: u8 = 1;

/// From a gateway to the hub.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Up {
    /// The gateway's current run.
    pub run: RunId,
    /// The hub's run that the gateway heard last; none before the first round.
    pub hub: RunId,
    /// The round it is about.
    pub round: u64,
    /// What it says.
    pub body: UpBody,
}

/// What a gateway says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum UpBody {
    /// A round begins (or is asked about again).
    Prepare(Prepare),
    /// One part of the changeset.
    Part(Part),
    /// Send these parts of the downlink (again).
    Fetch {
        /// First and last index of each missing stretch.
        missing: Vec<(u16, u16)>,
    },
    /// Everything is staged here: decide.
    Commit,
    /// The round shall not be; answered by Aborted or Committed.
    Abort,
}

/// The head of a changeset.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prepare {
    /// The chain hash of the round before.
    pub parent: Hash,
    /// How far this gateway has the hub's sequence, a lane each.
    pub cursors: [u64; LANES],
    /// The schema version it holds; 0 = none.
    pub schema: u32,
    /// Hash of the *decoded* changeset, so that a re-encoding stays the same round.
    pub content: Hash,
    /// Encoded bytes in all parts.
    pub bytes: u32,
    /// Number of parts; all but the last are [`PART_BYTES_MAX`] long. 0 = nothing to send.
    pub parts: u16,
    /// The first part, so that a small changeset needs no other message. Empty
    /// when the head is only repeated.
    pub first: Vec<u8>,
    /// Whether its changes, or some of them, had been committed at a hub that is lost.
    pub returned: Option<Returned>,
    /// How far beyond its greatest cursor this gateway was told sequences of its own changes:
    /// a hub that never came so far was restored.
    pub ahead: u64,
    /// The newest way of writing that this gateway speaks, see [`crate::wire::coded`].
    pub codec: u8,
    /// The model that the page may be written against.
    pub model: ModelName,
    /// The hub is to decide at once, without Commit, if the page fits its answer. Asked of a
    /// changeset of one part at most.
    pub delegated: bool,
    /// The page is to hold only what is urgent: the site's budget of data is for that.
    pub narrow: bool,
    /// What the link cost on days that are over, [`DAYS_TOLD_MAX`] at most.
    ///
    /// [`DAYS_TOLD_MAX`]: crate::limits::DAYS_TOLD_MAX
    pub spent: Vec<Spent>,
}

/// What a gateway's link cost on one day, in bytes of IP both ways together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Spent {
    /// The day by the site's calendar, counted from 1970-01-01.
    pub day: u32,
    /// Changesets and pages, as coded.
    pub payload: u64,
    /// What carried them.
    pub protocol: u64,
    /// To connect.
    pub connect: u64,
    /// To keep an idle connection.
    pub idle: u64,
    /// Of other programs, where an interface is counted whole.
    pub others: u64,
}

/// Where a gateway stands: the chain hash of its last round, and its cursors.
pub type Stand = (Hash, [u64; LANES]);

/// The hash of a page, encoded plainly: it is good only for who stands where it was made for. A
/// copied box hears what is said to the other, about rounds of the same number.
pub fn page_hash((chain, cursors): Stand, page: &[u8]) -> Hash {
    let cursors: Vec<u8> = cursors.iter().flat_map(|at| at.to_le_bytes()).collect();
    Hash::of(&[&chain.0, &cursors, page])
}

impl Prepare {
    /// Where the gateway stands.
    pub fn stand(&self) -> Stand {
        (self.parent, self.cursors)
    }

    /// The greatest hub sequence that this gateway knows of.
    pub fn heard(&self) -> u64 {
        self.cursors.iter().fold(0, |last: u64, &at| last.max(at)).saturating_add(self.ahead)
    }
}

/// What changes were at a hub before it was restored from an older backup.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Returned {
    /// The hub sequence up to which that hub and the restored one are one.
    pub fork: u64,
    /// The runs of that hub whose sequences beyond it are meant, [`LOST_RUNS_MAX`] at most.
    pub runs: Vec<RunId>,
    /// The sequences that the changes had, in their order: stretches of (how many, the
    /// first, from which they count up), [`RETURNED_STRETCHES_MAX`] at most; 0 = none, as
    /// for the changes behind the last stretch.
    pub seqs: Vec<(u32, u64)>,
}

impl Returned {
    /// The sequences that so many changes had; 0 = none.
    pub fn seq_of(&self, changes: usize) -> Vec<u64> {
        let stretches = self.seqs.iter().take(RETURNED_STRETCHES_MAX);
        let each = stretches.flat_map(|&(count, first)| {
            (0..u64::from(count))
                .map(move |at| if first == 0 { 0 } else { first.saturating_add(at) })
        });
        each.chain(core::iter::repeat(0)).take(changes).collect()
    }
}

/// One part of a changeset or of a downlink page.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Part {
    /// Which, from 0.
    pub index: u16,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// From the hub to a gateway.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Down {
    /// The hub's current run.
    pub hub: RunId,
    /// The run that the question named ([`Up::hub`]): the hub vouches that its
    /// own run continues that one.
    pub known: RunId,
    /// The round it is about.
    pub round: u64,
    /// What it says.
    pub body: DownBody,
}

/// What the hub says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DownBody {
    /// Not whole yet: send these parts.
    Staged {
        /// First and last index of each missing stretch.
        missing: Vec<(u16, u16)>,
    },
    /// The changeset is whole, and written in a way or against a model that the hub has
    /// not got: the same content is to be written anew.
    OtherModel {
        /// The newest way of writing that the hub reads.
        codec: u8,
        /// The model that the changeset was written against; none: the way is too new.
        of: Option<ModelName>,
        /// Models that it has, [`MODELS_TOLD_MAX`] at most.
        ///
        /// [`MODELS_TOLD_MAX`]: crate::wire::coded::MODELS_TOLD_MAX
        holds: Vec<ModelName>,
    },
    /// The changeset is staged and judged, and here is what comes back.
    Prepared(Prepared),
    /// One part of the downlink page.
    Part(Part),
    /// The round is decided: it is.
    Committed(Committed),
    /// The round is decided: it is not.
    Aborted {
        /// The lowest round that the hub will accept.
        floor: u64,
    },
    /// The message cannot be answered otherwise.
    Refused(Refused),
    /// A hint: there may be something to fetch.
    News {
        /// The hub's sequence.
        head: u64,
    },
    /// A brief Prepare (see [`crate::wire::brief`]) does not mean here what it means there:
    /// it is to be said whole.
    Unclear,
}

/// The head of a downlink page.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prepared {
    /// The changeset it answers.
    pub content: Hash,
    /// Hash of the page, see [`page_hash`].
    pub page: Hash,
    /// Encoded bytes in all parts.
    pub bytes: u32,
    /// Number of parts; all but the last are [`PART_BYTES_MAX`] long.
    pub parts: u16,
    /// The first part. Empty when the head is only repeated.
    pub first: Vec<u8>,
}

/// What a committed round did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Committed {
    /// What became of its changes, in their order: stretches of (how many, outcome).
    pub outcomes: Vec<(u32, Outcome)>,
    /// The chain hash after this round, see [`chain`]: it tells which changeset is meant.
    pub chain: Hash,
    /// Whether the page of this round may be applied: false when it was never asked for.
    pub paged: bool,
    /// Whether the hub has more for this gateway than the page held.
    pub more: bool,
    /// The page, where the decision was delegated: [`PART_BYTES_MAX`] bytes at most.
    pub page: Option<Attached>,
}

/// A whole page that goes along with a message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attached {
    /// Its hash, see [`page_hash`].
    pub hash: Hash,
    /// Itself, as a staged one would travel.
    pub bytes: Vec<u8>,
}

impl Committed {
    /// Whether a head is that of the round that was committed, asked about again.
    pub fn answers(&self, head: &Prepare) -> bool {
        self.chain == chain(head.parent, head.content, &self.outcomes)
    }
}

/// What became of a change.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// Committed and applied. In a stretch the sequences count up from this one.
    Applied {
        /// Its hub sequence.
        seq: u64,
    },
    /// It had been committed by another route.
    Known {
        /// Its hub sequence; 0 while it is parked.
        seq: u64,
    },
    /// Committed, waits for what it needs.
    Parked,
    /// Kept whole at the hub, outside the tables. Why travels in the page's verdicts.
    Quarantined,
    /// The gateway is to keep it until released.
    Held,
}

/// Why a message was refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum Refused {
    /// Not enrolled.
    #[error("the hub does not know this gateway: run `wadi-hub gateway add` there")]
    UnknownGateway,
    /// The round lies below what the hub accepts.
    #[error("the round is over; the hub accepts rounds from {floor}")]
    BelowFloor {
        /// The lowest round that the hub will accept.
        floor: u64,
    },
    /// The parent hash is not the head of this gateway's chain.
    #[error(
        "this gateway's history differs from the hub's: its storage was restored or cloned, or another box uses its number"
    )]
    OtherParent,
    /// The hub run is not one that this hub continues, or the cursor is ahead of it.
    #[error("the hub is not the one that this gateway knows, or was restored from a backup")]
    OtherHub,
    /// Another changeset is staged under this round.
    #[error("another changeset is staged under this round")]
    OtherContent,
    /// The parts do not decode, or their hash differs.
    #[error("the changeset does not decode: {reason}")]
    Undecodable {
        /// Why.
        reason: String,
    },
    /// Nothing is staged under this round: send Prepare.
    #[error("nothing is staged under this round")]
    NotPrepared,
    /// A limit was passed.
    #[error("too large: {reason}")]
    TooLarge {
        /// Which limit.
        reason: String,
    },
    /// The gateway was revoked.
    #[error(
        "the hub revoked this gateway: if that was a mistake, run `wadi-hub gateway enrol` there, \
         and `wadi-gateway enrol` here with the file that it writes"
    )]
    Revoked,
    /// A later enrolment took the place of this one.
    #[error(
        "this gateway was enrolled anew: run `wadi-gateway enrol` here with the file that \
         the hub wrote then"
    )]
    Replaced,
    /// Some gateway knows more than the hub, and no operator has said yet what to make of that.
    #[error(
        "the hub was restored from an older backup, and waits for its operators: \
         `wadi-hub status` there says what to do"
    )]
    Stopped,
    /// The hub was restored, and an operator has confirmed it: begin anew, and return what
    /// is not there any more.
    #[error("the hub was restored from an older backup: this gateway returns what it still holds")]
    Restored {
        /// The hub's runs, the newest ones, each with its last sequence.
        line: Vec<(RunId, u64)>,
    },
}

/// A message that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageError {
    /// More bytes than [`MESSAGE_BYTES_MAX`].
    #[error("message of {0} bytes, at most {MESSAGE_BYTES_MAX} are allowed")]
    TooLarge(usize),
    /// The first byte is not [`MESSAGE_VERSION`].
    #[error("message version {0}, this side speaks {MESSAGE_VERSION}")]
    Version(u8),
    /// The rest is not a message.
    #[error("message does not decode")]
    Malformed,
}

/// The chain hash after a round: h(parent, content, outcomes).
pub fn chain(parent: Hash, content: Hash, outcomes: &[(u32, Outcome)]) -> Hash {
    let outcomes = postcard::to_allocvec(outcomes).expect("outcomes always encode");
    Hash::of(&[&parent.0, &content.0, &outcomes])
}

/// The chain hash of a box that heard what became of its round and never had the page of it:
/// another box did, of which it is a copy. It has all that `chain` stands for and lacks what
/// only that page told.
pub fn without_page(chain: Hash) -> Hash {
    Hash::of(&[&chain.0, b"without its page"])
}

/// Encode a message of either direction.
pub fn encode<M: Serialize>(message: &M) -> Vec<u8> {
    let bytes =
        postcard::to_extend(message, alloc::vec![MESSAGE_VERSION]).expect("messages always encode");
    assert!(bytes.len() <= MESSAGE_BYTES_MAX, "we build messages within the limit");
    bytes
}

/// Decode a message of either direction.
pub fn decode<M: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<M, MessageError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(MessageError::TooLarge(bytes.len()));
    }
    match bytes.split_first() {
        Some((&MESSAGE_VERSION, rest)) => {
            budget::decode(rest, MESSAGE_MEMORY_BYTES_MAX).map_err(|_| MessageError::Malformed)
        }
        Some((&version, _)) => Err(MessageError::Version(version)),
        None => Err(MessageError::Malformed),
    }
}

/// How many parts `bytes` bytes take.
pub fn parts_of(bytes: usize) -> u16 {
    u16::try_from(bytes.div_ceil(PART_BYTES_MAX)).expect("limits keep parts below 65,536")
}

/// Part `index` of `bytes`; empty past the end.
pub fn part(bytes: &[u8], index: u16) -> &[u8] {
    let from = (usize::from(index) * PART_BYTES_MAX).min(bytes.len());
    &bytes[from..(from + PART_BYTES_MAX).min(bytes.len())]
}
