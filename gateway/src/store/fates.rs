//! What became of a handheld's changes, as far as this gateway knows. A dot that came to
//! the hub by another route is no more than a number here: it may be another change's.
use rusqlite::Connection;
use wadi_protocol::id::{DeviceId, RunId};
use wadi_protocol::link::message::Fate;

use super::error::{Problem, StoreError};
use super::{Custody, Ground, Store};

/// Device, run, first and last sequence.
type Span = (DeviceId, RunId, u64, u64);
/// A stretch that shares a fate.
type Told = (DeviceId, RunId, u64, u64, Fate);

/// Sequences looked at for one question: more are answered when asked again.
const FATES_LOOKED_AT_MAX: u64 = 10_000;

impl Store {
    /// Stretches with something to tell; what is pending here is left out.
    pub fn fates(&self, spans: &[Span]) -> Result<Vec<Told>, StoreError> {
        self.read(|db, ground| {
            let mut told = Vec::new();
            let mut budget = FATES_LOOKED_AT_MAX;
            for &(device, run, first, last) in spans {
                let last = last.min(first.saturating_add(budget).saturating_sub(1));
                if first > last || first == 0 || last > i64::MAX as u64 {
                    continue;
                }
                budget -= last - first + 1;
                of_span(db, ground, (device, run, first, last), &mut told)?;
            }
            Ok(told)
        })
    }
}

fn of_span(
    db: &Connection,
    ground: &Ground,
    (device, run, first, last): Span,
    told: &mut Vec<Told>,
) -> Result<(), Problem> {
    let mut say = |from: u64, to: u64, fate: Fate| match told.last_mut() {
        Some((d, r, _, end, held))
            if (*d, *r, *end + 1) == (device, run, from) && *held == fate =>
        {
            *end = to;
        }
        _ => told.push((device, run, from, to, fate)),
    };
    let Some(&id) = ground.runs.get(&(device, run)) else {
        say(first, last, Fate::Unknown);
        return Ok(());
    };
    // What is no longer kept whole is committed.
    let mut statement = db.prepare_cached(
        "SELECT seq, seq, custody, reason FROM wadi_change
             WHERE run = ?1 AND seq BETWEEN ?2 AND ?3
         UNION ALL
         SELECT max(first, ?2), min(last, ?3), 1, NULL FROM wadi_compacted
             WHERE run = ?1 AND first <= ?3 AND last >= ?2
         ORDER BY 1",
    )?;
    let mut rows = statement.query((id, first as i64, last as i64))?;
    let mut next = first;
    while let Some(row) = rows.next()? {
        let (from, to) = (row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64);
        if next < from {
            say(next, from - 1, Fate::Unknown);
        }
        next = to + 1;
        match Custody::of(row.get(2)?) {
            Custody::Pending | Custody::Held => {}
            Custody::Committed => say(from, to, Fate::Durable),
            Custody::Parked => say(from, to, Fate::Parked),
            Custody::Quarantined => {
                let reason: Option<String> = row.get(3)?;
                say(from, to, Fate::Quarantined { reason: reason.unwrap_or_default() });
            }
        }
    }
    if next <= last {
        say(next, last, Fate::Unknown);
    }
    Ok(())
}
