//! Which changes may be applied now, and in what order.
//!
//! A change waits (is parked) until its row and every row that it references
//! have been known, and its whole group may go. What waits for one another
//! goes together.
use std::collections::{BTreeMap, BTreeSet};

use wadi_protocol::change::{Delta, FieldRef, Op};
use wadi_protocol::id::{DeviceId, RunId};
use wadi_protocol::order::{self, Item};
use wadi_protocol::schema::Kind;
use wadi_protocol::value::Value;

use super::changes::Entered;
use super::sql::RowKey;
use super::work::Work;
use super::{Catalog, StoreError};

/// The places of those that may go, in the order in which to apply them.
pub(super) fn admit(work: &Work<'_>, waiting: &[Entered]) -> Result<Vec<usize>, StoreError> {
    let items = items(work, waiting)?;
    let mut known = BTreeSet::new();
    for key in items.iter().flat_map(|item| &item.needs) {
        if !known.contains(key) && work.peek(*key)?.known {
            known.insert(*key);
        }
    }
    let goes = order::admit(&items, |key| known.contains(key));
    let places: Vec<usize> = (0..waiting.len()).filter(|&place| goes[place]).collect();
    let before = before(&places, &items, waiting, &known);
    let ordered = order::components(places.len(), &before);
    Ok(ordered.into_iter().flatten().map(|at| places[at]).collect())
}

fn items(work: &Work<'_>, waiting: &[Entered]) -> Result<Vec<Item<RowKey>>, StoreError> {
    let mut groups: BTreeMap<(DeviceId, RunId, u64), Vec<usize>> = BTreeMap::new();
    let group_of = |entered: &Entered| {
        let dot = entered.change.dot;
        entered.change.group.map(|group| (dot.device, dot.run, group.first))
    };
    for (place, entered) in waiting.iter().enumerate() {
        if let Some(group) = group_of(entered) {
            groups.entry(group).or_default().push(place);
        }
    }
    waiting
        .iter()
        .map(|entered| {
            let needs = needs(work.catalog, entered)?;
            let inserts = entered.change.op == Op::Insert;
            let gives = if inserts { vec![entered.key()] } else { Vec::new() };
            let with = group_of(entered).map(|group| groups[&group].clone()).unwrap_or_default();
            Ok(Item { needs, gives, with })
        })
        .collect()
}

/// The rows without which a change waits: its own, unless it inserts it, and those that its
/// values reference.
pub(super) fn needs(catalog: &Catalog, entered: &Entered) -> Result<Vec<RowKey>, StoreError> {
    let table = catalog.table(entered.key().table)?;
    let rows = entered.change.fields.iter().filter_map(|(field, delta)| {
        let FieldRef::Number(number) = field else {
            return None;
        };
        match (&table.field(*number)?.kind, delta) {
            (Kind::Reference { table, .. }, Delta::Set(Value::Row(row))) => {
                Some(RowKey { table: *table, row: *row })
            }
            _ => None,
        }
    });
    let own = (entered.change.op != Op::Insert).then(|| entered.key());
    Ok(rows.chain(own).collect())
}

/// Pairs (earlier, later) of those that go: a row's insert before what needs the row,
/// and the changes of one row as they came.
fn before(
    places: &[usize],
    items: &[Item<RowKey>],
    waiting: &[Entered],
    known: &BTreeSet<RowKey>,
) -> Vec<(usize, usize)> {
    let mut givers: BTreeMap<RowKey, usize> = BTreeMap::new();
    for (at, &place) in places.iter().enumerate() {
        for key in items[place].gives.iter().filter(|key| !known.contains(key)) {
            givers.entry(*key).or_insert(at);
        }
    }
    let mut pairs = Vec::new();
    let mut last: BTreeMap<RowKey, usize> = BTreeMap::new();
    for (at, &place) in places.iter().enumerate() {
        let needed = items[place].needs.iter().filter_map(|key| givers.get(key));
        pairs.extend(needed.filter(|&&giver| giver != at).map(|&giver| (giver, at)));
        let previous = last.insert(waiting[place].key(), at);
        if let Some(previous) = previous
            && waiting[place].change.op != Op::Insert
        {
            pairs.push((previous, at));
        }
    }
    pairs
}
