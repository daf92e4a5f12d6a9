//! Rows as JSON lines: `{"table","id","fields","marks"}`, a line each, by id.
//!
//! `fields` have the form of a record's. `marks` is there only if something is
//! to be known about the row: own changes that are not decided (`undecided`)
//! and what the village shows instead (`village`, null where it shows no such
//! row), what waits for a person (`review`), what was put aside (`quarantined`,
//! `held_back`).
use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::value::RawValue;
use wadi_protocol::resolve::Image;
use wadi_protocol::schema::Table;

use super::entry::fields_json;
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
    let fields = fields_json(table, &row.image);
    Line {
        table: &table.name,
        id,
        fields,
        marks: marks(table, row),
    }
}

fn marks(table: &Table, row: ShownRow) -> Option<Marks<'_>> {
    let village = row.village.map(|image: Option<Image>| {
        image
            .filter(|image| image.live)
            .map(|image| fields_json(table, &image))
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
