//! The operators' device: whose settles and rulings count, and by which names.
//!
//! Each command draws a run of its own, so that a restored database never uses a
//! number twice. What operators make is taken here, whoever composed it, and counts
//! for the same in whatever order it comes.
use rusqlite::{Connection, params};
use wadi_protocol::change::Change;
use wadi_protocol::id::{DeviceId, Dot, RunId, RunInfo};
use wadi_protocol::ruling::{self, Ruling, Word};
use wadi_protocol::wire::message::Outcome;

use super::changes::{self, Arrival};
use super::sql::{Bits, number_at};
use super::work::Work;
use super::{Catalog, Draw, Store, StoreError, release, restored, rulings, stored};

/// The name of the operators' device.
const LABEL: &str = "operator";

/// What operators make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// A change that settles a case.
    Settle(Change),
    /// A ruling about a change.
    Rule(Ruling),
}

/// Names for what one command makes.
pub(super) struct Names {
    device: DeviceId,
    run: RunId,
    made: u64,
}

impl Names {
    /// Draw a run that follows the last one.
    pub fn draw(db: &Connection, draw: &Draw) -> Result<Names, StoreError> {
        may_act(db)?;
        let device = device(db)?;
        let runs = changes::runs(db, device)?;
        let is_parent = |run: &RunInfo| {
            runs.iter().any(|other| other.parent.is_some_and(|(parent, _)| parent == run.run))
        };
        let parent = match runs.iter().find(|run| !is_parent(run)) {
            Some(last) => Some((last.run, made_in(db, device, last.run)?)),
            None => None,
        };
        let run = RunId::from_random(draw.bits()?);
        changes::insert_run(db, &RunInfo { device, run, parent, label: LABEL.into() })?;
        Ok(Names { device, run, made: 0 })
    }

    /// The next name.
    pub fn next(&mut self) -> Dot {
        self.made += 1;
        Dot { device: self.device, run: self.run, seq: self.made }
    }
}

/// An error while a restored hub numbers nothing.
pub(super) fn may_act(db: &Connection) -> Result<(), StoreError> {
    if restored::is_stopped(db)? {
        let text = "the database was restored and numbers nothing yet: first run `wadi-hub \
                    resume`, see `wadi-hub status`";
        return Err(StoreError::Refused(text.into()));
    }
    Ok(())
}

/// The device of the hub's operators.
pub(super) fn device(db: &Connection) -> Result<DeviceId, StoreError> {
    stored(db, "device").map(DeviceId)
}

/// The last sequence of a run of theirs.
fn made_in(db: &Connection, device: DeviceId, run: RunId) -> Result<u64, StoreError> {
    let sql =
        "SELECT max((SELECT coalesce(max(seq), 0) FROM wadi_change WHERE device = ?1 AND run = ?2),
                   (SELECT coalesce(max(seq), 0) FROM wadi_ruling WHERE device = ?1 AND run = ?2))";
    Ok(db.query_row(sql, params![Bits(device.0), Bits(run.0)], |row| number_at(row, 0))?)
}

impl Store {
    /// Take what operators made, as they made it: in any order, and as often as it comes.
    pub fn take_acts(
        &mut self,
        runs: &[RunInfo],
        acts: &[Act],
        now_s: u64,
    ) -> Result<(), StoreError> {
        self.write(|tx, catalog| {
            for run in runs {
                changes::insert_run(tx, run)?;
            }
            take(tx, catalog, acts, now_s).map(drop)
        })
    }
}

/// Take what operators made; what became of the settles, and of what was released.
pub(super) fn take(
    db: &Connection,
    catalog: &Catalog,
    acts: &[Act],
    now_s: u64,
) -> Result<release::Heeded, StoreError> {
    let mut work = Work::new(db, catalog, now_s)?;
    let mut arrivals = Vec::new();
    let mut subjects = Vec::new();
    for act in acts {
        match act {
            Act::Settle(change) if changes::sequence(db, change.dot)?.is_none() => {
                arrivals.push(settle(db, change)?);
            }
            Act::Settle(_) => {}
            Act::Rule(ruling) => {
                rulings::insert(db, ruling)?;
                subjects.push(ruling.subject);
            }
        }
    }
    let mut fresh = Vec::with_capacity(arrivals.len());
    for arrival in arrivals {
        fresh.push(changes::enter(db, arrival, now_s)?);
    }
    release::heed(&mut work, &subjects, fresh)
}

/// A settle as it counts: it may be undone before it comes.
fn settle(db: &Connection, change: &Change) -> Result<Arrival, StoreError> {
    let undone = rulings::about(db, change.dot)?.iter().any(|ruling| ruling.word == Word::Undo);
    let typed = if undone { ruling::undone(change) } else { change.clone() };
    Ok(Arrival { original: change.clone(), typed, gateway: 0, round: 0 })
}

/// The hub sequence of a settle that was just taken.
pub(super) fn applied(heeded: &release::Heeded, dot: Dot) -> Result<u64, StoreError> {
    match heeded.outcomes.get(&dot) {
        Some(Outcome::Applied { seq }) => Ok(*seq),
        _ => Err(StoreError::Broken("an operator's decision was not applied".into())),
    }
}
