//! The rulings that operators made, by the change that each is about.
use rusqlite::{Connection, params};
use wadi_protocol::id::Dot;
use wadi_protocol::ruling::Ruling;
use wadi_protocol::stamp::Clock;

use super::StoreError;
use super::sql::{Bits, pack, unpack};

/// Rulings about one change; more are refused.
pub(super) const OF_CHANGE_MAX: usize = 100;

/// Keep a ruling. One that is kept already stays as it is.
pub(super) fn insert(db: &Connection, ruling: &Ruling) -> Result<(), StoreError> {
    let mut query = db.prepare_cached(
        "INSERT OR IGNORE INTO wadi_ruling
             (device, run, seq, subject_device, subject_run, subject_seq, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    query.execute(params![
        Bits(ruling.dot.device.0),
        Bits(ruling.dot.run.0),
        Bits(ruling.dot.seq),
        Bits(ruling.subject.device.0),
        Bits(ruling.subject.run.0),
        Bits(ruling.subject.seq),
        pack(ruling),
    ])?;
    Ok(())
}

/// Every ruling about a change, in the order of their stamps.
pub(super) fn about(db: &Connection, subject: Dot) -> Result<Vec<Ruling>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT body FROM wadi_ruling
         WHERE subject_device = ?1 AND subject_run = ?2 AND subject_seq = ?3",
    )?;
    let key = params![Bits(subject.device.0), Bits(subject.run.0), Bits(subject.seq)];
    let bodies = query.query_map(key, |row| row.get::<_, Vec<u8>>(0))?;
    let mut rulings = Vec::new();
    for body in bodies {
        rulings.push(unpack::<Ruling>(&body?, "wadi_ruling.body")?);
    }
    rulings.sort_by_key(|ruling| (ruling.stamp, ruling.dot));
    Ok(rulings)
}

/// Whether there is any about a change.
pub(super) fn any(db: &Connection, subject: Dot) -> Result<bool, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT 1 FROM wadi_ruling
         WHERE subject_device = ?1 AND subject_run = ?2 AND subject_seq = ?3",
    )?;
    Ok(query.exists(params![Bits(subject.device.0), Bits(subject.run.0), Bits(subject.seq)])?)
}

/// A clock that has heard of every ruling about a change; a refusal if there are too many.
pub(super) fn clock(db: &Connection, subject: Dot) -> Result<Clock, StoreError> {
    let rulings = about(db, subject)?;
    if rulings.len() >= OF_CHANGE_MAX {
        return Err(StoreError::Refused(format!(
            "{subject} was ruled about {OF_CHANGE_MAX} times, which is all that is kept: \
             correct its row with a record of your own"
        )));
    }
    let issued = rulings.last().map(|ruling| ruling.stamp).unwrap_or_default();
    Ok(Clock { issued, ..Clock::default() })
}
