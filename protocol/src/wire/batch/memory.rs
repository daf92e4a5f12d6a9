//! What a change takes when decoded: the sum of what [`super::decode`] charges.
use alloc::string::String;

use super::column::Numbers;
use super::decode::{COLUMN_BYTES, FIELD_BYTES};
use super::dictionaries::NAME_BYTES;
use crate::change::{Change, Delta, FieldRef, Seen, SeenRow, TableRef};
use crate::id::{Dot, RowId};
use crate::value::Value;

/// A row, and its maker if that is new.
const ROW_BYTES: usize = 4 * size_of::<RowId>();

/// See [`super::memory_bytes`].
pub(super) fn bytes(change: &Change) -> usize {
    let table = match &change.table {
        TableRef::Number(_) => size_of::<TableRef>(),
        TableRef::Name(name) => size_of::<TableRef>() + name.len() + text(name),
    };
    let fields = change.fields.iter().map(|(named, delta)| {
        let named = match named {
            FieldRef::Number(_) => size_of::<FieldRef>(),
            FieldRef::Name(name) => size_of::<FieldRef>() + name.len() + text(name),
        };
        FIELD_BYTES + COLUMN_BYTES + named + of_delta(delta)
    });
    let closure =
        change.closure.iter().map(|row| size_of::<SeenRow>() + ROW_BYTES + seen(&row.seen));
    let whole = size_of::<Change>() + size_of::<Numbers>() + NAME_BYTES + ROW_BYTES;
    whole + table + fields.sum::<usize>() + seen(&change.seen) + closure.sum::<usize>()
}

fn seen(seen: &Seen) -> usize {
    seen.above.len() * (size_of::<Dot>() + NAME_BYTES)
}

/// A text and its place in a dictionary.
fn text(text: &str) -> usize {
    2 * (text.len() + size_of::<String>())
}

fn list(entries: &[String]) -> usize {
    entries.iter().map(|entry| size_of::<String>() + text(entry)).sum()
}

fn of_delta(delta: &Delta) -> usize {
    match delta {
        Delta::Set(Value::Text(entry) | Value::Number(entry)) | Delta::Append(entry) => text(entry),
        Delta::Set(Value::List(entries)) => list(entries),
        Delta::Set(Value::Row(_)) => ROW_BYTES,
        Delta::Edit { add, remove } => list(add) + list(remove),
        Delta::Set(Value::Null | Value::Int(_) | Value::Bool(_)) | Delta::Add(_) => 0,
        Delta::Passed => 0,
    }
}
