//! `wadi-hub history TABLE ROW`.
use std::io::Write;

use wadi_protocol::id::RowId;
use wadi_protocol::ruling::Word;

use super::{CommandError, id, line};
use crate::store::history::{Fate, Past, Ruled};
use crate::store::{Store, StoreError, text};

/// Every change of a row, in hub order.
pub fn history(
    store: &Store,
    table: &str,
    row: &str,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let row: RowId = id(row)?;
    let history = store.history(table, row)?;
    if history.is_empty() {
        return Err(StoreError::Refused(format!(
            "{table} {row}: the hub never heard of this row: check the table and the id"
        ))
        .into());
    }
    line(
        out,
        &["seq", "change", "device", "site", "stamp", "received", "op", "outcome", "fields"],
    )?;
    for past in &history {
        let stamp = past.change.order().0;
        let seq = if past.seq == 0 { "-".into() } else { past.seq.to_string() };
        line(
            out,
            &[
                &seq,
                &past.dot.to_string(),
                &past.label,
                &past.site,
                &format!("{}+{}", text::time(stamp.seconds), stamp.counter),
                &text::time(past.received_s),
                text::op(past.change.op),
                &outcome(&past.fate),
                &fields(past),
            ],
        )?;
        for ruled in &past.rulings {
            line(out, &cells(ruled).each_ref().map(String::as_str))?;
        }
    }
    Ok(())
}

/// What a change carries, as it counts and as it came.
fn fields(past: &Past) -> String {
    match &past.came {
        Some((came, _)) if *came == past.fields => format!("{came} (released)"),
        Some((came, why)) => format!("{} (came as {came}: {why})", past.fields),
        None => past.fields.clone(),
    }
}

/// The line of a ruling, below the change that it is about.
fn cells(ruled: &Ruled) -> [String; 9] {
    let ruling = &ruled.ruling;
    let op = match ruling.word {
        Word::Repair(_) => "repair",
        Word::Reject { .. } => "reject",
        Word::Undo => "undo",
    };
    [
        "-".into(),
        ruling.dot.to_string(),
        "operator".into(),
        "hub".into(),
        format!("{}+{}", text::time(ruling.stamp.seconds), ruling.stamp.counter),
        text::time(ruling.entered_s),
        format!("{op} of {}", ruling.subject),
        if ruled.counts { "counts".into() } else { "outdone".into() },
        ruled.says.clone(),
    ]
}

fn outcome(fate: &Fate) -> String {
    match fate {
        Fate::Review => "review".into(),
        Fate::Shown => "shown".into(),
        Fate::Candidate => "candidate".into(),
        Fate::Superseded => "superseded".into(),
        Fate::Undone => "undone".into(),
        Fate::Parked => "parked".into(),
        Fate::Quarantined(reason) => format!("quarantined: {reason}"),
    }
}
