//! What a gateway makes of the hub's answers.
//!
//! Every pair of phase and message has its outcome here; what leads to nothing
//! says why, for the log. A breach by the hub is ignored, never believed.
use alloc::vec::Vec;

use super::{GatewayRound, GatewayStep, PageHead, Phase, Say, Write};
use crate::id::RunId;
use crate::limits::{DOWNLINK_BYTES_MAX, PART_BYTES_MAX};
use crate::round::{PartSet, Step};
use crate::wire::coded::ModelName;
use crate::wire::message::{Committed, Down, DownBody, Part, Prepared, Refused, chain};

impl GatewayRound {
    pub(super) fn hear(mut self, down: &Down) -> GatewayStep {
        match down.body {
            DownBody::News { .. } => {
                return Step::ignore(self, "news is a hint for the worker");
            }
            // A hub that has started anew cannot tell from a brief message which one is meant.
            DownBody::Unclear if down.round == self.round => return self.hear_unclear(),
            _ => {}
        }
        if down.known != self.hub && down.hub != self.hub {
            return Step::ignore(self, "not from the hub that this gateway knows");
        }
        if matches!(down.body, DownBody::Refused(Refused::Restored { .. }))
            && (down.known != self.hub || self.hub == RunId::NONE)
        {
            return Step::ignore(self, "of a hub that this gateway does not know already");
        }
        if down.round != self.round || self.is_idle() {
            return Step::ignore(self, "about another round");
        }
        // Why a round had to be aborted stays known, or it would begin again at once.
        if !matches!(down.body, DownBody::Refused(_) | DownBody::Aborted { .. }) {
            self.refused = None;
        }
        match &down.body {
            DownBody::Staged { missing } => self.hear_staged(missing),
            DownBody::OtherModel { codec, of, holds } => self.hear_other_model(*codec, *of, holds),
            DownBody::Prepared(prepared) => self.hear_prepared(prepared),
            DownBody::Part(part) => self.hear_part(part),
            DownBody::Committed(committed) => self.hear_committed(down.hub, committed),
            DownBody::Aborted { floor } => self.hear_aborted(*floor),
            DownBody::Refused(refused) => self.hear_refused(refused),
            DownBody::News { .. } | DownBody::Unclear => unreachable!("handled above"),
        }
    }

    /// What was said in brief is said whole.
    fn hear_unclear(self) -> GatewayStep {
        match self.phase {
            Phase::Preparing { .. } => Step::to(self).say(Say::Prepare { first: true }),
            _ => Step::ignore(self, "nothing was said in brief"),
        }
    }

    fn hear_staged(mut self, missing: &[(u16, u16)]) -> GatewayStep {
        let Phase::Preparing { sent, .. } = &mut self.phase else {
            return Step::ignore(self, "the hub has the whole changeset");
        };
        let wanted = sent.add_stretches(missing);
        wanted.into_iter().map(Say::Part).fold(Step::to(self), Step::say)
    }

    /// What the hub cannot read is written anew: the round stays the same.
    fn hear_other_model(
        self,
        codec: u8,
        of: Option<ModelName>,
        holds: &[ModelName],
    ) -> GatewayStep {
        let Phase::Preparing { changeset, .. } = &self.phase else {
            return Step::ignore(self, "the hub has read the changeset");
        };
        if changeset.bytes == 0 {
            return Step::ignore(self, "there is nothing to write anew");
        }
        Step::to(self).write(Write::Recode { codec, of, holds: holds.to_vec() })
    }

    fn hear_prepared(mut self, prepared: &Prepared) -> GatewayStep {
        let page = PageHead { hash: prepared.page, bytes: prepared.bytes, parts: prepared.parts };
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
            step_writes.push(Write::StagePart(Part { index: 0, bytes: prepared.first.clone() }));
        }
        self.phase = Phase::Fetching { changeset, page, have };
        step_writes.into_iter().fold(Step::to(self), Step::write)
    }

    fn hear_part(mut self, part: &Part) -> GatewayStep {
        let Phase::Fetching { changeset, page, have } = &mut self.phase else {
            return Step::ignore(self, "no page is fetched");
        };
        if part.index >= page.parts || part.bytes.len() != part_len(page, part.index) {
            // Of another one, that the hub may have put together since.
            let changeset = changeset.clone();
            return self.ask_again(changeset);
        }
        if !have.add(part.index) {
            return Step::ignore(self, "the part is already here");
        }
        Step::to(self).write(Write::StagePart(part.clone()))
    }

    /// The hub has decided. It may answer a Prepare so, or a Commit, or in the place of Aborted.
    fn hear_committed(mut self, hub: RunId, committed: &Committed) -> GatewayStep {
        let changeset = self.changeset().expect("a round is open").clone();
        let follows = committed.chain == chain(self.chain, changeset.content, &committed.outcomes);
        match (follows, &self.phase) {
            (true, _) => {}
            // Another box has used this number: ours is never to be under it.
            (false, Phase::Aborting { .. }) => return self.hear_aborted(0),
            (false, _) => return self.give_up(changeset),
        }
        let counted: u64 = committed.outcomes.iter().map(|(count, _)| u64::from(*count)).sum();
        if counted != u64::from(changeset.changes) {
            return Step::ignore(self, "outcomes of more or fewer changes");
        }
        if let Some(page) = &committed.page {
            if page.bytes.is_empty() || page.bytes.len() > PART_BYTES_MAX {
                return Step::ignore(self, "a page of impossible size");
            }
            // It is the page of this round, whatever was staged before.
            self.phase = Phase::Answered { changeset, hub, committed: committed.clone() };
            return Step::to(self);
        }
        let to = match self.phase {
            Phase::Committing { to, .. } if committed.paged => Some(to),
            _ => None,
        };
        self.finish(hub, committed.clone(), to)
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
        let before = self.refused.replace(refused.clone());
        match (refused, &self.phase) {
            // Commit has not left: the round may still be given up, if the hub agrees.
            (
                Refused::OtherContent | Refused::Undecodable { .. } | Refused::TooLarge { .. },
                Phase::Preparing { changeset, .. } | Phase::Fetching { changeset, .. },
            ) => {
                let changeset = changeset.clone();
                self.give_up(changeset)
            }
            // The hub that had been asked to commit is no more.
            (Refused::Restored { line }, _) => {
                let next =
                    GatewayRound { round: self.round.saturating_add(1), ..GatewayRound::new() };
                Step::to(next).write(Write::Drop).write(Write::Restart { line: line.clone() })
            }
            // The same after Commit may have left: only the hub knows what became of it.
            (Refused::BelowFloor { floor }, Phase::Fetching { .. } | Phase::Committing { .. })
                if *floor > self.round =>
            {
                let changeset = self.changeset().expect("a round is open").clone();
                self.refused = None;
                self.give_up(changeset)
            }
            // Decided long ago without us: its number is used up. The next one tells
            // whether the hub goes on with us.
            (Refused::BelowFloor { floor }, Phase::Preparing { .. } | Phase::Aborting { .. })
                if *floor > self.round =>
            {
                self.refused = before.filter(|_| matches!(self.phase, Phase::Aborting { .. }));
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
                self.refused = None;
                self.ask_again(changeset)
            }
            _ => Step::to(self),
        }
    }
}

fn part_len(page: &PageHead, index: u16) -> usize {
    (page.bytes as usize - usize::from(index) * PART_BYTES_MAX).min(PART_BYTES_MAX)
}
