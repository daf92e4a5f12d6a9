//! Values as people read them, and as the export writes them.
use serde_json::{Value as Json, json};
use wadi_protocol::change::{Change, Delta, FieldRef, Op};
use wadi_protocol::schema::{Field, Kind, Table};
use wadi_protocol::value::Value;

/// A value for people: decimals with their point.
pub fn value(field: Option<&Field>, value: &Value) -> String {
    match (field.map(|field| &field.kind), value) {
        (Some(Kind::Decimal { scale }), Value::Int(number)) => decimal(*number, *scale),
        _ => value.to_string(),
    }
}

/// What a change does to a field, for people.
pub fn delta(field: Option<&Field>, delta: &Delta) -> String {
    match delta {
        Delta::Set(set) => value(field, set),
        Delta::Add(number) => {
            let text = value(field, &Value::Int(*number));
            if *number < 0 { text } else { format!("+{text}") }
        }
        Delta::Append(entry) => format!("+{entry:?}"),
        Delta::Edit { add, remove } => {
            let add = add.iter().map(|entry| format!("+{entry:?}"));
            let remove = remove.iter().map(|entry| format!("-{entry:?}"));
            add.chain(remove).collect::<Vec<_>>().join(" ")
        }
        Delta::Passed => "(replaced before it was sent)".into(),
    }
}

/// What a change does to a field as it came, with the kinds of its values.
pub fn raw(delta: &Delta) -> String {
    match delta {
        Delta::Set(value) => raw_value(value),
        other => delta_json(Some(other)).to_string(),
    }
}

fn raw_value(value: &Value) -> String {
    match value {
        Value::Int(number) => format!("{number} (scaled)"),
        Value::Number(text) => text.clone(),
        Value::Row(row) => format!("row {row}"),
        other => json(other).to_string(),
    }
}

/// What a change carries, for people: `field=value` each, with `between` between them.
pub fn fields(table: Option<&Table>, change: &Change, between: &str) -> String {
    let one = |(named, set): &(FieldRef, Delta)| {
        let (name, field) = match named {
            FieldRef::Name(name) => (name.clone(), None),
            FieldRef::Number(0) => ("existence".to_owned(), None),
            FieldRef::Number(number) => match table.and_then(|table| table.field(*number)) {
                Some(field) => (field.name.clone(), Some(field)),
                None => (format!("field {number}"), None),
            },
        };
        format!("{name}={}", delta(field, set))
    };
    change.fields.iter().map(one).collect::<Vec<_>>().join(between)
}

/// The name of a field; 0 is the row's existence.
pub fn field_name(table: &Table, field: u16) -> String {
    match table.field(field) {
        Some(field) => field.name.clone(),
        None if field == 0 => "existence".into(),
        None => format!("field {field}"),
    }
}

/// What happens to the row, in a word.
pub fn op(op: Op) -> &'static str {
    match op {
        Op::Insert => "insert",
        Op::Update => "update",
        Op::Delete => "delete",
        Op::Settle => "settle",
        Op::Undone => "settle (undone)",
    }
}

/// A value in the canonical export: decimals as scaled integers.
pub fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Int(number) => json!(number),
        Value::Bool(flag) => json!(flag),
        Value::Text(text) | Value::Number(text) => json!(text),
        Value::Row(row) => json!(row.to_string()),
        Value::List(list) => json!(list),
    }
}

/// What a candidate says, in the canonical export.
pub fn delta_json(delta: Option<&Delta>) -> Json {
    match delta {
        None => Json::Null,
        Some(Delta::Set(value)) => json!({ "set": json(value) }),
        Some(Delta::Add(number)) => json!({ "add": number }),
        Some(Delta::Append(entry)) => json!({ "append": entry }),
        Some(Delta::Edit { add, remove }) => json!({ "add": add, "remove": remove }),
        Some(Delta::Passed) => json!("passed"),
    }
}

/// Seconds since 1970 as ISO 8601; a dash for never.
pub fn time(seconds: u64) -> String {
    if seconds == 0 {
        return "-".into();
    }
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| format!("{seconds} s"), |at| at.to_string())
}

fn decimal(number: i64, scale: u8) -> String {
    let scale = usize::from(scale);
    if scale == 0 {
        return number.to_string();
    }
    let sign = if number < 0 { "-" } else { "" };
    let digits = format!("{:0width$}", number.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{part}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_point() {
        assert_eq!(decimal(-5, 2), "-0.05");
        assert_eq!(decimal(12345, 3), "12.345");
        assert_eq!(decimal(7, 0), "7");
    }

    #[test]
    fn times_are_iso() {
        assert_eq!(time(0), "-");
        assert_eq!(time(1_700_000_000), "2023-11-14T22:13:20Z");
    }
}
