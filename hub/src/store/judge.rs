//! Judging a changeset, dry: verdicts on each change alone, nothing applied.
//!
//! A verdict depends on the change and on the schema version that it was
//! written in, never on other rows: totals, twins and missing parents are no
//! reason to refuse. A group shares the verdict of its first bad change.
use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};
use wadi_protocol::change::Change;
use wadi_protocol::id::{DeviceId, Dot, RunId};
use wadi_protocol::limits::{CHANGE_BYTES_MAX, CHANGESET_CHANGES_MAX, REASON_BYTES_MAX};
use wadi_protocol::schema::interpret::interpret;
use wadi_protocol::schema::judge::judge;
use wadi_protocol::wire::batch::{self, Batch, content_hash};
use wadi_protocol::wire::message::{Prepare, Refused};

use super::sql::{Bits, pack};
use super::{Catalog, StoreError, changes};

/// Decode a whole changeset and check that it is the one announced.
pub(super) fn decode(head: &Prepare, bytes: &[u8], catalog: &Catalog) -> Result<Batch, Refused> {
    let undecodable = |reason: &str| Refused::Undecodable { reason: reason.into() };
    let batch = if bytes.is_empty() {
        Batch::default()
    } else {
        batch::decode(bytes).map_err(|error| undecodable(&error.to_string()))?
    };
    if !bytes.is_empty() && content_hash(&batch) != head.content {
        return Err(undecodable("its hash is not the one announced"));
    }
    if batch.changes.len() > CHANGESET_CHANGES_MAX {
        let reason =
            format!("{} changes, at most {CHANGESET_CHANGES_MAX} are allowed", batch.changes.len());
        return Err(Refused::TooLarge { reason });
    }
    if !batch.changes.is_empty() && catalog.newest().is_none() {
        return Err(undecodable("the hub has no schema yet: run `wadi-hub schema publish FILE`"));
    }
    Ok(batch)
}

/// Which changes will be quarantined, and why. Ascending by index.
pub(super) fn verdicts(
    db: &Connection,
    catalog: &Catalog,
    batch: &Batch,
) -> Result<Vec<(u32, String)>, StoreError> {
    let mut bad: BTreeMap<(DeviceId, RunId, u64), String> = BTreeMap::new();
    for change in &batch.changes {
        if changes::sequence(db, change.dot)?.is_some() {
            continue;
        }
        let reason = match quarantined(db, change.dot)? {
            Some(reason) => Some(reason),
            None => typed(catalog, change).err(),
        };
        if let Some(reason) = reason {
            bad.entry(group_key(change)).or_insert(reason);
        }
    }
    let mut verdicts = Vec::new();
    for (index, change) in batch.changes.iter().enumerate() {
        if let Some(reason) = bad.get(&group_key(change))
            && changes::sequence(db, change.dot)?.is_none()
        {
            verdicts.push((u32::try_from(index).expect("limited above"), cut(reason)));
        }
    }
    Ok(verdicts)
}

/// The numbered form of a change that stands alone, or why it does not.
pub(super) fn typed(catalog: &Catalog, change: &Change) -> Result<Change, String> {
    let schema = catalog.version(change.schema).ok_or_else(|| {
        format!("written under schema version {}, which this hub never published", change.schema)
    })?;
    let size = pack(change).len();
    if size > CHANGE_BYTES_MAX {
        return Err(format!("oversize: {size} bytes, at most {CHANGE_BYTES_MAX} are allowed"));
    }
    let typed = interpret(schema, change)?;
    judge(schema, &typed)?;
    Ok(typed)
}

/// Why a change is in quarantine already, if it is.
pub(super) fn quarantined(db: &Connection, dot: Dot) -> Result<Option<String>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT reason FROM wadi_quarantine WHERE device = ?1 AND run = ?2 AND seq = ?3",
    )?;
    let dot = [Bits(dot.device.0), Bits(dot.run.0), Bits(dot.seq)];
    Ok(query.query_row(dot, |row| row.get(0)).optional()?)
}

/// What a change shares its verdict with.
fn group_key(change: &Change) -> (DeviceId, RunId, u64) {
    (change.dot.device, change.dot.run, change.group_span().0)
}

/// A reason within its limit, cut between characters.
fn cut(reason: &str) -> String {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_owned()
}
