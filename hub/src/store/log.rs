//! What gateways must hear of a row: which fields each sequence touched, and
//! which of them travel even to the gateway that brought the change.
//!
//! A gateway folds its own changes into its base. A field may stay home with it
//! only where that gives the value that the hub came to; every other field that
//! changed travels.
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rusqlite::{CachedStatement, Connection, params};
use wadi_protocol::change::{Change, FieldRef, Op};
use wadi_protocol::limits::ROW_BYTES_MAX;
use wadi_protocol::resolve::lay;
use wadi_protocol::schema::{Field, Table};
use wadi_protocol::value::Value;

use super::StoreError;
use super::changes::Entered;
use super::sql::{Bits, Id, RowKey, number_at, pack, unpack};
use super::work::{Fields, RowWork};

/// A line of the log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Entry {
    /// The hub sequence.
    pub seq: u64,
    /// Who brought the change; 0 = nobody: an operator, or the rules themselves.
    pub gateway: u32,
    /// Fields touched; 0 = existence.
    pub touched: Vec<u16>,
    /// Fields that travel to everybody.
    pub travels: Vec<u16>,
}

/// The lines that a row's way through a transaction leaves. Effects that no change
/// of the row touched are logged at `last`.
pub(super) fn entries(table: &Table, row: &RowWork, shown_after: &Fields, last: u64) -> Vec<Entry> {
    let travels = if stays_home(row, shown_after) {
        debug_assert!(travelling(table, row, shown_after).is_empty());
        BTreeSet::new()
    } else {
        travelling(table, row, shown_after)
    };
    let mut entries: Vec<Entry> = row
        .touches
        .iter()
        .map(|touch| {
            let touched = touched(table, &touch.change);
            let moves = |at: &u16| touch.stray || travels.contains(at);
            let travels = touched.iter().copied().filter(moves).collect();
            Entry { seq: touch.seq, gateway: touch.gateway, touched, travels }
        })
        .collect();
    let told: BTreeSet<u16> = entries.iter().flat_map(|entry| &entry.travels).copied().collect();
    let rest: Vec<u16> = travels.difference(&told).copied().collect();
    if !rest.is_empty() {
        match entries.last_mut() {
            Some(entry) => {
                entry.travels.extend(rest);
                entry.travels.sort_unstable();
            }
            None => entries.push(Entry { seq: last, travels: rest, ..Entry::default() }),
        }
    }
    entries
}

/// The whole row travels to everybody with this line.
pub(super) fn whole(entry: &mut Entry) {
    if let Err(place) = entry.travels.binary_search(&0) {
        entry.travels.insert(place, 0);
    }
}

/// Whether plainly nothing travels: a chain that one gateway brought, of a row that
/// shows just what its changes say. [`travelling`] would find the same, field by field.
fn stays_home(row: &RowWork, shown_after: &Fields) -> bool {
    let (before, after) = (&row.before, &row.after);
    after.chain.is_some()
        && row.resolved.is_none()
        && row.touches.windows(2).all(|pair| pair[0].gateway == pair[1].gateway)
        && !row.touches.is_empty()
        && !row
            .touches
            .iter()
            .any(|touch| touch.stray || touch.repaired || touch.change.passes_any())
        && (before.is_live() || !before.known)
        && after.is_live()
        && std::ptr::eq(shown_after, &*after.fields)
        && Rc::ptr_eq(&row.shown_before, &before.fields)
        && before.bytes <= ROW_BYTES_MAX
        && before.twins.is_empty()
        && after.twins.is_empty()
}

/// The fields that do not stay home with anybody.
fn travelling(table: &Table, row: &RowWork, shown_after: &Fields) -> BTreeSet<u16> {
    let mut travels = BTreeSet::new();
    let stays = one_line(row.touches.iter().filter(|touch| touches(&touch.change, 0)))
        && fold_existence(row) == row.after.is_live();
    let moves = !stays && (row.before.is_live() != row.after.is_live() || has_touch(row, 0));
    // One that was too large to travel is nowhere: it travels whole once it is not.
    if moves || row.before.bytes > ROW_BYTES_MAX {
        travels.insert(0);
    }
    for field in &table.fields {
        let number = field.number;
        let before = row.shown_before.get(&number).unwrap_or(&Value::Null);
        let after = shown_after.get(&number).unwrap_or(&Value::Null);
        let touching = || row.touches.iter().filter(|touch| touches(&touch.change, number));
        let stays = one_line(touching())
            && fold(field, before, touching()) == *after
            // What did not travel its gateway has, unless a later one lies over it.
            && touching().next_back().is_none_or(|touch| !touch.change.passes(number));
        if !stays && (before != after || has_touch(row, number)) {
            travels.insert(number);
        }
    }
    let (before, after) = (row.before.waiting(), row.after.waiting());
    travels.extend(before.iter().filter(|field| !after.contains(field)));
    travels.extend(after.iter().filter(|field| !before.contains(field)));
    travels
}

/// Whether all were brought by one gateway, as they count (or there are none).
fn one_line<'a>(mut touches: impl Iterator<Item = &'a Entered>) -> bool {
    let Some(first) = touches.next() else {
        return true;
    };
    !first.repaired && touches.all(|touch| !touch.repaired && touch.gateway == first.gateway)
}

fn has_touch(row: &RowWork, field: u16) -> bool {
    row.touches.iter().any(|touch| touches(&touch.change, field))
}

/// What folding the row's changes makes of its existence.
fn fold_existence(row: &RowWork) -> bool {
    row.touches.iter().fold(row.before.is_live(), |live, touch| match touch.change.op {
        Op::Insert => true,
        Op::Delete => false,
        Op::Update | Op::Settle | Op::Undone => live,
    })
}

/// What folding the changes makes of a field.
fn fold<'a>(field: &Field, before: &Value, touches: impl Iterator<Item = &'a Entered>) -> Value {
    touches.fold(before.clone(), |value, touch| {
        let change = &touch.change;
        let below = if change.op == Op::Insert { Value::Null } else { value };
        match change.delta(field.number) {
            Some(delta) => lay(field, &below, delta),
            None => below,
        }
    })
}

/// Whether the log counts a field as touched: a delete touches existence alone, since
/// nothing is shown of a dead row and one that comes back travels whole.
fn touches(change: &Change, field: u16) -> bool {
    match change.op {
        Op::Delete => field == 0,
        _ => change.touches(field),
    }
}

fn touched(table: &Table, change: &Change) -> Vec<u16> {
    if change.op == Op::Update {
        // Sorted by field, and they know no field 0.
        let numbers = change.fields.iter().filter_map(|(field, _)| match field {
            FieldRef::Number(number) => table.field(*number).map(|field| field.number),
            FieldRef::Name(_) => None,
        });
        return numbers.collect();
    }
    let numbers = table.fields.iter().map(|field| field.number);
    std::iter::once(0).chain(numbers).filter(|&field| touches(change, field)).collect()
}

/// Writes lines.
pub(super) struct Writer<'a> {
    insert: CachedStatement<'a>,
}

impl<'a> Writer<'a> {
    /// Into this database.
    pub fn new(db: &'a Connection) -> Result<Writer<'a>, StoreError> {
        let insert = db.prepare_cached(
            "INSERT INTO wadi_log (seq, tbl, row, lane, gateway, touched, travels)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        Ok(Writer { insert })
    }

    /// Write a line.
    pub fn insert(&mut self, table: &Table, key: RowKey, entry: &Entry) -> Result<(), StoreError> {
        self.insert.execute(params![
            Bits(entry.seq),
            key.table,
            Id(key.row),
            table.lane as u8,
            entry.gateway,
            pack(&entry.touched),
            pack(&entry.travels),
        ])?;
        Ok(())
    }
}

/// The lines of a row behind a sequence, oldest first.
pub(super) fn since(db: &Connection, key: RowKey, cursor: u64) -> Result<Vec<Entry>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT seq, gateway, touched, travels FROM wadi_log
         WHERE tbl = ?1 AND row = ?2 AND seq > ?3 ORDER BY seq",
    )?;
    let mut rows = query.query(params![key.table, Id(key.row), Bits(cursor)])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(Entry {
            seq: number_at(row, 0)?,
            gateway: row.get(1)?,
            touched: unpack(&row.get::<_, Vec<u8>>(2)?, "wadi_log.touched")?,
            travels: unpack(&row.get::<_, Vec<u8>>(3)?, "wadi_log.travels")?,
        });
    }
    Ok(entries)
}

/// What travels to a gateway of these lines: field by field, whether it touched existence
/// included. `brought`: whether its own line of rounds brought what a line tells of.
pub(super) fn travels_to(
    entries: &[Entry],
    brought: impl Fn(&Entry) -> bool,
) -> BTreeMap<u16, u64> {
    let mut fields = BTreeMap::new();
    for entry in entries {
        let touched = if brought(entry) { &[][..] } else { &entry.touched[..] };
        for &field in touched.iter().chain(&entry.travels) {
            fields.insert(field, entry.seq);
        }
    }
    fields
}
