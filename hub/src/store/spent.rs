//! What the links of gateways cost, as they tell it with the first round of a new day.
use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use wadi_protocol::limits::DAYS_TOLD_MAX;
use wadi_protocol::wire::message::Spent;

use super::StoreError;
use super::sql::number_at;

/// Days that are kept of each gateway.
const DAYS_KEPT: i64 = 400;
/// Days behind the last one told that a picture is of.
const DAYS_SHOWN: i64 = 30;
/// No link takes more in a day: sums stay numbers, whatever a gateway tells.
const BYTES_MAX: u64 = 1 << 40;

/// What a gateway's link cost: on the last day that it told of, and in the 30 days to that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Costs {
    /// That day, counted from 1970-01-01.
    pub day: u64,
    /// On it.
    pub day_bytes: u64,
    /// In the 30 days, by purpose.
    pub payload: u64,
    /// What carried that.
    pub protocol: u64,
    /// To connect.
    pub connect: u64,
    /// To keep an idle connection.
    pub idle: u64,
    /// Of other programs.
    pub others: u64,
}

impl Costs {
    /// In the 30 days.
    pub fn total(&self) -> u64 {
        self.payload + self.protocol + self.connect + self.idle + self.others
    }
}

/// Keep what a gateway tells; told twice it counts once.
pub(super) fn note(db: &Connection, gateway: u32, days: &[Spent]) -> Result<(), StoreError> {
    let mut keep = db.prepare_cached(
        "INSERT OR REPLACE INTO wadi_spent (gateway, day, payload, protocol, connect, idle, others)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for spent in days.iter().take(DAYS_TOLD_MAX) {
        let Spent { day, payload, protocol, connect, idle, others } = *spent;
        let [payload, protocol, connect, idle, others] =
            [payload, protocol, connect, idle, others].map(|b| b.min(BYTES_MAX).cast_signed());
        keep.execute(params![gateway, day, payload, protocol, connect, idle, others])?;
    }
    if !days.is_empty() {
        db.prepare_cached(
            "DELETE FROM wadi_spent WHERE gateway = ?1
                 AND day <= (SELECT max(day) FROM wadi_spent WHERE gateway = ?1) - ?2",
        )?
        .execute(params![gateway, DAYS_KEPT])?;
    }
    Ok(())
}

/// Of every gateway that told of any.
pub(super) fn costs(db: &Connection) -> Result<BTreeMap<u32, Costs>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT s.gateway, last.day, sum(payload), sum(protocol), sum(connect), sum(idle), sum(others),
             sum(CASE WHEN s.day = last.day THEN payload + protocol + connect + idle + others ELSE 0 END)
         FROM (SELECT gateway, max(day) AS day FROM wadi_spent GROUP BY gateway) last
         JOIN wadi_spent s ON s.gateway = last.gateway AND s.day > last.day - ?1
         GROUP BY s.gateway",
    )?;
    let lines = query.query_map([DAYS_SHOWN], |row| {
        let costs = Costs {
            day: number_at(row, 1)?,
            payload: number_at(row, 2)?,
            protocol: number_at(row, 3)?,
            connect: number_at(row, 4)?,
            idle: number_at(row, 5)?,
            others: number_at(row, 6)?,
            day_bytes: number_at(row, 7)?,
        };
        Ok((row.get(0)?, costs))
    })?;
    Ok(lines.collect::<Result<_, _>>()?)
}
