//! This database was restored from an older copy, and gateways know more than it does.
//!
//! A restored database numbers nothing until an operator confirms ([`Store::resume`]): so
//! what comes back comes before what is new. A gateway's word alone stops only that
//! gateway: nobody can prove what a lost hub said, and since each start draws a run it is
//! safe to go on. Once confirmed, each that knows more is told to begin anew and to return
//! what it still holds, with the sequences that the lost hub had given (*aliases*).
use rusqlite::{Connection, OptionalExtension, params};
use wadi_protocol::change::Change;
use wadi_protocol::id::{Dot, RowVersion, RunId};
use wadi_protocol::limits::{LOST_RUNS_MAX, SEEN_DOTS_MAX};
use wadi_protocol::wire::message::{Refused, Returned, Up, UpBody};

use super::sql::{Bits, Id, RowKey, dot_at, number_at};
use super::work::Work;
use super::{Catalog, Store, StoreError, changes, put_stored, run, stored};

/// Lost runs that one gateway may name, over all times that this hub was restored.
const LOST_RUNS_HELD_MAX: u64 = 4 * LOST_RUNS_MAX as u64;
/// Returned changes of one gateway whose former sequences are kept: twice what a gateway
/// may have pending. Of more they are not known, which claims less.
const ALIASES_MAX: u64 = 1_000_000;

/// What is known of a loss.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loss {
    /// Since when nothing is numbered, seconds since 1970; 0 = it is.
    pub stopped_s: u64,
    /// Sites whose gateways know more, and no operator has confirmed it.
    pub waiting: Vec<String>,
    /// The greatest schema version that one of these holds.
    pub schema: u32,
    /// The last hub sequence that was here and there alike.
    pub fork: u64,
    /// The last one that anybody knows of; 0 = none is known to be lost.
    pub last: u64,
    /// How many between them came back.
    pub returned: u64,
}

impl Store {
    /// An operator confirms that this database was restored: go on, and have gateways
    /// return what they still hold. How many are known to know more.
    pub fn resume(&mut self, now_s: u64) -> Result<usize, StoreError> {
        self.write(|tx, catalog| {
            let known = loss(tx)?;
            if known.stopped_s == 0 && known.waiting.is_empty() {
                let text = "nothing waits for this: no gateway knows more than this hub, and it \
                            numbers changes; see `wadi-hub status`";
                return Err(StoreError::Refused(text.into()));
            }
            let newest = catalog.newest().map_or(0, |schema| schema.version);
            let held = known.schema;
            if held > newest {
                return Err(StoreError::Refused(format!(
                    "gateways hold version {held} of the schema, this database has {newest}: first \
                     publish what was published since the backup (`wadi-hub schema publish FILE`), \
                     else what they return breaks the schema; one that is not to be believed can be \
                     revoked (`wadi-hub gateway revoke SITE`)"
                )));
            }
            put_stored(tx, "stopped_s", 0)?;
            put_stored(tx, "resumed_s", now_s)?;
            Ok(tx.execute("UPDATE wadi_claim SET told = 1 WHERE NOT told", [])?)
        })
    }

    /// What is known of a loss.
    pub fn loss(&self) -> Result<Loss, StoreError> {
        self.read(|tx, _| loss(tx))
    }
}

/// In a database that takes the place of another: nothing is numbered until an operator
/// confirms. At which time, seconds since 1970. Older layouts learn of it too.
pub(super) const STOP: &str =
    "INSERT OR REPLACE INTO wadi_store (key, value) VALUES ('stopped_s', ?1)";

/// Whether nothing may be numbered.
pub(super) fn is_stopped(db: &Connection) -> Result<bool, StoreError> {
    Ok(stored(db, "stopped_s")? != 0)
}

/// A gateway names a hub run or a sequence that is not here: what to answer.
pub(super) fn claimed(
    db: &Connection,
    catalog: &Catalog,
    gateway: u32,
    up: &Up,
    now_s: u64,
) -> Result<Refused, StoreError> {
    // A round may have been open when the hub was lost: then only its hub is named.
    let (seq, schema) = match &up.body {
        UpBody::Prepare(head) => (head.heard(), head.schema),
        _ => (0, 0),
    };
    let (told, synced_s) = db.query_row(
        "SELECT coalesce((SELECT told FROM wadi_claim WHERE gateway = ?1), 0), round_s
         FROM wadi_gateway WHERE number = ?1",
        [gateway],
        |row| Ok((row.get::<_, bool>(0)?, number_at(row, 1)?)),
    )?;
    let resumed_s = stored(db, "resumed_s")?;
    let known = told || (resumed_s > 0 && synced_s <= resumed_s);
    let has_schema = schema <= catalog.newest().map_or(0, |schema| schema.version);
    let stopped = is_stopped(db)?;
    let goes_on = known && has_schema && !stopped;
    db.execute(
        "INSERT INTO wadi_claim (gateway, run, seq, schema, first_s, last_s, told)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)
         ON CONFLICT DO UPDATE SET run = excluded.run, seq = max(seq, excluded.seq),
             schema = max(schema, excluded.schema), last_s = excluded.last_s,
             told = (told OR excluded.told) AND ?7",
        params![
            gateway,
            Bits(up.hub.0),
            Bits(seq),
            schema,
            Bits(now_s),
            goes_on,
            // One that waits for a schema waits for operators, whoever confirmed it before.
            has_schema
        ],
    )?;
    if goes_on {
        // Its next round is of another line, which begins with nothing.
        db.execute(
            "UPDATE wadi_gateway SET any_line = 2 WHERE number = ?1 AND any_line = 0",
            [gateway],
        )?;
        return Ok(Refused::Restored { line: run::newest(db, LOST_RUNS_MAX)? });
    }
    Ok(if stopped { Refused::Stopped } else { Refused::OtherHub })
}

/// A gateway has finished a round: whatever it claimed and nobody confirmed, it goes on
/// with this hub.
pub(super) fn goes_on(db: &Connection, gateway: u32) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM wadi_claim WHERE gateway = ?1 AND NOT told")?
        .execute([gateway])?;
    Ok(())
}

/// Note what the changes of a changeset were at the lost hub, before they are taken. Who
/// had seen one of them there may have come before it.
pub(super) fn note(
    work: &mut Work<'_>,
    gateway: u32,
    returned: &Returned,
    changes: &[Change],
) -> Result<(), StoreError> {
    let held = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table} WHERE gateway = ?1");
        work.db.prepare_cached(&sql)?.query_row([gateway], |row| number_at(row, 0))
    };
    let (runs, aliases) = (held("wadi_lost_run")?, held("wadi_alias")?);
    let mut room = LOST_RUNS_HELD_MAX.saturating_sub(runs);
    for run in returned.runs.iter().take(LOST_RUNS_MAX) {
        if fork(work.db, gateway, *run)?.is_none() {
            let Some(left) = room.checked_sub(1) else { continue };
            room = left;
        }
        work.db
            .prepare_cached(
                "INSERT OR REPLACE INTO wadi_lost_run (gateway, run, fork) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![gateway, Bits(run.0), Bits(returned.fork)])?;
    }
    let room = ALIASES_MAX.saturating_sub(aliases) as usize;
    let mut insert = work.db.prepare_cached(
        "INSERT OR IGNORE INTO wadi_alias (tbl, row, lost_seq, gateway, device, run, seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (change, lost_seq) in changes.iter().zip(returned.seq_of(changes.len())).take(room) {
        let Some(table) = change.table_number().filter(|_| lost_seq > returned.fork) else {
            continue;
        };
        let Dot { device, run, seq } = change.dot;
        let fresh = insert.execute(params![
            table,
            Id(change.row),
            Bits(lost_seq),
            gateway,
            Bits(device.0),
            Bits(run.0),
            Bits(seq)
        ])?;
        if fresh > 0 {
            let key = RowKey { table, row: change.row };
            was_seen(work, key, &Alias { gateway, lost_seq, dot: change.dot })?;
        }
    }
    Ok(())
}

/// A returned change.
struct Alias {
    gateway: u32,
    lost_seq: u64,
    dot: Dot,
}

/// Changes of the row that are here, and whose writers had been shown this one at the
/// lost hub, have seen it.
fn was_seen(work: &mut Work<'_>, key: RowKey, alias: &Alias) -> Result<(), StoreError> {
    let mut here = changes::applied(work.db, key)?;
    here.extend(changes::parked_of(work.db, key)?);
    for entered in here {
        let seen = &entered.change.seen;
        let full = seen.above.len() >= 2 * SEEN_DOTS_MAX;
        let said = full || entered.change.dot == alias.dot || seen.above.contains(&alias.dot);
        if said || seen.version.seq < alias.lost_seq {
            continue;
        }
        let run = seen.version.hub;
        let behind = fork(work.db, entered.gateway, run)?.is_some_and(|at| alias.lost_seq > at);
        if behind && fork(work.db, alias.gateway, run)?.is_some() {
            changes::has_seen(work.db, &entered, alias.dot)?;
            if entered.seq != 0 {
                work.row(key)?;
            }
        }
    }
    Ok(())
}

/// The sequence of ours up to which a version of a lost run is ours too, by the word of
/// the gateway that brings a change which names it.
pub(super) fn fork(db: &Connection, gateway: u32, run: RunId) -> Result<Option<u64>, StoreError> {
    let mut query =
        db.prepare_cached("SELECT fork FROM wadi_lost_run WHERE gateway = ?1 AND run = ?2")?;
    Ok(query.query_row(params![gateway, Bits(run.0)], |row| number_at(row, 0)).optional()?)
}

/// Of what came back, the changes of a row that a version of a lost run stands for: those
/// that gateways which knew that run had with sequences up to it. The newest ones.
pub(super) fn returned(
    db: &Connection,
    gateway: u32,
    change: &Change,
    version: RowVersion,
) -> Result<Vec<Dot>, StoreError> {
    let table = changes::key_of(change).table;
    let Some(fork) = fork(db, gateway, version.hub)? else {
        return Ok(Vec::new());
    };
    let mut query = db.prepare_cached(
        "SELECT device, run, seq FROM wadi_alias a
         WHERE tbl = ?1 AND row = ?2 AND lost_seq > ?3 AND lost_seq <= ?4
             AND EXISTS (SELECT 1 FROM wadi_lost_run l WHERE l.gateway = a.gateway AND l.run = ?5)
         ORDER BY lost_seq DESC LIMIT ?6",
    )?;
    let params = params![
        table,
        Id(change.row),
        Bits(fork),
        Bits(version.seq),
        Bits(version.hub.0),
        SEEN_DOTS_MAX as i64
    ];
    let dots = query.query_map(params, |row| dot_at(row, 0))?;
    Ok(dots
        .filter(|dot| dot.as_ref().map_or(true, |dot| *dot != change.dot))
        .collect::<Result<_, _>>()?)
}

pub(super) fn loss(db: &Connection) -> Result<Loss, StoreError> {
    let mut waiting = db.prepare_cached(
        "SELECT g.site FROM wadi_claim c JOIN wadi_gateway g ON g.number = c.gateway
         WHERE NOT c.told AND g.revoked_s IS NULL ORDER BY g.number",
    )?;
    let waiting = waiting.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let number = |sql: &str| db.prepare_cached(sql)?.query_row([], |row| number_at(row, 0));
    let mut returned =
        db.prepare_cached("SELECT count(DISTINCT lost_seq) FROM wadi_alias WHERE lost_seq > ?1")?;
    let schema = "SELECT coalesce(max(c.schema), 0) FROM wadi_claim c
         JOIN wadi_gateway g ON g.number = c.gateway WHERE NOT c.told AND g.revoked_s IS NULL";
    let fork = number("SELECT coalesce(max(fork), 0) FROM wadi_lost_run")?;
    // Until a gateway has said where the two part, nobody knows what is lost.
    let parted = db.prepare_cached("SELECT 1 FROM wadi_lost_run")?.exists([])?;
    let last = "SELECT max(coalesce((SELECT max(seq) FROM wadi_claim), 0),
                           coalesce((SELECT max(lost_seq) FROM wadi_alias), 0))";
    let last = if parted { number(last)? } else { 0 };
    Ok(Loss {
        stopped_s: stored(db, "stopped_s")?,
        waiting,
        schema: db.prepare_cached(schema)?.query_row([], |row| row.get(0))?,
        fork,
        last: if last > fork { last } else { 0 },
        returned: returned.query_row([Bits(fork)], |row| number_at(row, 0))?,
    })
}
