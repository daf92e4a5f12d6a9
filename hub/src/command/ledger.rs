//! `wadi-hub ledger`.
use std::io::Write;

use serde_json::{Value as Json, json};

use super::{CommandError, line};
use crate::store::Store;
use crate::store::ledger::{Ledger, Run};

/// Account for every change; false if something is wrong.
pub fn ledger(store: &Store, as_json: bool, out: &mut dyn Write) -> Result<bool, CommandError> {
    let ledger = store.ledger()?;
    if as_json {
        super::json(out, &as_value(&ledger))?;
    } else {
        table(&ledger, out)?;
    }
    Ok(ledger.wrong.is_empty())
}

fn table(ledger: &Ledger, out: &mut dyn Write) -> Result<(), CommandError> {
    line(
        out,
        &[
            "device",
            "run",
            "label",
            "first",
            "last",
            "committed",
            "parked",
            "quarantined",
            "clashes",
            "gaps",
        ],
    )?;
    for run in &ledger.runs {
        line(
            out,
            &[
                &run.device.to_string(),
                &run.run.to_string(),
                &run.label,
                &run.first.to_string(),
                &run.last.to_string(),
                &run.committed.to_string(),
                &run.parked.to_string(),
                &run.quarantined.to_string(),
                &run.clashes.to_string(),
                &gaps(run),
            ],
        )?;
    }
    for wrong in &ledger.wrong {
        writeln!(out, "WRONG: {wrong}")?;
    }
    Ok(())
}

fn gaps(run: &Run) -> String {
    if run.gaps.is_empty() {
        return "-".into();
    }
    let span = |&(first, last): &(u64, u64)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    run.gaps.iter().map(span).collect::<Vec<_>>().join(",")
}

fn as_value(ledger: &Ledger) -> Json {
    let total = |count: fn(&Run) -> u64| ledger.runs.iter().map(count).sum::<u64>();
    let missing = |run: &Run| run.gaps.iter().map(|(first, last)| last - first + 1).sum::<u64>();
    let runs: Vec<Json> = ledger
        .runs
        .iter()
        .map(|run| {
            json!({
                "device": run.device.to_string(),
                "run": run.run.to_string(),
                "label": run.label,
                "first": run.first,
                "last": run.last,
                "committed": run.committed,
                "parked": run.parked,
                "quarantined": run.quarantined,
                "clashes": run.clashes,
                "stretches": run.stretches,
                "gaps": run.gaps,
            })
        })
        .collect();
    json!({
        "head": ledger.head,
        "committed": total(|run| run.committed),
        "parked": total(|run| run.parked),
        "quarantined": total(|run| run.quarantined),
        "clashes": total(|run| run.clashes),
        "missing": total(missing),
        "runs": runs,
        "wrong": ledger.wrong,
    })
}
