//! The order in which a batch is read: the mirror of [`super::encode`].
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::column::{self, Numbers};
use super::dictionaries::{take_hubs, take_names, take_runs, take_sets, take_tables};
use super::encode::{
    ABOVE, CLOSURE, CONTAINED, NO_GROUP, OTHER_GROUP, SAME_GROUP, foreseen_counter,
};
use super::rows::Rows;
use super::stream::{Reader, narrow, together};
use super::texts::Texts;
use super::{Batch, BatchError, values};
use crate::change::{Change, Delta, FieldRef, Group, Op, Seen, SeenRow, TableRef};
use crate::id::{DeviceId, Dot, RowVersion, RunId};
use crate::limits::{CHANGESET_CHANGES_MAX, CLOSURE_ROWS_MAX, SEEN_DOTS_MAX};
use crate::stamp::Stamp;

/// What one field of a change takes: in it, in its column, and on the way between.
pub(super) const FIELD_BYTES: usize =
    size_of::<(FieldRef, Delta)>() + size_of::<Delta>() + 2 * size_of::<usize>();
/// What one column takes, its deltas aside, about.
pub(super) const COLUMN_BYTES: usize = 128;

/// What the decoder knows while it goes through the changes.
struct Decoder<'a> {
    from: Reader<'a>,
    names: Vec<(DeviceId, RunId)>,
    hubs: Vec<RunId>,
    tables: Vec<TableRef>,
    sets: Vec<Vec<FieldRef>>,
    rows: Rows,
    made: Vec<u64>,
    shown: Vec<u64>,
    versions: Vec<u64>,
    /// Place of the name of the change before.
    last: usize,
    /// Places of the table and of the set of fields of each change; the deltas come last.
    carried: Vec<(usize, usize)>,
}

/// Decode what follows the version byte.
pub(super) fn decode(bytes: &[u8]) -> Result<Batch, BatchError> {
    let mut from = Reader::new(bytes);
    let mut texts = Texts::default();
    let names = take_names(&mut from)?;
    let runs = take_runs(&mut from, &mut texts, &names)?;
    let count = from.count("changes", CHANGESET_CHANGES_MAX)?;
    let hubs = take_hubs(&mut from)?;
    let tables = take_tables(&mut from, &mut texts)?;
    let sets = take_sets(&mut from, &mut texts)?;
    let columns = column::take(&mut from, count)?;
    let mut decoder = Decoder {
        from,
        rows: Rows::new(&names),
        made: vec![0; names.len()],
        shown: vec![0; names.len()],
        versions: vec![0; hubs.len()],
        names,
        hubs,
        tables,
        sets,
        last: 0,
        carried: Vec::with_capacity(count),
    };
    decoder.from.charge(count * size_of::<Change>())?;
    let mut changes = Vec::with_capacity(count);
    for numbers in columns {
        let change = decoder.change(numbers, changes.last())?;
        changes.push(change);
    }
    decoder.take_values(&mut changes)?;
    match decoder.from.is_at_end() {
        true => Ok(Batch { runs, changes }),
        false => Err(BatchError::Malformed("bytes follow it")),
    }
}

impl Decoder<'_> {
    /// The change of a row of the columns, still without its fields.
    fn change(&mut self, numbers: Numbers, before: Option<&Change>) -> Result<Change, BatchError> {
        let [
            name,
            seq,
            seconds,
            counter,
            entered,
            schema,
            rights,
            group,
            table,
            op,
            row,
            set,
            hub,
            version,
            rare,
        ] = numbers;
        let name: usize = narrow(together(name, self.last as u64), "name")?;
        let &(device, run) = self.names.get(name).ok_or(BatchError::Malformed("name"))?;
        let seq = together(seq, self.made[name].wrapping_add(1));
        self.made[name] = seq;
        self.last = name;
        let stamp_before = before.map_or(Stamp::default(), |change| change.stamp);
        let seconds = together(seconds, stamp_before.seconds);
        let counter: u16 = narrow(counter, "counter of a stamp")?;
        let stamp = Stamp {
            seconds,
            counter: counter.wrapping_add(foreseen_counter(stamp_before, seconds)),
        };
        let schema: u32 = narrow(schema, "version of a schema")?;
        let rights: u32 = narrow(rights, "version of rights")?;
        let group = self.group(group, seq, before)?;
        let row = self.rows.take_own(&mut self.from, row, Some(name))?;
        let hub = narrow(hub, "place of a hub run")?;
        let version = self.version(hub, version)?;
        let place = narrow(table, "place of a table")?;
        let mut change = Change {
            dot: Dot { device, run, seq },
            stamp,
            entered_s: together(entered, seconds),
            contained: None,
            schema: schema.wrapping_add(before.map_or(0, |change| change.schema)),
            rights: rights.wrapping_add(before.map_or(0, |change| change.rights)),
            group,
            table: self.table(place)?,
            row,
            op: op_of(op)?,
            fields: Vec::new(),
            seen: Seen { version, above: Vec::new() },
            closure: Vec::new(),
        };
        self.rare(rare, hub, &mut change)?;
        let set = narrow(set, "place of a set of fields")?;
        self.charge_fields(set)?;
        self.carried.push((place, set));
        Ok(change)
    }

    fn table(&mut self, place: usize) -> Result<TableRef, BatchError> {
        let table = self.tables.get(place).ok_or(BatchError::Malformed("place of a table"))?;
        if let TableRef::Name(name) = table {
            self.from.charge(name.len())?;
        }
        Ok(table.clone())
    }

    /// Announce the fields of a change.
    fn charge_fields(&mut self, set: usize) -> Result<(), BatchError> {
        let set = self.sets.get(set).ok_or(BatchError::Malformed("place of a set of fields"))?;
        let names = set.iter().map(|field| match field {
            FieldRef::Number(_) => 0,
            FieldRef::Name(name) => name.len(),
        });
        self.from.charge(set.len() * FIELD_BYTES + names.sum::<usize>())
    }

    fn group(
        &mut self,
        code: u64,
        seq: u64,
        before: Option<&Change>,
    ) -> Result<Option<Group>, BatchError> {
        match code {
            NO_GROUP => Ok(None),
            SAME_GROUP => match before.and_then(|change| change.group) {
                Some(group) => Ok(Some(group)),
                None => Err(BatchError::Malformed("group")),
            },
            OTHER_GROUP => {
                let back = together(self.from.number()?, 0);
                let first = seq.wrapping_sub(back);
                Ok(Some(Group { first, len: self.from.small("length of a group")? }))
            }
            _ => Err(BatchError::Malformed("group")),
        }
    }

    fn rare(&mut self, rare: u64, hub: usize, change: &mut Change) -> Result<(), BatchError> {
        if rare & !(CONTAINED | ABOVE | CLOSURE) != 0 {
            return Err(BatchError::Malformed("announcement of details"));
        }
        if rare & CONTAINED != 0 {
            let seconds = together(self.from.number()?, change.stamp.seconds);
            let counter = self.from.small("counter of a stamp")?;
            change.contained = Some(Stamp { seconds, counter });
        }
        if rare & ABOVE != 0 {
            change.seen.above = self.above()?;
        }
        if rare & CLOSURE != 0 {
            let count = self.from.count("rows in a closure", CLOSURE_ROWS_MAX)?;
            self.from.charge(count * size_of::<SeenRow>())?;
            change.closure.reserve_exact(count);
            for _ in 0..count {
                change.closure.push(self.closure_row(hub)?);
            }
        }
        Ok(())
    }

    fn closure_row(&mut self, hub: usize) -> Result<SeenRow, BatchError> {
        let table = self.from.small("number of a table")?;
        let row = self.rows.take(&mut self.from)?;
        let hub = narrow(together(self.from.number()?, hub as u64), "place of a hub run")?;
        let version = self.from.number()?;
        let version = self.version(hub, version)?;
        Ok(SeenRow { table, row, seen: Seen { version, above: self.above()? } })
    }

    fn above(&mut self) -> Result<Vec<Dot>, BatchError> {
        let count = self.from.count("dots seen", SEEN_DOTS_MAX)?;
        self.from.charge(count * size_of::<Dot>())?;
        let mut above = Vec::with_capacity(count);
        for _ in 0..count {
            let name: usize = self.from.small("name")?;
            let &(device, run) = self.names.get(name).ok_or(BatchError::Malformed("name"))?;
            let seq = together(self.from.number()?, self.shown[name]);
            self.shown[name] = seq;
            above.push(Dot { device, run, seq });
        }
        Ok(above)
    }

    fn version(&mut self, hub: usize, apart: u64) -> Result<RowVersion, BatchError> {
        let last = self.versions.get_mut(hub).ok_or(BatchError::Malformed("place of a hub run"))?;
        *last = together(apart, *last);
        Ok(RowVersion { hub: self.hubs[hub], seq: *last })
    }

    /// The value columns, and from them the fields of every change.
    fn take_values(&mut self, changes: &mut [Change]) -> Result<(), BatchError> {
        let (walk, counts) = self.walk()?;
        let mut columns = Vec::with_capacity(counts.len());
        for count in counts {
            columns.push(values::take(&mut self.from, &mut self.rows, count)?.into_iter());
        }
        let mut walk = walk.into_iter();
        for (change, (_, set)) in changes.iter_mut().zip(&self.carried) {
            let set = &self.sets[*set];
            change.fields.reserve_exact(set.len());
            for (field, place) in set.iter().zip(&mut walk) {
                let delta = columns[place].next().expect("each column holds what was counted");
                change.fields.push((field.clone(), delta));
            }
        }
        Ok(())
    }

    /// For each field of each change its column, and how many deltas each column holds.
    fn walk(&mut self) -> Result<(Vec<usize>, Vec<usize>), BatchError> {
        let mut places = BTreeMap::new();
        let mut counts = Vec::new();
        let mut walk = Vec::new();
        for (table, set) in &self.carried {
            for field in &self.sets[*set] {
                let place = *places.entry((table, field)).or_insert(counts.len());
                if place == counts.len() {
                    self.from.charge(COLUMN_BYTES)?;
                    counts.push(0);
                }
                counts[place] += 1;
                walk.push(place);
            }
        }
        Ok((walk, counts))
    }
}

fn op_of(code: u64) -> Result<Op, BatchError> {
    match code {
        0 => Ok(Op::Insert),
        1 => Ok(Op::Update),
        2 => Ok(Op::Delete),
        3 => Ok(Op::Settle),
        4 => Ok(Op::Undone),
        _ => Err(BatchError::Malformed("what a change does")),
    }
}
