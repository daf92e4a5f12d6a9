//! Both ends of the round against each other over a channel that loses, doubles,
//! reorders and delays, with crashes between commit and send, from one seed.
use wadi_protocol::id::{Hash, RunId};
use wadi_protocol::round::gateway::{self, Changeset, Check, GatewayRound, Input, Phase};
use wadi_protocol::round::hub::{self, HubRound, Todo, page_head};
use wadi_protocol::wire::message::{self, Down, DownBody, Outcome, Refused, Up, UpBody, page_hash};

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// The durable state of both ends, and the messages between them.
struct World {
    dice: Dice,
    gateway: GatewayRound,
    body: Vec<u8>,
    page_parts: Vec<Option<Vec<u8>>>,
    finished: Vec<(Hash, bool)>,
    hub: HubRound,
    staged: Vec<Option<Vec<u8>>>,
    page: Vec<u8>,
    committed: Vec<Hash>,
    up: Vec<Vec<u8>>,
    down: Vec<Vec<u8>>,
    calm: bool,
}

const RUN: RunId = RunId(7);
const HUB: RunId = RunId(8);

fn content(body: &[u8]) -> Hash {
    Hash::of(&[body])
}

fn stage(parts: &mut Vec<Option<Vec<u8>>>, part: &message::Part) {
    let at = usize::from(part.index);
    parts.resize(parts.len().max(at + 1), None);
    assert!(parts[at].is_none(), "a staged part was staged again");
    parts[at] = Some(part.bytes.clone());
}

impl World {
    fn new(seed: u64) -> World {
        World {
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            gateway: GatewayRound::new(),
            body: Vec::new(),
            page_parts: Vec::new(),
            finished: Vec::new(),
            hub: HubRound::new(),
            staged: Vec::new(),
            page: Vec::new(),
            committed: Vec::new(),
            up: Vec::new(),
            down: Vec::new(),
            calm: false,
        }
    }

    fn begin(&mut self) {
        let len = self.dice.roll(20_000) as usize;
        let round = self.gateway.round;
        self.body = (0..len).map(|at| (at as u64 ^ round) as u8).collect();
        let changeset = Changeset {
            content: content(&self.body),
            bytes: len as u32,
            changes: (len / 50) as u32,
            schema: 1,
            returned: None,
        };
        self.gateway_step(Input::Begin(changeset));
    }

    /// A crash between commit and send: nothing leaves.
    fn crashes(&mut self) -> bool {
        !self.calm && self.dice.roll(12) == 0
    }

    fn gateway_step(&mut self, input: Input<'_>) {
        let step = self.gateway.clone().step(input);
        for write in &step.writes {
            match write {
                gateway::Write::StagePart(part) => stage(&mut self.page_parts, part),
                gateway::Write::DropPage | gateway::Write::Drop => self.page_parts.clear(),
                gateway::Write::Restart { .. } => unreachable!("this hub is never restored"),
                gateway::Write::Recode { .. } => unreachable!("this hub reads everything"),
                gateway::Write::Finish { committed, paged } => {
                    self.finished.push((committed.content, *paged));
                    self.page_parts.clear();
                }
            }
        }
        self.gateway = step.next.clone();
        let says = step.committed();
        if !self.crashes() {
            for say in says {
                let up = self.gateway.message(&say, RUN, &self.body);
                self.up.push(message::encode(&up));
            }
        }
        if self.gateway.wants_check() {
            let page: Vec<u8> = self.page_parts.iter().flatten().flatten().copied().collect();
            let Phase::Fetching { page: head, .. } = &self.gateway.phase else { unreachable!() };
            assert_eq!(
                head.hash,
                page_hash(self.gateway.stand(), &page),
                "parts came together wrongly"
            );
            self.gateway_step(Input::Checked(Check::Good([self.gateway.round, 0])));
        }
    }

    fn hub_step(&mut self, up: &Up) {
        let (mut step, todo) = self.hub.clone().hear(up);
        for write in &step.writes {
            match write {
                hub::Write::StagePart(part) => stage(&mut self.staged, part),
                hub::Write::DropStaged => self.staged.clear(),
            }
        }
        let mut says = Vec::new();
        if let Some(todo) = todo {
            let next = step.next.clone();
            says = step.committed();
            step = self.work(next, todo);
        }
        self.hub = step.next.clone();
        says.extend(step.committed());
        if !self.crashes() {
            for say in says {
                let down = self.hub.message(&say, up, HUB, &self.page);
                self.down.push(message::encode(&down));
            }
        }
    }

    fn work(
        &mut self,
        hub: HubRound,
        todo: Todo,
    ) -> wadi_protocol::round::Step<HubRound, hub::Write, hub::Say> {
        let body: Vec<u8> = self.staged.iter().flatten().flatten().copied().collect();
        let staged = hub.staged.as_ref().unwrap();
        assert_eq!(staged.head.content, content(&body), "parts came together wrongly");
        match todo {
            Todo::Judge => {
                let len = 1 + self.dice.roll(30_000) as usize;
                self.page = (0..len).map(|at| (at as u64 * 3 + self.dice.0 % 5) as u8).collect();
                let stand = staged.head.stand();
                hub.judged(Ok(page_head(stand, &self.page, &self.page)))
            }
            Todo::Commit => {
                self.committed.push(content(&body));
                let changes = (body.len() / 50) as u32;
                hub.decided(vec![(changes, Outcome::Applied { seq: 1 })], false)
            }
        }
    }

    fn deliver(&mut self) {
        let up = self.dice.roll(2) == 0;
        let queue = if up { &mut self.up } else { &mut self.down };
        if queue.is_empty() {
            return;
        }
        let at = if self.calm { 0 } else { self.dice.0 as usize % queue.len() };
        let bytes = queue.remove(at);
        match if self.calm { 5 } else { self.dice.roll(6) } {
            0 => return,
            1 if up => self.up.push(bytes.clone()),
            1 => self.down.push(bytes.clone()),
            _ => {}
        }
        if up {
            self.hub_step(&message::decode::<Up>(&bytes).unwrap());
        } else {
            self.gateway_step(Input::Heard(&message::decode::<Down>(&bytes).unwrap()));
        }
    }

    /// The link is cut: what was on its way is lost, and the gateway asks again.
    fn cut(&mut self) {
        self.up.clear();
        self.down.clear();
        self.gateway_step(Input::Retry);
    }

    /// The parts on their way; none may be staged at the other end already.
    fn check_parts(&self) -> usize {
        let there = |parts: &[Option<Vec<u8>>], index: u16| {
            parts.get(usize::from(index)).is_some_and(Option::is_some)
        };
        let mut parts = 0;
        let open = self.hub.staged.as_ref().map(|staged| staged.round);
        for bytes in &self.up {
            let up: Up = message::decode(bytes).unwrap();
            let index = match up.body {
                UpBody::Part(part) => part.index,
                UpBody::Prepare(head) if !head.first.is_empty() => 0,
                _ => continue,
            };
            parts += 1;
            let staged = open == Some(up.round) && there(&self.staged, index);
            assert!(!staged, "part {index} of the changeset is staged");
        }
        for bytes in &self.down {
            let index = match message::decode::<Down>(bytes).unwrap().body {
                DownBody::Part(part) => part.index,
                DownBody::Prepared(head) if !head.first.is_empty() => 0,
                _ => continue,
            };
            parts += 1;
            assert!(!there(&self.page_parts, index), "part {index} of the page is staged");
        }
        parts
    }

    fn finish_round(&mut self) {
        self.begin();
        while !self.gateway.is_idle() {
            self.deliver();
        }
    }

    fn last_answer(&self) -> DownBody {
        message::decode::<Down>(self.down.last().unwrap()).unwrap().body
    }
}

#[test]
fn every_round_commits_exactly_once_over_a_bad_channel() {
    for seed in 1..=150 {
        let mut world = World::new(seed);
        for step in 0..1500 {
            world.calm = step > 1000;
            if world.gateway.is_idle() && step < 1000 {
                world.begin();
            } else if world.dice.roll(10) == 0 {
                world.gateway_step(Input::Retry);
            } else {
                world.deliver();
            }
        }
        assert!(world.gateway.is_idle(), "seed {seed}: drained when the faults stop");
        assert!(world.finished.len() > 3, "seed {seed}: made progress");
        let finished: Vec<Hash> = world.finished.iter().map(|(content, _)| *content).collect();
        assert_eq!(world.committed, finished, "seed {seed}: the same rounds, once, in order");
        assert_eq!(world.gateway.chain, world.hub.chain, "seed {seed}");
        assert!(world.finished.iter().all(|(_, paged)| *paged), "seed {seed}");
    }
}

/// A link that bears a few messages at a time: what is on its way is lost with it, what
/// is staged at the other end never travels again.
#[test]
fn a_staged_part_never_travels_again() {
    let (mut cuts, mut parts) = (0, 0);
    for seed in 1..=20 {
        let mut world = World::new(seed);
        world.calm = true;
        for _ in 0..8 {
            world.begin();
            parts += world.check_parts();
            while !world.gateway.is_idle() {
                for _ in 0..6 + world.dice.roll(8) {
                    world.deliver();
                    parts += world.check_parts();
                }
                if !world.gateway.is_idle() {
                    cuts += 1;
                    world.cut();
                }
            }
        }
        assert_eq!(world.finished.len(), 8, "seed {seed}");
    }
    assert!(cuts > 200 && parts > 2_000, "{cuts} cuts, {parts} parts");
}

#[test]
fn no_late_message_revives_a_round() {
    let mut world = World::new(1);
    world.calm = true;
    world.begin();
    let late = world.up.clone();
    while !world.gateway.is_idle() {
        world.deliver();
    }
    for bytes in late {
        world.hub_step(&message::decode(&bytes).unwrap());
    }
    assert_eq!(world.committed.len(), 1);
    assert!(world.hub.staged.is_none());
    assert!(matches!(world.last_answer(), DownBody::Committed(_)), "the last round is told again");
}

#[test]
fn an_aborted_round_stays_aborted() {
    let mut world = World::new(3);
    world.calm = true;
    world.begin();
    let prepare = world.up.clone();
    world.hub_step(&Up { run: RUN, hub: RunId::NONE, round: 1, body: UpBody::Abort });
    for bytes in prepare {
        world.hub_step(&message::decode(&bytes).unwrap());
    }
    assert!(world.hub.staged.is_none() && world.committed.is_empty());
    assert_eq!(world.last_answer(), DownBody::Refused(Refused::BelowFloor { floor: 2 }));
}

#[test]
fn why_a_round_was_aborted_stays_known() {
    let mut world = World::new(6);
    world.calm = true;
    world.begin();
    let refused = Refused::Undecodable { reason: "no schema".into() };
    let answer = |body| Down { hub: HUB, known: RunId::NONE, round: 1, body };
    world.gateway_step(Input::Heard(&answer(DownBody::Refused(refused.clone()))));
    assert!(matches!(world.gateway.phase, Phase::Aborting { .. }));
    world.gateway_step(Input::Heard(&answer(DownBody::Aborted { floor: 2 })));
    assert!(world.gateway.is_idle());
    assert_eq!(world.gateway.refused, Some(refused), "or the worker would begin again at once");
    world.finish_round();
    assert_eq!(world.gateway.refused, None);
}

#[test]
fn a_number_that_is_used_up_is_no_refusal_to_go_on() {
    let mut world = World::new(7);
    world.calm = true;
    world.begin();
    let below = |floor| {
        let body = DownBody::Refused(Refused::BelowFloor { floor });
        Down { hub: HUB, known: RunId::NONE, round: 1, body }
    };
    world.gateway_step(Input::Heard(&below(5)));
    assert_eq!((world.gateway.round, world.gateway.is_idle()), (5, true));
    assert_eq!(world.gateway.refused, None);
    // But a hub that names a floor which is none makes no loop.
    world.begin();
    world.gateway_step(Input::Heard(&Down { round: 5, ..below(5) }));
    assert_eq!(world.gateway.refused, Some(Refused::BelowFloor { floor: 5 }));
}

#[test]
fn a_restored_gateway_is_recognised_by_its_parent() {
    let mut world = World::new(4);
    world.calm = true;
    let before = world.gateway.clone();
    world.finish_round();
    world.gateway = GatewayRound { round: 2, ..before };
    world.begin();
    let up: Up = message::decode(&world.up.remove(0)).unwrap();
    world.hub_step(&up);
    assert_eq!(world.last_answer(), DownBody::Refused(Refused::OtherParent));
}

#[test]
fn hostile_stretches_and_rounds_are_harmless() {
    let mut world = World::new(5);
    world.calm = true;
    world.begin();
    let body = DownBody::Staged { missing: vec![(0, u16::MAX); 3000] };
    world.gateway_step(Input::Heard(&Down { hub: HUB, known: RunId::NONE, round: 1, body }));
    for _ in 0..2 {
        world.hub_step(&Up { run: RUN, hub: RunId::NONE, round: u64::MAX, body: UpBody::Abort });
    }
    assert_eq!(world.hub.floor, u64::MAX);
}
