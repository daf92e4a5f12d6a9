//! Resolution: from the changes of a row to what the row is.
//!
//! [`resolve`] is a function of the set of changes and of what each had seen;
//! the order in which they are given, and so the order in which they arrived,
//! changes nothing. What had been seen comes first (`history`, `graph`),
//! then who is a candidate (`standing`), then the field's strategy (`strategy`,
//! `record`) and the table's rule for deletes (`existence`); references between rows are [`deletion`].
//! Everything is total: forged or senseless input costs a conflict, never a panic.
mod existence;
mod graph;
mod history;
mod lines;
mod record;
mod standing;
mod strategy;

pub mod chain;
pub mod deletion;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::change::{Change, Delta, FieldRef, Op};
use crate::schema::{Field, Merge, Mode, Table};
use crate::value::Value;
use history::{History, affirms, touches_every, touches_existence};
use standing::Standing;

pub use lines::Lines;

/// A change at its place in a hub's lineage.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// The change, typed (tables and fields numbered).
    pub change: &'a Change,
    /// Its hub sequence; 0 = not applied at the hub.
    pub seq: u64,
    /// `seen.version` of the change, expanded into our lineage: every change of
    /// the row up to this hub sequence had been shown. 0 = none.
    pub seen_seq: u64,
}

/// A row's image: what someone is shown of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Image {
    /// Whether the row is there.
    pub live: bool,
    /// Its values by field; absent = null.
    pub fields: BTreeMap<u16, Value>,
}

/// What a row is by its changes. Every index names one of the changes given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// Whether it is there.
    pub existence: Existence,
    /// Every field of the table, in order.
    pub fields: Vec<Resolution>,
}

/// Whether a row is there, as far as its own changes go; its references come
/// after, see [`deletion`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Existence {
    /// Whether it ever came to be: by an insert, or in the base image. An own
    /// update keeps a row that is dead in the base image on the screen until its outcome.
    pub inserted: bool,
    /// The delete candidates that make the row deleted; empty = it is not.
    pub deletes: Vec<usize>,
    /// All candidates of the existence, least (stamp, dot) first.
    pub candidates: Vec<usize>,
    /// Two or more candidates, or a delete candidate that missed a concurrent change.
    pub conflict: bool,
    /// Whether it waits for a person.
    pub review: bool,
}

impl Existence {
    /// Whether the row is there, by its own changes.
    pub fn live(&self) -> bool {
        self.inserted && self.deletes.is_empty()
    }
}

/// What a field is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolution {
    /// The field's number.
    pub field: u16,
    /// Its value.
    pub value: Value,
    /// Its candidates, least (stamp, dot) first. In `record` mode, whole changes.
    pub candidates: Vec<usize>,
    /// The candidate that the value (in `record` mode, the row) is taken from;
    /// none for `sum`, `append` and `set`, and where nothing but the base image speaks.
    pub winner: Option<usize>,
    /// The changes that the value shows, least (stamp, dot) first: the winner (in
    /// `record` mode the change of the winner's past that gave the value), every
    /// delta of a `sum`, every entry of an `append` or `set` that is still there.
    pub shown: Vec<usize>,
    /// Two or more candidates.
    pub conflict: bool,
    /// Whether it waits for a person.
    pub review: bool,
}

/// Resolve a row. `changes` are all changes of the row that count, in any
/// order; with a `base` image, those that lie above it.
///
/// The answer is the same for any order of `changes`, but for the indices. What
/// waits for a person in the base image itself is for the caller to carry on.
pub fn resolve(
    table: &Table,
    base: Option<&Image>,
    changes: &[Placed<'_>],
    lines: &Lines,
) -> Resolved {
    let short = if base.is_none() { chain::resolve(table, changes) } else { None };
    short.unwrap_or_else(|| resolve_any(table, base, changes, lines))
}

/// The same for any history whatever.
fn resolve_any(
    table: &Table,
    base: Option<&Image>,
    changes: &[Placed<'_>],
    lines: &Lines,
) -> Resolved {
    let history = History::new(changes, lines);
    let mut resolved = match table.mode {
        Mode::Field => by_field(table, base, &history),
        Mode::Record => by_record(table, base, &history),
    };
    let existence = &mut resolved.existence;
    existence.deletes = history.given(&existence.deletes);
    existence.candidates = history.given(&existence.candidates);
    for field in &mut resolved.fields {
        field.candidates = history.given(&field.candidates);
        field.winner = field.winner.map(|place| history.given[place]);
        field.shown = history.given(&field.shown);
    }
    resolved
}

fn by_field(table: &Table, base: Option<&Image>, history: &History<'_>) -> Resolved {
    let change = |place: usize| history.change(place);
    let standing = |members: Vec<usize>, number: u16| {
        let gives = |place| gives(change(place), number);
        Standing::new(history, members, gives, |place| change(place).passes(number))
    };
    // Inserts and deletes touch every field: most fields have no other changes,
    // and share what stands between those.
    let all = || 0..history.changes.len();
    let mut touching: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for place in all() {
        for (field, _) in &change(place).fields {
            match field {
                FieldRef::Number(0) if !touches_existence(change(place)) => {}
                FieldRef::Number(number) => touching.entry(*number).or_default().push(place),
                FieldRef::Name(_) => {}
            }
        }
    }
    let whole = |place: usize, number: u16| {
        matches!(change(place).op, Op::Insert | Op::Delete) && !change(place).passes(number)
    };
    let every = all().filter(|&place| touches_every(change(place)));
    let every: Vec<usize> = every.collect();
    let shared = standing(every.clone(), u16::MAX);
    let own: BTreeMap<u16, Standing> = touching
        .into_iter()
        .filter(|(number, _)| *number == 0 || table.field(*number).is_some())
        .filter(|(number, places)| places.iter().any(|&place| !whole(place, *number)))
        .map(|(number, mut places)| {
            places.extend(&every);
            places.sort_unstable();
            places.dedup();
            (number, standing(places, number))
        })
        .collect();

    let of = |number: u16| own.get(&number).unwrap_or(&shared);
    // What stands there speaks for the fields that share it, if there are any.
    let sharing = table.fields.iter().any(|field| !own.contains_key(&field.number));
    let standings: Vec<&Standing> = own.values().chain(sharing.then_some(&shared)).collect();
    let fields = table.fields.iter().map(|field| {
        let standing = of(field.number);
        let base = base_value(base, history, standing, field.number);
        strategy::resolve(field, &base, standing, history)
    });
    let fields = fields.collect();
    let existence = existence::resolve(table.delete, base, history, of(0), &standings);
    Resolved { existence, fields }
}

fn by_record(table: &Table, base: Option<&Image>, history: &History<'_>) -> Resolved {
    let all = || (0..history.changes.len()).collect();
    let change = |place: usize| history.change(place);
    let numbers = || table.fields.iter().map(|field| field.number);
    let gives_any = |place| numbers().any(|number| gives(change(place), number));
    let passes_any = |place| numbers().any(|number| change(place).passes(number));
    let row = Standing::new(history, all(), gives_any, passes_any);
    let existence = Standing::new(history, all(), |place| gives(change(place), 0), |_| false);
    let of_base = |number: u16| base_value(base, history, &row, number);
    let fields = record::resolve(table, of_base, &row, history);
    let existence = existence::resolve(table.delete, base, history, &existence, &[&row]);
    Resolved { existence, fields }
}

/// Whether the change gives a field a value; existence, the value *there*.
fn gives(change: &Change, field: u16) -> bool {
    match change.op {
        _ if field == 0 => affirms(change),
        _ if change.passes(field) => false,
        Op::Insert => true,
        Op::Update | Op::Settle => change.delta(field).is_some(),
        Op::Delete | Op::Undone => false,
    }
}

/// The value in the base image, unless the row has begun anew above it.
fn base_value(
    base: Option<&Image>,
    history: &History<'_>,
    standing: &Standing,
    field: u16,
) -> Value {
    let insert = || history.changes.iter().any(|placed| placed.change.op == Op::Insert);
    let holds = |base: &&Image| !standing.reborn && (base.live || !insert());
    let value = base.filter(holds).and_then(|base| base.fields.get(&field));
    value.cloned().unwrap_or(Value::Null)
}

/// The value after one change, laid on the value before it; for an insert, lay on
/// [`Value::Null`]. An empty list of a `set` or `append` field is null.
pub fn lay(field: &Field, before: &Value, delta: &Delta) -> Value {
    let list = |value: &Value| strategy::entries(value).to_vec();
    match delta {
        Delta::Set(value) => match field.merge {
            Merge::Append => strategy::list_or_null([list(before), list(value)].concat()),
            Merge::Set => sorted(list(value)),
            _ => value.clone(),
        },
        Delta::Add(number) => match before {
            Value::Int(before) => Value::Int(before.saturating_add(*number)),
            _ => Value::Int(*number),
        },
        Delta::Append(entry) => {
            let mut list = list(before);
            list.push(entry.clone());
            Value::List(list)
        }
        Delta::Edit { add, remove } => {
            let mut list = list(before);
            list.retain(|entry| !remove.contains(entry));
            list.extend_from_slice(add);
            sorted(list)
        }
        Delta::Passed => before.clone(),
    }
}

fn sorted(mut list: Vec<String>) -> Value {
    list.sort();
    list.dedup();
    strategy::list_or_null(list)
}

#[cfg(test)]
mod tests;
