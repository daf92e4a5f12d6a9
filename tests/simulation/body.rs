//! A file in memory: what programs read, what was synced, and the writes between.
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use sqlite_plugin::flags::LockLevel;

use crate::dice::Dice;

/// What a power cut tears a write into.
const SECTOR_BYTES: usize = 512;
/// Locks of a WAL index.
const SHM_LOCKS: usize = 8;

/// A write since the last sync.
enum Write {
    /// To this offset, so many bytes, which begin here in [`Body::written`].
    Bytes {
        offset: usize,
        begin: usize,
        len: usize,
    },
    Length(usize),
}

/// A file.
#[derive(Default)]
pub struct Body {
    pub data: Vec<u8>,
    pub synced: Vec<u8>,
    /// Whether its name was ever synced.
    pub named: bool,
    since: Vec<Write>,
    /// The bytes of those writes.
    written: Vec<u8>,
    pub locks: HashMap<u64, LockLevel>,
    pub shm: Vec<Box<[u8]>>,
    pub shm_users: HashMap<u64, [Option<bool>; SHM_LOCKS]>,
}

impl Body {
    pub fn of(bytes: Vec<u8>) -> Arc<Mutex<Body>> {
        Arc::new(Mutex::new(Body {
            synced: bytes.clone(),
            data: bytes,
            named: true,
            ..Body::default()
        }))
    }

    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.data, offset, bytes);
        let (begin, len) = (self.written.len(), bytes.len());
        self.written.extend_from_slice(bytes);
        self.since.push(Write::Bytes { offset, begin, len });
    }

    pub fn truncate(&mut self, length: usize) {
        self.data.resize(length, 0);
        self.since.push(Write::Length(length));
    }

    pub fn sync(&mut self) {
        self.named = true;
        let mut synced = std::mem::take(&mut self.synced);
        self.since.iter().for_each(|write| self.apply(&mut synced, write));
        self.synced = synced;
        self.since.clear();
        self.written.clear();
    }

    /// The synced bytes, and any of what was written since.
    pub fn after_cut(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        let manner = dice.below(4);
        let first = dice.index(self.since.len() + 1);
        for (at, write) in self.since.iter().enumerate() {
            match manner {
                0 => {}
                1 => self.apply(&mut bytes, write),
                2 if at < first => self.apply(&mut bytes, write),
                2 if at == first => self.tear(&mut bytes, write, dice),
                2 => {}
                _ if dice.permille(500) => self.tear(&mut bytes, write, dice),
                _ => {}
            }
        }
        bytes
    }

    fn apply(&self, bytes: &mut Vec<u8>, write: &Write) {
        match *write {
            Write::Bytes { offset, begin, len } => {
                put(bytes, offset, &self.written[begin..begin + len]);
            }
            Write::Length(length) => bytes.resize(length, 0),
        }
    }

    /// Some sectors of a write.
    fn tear(&self, bytes: &mut Vec<u8>, write: &Write, dice: &mut Dice) {
        let Write::Bytes { offset, begin, len } = *write else {
            return self.apply(bytes, write);
        };
        let sectors = self.written[begin..begin + len].chunks(SECTOR_BYTES);
        for (at, sector) in sectors.enumerate() {
            if dice.permille(700) {
                put(bytes, offset + at * SECTOR_BYTES, sector);
            }
        }
    }

    pub fn may_lock(&self, id: u64, level: LockLevel) -> bool {
        let others = || self.locks.iter().filter(|(other, _)| **other != id).map(|(_, at)| *at);
        match level {
            LockLevel::Unlocked => true,
            LockLevel::Shared => others().all(|at| at < LockLevel::Pending),
            LockLevel::Reserved | LockLevel::Pending => others().all(|at| at < LockLevel::Reserved),
            LockLevel::Exclusive => others().all(|at| at == LockLevel::Unlocked),
        }
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, part: &[u8]) {
    let end = offset + part.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(part);
}

impl Body {
    /// The index is of no use once nobody maps it: who comes next builds it anew.
    pub fn leave_shm(&mut self, id: u64) {
        self.shm_users.remove(&id);
        if self.shm_users.is_empty() {
            self.shm.clear();
        }
    }
}
