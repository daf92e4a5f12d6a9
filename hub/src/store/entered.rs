//! What people type for a field, as the value or the delta that it means.
use wadi_protocol::change::{Change, Delta, FieldRef, Op, Seen, TableRef};
use wadi_protocol::id::{DeviceId, Dot, RowId, RunId};
use wadi_protocol::schema::interpret::interpret;
use wadi_protocol::schema::{Field, Kind, Merge, Schema, Table};
use wadi_protocol::value::Value;

use super::StoreError;

/// A text for a field: not typed yet, but of the kind that the field takes.
pub(super) fn raw(field: &Field, text: &str) -> Result<Value, StoreError> {
    Ok(match (&field.kind, text) {
        (_, "null") => Value::Null,
        (Kind::Integer | Kind::Decimal { .. }, text) => Value::Number(text.into()),
        (Kind::Boolean, "true") => Value::Bool(true),
        (Kind::Boolean, "false") => Value::Bool(false),
        (Kind::Set { .. }, text) => list(text)?,
        (_, text) if field.merge == Merge::Append => list(text)?,
        (_, text) => Value::Text(text.into()),
    })
}

fn list(text: &str) -> Result<Value, StoreError> {
    serde_json::from_str(text).map(Value::List).map_err(|_| {
        StoreError::Refused(format!("{text:?}: use a JSON list of texts such as [\"a\", \"b\"]"))
    })
}

/// `{"add":…, "remove":…}`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Amendment {
    add: Option<serde_json::Value>,
    remove: Option<Vec<String>>,
}

/// What a record says of a field: a new value, or `{"add":…}` and `{"remove":…}` of a
/// `sum`, `set` or `append`.
pub(super) fn delta_of(
    schema: &Schema,
    table: &Table,
    field: &Field,
    text: &str,
) -> Result<Delta, StoreError> {
    let gathers = matches!(field.merge, Merge::Sum | Merge::Set | Merge::Append);
    if !gathers || !text.starts_with('{') {
        // An entry of an `append` field is a text.
        return Ok(Delta::Set(match field.merge {
            Merge::Append => Value::Text(text.into()),
            _ => raw(field, text)?,
        }));
    }
    let unfit = || {
        StoreError::Refused(format!(
            "{}.{}: {text}: use {}",
            table.name,
            field.name,
            match field.merge {
                Merge::Sum => "{\"add\": 5}",
                Merge::Set => "{\"add\": [\"a\"], \"remove\": [\"b\"]}",
                _ => "{\"add\": \"an entry\"}",
            }
        ))
    };
    let Amendment { add, remove } = serde_json::from_str(text).map_err(|_| unfit())?;
    match (field.merge, add, remove) {
        (Merge::Sum, Some(serde_json::Value::Number(number)), None) => {
            let number = Value::Number(number.to_string());
            match typed(schema, table, field, number).map_err(StoreError::Refused)? {
                Value::Int(number) => Ok(Delta::Add(number)),
                _ => Err(unfit()),
            }
        }
        (Merge::Append, Some(serde_json::Value::String(entry)), None) => Ok(Delta::Append(entry)),
        (Merge::Set, add, remove) if add.is_some() || remove.is_some() => {
            let add = add.map(serde_json::from_value).transpose().map_err(|_| unfit())?;
            let (add, remove) = (add.unwrap_or_default(), remove.unwrap_or_default());
            Ok(Delta::Edit { add, remove })
        }
        _ => Err(unfit()),
    }
}

/// A raw value as the schema reads it when a settle says it.
pub(super) fn typed(
    schema: &Schema,
    table: &Table,
    field: &Field,
    raw: Value,
) -> Result<Value, String> {
    let probe = probe(schema, table, field, raw);
    match interpret(schema, &probe)?.delta(field.number) {
        Some(Delta::Set(value)) => Ok(value.clone()),
        _ => Err(format!("{}.{}: no value", table.name, field.name)),
    }
}

/// A change that sets one field and nothing else, to be judged.
pub(super) fn probe(schema: &Schema, table: &Table, field: &Field, value: Value) -> Change {
    Change {
        dot: Dot { device: DeviceId(0), run: RunId::NONE, seq: 1 },
        stamp: Default::default(),
        entered_s: 0,
        contained: None,
        schema: schema.version,
        rights: 0,
        group: None,
        table: TableRef::Number(table.number),
        row: RowId([0; 16]),
        op: Op::Settle,
        fields: vec![(FieldRef::Number(field.number), Delta::Set(value))],
        seen: Seen::default(),
        closure: Vec::new(),
    }
}
