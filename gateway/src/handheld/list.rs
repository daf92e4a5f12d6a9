//! Rows as JSON lines: `{"table","id","fields","marks"}`, a line each, by id.
//!
//! `fields` have the form of a record's. `marks` is there only if something is
//! to be known about the row: own changes that are not decided (`undecided`) and the fields that the village shows otherwise (`village`; null where it shows
//! no such row), what waits for a person (`review`), what was put aside (`quarantined`,
//! `held_back`).
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde::Serialize;
use serde_json::value::RawValue;
use wadi_protocol::schema::{Field, Kind, Table};
use wadi_protocol::value::Value;

use super::store::{ShownRow, Store, StoreError};

type Fields = BTreeMap<String, Box<RawValue>>;

#[derive(Serialize)]
struct Line<'a> {
    table: &'a str,
    id: String,
    fields: Fields,
    #[serde(skip_serializing_if = "Option::is_none")]
    marks: Option<Marks<'a>>,
}

#[derive(Serialize)]
struct Marks<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    undecided: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    village: Option<Option<Fields>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    review: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held_back: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quarantined: Vec<String>,
}

/// Write the shown rows of a table.
pub fn list(store: &Store, table: &Table, out: &mut impl Write) -> Result<(), StoreError> {
    store.list(table, |row| {
        let line = serde_json::to_string(&line(table, row)).map_err(io::Error::from)?;
        writeln!(out, "{line}")?;
        Ok(())
    })?;
    Ok(out.flush()?)
}

fn line(table: &Table, row: ShownRow) -> Line<'_> {
    let id = row.row.to_string();
    let shown = &row.image.fields;
    let fields = fields_json(table, shown.iter().map(|(number, value)| (*number, value)));
    Line { table: &table.name, id, fields, marks: marks(table, row) }
}

fn marks(table: &Table, row: ShownRow) -> Option<Marks<'_>> {
    let shown = &row.image.fields;
    let village = row.village.map(|village| {
        let village = village.filter(|image| image.live)?.fields;
        let numbers: BTreeSet<u16> = shown.keys().chain(village.keys()).copied().collect();
        let theirs = |number: &u16| village.get(number).unwrap_or(&Value::Null);
        let differ = numbers.iter().filter(|number| shown.get(number) != village.get(number));
        Some(fields_json(table, differ.map(|number| (*number, theirs(number)))))
    });
    let undecided = (row.undecided > 0).then_some(row.undecided);
    let nothing = undecided.is_none()
        && village.is_none()
        && row.review.is_empty()
        && row.held_back.is_empty()
        && row.quarantined.is_empty();
    let review = row.review.iter().map(|&field| match field {
        0 => "id",
        field => table.field(field).map_or("?", |field| field.name.as_str()),
    });
    (!nothing).then(|| Marks {
        undecided,
        village,
        review: review.collect(),
        held_back: row.held_back,
        quarantined: row.quarantined,
    })
}

/// Values in the form of a record's `fields`.
fn fields_json<'a>(table: &Table, values: impl Iterator<Item = (u16, &'a Value)>) -> Fields {
    let named = values.filter_map(|(number, value)| Some((table.field(number)?, value)));
    named.map(|(field, value)| (field.name.clone(), value_json(field, value))).collect()
}

/// A value as people write it; decimals as numbers, to the digit.
fn value_json(field: &Field, value: &Value) -> Box<RawValue> {
    let json = match (&field.kind, value) {
        (_, Value::Null) => "null".to_owned(),
        (Kind::Decimal { scale }, Value::Int(number)) => decimal(*number, *scale),
        (_, Value::Int(number)) => number.to_string(),
        (_, Value::Bool(flag)) => flag.to_string(),
        (_, Value::List(entries)) => serde_json::to_string(entries).expect("texts are JSON"),
        (_, Value::Row(row)) => format!("\"{row}\""),
        (_, Value::Text(text) | Value::Number(text)) => {
            serde_json::to_string(text).expect("texts are JSON")
        }
    };
    RawValue::from_string(json).expect("numbers, texts and lists of them are JSON")
}

/// A scaled integer with its point, trailing zeros left out.
fn decimal(number: i64, scale: u8) -> String {
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, part) = digits.split_at(digits.len() - usize::from(scale));
    let part = part.trim_end_matches('0');
    let sign = if number < 0 { "-" } else { "" };
    if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_written_to_the_digit() {
        let cases = [
            (40_777_245, 6, "40.777245"),
            (-5, 2, "-0.05"),
            (1200, 2, "12"),
            (0, 3, "0"),
            (7, 0, "7"),
        ];
        for (number, scale, text) in cases {
            assert_eq!(decimal(number, scale), text);
        }
        assert_eq!(decimal(i64::MIN, 12), "-9223372.036854775808");
    }
}
