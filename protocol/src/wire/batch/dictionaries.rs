//! What the changes of a batch name again and again: runs, hub runs, tables,
//! sets of fields. Both directions.
//!
//! ```text
//! names    = devices (8 bytes each) | (place of the device, run)
//! runs     = those of the batch, which are the first names:
//!            0 or place of the parent's name + 1, last sequence of it | label
//! hub runs = numbers; none stands before them
//! tables   = number * 2, or 1 and the name
//! sets     = of fields: distance from the number expected * 2, or 1 and the name
//! ```
//! A count leads each list.
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::stream::{Reader, Writer, apart, narrow, together};
use super::texts::Texts;
use super::{Batch, BatchError};
use crate::change::{FieldRef, TableRef};
use crate::id::{DeviceId, RunId, RunInfo};
use crate::limits::CHANGE_FIELDS_MAX;

/// What one name takes: it, its maker, that one's index, what was made and shown of it.
pub(super) const NAME_BYTES: usize = 128;

/// In the order of first appearance, each once.
pub(super) struct Dictionary<T> {
    pub(super) list: Vec<T>,
    pub(super) places: BTreeMap<T, usize>,
}

impl<T: Ord + Clone> Dictionary<T> {
    pub(super) fn new() -> Dictionary<T> {
        Dictionary { list: Vec::new(), places: BTreeMap::new() }
    }

    pub(super) fn place(&mut self, item: &T) -> usize {
        if let Some(place) = self.places.get(item) {
            return *place;
        }
        self.append(item.clone())
    }

    /// At the end, even if it is there already.
    fn append(&mut self, item: T) -> usize {
        let place = self.list.len();
        self.places.entry(item.clone()).or_insert(place);
        self.list.push(item);
        place
    }
}

/// Every run that the batch names: first those of [`Batch::runs`], then the others.
pub(super) fn names(batch: &Batch) -> Dictionary<(DeviceId, RunId)> {
    let mut names = Dictionary::new();
    for info in &batch.runs {
        names.append((info.device, info.run));
    }
    for info in &batch.runs {
        if let Some((parent, _)) = info.parent {
            names.place(&(info.device, parent));
        }
    }
    for change in &batch.changes {
        let shown = change.closure.iter().flat_map(|row| &row.seen.above);
        for dot in [&change.dot].into_iter().chain(&change.seen.above).chain(shown) {
            names.place(&(dot.device, dot.run));
        }
    }
    names
}

pub(super) fn put_names(out: &mut Writer, names: &Dictionary<(DeviceId, RunId)>) {
    let mut devices = Dictionary::new();
    let places: Vec<_> = names.list.iter().map(|(device, _)| devices.place(device)).collect();
    out.count(devices.list.len());
    for device in &devices.list {
        out.bytes(&device.0.to_le_bytes());
    }
    out.count(names.list.len());
    for ((_, run), device) in names.list.iter().zip(places) {
        out.count(device);
        out.number(run.0);
    }
}

pub(super) fn take_names(from: &mut Reader<'_>) -> Result<Vec<(DeviceId, RunId)>, BatchError> {
    let mut devices = Vec::new();
    for _ in 0..from.many("devices")? {
        devices.push(DeviceId(u64::from_le_bytes(from.array()?)));
    }
    let count = from.many("runs")?;
    from.charge(count * NAME_BYTES)?;
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        let place: usize = from.small("place of a device")?;
        let device = *devices.get(place).ok_or(BatchError::Malformed("place of a device"))?;
        names.push((device, RunId(from.number()?)));
    }
    Ok(names)
}

pub(super) fn put_runs(
    out: &mut Writer,
    texts: &mut Texts,
    batch: &Batch,
    names: &Dictionary<(DeviceId, RunId)>,
) {
    out.count(batch.runs.len());
    for info in &batch.runs {
        match info.parent {
            None => out.count(0),
            Some((parent, seq)) => {
                out.count(names.places[&(info.device, parent)] + 1);
                out.number(seq);
            }
        }
        texts.put(out, &info.label);
    }
}

pub(super) fn take_runs(
    from: &mut Reader<'_>,
    texts: &mut Texts,
    names: &[(DeviceId, RunId)],
) -> Result<Vec<RunInfo>, BatchError> {
    let count = from.count("runs", names.len())?;
    from.charge(count * size_of::<RunInfo>())?;
    let mut runs = Vec::with_capacity(count);
    for &(device, run) in &names[..count] {
        let parent = match from.small::<usize>("parent of a run")? {
            0 => None,
            place => {
                let parent = names.get(place - 1).filter(|(parent, _)| *parent == device);
                let (_, parent) = parent.ok_or(BatchError::Malformed("parent of a run"))?;
                Some((*parent, from.number()?))
            }
        };
        runs.push(RunInfo { device, run, parent, label: texts.take(from)? });
    }
    Ok(runs)
}

/// The hub runs; the first, none, is known.
pub(super) fn put_hubs(out: &mut Writer, hubs: &[RunId]) {
    out.count(hubs.len() - 1);
    for hub in &hubs[1..] {
        out.number(hub.0);
    }
}

pub(super) fn take_hubs(from: &mut Reader<'_>) -> Result<Vec<RunId>, BatchError> {
    let mut hubs = vec![RunId::NONE];
    for _ in 0..from.many("hub runs")? {
        hubs.push(RunId(from.number()?));
    }
    Ok(hubs)
}

pub(super) fn put_tables(out: &mut Writer, texts: &mut Texts, tables: &[&TableRef]) {
    out.count(tables.len());
    for table in tables {
        match table {
            TableRef::Number(number) => put_code(out, u64::from(*number)),
            TableRef::Name(name) => put_name(out, texts, name),
        }
    }
}

pub(super) fn take_tables(
    from: &mut Reader<'_>,
    texts: &mut Texts,
) -> Result<Vec<TableRef>, BatchError> {
    let count = from.many("tables")?;
    from.charge(count * size_of::<TableRef>())?;
    let mut tables = Vec::with_capacity(count);
    for _ in 0..count {
        tables.push(match take_code(from, texts)? {
            Ok(number) => TableRef::Number(narrow(number, "number of a table")?),
            Err(name) => TableRef::Name(name),
        });
    }
    Ok(tables)
}

pub(super) fn put_sets(out: &mut Writer, texts: &mut Texts, sets: &[Vec<&FieldRef>]) {
    out.count(sets.len());
    for set in sets {
        out.count(set.len());
        let mut expected = 1;
        for field in set {
            match field {
                FieldRef::Number(number) => {
                    put_code(out, apart((*number).into(), expected));
                    expected = u64::from(*number) + 1;
                }
                FieldRef::Name(name) => put_name(out, texts, name),
            }
        }
    }
}

pub(super) fn take_sets(
    from: &mut Reader<'_>,
    texts: &mut Texts,
) -> Result<Vec<Vec<FieldRef>>, BatchError> {
    let count = from.many("sets of fields")?;
    from.charge(count * size_of::<Vec<FieldRef>>())?;
    let mut sets = Vec::with_capacity(count);
    for _ in 0..count {
        let len = from.count("fields in a change", CHANGE_FIELDS_MAX)?;
        from.charge(len * size_of::<FieldRef>())?;
        let mut set = Vec::with_capacity(len);
        let mut expected = 1;
        for _ in 0..len {
            set.push(match take_code(from, texts)? {
                Ok(apart) => {
                    let number = narrow(together(apart, expected), "number of a field")?;
                    expected = u64::from(number) + 1;
                    FieldRef::Number(number)
                }
                Err(name) => FieldRef::Name(name),
            });
        }
        sets.push(set);
    }
    Ok(sets)
}

fn put_code(out: &mut Writer, number: u64) {
    out.number(number << 1);
}

fn put_name(out: &mut Writer, texts: &mut Texts, name: &str) {
    out.number(1);
    texts.put(out, name);
}

/// A number, or in its stead a name.
fn take_code(from: &mut Reader<'_>, texts: &mut Texts) -> Result<Result<u64, String>, BatchError> {
    Ok(match from.number()? {
        1 => Err(texts.take(from)?),
        code if code & 1 == 0 => Ok(code >> 1),
        _ => return Err(BatchError::Malformed("number or name")),
    })
}
