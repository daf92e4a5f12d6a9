//! What of a changeset need not travel: values of a table with `history = "latest"` that a
//! later change of the same writer replaces, in the same changeset.
//!
//! Such a change still travels, under its dot and with what it had seen, so that what
//! precedes what is the same by every route; only its value is left out
//! ([`Delta::Passed`]). It must not be needed again: what replaces it counts wherever it
//! counts itself. So both are such as the hub takes, and what replaces it cannot be held
//! up by a reference or by a group that the other is not in. A hub that was restored may
//! not know the schema any more: to that every step travels.
use std::collections::BTreeMap;

use wadi_protocol::change::{Change, Delta, FieldRef, Group, Op};
use wadi_protocol::id::{DeviceId, RowId, RunId};
use wadi_protocol::schema::{History, Schema, Table, judge};
use wadi_protocol::value::Value;

/// A field of a row, as one run writes it.
type Place = (DeviceId, RunId, u16, RowId, u16);

/// The changes without the values that need not travel.
pub(super) fn net(schema: Option<&Schema>, changes: &[Change]) -> Vec<Change> {
    let mut net = changes.to_vec();
    let Some(schema) = schema else { return net };
    if schema.tables.iter().all(|table| table.history == History::Full) {
        return net;
    }
    // Of each place, the change that replaces what comes before: its sequence and group.
    let mut replaced: BTreeMap<Place, (u64, Option<Group>)> = BTreeMap::new();
    for change in net.iter_mut().rev() {
        let Some(table) = keeps_latest(schema, change) else { continue };
        let (dot, group, row) = (change.dot, change.group, change.row);
        let replaces = change.op == Op::Update && !refers(change);
        for (field, delta) in &mut change.fields {
            let FieldRef::Number(number) = *field else { continue };
            let leaves_out = table.field(number).is_some_and(|field| table.leaves_out(field));
            if !leaves_out || !matches!(delta, Delta::Set(_)) {
                continue;
            }
            let place = (dot.device, dot.run, table.number, row, number);
            match replaced.get(&place) {
                Some((seq, of)) if *seq > dot.seq && (of.is_none() || *of == group) => {
                    *delta = Delta::Passed;
                }
                _ if replaces => {
                    replaced.insert(place, (dot.seq, group));
                }
                _ => {}
            }
        }
    }
    net
}

/// The table of a change that the hub takes as it is, if that keeps the latest only.
fn keeps_latest<'a>(schema: &'a Schema, change: &Change) -> Option<&'a Table> {
    let table = change.table_number().and_then(|number| schema.table(number))?;
    let taken = change.schema == schema.version && judge::judge(schema, change).is_ok();
    (table.history == History::Latest && taken).then_some(table)
}

/// Whether a change names a row that may have to be waited for.
fn refers(change: &Change) -> bool {
    change.fields.iter().any(|(_, delta)| matches!(delta, Delta::Set(Value::Row(_))))
}
