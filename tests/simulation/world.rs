//! One run: machines, links, virtual time, and what happens next, all from one seed.
use std::collections::VecDeque;
use std::fmt::Display;

use tempfile::TempDir;
use wadi_protocol::id::GatewayId;

use crate::clock::BEGIN_S;
use crate::dice::Dice;
use crate::disk;
use crate::faults::{Faults, Tally};
use crate::lineage::Backup;
use crate::machines::{Hub, Machine, Phone, Village};
use crate::model::{Key, Model};
use crate::schema;

/// Seconds of a year.
const YEAR_S: u64 = 365 * 86_400;

/// A message on its way between a village and the hub.
pub struct Packet {
    pub village: usize,
    pub up: bool,
    pub bytes: Vec<u8>,
    pub due_s: u64,
}

/// What is wrong, in words; the seed is told by whoever runs us.
pub type Outcome<T> = Result<T, String>;

pub struct World {
    pub dice: Dice,
    pub now_s: u64,
    pub faults: Faults,
    pub tally: Tally,
    pub model: Model,
    pub hub: Hub,
    pub villages: Vec<Village>,
    pub phones: Vec<Phone>,
    pub net: VecDeque<Packet>,
    pub schema: u32,
    /// Rows that others reference and nobody has made yet.
    pub promised: Vec<Key>,
    /// What happened, told step by step.
    pub trace: Vec<String>,
    pub head: u64,
    /// Backups of the hub, the newest last.
    pub backups: Vec<Backup>,
    /// How often the hub was lost.
    pub losses: u32,
    pub root: TempDir,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let root = tempfile::tempdir().expect("there is room");
        let faults = Faults::of(&mut dice);
        let hub = Hub::new(root.path(), &mut dice);
        let villages = 1 + dice.below(3);
        let phones = 1 + dice.index(3);
        let villages = (1..=villages)
            .map(|number| {
                let site = format!("village-{number}");
                let who = (GatewayId(number as u32), site.as_str());
                Village::new(root.path(), who, site.clone(), &mut dice)
            })
            .collect();
        let phones =
            (1..=phones).map(|number| Phone::new(root.path(), number, &mut dice)).collect();
        let mut world = World {
            dice,
            now_s: BEGIN_S,
            faults,
            tally: Tally::default(),
            model: Model::new(),
            hub,
            villages,
            phones,
            net: VecDeque::new(),
            schema: 1,
            promised: Vec::new(),
            trace: Vec::new(),
            head: 0,
            backups: Vec::new(),
            losses: 0,
            root,
        };
        world.begin();
        world
    }

    /// The hub has a schema and knows the villages; everybody is switched on.
    fn begin(&mut self) {
        self.hub.start(self.now_s).expect("a new hub");
        let store = self.hub.store.as_mut().expect("on");
        store.publish_schema(&schema::text(1), self.now_s).expect("a good schema");
        for village in &mut self.villages {
            let until_s = self.now_s + 100 * YEAR_S;
            let name = &village.machine.name;
            let made = store.enrol(name, false, (self.now_s, until_s), |_| Ok(Vec::new()));
            assert_eq!(made.expect("enrolled").gateway, village.number);
            village.start(self.now_s).expect("a new village");
        }
        for phone in &mut self.phones {
            phone.start().expect("a new phone");
        }
    }

    /// A line of the trace.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        self.trace.push(line());
    }

    /// One thing happens.
    pub fn step(&mut self) -> Outcome<()> {
        match self.dice.below(100) {
            0..=20 => self.enter()?,
            21..=33 => self.program()?,
            34..=49 => self.meet_somewhere()?,
            50..=64 => self.village_acts()?,
            65..=82 => self.deliver()?,
            83..=85 => self.time_passes(),
            86..=88 => self.keeping()?,
            89..=90 => self.operator()?,
            91 => self.publish()?,
            _ => self.trouble()?,
        }
        self.happens()?;
        self.start_all()
    }

    fn village_acts(&mut self) -> Outcome<()> {
        let at = self.dice.index(self.villages.len());
        if self.dice.permille(150) {
            self.compact(at)?;
        }
        let retry = self.dice.permille(400);
        let urgent = self.dice.permille(100);
        self.round(at, retry, urgent)
    }

    /// What each site does to keep its storage well.
    fn keeping(&mut self) -> Outcome<()> {
        match self.dice.below(3) {
            0 => self.back_up(),
            1 => self.operators_go_on(),
            _ => {
                let at = self.dice.index(self.villages.len());
                self.compact(at)
            }
        }
    }

    /// Some of what is due comes, in any order, perhaps twice.
    fn deliver(&mut self) -> Outcome<()> {
        for _ in 0..1 + self.dice.below(8) {
            let due: Vec<usize> =
                (0..self.net.len()).filter(|&at| self.net[at].due_s <= self.now_s).collect();
            if due.is_empty() {
                return Ok(());
            }
            let at = if self.dice.permille(700) { due[0] } else { *self.dice.pick(&due) };
            if at != due[0] {
                self.tally.note("messages reordered");
            }
            let packet = self.net.remove(at).expect("it is there");
            if self.dice.permille(self.faults.double) {
                self.tally.note("message doubled");
                let due_s = self.now_s + self.dice.below(1_000_000);
                self.net.push_back(Packet { bytes: packet.bytes.clone(), due_s, ..packet });
            }
            self.arrive(packet)?;
        }
        Ok(())
    }

    /// Send a message; what the network does to it.
    pub fn send(&mut self, village: usize, up: bool, bytes: Vec<u8>) {
        if self.dice.permille(self.faults.loss) {
            return self.tally.note("message lost");
        }
        let mut due_s = self.now_s;
        if self.dice.permille(self.faults.late) {
            due_s += self.dice.below(1 << self.dice.clone().below(24));
            self.tally.note("message late");
        }
        self.net.push_back(Packet { village, up, bytes, due_s });
    }

    fn time_passes(&mut self) {
        let s = match self.dice.below(10) {
            0..=5 => self.dice.below(600),
            6..=8 => self.dice.below(10 * 86_400),
            _ => {
                self.tally.note("months of silence");
                self.dice.below(YEAR_S)
            }
        };
        self.now_s += s;
        self.tell(|| format!("{s} s pass"));
    }

    /// Machines that are off come back, sooner or later.
    fn start_all(&mut self) -> Outcome<()> {
        for at in 0..self.villages.len() {
            if self.villages[at].store.is_none() && self.dice.permille(700) {
                self.start_village(at)?;
            }
        }
        for at in 0..self.phones.len() {
            if self.phones[at].store.is_none() && self.dice.permille(700) {
                self.start_phone(at)?;
            }
        }
        if self.hub.store.is_none() && self.dice.permille(700) {
            self.start_hub()?;
        }
        Ok(())
    }

    pub fn start_village(&mut self, at: usize) -> Outcome<()> {
        let now_s = self.now_s;
        let outcome = self.villages[at].start(now_s);
        if survived(&self.villages[at].machine, "start", outcome)?.is_none() {
            self.villages[at].stop();
            return Ok(());
        }
        self.tally.note("gateway started");
        self.look_at_village(at)
    }

    pub fn start_phone(&mut self, at: usize) -> Outcome<()> {
        let outcome = self.phones[at].start();
        if survived(&self.phones[at].machine, "start", outcome)?.is_none() {
            self.phones[at].stop();
            return Ok(());
        }
        self.tally.note("handheld started");
        self.look_at_phone(at)
    }

    pub fn start_hub(&mut self) -> Outcome<()> {
        let outcome = self.hub.start(self.now_s);
        if survived(&self.hub.machine, "start", outcome)?.is_none() {
            self.hub.stop();
            return Ok(());
        }
        self.tally.note("hub started");
        self.look_at_hub()
    }
}

/// What came of asking a store: none if its disk was in the way; any other error is ours.
pub fn survived<T, E: Display>(
    machine: &Machine,
    what: &str,
    outcome: Result<T, E>,
) -> Outcome<Option<T>> {
    if disk::is_off(&machine.folder) {
        return Ok(None);
    }
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(_) if disk::is_troubled(&machine.folder) => Ok(None),
        Err(error) => Err(format!("{}: {what}: {error}", machine.name)),
    }
}
