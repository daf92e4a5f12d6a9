//! Two changes under one dot: a device was copied, or somebody forges.
//!
//! A dot names one change for ever, so whatever else comes under it is kept
//! whole here and never applied: the first to come has the dot. Changes are
//! compared as they were made; a stamp of containment, which intakes add, does
//! not count. Honest devices never get here.
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rusqlite::{Connection, OptionalExtension, params};
use wadi_protocol::change::{Change, Delta};
use wadi_protocol::id::{DeviceId, Dot, Hash, RunId};
use wadi_protocol::limits::SEQUENCE_MAX;
use wadi_protocol::wire::batch::Batch;

use super::sql::{Bits, Id, number_at, pack, unpack};
use super::{StoreError, changes, text};

/// Clashes that are kept of one gateway; beyond it the hub hands changes back, to be held there.
pub(super) const CLASHES_MAX: u64 = 1_024;

/// Where a change that comes in stands among those that came before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Nothing has its dot.
    New,
    /// It is in the changelog; the hub sequence, 0 while it is parked.
    Known(u64),
    /// It is in quarantine, for this reason.
    Quarantined(String),
    /// It stands in this changeset already, at this index.
    Doubled(usize),
    /// Another change has its dot.
    Clash(First),
    /// The same, and no more clashes of this gateway are kept.
    NoRoom(First),
    /// It says that the hub's operators made it, who make theirs here.
    Posed,
}

/// The change that has the dot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct First {
    /// Who brought it; 0 = the hub's own operators.
    pub gateway: u32,
    /// In which round.
    pub round: u64,
    /// When.
    pub received_s: u64,
    /// Its index, if it is of the same changeset.
    pub index: Option<usize>,
}

impl Standing {
    /// Why the change cannot be taken, as far as this says.
    pub(super) fn reason(&self) -> Option<String> {
        match self {
            Standing::New | Standing::Known(_) | Standing::Doubled(_) => None,
            Standing::Quarantined(reason) => Some(reason.clone()),
            Standing::Clash(first) => Some(first.reason()),
            Standing::Posed => Some(
                "it claims to be an operator's, and those are made at the hub: somebody forges"
                    .into(),
            ),
            Standing::NoRoom(_) => Some(format!(
                "another change has this number, and the hub keeps at most {CLASHES_MAX} such \
                 changes of a gateway: an operator must look at `wadi-hub quarantine list`"
            )),
        }
    }

    /// Why its whole group cannot be taken. A double within one changeset stops only itself.
    pub(super) fn reason_of_group(&self) -> Option<String> {
        match self {
            Standing::Clash(first) | Standing::NoRoom(first) if first.index.is_some() => None,
            standing => standing.reason(),
        }
    }
}

impl First {
    fn reason(&self) -> String {
        let by = match self.gateway {
            0 => "made at the hub".to_owned(),
            number => format!("brought by gateway {number}"),
        };
        format!(
            "another change has this number since {}, {by}: a device was copied or somebody \
             forges; see `wadi-hub quarantine list`",
            text::time(self.received_s)
        )
    }
}

/// Where each change of a changeset stands, in their order.
pub(super) fn standings(
    db: &Connection,
    (gateway, round): (u32, u64),
    now_s: u64,
    batch: &Batch,
) -> Result<Vec<Standing>, StoreError> {
    let mut came: BTreeMap<Dot, usize> = BTreeMap::new();
    let mut fresh: Vec<(Dot, Hash)> = Vec::new();
    let mut standings = Vec::with_capacity(batch.changes.len());
    let mut runs = Runs::new();
    let operators = super::operators::device(db)?;
    for (index, change) in batch.changes.iter().enumerate() {
        let mut standing = match is_new(db, &mut runs, change.dot)? {
            true => Standing::New,
            false => stored(db, change)?,
        };
        if standing == Standing::New
            && let Some(&before) = came.get(&change.dot)
        {
            let first = First { gateway, round, received_s: now_s, index: Some(before) };
            standing = match is_same(&batch.changes[before], change) {
                true => Standing::Doubled(before),
                false => Standing::Clash(first),
            };
        }
        if standing == Standing::New && change.dot.device == operators {
            standing = Standing::Posed;
        }
        came.entry(change.dot).or_insert(index);
        if let Standing::Clash(first) = standing {
            let key = (change.dot, content(change));
            if !fresh.contains(&key) && !is_kept(db, key)? {
                if count(db, gateway)? + fresh.len() as u64 >= CLASHES_MAX {
                    standing = Standing::NoRoom(first);
                } else {
                    fresh.push(key);
                }
            }
        }
        standings.push(standing);
    }
    Ok(standings)
}

/// Of runs, the greatest sequence in the changelog, and whether anything is in quarantine.
type Runs = BTreeMap<(DeviceId, RunId), (Option<u64>, bool)>;

/// Whether a dot lies behind all that is stored of its run: nearly all do, and then it
/// need not be looked for.
fn is_new(db: &Connection, runs: &mut Runs, dot: Dot) -> Result<bool, StoreError> {
    let (newest, quarantined) = match runs.entry((dot.device, dot.run)) {
        Entry::Occupied(known) => *known.get(),
        Entry::Vacant(place) => {
            let run = [Bits(dot.device.0), Bits(dot.run.0)];
            let mut newest = db.prepare_cached(
                "SELECT max(seq) FROM wadi_change WHERE device = ?1 AND run = ?2",
            )?;
            let newest: Option<Bits> = newest.query_row(run, |row| row.get(0))?;
            let mut quarantined =
                db.prepare_cached("SELECT 1 FROM wadi_quarantine WHERE device = ?1 AND run = ?2")?;
            *place.insert((newest.map(|Bits(seq)| seq), quarantined.exists(run)?))
        }
    };
    // Sequences beyond are forged, and never in the changelog.
    let behind = dot.seq <= SEQUENCE_MAX && newest.is_none_or(|newest| dot.seq > newest);
    Ok(behind && !quarantined)
}

/// Where a change stands among those that are stored.
fn stored(db: &Connection, change: &Change) -> Result<Standing, StoreError> {
    if let Some((seq, first, body)) = holder(
        db,
        "SELECT coalesce(hub_seq, 0), gateway, round, received_s, body FROM wadi_change
         WHERE device = ?1 AND run = ?2 AND seq = ?3",
        change.dot,
        |row| number_at(row, 0),
    )? {
        return Ok(match is_same(&body, change) {
            true => Standing::Known(seq),
            false => Standing::Clash(first),
        });
    }
    if let Some((reason, first, body)) = holder(
        db,
        "SELECT coalesce(rejected, reason), gateway, round, received_s, body FROM wadi_quarantine
         WHERE device = ?1 AND run = ?2 AND seq = ?3",
        change.dot,
        |row| row.get(0),
    )? {
        return Ok(match is_same(&body, change) {
            true => Standing::Quarantined(reason),
            false => Standing::Clash(first),
        });
    }
    Ok(Standing::New)
}

/// What one table has under a dot: its first column, who brought it, the change as it was made.
fn holder<T>(
    db: &Connection,
    sql: &str,
    dot: Dot,
    state: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<(T, First, Change)>, StoreError> {
    let key = [Bits(dot.device.0), Bits(dot.run.0), Bits(dot.seq)];
    let found = db
        .prepare_cached(sql)?
        .query_row(key, |row| {
            let (round, received_s) = (number_at(row, 2)?, number_at(row, 3)?);
            let first = First { gateway: row.get(1)?, round, received_s, index: None };
            Ok((state(row)?, first, row.get::<_, Vec<u8>>(4)?))
        })
        .optional()?;
    found.map(|(state, first, body)| Ok((state, first, unpack(&body, "a change")?))).transpose()
}

/// Whether two changes are one: all but the stamp of containment is.
fn is_same(a: &Change, b: &Change) -> bool {
    if !a.passes_any() && !b.passes_any() {
        return as_made(a) == as_made(b);
    }
    // One brought it with a value that the other left out.
    let whole = a.fields.len() == b.fields.len();
    let (mut a, mut b) = (as_made(a), as_made(b));
    for ((_, a), (_, b)) in a.fields.iter_mut().zip(&mut b.fields) {
        if matches!((&*a, &*b), (Delta::Passed, Delta::Set(_)) | (Delta::Set(_), Delta::Passed)) {
            (*a, *b) = (Delta::Passed, Delta::Passed);
        }
    }
    whole && a == b
}

fn as_made(change: &Change) -> Change {
    Change { contained: None, ..change.clone() }
}

/// The hash of a change as it was made.
fn content(change: &Change) -> Hash {
    Hash::of(&[&pack(&as_made(change))])
}

fn is_kept(db: &Connection, (dot, content): (Dot, Hash)) -> Result<bool, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT 1 FROM wadi_clash WHERE device = ?1 AND run = ?2 AND seq = ?3 AND content = ?4",
    )?;
    Ok(query.exists(params![
        Bits(dot.device.0),
        Bits(dot.run.0),
        Bits(dot.seq),
        content.0.as_slice()
    ])?)
}

/// How many clashes are kept of a gateway.
fn count(db: &Connection, gateway: u32) -> Result<u64, StoreError> {
    let mut query = db.prepare_cached("SELECT count(*) FROM wadi_clash WHERE gateway = ?1")?;
    Ok(query.query_row([gateway], |row| number_at(row, 0))?)
}

/// Keep a change that clashes, whole. One that is kept already stays as it is.
pub(super) fn keep(
    db: &Connection,
    (gateway, round): (u32, u64),
    now_s: u64,
    first: First,
    change: &Change,
    reason: &str,
) -> Result<(), StoreError> {
    let mut query = db.prepare_cached(
        "INSERT OR IGNORE INTO wadi_clash
             (device, run, seq, content, gateway, round, received_s,
              first_gateway, first_round, first_s, reason, tbl, row, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    query.execute(params![
        Bits(change.dot.device.0),
        Bits(change.dot.run.0),
        Bits(change.dot.seq),
        content(change).0.as_slice(),
        gateway,
        Bits(round),
        Bits(now_s),
        first.gateway,
        Bits(first.round),
        Bits(first.received_s),
        reason,
        changes::table_text(&change.table),
        Id(change.row),
        pack(change),
    ])?;
    Ok(())
}
