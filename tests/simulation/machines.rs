//! The machines: a hub, gateways and phones, each with a disk, a clock, and the real
//! store when it is switched on.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use wadi_gateway::handheld::store as phone;
use wadi_gateway::noise::key::{KeyPair, PublicKey};
use wadi_gateway::store as village;
use wadi_hub::store as centre;
use wadi_protocol::id::{Dot, GatewayId};

use crate::clock::Skew;
use crate::dice::Dice;
use crate::disk;
use crate::eye::Eye;
use crate::lineage::Card;

/// What every machine has.
pub struct Machine {
    pub name: String,
    pub folder: PathBuf,
    pub skew: Skew,
    /// Reads the file as any other program does.
    eye: Option<Eye>,
    file: &'static str,
    draw: Arc<Mutex<Dice>>,
    starts: u64,
    /// How often its power went.
    boots: u64,
}

impl Machine {
    fn new(root: &Path, name: String, file: &'static str, dice: &mut Dice) -> Machine {
        let folder = root.join(&name);
        std::fs::create_dir(&folder).expect("there is room");
        disk::install(&folder);
        let draw = Arc::new(Mutex::new(dice.fork()));
        Machine { name, folder, skew: Skew::True, eye: None, file, draw, starts: 0, boots: 0 }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.join(self.file)
    }

    /// A connection of another program; none while there is no file.
    pub fn eye(&mut self) -> Option<&Eye> {
        if self.eye.is_none() && disk::holds(&self.path()) {
            self.eye = Some(Eye::open(&self.path()));
        }
        self.eye.as_ref()
    }

    fn source(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let draw = Arc::clone(&self.draw);
        move || draw.lock().expect("no panic inside").bits()
    }

    /// Nobody has the file open any more; the power comes back if it was cut.
    fn off(&mut self) {
        self.eye = None;
        self.boots += u64::from(disk::is_off(&self.folder));
        disk::power(&self.folder);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.eye = None;
        disk::remove(&self.folder);
    }
}

pub struct Hub {
    pub machine: Machine,
    pub store: Option<centre::Store>,
    /// Where its backups lie: another disk, which is always well.
    pub backups: PathBuf,
}

impl Hub {
    pub fn new(root: &Path, dice: &mut Dice) -> Hub {
        let backups = root.join("backups");
        std::fs::create_dir(&backups).expect("there is room");
        disk::install(&backups);
        Hub { machine: Machine::new(root, "hub".into(), "hub.db", dice), store: None, backups }
    }

    /// Switch it off; whatever state it was in.
    pub fn stop(&mut self) {
        self.store = None;
        self.machine.off();
    }

    /// Start it; the error is one of its disk.
    pub fn start(&mut self, true_s: u64) -> Result<(), centre::StoreError> {
        let draw = centre::Draw::of(self.machine.source());
        let mut store = centre::Store::open_drawing(&self.machine.path(), draw)?;
        store.begin_run(self.machine.skew.now_s(true_s))?;
        self.store = Some(store);
        Ok(())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.store = None;
        disk::remove(&self.backups);
    }
}

pub struct Village {
    pub machine: Machine,
    pub number: GatewayId,
    pub site: String,
    pub store: Option<village::Store>,
    pub key: PublicKey,
    /// Whether the hub refused what it said last.
    pub refused: bool,
    /// No link to the hub before this.
    pub away_until_s: u64,
    /// The last change of its changelog that was looked at, and all so far.
    pub looked: i64,
    pub holds: BTreeSet<Dot>,
    /// A copy of its card, as it was a while ago.
    pub card: Option<Card>,
}

impl Village {
    pub fn new(
        root: &Path,
        (number, site): (GatewayId, &str),
        name: String,
        dice: &mut Dice,
    ) -> Village {
        let machine = Machine::new(root, name, "gateway.db", dice);
        let key = KeyPair::of([number.0 as u8; 32]).public();
        Village {
            machine,
            number,
            site: site.into(),
            store: None,
            key,
            refused: false,
            away_until_s: 0,
            looked: 0,
            holds: BTreeSet::new(),
            card: None,
        }
    }

    pub fn stop(&mut self) {
        self.store = None;
        self.machine.off();
    }

    pub fn start(&mut self, true_s: u64) -> Result<(), village::StoreError> {
        let source = self.machine.source();
        self.machine.starts += 1;
        let opening = village::Opening {
            path: self.machine.path(),
            site: self.site.clone(),
            gateway: self.number,
            now_s: self.machine.skew.now_s(true_s),
            random: [source(), source()],
        };
        self.store = Some(village::Store::open(&opening)?);
        Ok(())
    }
}

pub struct Phone {
    pub machine: Machine,
    pub store: Option<phone::Store>,
    /// Where the file believes it is.
    pub origin: phone::Origin,
    /// The last change of its outbox that was looked at, and all at the last look.
    pub looked: i64,
    pub holds: BTreeSet<Dot>,
    /// Changes that were found in the file, and of whose entry nobody heard that it went well.
    pub doubtful: BTreeSet<Dot>,
    /// A write failed, and none has gone well since.
    pub failed: bool,
}

impl Phone {
    pub fn new(root: &Path, number: usize, dice: &mut Dice) -> Phone {
        let name = format!("phone-{number}");
        let machine = Machine::new(root, name.clone(), "my.db", dice);
        let origin = phone::Origin { machine: name, boot: String::new() };
        let holds = BTreeSet::new();
        let doubtful = BTreeSet::new();
        Phone { machine, store: None, origin, looked: 0, holds, doubtful, failed: false }
    }

    pub fn stop(&mut self) {
        self.store = None;
        self.machine.off();
    }

    pub fn start(&mut self) -> Result<(), phone::StoreError> {
        self.origin.boot = self.machine.boots.to_string();
        let opening = phone::Opening {
            path: self.machine.path(),
            label: Some(self.machine.name.clone()),
            create: true,
            origin: self.origin.clone(),
            draw: phone::Draw::of(self.machine.source()),
        };
        self.store = Some(phone::Store::open(&opening)?.0);
        Ok(())
    }
}
