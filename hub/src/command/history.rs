//! `wadi-hub history TABLE ROW`.
use std::io::Write;

use wadi_protocol::id::RowId;

use super::{CommandError, id, line};
use crate::store::history::Fate;
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
                &past.fields,
            ],
        )?;
    }
    Ok(())
}

fn outcome(fate: &Fate) -> String {
    match fate {
        Fate::Review => "review".into(),
        Fate::Shown => "shown".into(),
        Fate::Candidate => "candidate".into(),
        Fate::Superseded => "superseded".into(),
        Fate::Parked => "parked".into(),
        Fate::Quarantined(reason) => format!("quarantined: {reason}"),
    }
}
