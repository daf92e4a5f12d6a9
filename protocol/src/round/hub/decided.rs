//! What the hub makes of a whole changeset, and says of the round that it committed last.
//!
//! A delegated changeset is committed as soon as it is judged, if its page fits the answer.
//! That page is kept until the gateway goes on: whoever asks again is told the same, and
//! whoever cannot read it gets it written otherwise.
use alloc::vec::Vec;

use super::{AttachedPage, HubRound, HubStep, Judged, Say, Staged, Todo, Unread, Write, refuse};
use crate::id::RunId;
use crate::limits::{DELEGATED_CHANGES_MAX, PART_BYTES_MAX};
use crate::round::Step;
use crate::round::gateway::PageHead;
use crate::wire::coded::CODEC_NEWEST;
use crate::wire::message::{
    Attached, Committed, DownBody, Outcome, Prepare, Refused, Up, UpBody, chain,
};

impl Staged {
    /// Whether the hub decides as soon as it has judged, and the page goes with the answer.
    fn is_alone(&self, judged: &Judged) -> bool {
        self.head.delegated
            && self.head.parts <= 1
            && judged.changes <= DELEGATED_CHANGES_MAX
            && judged.page.parts == 1
            && judged.plain_bytes <= PART_BYTES_MAX
    }
}

impl HubRound {
    /// The result of [`Todo::Judge`]; what was delegated is decided next.
    pub fn judged(mut self, result: Result<Judged, Unread>) -> (HubStep, Option<Todo>) {
        let staged = self.staged.as_mut().expect("what is judged is staged");
        assert!(staged.have.is_whole() && staged.page.is_none(), "judged once, when whole");
        match result {
            Ok(judged) => {
                let alone = staged.is_alone(&judged);
                let parts = judged.page.parts;
                staged.page = Some(judged.page);
                if alone {
                    let Prepare { codec, model, .. } = staged.head;
                    let (stand, page) = (staged.head.stand(), staged.page.clone());
                    self.attached = page.map(|page| AttachedPage { page, stand, codec, model });
                    return (Step::to(self), Some(Todo::Commit));
                }
                let step = Step::to(self).say(Say::Prepared { first: true });
                ((1..parts).fold(step, |step, index| step.say(Say::PagePart(index))), None)
            }
            Err(unread) => {
                self.staged = None;
                let body = match unread {
                    Unread::Refused(refused) => DownBody::Refused(refused),
                    Unread::OtherModel { of, holds } => {
                        DownBody::OtherModel { codec: CODEC_NEWEST, of, holds }
                    }
                };
                (Step::to(self).say(Say::Body(body)).write(Write::DropStaged), None)
            }
        }
    }

    /// The result of [`Todo::Commit`]: what became of the changes, in their order. `run`: the
    /// gateway's, that asked for it.
    pub fn decided(mut self, run: RunId, outcomes: Vec<(u32, Outcome)>, more: bool) -> HubStep {
        self.run = run;
        let staged = self.staged.take().expect("what is decided was staged");
        assert!(staged.page.is_some(), "what is decided was prepared");
        assert_eq!(staged.head.parent, self.chain, "the chain has one successor");
        self.chain = chain(self.chain, staged.head.content, &outcomes);
        self.floor = staged.round.saturating_add(1);
        let chain = self.chain;
        let committed = Committed { outcomes, chain, paged: true, more, page: None };
        self.last = Some((staged.round, committed));
        let write = if self.attached.is_some() { Write::DropParts } else { Write::DropStaged };
        Step::to(self).write(write).say(Say::Committed)
    }

    /// The result of [`Todo::Rewrite`].
    pub fn rewritten(mut self, page: PageHead) -> HubStep {
        let kept = self.attached.as_mut().expect("what is written anew is kept");
        assert_eq!(page.parts, 1, "it goes along with an answer");
        kept.page = page;
        Step::to(self).say(Say::Committed)
    }

    /// The answer about the round that was committed last. Its page goes along to everybody
    /// who may be its own: of two copies of a box that stand apart it is good for one alone.
    pub(super) fn committed(&self, up: &Up, page: &[u8]) -> Committed {
        let (_, committed) = self.last.as_ref().expect("a round was committed");
        let others = |kept: &AttachedPage| match &up.body {
            UpBody::Prepare(head) => head.stand() != kept.stand,
            UpBody::Part(_) | UpBody::Fetch { .. } | UpBody::Commit | UpBody::Abort => false,
        };
        let attached = self.attached.as_ref().filter(|kept| !others(kept)).map(|kept| {
            assert_eq!(kept.page.bytes as usize, page.len(), "the stored page is the kept one");
            Attached { hash: kept.page.hash, bytes: page.to_vec() }
        });
        Committed { page: attached, ..committed.clone() }
    }

    pub(super) fn hear_old(mut self, up: &Up) -> (HubStep, Option<Todo>) {
        let step = match (&self.last, &up.body) {
            (Some((round, _)), UpBody::Part(_)) if *round == up.round => {
                Step::ignore(self, "a part of a round that is committed")
            }
            (Some((round, committed)), UpBody::Prepare(head))
                if *round == up.round && committed.answers(head) =>
            {
                if let Some(kept) = &mut self.attached
                    && kept.stand == head.stand()
                    && (kept.codec, kept.model) != (head.codec, head.model)
                {
                    (kept.codec, kept.model) = (head.codec, head.model);
                    return (Step::to(self), Some(Todo::Rewrite));
                }
                Step::to(self).say(Say::Committed)
            }
            // Whoever fetches was told of another page, before this round was decided.
            (Some((round, _)), UpBody::Fetch { .. } | UpBody::Commit | UpBody::Abort)
                if *round == up.round =>
            {
                Step::to(self).say(Say::Committed)
            }
            (_, UpBody::Abort) => {
                let floor = self.floor;
                Step::to(self).say(Say::Body(DownBody::Aborted { floor }))
            }
            (_, UpBody::Part(_)) => Step::ignore(self, "a part of a round that is over"),
            (_, UpBody::Prepare(_) | UpBody::Fetch { .. } | UpBody::Commit) => {
                let floor = self.floor;
                refuse(self, Refused::BelowFloor { floor })
            }
        };
        (step, None)
    }
}
