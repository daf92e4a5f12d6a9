//! What goes wrong: clocks, links, power, disks, copies.
use crate::clock::Skew;
use crate::disk::{self, Trouble};
use crate::faults::Faults;
use crate::machines::{Machine, Phone};
use crate::world::{Outcome, World};

/// Seconds of a year, and of the time from the beginning until 2099.
const YEAR_S: u64 = 365 * 86_400;
const TO_2099_S: i64 = 2_270_000_000;

impl World {
    /// A machine, a clock, a link or the broker fails.
    pub fn trouble(&mut self) -> Outcome<()> {
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
        self.storage(&faults)?;
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

    /// Storage goes back in time.
    fn storage(&mut self, faults: &Faults) -> Outcome<()> {
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
        // Behind the log lies what a failed commit took back: a copy alone would find that.
        if disk::is_off(&self.phones[from].machine.folder) || self.phones[from].failed {
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
    pub fn happens(&mut self) -> Outcome<()> {
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
}
