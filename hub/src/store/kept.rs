//! The table of quarantined changes: putting in, finding, taking out, rejecting.
use rusqlite::{Connection, params};
use wadi_protocol::change::Change;
use wadi_protocol::id::Dot;
use wadi_protocol::ruling::{self, Ruling, Word};
use wadi_protocol::wire::downlink::Notice;
use wadi_protocol::wire::message::Outcome;

use super::judge::group_key;
use super::sql::{Bits, Id, dot_at, number_at, pack, unpack};
use super::work::Work;
use super::{StoreError, changes, notice};

/// How the reason of a rejected change begins, wherever it is read.
const REJECTED: &str = "rejected by the operators: ";

/// How many changes of a gateway are kept so and not rejected.
pub(super) fn count(db: &Connection, gateway: u32) -> Result<u64, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT count(*) FROM wadi_quarantine WHERE gateway = ?1 AND rejected IS NULL",
    )?;
    Ok(query.query_row([gateway], |row| number_at(row, 0))?)
}

/// Keep a change whole, outside the tables.
pub(super) fn put(
    work: &Work<'_>,
    (gateway, round): (u32, u64),
    change: &Change,
    reason: &str,
) -> Result<(), StoreError> {
    let (seen_seq, closure_seqs) = changes::seen_seqs(work.db, gateway, change)?;
    let mut query = work.db.prepare_cached(
        "INSERT OR IGNORE INTO wadi_quarantine
             (device, run, seq, gateway, round, received_s, reason, tbl, row, body,
              seen_seq, closure_seqs)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    let put = query.execute(params![
        Bits(change.dot.device.0),
        Bits(change.dot.run.0),
        Bits(change.dot.seq),
        gateway,
        Bits(round),
        Bits(work.now_s),
        reason,
        changes::table_text(&change.table),
        Id(change.row),
        pack(change),
        Bits(seen_seq),
        pack(&closure_seqs),
    ])?;
    if put == 0 {
        notice::also(work.db, gateway, change.dot)?;
        contain(work.db, change)?;
    }
    Ok(())
}

/// The same change by another route: of several stamps of containment the least counts.
fn contain(db: &Connection, change: &Change) -> Result<(), StoreError> {
    let (Some(stamp), Some(kept)) = (change.contained, find(db, change.dot)?) else {
        return Ok(());
    };
    if kept.change.contained.is_none_or(|least| stamp < least) {
        let dot = change.dot;
        let contained = Change { contained: Some(stamp), ..kept.change };
        db.prepare_cached(
            "UPDATE wadi_quarantine SET body = ?4 WHERE device = ?1 AND run = ?2 AND seq = ?3",
        )?
        .execute(params![
            Bits(dot.device.0),
            Bits(dot.run.0),
            Bits(dot.seq),
            pack(&contained)
        ])?;
    }
    Ok(())
}

/// A change as quarantine keeps it.
pub(super) struct Kept {
    /// As it was made.
    pub change: Change,
    /// Who brought it.
    pub gateway: u32,
    /// In which round.
    pub round: u64,
    /// When.
    pub received_s: u64,
    /// Why it is here.
    pub reason: String,
    /// What its writer had seen, in our sequences.
    pub seen_seq: u64,
    /// The same for each row of its closure.
    pub closure_seqs: Vec<u64>,
}

const KEPT: &str = "SELECT body, gateway, round, received_s, reason, seen_seq, closure_seqs
    FROM wadi_quarantine WHERE device = ?1 AND run = ?2 AND seq BETWEEN ?3 AND ?4";

/// The quarantined change that has this dot.
pub(super) fn find(db: &Connection, dot: Dot) -> Result<Option<Kept>, StoreError> {
    Ok(between(db, dot, (dot.seq, dot.seq))?.pop())
}

/// The quarantined changes that share the custody of one, itself included.
pub(super) fn mates(db: &Connection, change: &Change) -> Result<Vec<Kept>, StoreError> {
    let mut mates = between(db, change.dot, change.group_span())?;
    mates.retain(|kept| group_key(&kept.change) == group_key(change));
    Ok(mates)
}

fn between(db: &Connection, dot: Dot, (first, last): (u64, u64)) -> Result<Vec<Kept>, StoreError> {
    let mut query = db.prepare_cached(&format!("{KEPT} ORDER BY seq"))?;
    let span = params![Bits(dot.device.0), Bits(dot.run.0), Bits(first), Bits(last)];
    let mut rows = query.query(span)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Kept {
            change: unpack(&row.get::<_, Vec<u8>>(0)?, "wadi_quarantine.body")?,
            gateway: row.get(1)?,
            round: number_at(row, 2)?,
            received_s: number_at(row, 3)?,
            reason: row.get(4)?,
            seen_seq: number_at(row, 5)?,
            closure_seqs: unpack(&row.get::<_, Vec<u8>>(6)?, "wadi_quarantine.closure_seqs")?,
        });
    }
    Ok(found)
}

/// Every quarantined change that nobody has rejected, by name, in the order of receipt.
pub(super) fn undecided(db: &Connection) -> Result<Vec<Dot>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT device, run, seq FROM wadi_quarantine
         WHERE rejected IS NULL ORDER BY received_s, device, run, seq",
    )?;
    Ok(query.query_map([], |row| dot_at(row, 0))?.collect::<Result<_, _>>()?)
}

/// Whether something is kept that came under the number of another change.
pub(super) fn has_clash(db: &Connection, dot: Dot) -> Result<bool, StoreError> {
    let mut query =
        db.prepare_cached("SELECT 1 FROM wadi_clash WHERE device = ?1 AND run = ?2 AND seq = ?3")?;
    Ok(query.exists(params![Bits(dot.device.0), Bits(dot.run.0), Bits(dot.seq)])?)
}

/// Take a change out.
pub(super) fn remove(db: &Connection, dot: Dot) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM wadi_quarantine WHERE device = ?1 AND run = ?2 AND seq = ?3")?
        .execute([Bits(dot.device.0), Bits(dot.run.0), Bits(dot.seq)])?;
    Ok(())
}

/// Let what is kept under a dot be rejected or not, as the rulings about it say; who
/// brought it is told where that is news.
pub(super) fn reject(db: &Connection, dot: Dot, rulings: &[Ruling]) -> Result<(), StoreError> {
    let rejected = ruling::rejection(rulings).map(|reason| format!("{REJECTED}{reason}"));
    // What came under the number of another change is never repaired.
    let rejects = rulings.iter().filter(|ruling| matches!(ruling.word, Word::Reject { .. }));
    let clash =
        ruling::rejection(rejects.collect::<Vec<_>>()).map(|why| format!("{REJECTED}{why}"));
    for (table, rejected) in [("wadi_quarantine", &rejected), ("wadi_clash", &clash)] {
        let mut query = db.prepare_cached(&format!(
            "UPDATE {table} SET rejected = ?4
             WHERE device = ?1 AND run = ?2 AND seq = ?3 AND rejected IS NOT ?4
             RETURNING gateway, reason"
        ))?;
        let key = params![Bits(dot.device.0), Bits(dot.run.0), Bits(dot.seq), rejected];
        let told = query
            .query_map(key, |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?
            .collect::<Result<Vec<_>, _>>()?;
        for (gateway, reason) in told {
            let reason = rejected.clone().unwrap_or(reason);
            let notice = Notice { dot, outcome: Outcome::Quarantined, reason };
            // A clash has the number of another change, of which others are told.
            match table {
                "wadi_quarantine" => notice::put_all(db, gateway, &notice)?,
                _ => notice::put(db, gateway, &notice)?,
            }
        }
    }
    Ok(())
}
