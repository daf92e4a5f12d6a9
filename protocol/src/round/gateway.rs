//! The gateway's end of a round.
//!
//! The state is what the outbox stores beside the encoded changeset and the
//! staged parts of the page. What the machine says is symbolic ([`Say`]); the
//! store renders it with the changeset's bytes. Once Commit or a delegated Prepare
//! may have left, the round is never dropped or edited by ourselves: it is asked
//! about, or its abort asked for, until the hub answers.
use alloc::vec::Vec;

mod end;
mod hear;

use serde::{Deserialize, Serialize};

use super::{PartSet, Step};
use crate::id::{Hash, RunId};
use crate::schema::LANES;
use crate::wire::coded::{CODEC_NEWEST, ModelName};
use crate::wire::message::{
    Attached, Committed, Down, Part, Prepare, Refused, Returned, Stand, Up, UpBody, part, parts_of,
};

/// Everything that the gateway must remember between rounds and within one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GatewayRound {
    /// The hub's run heard last; none before the first round.
    pub hub: RunId,
    /// The round that is open, or the next to be opened.
    pub round: u64,
    /// The chain hash of the last committed round.
    pub chain: Hash,
    /// How far base has the hub's sequence, a lane each.
    pub cursors: [u64; LANES],
    /// Where the open round stands.
    pub phase: Phase,
    /// Why the hub refuses to go on, until it does.
    pub refused: Option<Refused>,
}

/// Where a round stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Phase {
    /// No round is open.
    Idle,
    /// The changeset is on its way.
    Preparing {
        /// What is sent.
        changeset: Changeset,
        /// Parts sent since the last retry: not sent again on a doubled answer.
        sent: PartSet,
    },
    /// The page is on its way.
    Fetching {
        /// What was sent.
        changeset: Changeset,
        /// What comes.
        page: PageHead,
        /// Parts staged.
        have: PartSet,
    },
    /// The decision is the hub's.
    Committing {
        /// What was sent.
        changeset: Changeset,
        /// The cursors after the page, once the round is committed.
        to: [u64; LANES],
    },
    /// The hub was asked to abort; it may answer Committed instead.
    Aborting {
        /// What was sent.
        changeset: Changeset,
    },
    /// The round is committed, and the page that came with the answer is to be checked. That
    /// is done in the step's transaction: this phase is never stored.
    #[serde(skip)]
    Answered {
        /// What was sent.
        changeset: Changeset,
        /// The hub that answered.
        hub: RunId,
        /// What it did.
        committed: Committed,
    },
}

/// A page of which every byte is here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WholePage<'a> {
    /// In the staged parts.
    Staged(&'a PageHead),
    /// With the hub's answer.
    Attached(&'a Attached),
}

impl WholePage<'_> {
    /// The hash that it is to have.
    pub fn hash(&self) -> Hash {
        match self {
            WholePage::Staged(head) => head.hash,
            WholePage::Attached(attached) => attached.hash,
        }
    }
}

/// The head of the changeset of the open round.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Changeset {
    /// Hash of the decoded changeset.
    pub content: Hash,
    /// Encoded bytes; 0 = nothing to send, the round only fetches.
    pub bytes: u32,
    /// How many changes.
    pub changes: u32,
    /// The schema version held when the round was opened.
    pub schema: u32,
    /// What its changes were at a hub that is lost.
    pub returned: Option<Returned>,
    /// The hub is to decide at once, where the changeset is of one part at most: whoever is
    /// prepared by its outbox has nothing to add to the decision.
    pub delegated: bool,
}

/// The head of a page.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PageHead {
    /// Hash of the encoded page.
    pub hash: Hash,
    /// Encoded bytes.
    pub bytes: u32,
    /// Number of parts.
    pub parts: u16,
}

/// What happens to the machine.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A changeset was assembled: open a round. Only when idle.
    Begin(Changeset),
    /// A message arrived.
    Heard(&'a Down),
    /// The caller looked at the page that [`GatewayRound::whole_page`] tells of.
    Checked(Check),
    /// The changeset of the open round was written anew (asked by [`Write::Recode`]), in so
    /// many bytes; none if it cannot be read any more.
    Recoded(Option<u32>),
    /// A deadline passed, or the link came back: ask again.
    Retry,
}

/// What became of the staged page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// It is whole, decodes and fits the schema; the cursors after it.
    Good([u64; LANES]),
    /// Its hash differs: it is damaged, or meant for another box.
    Corrupt,
    /// It has the right hash and cannot be used.
    Unusable,
}

/// What to store beside the state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Stage a part of the page.
    StagePart(Part),
    /// Forget the staged parts of the page.
    DropPage,
    /// The hub cannot read the changeset as it is written: if it is written so still, write
    /// it anew, and give [`Input::Recoded`].
    Recode {
        /// The newest way of writing that the hub reads.
        codec: u8,
        /// The model that it was asked for; none: the way of writing is too new.
        of: Option<ModelName>,
        /// Models that it has.
        holds: Vec<ModelName>,
    },
    /// The round is committed: outcomes, and the page if `paged`, go into the tables; the
    /// changeset is done with.
    Finish {
        /// What the hub did.
        committed: Committed,
        /// Whether the page is to be applied: the one that is attached, else the staged one.
        paged: bool,
    },
    /// The round is not to be: its changes stay pending.
    Drop,
    /// The hub was restored and is the one of these runs: base is not what it has, and
    /// what it does not have any more is pending again.
    Restart {
        /// The hub's runs, each with its last sequence.
        line: Vec<(RunId, u64)>,
    },
}

/// What to send, once the step is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Say {
    /// The head, with the first part or (asking again) without.
    Prepare {
        /// Whether the first part goes along.
        first: bool,
    },
    /// One part of the changeset.
    Part(u16),
    /// Which parts of the page are missing.
    Fetch(Vec<(u16, u16)>),
    /// Decide.
    Commit,
    /// Decide against.
    Abort,
}

pub(super) type GatewayStep = Step<GatewayRound, Write, Say>;

impl GatewayRound {
    /// Before the first round.
    pub fn new() -> GatewayRound {
        GatewayRound {
            hub: RunId::NONE,
            round: 1,
            chain: Hash::default(),
            cursors: [0; LANES],
            phase: Phase::Idle,
            refused: None,
        }
    }

    /// Whether no round is open.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Where this gateway stands: a page is good for it alone.
    pub fn stand(&self) -> Stand {
        (self.chain, self.cursors)
    }

    /// The page, once every part of it is here: check it, and give [`Input::Checked`].
    pub fn whole_page(&self) -> Option<WholePage<'_>> {
        match &self.phase {
            Phase::Fetching { page, have, .. } if have.is_whole() => Some(WholePage::Staged(page)),
            Phase::Answered { committed, .. } => committed.page.as_ref().map(WholePage::Attached),
            _ => None,
        }
    }

    /// Whether the hub has decided, and only the page that came along is to be looked at. Such
    /// a state is not to be stored: what follows from it in the same transaction is.
    pub fn is_answered(&self) -> bool {
        matches!(self.phase, Phase::Answered { .. })
    }

    /// The machine: one input, one step.
    pub fn step(self, input: Input<'_>) -> GatewayStep {
        match input {
            Input::Begin(changeset) => self.begin(changeset),
            Input::Heard(down) => self.hear(down),
            Input::Checked(check) => self.checked(check),
            Input::Recoded(bytes) => self.recoded(bytes),
            Input::Retry => self.retry(),
        }
    }

    /// The message for something to say; `body` is the encoded changeset.
    pub fn message(&self, say: &Say, run: RunId, body: &[u8]) -> Up {
        let body = match say {
            Say::Prepare { first } => UpBody::Prepare(self.head(*first, body)),
            Say::Part(index) => {
                UpBody::Part(Part { index: *index, bytes: part(body, *index).to_vec() })
            }
            Say::Fetch(missing) => UpBody::Fetch { missing: missing.clone() },
            Say::Commit => UpBody::Commit,
            Say::Abort => UpBody::Abort,
        };
        Up { run, hub: self.hub, round: self.round, body }
    }

    fn head(&self, first: bool, body: &[u8]) -> Prepare {
        let changeset = self.changeset().expect("only an open round has something to prepare");
        assert_eq!(changeset.bytes as usize, body.len(), "the stored changeset is the open one");
        Prepare {
            parent: self.chain,
            cursors: self.cursors,
            schema: changeset.schema,
            content: changeset.content,
            bytes: changeset.bytes,
            parts: parts_of(body.len()),
            first: if first { part(body, 0).to_vec() } else { Vec::new() },
            returned: changeset.returned.clone(),
            // The store knows both.
            ahead: 0,
            codec: CODEC_NEWEST,
            model: ModelName::empty(),
            delegated: changeset.delegated && parts_of(body.len()) <= 1,
            narrow: false,
            spent: Vec::new(),
        }
    }

    /// What the open round carries; none if none is open.
    pub fn changeset(&self) -> Option<&Changeset> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Preparing { changeset, .. }
            | Phase::Fetching { changeset, .. }
            | Phase::Committing { changeset, .. }
            | Phase::Aborting { changeset }
            | Phase::Answered { changeset, .. } => Some(changeset),
        }
    }

    fn begin(self, changeset: Changeset) -> GatewayStep {
        assert!(self.is_idle(), "a round is opened only when none is open");
        self.send(changeset)
    }

    /// The changeset as it is written now.
    fn recoded(self, bytes: Option<u32>) -> GatewayStep {
        let Phase::Preparing { changeset, .. } = &self.phase else {
            panic!("a changeset is written anew only while it is on its way");
        };
        let changeset = changeset.clone();
        match bytes {
            Some(bytes) => self.send(Changeset { bytes, ..changeset }),
            None => self.give_up(changeset),
        }
    }

    /// Head and parts, unasked.
    fn send(mut self, changeset: Changeset) -> GatewayStep {
        let parts = parts_of(changeset.bytes as usize);
        let mut sent = PartSet::none(parts);
        sent.add(0);
        self.phase = Phase::Preparing { changeset, sent };
        (1..parts).fold(Step::to(self).say(Say::Prepare { first: true }), |step, index| {
            step.say(Say::Part(index))
        })
    }

    fn retry(mut self) -> GatewayStep {
        match &mut self.phase {
            Phase::Idle => Step::to(self),
            Phase::Preparing { changeset, sent } => {
                *sent = PartSet::none(parts_of(changeset.bytes as usize));
                Step::to(self).say(Say::Prepare { first: false })
            }
            Phase::Fetching { have, .. } => {
                let missing = have.missing();
                Step::to(self).say(Say::Fetch(missing))
            }
            Phase::Committing { .. } => Step::to(self).say(Say::Commit),
            Phase::Aborting { .. } => Step::to(self).say(Say::Abort),
            Phase::Answered { .. } => panic!("an answer is checked in its own transaction"),
        }
    }
}

impl Default for GatewayRound {
    fn default() -> GatewayRound {
        GatewayRound::new()
    }
}
