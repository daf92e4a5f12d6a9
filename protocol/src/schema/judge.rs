//! The judgement of one change alone.
//!
//! What a change carries is judged under the schema it is given; what depends
//! on other changes never is: totals out of range and twins open reviews,
//! references park. A reason is for people: `table.field`, the offending
//! value, what is allowed.
use alloc::format;
use alloc::string::String;

use serde::Serialize;

use super::date::{is_date, is_timestamp};
use super::decimal::unscaled;
use super::interpret::interpret;
use super::words::{quote, reason, scale, shown};
use super::{Field, Kind, Merge, Schema, Table};
use crate::change::{Change, Delta, Op};
use crate::limits::{
    CHANGE_BYTES_MAX, CHANGE_FIELDS_MAX, CLOSURE_ROWS_MAX, ENTRIES_MAX, GROUP_CHANGES_MAX,
    SEEN_DOTS_MAX, SEQUENCE_MAX,
};
use crate::value::Value;

/// Whether a change, typed or raw, is valid alone.
///
/// # Errors
/// Why it is not, in at most [`crate::limits::REASON_BYTES_MAX`] bytes: the
/// reason of its quarantine.
pub fn judge(schema: &Schema, change: &Change) -> Result<(), String> {
    typed(schema, change).map(drop)
}

/// The typed form of a change that is valid alone: what [`interpret`] gives, judged.
///
/// # Errors
/// As [`judge`].
pub fn typed(schema: &Schema, change: &Change) -> Result<Change, String> {
    check_form(change).map_err(reason)?;
    let change = interpret(schema, change)?;
    let table = change.table_number().and_then(|number| schema.table(number));
    let table = table.expect("interpret numbers tables by this schema");
    check_fields(table, &change).map_err(reason)?;
    Ok(change)
}

/// What can be judged without a schema.
fn check_form(change: &Change) -> Result<(), String> {
    if matches!(change.op, Op::Settle | Op::Undone) {
        return Err("only the hub's operators settle cases".into());
    }
    if change.op == Op::Delete && !change.fields.is_empty() {
        return Err("a delete carries no fields".into());
    }
    if change.dot.seq == 0 {
        return Err("sequence 0; sequences count from 1".into());
    }
    if change.dot.seq > SEQUENCE_MAX {
        return Err(format!("sequence {}; at most {SEQUENCE_MAX} is allowed", change.dot.seq));
    }
    if let Some(group) = change.group {
        let last = group.first.checked_add(u64::from(group.len).saturating_sub(1));
        let holds = last.is_some_and(|last| (group.first..=last).contains(&change.dot.seq));
        if group.len == 0 || group.first == 0 || !holds {
            return Err(format!(
                "its group (from {}, {} changes) does not hold it; it is number {}",
                group.first, group.len, change.dot.seq
            ));
        }
        at_most("changes in its group", group.len.into(), GROUP_CHANGES_MAX)?;
    }
    at_most("fields", change.fields.len(), CHANGE_FIELDS_MAX)?;
    at_most("dots seen above its row version", change.seen.above.len(), SEEN_DOTS_MAX)?;
    at_most("rows in its closure", change.closure.len(), CLOSURE_ROWS_MAX)?;
    if change.op != Op::Delete && !change.closure.is_empty() {
        return Err("only a delete has a closure".into());
    }
    for row in &change.closure {
        at_most("dots seen of a row in its closure", row.seen.above.len(), SEEN_DOTS_MAX)?;
    }
    at_most("bytes (oversize)", bytes(&(&change.table, &change.fields)), CHANGE_BYTES_MAX)
}

fn at_most(what: &str, count: usize, max: usize) -> Result<(), String> {
    if count <= max { Ok(()) } else { Err(format!("{count} {what}; at most {max} are allowed")) }
}

/// Encoded bytes, without encoding.
fn bytes(what: &impl Serialize) -> usize {
    postcard::serialize_with_flavor(what, postcard::ser_flavors::Size::default())
        .expect("changes always encode")
}

fn check_fields(table: &Table, change: &Change) -> Result<(), String> {
    for field in &table.fields {
        let found = match change.delta(field.number) {
            Some(Delta::Passed) => check_passed(table, field),
            Some(delta) => check_delta(field, delta, change.op),
            None => Ok(()),
        };
        let missing =
            || change.op == Op::Insert && change.delta(field.number).is_none_or(is_nothing);
        let found = found.and_then(|()| match field.required && missing() {
            true => Err("required, but the insert carries no value".into()),
            false => Ok(()),
        });
        found.map_err(|why| format!("{}.{}: {why}", table.name, field.name))?;
    }
    Ok(())
}

/// Whether an insert's delta leaves the field without a value.
fn is_nothing(delta: &Delta) -> bool {
    match delta {
        Delta::Set(value) => value.is_null(),
        Delta::Edit { add, .. } => add.is_empty(),
        Delta::Add(_) | Delta::Append(_) | Delta::Passed => false,
    }
}

/// Whether a value may be left out that its writer has replaced.
fn check_passed(table: &Table, field: &Field) -> Result<(), String> {
    match table.leaves_out(field) {
        true => Ok(()),
        false => Err("a value was left out, and its table wants every step".into()),
    }
}

/// Whether the delta fits the strategy, and its value the field.
fn check_delta(field: &Field, delta: &Delta, op: Op) -> Result<(), String> {
    match (field.merge, delta) {
        // The range of a sum is that of the total: never a reason to refuse a part.
        (Merge::Sum, Delta::Add(_)) => Ok(()),
        (Merge::Append, Delta::Append(_)) => Ok(()),
        (Merge::Set, Delta::Edit { add, remove }) => {
            at_most("entries added and removed", add.len() + remove.len(), ENTRIES_MAX)?;
            if op == Op::Insert && !remove.is_empty() {
                return Err("an insert removes no entries".into());
            }
            add.iter().try_for_each(|entry| check_code(field, entry))
        }
        (Merge::Sum, _) => Err("a sum takes what is added, {\"add\": n}, not a new total".into()),
        (Merge::Append, _) => Err("append takes one new entry, a text".into()),
        (Merge::Set, _) => {
            Err("a set takes {\"add\": [..], \"remove\": [..]}, not a new list".into())
        }
        (_, Delta::Set(Value::Null)) if field.required => {
            Err("required, it cannot become null".into())
        }
        (_, Delta::Set(value)) => check_value(field, value),
        (_, Delta::Add(_) | Delta::Append(_) | Delta::Edit { .. } | Delta::Passed) => {
            Err("takes a new value, not an addition to the old one".into())
        }
    }
}

/// A typed value against its field's range, form and codes.
fn check_value(field: &Field, value: &Value) -> Result<(), String> {
    let refuse = |allowed: &str| Err(format!("{} is not {allowed}", shown(field, value)));
    match (&field.kind, value) {
        (Kind::Integer | Kind::Decimal { .. }, Value::Int(number)) => check_range(field, *number),
        (Kind::Date, Value::Text(text)) if !is_date(text) => refuse("a date such as 2026-11-22"),
        (Kind::Timestamp, Value::Text(text)) if !is_timestamp(text) => {
            refuse("a time stamp such as 2026-11-22T10:00Z")
        }
        (Kind::Enum { .. }, Value::Text(code)) => check_code(field, code),
        (Kind::Set { .. }, Value::List(entries)) => {
            at_most("entries", entries.len(), ENTRIES_MAX)?;
            entries.iter().try_for_each(|entry| check_code(field, entry))
        }
        _ => Ok(()),
    }
}

fn check_range(field: &Field, number: i64) -> Result<(), String> {
    let text = |number| unscaled(number, scale(field));
    match (field.min, field.max) {
        (Some(min), _) if number < min => {
            Err(format!("{} is below {}, the least allowed", text(number), text(min)))
        }
        (_, Some(max)) if number > max => {
            Err(format!("{} is above {}, the greatest allowed", text(number), text(max)))
        }
        _ => Ok(()),
    }
}

/// A code of an enum or set; a set without codes takes any text.
fn check_code(field: &Field, code: &String) -> Result<(), String> {
    let values = match &field.kind {
        Kind::Enum { values } => values,
        Kind::Set { values } if !values.is_empty() => values,
        _ => return Ok(()),
    };
    if values.contains(code) {
        return Ok(());
    }
    Err(format!("{} is not one of {}", quote(code), values.join(", ")))
}
