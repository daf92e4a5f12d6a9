//! From records to changes: names typed by the schema held, new values made deltas.
//!
//! What types becomes numbers and scaled values; what does not stays as the
//! record had it, for the hub to judge. `fields` of a record hold new values, so
//! a `sum` adds the difference to what is shown, and a `set` edits it.
use wadi_protocol::change::{Change, Delta, FieldRef, Op, Seen, TableRef};
use wadi_protocol::id::{DeviceId, Dot, RowId, RunId};
use wadi_protocol::schema::interpret::interpret;
use wadi_protocol::schema::judge::judge;
use wadi_protocol::schema::{Field, Merge, Schema, Table};
use wadi_protocol::stamp::Stamp;
use wadi_protocol::value::Value;

use super::record::{Entry, Record};
use super::store::{Draft, StoreError, Work};

/// What a line became.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entered {
    /// The rows, in the order of the records.
    pub rows: Vec<RowId>,
    /// What the hub will put aside, and why.
    pub warnings: Vec<String>,
}

/// Make the changes of a line: all of its records, or none with the reason.
/// `device` is whose records are that name none.
pub fn enter(
    work: &mut Work<'_>,
    records: &[Record],
    device: &str,
) -> Result<Result<Entered, String>, StoreError> {
    work.all_or_nothing(|work| {
        let mut entered = Entered::default();
        let mut changes = Vec::with_capacity(records.len());
        let mut first = None;
        for (at, record) in records.iter().enumerate() {
            let at_record = |reason: String| match records.len() {
                1 => reason,
                _ => format!("record {} of the group: {reason}", at + 1),
            };
            let label = record.device.as_deref().unwrap_or(device);
            let draft = match draft(work, record)? {
                Ok(draft) => draft,
                Err(reason) => return Ok(Err(at_record(reason))),
            };
            let change = match work.append(label, draft, records.len(), &mut first)? {
                Ok(change) => change,
                Err(reason) => return Ok(Err(at_record(reason))),
            };
            if let Some(Err(reason)) = work.schema().map(|schema| judge(&schema, &change)) {
                entered.warnings.push(at_record(reason));
            }
            entered.rows.push(change.row);
            changes.push(change);
        }
        Ok(work.group_fits(&changes).map(|()| entered))
    })
}

/// The change of a record, before it has a name.
fn draft(work: &mut Work<'_>, record: &Record) -> Result<Result<Draft, String>, StoreError> {
    let schema = work.schema();
    let table = schema.as_ref().and_then(|schema| schema.table_named(&record.table));
    let shown = match (table, record.row) {
        (Some(table), Some(row)) if record.op == Op::Update && looks_back(table, record) => {
            work.shown(table, row)?
        }
        _ => None,
    };
    let fields = record.fields.iter().filter(|(_, entry)| {
        // An insert's null says nothing.
        record.op != Op::Insert || **entry != Entry::Value(Value::Null)
    });
    let mut typed = Vec::new();
    for (name, entry) in fields {
        let field = table.and_then(|table| table.field_named(name));
        let found = match (schema.as_deref(), table, field) {
            (Some(schema), Some(table), Some(field)) => {
                let before = shown.as_ref().and_then(|image| image.fields.get(&field.number));
                typed_entry(schema, table, field, record.op, entry, before.unwrap_or(&Value::Null))
            }
            (schema, ..) => raw(name, entry, schema.is_some()).map(Some),
        };
        match found {
            Ok(pair) => typed.extend(pair),
            Err(reason) => return Ok(Err(format!("field {name}: {reason}"))),
        }
    }
    typed.sort();
    Ok(Ok(Draft {
        table: table.map_or_else(
            || TableRef::Name(record.table.clone()),
            |table| TableRef::Number(table.number),
        ),
        name: record.table.clone(),
        row: record.row,
        op: record.op,
        fields: typed,
        entered_s: record.entered_s,
    }))
}

/// Whether a new value of the record is to be set against what is shown.
fn looks_back(table: &Table, record: &Record) -> bool {
    record.fields.iter().any(|(name, entry)| {
        let merge = table.field_named(name).map(|field| field.merge);
        matches!(merge, Some(Merge::Sum | Merge::Set | Merge::Append))
            && matches!(entry, Entry::Value(_))
    })
}

/// A field as it was written, for want of a schema that knows it.
fn raw(name: &str, entry: &Entry, schema_held: bool) -> Result<(FieldRef, Delta), String> {
    let delta = match entry {
        Entry::Value(value) => Delta::Set(value.clone()),
        Entry::Edit { add, remove } => Delta::Edit { add: add.clone(), remove: remove.clone() },
        Entry::Add(_) if schema_held => {
            return Err("it is not in the schema, so nothing can be added to it".into());
        }
        Entry::Add(_) => {
            return Err(
                "adding needs the schema: run `sync --schema-only` once, then enter it again"
                    .into(),
            );
        }
    };
    Ok((FieldRef::Name(name.to_owned()), delta))
}

/// A field that the schema knows; none if it changes nothing. A value that does not
/// type stays raw.
fn typed_entry(
    schema: &Schema,
    table: &Table,
    field: &Field,
    op: Op,
    entry: &Entry,
    before: &Value,
) -> Result<Option<(FieldRef, Delta)>, String> {
    let delta = match entry {
        Entry::Value(value) => Delta::Set(value.clone()),
        Entry::Add(number) => Delta::Set(Value::Number(number.clone())),
        Entry::Edit { add, remove } => Delta::Edit { add: add.clone(), remove: remove.clone() },
    };
    let Ok(typed) = interpret(schema, &probe(table, field, op, delta.clone())) else {
        return match entry {
            Entry::Add(number) => Err(format!("{number} cannot be added to it")),
            _ => Ok(Some((FieldRef::Name(field.name.clone()), delta))),
        };
    };
    let Some((number, delta)) = typed.fields.into_iter().next() else {
        return Ok(None);
    };
    let delta = match (entry, delta, field.merge) {
        (Entry::Add(_), Delta::Set(Value::Int(added)), _) => Some(Delta::Add(added)),
        (_, Delta::Set(value), Merge::Sum | Merge::Set | Merge::Append) => {
            difference(field, before, value)?
        }
        (_, delta, _) => Some(delta),
    };
    Ok(delta.map(|delta| (number, delta)))
}

/// What leads from the value shown to the new one, for strategies that add up.
fn difference(field: &Field, before: &Value, after: Value) -> Result<Option<Delta>, String> {
    Ok(match (field.merge, before, after) {
        (Merge::Sum, before, Value::Int(after)) => {
            let before = if let Value::Int(before) = before { *before } else { 0 };
            let added =
                after.checked_sub(before).ok_or("the difference to what is shown is too large")?;
            (added != 0).then_some(Delta::Add(added))
        }
        (Merge::Set, before, Value::List(after)) => {
            let before = if let Value::List(before) = before { before.as_slice() } else { &[] };
            let only = |these: &[String], not: &[String]| -> Vec<String> {
                these.iter().filter(|entry| !not.contains(entry)).cloned().collect()
            };
            let (add, remove) = (only(&after, before), only(before, &after));
            (!add.is_empty() || !remove.is_empty()).then_some(Delta::Edit { add, remove })
        }
        // The list as shown, with one entry more at its end.
        (Merge::Append, before, Value::List(after)) => {
            let before = if let Value::List(before) = before { before.as_slice() } else { &[] };
            match after.strip_prefix(before) {
                Some([]) => None,
                Some([entry]) => Some(Delta::Append(entry.clone())),
                _ => Some(Delta::Set(Value::List(after))),
            }
        }
        (_, _, after) => Some(Delta::Set(after)),
    })
}

/// A change that carries one field only, to have it typed.
fn probe(table: &Table, field: &Field, op: Op, delta: Delta) -> Change {
    Change {
        dot: Dot { device: DeviceId(0), run: RunId::NONE, seq: 1 },
        stamp: Stamp::default(),
        entered_s: 0,
        contained: None,
        schema: 0,
        rights: 0,
        group: None,
        table: TableRef::Number(table.number),
        row: RowId([0; 16]),
        op,
        fields: vec![(FieldRef::Number(field.number), delta)],
        seen: Seen::default(),
        closure: Vec::new(),
    }
}
