//! Outcomes that come later than their round: they wait here for a page to carry them.
use rusqlite::{Connection, params};
use wadi_protocol::id::Dot;
use wadi_protocol::wire::downlink::Notice;
use wadi_protocol::wire::message::Outcome;

use super::StoreError;
use super::sql::{Bits, pack, unpack};

/// Let the next page of a gateway tell it. The hub's own operators need not be told.
pub(super) fn put(db: &Connection, gateway: u32, notice: &Notice) -> Result<(), StoreError> {
    if gateway != 0 {
        db.prepare_cached("INSERT INTO wadi_notice (gateway, body) VALUES (?1, ?2)")?
            .execute(params![gateway, pack(notice)])?;
    }
    Ok(())
}

/// Let the gateway that brought a change be told, and those that offered it too.
pub(super) fn put_all(db: &Connection, gateway: u32, notice: &Notice) -> Result<(), StoreError> {
    let dot = key(notice.dot);
    let mut others = db.prepare_cached(
        "SELECT gateway FROM wadi_also WHERE device = ?1 AND run = ?2 AND seq = ?3",
    )?;
    let others = others.query_map(dot, |row| row.get::<_, u32>(0))?;
    let others = others.collect::<Result<Vec<u32>, _>>()?;
    put(db, gateway, notice)?;
    for other in others.into_iter().filter(|&other| other != gateway) {
        // To others it came by another route.
        let outcome = match notice.outcome {
            Outcome::Applied { seq } => Outcome::Known { seq },
            Outcome::Parked => Outcome::Known { seq: 0 },
            ref outcome => outcome.clone(),
        };
        put(db, other, &Notice { outcome, ..notice.clone() })?;
    }
    if matches!(notice.outcome, Outcome::Applied { .. } | Outcome::Known { .. }) {
        db.prepare_cached("DELETE FROM wadi_also WHERE device = ?1 AND run = ?2 AND seq = ?3")?
            .execute(dot)?;
    }
    Ok(())
}

/// A gateway offers a change that another brought, and that is not taken yet.
pub(super) fn also(db: &Connection, gateway: u32, dot: Dot) -> Result<(), StoreError> {
    let [device, run, seq] = key(dot);
    db.prepare_cached(
        "INSERT OR IGNORE INTO wadi_also (device, run, seq, gateway) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![device, run, seq, gateway])?;
    Ok(())
}

fn key(dot: Dot) -> [Bits; 3] {
    [Bits(dot.device.0), Bits(dot.run.0), Bits(dot.seq)]
}

/// All notices of a gateway, and the last one's number. None may stay behind: a gateway
/// must know the sequence of an own change no later than the page that covers it, or
/// it would fold it over what came after. There are about as many as it
/// may have parked and quarantined.
pub(super) fn waiting(db: &Connection, gateway: u32) -> Result<(Vec<Notice>, i64), StoreError> {
    let mut query = db.prepare_cached(
        "SELECT number, body FROM wadi_notice WHERE gateway = ?1 ORDER BY number",
    )?;
    let mut rows = query.query([gateway])?;
    let (mut notices, mut last) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        notices.push(unpack(&row.get::<_, Vec<u8>>(1)?, "wadi_notice.body")?);
    }
    Ok((notices, last))
}

/// Whether there are any.
pub(super) fn waits(db: &Connection, gateway: u32) -> Result<bool, StoreError> {
    Ok(db.prepare_cached("SELECT 1 FROM wadi_notice WHERE gateway = ?1")?.exists([gateway])?)
}

/// A page that carried them, up to this one, was committed.
pub(super) fn told(db: &Connection, gateway: u32, last: i64) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM wadi_notice WHERE gateway = ?1 AND number <= ?2")?
        .execute(params![gateway, last])?;
    Ok(())
}
