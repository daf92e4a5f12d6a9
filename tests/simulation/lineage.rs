//! Storage that goes back in time: backups of the hub and its loss, cards of gateways that
//! are put back or copied, and what operators do about it.
use std::collections::{BTreeMap, BTreeSet};

use wadi_gateway::store::compact::Keep;
use wadi_hub::store::backup;
use wadi_protocol::id::Dot;

use crate::disk;
use crate::machines::Village;
use crate::world::{Outcome, World, survived};

/// Villages and their clones, at most.
const VILLAGES_MAX: usize = 4;
const DAY_S: u64 = 86_400;

/// What a gateway's card held.
#[derive(Clone)]
pub struct Card {
    files: BTreeMap<String, Vec<u8>>,
    looked: i64,
    holds: BTreeSet<Dot>,
}

/// A backup of the hub: its file's name, and what it reaches to.
#[derive(Clone)]
pub struct Backup {
    name: String,
    head: u64,
    schema: u32,
}

impl World {
    /// A village lets go of what it need not keep.
    pub fn compact(&mut self, at: usize) -> Outcome<()> {
        let now_s = self.villages[at].machine.skew.now_s(self.now_s);
        let keep = match self.dice.below(3) {
            0 => Keep { age_s: 0, bytes: 0 },
            1 => Keep { age_s: 30 * DAY_S, bytes: 2_000 },
            _ => Keep { age_s: 30 * DAY_S, bytes: 1 << 20 },
        };
        let Some(mut store) = self.villages[at].store.take() else { return Ok(()) };
        for step in 0..20 {
            let outcome = store.compact(keep, step == 0, now_s);
            let Some(done) = survived(&self.villages[at].machine, "compact", outcome)? else {
                return Ok(());
            };
            if done.dropped > 0 {
                self.tally.note("compacted");
                let name = self.villages[at].machine.name.clone();
                self.tell(|| format!("{name}: {} changes go", done.dropped));
            }
            if !done.more {
                break;
            }
        }
        self.villages[at].store = Some(store);
        self.look_at_village(at)
    }

    /// The hub's database is copied, as `wadi-hub backup` does. The file system under the
    /// copy is ours: it has the names that were given to empty files outside.
    pub fn back_up(&mut self) -> Outcome<()> {
        let now_s = self.hub.machine.skew.now_s(self.now_s);
        let Some(store) = self.hub.store.as_mut() else { return Ok(()) };
        let folder = &self.hub.backups;
        let name = format!("hub-{}.db", self.backups.len() + 1);
        let (to, part) = (folder.join(&name), format!("{name}.part"));
        disk::forget(folder, &part);
        let outcome = store.backup(&to, true, now_s);
        let mark = survived(&self.hub.machine, "backup", outcome)?;
        // The copy may be whole though the hub could not note it any more.
        if to.exists() {
            disk::rename(&self.hub.backups, &part, &name);
            let head = self.head;
            if let Some(mark) = mark.filter(|mark| mark.seq != head) {
                return Err(format!("the backup reaches to {}, the hub to {head}", mark.seq));
            }
            self.model.eras.back_up();
            self.backups.push(Backup { name, head, schema: self.schema });
            self.tally.note("hub backed up");
            self.tell(|| format!("the hub is backed up to {head}"));
        }
        if mark.is_none() {
            self.hub.stop();
        }
        Ok(())
    }

    /// The hub's database is lost; a backup takes its place.
    pub fn lose_hub(&mut self) -> Outcome<()> {
        let Some(last) = self.backups.len().checked_sub(1) else { return Ok(()) };
        // The newest is damaged, sometimes.
        let which = last.saturating_sub(usize::from(self.dice.permille(200)));
        let Backup { name, head, schema } = self.backups[which].clone();
        self.hub.stop();
        let (path, now_s) = (self.hub.machine.path(), self.hub.machine.skew.now_s(self.now_s));
        let from = self.hub.backups.join(&name);
        self.losses += 1;
        let stamp = self.losses.to_string();
        let restored = backup::restore(&from, &path, &stamp, now_s);
        restored.map_err(|error| format!("restore: {error}"))?;
        let folder = &self.hub.machine.folder;
        for old in ["hub.db", "hub.db-wal", "hub.db-shm"] {
            disk::forget(folder, old);
        }
        disk::rename(folder, "hub.db-restored.part", "hub.db");
        self.backups.truncate(which + 1);
        (self.schema, self.head) = (schema, head);
        let mut gone = self.model.eras.fall_back(head);
        gone.extend(self.model.parked.iter().chain(&self.model.aside));
        let held = |dot: &Dot| self.villages.iter().any(|village| village.holds.contains(dot));
        let lost: Vec<Dot> = gone.into_iter().filter(|dot| !held(dot)).collect();
        self.model.eras.lost.extend(lost);
        self.tally.note("hub lost");
        self.tell(|| format!("the hub is lost, and put back as it was at {head}"));
        // What waited at the lost one is there no more.
        self.look_at_hub()
    }

    /// Somebody copies a gateway's card.
    pub fn keep_card(&mut self) -> Outcome<()> {
        let at = self.dice.index(self.villages.len());
        // What SQL programs wrote has no name yet: it would get two.
        if self.villages[at].store.is_none() || !self.drain(at)? {
            return Ok(());
        }
        let village = &mut self.villages[at];
        if disk::is_off(&village.machine.folder) {
            return Ok(());
        }
        let files = disk::image(&village.machine.folder);
        village.card = Some(Card { files, looked: village.looked, holds: village.holds.clone() });
        self.tally.note("card kept");
        let name = self.villages[at].machine.name.clone();
        self.tell(|| format!("{name}: its card is copied"));
        Ok(())
    }

    /// A gateway's card is put back as it was when it was copied.
    pub fn restore_card(&mut self) -> Outcome<()> {
        let at = self.dice.index(self.villages.len());
        let Some(card) = self.villages[at].card.clone() else { return Ok(()) };
        let before = std::mem::take(&mut self.villages[at].holds);
        self.put_card(at, card);
        let elsewhere = |dot: &Dot| {
            self.model.is_at_hub(*dot)
                || self.villages.iter().any(|village| village.holds.contains(dot))
                || self.phones.iter().any(|phone| phone.holds.contains(dot))
        };
        let lost: Vec<Dot> = before.iter().copied().filter(|dot| !elsewhere(dot)).collect();
        self.model.eras.lost.extend(lost);
        // With them go the stamps that were given them here.
        let contained = before.into_iter().filter(|dot| self.model.contained.contains_key(dot));
        self.model.vague.extend(contained);
        self.tally.note("card restored");
        let name = self.villages[at].machine.name.clone();
        self.tell(|| format!("{name}: its card is put back"));
        Ok(())
    }

    /// A copy of a gateway's card goes into another box, and both run.
    pub fn clone_village(&mut self) -> Outcome<()> {
        let from = self.dice.index(self.villages.len());
        let Some(card) = self.villages[from].card.clone() else { return Ok(()) };
        if self.villages.len() >= VILLAGES_MAX {
            return Ok(());
        }
        let (number, site) = (self.villages[from].number, self.villages[from].site.clone());
        let name = format!("village-{}-copy-{}", number.0, self.villages.len());
        let copy = Village::new(self.root.path(), (number, &site), name, &mut self.dice);
        self.villages.push(copy);
        self.put_card(self.villages.len() - 1, card);
        self.tally.note("gateway cloned");
        self.tell(|| format!("{site}: another box has a copy of its card"));
        Ok(())
    }

    fn put_card(&mut self, at: usize, card: Card) {
        let village = &mut self.villages[at];
        village.stop();
        disk::restore(&village.machine.folder, &card.files);
        (village.looked, village.holds) = (card.looked, card.holds.clone());
        village.card = Some(card);
    }

    /// Operators go on: with a hub that was restored, with the box that came last.
    pub fn operators_go_on(&mut self) -> Outcome<()> {
        let now_s = self.hub.machine.skew.now_s(self.now_s);
        let Some(store) = self.hub.store.as_mut() else { return Ok(()) };
        let loss = survived(&self.hub.machine, "loss", store.loss())?.unwrap_or_default();
        if loss.stopped_s > 0 || !loss.waiting.is_empty() {
            if loss.schema > self.schema {
                return self.publish_next();
            }
            let outcome = store.resume(now_s);
            if survived(&self.hub.machine, "resume", outcome)?.is_none() {
                self.hub.stop();
                return Ok(());
            }
            self.tally.note("hub resumed");
            self.tell(|| "operators let the restored hub go on".into());
        }
        for at in 0..self.villages.len() {
            let (number, site) = (self.villages[at].number, self.villages[at].site.clone());
            let Some(store) = self.hub.store.as_mut() else { return Ok(()) };
            let other = survived(&self.hub.machine, "lines", store.other_line(number))?.flatten();
            if other.is_none() {
                continue;
            }
            let outcome = store.rejoin(&site);
            if survived(&self.hub.machine, "rejoin", outcome)?.is_none() {
                self.hub.stop();
                return Ok(());
            }
            self.tally.note("box rejoined");
            self.tell(|| format!("{site}: operators go on with the other box"));
        }
        self.look_at_hub()
    }
}
