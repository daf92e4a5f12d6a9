//! What happens on one connection: questions, answers, deadlines, probes.
//!
//! A link that brings no answer to three questions in a row is given up and made
//! anew, whatever the sockets claim.
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};
use wadi_protocol::wire::message::{DownBody, Refused};

use super::frugal::{COUNT_EVERY, Leave};
use super::waits::Waits;
use super::{Ended, Worker};
use crate::control::Met;
use crate::mqtt::{Link, LinkError};
use crate::patience::{UNANSWERED_MAX, at};
use crate::spending::Gate;
use crate::store::thread::{OwnedInput, RoundAnswer};

/// Messages in a row that are garbage or answer nothing: a broker that floods us
/// with more is left.
const USELESS_MAX: u32 = 64;
/// Refusals of the hub are answered by a calm of this many deadlines at least.
const CALM_DEADLINES: u32 = 6;

impl Worker {
    pub(super) async fn session(
        &mut self,
        link: &mut Link,
        patience: Option<Duration>,
        progressed: &mut bool,
    ) -> Result<Ended, LinkError> {
        let until = patience.map(|patience| Instant::now() + patience);
        // What came before the first round goes with it, or with those behind it.
        self.activity.mark_unchanged();
        let mut waits = Waits::new(self.interval, *self.desk.wanted.borrow_and_update());
        // An open round is asked about; else one begins, if only to hear the news.
        let answer = self.handle.round(OwnedInput::Retry).await;
        if !answer.idle {
            self.send(link, answer, &mut waits).await?;
        } else if !self.begin(link, &mut waits).await? {
            return Ok(Ended::Held);
        }
        loop {
            tokio::select! {
                heard = link.next() => {
                    let heard = heard?;
                    if let Some(answer) = self.hear(&heard, &mut waits).await? {
                        *progressed = true;
                        self.pace.works();
                        let done = answer.idle && !answer.pending && !answer.more;
                        let refused = self.note_refusal(&answer, &mut waits);
                        self.send(link, answer, &mut waits).await?;
                        let failed = refused.as_ref().map(ToString::to_string);
                        if done || failed.is_some() {
                            // What is refused is refused to everybody who asks now.
                            let all = *self.desk.wanted.borrow();
                            let request = if failed.is_some() { all } else { waits.meets };
                            self.desk.met.send_replace(Met { request, failed });
                        }
                        match refused {
                            Some(refused) if until.is_some() => return Err(refused),
                            None if done && until.is_some() => return Ok(Ended::Done),
                            None if done && waits.frugal => waits.lingers(),
                            None if done && self.leaves(&waits) => return Ok(Ended::Left),
                            _ => {}
                        }
                    }
                }
                () = at(waits.ask_again) => {
                    waits.unanswered += 1;
                    if waits.unanswered >= UNANSWERED_MAX {
                        return Err(LinkError::silent(waits.unanswered));
                    }
                    if self.is_shut().await {
                        return Ok(Ended::Held);
                    }
                    let answer = self.handle.round(OwnedInput::Retry).await;
                    self.send(link, answer, &mut waits).await?;
                }
                change = self.route.changed() => {
                    if change.up {
                        self.pace.link_came_up_meanwhile(Instant::now());
                    }
                    link.check_address()?;
                    waits.links_changed();
                }
                () = at(waits.probe) => {
                    if let Some(unlogged) = self.routes.may_log() {
                        info!(phase = "route", unlogged, "links have changed: is the broker still there?");
                    }
                    waits.probed();
                    link.probe();
                }
                _ = self.desk.wanted.changed() => waits.person_asks(),
                _ = self.activity.changed() => {
                    self.target.carrier.used(Instant::now());
                    waits.changes_came();
                }
                () = at(waits.gather) => if !self.begin(link, &mut waits).await? {
                    return Ok(Ended::Held);
                },
                () = sleep_until(waits.interval) => if !self.begin(link, &mut waits).await? {
                    return Ok(Ended::Held);
                },
                () = at(waits.linger) => return Ok(Ended::Held),
                () = sleep_until(waits.count) => {
                    waits.count = Instant::now() + COUNT_EVERY;
                    // To keep an idle link costs as well.
                    let idle = waits.ask_again.is_none() && waits.linger.is_none();
                    if idle && self.leave().await.0 != Leave::All {
                        return Ok(Ended::Held);
                    }
                }
                () = at(until) => return Err(LinkError::unfinished(patience.unwrap_or_default())),
                _ = self.shutdown.changed() => return Ok(Ended::Done),
            }
        }
    }

    async fn hear(
        &mut self,
        bytes: &[u8],
        waits: &mut Waits,
    ) -> Result<Option<RoundAnswer>, LinkError> {
        self.desk.board.received(bytes.len());
        waits.useless += 1;
        if waits.useless > USELESS_MAX {
            return Err(LinkError::useless(USELESS_MAX));
        }
        let Some(bytes) = self.seal.as_ref().and_then(|seal| seal.open(bytes)) else {
            self.desk.board.unreadable();
            if let Some(unlogged) = self.bridle.may_log() {
                let bytes = bytes.len();
                warn!(
                    phase = "session",
                    bytes, unlogged, "a message without the hub's tag was dropped"
                );
            }
            return Ok(None);
        };
        let input = match OwnedInput::read(bytes) {
            Ok(input) => input,
            Err(error) => {
                self.desk.board.unreadable();
                if let Some(unlogged) = self.bridle.may_log() {
                    let bytes = bytes.len();
                    warn!(phase = "session", bytes, unlogged, "from the hub: {error}");
                }
                return Ok(None);
            }
        };
        if let OwnedInput::Heard(down) = &input
            && let DownBody::News { head } = down.body
        {
            debug!(phase = "news", head, "the hub has news");
            self.target.carrier.used(Instant::now());
            waits.news_came();
            return Ok(None);
        }
        // Goes into the transaction of what was heard.
        self.stand(false).await;
        let answer = self.handle.round(input).await;
        if let Some(why) = answer.ignored {
            debug!(phase = answer.stage, round = answer.round, "ignored: {why}");
            return Ok(None);
        }
        (waits.unanswered, waits.useless) = (0, 0);
        Ok(Some(answer))
    }

    /// Whether to leave a link on which nothing is left to do.
    fn leaves(&self, waits: &Waits) -> bool {
        let nothing_waits = waits.gather.is_none() && !waits.again;
        nothing_waits && !self.stay && self.target.carrier.is_to_be_left(self.interval)
    }

    /// Begin a round. While one is open the wish waits for its end. False: the budgets of
    /// data allow none.
    async fn begin(&mut self, link: &Link, waits: &mut Waits) -> Result<bool, LinkError> {
        waits.gather = None;
        waits.interval = Instant::now() + self.interval;
        if waits.ask_again.is_some() {
            waits.again = true;
            return Ok(true);
        }
        let (leave, standing) = self.leave().await;
        if leave == Leave::Nothing {
            // More that is urgent may follow at once.
            let lingers = waits.frugal && matches!(standing.gate, Gate::Urgent(..));
            if lingers {
                self.refuse(&standing);
                waits.lingers();
            }
            return Ok(lingers);
        }
        self.note_round(leave);
        (waits.frugal, waits.linger) = (leave == Leave::Urgent, None);
        waits.meets = *self.desk.wanted.borrow();
        let begin = OwnedInput::Begin { delegate: true, urgent: waits.frugal };
        let answer = self.handle.round(begin).await;
        self.send(link, answer, waits).await?;
        Ok(true)
    }

    /// Send what a step says, and set the next deadline: from now, so that the time
    /// that handing over takes does not come on top.
    async fn send(
        &self,
        link: &Link,
        answer: RoundAnswer,
        waits: &mut Waits,
    ) -> Result<(), LinkError> {
        let asked = Instant::now();
        let seal = self.seal.as_ref().expect("only the enrolled connect");
        let messages: Vec<_> =
            answer.messages.into_iter().map(|message| seal.seal(message)).collect();
        messages.iter().for_each(|message| self.desk.board.sent(message.len()));
        link.send(&self.topic, messages).await?;
        // After a committed round, whatever is left goes on at once.
        let left = answer.more || answer.pending || waits.again;
        if answer.idle && left && answer.refused.is_none() {
            waits.again = false;
            waits.gather = Some(Instant::now());
        }
        let patience = match answer.refused {
            Some(_) => self.calm(waits.refusals),
            None => self.deadlines.answer_after(waits.unanswered),
        };
        waits.ask_again = (!answer.idle).then(|| asked + patience);
        Ok(())
    }

    /// After a refusal there is nothing to be gained by asking often.
    fn note_refusal(&self, answer: &RoundAnswer, waits: &mut Waits) -> Option<LinkError> {
        let Some(refused) = &answer.refused else {
            (waits.refusals, waits.calm_until) = (0, None);
            return None;
        };
        self.desk.board.refused();
        waits.refusals = waits.refusals.saturating_add(1);
        let calm = self.calm(waits.refusals);
        waits.calm_until = Some(Instant::now() + calm);
        let (phase, round, calm_s) = (answer.stage, answer.round, calm.as_secs());
        match needs_a_person(refused) {
            true => error!(phase, round, calm_s, "the hub refuses: {refused}"),
            false => warn!(phase, round, calm_s, "the hub refuses: {refused}"),
        }
        Some(LinkError::refused(refused))
    }

    /// How long to wait after so many refusals in a row.
    fn calm(&self, refusals: u32) -> Duration {
        let least = self.deadlines.answer * CALM_DEADLINES;
        (least * (1 << refusals.saturating_sub(1).min(8))).min(self.retry_max.max(least))
    }
}

/// Whether no round can be until somebody has acted, here or at the hub.
fn needs_a_person(refused: &Refused) -> bool {
    match refused {
        Refused::UnknownGateway
        | Refused::OtherParent
        | Refused::OtherHub
        | Refused::Stopped
        | Refused::Revoked
        | Refused::Replaced => true,
        Refused::BelowFloor { .. }
        | Refused::OtherContent
        | Refused::Undecodable { .. }
        | Refused::NotPrepared
        | Refused::Restored { .. }
        | Refused::TooLarge { .. } => false,
    }
}
