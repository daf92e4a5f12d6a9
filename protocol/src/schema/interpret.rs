//! From what a record held to what its fields hold.
//!
//! Names become numbers, decimal notation becomes scaled integers, ids become
//! rows. Only what has one meaning is translated, nothing is guessed and
//! nothing is judged (see [`super::judge`]): a typed change comes back as it is.
//! [`Value::Int`] always counts as scaled already; a number as people wrote it
//! is a [`Value::Number`].
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::decimal::{Unfit, scaled};
use super::words::{quote, reason, scale, shown};
use super::{Field, Kind, Merge, Schema, Table};
use crate::change::{Change, Delta, FieldRef, Op, TableRef};
use crate::value::Value;

/// The typed copy of a change, its fields sorted; idempotent.
///
/// An insert's nulls are left out: they mean the same as absent fields.
///
/// # Errors
/// What could not be typed: place, value, what is allowed.
pub fn interpret(schema: &Schema, change: &Change) -> Result<Change, String> {
    let table = table(schema, &change.table).map_err(reason)?;
    let mut fields = Vec::with_capacity(change.fields.len());
    for (named, delta) in &change.fields {
        if matches!(change.op, Op::Settle | Op::Undone) && *named == FieldRef::Number(0) {
            fields.push((named.clone(), delta.clone()));
            continue;
        }
        let field = field(table, named).map_err(reason)?;
        let typed = type_delta(change.op, field, delta)
            .map_err(|why| reason(format!("{}.{}: {why}", table.name, field.name)))?;
        fields.extend(typed.map(|delta| (FieldRef::Number(field.number), delta)));
    }
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    if let Some(twins) = fields.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let name = match &twins[0].0 {
            FieldRef::Number(number) => table.field(*number).map_or("", |field| &field.name),
            FieldRef::Name(name) => name,
        };
        return Err(reason(format!("{}.{name}: carried twice; once is allowed", table.name)));
    }
    let (seen, closure) = (change.seen.clone(), change.closure.clone());
    let Change { dot, stamp, entered_s, contained, schema, rights, group, row, op, .. } = *change;
    let table = TableRef::Number(table.number);
    Ok(Change {
        dot,
        stamp,
        entered_s,
        contained,
        schema,
        rights,
        group,
        table,
        row,
        op,
        fields,
        seen,
        closure,
    })
}

fn table<'a>(schema: &'a Schema, named: &TableRef) -> Result<&'a Table, String> {
    match named {
        TableRef::Number(number) => schema.table(*number).ok_or_else(|| {
            format!("table {number} is not in version {} of the schema", schema.version)
        }),
        TableRef::Name(name) => schema.table_named(name).ok_or_else(|| {
            format!("table {} is not in version {} of the schema", quote(name), schema.version)
        }),
    }
}

fn field<'a>(table: &'a Table, named: &FieldRef) -> Result<&'a Field, String> {
    match named {
        FieldRef::Number(number) => table
            .field(*number)
            .ok_or_else(|| format!("{}: there is no field {number} in this table", table.name)),
        FieldRef::Name(name) => table.field_named(name).ok_or_else(|| {
            format!("{}: there is no field {} in this table", table.name, quote(name))
        }),
    }
}

/// The delta in the form that fits the field's merge; none for an insert's null.
fn type_delta(op: Op, field: &Field, delta: &Delta) -> Result<Option<Delta>, String> {
    let value = match delta {
        Delta::Set(value) => type_value(field, value)?,
        Delta::Edit { add, remove } => {
            let (add, remove) = (sorted(add), sorted(remove));
            return Ok(Some(Delta::Edit { add, remove }));
        }
        Delta::Add(_) | Delta::Append(_) | Delta::Passed => return Ok(Some(delta.clone())),
    };
    let insert = op == Op::Insert;
    Ok(Some(match (field.merge, value) {
        (_, Value::Null) if insert => return Ok(None),
        (Merge::Sum, Value::Int(number)) if insert => Delta::Add(number),
        (Merge::Set, Value::List(add)) if insert => Delta::Edit { add, remove: Vec::new() },
        (Merge::Append, Value::Text(entry)) if !matches!(op, Op::Settle | Op::Undone) => {
            Delta::Append(entry)
        }
        (_, value) => Delta::Set(value),
    }))
}

/// The value in the form of the field's type.
fn type_value(field: &Field, value: &Value) -> Result<Value, String> {
    let typed = match (&field.kind, value) {
        (_, Value::Null) => Some(Value::Null),
        (Kind::Integer | Kind::Decimal { .. }, Value::Int(number)) => Some(Value::Int(*number)),
        (Kind::Integer | Kind::Decimal { .. }, Value::Number(text) | Value::Text(text)) => {
            return number(field, text);
        }
        (Kind::Boolean, Value::Bool(flag)) => Some(Value::Bool(*flag)),
        (Kind::Boolean, Value::Int(number)) => bit(*number),
        (Kind::Boolean, Value::Number(text)) => scaled(text, 0).ok().and_then(bit),
        // What a settle gives an append field is the whole list.
        (Kind::Text, Value::List(entries)) if field.merge == Merge::Append => {
            Some(Value::List(entries.clone()))
        }
        (Kind::Text | Kind::Date | Kind::Timestamp | Kind::Enum { .. }, Value::Text(text)) => {
            Some(Value::Text(text.clone()))
        }
        (Kind::Set { .. }, Value::List(entries)) => Some(Value::List(sorted(entries))),
        (Kind::Reference { .. }, Value::Row(row)) => Some(Value::Row(*row)),
        (Kind::Reference { .. }, Value::Text(text)) => text.parse().ok().map(Value::Row),
        _ => None,
    };
    typed.ok_or_else(|| format!("{} is not {}", shown(field, value), wanted(&field.kind)))
}

fn number(field: &Field, text: &str) -> Result<Value, String> {
    let scale = scale(field);
    scaled(text, scale).map(Value::Int).map_err(|unfit| match unfit {
        Unfit::NotANumber => format!("{} is not {}", quote(text), wanted(&field.kind)),
        Unfit::TooFine if scale == 0 => format!("{} is not a whole number", quote(text)),
        Unfit::TooFine => {
            format!(
                "{} has more than the {scale} digits behind the point that are allowed",
                quote(text)
            )
        }
        Unfit::TooLarge => format!("{} does not fit 64 bits", quote(text)),
    })
}

fn bit(number: i64) -> Option<Value> {
    match number {
        0 => Some(Value::Bool(false)),
        1 => Some(Value::Bool(true)),
        _ => None,
    }
}

fn sorted(entries: &[String]) -> Vec<String> {
    let mut entries = entries.to_vec();
    entries.sort();
    entries.dedup();
    entries
}

/// What a type takes, for people.
fn wanted(kind: &Kind) -> &'static str {
    match kind {
        Kind::Integer => "a whole number",
        Kind::Decimal { .. } => "a number",
        Kind::Text => "a text",
        Kind::Boolean => "true or false",
        Kind::Date => "a date such as 2026-11-22",
        Kind::Timestamp => "a time stamp such as 2026-11-22T10:00Z",
        Kind::Enum { .. } => "one of the field's codes",
        Kind::Set { .. } => "a list of texts",
        Kind::Reference { .. } => "the id (a UUID) of a row",
    }
}
