//! `wadi-hub quarantine list | show`.
use std::io::Write;

use serde_json::{Value as Json, json};
use wadi_protocol::id::Dot;

use super::{CommandError, id, line};
use crate::store::quarantine::Quarantined;
use crate::store::{Store, text};

/// List what is in quarantine, and why.
pub fn quarantine_list(
    store: &Store,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let all = store.quarantined()?;
    if as_json {
        let all: Vec<Json> = all.iter().map(as_value).collect();
        return Ok(super::json(out, &Json::from(all))?);
    }
    line(out, &["change", "table", "row", "device", "site", "received", "reason"])?;
    for one in &all {
        line(
            out,
            &[
                &one.dot.to_string(),
                &one.table,
                &one.row.to_string(),
                &one.label,
                &one.site,
                &text::time(one.received_s),
                &one.reason,
            ],
        )?;
    }
    Ok(())
}

/// Show the changes of one number whole: more than one, if several came under it.
pub fn quarantine_show(store: &Store, dot: &str, out: &mut dyn Write) -> Result<(), CommandError> {
    let dot: Dot = id(dot)?;
    for (index, one) in store.quarantined_changes(dot)?.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        show(one, out)?;
    }
    Ok(())
}

fn show(one: &Quarantined, out: &mut dyn Write) -> Result<(), CommandError> {
    let stamp = one.change.stamp;
    writeln!(out, "change    {}", one.dot)?;
    writeln!(out, "reason    {}", one.reason)?;
    writeln!(out, "device    {}, by site {}", one.label, one.site)?;
    writeln!(out, "stamp     {}+{}", text::time(stamp.seconds), stamp.counter)?;
    writeln!(out, "entered   {}", text::time(one.change.entered_s))?;
    writeln!(out, "received  {}, in round {}", text::time(one.received_s), one.round)?;
    if let Some(first) = &one.first {
        writeln!(
            out,
            "other     came {}, by site {}, in round {}: see `wadi-hub history`",
            text::time(first.received_s),
            first.site,
            first.round
        )?;
    }
    writeln!(out, "schema    {}", one.change.schema)?;
    writeln!(out, "{:9} {} {}", text::op(one.change.op), one.table, one.row)?;
    for field in one.fields.lines() {
        writeln!(out, "          {field}")?;
    }
    Ok(())
}

fn as_value(one: &Quarantined) -> Json {
    json!({
        "dot": one.dot.to_string(),
        "reason": one.reason,
        "table": one.table,
        "row": one.row.to_string(),
        "op": text::op(one.change.op),
        "fields": one.fields,
        "device": one.label,
        "site": one.site,
        "stamp": one.change.stamp.to_string(),
        "entered_s": one.change.entered_s,
        "received_s": one.received_s,
        "schema": one.change.schema,
        "round": one.round,
        "other": one.first.as_ref().map(|first| json!({
            "site": first.site,
            "round": first.round,
            "received_s": first.received_s,
        })),
    })
}
