//! `wadi-hub quarantine list | show | repair | release | map | reject`.
use std::io::Write;

use serde_json::{Value as Json, json};
use wadi_protocol::id::Dot;

use super::{CommandError, id, line};
use crate::store::quarantine::Quarantined;
use crate::store::repair::{Became, Edits};
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
                &why(one),
            ],
        )?;
    }
    Ok(())
}

/// Why a change is here now.
fn why(one: &Quarantined) -> String {
    match &one.rejected {
        Some(rejected) => rejected.clone(),
        None if one.repaired => {
            format!("repaired, and waits for its group; it was: {}", one.reason)
        }
        None => one.reason.clone(),
    }
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
    if one.rejected.is_some() || one.repaired {
        writeln!(out, "ruled     {}", why(one))?;
    }
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
    for field in &one.decoded {
        let plain = |text: &str| text.replace(char::is_control, " ");
        writeln!(out, "  came    {} = {}", plain(&field.field), plain(&field.raw))?;
        match &field.read {
            Ok(read) => writeln!(out, "  read    {}", plain(read))?,
            Err(why) => writeln!(out, "  wrong   {}", plain(why))?,
        }
    }
    Ok(())
}

/// Repair a change, or release it as it came, and say what became of it.
pub fn quarantine_repair(
    store: &mut Store,
    dot: &str,
    edits: &Edits,
    now_s: u64,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let dot: Dot = id(dot)?;
    match store.repair(dot, edits, now_s)? {
        Became::Applied { seq, followed: 0 } => {
            writeln!(out, "{dot} is released, at sequence {seq}")?
        }
        Became::Applied { seq, followed } => writeln!(
            out,
            "{dot} is released, at sequence {seq}, and {followed} that waited for it with it"
        )?,
        Became::Parked => writeln!(
            out,
            "{dot} is released and parked: it waits for a row that it references or changes"
        )?,
        Became::Waits { mate, why } => writeln!(
            out,
            "{dot} stands alone now; its group waits for {mate}, which does not: {why}"
        )?,
    }
    Ok(())
}

/// Map an option code, and say which changes that does not help.
pub fn quarantine_map(
    store: &mut Store,
    of: (&str, &str),
    codes: (&str, &str),
    now_s: u64,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let mapped = store.map_code(of, codes, now_s)?;
    writeln!(out, "{} changes are released", mapped.released)?;
    for (dot, why) in &mapped.waiting {
        line(out, &[&dot.to_string(), "waits for its group", why])?;
    }
    for (dot, why) in &mapped.left {
        line(out, &[&dot.to_string(), "stays", why])?;
    }
    if mapped.more {
        writeln!(out, "there are more: run it again")?;
    }
    Ok(())
}

/// Reject a change and its group.
pub fn quarantine_reject(
    store: &mut Store,
    dot: &str,
    reason: &str,
    now_s: u64,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let dot: Dot = id(dot)?;
    match store.reject(dot, reason, now_s)? {
        1 => writeln!(out, "{dot} is rejected; its gateway hears why at its next round")?,
        count => writeln!(
            out,
            "{dot} and {} others of its group are rejected; their gateway hears why at its next round",
            count - 1
        )?,
    }
    Ok(())
}

fn as_value(one: &Quarantined) -> Json {
    json!({
        "dot": one.dot.to_string(),
        "reason": one.reason,
        "rejected": one.rejected,
        "repaired": one.repaired,
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
