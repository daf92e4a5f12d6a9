//! `wadi-hub review list | show | settle`.
use std::io::Write;

use serde_json::{Value as Json, json};
use wadi_protocol::schema::Field;

use super::{CommandError, line};
use crate::store::review::{Candidate, Case};
use crate::store::settle::Decision;
use crate::store::{Store, StoreError, text};

/// List open cases.
pub fn review_list(store: &Store, as_json: bool, out: &mut dyn Write) -> Result<(), CommandError> {
    let cases = store.cases()?;
    if as_json {
        let all: Vec<Json> = cases.iter().map(as_value).collect();
        return Ok(super::json(out, &Json::from(all))?);
    }
    line(out, &["case", "table", "row", "field", "opened", "shown", "why"])?;
    for case in &cases {
        line(
            out,
            &[
                &case.number.to_string(),
                &case.names.0,
                &case.key.row.to_string(),
                &case.names.1,
                &text::time(case.opened_s),
                &text::value(field(store, case)?.as_ref(), &case.shown),
                case.why,
            ],
        )?;
    }
    Ok(())
}

/// Show a case: every competing value, by whom, when; numbered for `settle --pick`.
pub fn review_show(store: &Store, number: u64, out: &mut dyn Write) -> Result<(), CommandError> {
    let (case, candidates) = store.case(number)?;
    let field = field(store, &case)?;
    let (table, name) = &case.names;
    writeln!(out, "case {number}: {table} {}, {name}: {}", case.key.row, case.why)?;
    if candidates.is_empty() {
        let shown = text::value(field.as_ref(), &case.shown);
        writeln!(out, "shown: {shown}; settle it by --value")?;
        return Ok(());
    }
    line(out, &["pick", "value", "device", "site", "stamp", "entered", "received", "change", ""])?;
    for (pick, candidate) in (1..).zip(&candidates) {
        line(
            out,
            &[
                &format!("{pick}"),
                &says(field.as_ref(), candidate),
                &candidate.label,
                &candidate.site,
                &format!("{}+{}", text::time(candidate.stamp.seconds), candidate.stamp.counter),
                &text::time(candidate.entered_s),
                &text::time(candidate.received_s),
                &candidate.dot.to_string(),
                if candidate.shown { "shown" } else { "" },
            ],
        )?;
    }
    Ok(())
}

/// Settle a case by the number of a candidate or by a value.
pub fn review_settle(
    store: &mut Store,
    number: u64,
    pick: Option<usize>,
    value: Option<&str>,
    now_s: u64,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let decision = match (pick, value) {
        (Some(pick), None) => Decision::Pick(pick),
        (None, Some(value)) => Decision::Value(value.into()),
        _ => return Err(StoreError::Refused("settle by --pick or by --value".into()).into()),
    };
    let seq = store.settle(number, &decision, now_s)?;
    Ok(writeln!(out, "case {number} is settled, at sequence {seq}")?)
}

fn field(store: &Store, case: &Case) -> Result<Option<Field>, CommandError> {
    let schema = store.schema()?;
    let table = schema.as_ref().and_then(|schema| schema.table(case.key.table));
    Ok(table.and_then(|table| table.field(case.field)).cloned())
}

fn says(field: Option<&Field>, candidate: &Candidate) -> String {
    match &candidate.delta {
        Some(delta) => text::delta(field, delta),
        None => "(the record)".into(),
    }
}

fn as_value(case: &Case) -> Json {
    json!({
        "case": case.number,
        "table": case.names.0,
        "row": case.key.row.to_string(),
        "field": case.names.1,
        "opened_s": case.opened_s,
        "shown": text::json(&case.shown),
        "why": case.why,
    })
}
