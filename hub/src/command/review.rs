//! `wadi-hub review list | show | settle | settle-alike | undo`.
use std::io::Write;

use serde_json::{Value as Json, json};
use wadi_protocol::schema::Field;

use super::{CommandError, line};
use crate::store::review::{Candidate, Case};
use crate::store::settle::Decision;
use crate::store::{Store, text};

/// Closed cases that are listed.
const CLOSED_SHOWN_MAX: usize = 100;

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
    line(
        out,
        &[
            "pick", "value", "device", "site", "stamp", "entered", "received", "change",
            "had seen", "",
        ],
    )?;
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
                &had_seen(field.as_ref(), candidate),
                if candidate.shown { "shown" } else { "" },
            ],
        )?;
    }
    Ok(())
}

/// List the newest closed cases.
pub fn review_closed(
    store: &Store,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let cases = store.closed_cases(CLOSED_SHOWN_MAX)?;
    if as_json {
        let value = |(case, closed_s, settled): &(Case, u64, bool)| {
            let mut value = as_value(case);
            value["closed_s"] = json!(closed_s);
            value["settled"] = json!(settled);
            value
        };
        return Ok(super::json(out, &cases.iter().map(value).collect())?);
    }
    line(out, &["case", "table", "row", "field", "closed", "shown", "by"])?;
    for (case, closed_s, settled) in &cases {
        line(
            out,
            &[
                &case.number.to_string(),
                &case.names.0,
                &case.key.row.to_string(),
                &case.names.1,
                &text::time(*closed_s),
                &text::value(field(store, case)?.as_ref(), &case.shown),
                if *settled { "settle" } else { "" },
            ],
        )?;
    }
    Ok(())
}

/// Settle a case by a decision.
pub fn review_settle(
    store: &mut Store,
    number: u64,
    decision: &Decision,
    now_s: u64,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let seq = store.settle(number, decision, now_s)?;
    Ok(writeln!(out, "case {number} is settled, at sequence {seq}")?)
}

/// Settle every open case of a field alike, or say what that would do.
pub fn review_settle_alike(
    store: &mut Store,
    of: (&str, &str),
    decision: &Decision,
    (dry_run, now_s): (bool, u64),
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let settled = match dry_run {
        true => store.would_settle(of, decision)?,
        false => store.settle_alike(of, decision, now_s)?,
    };
    let done = if dry_run { "would be settled to" } else { "settled to" };
    for (case, value) in &settled.done {
        line(out, &[&format!("case {case}"), done, value])?;
    }
    for (case, why) in &settled.left {
        line(out, &[&format!("case {case}"), "stays open", why])?;
    }
    if settled.done.is_empty() && settled.left.is_empty() {
        writeln!(out, "no open case about {}.{}", of.0, of.1)?;
    }
    if settled.more {
        writeln!(out, "there are more: run it again")?;
    }
    Ok(())
}

/// Undo the settles that closed cases, one after the other.
pub fn review_undo(
    store: &mut Store,
    cases: &[u64],
    now_s: u64,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    for &number in cases {
        let open = match store.undo(number, now_s)?.case {
            Some(case) => format!("it is open again as case {case}"),
            None => "what came since left no case open".into(),
        };
        writeln!(out, "the settle of case {number} is undone: {open}")?;
    }
    Ok(())
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

/// What the field showed to whoever made the candidate.
fn had_seen(field: Option<&Field>, candidate: &Candidate) -> String {
    match &candidate.had_seen {
        Some(value) => text::value(field, value),
        None => "nothing".into(),
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
