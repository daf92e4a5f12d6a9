//! The gateway's end of a round.
//!
//! The state is what the outbox stores beside the encoded changeset and the
//! staged parts of the page. What the machine says is symbolic ([`Say`]); the
//! store renders it with the changeset's bytes. Once Commit may have left, the
//! round is never aborted or edited: it is asked about until the hub answers.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{PartSet, Step};
use crate::id::{Hash, RunId};
use crate::limits::{DOWNLINK_BYTES_MAX, PART_BYTES_MAX};
use crate::schema::LANES;
use crate::wire::message::{
    Committed, Down, DownBody, Part, Prepare, Prepared, Refused, Up, UpBody, chain, part, parts_of,
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
    /// The caller put the staged page together (asked by [`GatewayRound::wants_check`]).
    Checked(Check),
    /// A deadline passed, or the link came back: ask again.
    Retry,
}

/// What became of the staged page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// It is whole, decodes and fits the schema; the cursors after it.
    Good([u64; LANES]),
    /// Its hash differs: it must come again.
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
    /// The round is committed: outcomes, and the staged page if `paged`, go into
    /// the tables; the changeset is done with.
    Finish {
        /// What the hub did.
        committed: Committed,
        /// Whether the staged page is to be applied.
        paged: bool,
    },
    /// The round is not to be: its changes stay pending.
    Drop,
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

type GatewayStep = Step<GatewayRound, Write, Say>;

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

    /// Whether every part of the page is staged: put it together, check it, and
    /// give [`Input::Checked`].
    pub fn wants_check(&self) -> bool {
        matches!(&self.phase, Phase::Fetching { have, .. } if have.is_whole())
    }

    /// The machine: one input, one step.
    pub fn step(self, input: Input<'_>) -> GatewayStep {
        match input {
            Input::Begin(changeset) => self.begin(changeset),
            Input::Heard(down) => self.hear(down),
            Input::Checked(check) => self.checked(check),
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
        }
    }

    fn changeset(&self) -> Option<&Changeset> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Preparing { changeset, .. }
            | Phase::Fetching { changeset, .. }
            | Phase::Committing { changeset, .. }
            | Phase::Aborting { changeset } => Some(changeset),
        }
    }

    fn begin(mut self, changeset: Changeset) -> GatewayStep {
        assert!(self.is_idle(), "a round is opened only when none is open");
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
        }
    }

    fn checked(mut self, check: Check) -> GatewayStep {
        let Phase::Fetching { changeset, page, have } = self.phase else {
            panic!("a page is checked only while it is fetched");
        };
        assert!(have.is_whole(), "a page is checked when it is whole");
        match check {
            Check::Good(to) => {
                self.phase = Phase::Committing { changeset, to };
                Step::to(self).say(Say::Commit)
            }
            Check::Corrupt => {
                let have = PartSet::none(page.parts);
                let missing = have.missing();
                self.phase = Phase::Fetching { changeset, page, have };
                Step::to(self).write(Write::DropPage).say(Say::Fetch(missing))
            }
            Check::Unusable => {
                self.phase = Phase::Aborting { changeset };
                Step::to(self).write(Write::DropPage).say(Say::Abort)
            }
        }
    }

    fn hear(mut self, down: &Down) -> GatewayStep {
        if matches!(down.body, DownBody::News { .. }) {
            return Step::ignore(self, "news is a hint for the worker");
        }
        if down.known != self.hub && down.hub != self.hub {
            return Step::ignore(self, "not from the hub that this gateway knows");
        }
        if down.round != self.round || self.is_idle() {
            return Step::ignore(self, "about another round");
        }
        if !matches!(down.body, DownBody::Refused(_)) {
            self.hub = down.hub;
            self.refused = None;
        }
        match &down.body {
            DownBody::Staged { missing } => self.hear_staged(missing),
            DownBody::Prepared(prepared) => self.hear_prepared(prepared),
            DownBody::Part(part) => self.hear_part(part),
            DownBody::Committed(committed) => self.hear_committed(committed),
            DownBody::Aborted { floor } => self.hear_aborted(*floor),
            DownBody::Refused(refused) => self.hear_refused(refused),
            DownBody::News { .. } => unreachable!("handled above"),
        }
    }

    fn hear_staged(mut self, missing: &[(u16, u16)]) -> GatewayStep {
        let Phase::Preparing { sent, .. } = &mut self.phase else {
            return Step::ignore(self, "the hub has the whole changeset");
        };
        let wanted = sent.add_stretches(missing);
        wanted.into_iter().map(Say::Part).fold(Step::to(self), Step::say)
    }

    fn hear_prepared(mut self, prepared: &Prepared) -> GatewayStep {
        let page =
            PageHead { hash: prepared.page, bytes: prepared.bytes, parts: prepared.parts };
        let (changeset, mut have, mut step_writes) = match &self.phase {
            Phase::Preparing { changeset, .. } => {
                (changeset.clone(), PartSet::none(page.parts), alloc::vec![Write::DropPage])
            }
            Phase::Fetching { changeset, page: held, have } if *held == page => {
                (changeset.clone(), have.clone(), Vec::new())
            }
            // The hub put another page together: what was staged belongs to none.
            Phase::Fetching { changeset, .. } => {
                (changeset.clone(), PartSet::none(page.parts), alloc::vec![Write::DropPage])
            }
            _ => return Step::ignore(self, "the page is already here"),
        };
        if prepared.content != changeset.content {
            return Step::ignore(self, "prepared another changeset");
        }
        if page.bytes == 0
            || page.bytes as usize > DOWNLINK_BYTES_MAX
            || page.bytes.div_ceil(PART_BYTES_MAX as u32) != u32::from(page.parts)
        {
            return Step::ignore(self, "a page of impossible size");
        }
        if prepared.first.len() == part_len(&page, 0) && have.add(0) {
            step_writes
                .push(Write::StagePart(Part { index: 0, bytes: prepared.first.clone() }));
        }
        self.phase = Phase::Fetching { changeset, page, have };
        step_writes.into_iter().fold(Step::to(self), Step::write)
    }

    fn hear_part(mut self, part: &Part) -> GatewayStep {
        let Phase::Fetching { page, have, .. } = &mut self.phase else {
            return Step::ignore(self, "no page is fetched");
        };
        if part.index >= page.parts || part.bytes.len() != part_len(page, part.index) {
            return Step::ignore(self, "not a part of the page");
        }
        if !have.add(part.index) {
            return Step::ignore(self, "the part is already here");
        }
        Step::to(self).write(Write::StagePart(part.clone()))
    }

    fn hear_committed(mut self, committed: &Committed) -> GatewayStep {
        let changeset = self.changeset().expect("a round is open").clone();
        let counted: u64 = committed.outcomes.iter().map(|(count, _)| u64::from(*count)).sum();
        if committed.content != changeset.content || counted != u64::from(changeset.changes) {
            return Step::ignore(self, "committed another changeset");
        }
        if committed.chain != chain(self.chain, changeset.content, &committed.outcomes) {
            return Step::ignore(self, "the chain hash does not follow");
        }
        let to = match self.phase {
            Phase::Committing { to, .. } if committed.paged => Some(to),
            _ => None,
        };
        self.cursors = to.unwrap_or(self.cursors);
        self.chain = committed.chain;
        self.round = self.round.saturating_add(1);
        self.phase = Phase::Idle;
        Step::to(self)
            .write(Write::Finish { committed: committed.clone(), paged: to.is_some() })
    }

    fn hear_aborted(mut self, floor: u64) -> GatewayStep {
        if !matches!(self.phase, Phase::Aborting { .. }) {
            return Step::ignore(self, "nobody asked to abort");
        }
        self.round = floor.max(self.round.saturating_add(1));
        self.phase = Phase::Idle;
        Step::to(self).write(Write::Drop)
    }

    fn hear_refused(mut self, refused: &Refused) -> GatewayStep {
        self.refused = Some(refused.clone());
        match (refused, &self.phase) {
            // Commit has not left: the round may still be given up, if the hub agrees.
            (
                Refused::OtherContent | Refused::Undecodable { .. } | Refused::TooLarge { .. },
                Phase::Preparing { changeset, .. } | Phase::Fetching { changeset, .. },
            ) => {
                let changeset = changeset.clone();
                self.phase = Phase::Aborting { changeset };
                Step::to(self).write(Write::DropPage).say(Say::Abort)
            }
            // Decided long ago without us: its number is used up.
            (Refused::BelowFloor { floor }, Phase::Preparing { .. } | Phase::Aborting { .. })
                if *floor > self.round =>
            {
                self.round = *floor;
                self.phase = Phase::Idle;
                Step::to(self).write(Write::Drop)
            }
            // The hub no longer has what it had staged: the same content again.
            (
                Refused::NotPrepared,
                Phase::Fetching { changeset, .. } | Phase::Committing { changeset, .. },
            ) => {
                let changeset = changeset.clone();
                let sent = PartSet::none(parts_of(changeset.bytes as usize));
                self.phase = Phase::Preparing { changeset, sent };
                self.refused = None;
                Step::to(self).write(Write::DropPage).say(Say::Prepare { first: false })
            }
            _ => Step::to(self),
        }
    }
}

impl Default for GatewayRound {
    fn default() -> GatewayRound {
        GatewayRound::new()
    }
}

fn part_len(page: &PageHead, index: u16) -> usize {
    (page.bytes as usize - usize::from(index) * PART_BYTES_MAX).min(PART_BYTES_MAX)
}
