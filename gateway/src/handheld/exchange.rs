//! What is said in a sync, without the link that carries it: the collector asks, the
//! store answers, and what is heard is durable before the next question.
//!
//! It outlives links: a change that a gateway refused is not offered to it again, and
//! what one link found out the next one need not.
use std::collections::BTreeSet;

use wadi_protocol::id::Dot;
use wadi_protocol::link::collector::{
    Collector, Failure, Heard, Opening, Phase, Supplied, Timing, Turn,
};
use wadi_protocol::link::message::Fate;

use super::store::{Offer, Pin, SITES_MAX, Store, StoreError};
use super::synced::{SyncError, Synced};
use crate::noise::key::PublicKey;

/// Changes refused one by one before a sync ends: then it is not about them.
const REFUSED_MAX: usize = 256;

/// What the link is to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Send this message.
    Send {
        /// Its bytes, not sealed yet.
        bytes: Vec<u8>,
        /// Whether there is doubt about the line: end first what may be on it.
        doubtful: bool,
    },
    /// Nothing before this time, unless a message comes.
    Wait {
        /// Milliseconds on the clock that `now_ms` comes from.
        until_ms: u64,
    },
    /// Everything was exchanged.
    Done,
    /// This link came to nothing.
    Failed(Failure),
}

/// A sync's part above its links.
pub struct Exchange<'a> {
    store: &'a mut Store,
    schema_only: bool,
    synced: Synced,
    offer: Option<Offer>,
    /// Groups to be offered one by one, to find the one that is refused.
    suspects: usize,
    skipped: BTreeSet<i64>,
    /// How far fates were asked.
    asked: Option<Dot>,
    /// Fates were told in this round of questions that send changes out again.
    again: bool,
    /// How often unknown changes were offered again.
    rounds: u32,
}

impl<'a> Exchange<'a> {
    /// Of a store; `schema_only` = learn the schema and end.
    pub fn new(store: &'a mut Store, schema_only: bool) -> Exchange<'a> {
        Exchange {
            store,
            schema_only,
            synced: Synced::default(),
            offer: None,
            suspects: 0,
            skipped: BTreeSet::new(),
            asked: None,
            again: false,
            rounds: 0,
        }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        self.store
    }

    /// What came of it so far.
    pub fn synced(&mut self) -> &mut Synced {
        &mut self.synced
    }

    /// What grows only when a link brings something.
    pub fn fruit(&self) -> (u64, u64, u64, usize) {
        (self.synced.offered, self.synced.durable, self.synced.pulled, self.skipped.len())
    }

    /// A new link: look at what other processes wrote.
    pub fn link(&mut self) -> Result<(), StoreError> {
        (self.asked, self.again, self.offer) = (None, false, None);
        self.store.refresh()
    }

    /// The questions of a link, counted from a random `number`.
    pub fn collector(&self, timing: Timing, number: u32) -> Collector {
        let device = self.store.device();
        let opening = Opening {
            device: device.id,
            label: device.label.clone(),
            schema: self.store.schema().map_or(0, |schema| schema.version),
            feed: self.store.feed(),
        };
        Collector::new(opening, timing, number)
    }

    /// Go on until the link has something to do. `gateway` is the key at its other end;
    /// `tell` hears of every step.
    pub fn turn(
        &mut self,
        collector: &mut Collector,
        gateway: PublicKey,
        (now_ms, now_s): (u64, u64),
        tell: &mut dyn FnMut(&Synced),
    ) -> Result<Next, SyncError> {
        loop {
            match collector.turn(now_ms) {
                Turn::Send { bytes, doubtful } => return Ok(Next::Send { bytes, doubtful }),
                Turn::Wait { until_ms } => return Ok(Next::Wait { until_ms }),
                Turn::Heard(heard) => {
                    if let Heard::Welcome(welcome) = &heard {
                        self.know(&welcome.site, gateway, now_s)?;
                    }
                    self.heard(heard, now_s)?;
                    tell(&self.synced);
                }
                Turn::Supply(Phase::Offers) if self.schema_only => return Ok(Next::Done),
                Turn::Supply(phase) => {
                    let next = self.supply(phase)?;
                    if let Err(error) = collector.supply(next) {
                        let reason = error.to_string();
                        return Ok(Next::Failed(Failure::Refused { phase, reason }));
                    }
                }
                Turn::Done => {
                    self.store.write(now_s, |work| work.synced())?;
                    return Ok(Next::Done);
                }
                Turn::Failed(failure) => return Ok(Next::Failed(failure)),
            }
        }
    }

    /// The groups of a refused offer are offered one by one; the one that is
    /// refused alone stays here, and the others go on.
    pub fn offer_refused(&mut self, reason: String, now_s: u64) -> Result<(), SyncError> {
        let Some(offer) = self.offer.take() else {
            return Ok(());
        };
        if offer.groups > 1 {
            self.suspects = offer.groups;
        } else if self.skipped.len() >= REFUSED_MAX {
            return Err(SyncError::Refused(reason));
        } else {
            self.store.write(now_s, |work| work.refused(&offer.places, &reason))?;
            self.synced.refused += offer.places.len() as u64;
            self.synced.refusal = reason;
            self.skipped.extend(offer.places);
            self.suspects = self.suspects.saturating_sub(1);
        }
        Ok(())
    }

    /// Whether the gateway is the one that we know of its site; a new one is believed.
    fn know(&mut self, site: &str, found: PublicKey, now_s: u64) -> Result<(), SyncError> {
        match self.store.write(now_s, |work| work.pin(site, found))? {
            Pin::Same => Ok(()),
            Pin::First => {
                self.synced.met = Some((site.to_owned(), found));
                Ok(())
            }
            Pin::Other(known) => Err(SyncError::OtherKey { site: site.to_owned(), known, found }),
            Pin::Full => Err(SyncError::Unclear(format!(
                "site {site:?} is new, and this file knows {SITES_MAX} sites: \
                 make room with `wadi-handheld forget SITE`"
            ))),
        }
    }

    /// Make durable what a gateway said.
    fn heard(&mut self, heard: Heard, now_s: u64) -> Result<(), StoreError> {
        match heard {
            Heard::Welcome(welcome) => {
                self.store.write(now_s, |work| work.welcome(&welcome))?;
                self.synced.site = welcome.site;
            }
            Heard::Schema(bytes) => {
                self.store.write(now_s, |work| work.install_schema(&bytes))?;
                self.synced.schema = self.store.schema().map(|schema| schema.version);
            }
            Heard::Taken => {
                let offer = self.offer.take().expect("only an offer is taken");
                self.store.write(now_s, |work| work.taken(&offer.places))?;
                self.synced.offered += offer.places.len() as u64;
                self.suspects = self.suspects.saturating_sub(1);
            }
            Heard::Fates(fates) => {
                let (durable, unknown) = self.store.write(now_s, |work| work.fates(&fates))?;
                self.again |= unknown > 0;
                self.synced.durable += durable;
                let held = |fate: &Fate| matches!(fate, Fate::Parked | Fate::Quarantined { .. });
                let spans = fates.iter().filter(|(.., fate)| held(fate));
                self.synced.held_back += spans
                    .map(|(_, _, first, last, _)| last.saturating_sub(*first) + 1)
                    .sum::<u64>();
            }
            Heard::Page(page) => {
                self.synced.pulled += self.store.write(now_s, |work| work.page(&page))?.rows;
            }
        }
        Ok(())
    }

    fn supply(&mut self, phase: Phase) -> Result<Supplied, StoreError> {
        Ok(match phase {
            Phase::Offers => self.next_offer()?,
            Phase::Fates => {
                let (spans, last) = self.store.undecided(self.asked)?;
                if !spans.is_empty() {
                    self.asked = last;
                    return Ok(Supplied::Fates(spans));
                }
                // What this gateway does not know is offered again, once.
                if std::mem::take(&mut self.again) && self.rounds == 0 {
                    self.rounds += 1;
                    return self.next_offer();
                }
                Supplied::Nothing
            }
            Phase::Pulls => Supplied::Pull(self.store.feed()),
            Phase::Hello | Phase::Schema => unreachable!("the collector asks these by itself"),
        })
    }

    fn next_offer(&mut self) -> Result<Supplied, StoreError> {
        let groups_max = if self.suspects > 0 { 1 } else { usize::MAX };
        let offer = self.store.offer(groups_max, &self.skipped)?;
        Ok(match offer {
            Some(offer) => {
                let batch = offer.batch.clone();
                self.offer = Some(offer);
                Supplied::Offer(batch)
            }
            None => Supplied::Nothing,
        })
    }
}
