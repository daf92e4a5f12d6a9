//! The JSON record format: what people and programs give to a handheld.
//!
//! One record a line:
//! ```json
//! {"op":"insert","table":"visit","id":"8dd32ccf-ea43-49e0-8514-58eeb8336913",
//!  "fields":{"weight":3.20,"note":"seen twice"},"ts":1764979200048,"device":"tab-4"}
//! ```
//! - `op`: `insert`, `update` or `delete`; `table`: the table's name.
//! - `id`: the row, a UUID. An insert without one gets a new one (which `put` prints);
//!   so importing the same file twice makes the rows twice, unless ids are given.
//! - `fields`: the **new values**: numbers (decimals too, never rounded), texts,
//!   `true`/`false`, `null`, lists of texts. References are the id of the row,
//!   dates and times ISO 8601 text. A field absent from an insert is null, absent
//!   from an update stays as it is. A delete has no fields.
//!   - a `sum` field takes the new total as shown, or `{"add":n}`;
//!   - a `set` field takes the new list, or `{"add":["a"],"remove":["b"]}`;
//!   - an `append` field takes one new entry, a text.
//! - `ts` (optional): when it was entered, milliseconds since 1970; else now.
//! - `device` (optional): who made it; else the file's own device. Another name
//!   gets a device of its own in the file.
//!
//! `{"group":[record, …]}` holds records of one device that belong together: all
//! of them are taken or none. Unknown keys are refused: a misspelt one would lose data.
//!
//! Here the form is checked, without a schema. A record that breaks it is put
//! aside with its reason; one that only breaks the schema goes on to the hub's quarantine.
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use wadi_protocol::change::Op;
use wadi_protocol::id::{BadId, RowId};
use wadi_protocol::limits::{CHANGE_FIELDS_MAX, ENTRIES_MAX, GROUP_CHANGES_MAX, NAME_BYTES_MAX};
use wadi_protocol::value::Value;

/// One record, its form checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// What happens to the row.
    pub op: Op,
    /// The table's name.
    pub table: String,
    /// The row; only an insert may leave it out.
    pub row: Option<RowId>,
    /// Fields by name.
    pub fields: BTreeMap<String, Entry>,
    /// When it was entered, seconds since 1970, if it says so.
    pub entered_s: Option<u64>,
    /// Who made it, if it says so.
    pub device: Option<String>,
}

/// What a record says of a field.
#[derive(Clone, PartialEq, Debug)]
pub enum Entry {
    /// Its new value, raw.
    Value(Value),
    /// What is added to a `sum`, in decimal notation.
    Add(String),
    /// What comes into and goes out of a `set`.
    Edit {
        /// Entries added.
        add: Vec<String>,
        /// Entries removed.
        remove: Vec<String>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a record")]
struct Form {
    op: Option<String>,
    table: Option<String>,
    id: Option<String>,
    fields: Option<BTreeMap<String, Box<RawValue>>>,
    ts: Option<serde_json::Value>,
    device: Option<String>,
    group: Option<Vec<Form>>,
}

/// The records of a line: one, or those of a group. An error says what to mend.
pub fn parse(line: &str) -> Result<Vec<Record>, String> {
    if !line.trim_start().starts_with('{') {
        return Err("not a record: one JSON object is needed, \
             as {\"op\":\"insert\",\"table\":…,\"fields\":{…}}, or {\"group\":[…]} for several"
            .into());
    }
    let form: Form =
        serde_json::from_str(line).map_err(|error| format!("not a record: {error}"))?;
    let Some(group) = form.group else {
        return Ok(vec![record(form)?]);
    };
    let lone = form.op.is_none()
        && form.table.is_none()
        && form.id.is_none()
        && form.fields.is_none()
        && form.ts.is_none()
        && form.device.is_none();
    if !lone {
        return Err("\"group\" stands alone; other keys go into its records".into());
    }
    if group.is_empty() || group.len() > GROUP_CHANGES_MAX {
        return Err(format!(
            "a group has 1 to {GROUP_CHANGES_MAX} records, this one {}",
            group.len()
        ));
    }
    let mut records = Vec::with_capacity(group.len());
    for (at, form) in group.into_iter().enumerate() {
        let numbered = |reason| format!("record {} of the group: {reason}", at + 1);
        if form.group.is_some() {
            return Err(numbered("a group cannot hold another".to_owned()));
        }
        records.push(record(form).map_err(numbered)?);
    }
    if records.iter().any(|record| record.device != records[0].device) {
        return Err("the records of a group are of one device".into());
    }
    Ok(records)
}

fn record(form: Form) -> Result<Record, String> {
    let op = match form.op.as_deref() {
        Some("insert") => Op::Insert,
        Some("update") => Op::Update,
        Some("delete") => Op::Delete,
        Some(other) => return Err(format!("op {other:?}: use insert, update or delete")),
        None => return Err("\"op\" is missing: insert, update or delete".into()),
    };
    let table = form.table.ok_or("\"table\" is missing")?;
    name("table", &table)?;
    if let Some(device) = &form.device {
        name("device", device)?;
    }
    let bad = |id: &str, error| format!("id {id:?}: {error}; an insert without an id has one made");
    let parsed = |id: String| id.parse().map_err(|error: BadId| bad(&id, error));
    let row = form.id.map(parsed).transpose()?;
    if row.is_none() && op != Op::Insert {
        return Err("\"id\" is missing: only an insert may leave it out".into());
    }
    let entered_s = match form.ts.map(|ts| ts.as_u64().ok_or(ts)) {
        Some(Ok(ts_ms)) => Some(ts_ms / 1000),
        Some(Err(ts)) => {
            return Err(format!("ts {ts}: a whole number of milliseconds since 1970 is needed"));
        }
        None => None,
    };
    let fields = form.fields.unwrap_or_default();
    if op == Op::Delete && !fields.is_empty() {
        return Err("a delete has no fields".into());
    }
    if op == Op::Update && fields.is_empty() {
        return Err("an update without fields changes nothing".into());
    }
    if fields.len() > CHANGE_FIELDS_MAX {
        return Err(format!("{} fields, at most {CHANGE_FIELDS_MAX} are allowed", fields.len()));
    }
    let fields = fields.into_iter().map(|(field, raw)| {
        name("field", &field)?;
        let entry = entry(raw.get()).map_err(|reason| format!("field {field}: {reason}"))?;
        Ok((field, entry))
    });
    Ok(Record {
        op,
        table,
        row,
        fields: fields.collect::<Result<_, String>>()?,
        entered_s,
        device: form.device,
    })
}

fn name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(format!(
            "a {what} has a name of 1 to {NAME_BYTES_MAX} bytes, not {}",
            name.len()
        ));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Addition {
    add: Option<Box<RawValue>>,
    remove: Option<Vec<String>>,
}

/// The entry of a JSON value. The first character of its text tells its kind.
fn entry(json: &str) -> Result<Entry, String> {
    const WANTED: &str = "values are numbers, texts, true, false, null or lists of texts, \
                          or {\"add\":…} for a sum or a set";
    let unfit = |_| WANTED.to_owned();
    Ok(match json.as_bytes().first() {
        Some(b'n') => Entry::Value(Value::Null),
        Some(b't') => Entry::Value(Value::Bool(true)),
        Some(b'f') => Entry::Value(Value::Bool(false)),
        Some(b'"') => Entry::Value(Value::Text(serde_json::from_str(json).map_err(unfit)?)),
        Some(b'[') => Entry::Value(Value::List(list(json)?)),
        Some(b'{') => {
            let Addition { add, remove } = serde_json::from_str(json).map_err(unfit)?;
            match (add.as_deref().map(RawValue::get), remove) {
                (Some(number), None) if is_number(number) => Entry::Add(number.to_owned()),
                (Some(added), remove) => {
                    Entry::Edit { add: list(added)?, remove: limited(remove.unwrap_or_default())? }
                }
                (None, Some(remove)) => Entry::Edit { add: Vec::new(), remove: limited(remove)? },
                (None, None) => return Err(WANTED.to_owned()),
            }
        }
        _ if is_number(json) => Entry::Value(Value::Number(json.to_owned())),
        _ => return Err(WANTED.to_owned()),
    })
}

fn is_number(json: &str) -> bool {
    json.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

fn list(json: &str) -> Result<Vec<String>, String> {
    limited(serde_json::from_str(json).map_err(|_| "a list holds texts only")?)
}

fn limited(list: Vec<String>) -> Result<Vec<String>, String> {
    if list.len() > ENTRIES_MAX {
        return Err(format!("{} entries, at most {ENTRIES_MAX} are allowed", list.len()));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "8dd32ccf-ea43-49e0-8514-58eeb8336913";

    fn one(line: &str) -> Record {
        parse(line).expect(line).remove(0)
    }

    #[test]
    fn a_record_keeps_its_numbers_to_the_digit() {
        let record = one(&format!(
            r#"{{"op":"insert","table":"t","id":"{ID}","ts":1764979200048,"device":"d",
                "fields":{{"a":40.777245000000000001,"b":"x\n","c":true,"d":null,"e":["p","q"],"f":-9223372036854775808}}}}"#
        ));
        assert_eq!(record.entered_s, Some(1_764_979_200));
        assert_eq!(record.row, ID.parse().ok());
        let value = |name: &str| match &record.fields[name] {
            Entry::Value(value) => value.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(value("a"), Value::Number("40.777245000000000001".into()));
        assert_eq!(value("b"), Value::Text("x\n".into()));
        assert_eq!(value("c"), Value::Bool(true));
        assert_eq!(value("d"), Value::Null);
        assert_eq!(value("e"), Value::List(vec!["p".into(), "q".into()]));
        assert_eq!(value("f"), Value::Number("-9223372036854775808".into()));
    }

    #[test]
    fn additions_have_forms_of_their_own() {
        let record = one(&format!(
            r#"{{"op":"update","table":"t","id":"{ID}","fields":{{"n":{{"add":-1.5}},"s":{{"add":["a"],"remove":["b"]}},"r":{{"remove":["c"]}}}}}}"#
        ));
        assert_eq!(record.fields["n"], Entry::Add("-1.5".into()));
        assert_eq!(
            record.fields["s"],
            Entry::Edit { add: vec!["a".into()], remove: vec!["b".into()] }
        );
        assert_eq!(record.fields["r"], Entry::Edit { add: vec![], remove: vec!["c".into()] });
    }

    #[test]
    fn a_group_is_of_one_device() {
        let insert = r#"{"op":"insert","table":"t","fields":{"a":1}}"#;
        assert_eq!(
            parse(&format!(r#"{{"group":[{insert},{insert}]}}"#)).map(|records| records.len()),
            Ok(2)
        );
        let other = r#"{"op":"insert","table":"t","device":"x"}"#;
        assert!(parse(&format!(r#"{{"group":[{insert},{other}]}}"#)).is_err());
        assert!(parse(r#"{"group":[]}"#).is_err());
        assert!(parse(&format!(r#"{{"group":[{{"group":[{insert}]}}]}}"#)).is_err());
        assert!(parse(&format!(r#"{{"op":"insert","group":[{insert}]}}"#)).is_err());
    }

    #[test]
    fn what_has_not_the_form_is_refused_with_a_reason() {
        let bad = [
            ("", "not a record"),
            ("{", "not a record"),
            ("[]", "not a record"),
            (r#"{"table":"t"}"#, "op"),
            (r#"{"op":"upsert","table":"t"}"#, "upsert"),
            (r#"{"op":"insert"}"#, "table"),
            (r#"{"op":"insert","table":""}"#, "table"),
            (r#"{"op":"insert","table":"t","id":"7"}"#, "UUID"),
            (r#"{"op":"update","table":"t","fields":{"a":1}}"#, "id"),
            (r#"{"op":"delete","table":"t"}"#, "id"),
            (r#"{"op":"insert","table":"t","filds":{"a":1}}"#, "filds"),
            (r#"{"op":"insert","table":"t","ts":-1}"#, "ts"),
            (r#"{"op":"insert","table":"t","fields":{"a":{"b":1}}}"#, "field a"),
            (r#"{"op":"insert","table":"t","fields":{"a":[1]}}"#, "field a"),
            (r#"{"op":"insert","table":"t","fields":{"a":{}}}"#, "field a"),
            (r#"{"op":"insert","table":"t","fields":{"":1}}"#, "field"),
        ];
        for (line, word) in bad {
            let reason = parse(line).expect_err(line);
            assert!(reason.contains(word), "{line}: {reason}");
        }
    }
}
