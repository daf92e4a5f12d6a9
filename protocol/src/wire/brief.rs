//! The two messages of a small round without what the other end knows.
//!
//! ```text
//! brief Prepare   = version (1) | check (4) | postcard(round, ahead) | changeset
//! brief Committed = version (1) | check (4) | postcard(round, outcomes, more) | page
//! check           = first 4 bytes of SHA-256(the whole message, encoded)
//! ```
//! Whose rounds, on which line, where the gateway stands and what its changeset holds follow
//! from the round before. Whoever reads a brief message puts the whole one together from what
//! it believes, and the check tells whether the writer believed the same: if not, nothing of
//! it is used. The hub says then that it is unclear, the gateway asks again, and both say all.
//! Who may speak at all the tag around a message tells, as ever; a check is no protection.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::coded::ModelName;
use super::message::{
    Attached, Committed, Down, DownBody, MessageError, Outcome, Prepare, Up, UpBody, chain, encode,
    parts_of,
};
use crate::budget;
use crate::id::{Hash, RunId};
use crate::limits::{MESSAGE_BYTES_MAX, MESSAGE_MEMORY_BYTES_MAX, PART_BYTES_MAX};
use crate::schema::LANES;

/// The first byte of brief messages, where others have their version.
pub const BRIEF_VERSION: u8 = 2;
const CHECK_BYTES: usize = 4;

type Check = [u8; CHECK_BYTES];

/// Whether a message is one of these.
pub fn is_brief(bytes: &[u8]) -> bool {
    bytes.first() == Some(&BRIEF_VERSION)
}

/// What the hub believes of a gateway that begins a round behind the one it had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// The gateway's run.
    pub run: RunId,
    /// The hub's run that the gateway heard last.
    pub hub: RunId,
    /// The chain hash of the round before.
    pub parent: Hash,
    /// How far the gateway has the hub's sequence, a lane each.
    pub cursors: [u64; LANES],
    /// The schema version that it holds.
    pub schema: u32,
    /// The newest way of writing that it speaks.
    pub codec: u8,
    /// The model that its page may be written against.
    pub model: ModelName,
}

#[derive(Serialize, Deserialize)]
struct UpHead {
    round: u64,
    ahead: u64,
}

/// A brief Prepare, as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BriefUp<'a> {
    /// The round that begins.
    pub round: u64,
    /// The whole changeset; empty = there is nothing to send.
    pub changeset: &'a [u8],
    ahead: u64,
    check: Check,
}

/// A Prepare in brief; none where more is to be said than that.
pub fn up(whole: &Up) -> Option<Vec<u8>> {
    let UpBody::Prepare(head) = &whole.body else { return None };
    let all = head.delegated && head.first.len() == head.bytes as usize;
    if !all || head.returned.is_some() || head.narrow || !head.spent.is_empty() {
        return None;
    }
    let brief = UpHead { round: whole.round, ahead: head.ahead };
    Some(write(&check(whole), &brief, &head.first))
}

/// Read a brief Prepare.
pub fn read_up(bytes: &[u8]) -> Result<BriefUp<'_>, MessageError> {
    let (check, UpHead { round, ahead }, changeset) = read(bytes)?;
    Ok(BriefUp { round, changeset, ahead, check })
}

impl BriefUp<'_> {
    /// The whole message; none if its writer believed otherwise. `content` is the hash of the
    /// decoded changeset.
    pub fn whole(&self, known: &Known, content: Hash) -> Option<Up> {
        let bytes = self.changeset.len();
        let head = Prepare {
            parent: known.parent,
            cursors: known.cursors,
            schema: known.schema,
            content,
            bytes: bytes as u32,
            parts: parts_of(bytes),
            first: self.changeset.to_vec(),
            returned: None,
            ahead: self.ahead,
            codec: known.codec,
            model: known.model,
            delegated: true,
            narrow: false,
            spent: Vec::new(),
        };
        let body = UpBody::Prepare(head);
        let up = Up { run: known.run, hub: known.hub, round: self.round, body };
        (check(&up) == self.check).then_some(up)
    }
}

#[derive(Serialize, Deserialize)]
struct DownHead {
    round: u64,
    outcomes: Vec<(u32, Outcome)>,
    more: bool,
}

/// A brief Committed, as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BriefDown<'a> {
    /// The round that is committed.
    pub round: u64,
    /// The page, as it travels.
    pub page: &'a [u8],
    outcomes: Vec<(u32, Outcome)>,
    more: bool,
    check: Check,
}

/// The answer to a brief Prepare in brief; none where something else is to be said.
pub fn down(whole: &Down) -> Option<Vec<u8>> {
    let DownBody::Committed(committed) = &whole.body else { return None };
    let page = committed.page.as_ref().filter(|_| committed.paged && whole.known == whole.hub)?;
    let Committed { outcomes, more, .. } = committed;
    let brief = DownHead { round: whole.round, outcomes: outcomes.clone(), more: *more };
    Some(write(&check(whole), &brief, &page.bytes))
}

/// Read a brief Committed.
pub fn read_down(bytes: &[u8]) -> Result<BriefDown<'_>, MessageError> {
    let (check, DownHead { round, outcomes, more }, page) = read(bytes)?;
    Ok(BriefDown { round, page, outcomes, more, check })
}

impl BriefDown<'_> {
    /// The whole message; none if its writer believed otherwise. It is of this hub's run and
    /// answers this content behind `parent`; `page` is what the page's hash is for who stands here.
    pub fn whole(&self, hub: RunId, parent: Hash, content: Hash, page: Hash) -> Option<Down> {
        let committed = Committed {
            outcomes: self.outcomes.clone(),
            chain: chain(parent, content, &self.outcomes),
            paged: true,
            more: self.more,
            page: Some(Attached { hash: page, bytes: self.page.to_vec() }),
        };
        let body = DownBody::Committed(committed);
        let down = Down { hub, known: hub, round: self.round, body };
        (check(&down) == self.check).then_some(down)
    }
}

fn check<M: Serialize>(whole: &M) -> Check {
    let Hash(hash) = Hash::of(&[&encode(whole)]);
    *hash.first_chunk().expect("a hash is longer")
}

fn write(check: &Check, head: &impl Serialize, rest: &[u8]) -> Vec<u8> {
    let mut bytes = alloc::vec![BRIEF_VERSION];
    bytes.extend_from_slice(check);
    let mut bytes = postcard::to_extend(head, bytes).expect("messages always encode");
    bytes.extend_from_slice(rest);
    assert!(bytes.len() <= MESSAGE_BYTES_MAX, "brief is never longer than whole");
    bytes
}

fn read<'a, H: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(Check, H, &'a [u8]), MessageError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(MessageError::TooLarge(bytes.len()));
    }
    match bytes.split_first() {
        Some((&BRIEF_VERSION, rest)) => {
            let (check, rest) = rest.split_first_chunk().ok_or(MessageError::Malformed)?;
            let taken = budget::take(rest, MESSAGE_MEMORY_BYTES_MAX);
            let (head, rest) = taken.map_err(|_| MessageError::Malformed)?;
            if rest.len() > PART_BYTES_MAX {
                return Err(MessageError::TooLarge(bytes.len()));
            }
            Ok((*check, head, rest))
        }
        Some((&version, _)) => Err(MessageError::Version(version)),
        None => Err(MessageError::Malformed),
    }
}
