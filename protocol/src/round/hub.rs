//! The hub's end of a round, one state for each gateway.
//!
//! The hub only answers. It persists the lowest acceptable round before it
//! answers Aborted or Committed, so that no late message revives an old round.
//! Judging and committing are the store's work: the machine says when
//! ([`Todo`]) and takes the result, all in the transaction of the step.
use alloc::vec::Vec;

mod decided;

use serde::{Deserialize, Serialize};

use super::gateway::PageHead;
use super::{PartSet, Step};
use crate::id::{Hash, RunId};
use crate::limits::{CHANGESET_BYTES_MAX, PART_BYTES_MAX};
use crate::wire::coded::ModelName;
use crate::wire::message::{
    Committed, Down, DownBody, Part, Prepare, Prepared, Refused, Stand, Up, UpBody, page_hash,
    part, parts_of, without_page,
};

/// Everything that the hub must remember of one gateway's rounds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HubRound {
    /// The lowest round that is accepted.
    pub floor: u64,
    /// The chain hash of the last committed round.
    pub chain: Hash,
    /// The round committed last, and what was answered.
    pub last: Option<(u64, Committed)>,
    /// The gateway's run that asked for that.
    pub run: RunId,
    /// The page that went along with that answer; none once the gateway went on.
    pub attached: Option<AttachedPage>,
    /// The round that is staged.
    pub staged: Option<Staged>,
}

/// The page of a delegated round that is committed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttachedPage {
    /// Itself.
    pub page: PageHead,
    /// Whose it is.
    pub stand: Stand,
    /// The newest way of writing that was asked for.
    pub codec: u8,
    /// The model that was asked for.
    pub model: ModelName,
}

/// A round that is being staged or is prepared.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Staged {
    /// Its number.
    pub round: u64,
    /// The head, without the first part.
    pub head: Prepare,
    /// Parts that are here.
    pub have: PartSet,
    /// The page, once the changeset is judged.
    pub page: Option<PageHead>,
}

/// What a whole changeset came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// The page that answers it.
    pub page: PageHead,
    /// Bytes of the page as encoded plainly: so long it may become if it is written anew.
    pub plain_bytes: usize,
    /// How many changes were judged.
    pub changes: usize,
}

/// What to store beside the state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Stage a part of the changeset.
    StagePart(Part),
    /// Forget the staged parts and the page.
    DropStaged,
    /// Forget the staged parts alone: the page is kept.
    DropParts,
}

/// Work that the store does before the step is committed; its result goes back in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Todo {
    /// The changeset is whole: check, judge, store a page; then [`HubRound::judged`].
    Judge,
    /// The decision is for it: commit; then [`HubRound::decided`].
    Commit,
    /// Write the page that is kept as [`AttachedPage`] says now; then [`HubRound::rewritten`].
    Rewrite,
}

/// Why a whole changeset was not judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unread {
    /// It never will be.
    Refused(Refused),
    /// It is written in a way or against a model that is not here.
    OtherModel {
        /// The model; none: the way of writing is too new.
        of: Option<ModelName>,
        /// Those that are.
        holds: Vec<ModelName>,
    },
}

/// What to send, once the step is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Say {
    /// As it stands.
    Body(DownBody),
    /// What became of the round that was committed last, with its page if that is kept.
    Committed,
    /// The head of the page, with the first part or without.
    Prepared {
        /// Whether the first part goes along.
        first: bool,
    },
    /// One part of the page.
    PagePart(u16),
}

type HubStep = Step<HubRound, Write, Say>;

impl HubRound {
    /// Before the first round.
    pub fn new() -> HubRound {
        HubRound {
            floor: 1,
            chain: Hash::default(),
            last: None,
            run: RunId::NONE,
            attached: None,
            staged: None,
        }
    }

    /// Whether a message begins a round on another line than the one that this hub goes
    /// on with: a box that was restored, cloned or replaced. Of numbers below the floor
    /// nobody can tell that from a late message.
    pub fn is_other_line(&self, up: &Up) -> bool {
        let other = |head: &Prepare| head.parent != self.chain;
        up.round >= self.floor && matches!(&up.body, UpBody::Prepare(head) if other(head))
    }

    /// Whether a box that begins a round on another line has the history of this one, and
    /// only never had the page of its last round.
    pub fn has_missed(&self, head: &Prepare) -> bool {
        head.parent == without_page(self.chain)
    }

    /// Whether a message begins a round on a history that goes on where this hub's ends:
    /// no number above the floor was ever heard of here, so this hub was restored.
    pub fn knows_less(&self, up: &Up) -> bool {
        let longer = |head: &Prepare| head.parent != self.chain && head.parent != Hash::default();
        up.round > self.floor && matches!(&up.body, UpBody::Prepare(head) if longer(head))
    }

    /// From now on this gateway's line of rounds is the one whose last round has this
    /// chain hash: whoever stands at the end of the former one has another parent now. No
    /// number is used again. What is staged is to be dropped.
    pub fn rejoin(self, parent: Hash) -> HubRound {
        let after = self.staged.as_ref().map_or(0, |staged| staged.round.saturating_add(1));
        let floor = self.floor.max(after);
        HubRound { floor, chain: parent, attached: None, staged: None, ..self }
    }

    /// The machine: one message, one step, and maybe work for the store. The caller has
    /// found that this hub continues the run and cursors that the gateway names.
    pub fn hear(self, up: &Up) -> (HubStep, Option<Todo>) {
        if up.round < self.floor {
            return self.hear_old(up);
        }
        match &up.body {
            UpBody::Prepare(head) => self.hear_prepare(up.round, head),
            UpBody::Part(part) => self.hear_part(up.round, part),
            UpBody::Fetch { missing } => (self.hear_fetch(up.round, missing), None),
            UpBody::Commit => self.hear_commit(up.round),
            UpBody::Abort => (self.hear_abort(up.round), None),
        }
    }

    /// The message for something to say; `page` is the encoded page.
    pub fn message(&self, say: &Say, up: &Up, hub: RunId, page: &[u8]) -> Down {
        let body = match say {
            Say::Body(body) => body.clone(),
            Say::Committed => DownBody::Committed(self.committed(up, page)),
            Say::Prepared { first } => DownBody::Prepared(self.page_head(*first, page)),
            Say::PagePart(index) => {
                DownBody::Part(Part { index: *index, bytes: part(page, *index).to_vec() })
            }
        };
        Down { hub, known: up.hub, round: up.round, body }
    }

    fn page_head(&self, first: bool, page: &[u8]) -> Prepared {
        let staged = self.staged.as_ref().expect("only a prepared round has a page");
        let head = staged.page.as_ref().expect("only a prepared round has a page");
        assert_eq!(head.bytes as usize, page.len(), "the stored page is the prepared one");
        Prepared {
            content: staged.head.content,
            page: head.hash,
            bytes: head.bytes,
            parts: head.parts,
            first: if first { part(page, 0).to_vec() } else { Vec::new() },
        }
    }

    fn hear_prepare(mut self, round: u64, head: &Prepare) -> (HubStep, Option<Todo>) {
        // Before what is staged, so that a clone does not have it aborted.
        if head.parent != self.chain {
            return (refuse(self, Refused::OtherParent), None);
        }
        if let Some(staged) = &mut self.staged {
            if staged.round != round || staged.head.content != head.content {
                return (refuse(self, Refused::OtherContent), None);
            }
            // What is judged is the content, however it was written; what is not whole may
            // come written anew.
            if staged.page.is_some() || staged.head.bytes == head.bytes {
                let asks = (head.codec, head.model);
                if asks != (staged.head.codec, staged.head.model) {
                    (staged.head.codec, staged.head.model) = asks;
                    // The page is written anew for who asks.
                    staged.page = None;
                }
                return self.stage_first(head);
            }
        }
        if head.bytes as usize > CHANGESET_BYTES_MAX
            || usize::from(head.parts) != (head.bytes as usize).div_ceil(PART_BYTES_MAX)
        {
            let reason = alloc::format!(
                "changeset of {} bytes in {} parts, at most {CHANGESET_BYTES_MAX} are allowed",
                head.bytes,
                head.parts
            );
            return (refuse(self, Refused::TooLarge { reason }), None);
        }
        // Whoever goes on has the page of the round before, or says that it has not.
        self.attached = None;
        self.staged = Some(Staged {
            round,
            head: Prepare { first: Vec::new(), ..head.clone() },
            have: PartSet::none(head.parts),
            page: None,
        });
        let (mut step, todo) = self.stage_first(head);
        step.writes.insert(0, Write::DropStaged);
        (step, todo)
    }

    /// A head, new or repeated: take its first part, then tell where things stand.
    fn stage_first(self, head: &Prepare) -> (HubStep, Option<Todo>) {
        let first = Part { index: 0, bytes: head.first.clone() };
        let repeated = head.first.is_empty();
        let (step, todo) = self.stage(&first);
        let staged = step.next.staged.as_ref().expect("a head is staged");
        match (&staged.page, todo) {
            (_, Some(todo)) => (step, Some(todo)),
            (Some(_), None) => (step.say(Say::Prepared { first: true }), None),
            (None, None) if staged.have.is_whole() => (step, Some(Todo::Judge)),
            (None, None) if repeated => {
                let missing = staged.have.missing();
                (step.say(Say::Body(DownBody::Staged { missing })), None)
            }
            // The other parts follow on the heels of a first head.
            (None, None) => (step, None),
        }
    }

    fn hear_part(self, round: u64, part: &Part) -> (HubStep, Option<Todo>) {
        match &self.staged {
            Some(staged) if staged.round == round => self.stage(part),
            _ => (Step::ignore(self, "a part without its head"), None),
        }
    }

    fn stage(mut self, part: &Part) -> (HubStep, Option<Todo>) {
        let staged = self.staged.as_mut().expect("a head is staged");
        let from = usize::from(part.index) * PART_BYTES_MAX;
        let len = (staged.head.bytes as usize).saturating_sub(from).min(PART_BYTES_MAX);
        if part.bytes.len() != len || !staged.have.add(part.index) {
            return (Step::to(self), None);
        }
        let todo = staged.have.is_whole().then_some(Todo::Judge);
        (Step::to(self).write(Write::StagePart(part.clone())), todo)
    }

    fn hear_fetch(self, round: u64, missing: &[(u16, u16)]) -> HubStep {
        let parts = match &self.staged {
            Some(Staged { round: staged, page: Some(page), .. }) if *staged == round => page.parts,
            _ => return refuse(self, Refused::NotPrepared),
        };
        if missing.iter().any(|(_, last)| *last >= parts) {
            // The page was written anew since: another one is asked for.
            return Step::to(self).say(Say::Prepared { first: true });
        }
        let wanted = PartSet::none(parts).add_stretches(missing);
        wanted.into_iter().map(Say::PagePart).fold(Step::to(self), Step::say)
    }

    fn hear_commit(self, round: u64) -> (HubStep, Option<Todo>) {
        match &self.staged {
            Some(Staged { round: staged, page: Some(_), .. }) if *staged == round => {
                (Step::to(self), Some(Todo::Commit))
            }
            _ => (refuse(self, Refused::NotPrepared), None),
        }
    }

    fn hear_abort(mut self, round: u64) -> HubStep {
        self.floor = round.saturating_add(1);
        (self.staged, self.attached) = (None, None);
        let floor = self.floor;
        Step::to(self).write(Write::DropStaged).say(Say::Body(DownBody::Aborted { floor }))
    }
}

impl Default for HubRound {
    fn default() -> HubRound {
        HubRound::new()
    }
}

fn refuse(state: HubRound, refused: Refused) -> HubStep {
    Step::to(state).say(Say::Body(DownBody::Refused(refused)))
}

/// The head of a page for whoever stands there: as encoded plainly, and as it travels.
pub fn page_head(stand: Stand, plain: &[u8], page: &[u8]) -> PageHead {
    let (bytes, parts) = (page.len() as u32, parts_of(page.len()));
    PageHead { hash: page_hash(stand, plain), bytes, parts }
}
