//! The model: all that one direction of a link has learnt of the batches before.
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::engine::{Engine, hash, place};
use super::memo::Memo;
use super::relations::Relations;
use super::rows::{CELLS_MAX, Called, Rows};
use super::texts::Texts;
use super::ties::Ties;
use crate::change::TableRef;
use crate::id::{DeviceId, Hash, RowId, RunId};

/// All memory of a model, in bytes.
pub const MODEL_BYTES_MAX: usize = 256 * 1024;
/// The first byte of a checkpoint.
const CHECKPOINT_VERSION: u8 = 1;
/// Bytes of a checkpoint; one of more is not read.
pub const CHECKPOINT_BYTES_MAX: usize = 2 * MODEL_BYTES_MAX;
const HASH_BYTES: usize = 16;

/// Names that are known at once; the one that was longest unused gives way.
pub(super) const NAMES_MAX: usize = 32;
/// Tables that are known at once.
const TABLES_MAX: usize = 32;
/// Sets of fields that are known of a table.
pub(super) const SETS_MAX: usize = 8;
/// Whether experts of a field were right lately.
const PASTS: usize = 2048;
/// Runs of hubs that are known.
pub(super) const HUBS_MAX: usize = 4;
/// Longer labels, and names of tables, are not remembered.
const LABEL_BYTES_MAX: usize = 32;

// Families of decisions; the escapes of numbers have the one behind.
pub(super) const FAMILY_VALUE: usize = 0;
pub(super) const FAMILY_TEXT: usize = 2;
pub(super) const FAMILY_ROW: usize = 4;
pub(super) const FAMILY_KIND: usize = 6;
pub(super) const FAMILY_HEAD: usize = 8;
pub(super) const FAMILY_STAMP: usize = 10;
pub(super) const FAMILY_SPELL: usize = 12;
pub(super) const FAMILY_PICK: usize = 14;

/// Who makes changes, and how far that is.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Name {
    pub(super) device: u64,
    pub(super) run: RunId,
    /// Run before and last sequence of it.
    pub(super) parent: Option<(RunId, u64)>,
    pub(super) label: String,
    /// Whether parent and label are known.
    pub(super) told: bool,
    /// In changes; 0 = never.
    pub(super) used: u32,
    pub(super) seq: u64,
    /// The last counter of the rows that it made.
    pub(super) made: u32,
    pub(super) stamp_s: u64,
    pub(super) counter: u16,
    /// What it did last.
    pub(super) did: u32,
    pub(super) schema: u32,
    pub(super) rights: u32,
}

/// A table that is known.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct TableNote {
    /// Hash of its number or name; 0 = none.
    pub(super) key: u32,
    /// What it is called.
    pub(super) named: Option<TableRef>,
    /// In changes.
    pub(super) used: u32,
    /// Greatest number of a field carried, as far as fields are remembered.
    pub(super) width: u8,
    /// The ordinal of the next row.
    pub(super) rows: u16,
    /// Sets of fields that were carried, as bits.
    pub(super) sets: Vec<u64>,
}

/// The change before.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Before {
    pub(super) name: u32,
    pub(super) did: u32,
    pub(super) dids: u32,
    pub(super) stamp_s: u64,
    pub(super) odd: u32,
    pub(super) hub: u32,
    pub(super) version: u64,
    /// Versions: how far the one of a change lay from the model's count of changes.
    pub(super) ahead: i64,
    /// The same for the last touch of its row.
    pub(super) ahead_row: i64,
    /// Changes in the batch before.
    pub(super) count: u32,
}

/// What a direction of a link has learnt. Two models that the same batches went
/// through in the same order are equal, wherever they stand.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    pub(super) engine: Engine,
    pub(super) memo: Memo,
    pub(super) rows: Rows,
    pub(super) texts: Texts,
    pub(super) ties: Ties,
    pub(super) relations: Relations,
    pub(super) names: Vec<Name>,
    pub(super) tables: Vec<TableNote>,
    pub(super) hubs: Vec<RunId>,
    pub(super) before: Before,
    /// The ordinal of the next row that was referenced before it was seen.
    pub(super) strangers: u16,
    /// Changes that went through it, and one.
    pub(super) changes: u32,
    /// Their number before this batch.
    pub(super) batch: u32,
    pasts: Vec<u8>,
}

impl Default for Model {
    fn default() -> Model {
        Model::new()
    }
}

impl Model {
    /// A model that has seen nothing.
    pub fn new() -> Model {
        Model {
            engine: Engine::new(),
            memo: Memo::new(),
            rows: Rows::new(),
            texts: Texts::new(),
            ties: Ties::new(),
            relations: Relations::new(),
            names: vec![Name::default(); NAMES_MAX],
            tables: vec![TableNote::default(); TABLES_MAX],
            hubs: vec![RunId::NONE; HUBS_MAX],
            before: Before::default(),
            strangers: 0,
            changes: 1,
            batch: 1,
            pasts: vec![0; PASTS],
        }
    }

    /// All memory that it takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let names = self.names.iter().map(|name| size_of::<Name>() + name.label.capacity());
        let tables = self.tables.iter().map(|table| {
            let named = match &table.named {
                Some(TableRef::Name(name)) => name.capacity(),
                _ => 0,
            };
            size_of::<TableNote>() + named + 8 * table.sets.capacity()
        });
        size_of::<Model>()
            + self.engine.memory_bytes()
            + self.memo.memory_bytes()
            + self.rows.memory_bytes()
            + self.texts.memory_bytes()
            + self.ties.memory_bytes()
            + self.relations.memory_bytes()
            + names.sum::<usize>()
            + tables.sum::<usize>()
            + 8 * self.hubs.capacity()
            + self.pasts.capacity()
    }

    /// The model as bytes, for the disk.
    pub fn checkpoint(&self) -> Vec<u8> {
        let body = postcard::to_allocvec(self).expect("models always encode");
        let mut out = vec![CHECKPOINT_VERSION];
        out.extend_from_slice(&Hash::of(&[&body]).0);
        out.extend_from_slice(&body);
        out
    }

    /// The model of a checkpoint; none if the bytes are damaged or of another version.
    pub fn restore(bytes: &[u8]) -> Option<Model> {
        let (version, rest) = bytes.split_first()?;
        let (hash, body) = rest.split_at_checked(HASH_BYTES)?;
        if *version != CHECKPOINT_VERSION
            || bytes.len() > CHECKPOINT_BYTES_MAX
            || Hash::of(&[body]).0 != hash
        {
            return None;
        }
        let model: Model = crate::budget::decode(body, 2 * MODEL_BYTES_MAX).ok()?;
        model.is_whole().then_some(model)
    }

    fn is_whole(&self) -> bool {
        self.engine.is_whole()
            && self.memo.is_whole()
            && self.rows.is_whole()
            && self.texts.is_whole()
            && self.ties.is_whole()
            && self.relations.is_whole()
            && self.names.len() == NAMES_MAX
            && self.tables.len() == TABLES_MAX
            && self.hubs.len() == HUBS_MAX
            && self.pasts.len() == PASTS
    }

    /// Note whether an expert was right.
    pub(super) fn record(&mut self, expert: u32, right: bool) {
        let past = &mut self.pasts[place(expert, PASTS)];
        *past = *past << 1 & 15 | u8::from(right);
    }

    /// Whether an expert was right the last four times, the lowest bit the last.
    pub(super) fn recorded(&self, expert: u32) -> u8 {
        self.pasts[place(expert, PASTS)]
    }

    pub(super) fn name(&self, device: DeviceId, run: RunId) -> Option<usize> {
        let mut names = self.names.iter();
        names.position(|name| name.used != 0 && name.device == device.0 && name.run == run)
    }

    /// Take a place for a new name.
    pub(super) fn add_name(&mut self, device: DeviceId, run: RunId) -> usize {
        let places = self.names.iter().enumerate();
        let (at, _) = places.min_by_key(|(_, name)| name.used).expect("there are places");
        if self.names[at].used != 0 {
            self.rows.forget(at as u8);
        }
        self.names[at] = Name { device: device.0, run, used: self.changes, ..Name::default() };
        at
    }

    /// Remember parent and label of a name.
    pub(super) fn tell(&mut self, at: usize, parent: Option<(RunId, u64)>, label: &str) {
        let name = &mut self.names[at];
        name.told = label.len() <= LABEL_BYTES_MAX;
        if name.told {
            name.parent = parent;
            name.label = label.into();
        }
    }

    pub(super) fn table(&self, key: u32) -> Option<usize> {
        self.tables.iter().position(|table| table.key == key)
    }

    /// The table of a key; another may give way to it.
    pub(super) fn add_table(&mut self, key: u32, named: &TableRef) -> usize {
        let places = self.tables.iter().enumerate();
        let (at, _) = places.min_by_key(|(_, table)| table.used).expect("there are places");
        let rows: Vec<u16> = self.rows.of_table(at as u8).collect();
        rows.into_iter().for_each(|row| self.rows.remove(row));
        let short = |named: &&TableRef| match named {
            TableRef::Number(_) => true,
            TableRef::Name(name) => name.len() <= LABEL_BYTES_MAX,
        };
        let named = Some(named).filter(short).cloned();
        self.tables[at] =
            TableNote { key, named, sets: Vec::with_capacity(SETS_MAX), ..TableNote::default() };
        at
    }

    /// What a row is called, given who may have made it.
    pub(super) fn called(&self, row: RowId) -> Called {
        let counter = u32::from_be_bytes([row.0[12], row.0[13], row.0[14], row.0[15]]);
        let made = self.names.iter().position(|name| {
            name.used != 0 && RowId::derive(DeviceId(name.device), name.run, counter.into()) == row
        });
        match made {
            Some(maker) => Called::Made { maker: maker as u8, counter },
            None => Called::Foreign(row),
        }
    }

    /// The id of what is called so.
    pub(super) fn row_id(&self, called: Called) -> RowId {
        match called {
            Called::Made { maker, counter } => {
                let name = &self.names[usize::from(maker)];
                RowId::derive(DeviceId(name.device), name.run, counter.into())
            }
            Called::Foreign(row) => row,
        }
    }
}

/// A table as one number; never 0.
pub(super) fn table_key(table: &TableRef) -> u32 {
    let key = match table {
        TableRef::Number(number) => hash(0x7ab1, (*number).into()),
        TableRef::Name(name) => name.bytes().fold(0x7ab2, |key, byte| hash(key, byte.into())),
    };
    key.max(1)
}

/// A named field of a table as one number.
pub(super) fn field_key_of(table: u32, name: &str) -> u32 {
    name.bytes().fold(hash(0xf1e1e, table), |key, byte| hash(key, byte.into()))
}

/// Fields of a row that can be remembered.
pub(super) const WIDTH_MAX: usize = CELLS_MAX;
