//! The gateway's store: one SQLite file, written by one process.
//!
//! Everything durable is here: the changelog with its two doors (`intake`,
//! `capture`), base and overlay behind the typed tables, the feed of the
//! handhelds, and the outbox of rounds. It has no clock and draws no random
//! numbers: both are arguments. A change of the state in memory counts only
//! once its transaction is committed.
mod assemble;
pub mod backup;
mod base;
mod brief;
mod capture;
pub mod compact;
pub mod copy;
pub mod costs;
pub mod damage;
mod drain;
mod error;
mod fates;
mod feed;
pub mod handhelds;
mod horizon;
mod image;
mod install;
mod intake;
mod latest;
pub mod ledger;
mod line;
mod literal;
mod log;
mod models;
mod open;
mod outcome;
mod overlay;
mod page;
mod picture;
pub mod plan;
mod promote;
mod recode;
mod restored;
pub mod roster;
mod round;
mod seen;
mod spent;
pub mod status;
mod stretches;
mod telling;
pub mod thread;
mod work;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};
use wadi_protocol::id::{DeviceId, GatewayId, RunId};
use wadi_protocol::resolve::Lines;
use wadi_protocol::round::gateway::GatewayRound;
use wadi_protocol::schema::Schema;
use wadi_protocol::stamp::Clock;
use wadi_protocol::wire::coded::Held;

pub use error::{IntakeError, Problem, StoreError};
pub use feed::Welcome;
pub use open::Opening;
pub use round::{RoundAnswer, RoundInput};
pub use spent::Standing;
use work::Work;

/// Changes that may wait for the hub; above it both doors refuse, saying so.
pub const PENDING_CHANGES_MAX: u64 = 500_000;
/// Changes of other programs that may wait to be put into the changelog.
pub const CAPTURED_CHANGES_MAX: u32 = 10_000;
/// How long a writer waits for another program's lock.
pub const LOCK_WAIT_MS: u32 = 5_000;

/// Where a change is. The number is what `wadi_change.custody` holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Custody {
    /// Here, undecided.
    Pending = 0,
    /// At the hub.
    Committed = 1,
    /// At the hub, waits for what it needs.
    Parked = 2,
    /// Kept here at the hub's request.
    Held = 3,
    /// At the hub, outside the tables.
    Quarantined = 4,
}

impl Custody {
    /// All of them, in the order of their numbers.
    pub const ALL: [Custody; 5] = [
        Custody::Pending,
        Custody::Committed,
        Custody::Parked,
        Custody::Held,
        Custody::Quarantined,
    ];

    /// The custody of a stored number, which the table's CHECK keeps below 5.
    pub(crate) fn of(number: i64) -> Custody {
        Custody::ALL[usize::try_from(number).expect("custody is checked by the table")]
    }

    /// Its name for people and machines.
    pub fn name(self) -> &'static str {
        match self {
            Custody::Pending => "pending",
            Custody::Committed => "committed",
            Custody::Parked => "parked",
            Custody::Held => "held",
            Custody::Quarantined => "quarantined",
        }
    }
}

/// What the store keeps in memory of what is durable. A transaction works on a
/// copy, which takes its place at commit.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    pub site: String,
    pub gateway: GatewayId,
    pub device: DeviceId,
    pub run: RunId,
    /// Sequence of the last change of the own run.
    pub last_seq: u64,
    pub feed_seq: u64,
    pub clock: Clock,
    /// The hub has confirmed the system clock since the store was opened.
    pub clock_confirmed: bool,
    /// The hub's clock minus ours in seconds, as of its last page since the store was opened.
    pub hub_offset_s: Option<i64>,
    pub schema: Option<Arc<Schema>>,
    pub lines: Arc<Lines>,
    /// Local ids of runs.
    pub runs: Arc<HashMap<(DeviceId, RunId), i64>>,
    /// The hub's runs heard so far.
    pub hubs: Arc<BTreeSet<RunId>>,
    /// The last run of the hub that was lost, if one was.
    pub lost_hub: RunId,
    pub round: GatewayRound,
    /// Models in memory.
    pub models: Held,
    /// The hub knows where this box stands: a round may begin in brief.
    pub brief: bool,
    /// The page that came with the hub's answer, while it is looked at.
    pub opened: Option<Arc<page::Opened>>,
    /// A page against the model that was taught nothing could not be read: plain ones, then.
    pub plain_pages: bool,
    /// The page of the round that is open is to hold only what is urgent.
    pub narrow: bool,
    /// What the link cost, as far as that is not written down.
    pub spent: spent::Unwritten,
    /// Changes in custody pending or held.
    pub waiting: u64,
    /// Changes appended since the store was opened.
    pub appended: u64,
    /// Why no records are taken, if they are not: the disk is nearly full.
    pub scarce: Option<&'static str>,
}

/// What an open store knows and its file does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Glance {
    /// Changes in custody pending or held.
    pub waiting: u64,
    /// The hub has confirmed the system clock since the store was opened.
    pub clock_confirmed: bool,
    /// The hub's clock minus ours in seconds, when it told last since then.
    pub hub_offset_s: Option<i64>,
    /// Waits for another program's lock that ran out, not yet in the file.
    pub lock_waits: u64,
    /// No records are taken, for the disk is nearly full.
    pub scarce: bool,
}

/// The open store of a running gateway.
pub struct Store {
    path: PathBuf,
    db: Connection,
    ground: Ground,
    /// `PRAGMA data_version` at the last drain.
    data_version: i64,
    /// Waits for another program's lock that ran out, not yet written down.
    lock_waits: u64,
    /// Where compaction stands.
    progress: compact::Progress,
    /// Refusals of handhelds, not yet written down.
    refusals: handhelds::Refusals,
    /// Held as long as the store is open, so that there is one process.
    _lock: File,
}

impl Store {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The device under which captured changes are made.
    pub fn device(&self) -> DeviceId {
        self.ground.device
    }

    /// The run that this opening drew.
    pub fn run(&self) -> RunId {
        self.ground.run
    }

    /// The number that the hub gave this gateway.
    pub fn gateway(&self) -> GatewayId {
        self.ground.gateway
    }

    /// The schema, once the hub has sent one.
    pub fn schema(&self) -> Option<Arc<Schema>> {
        self.ground.schema.clone()
    }

    /// The round that is open, or the next to be opened.
    pub fn next_round(&self) -> u64 {
        self.ground.round.round
    }

    /// Changes that wait for the hub.
    pub fn waiting(&self) -> u64 {
        self.ground.waiting
    }

    /// What the store knows and the file does not.
    pub fn glance(&self) -> Glance {
        let Ground { waiting, clock_confirmed, hub_offset_s, .. } = self.ground;
        let scarce = self.ground.scarce.is_some();
        Glance { waiting, clock_confirmed, hub_offset_s, lock_waits: self.lock_waits, scarce }
    }

    /// Changes appended to the changelog since the store was opened.
    pub fn appended(&self) -> u64 {
        self.ground.appended
    }

    /// Whether there is room for new records, or why not. Programs that write by SQL hear
    /// it too, as soon as it can be written down: to be said again and again.
    pub fn make_known(
        &mut self,
        scarce: Option<&'static str>,
        now_s: u64,
    ) -> Result<(), StoreError> {
        self.ground.scarce = scarce;
        let sql = "SELECT full = 2 FROM wadi_switch";
        let said: bool =
            self.read(|db, _| Ok(db.prepare_cached(sql)?.query_row((), |row| row.get(0))?))?;
        if said == scarce.is_some() {
            return Ok(());
        }
        match self.write(now_s, |_| Ok(())) {
            Err(error) if error.problem.is_passing() => Ok(()),
            other => other,
        }
    }

    /// Put into the changelog what other programs wrote, if they wrote anything.
    /// Cheap when they did not. Returns how many changes it became.
    pub fn drain(&mut self, now_s: u64) -> Result<u64, StoreError> {
        let version = self.read(|db, _| work::data_version(db))?;
        if version == self.data_version {
            return Ok(0);
        }
        let before = self.ground.last_seq;
        if self.read(|db, _| drain::is_needed(db))? {
            self.write(now_s, |_| Ok(()))?;
        }
        // Only what was looked at counts: a write since then shows as a newer version.
        self.data_version = version;
        Ok(self.ground.last_seq - before)
    }

    /// One read snapshot.
    fn read<T>(
        &self,
        work: impl FnOnce(&Connection, &Ground) -> Result<T, Problem>,
    ) -> Result<T, StoreError> {
        let outcome = self.db.unchecked_transaction().map_err(Problem::from).and_then(|tx| {
            let value = work(&tx, &self.ground)?;
            tx.commit()?;
            Ok(value)
        });
        outcome.map_err(|problem| problem.at(&self.path))
    }

    /// One write transaction: captures off, what was captured drained, the work,
    /// captures on, all or nothing.
    fn write<T>(
        &mut self,
        now_s: u64,
        work: impl FnOnce(&mut Work<'_>) -> Result<T, Problem>,
    ) -> Result<T, StoreError> {
        let outcome = self.try_write(now_s, work);
        if outcome.as_ref().is_err_and(Problem::is_lock) {
            self.lock_waits += 1;
        }
        outcome.map_err(|problem| problem.at(&self.path))
    }

    fn try_write<T>(
        &mut self,
        now_s: u64,
        work: impl FnOnce(&mut Work<'_>) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut session = Work::begin(tx, self.ground.clone(), now_s)?;
        session.note_lock_waits(self.lock_waits)?;
        drain::drain(&mut session)?;
        let value = work(&mut session)?;
        self.ground = session.commit()?;
        self.lock_waits = 0;
        Ok(value)
    }
}
