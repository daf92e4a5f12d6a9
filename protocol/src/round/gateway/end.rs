//! How a gateway comes to the end of a round: its page looked at, the hub's answer taken,
//! or out of it, if the hub agrees.
use super::{Changeset, Check, GatewayRound, GatewayStep, Phase, Say, Write};
use crate::id::RunId;
use crate::round::{PartSet, Step};
use crate::schema::LANES;
use crate::wire::coded::writing;
use crate::wire::message::{Committed, parts_of, without_page};

impl GatewayRound {
    pub(super) fn checked(mut self, check: Check) -> GatewayStep {
        match self.phase {
            Phase::Fetching { changeset, have, .. } => {
                assert!(have.is_whole(), "a page is checked when it is whole");
                self.phase = Phase::Idle;
                match check {
                    Check::Good(to) => {
                        self.phase = Phase::Committing { changeset, to };
                        Step::to(self).say(Say::Commit)
                    }
                    // Damaged, or meant for another box: the hub is asked what it has for us.
                    Check::Corrupt => self.ask_again(changeset),
                    Check::Unusable => self.give_up(changeset),
                }
            }
            Phase::Answered { changeset, hub, committed } => {
                self.phase = Phase::Idle;
                self.answered(changeset, hub, committed, check)
            }
            _ => panic!("a page is checked only when it is here"),
        }
    }

    /// The page that came with the answer was looked at. The round is committed whatever that
    /// gave: at worst it ends here without its page, and the hub hears so from the chain.
    fn answered(
        self,
        changeset: Changeset,
        hub: RunId,
        committed: Committed,
        check: Check,
    ) -> GatewayStep {
        let attached = committed.page.as_ref().expect("what was checked is attached");
        match check {
            Check::Good(to) => self.finish(hub, committed, Some(to)),
            // Written against a model, it may be that the two ends do not agree about that one,
            // or that another box asked for it: asked again the hub writes it for us, if it
            // has any page for who stands here. That ends, at the latest with a plain page.
            Check::Corrupt if writing(&attached.bytes).model().is_some() => {
                self.ask_again(changeset)
            }
            // Nothing of a plain page depends on who reads it but where that one stands: it is
            // that of another box, a copy of this one, and the hub has none for us.
            Check::Corrupt | Check::Unusable => self.finish(hub, committed, None),
        }
    }

    /// The round is over. `to`: where the cursors stand behind its page, if that is here.
    ///
    /// Only now is the hub the one that this gateway goes on with: before, a restored one
    /// may have spoken to a copy of this box, and the cursors are those of the lost one.
    pub(super) fn finish(
        mut self,
        hub: RunId,
        committed: Committed,
        to: Option<[u64; LANES]>,
    ) -> GatewayStep {
        self.hub = hub;
        self.cursors = to.unwrap_or(self.cursors);
        // The hub said what it had to say to whoever had the page: it must hear that we had not.
        self.chain = if to.is_some() { committed.chain } else { without_page(committed.chain) };
        self.round = self.round.saturating_add(1);
        self.phase = Phase::Idle;
        Step::to(self).write(Write::Finish { committed, paged: to.is_some() })
    }

    /// The same content again, from its head: what the hub has of it is not known.
    pub(super) fn ask_again(mut self, changeset: Changeset) -> GatewayStep {
        let sent = PartSet::none(parts_of(changeset.bytes as usize));
        self.phase = Phase::Preparing { changeset, sent };
        Step::to(self).write(Write::DropPage).say(Say::Prepare { first: false })
    }

    /// Out of the round, if the hub agrees.
    pub(super) fn give_up(mut self, changeset: Changeset) -> GatewayStep {
        self.phase = Phase::Aborting { changeset };
        Step::to(self).write(Write::DropPage).say(Say::Abort)
    }
}
