//! Judging a changeset, dry: verdicts on each change alone, nothing applied.
//!
//! A verdict depends on the change and on the schema version that it was
//! written in, never on other rows: totals, twins and missing parents are no
//! reason to refuse. Only that another change has its dot is (see [`super::clash`]).
//! A group shares the verdict of its first bad change.
use std::collections::{BTreeMap, BTreeSet};

use wadi_protocol::change::Change;
use wadi_protocol::id::{DeviceId, RunId};
use wadi_protocol::limits::{CHANGE_BYTES_MAX, CHANGESET_CHANGES_MAX, REASON_BYTES_MAX};
use wadi_protocol::schema::judge;
use wadi_protocol::wire::batch::{self, Batch, BatchError, content_hash};
use wadi_protocol::wire::message::{Prepare, Refused};

use super::Catalog;
use super::clash::Standing;
use super::sql::packed_len;

/// Decode a changeset that is written plainly, or not at all, as that of a head.
pub(super) fn decode(head: &Prepare, bytes: &[u8]) -> Result<Batch, Refused> {
    let unread = |error: BatchError| Refused::Undecodable { reason: error.to_string() };
    let batch = match bytes {
        [] => Batch::default(),
        bytes => batch::decode(bytes).map_err(unread)?,
    };
    match content_hash(&batch) == head.content {
        true => Ok(batch),
        false => Err(undecodable("its hash is not the one announced")),
    }
}

/// The changeset, if it is whole: nobody could account for changes of runs that it does
/// not name.
pub(super) fn whole(batch: Batch, catalog: &Catalog) -> Result<Batch, Refused> {
    if batch.changes.len() > CHANGESET_CHANGES_MAX {
        let reason =
            format!("{} changes, at most {CHANGESET_CHANGES_MAX} are allowed", batch.changes.len());
        return Err(Refused::TooLarge { reason });
    }
    let told: BTreeSet<(DeviceId, RunId)> =
        batch.runs.iter().map(|info| (info.device, info.run)).collect();
    let untold = |change: &&Change| !told.contains(&(change.dot.device, change.dot.run));
    if let Some(change) = batch.changes.iter().find(untold) {
        return Err(undecodable(&format!("it does not name the run of change {}", change.dot)));
    }
    if !batch.changes.is_empty() && catalog.newest().is_none() {
        return Err(undecodable("the hub has no schema yet: run `wadi-hub schema publish FILE`"));
    }
    Ok(batch)
}

fn undecodable(reason: &str) -> Refused {
    Refused::Undecodable { reason: reason.into() }
}

/// Which changes will not be taken, and why. Ascending by index.
pub(super) fn verdicts(
    catalog: &Catalog,
    batch: &Batch,
    standings: &[Standing],
) -> Vec<(u32, String)> {
    let mut bad: BTreeMap<GroupKey, String> = BTreeMap::new();
    for (change, standing) in batch.changes.iter().zip(standings) {
        let reason = match standing {
            Standing::New => typed(catalog, change).err(),
            standing => standing.reason_of_group(),
        };
        if let Some(reason) = reason {
            bad.entry(group_key(change)).or_insert(reason);
        }
    }
    let mut verdicts = Vec::new();
    for (index, (change, standing)) in (0..).zip(batch.changes.iter().zip(standings)) {
        if matches!(standing, Standing::Known(_) | Standing::Doubled(_)) {
            continue;
        }
        let reason = standing.reason().or_else(|| bad.get(&group_key(change)).cloned());
        verdicts.extend(reason.map(|reason| (index, cut(&reason))));
    }
    verdicts
}

/// The numbered form of a change that stands alone, or why it does not.
pub(super) fn typed(catalog: &Catalog, change: &Change) -> Result<Change, String> {
    let schema = catalog.version(change.schema).ok_or_else(|| {
        format!("written under schema version {}, which this hub never published", change.schema)
    })?;
    let size = packed_len(change);
    if size > CHANGE_BYTES_MAX {
        return Err(format!("oversize: {size} bytes, at most {CHANGE_BYTES_MAX} are allowed"));
    }
    judge::typed(schema, change)
}

/// What changes that share a verdict have in common.
pub(super) type GroupKey = (DeviceId, RunId, u64);

/// What a change shares its verdict with.
pub(super) fn group_key(change: &Change) -> GroupKey {
    (change.dot.device, change.dot.run, change.group_span().0)
}

/// A reason within its limit, cut between characters.
pub(super) fn cut(reason: &str) -> String {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_owned()
}
