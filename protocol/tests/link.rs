//! Both ends of the link on virtual time, over lines that lose, double, delay
//! and garble. Each test is a situation; a seed decides every fault.
use std::collections::{BTreeSet, VecDeque};

use wadi_protocol::change::{Change, Op, Seen, TableRef};
use wadi_protocol::id::{DeviceId, Dot, RowId, RunId};
use wadi_protocol::link::collector::{
    Collector, Failure, Heard, Opening, Phase, Supplied, Timing, Turn,
};
use wadi_protocol::link::frame::{self, Accumulator, TERMINATOR};
use wadi_protocol::link::message::{Answer, AnswerBody, Fate, FeedCursor, FeedPage};
use wadi_protocol::link::station::{self, Question, Reaction, Station};
use wadi_protocol::stamp::Stamp;
use wadi_protocol::wire::batch::{self, Batch};

const DEVICE: DeviceId = DeviceId(7);
const RUN: RunId = RunId(3);
const GATEWAY: RunId = RunId(9);
const PAGES: u64 = 5;

/// A small linear congruential generator: all the randomness a test line needs.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        sides > 0 && self.roll(sides) == 0
    }
}

/// Faults, each one in so many frames; 0 = never.
#[derive(Clone, Copy, Default)]
struct Faults {
    lose: u64,
    double: u64,
    garble: u64,
    tear: u64,
    babble: u64,
    busy: u64,
}

/// What the gateway has, and the collector's side of the store.
struct World {
    dice: Dice,
    faults: Faults,
    now_ms: u64,
    station: Station,
    heard_by_gateway: Accumulator,
    heard_by_handheld: Accumulator,
    schema: Vec<u8>,
    taken: Vec<u64>,
    to_offer: VecDeque<u64>,
    acknowledged: BTreeSet<u64>,
    unasked: bool,
    durable: BTreeSet<u64>,
    feed: u64,
    /// Answers on the line: when they arrive.
    line: Vec<(u64, Vec<u8>)>,
}

impl World {
    fn new(seed: u64, faults: Faults, changes: u64) -> World {
        World {
            dice: Dice(seed),
            faults,
            now_ms: 0,
            station: Station::new(),
            heard_by_gateway: Accumulator::new(),
            heard_by_handheld: Accumulator::new(),
            schema: (0..20_000).map(|at| (at % 251) as u8).collect(),
            taken: Vec::new(),
            to_offer: (1..=changes).collect(),
            acknowledged: BTreeSet::new(),
            unasked: true,
            durable: BTreeSet::new(),
            feed: 0,
            line: Vec::new(),
        }
    }

    /// What the line makes of bytes sent.
    fn carry(&mut self, mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let Faults { lose, double, garble, tear, babble, .. } = self.faults;
        if self.dice.one_in(garble) {
            let at = self.dice.roll(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << self.dice.roll(8);
        }
        if self.dice.one_in(tear) {
            bytes.truncate(self.dice.roll(bytes.len() as u64) as usize);
        }
        if self.dice.one_in(babble) {
            let mut noise: Vec<u8> = (0..40).map(|_| self.dice.roll(256) as u8).collect();
            noise.append(&mut bytes);
            bytes = noise;
        }
        if self.dice.one_in(lose) {
            return Vec::new();
        }
        if self.dice.one_in(double) {
            return vec![bytes.clone(), bytes];
        }
        vec![bytes]
    }

    fn gateway_hears(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        while let Some(body) = self.heard_by_gateway.next_body(&mut input) {
            let answer = match self.station.hear(&body) {
                Reaction::Answer(answer) => answer,
                Reaction::Store(number, question) => Answer { number, body: self.answer(question) },
                Reaction::Stale(_) | Reaction::Unreadable(_) => continue,
            };
            let frame = frame_of(answer);
            for bytes in self.carry(frame) {
                let delay_ms = 5 + self.dice.roll(100);
                self.line.push((self.now_ms + delay_ms, bytes));
            }
        }
    }

    fn answer(&mut self, question: Question) -> AnswerBody {
        if self.dice.one_in(self.faults.busy) {
            return AnswerBody::Busy { reason: "locked".into(), retry_ms: 100 };
        }
        match question {
            Question::Welcome { .. } => AnswerBody::Welcome {
                site: "north".into(),
                run: GATEWAY,
                schema: 1,
                schema_bytes: self.schema.len() as u32,
                continues: false,
                clock_s: 1,
            },
            Question::Schema { offset } => {
                let from = (offset as usize).min(self.schema.len());
                let to = (from + 8192).min(self.schema.len());
                AnswerBody::Schema { bytes: self.schema[from..to].to_vec() }
            }
            Question::Intake(batch) => {
                for change in batch.changes {
                    if !self.taken.contains(&change.dot.seq) {
                        self.taken.push(change.dot.seq);
                    }
                }
                AnswerBody::Taken
            }
            Question::Fates(spans) => AnswerBody::Fates {
                fates: spans.into_iter().map(|(d, r, a, b)| (d, r, a, b, Fate::Durable)).collect(),
            },
            Question::Feed { feed, .. } => {
                let seq = feed.seq + 1;
                let feed = FeedCursor { run: GATEWAY, seq };
                AnswerBody::Page(FeedPage { feed, more: seq < PAGES, ..FeedPage::default() })
            }
        }
    }

    /// One session, until it ends; virtual time passes only while it waits.
    fn session(&mut self, number: u32) -> Result<(), Failure> {
        let feed = FeedCursor { run: RunId::NONE, seq: self.feed };
        let opening = Opening { device: DEVICE, label: "tab".into(), schema: 0, feed };
        let mut collector = Collector::new(opening, Timing::serial(115_200), number);
        loop {
            assert!(self.now_ms < 10_000_000, "a session ends");
            match collector.turn(self.now_ms) {
                Turn::Send { bytes, doubtful } => {
                    for bytes in self.carry(sent(&bytes, doubtful)) {
                        self.gateway_hears(&bytes);
                    }
                }
                Turn::Wait { until_ms } => self.wait(&mut collector, until_ms),
                Turn::Heard(heard) => self.store(heard),
                Turn::Supply(phase) => {
                    let next = self.supply(phase);
                    collector.supply(next).expect("fits");
                }
                Turn::Done => return Ok(()),
                Turn::Failed(failure) => return Err(failure),
            }
        }
    }

    /// Let time pass until the next bytes arrive or the wait is over.
    fn wait(&mut self, collector: &mut Collector, until_ms: u64) {
        let next = (0..self.line.len()).min_by_key(|&at| self.line[at].0);
        match next {
            Some(at) if self.line[at].0 <= until_ms => {
                let (at_ms, bytes) = self.line.remove(at);
                self.now_ms = self.now_ms.max(at_ms);
                let mut input = &bytes[..];
                while let Some(body) = self.heard_by_handheld.next_body(&mut input) {
                    collector.hear(&body, self.now_ms);
                }
                if self.heard_by_handheld.is_amid() {
                    collector.stirred(self.now_ms);
                }
            }
            _ => self.now_ms = until_ms,
        }
    }

    fn store(&mut self, heard: Heard) {
        match heard {
            Heard::Welcome(welcome) => assert_eq!(welcome.site, "north"),
            Heard::Schema(bytes) => assert_eq!(bytes, self.schema),
            Heard::Taken => {
                let seq = self.to_offer.pop_front().expect("something was offered");
                assert!(self.taken.contains(&seq), "acknowledged before it was taken");
                self.acknowledged.insert(seq);
            }
            Heard::Fates(fates) => {
                for (_, _, first, last, fate) in fates {
                    assert_eq!(fate, Fate::Durable);
                    self.durable.extend(first..=last);
                }
            }
            Heard::Page(page) => {
                assert_eq!(page.feed.seq, self.feed + 1, "pages come once and in order");
                self.feed = page.feed.seq;
            }
        }
    }

    fn supply(&mut self, phase: Phase) -> Supplied {
        match phase {
            Phase::Offers => match self.to_offer.front() {
                Some(&seq) => Supplied::Offer(batch::encode(&Batch {
                    runs: vec![],
                    changes: vec![change(seq)],
                })),
                None => Supplied::Nothing,
            },
            Phase::Fates if std::mem::take(&mut self.unasked) => {
                let last = self.acknowledged.last().copied().unwrap_or(0);
                Supplied::Fates(vec![(DEVICE, RUN, 1, last)])
            }
            Phase::Fates => Supplied::Nothing,
            Phase::Pulls => Supplied::Pull(FeedCursor { run: GATEWAY, seq: self.feed }),
            Phase::Hello | Phase::Schema => unreachable!("these supply themselves"),
        }
    }
}

/// A question on the line; these ends talk without a seal between them.
fn sent(bytes: &[u8], doubtful: bool) -> Vec<u8> {
    let mut frame = Vec::from_iter(doubtful.then_some(TERMINATOR));
    frame.extend(frame::encode(bytes).expect("fits"));
    frame
}

fn frame_of(answer: Answer) -> Vec<u8> {
    frame::encode(&station::bytes_of(answer)).expect("answers fit")
}

fn change(seq: u64) -> Change {
    Change {
        dot: Dot { device: DEVICE, run: RUN, seq },
        stamp: Stamp { seconds: seq, counter: 0 },
        entered_s: seq,
        contained: None,
        schema: 0,
        rights: 0,
        group: None,
        table: TableRef::Name("note".into()),
        row: RowId([1; 16]),
        op: Op::Insert,
        fields: vec![],
        seen: Seen::default(),
        closure: vec![],
    }
}

fn complete(world: &World, changes: u64) {
    let all: BTreeSet<u64> = (1..=changes).collect();
    assert_eq!(world.acknowledged, all);
    assert_eq!(world.taken, Vec::from_iter(1..=changes), "taken in order");
    assert_eq!(world.durable, all);
    assert_eq!(world.feed, PAGES);
}

#[test]
fn a_quiet_line_carries_everything_without_waiting() {
    let mut world = World::new(1, Faults::default(), 50);
    world.session(1).expect("ends well");
    complete(&world, 50);
    assert!(world.now_ms < 7_000, "{} ms", world.now_ms);
}

#[test]
fn loss_noise_and_doubled_frames_only_cost_time() {
    for seed in 0..60 {
        let faults = Faults { lose: 12, double: 6, garble: 9, tear: 11, babble: 7, busy: 15 };
        let mut world = World::new(seed, faults, 40);
        let mut sessions = 0;
        loop {
            let number = world.dice.roll(u32::MAX.into()) as u32;
            let Err(failure) = world.session(number) else {
                break;
            };
            assert!(matches!(failure, Failure::Silent { .. }), "seed {seed}: {failure}");
            sessions += 1;
            world.unasked = true;
            assert!(sessions < 20, "seed {seed}");
        }
        complete(&world, 40);
    }
}

#[test]
fn nobody_there_is_silence_after_the_named_tries() {
    let mut world = World::new(1, Faults { lose: 1, ..Faults::default() }, 1);
    let failure = world.session(1).expect_err("nobody hears");
    assert_eq!(failure, Failure::Silent { phase: Phase::Hello, tries: 8 });
    assert_eq!(failure.to_string(), "the gateway did not answer in 8 tries");
    assert!(world.now_ms < 20_000);
}

#[test]
fn a_gateway_that_stays_busy_is_given_up_and_loses_nothing() {
    let mut world = World::new(1, Faults { busy: 1, ..Faults::default() }, 3);
    let failure = world.session(1).expect_err("always busy");
    assert_eq!(failure, Failure::Busy { reason: "locked".into() });
    assert_eq!(failure.to_string(), "the gateway is busy: locked");
    assert_eq!(world.to_offer.len(), 3);
}

#[test]
fn an_answer_to_a_session_before_is_never_believed() {
    let mut world = World::new(1, Faults::default(), 2);
    // The process died after its offer; the receipt is still on the line.
    for number in 0..10 {
        let old = frame_of(Answer { number, body: AnswerBody::Taken });
        world.line.push((0, old));
    }
    world.session(1_000_000).expect("ends well");
    complete(&world, 2);
}

#[test]
fn an_answer_to_another_question_is_a_breach_and_says_so() {
    let opening =
        Opening { device: DEVICE, label: "tab".into(), schema: 1, feed: FeedCursor::default() };
    let mut collector = Collector::new(opening, Timing::lan(), 5);
    let Turn::Send { bytes, .. } = collector.turn(0) else { panic!("hello first") };
    let Reaction::Store(number, _) = Station::new().hear(&bytes) else { panic!("a hello") };
    collector.hear(&station::bytes_of(Answer { number, body: AnswerBody::Taken }), 10);
    let Turn::Failed(failure) = collector.turn(10) else { panic!("it is over") };
    assert!(failure.to_string().starts_with("the gateway breaks the link's rules: "), "{failure}");
}

#[test]
fn a_gateway_restarted_amid_a_session_asks_for_a_new_hello() {
    let opening =
        Opening { device: DEVICE, label: "tab".into(), schema: 1, feed: FeedCursor::default() };
    let mut collector = Collector::new(opening, Timing::lan(), 5);
    let mut world = World::new(1, Faults::default(), 1);
    let Turn::Send { bytes, .. } = collector.turn(0) else { panic!("hello first") };
    world.gateway_hears(&sent(&bytes, true));
    world.wait(&mut collector, 1_000);
    assert!(matches!(collector.turn(1_000), Turn::Heard(Heard::Welcome(_))));
    world.station = Station::new();
    assert_eq!(collector.turn(1_000), Turn::Supply(Phase::Offers));
    let offer = world.supply(Phase::Offers);
    collector.supply(offer).expect("fits");
    let Turn::Send { bytes, .. } = collector.turn(1_000) else { panic!("the offer goes out") };
    world.gateway_hears(&sent(&bytes, false));
    world.wait(&mut collector, 2_000);
    let Turn::Failed(failure) = collector.turn(2_000) else { panic!("it is over") };
    assert_eq!(failure.to_string(), "the gateway was started anew in mid-session");
    assert!(world.taken.is_empty());
}
