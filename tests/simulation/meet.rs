//! A phone at a gateway: the real exchange and the real answers, over a link that loses,
//! doubles and is cut.
use std::collections::VecDeque;

use wadi_gateway::handheld::exchange::{Exchange, Next};
use wadi_gateway::handheld::synced::SyncError;
use wadi_gateway::reception::speaks_for;
use wadi_gateway::store::handhelds::Admit;
use wadi_gateway::store::{Store, StoreError};
use wadi_protocol::limits::SCHEMA_PIECE_BYTES_MAX;
use wadi_protocol::link::collector::{Failure, Phase, Timing};
use wadi_protocol::link::message::{Answer, AnswerBody};
use wadi_protocol::link::station::{Question, Reaction, Station, bytes_of};

use crate::disk;
use crate::world::{Outcome, World};

/// What is said in one sync, at most: it comes to an end.
const TURNS_MAX: usize = 5_000;

/// Which end failed.
enum Failed {
    Phone(SyncError),
    Village(StoreError),
}

impl World {
    pub fn meet_somewhere(&mut self) -> Outcome<()> {
        let phone = self.dice.index(self.phones.len());
        let village = self.dice.index(self.villages.len());
        self.meet(phone, village).map(drop)
    }

    /// A sync; whether it came to its end.
    pub fn meet(&mut self, at: usize, with: usize) -> Outcome<bool> {
        let (phone, village) = (&mut self.phones[at], &mut self.villages[with]);
        let (Some(own), Some(store)) = (phone.store.as_mut(), village.store.as_mut()) else {
            return Ok(false);
        };
        let number = self.dice.bits() as u32;
        let clocks = (phone.machine.skew.now_s(self.now_s), village.machine.skew.now_s(self.now_s));
        let mut dice = self.dice.fork();
        let (loss, double, cut) = (self.faults.loss, self.faults.double, self.faults.cut_link);
        let key = own.keys().public();
        let mut exchange = Exchange::new(own, false);
        let mut station = Station::new();
        let outcome = (|| -> Result<bool, Failed> {
            exchange.link().map_err(|error| Failed::Phone(error.into()))?;
            let mut collector = exchange.collector(Timing::lan(), number);
            let mut line: VecDeque<Vec<u8>> = VecDeque::new();
            let mut now_ms = 0;
            for _ in 0..TURNS_MAX {
                if dice.permille(cut / 10) {
                    return Ok(false);
                }
                let now = (now_ms, clocks.0);
                let next = exchange.turn(&mut collector, village.key, now, &mut |_| {});
                match next.map_err(Failed::Phone)? {
                    Next::Send { bytes, .. } if !dice.permille(loss) => {
                        let times = 1 + u64::from(dice.permille(double));
                        for _ in 0..times {
                            let said = answer(store, &mut station, key, &bytes, clocks.1);
                            let said = said.map_err(Failed::Village)?;
                            line.extend(said.filter(|_| !dice.permille(loss)));
                        }
                    }
                    Next::Send { .. } => {}
                    Next::Wait { until_ms } => match line.pop_front() {
                        Some(bytes) => {
                            now_ms += 1;
                            collector.hear(&bytes, now_ms);
                        }
                        None => now_ms = until_ms,
                    },
                    Next::Done => return Ok(true),
                    Next::Failed(Failure::Refused { phase: Phase::Offers, reason }) => {
                        exchange.offer_refused(reason, clocks.0).map_err(Failed::Phone)?;
                        return Ok(false);
                    }
                    Next::Failed(_) => return Ok(false),
                }
            }
            Ok(false)
        })();
        let synced = exchange.synced().clone();
        let refused = synced.refused;
        self.tally.note("sync of a handheld");
        let (one, other) =
            (self.phones[at].machine.name.clone(), self.villages[with].machine.name.clone());
        let done = match outcome {
            Ok(done) => done,
            Err(Failed::Phone(error)) => {
                let machine = &self.phones[at].machine;
                if !disk::is_troubled(&machine.folder) && !disk::is_off(&machine.folder) {
                    return Err(format!("{one} at {other}: {error}"));
                }
                self.phone_failed(at)?;
                false
            }
            Err(Failed::Village(error)) => {
                let machine = &self.villages[with].machine;
                if !disk::is_troubled(&machine.folder) && !disk::is_off(&machine.folder) {
                    return Err(format!("{other} for {one}: {error}"));
                }
                self.village_failed(with)?;
                false
            }
        };
        self.tell(|| {
            format!(
                "{one} at {other}: done {done}, {} offered, {} pulled",
                synced.offered, synced.pulled
            )
        });
        if refused > 0 && !self.phones[at].machine.name.is_empty() {
            return Err(format!("{one} at {other}: {refused} refused: {}", synced.refusal));
        }
        if self.villages[with].store.is_some() {
            self.learn_village(with, &[])?;
            self.look_at_village(with)?;
        }
        if self.phones[at].store.is_some() {
            self.look_at_phone(at)?;
        }
        Ok(done)
    }
}

/// What a gateway answers, as its session does; none where it says nothing.
fn answer(
    store: &mut Store,
    station: &mut Station,
    key: wadi_gateway::noise::key::PublicKey,
    bytes: &[u8],
    now_s: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let answer = match station.hear(bytes) {
        Reaction::Answer(answer) => answer,
        Reaction::Store(number, question) => {
            Answer { number, body: ask(store, key, question, now_s)? }
        }
        Reaction::Stale(_) | Reaction::Unreadable(_) => return Ok(None),
    };
    Ok(Some(bytes_of(answer)))
}

fn ask(
    store: &mut Store,
    key: wadi_gateway::noise::key::PublicKey,
    question: Question,
    now_s: u64,
) -> Result<AnswerBody, StoreError> {
    Ok(match question {
        Question::Welcome { feed, label, .. } => {
            store.admit(key.0, &label, Admit::Anyone, now_s)?;
            store.welcome(feed, now_s)?.into()
        }
        Question::Schema { offset } => {
            let schema = store.schema_bytes();
            let from = (offset as usize).min(schema.len());
            let to = (from + SCHEMA_PIECE_BYTES_MAX).min(schema.len());
            AnswerBody::Schema { bytes: schema[from..to].to_vec() }
        }
        Question::Intake(batch) => match speaks_for(key, &batch) {
            Err(reason) => AnswerBody::Refused { reason },
            Ok(()) => match store.intake(&[batch], now_s)?.remove(0) {
                Ok(()) => AnswerBody::Taken,
                Err(error) => error.into(),
            },
        },
        Question::Fates(spans) => AnswerBody::Fates { fates: store.fates(&spans)? },
        Question::Feed { device, feed } => {
            store.drain(now_s)?;
            AnswerBody::Page(store.feed(device, feed)?)
        }
    })
}
