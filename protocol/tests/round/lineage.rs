//! Several boxes under one number: copies of one another, on one bad channel where each
//! hears what the hub says to any of them. Whoever is at the end of the hub's chain has
//! brought just what the hub believes it has; nobody's content is ever committed twice.
use std::collections::BTreeMap;

use wadi_protocol::id::{Hash, RunId};
use wadi_protocol::limits::PART_BYTES_MAX;
use wadi_protocol::round::Step;
use wadi_protocol::round::gateway::{self, Changeset, Check, GatewayRound, Input, WholePage};
use wadi_protocol::round::hub::{self, HubRound, Judged, Todo, Unread, page_head};
use wadi_protocol::wire::message::{self, Down, Outcome, Refused, Up, page_hash, without_page};

use crate::channel::{Arrival, Channel, Dice};
use crate::world::HUB;

/// Bytes of a changeset or a page: none to three parts, a good many of them one.
const BODY_BYTES_MAX: u64 = 9 * PART_BYTES_MAX as u64 / 4;

/// A box: what it stores, and what it has heard to be committed.
#[derive(Clone)]
struct Site {
    state: GatewayRound,
    body: Vec<u8>,
    parts: BTreeMap<u16, Vec<u8>>,
    history: Vec<Hash>,
}

struct World {
    dice: Dice,
    boxes: Vec<Site>,
    hub: HubRound,
    staged: BTreeMap<u16, Vec<u8>>,
    page: Vec<u8>,
    /// What was committed up to a chain hash.
    histories: BTreeMap<Hash, Vec<Hash>>,
    committed: Vec<Hash>,
    channel: Channel,
    begun: u64,
    /// Rounds whose page came with the answer.
    alone: u64,
    /// The parent of the box that came last with another history.
    other: Option<Hash>,
    calm: bool,
}

fn new_box() -> Site {
    Site {
        state: GatewayRound::new(),
        body: Vec::new(),
        parts: BTreeMap::new(),
        history: Vec::new(),
    }
}

impl World {
    fn new(seed: u64) -> World {
        World {
            dice: Dice::seeded(seed),
            boxes: vec![new_box()],
            hub: HubRound::new(),
            staged: BTreeMap::new(),
            page: Vec::new(),
            histories: BTreeMap::from([(Hash::default(), Vec::new())]),
            committed: Vec::new(),
            channel: Channel::default(),
            begun: 0,
            alone: 0,
            other: None,
            calm: false,
        }
    }

    /// A box begins a round: with content of its own, or to fetch.
    fn begin(&mut self, at: usize) {
        self.begun += 1;
        let len =
            if self.dice.roll(3) == 0 { 0 } else { 8 + self.dice.roll(BODY_BYTES_MAX) as usize };
        let mut body = vec![7; len];
        body.iter_mut().zip(self.begun.to_le_bytes()).for_each(|(byte, mark)| *byte = mark);
        let content = Hash::of(&[&body]);
        let changeset = Changeset {
            content,
            bytes: len as u32,
            changes: (len / 50) as u32,
            schema: 1,
            returned: None,
            delegated: self.dice.roll(4) > 0,
        };
        self.boxes[at].body = body;
        self.step(at, Input::Begin(changeset));
    }

    fn crashes(&mut self) -> bool {
        !self.calm && self.dice.roll(12) == 0
    }

    fn step(&mut self, at: usize, input: Input<'_>) {
        let site = &mut self.boxes[at];
        let step = site.state.clone().step(input);
        for write in &step.writes {
            match write {
                gateway::Write::StagePart(part) => {
                    site.parts.insert(part.index, part.bytes.clone());
                }
                gateway::Write::DropPage | gateway::Write::Drop => site.parts.clear(),
                gateway::Write::Restart { .. } => unreachable!("this hub is never restored"),
                gateway::Write::Recode { .. } => unreachable!("this hub reads everything"),
                gateway::Write::Finish { committed, paged } => {
                    site.history.push(site.state.changeset().expect("it was open").content);
                    self.alone += u64::from(*paged && committed.page.is_some());
                    site.parts.clear();
                    let had = step.next.chain == committed.chain;
                    assert_eq!(had, *paged, "box {at} says whether it had the page");
                    assert_eq!(self.histories[&step.next.chain], site.history, "box {at}");
                }
            }
        }
        site.state = step.next.clone();
        let (run, body, state) = (RunId(at as u64 + 1), site.body.clone(), site.state.clone());
        let says = step.committed();
        if !self.crashes() {
            let said = says.iter().map(|say| message::encode(&state.message(say, run, &body)));
            self.channel.up.extend(said);
        }
        let site = &self.boxes[at];
        if let Some(page) = site.state.whole_page() {
            let bytes = match page {
                WholePage::Staged(_) => site.parts.values().flatten().copied().collect::<Vec<u8>>(),
                WholePage::Attached(page) => page.bytes.clone(),
            };
            let good = page.hash() == page_hash(site.state.stand(), &bytes);
            let check = if good { Check::Good([0, 0]) } else { Check::Corrupt };
            self.step(at, Input::Checked(check));
        }
    }

    fn hub_hears(&mut self, up: &Up) {
        if self.hub.is_other_line(up)
            && let message::UpBody::Prepare(head) = &up.body
        {
            match self.hub.has_missed(head) {
                true => self.begin_line(head.parent),
                false => self.other = Some(head.parent),
            }
        }
        let (mut step, mut todo) = self.hub.clone().hear(up);
        self.hub_writes(&step.writes);
        while let Some(next) = todo {
            (step, todo) = self.hub_works(step.next, next);
            self.hub_writes(&step.writes);
        }
        self.hub = step.next.clone();
        let says = step.committed();
        if !self.crashes() {
            for say in says {
                self.channel
                    .down
                    .push(message::encode(&self.hub.message(&say, up, HUB, &self.page)));
            }
        }
    }

    fn hub_writes(&mut self, writes: &[hub::Write]) {
        for write in writes {
            match write {
                hub::Write::StagePart(part) => {
                    self.staged.insert(part.index, part.bytes.clone());
                }
                hub::Write::DropStaged | hub::Write::DropParts => self.staged.clear(),
            }
        }
    }

    fn hub_works(
        &mut self,
        hub: HubRound,
        todo: Todo,
    ) -> (Step<HubRound, hub::Write, hub::Say>, Option<Todo>) {
        let content = hub.staged.as_ref().expect("work is about what is staged").head.content;
        let body: Vec<u8> = self.staged.values().flatten().copied().collect();
        let whole = content == Hash::of(&[&body]);
        match todo {
            // Parts of two boxes came together: what is put together has another hash.
            Todo::Judge if !whole => hub.judged(Err(Unread::Refused(Refused::Undecodable {
                reason: "another hash".into(),
            }))),
            Todo::Judge => {
                let len = 1 + self.dice.roll(BODY_BYTES_MAX) as usize;
                self.page = vec![self.dice.0 as u8; len];
                let stand = hub.staged.as_ref().unwrap().head.stand();
                let page = page_head(stand, &self.page, &self.page);
                hub.judged(Ok(Judged { page, plain_bytes: len, changes: body.len() / 50 }))
            }
            Todo::Commit => {
                assert!(whole, "what was judged is committed");
                let mut history = self.histories[&hub.chain].clone();
                history.push(content);
                assert!(body.is_empty() || !self.committed.contains(&content), "twice");
                self.committed.push(content);
                let changes = (body.len() / 50) as u32;
                let step =
                    hub.decided(RunId(1), vec![(changes, Outcome::Applied { seq: 1 })], false);
                self.histories.insert(without_page(step.next.chain), history.clone());
                self.histories.insert(step.next.chain, history);
                (step, None)
            }
            Todo::Rewrite => unreachable!("every box asks for the same writing"),
        }
    }

    /// What an operator does.
    fn rejoin(&mut self) {
        if let Some(parent) = self.other.take() {
            self.begin_line(parent);
        }
    }

    fn begin_line(&mut self, parent: Hash) {
        self.hub = self.hub.clone().rejoin(parent);
        self.staged.clear();
    }

    fn deliver(&mut self) {
        match self.channel.take(&mut self.dice, self.calm) {
            None => {}
            Some(Arrival::ToHub(bytes)) => self.hub_hears(&message::decode(&bytes).unwrap()),
            Some(Arrival::ToGateway(bytes)) => {
                let down = message::decode::<Down>(&bytes).unwrap();
                for at in 0..self.boxes.len() {
                    if self.calm || self.dice.roll(4) > 0 {
                        self.step(at, Input::Heard(&down));
                    }
                }
            }
        }
    }

    /// The first box finishes the round that is open, or another one.
    fn finish_round(&mut self) {
        if self.boxes[0].state.is_idle() {
            self.begin(0);
        }
        while !self.boxes[0].state.is_idle() {
            if self.channel.up.is_empty() && self.channel.down.is_empty() {
                self.step(0, Input::Retry);
            }
            self.deliver();
        }
    }

    /// One box alone, no faults: retried until it has done a round.
    fn drain(&mut self, at: usize) -> bool {
        self.calm = true;
        self.boxes.swap(0, at);
        self.boxes.truncate(1);
        self.channel.clear();
        let before = self.boxes[0].history.len();
        for _ in 0..200 {
            if self.boxes[0].state.is_idle() {
                let goes_on = self.boxes[0].state.chain == self.hub.chain;
                if self.boxes[0].history.len() > before && goes_on {
                    return true;
                }
                self.begin(0);
            } else {
                self.step(0, Input::Retry);
            }
            for _ in 0..60 {
                self.deliver();
            }
            self.rejoin();
        }
        false
    }
}

#[test]
fn copies_of_a_box_never_confuse_the_hub_and_any_of_them_can_rejoin() {
    let (mut rejoined, mut alone) = (0, 0);
    for seed in 1..=100 {
        let mut world = World::new(seed);
        let mut copies = vec![world.boxes[0].clone()];
        for _ in 0..2_000 {
            let at = world.dice.roll(world.boxes.len() as u64) as usize;
            match world.dice.roll(120) {
                0 => copies.push(world.boxes[at].clone()),
                1 => {
                    let copy = copies[world.dice.roll(copies.len() as u64) as usize].clone();
                    if world.boxes.len() < 3 {
                        world.boxes.push(copy)
                    } else {
                        world.boxes[at] = copy
                    }
                }
                2 if world.other.is_some() => {
                    rejoined += 1;
                    world.rejoin();
                }
                3..20 => world.step(at, Input::Retry),
                _ if world.boxes[at].state.is_idle() => world.begin(at),
                _ => world.deliver(),
            }
        }
        let at = world.dice.roll(world.boxes.len() as u64) as usize;
        assert!(world.drain(at), "seed {seed}: {:?}", world.boxes[0].state);
        alone += world.alone;
    }
    assert!(rejoined > 30, "{rejoined}");
    assert!(alone > 300, "{alone} rounds of two messages");
}

/// A copy from amid a round, whose line has gone on: it finds its way out of the round
/// and is told why it cannot go on.
#[test]
fn a_copy_from_amid_a_round_gives_it_up_and_is_refused() {
    for seed in 1..=36 {
        let mut world = World::new(seed);
        world.calm = true;
        world.finish_round();
        world.begin(0);
        (0..seed % 12).for_each(|_| world.deliver());
        let copy = world.boxes[0].clone();
        (0..3).for_each(|_| world.finish_round());
        world.channel.clear();
        world.boxes = vec![copy];
        for _ in 0..8 {
            match world.boxes[0].state.is_idle() {
                true => world.begin(0),
                false => world.step(0, Input::Retry),
            }
            (0..40).for_each(|_| world.deliver());
        }
        assert_eq!(world.boxes[0].state.refused, Some(Refused::OtherParent), "seed {seed}");
        let parent = world.boxes[0].state.chain;
        assert_eq!(world.other, Some(parent), "seed {seed}");
        assert!(world.drain(0), "seed {seed}");
    }
}
