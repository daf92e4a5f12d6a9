//! The order in which a batch is written. [`super::decode`] mirrors it line by line.
use alloc::vec;
use alloc::vec::Vec;

use super::column::{self, Numbers};
use super::dictionaries::{Dictionary, names, put_hubs, put_names, put_runs, put_sets, put_tables};
use super::rows::Rows;
use super::stream::{Writer, apart};
use super::texts::Texts;
use super::{BATCH_VERSION, Batch, values};
use crate::change::{Change, Delta, FieldRef, Op, Seen, TableRef};
use crate::id::{DeviceId, Dot, RunId};
use crate::stamp::Stamp;

/// Columns hold this for a group; see also [`SAME_GROUP`].
pub(super) const NO_GROUP: u64 = 0;
/// The group of the change before.
pub(super) const SAME_GROUP: u64 = 1;
/// A group that the details give.
pub(super) const OTHER_GROUP: u64 = 2;

// Bits of the column that announces what is rare.
pub(super) const CONTAINED: u64 = 1;
pub(super) const ABOVE: u64 = 2;
pub(super) const CLOSURE: u64 = 4;

/// What the encoder knows while it goes through the changes.
struct Encoder<'a> {
    names: Dictionary<(DeviceId, RunId)>,
    hubs: Dictionary<RunId>,
    tables: Dictionary<&'a TableRef>,
    sets: Dictionary<Vec<&'a FieldRef>>,
    rows: Rows,
    /// Greatest sequence expected, for each name: of changes, of dots shown.
    made: Vec<u64>,
    shown: Vec<u64>,
    /// Sequence of the last version, for each hub.
    versions: Vec<u64>,
    details: Writer,
}

pub(super) fn encode(batch: &Batch) -> Vec<u8> {
    let mut out = Writer { out: vec![BATCH_VERSION] };
    let mut texts = Texts::default();
    let names = names(batch);
    put_names(&mut out, &names);
    put_runs(&mut out, &mut texts, batch, &names);
    let mut encoder = Encoder {
        rows: Rows::new(&names.list),
        made: vec![0; names.list.len()],
        shown: vec![0; names.list.len()],
        names,
        hubs: Dictionary::new(),
        tables: Dictionary::new(),
        sets: Dictionary::new(),
        versions: Vec::new(),
        details: Writer::default(),
    };
    encoder.hub(RunId::NONE);
    let mut columns = Vec::with_capacity(batch.changes.len());
    let mut before = None;
    for change in &batch.changes {
        columns.push(encoder.numbers(change, before));
        before = Some(change);
    }
    out.count(batch.changes.len());
    put_hubs(&mut out, &encoder.hubs.list);
    put_tables(&mut out, &mut texts, &encoder.tables.list);
    put_sets(&mut out, &mut texts, &encoder.sets.list);
    column::put(&mut out, &columns);
    out.bytes(&encoder.details.out);
    put_values(&mut out, &mut encoder.rows, &batch.changes);
    out.out
}

impl<'a> Encoder<'a> {
    /// The change's numbers, in the order of the columns; what they announce goes to the details.
    fn numbers(&mut self, change: &'a Change, before: Option<&Change>) -> Numbers {
        let name = self.name(change.dot);
        let name_before = before.map_or(0, |change| self.name(change.dot));
        let expected = self.made[name].wrapping_add(1);
        self.made[name] = change.dot.seq;
        let stamp_before = before.map_or(Stamp::default(), |change| change.stamp);
        let counter = foreseen_counter(stamp_before, change.stamp.seconds);
        let group = self.group(change, before);
        let row = self.rows.put_own(&mut self.details, change.row, Some(name));
        let hub = self.hub(change.seen.version.hub);
        let version = self.version(hub, change.seen.version.seq);
        let rare = self.rare(change, hub);
        let (schema, rights) = before.map_or((0, 0), |change| (change.schema, change.rights));
        let set = change.fields.iter().map(|(field, _)| field).collect();
        [
            apart(name as u64, name_before as u64),
            apart(change.dot.seq, expected),
            apart(change.stamp.seconds, stamp_before.seconds),
            u64::from(change.stamp.counter.wrapping_sub(counter)),
            apart(change.entered_s, change.stamp.seconds),
            u64::from(change.schema.wrapping_sub(schema)),
            u64::from(change.rights.wrapping_sub(rights)),
            group,
            self.tables.place(&&change.table) as u64,
            code(change.op),
            row,
            self.sets.place(&set) as u64,
            hub as u64,
            version,
            rare,
        ]
    }

    fn group(&mut self, change: &Change, before: Option<&Change>) -> u64 {
        match change.group {
            None => NO_GROUP,
            group if before.is_some_and(|before| before.group == group) => SAME_GROUP,
            Some(group) => {
                self.details.number(apart(change.dot.seq, group.first));
                self.details.number(group.len.into());
                OTHER_GROUP
            }
        }
    }

    fn rare(&mut self, change: &Change, hub: usize) -> u64 {
        let mut rare = 0;
        if let Some(stamp) = change.contained {
            rare |= CONTAINED;
            self.details.number(apart(stamp.seconds, change.stamp.seconds));
            self.details.number(stamp.counter.into());
        }
        if !change.seen.above.is_empty() {
            rare |= ABOVE;
            self.above(&change.seen);
        }
        if !change.closure.is_empty() {
            rare |= CLOSURE;
            self.details.count(change.closure.len());
            for row in &change.closure {
                self.details.number(row.table.into());
                self.rows.put(&mut self.details, row.row);
                let row_hub = self.hub(row.seen.version.hub);
                self.details.number(apart(row_hub as u64, hub as u64));
                let version = self.version(row_hub, row.seen.version.seq);
                self.details.number(version);
                self.above(&row.seen);
            }
        }
        rare
    }

    fn above(&mut self, seen: &Seen) {
        self.details.count(seen.above.len());
        for dot in &seen.above {
            let name = self.name(*dot);
            self.details.count(name);
            self.details.number(apart(dot.seq, self.shown[name]));
            self.shown[name] = dot.seq;
        }
    }

    fn name(&self, dot: Dot) -> usize {
        self.names.places[&(dot.device, dot.run)]
    }

    fn hub(&mut self, hub: RunId) -> usize {
        let place = self.hubs.place(&hub);
        self.versions.resize(self.hubs.list.len(), 0);
        place
    }

    fn version(&mut self, hub: usize, seq: u64) -> u64 {
        apart(seq, core::mem::replace(&mut self.versions[hub], seq))
    }
}

/// The counter that a stamp of these seconds has if it follows `before`.
pub(super) fn foreseen_counter(before: Stamp, seconds: u64) -> u16 {
    if before.seconds == seconds { before.counter.wrapping_add(1) } else { 0 }
}

fn code(op: Op) -> u64 {
    match op {
        Op::Insert => 0,
        Op::Update => 1,
        Op::Delete => 2,
        Op::Settle => 3,
        Op::Undone => 4,
    }
}

fn put_values(out: &mut Writer, rows: &mut Rows, changes: &[Change]) {
    let mut places = Dictionary::new();
    let mut columns: Vec<Vec<&Delta>> = Vec::new();
    for change in changes {
        for (field, delta) in &change.fields {
            let place = places.place(&(&change.table, field));
            columns.resize(places.list.len(), Vec::new());
            columns[place].push(delta);
        }
    }
    for column in &columns {
        values::put(out, rows, column);
    }
}
