//! One run: machines, links, virtual time, and what happens next, all from one seed.
use std::collections::VecDeque;
use std::fmt::Display;

use tempfile::TempDir;
use wadi_protocol::id::GatewayId;

use crate::clock::{BEGIN_S, Skew};
use crate::dice::Dice;
use crate::disk::{self, Trouble};
use crate::faults::{Faults, Tally};
use crate::lineage::Backup;
use crate::machines::{Hub, Machine, Phone, Village};
use crate::model::Model;
use crate::schema;

/// Seconds of a year, and of the time from the beginning until 2099.
const YEAR_S: u64 = 365 * 86_400;
const TO_2099_S: i64 = 2_270_000_000;

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
        let run = self.hub.start(self.now_s).expect("a new hub");
        self.model.eras.begun(run);
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
        self.round(at, retry)
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

    /// A machine, a clock, a link or the broker fails.
    fn trouble(&mut self) -> Outcome<()> {
        let faults = self.faults.clone();
        if self.dice.permille(faults.wiped * 10) {
            self.tally.note("broker wiped");
            self.net.clear();
        }
        if self.dice.permille(faults.partition * 10) {
            self.tally.note("partition");
            let until_s = self.now_s + self.dice.below(100 * 86_400);
            let at = self.dice.index(self.villages.len());
            self.villages[at].away_until_s = until_s;
        }
        if self.dice.permille(faults.clock * 10) {
            let skew = match self.dice.below(4) {
                0 => Skew::True,
                1 => Skew::Seventy(self.now_s),
                2 => Skew::By(TO_2099_S),
                _ => Skew::By(self.dice.below(2 * YEAR_S) as i64 - YEAR_S as i64),
            };
            self.tally.note(match skew {
                Skew::True => "clock set right",
                Skew::Seventy(_) => "clock at 1970",
                Skew::By(TO_2099_S) => "clock at 2099",
                Skew::By(_) => "clock jumps",
            });
            let which = self.dice.bits();
            let machine = self.machine(which);
            machine.skew = skew;
            let line = format!("{}: clock {skew:?}", machine.name);
            self.tell(|| line);
        }
        if self.dice.permille(faults.copied * 10) {
            self.copy_phone()?;
        }
        if self.dice.permille(faults.hub_lost * 10) {
            self.lose_hub()?;
        }
        if self.dice.permille(faults.restored * 10) {
            if self.dice.permille(500) {
                self.keep_card()?;
            } else {
                self.restore_card()?;
            }
        }
        if self.dice.permille(faults.cloned * 10) {
            self.keep_card()?;
            self.clone_village()?;
        }
        let troubles = [
            (faults.crash, None, "process killed"),
            (faults.power, Some(Trouble::CutBefore), ""),
            (faults.power, Some(Trouble::CutAfter), ""),
            (faults.full, Some(Trouble::Full), ""),
            (faults.broken, Some(Trouble::Broken), ""),
        ];
        for (rate, trouble, name) in troubles {
            if !self.dice.permille(rate * 8) {
                continue;
            }
            let (which, after) = (self.dice.bits(), self.dice.below(40) as u32);
            let times = 1 + self.dice.below(6) as u32;
            let dice = self.dice.fork();
            match trouble {
                Some(trouble) => {
                    disk::plan(&self.machine(which).folder, trouble, after, times, dice);
                }
                None => {
                    self.tally.note(name);
                    self.kill(which);
                }
            }
        }
        Ok(())
    }

    /// Any machine.
    fn machine(&mut self, which: u64) -> &mut Machine {
        let (villages, phones) = (self.villages.len(), self.phones.len());
        match which as usize % (1 + villages + phones) {
            0 => &mut self.hub.machine,
            at if at <= villages => &mut self.villages[at - 1].machine,
            at => &mut self.phones[at - 1 - villages].machine,
        }
    }

    /// A process dies; what it wrote is there.
    fn kill(&mut self, which: u64) {
        let villages = self.villages.len();
        match which as usize % (1 + villages + self.phones.len()) {
            0 => self.hub.stop(),
            at if at <= villages => self.villages[at - 1].stop(),
            at => self.phones[at - 1 - villages].stop(),
        }
    }

    /// A fork of a phone: the same file goes on, on two of them.
    fn copy_phone(&mut self) -> Outcome<()> {
        if self.phones.len() >= 5 {
            return Ok(());
        }
        let from = self.dice.index(self.phones.len());
        if disk::is_off(&self.phones[from].machine.folder) {
            return Ok(());
        }
        let image = disk::image(&self.phones[from].machine.folder);
        let number = self.phones.len() + 1;
        let mut copy = Phone::new(self.root.path(), number, &mut self.dice);
        disk::restore(&copy.machine.folder, &image);
        copy.looked = self.phones[from].looked;
        self.phones.push(copy);
        self.tally.note("handheld copied");
        self.tell(|| format!("phone {from} is copied as {number}"));
        Ok(())
    }

    /// What the disks did in this step; machines whose power went are off.
    fn happens(&mut self) -> Outcome<()> {
        for which in 0..1 + self.villages.len() + self.phones.len() {
            let machine = self.machine(which as u64);
            let (name, folder) = (machine.name.clone(), machine.folder.clone());
            if let Some(trouble) = disk::happened(&folder) {
                self.tally.note(match trouble {
                    Trouble::CutBefore => "power cut before a write",
                    Trouble::CutAfter => "power cut after a write",
                    Trouble::Full => "disk full",
                    Trouble::Broken => "write failed",
                });
                self.tell(|| format!("{name}: {trouble:?}"));
            }
            if disk::is_off(&folder) {
                self.kill(which as u64);
            }
        }
        Ok(())
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
        let Some(run) = survived(&self.hub.machine, "start", outcome)? else {
            self.hub.stop();
            return Ok(());
        };
        self.model.eras.begun(run);
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
