//! The durable state of both ends, and the channel between them.
use wadi_protocol::id::{Hash, RunId};
use wadi_protocol::limits::PART_BYTES_MAX;
use wadi_protocol::round::Step;
use wadi_protocol::round::gateway::{self, Changeset, Check, GatewayRound, Input, WholePage};
use wadi_protocol::round::hub::{self, HubRound, Judged, Todo, page_head};
use wadi_protocol::wire::coded::{CODEC_NEWEST, CODEC_PLAIN};
use wadi_protocol::wire::message::{
    self, Down, DownBody, Outcome, Stand, Up, UpBody, page_hash, parts_of,
};

use crate::channel::{Arrival, Channel, Dice};

/// The durable state of both ends, and the messages between them.
pub struct World {
    pub dice: Dice,
    pub gateway: GatewayRound,
    pub body: Vec<u8>,
    pub page_parts: Vec<Option<Vec<u8>>>,
    /// Rounds that the gateway finished: what of, and whether with its page.
    pub finished: Vec<(Hash, bool)>,
    pub hub: HubRound,
    pub staged: Vec<Option<Vec<u8>>>,
    /// The page as it travels, and as encoded plainly.
    pub page: Vec<u8>,
    pub plain: Vec<u8>,
    pub committed: Vec<Hash>,
    pub channel: Channel,
    pub calm: bool,
    /// Whether the gateway delegates what it may, and half of all is small enough.
    pub delegates: bool,
    /// How the gateway asks for its page to be written.
    pub codec: u8,
    /// Rounds whose page came with the answer.
    pub alone: usize,
}

pub const RUN: RunId = RunId(7);
pub const HUB: RunId = RunId(8);

/// A page as it travels: what is coded has a frame with the name of a model.
fn written(plain: &[u8], codec: u8) -> Vec<u8> {
    let frame: &[u8] = if codec == CODEC_PLAIN { &[] } else { &[2, 9, 9, 9, 9] };
    [frame, plain].concat()
}

/// A page as it was before it was written.
pub fn read(page: &[u8]) -> &[u8] {
    page.strip_prefix(&[2, 9, 9, 9, 9]).unwrap_or(page)
}

type HubStep = Step<HubRound, hub::Write, hub::Say>;

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
    pub fn new(seed: u64) -> World {
        World {
            dice: Dice::seeded(seed),
            gateway: GatewayRound::new(),
            body: Vec::new(),
            page_parts: Vec::new(),
            finished: Vec::new(),
            hub: HubRound::new(),
            staged: Vec::new(),
            page: Vec::new(),
            plain: Vec::new(),
            committed: Vec::new(),
            channel: Channel::default(),
            calm: false,
            delegates: false,
            codec: CODEC_NEWEST,
            alone: 0,
        }
    }

    /// A size: small, half of the time, where that matters.
    fn size(&mut self, most: u64) -> usize {
        let small = self.delegates && self.dice.roll(2) == 0;
        self.dice.roll(if small { PART_BYTES_MAX as u64 } else { most }) as usize
    }

    pub fn begin(&mut self) {
        let len = self.size(20_000);
        self.begin_with(len);
    }

    /// Open a round with so many bytes.
    pub fn begin_with(&mut self, len: usize) {
        let round = self.gateway.round;
        self.body = (0..len).map(|at| (at as u64 ^ round) as u8).collect();
        let changeset = Changeset {
            content: content(&self.body),
            bytes: len as u32,
            changes: (len / 50) as u32,
            schema: 1,
            returned: None,
            delegated: self.delegates,
        };
        self.codec = CODEC_NEWEST;
        self.gateway_step(Input::Begin(changeset));
    }

    /// A crash between commit and send: nothing leaves.
    fn crashes(&mut self) -> bool {
        !self.calm && self.dice.roll(12) == 0
    }

    pub fn gateway_step(&mut self, input: Input<'_>) {
        let step = self.gateway.clone().step(input);
        for write in &step.writes {
            match write {
                gateway::Write::StagePart(part) => stage(&mut self.page_parts, part),
                gateway::Write::DropPage | gateway::Write::Drop => self.page_parts.clear(),
                gateway::Write::Restart { .. } => unreachable!("this hub is never restored"),
                gateway::Write::Recode { .. } => unreachable!("this hub reads everything"),
                gateway::Write::Finish { committed, paged } => {
                    let open = self.gateway.changeset().expect("it was open");
                    self.finished.push((open.content, *paged));
                    self.alone += usize::from(committed.page.is_some());
                    self.page_parts.clear();
                }
            }
        }
        self.gateway = step.next.clone();
        let says = step.committed();
        if !self.crashes() {
            for say in says {
                let mut up = self.gateway.message(&say, RUN, &self.body);
                if let UpBody::Prepare(head) = &mut up.body {
                    head.codec = self.codec;
                }
                self.channel.up.push(message::encode(&up));
            }
        }
        if self.gateway.whole_page().is_some() {
            let check = self.check();
            self.gateway_step(Input::Checked(check));
        }
    }

    /// Look at a page that is whole. One that is coded cannot always be read; of one that was
    /// written anew meanwhile, parts of both may have come.
    fn check(&mut self) -> Check {
        let whole = self.gateway.whole_page().expect("a page");
        let attached = matches!(whole, WholePage::Attached(_));
        let (page, hash) = match whole {
            WholePage::Staged(head) => {
                (self.page_parts.iter().flatten().flatten().copied().collect(), head.hash)
            }
            WholePage::Attached(page) => (page.bytes.clone(), page.hash),
        };
        let plain = read(&page);
        let good = hash == page_hash(self.gateway.stand(), plain);
        assert!(good || (!attached && self.delegates), "parts came together wrongly");
        if !good {
            return Check::Corrupt;
        }
        if self.delegates && plain.len() < page.len() && !self.calm && self.dice.roll(6) == 0 {
            self.codec = CODEC_PLAIN;
            return Check::Corrupt;
        }
        Check::Good([self.gateway.round, 0])
    }

    pub fn hub_step(&mut self, up: &Up) {
        let (mut step, mut todo) = self.hub.clone().hear(up);
        self.hub_writes(&step.writes);
        while let Some(next) = todo {
            (step, todo) = self.work(step.next, next);
            self.hub_writes(&step.writes);
        }
        self.hub = step.next.clone();
        let says = step.committed();
        if !self.crashes() {
            for say in says {
                let down = self.hub.message(&say, up, HUB, &self.page);
                self.channel.down.push(message::encode(&down));
            }
        }
    }

    fn hub_writes(&mut self, writes: &[hub::Write]) {
        for write in writes {
            match write {
                hub::Write::StagePart(part) => stage(&mut self.staged, part),
                hub::Write::DropStaged => {
                    self.staged.clear();
                    self.page.clear();
                }
                hub::Write::DropParts => self.staged.clear(),
            }
        }
    }

    fn work(&mut self, hub: HubRound, todo: Todo) -> (HubStep, Option<Todo>) {
        let body: Vec<u8> = self.staged.iter().flatten().flatten().copied().collect();
        match todo {
            Todo::Judge => {
                let head = hub.staged.as_ref().unwrap().head.clone();
                assert_eq!(head.content, content(&body), "parts came together wrongly");
                let len = 1 + self.size(30_000);
                self.plain = (0..len).map(|at| (at as u64 * 3 + self.dice.0 % 5) as u8).collect();
                let page = self.write_page(head.stand(), head.codec);
                let changes = body.len() / 50;
                hub.judged(Ok(Judged { page, plain_bytes: len, changes }))
            }
            Todo::Commit => {
                let head = &hub.staged.as_ref().unwrap().head;
                assert_eq!(head.content, content(&body), "parts came together wrongly");
                self.committed.push(content(&body));
                let changes = (body.len() / 50) as u32;
                (hub.decided(RunId(1), vec![(changes, Outcome::Applied { seq: 1 })], false), None)
            }
            Todo::Rewrite => {
                let kept = hub.attached.as_ref().unwrap();
                let page = self.write_page(kept.stand, kept.codec);
                (hub.rewritten(page), None)
            }
        }
    }

    /// Write the page; plainly where it would not fit a message else.
    fn write_page(&mut self, stand: Stand, codec: u8) -> gateway::PageHead {
        self.page = written(&self.plain, codec);
        if parts_of(self.page.len()) > parts_of(self.plain.len()) {
            self.page.clone_from(&self.plain);
        }
        page_head(stand, &self.plain, &self.page)
    }

    pub fn deliver(&mut self) {
        match self.channel.take(&mut self.dice, self.calm) {
            None => {}
            Some(Arrival::ToHub(bytes)) => self.hub_step(&message::decode(&bytes).unwrap()),
            Some(Arrival::ToGateway(bytes)) => {
                self.gateway_step(Input::Heard(&message::decode(&bytes).unwrap()));
            }
        }
    }

    /// The link is cut: what was on its way is lost, and the gateway asks again.
    pub fn cut(&mut self) {
        self.channel.clear();
        self.gateway_step(Input::Retry);
    }

    /// The parts on their way; none may be staged at the other end already.
    pub fn check_parts(&self) -> usize {
        let there = |parts: &[Option<Vec<u8>>], index: u16| {
            parts.get(usize::from(index)).is_some_and(Option::is_some)
        };
        let mut parts = 0;
        let open = self.hub.staged.as_ref().map(|staged| staged.round);
        for bytes in &self.channel.up {
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
        for bytes in &self.channel.down {
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

    pub fn finish_round(&mut self) {
        self.begin();
        while !self.gateway.is_idle() {
            self.deliver();
        }
    }

    pub fn last_answer(&self) -> DownBody {
        message::decode::<Down>(self.channel.down.last().unwrap()).unwrap().body
    }
}
