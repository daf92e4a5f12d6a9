//! A backup of the database, beside the serving hub, and putting one back; and the
//! *backup watermark*: up to which hub sequence a backup exists. What gateways
//! still hold behind it is needed if the hub is ever lost.
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use wadi_protocol::id::{RowVersion, RunId};

use super::open::{MIGRATIONS, lock, version};
use super::{Store, StoreError, copy, put_stored, restored, run, stored};

/// In a copy: it is a backup of itself, up to its own head.
const MARK_COPY: &str = "UPDATE wadi_store SET value = CASE key
        WHEN 'backup_seq' THEN (SELECT value FROM wadi_store WHERE key = 'head')
        WHEN 'backup_run' THEN coalesce((SELECT run FROM wadi_hub_run ORDER BY number DESC LIMIT 1), 0)
        ELSE ?1 END
    WHERE key IN ('backup_seq', 'backup_run', 'backup_s')";

/// Up to where a backup exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watermark {
    /// The hub's run that the backup shows.
    pub run: RunId,
    /// Its hub sequence.
    pub seq: u64,
    /// When it was made, seconds since 1970.
    pub s: u64,
}

impl Store {
    /// Copy the database to `to`, whole or not at all; then note the watermark.
    pub fn backup(
        &mut self,
        to: &Path,
        replace: bool,
        now_s: u64,
    ) -> Result<Watermark, StoreError> {
        let mode = self.db.path().map_or(0o600, |path| copy::mode_of(Path::new(path)));
        let mut mark = None;
        copy::copy(&self.db, to, mode, replace, |copy| {
            copy.execute(MARK_COPY, [super::sql::Bits(now_s)])?;
            mark = Some(read_mark(copy).map_err(|error| match error {
                StoreError::Sqlite(error) => error,
                _ => rusqlite::Error::InvalidQuery,
            })?);
            Ok(())
        })?;
        let mark = mark.expect("a copy that was made was marked");
        self.write(|tx, _| {
            // A slower backup that began earlier takes nothing back.
            if mark.seq >= stored(tx, "backup_seq")? {
                put_stored(tx, "backup_seq", mark.seq)?;
                put_stored(tx, "backup_run", mark.run.0)?;
                put_stored(tx, "backup_s", mark.s)?;
            }
            Ok(())
        })?;
        Ok(mark)
    }

    /// Up to where a backup exists; none if there never was one.
    pub fn watermark(&self) -> Result<Option<Watermark>, StoreError> {
        Ok(Some(read_mark(&self.db)?).filter(|mark| mark.s > 0))
    }
}

/// Up to which of our sequences a backup exists; 0 = none does.
pub(super) fn reaches(db: &Connection) -> Result<u64, StoreError> {
    let Watermark { run: hub, seq, .. } = read_mark(db)?;
    Ok(run::own(db, RowVersion { hub, seq })?.unwrap_or(0))
}

fn read_mark(db: &Connection) -> Result<Watermark, StoreError> {
    let run = RunId(stored(db, "backup_run")?);
    Ok(Watermark { run, seq: stored(db, "backup_seq")?, s: stored(db, "backup_s")? })
}

/// Put a backup in the place of the database; where the one that was there lies now.
/// Refused while a hub serves with it; nothing is ever deleted. It numbers nothing until
/// an operator confirms.
pub fn restore(
    from: &Path,
    database: &Path,
    stamp: &str,
    now_s: u64,
) -> Result<Option<PathBuf>, StoreError> {
    let _lock = lock(database)?;
    let unfit =
        |why: &str| StoreError::Refused(format!("{}: {why}; nothing was changed", from.display()));
    if !from.exists() {
        return Err(unfit("there is no such file"));
    }
    let looked = || -> Result<_, StoreError> {
        let db = copy::open_to_read(from)?;
        let version = version(&db, MIGRATIONS.len())?;
        let faults = copy::faults(&db)?;
        Ok((db, version, faults))
    };
    let (backup, version, faults) = match looked() {
        Ok(looked) => looked,
        Err(newer @ StoreError::Newer { .. }) => return Err(unfit(&newer.to_string())),
        Err(StoreError::Foreign) => return Err(unfit("this is not a hub's database")),
        Err(error) => return Err(unfit(&format!("this is no whole hub's database ({error})"))),
    };
    if version == 0 {
        return Err(unfit("it is empty"));
    }
    if let Some(fault) = faults {
        return Err(unfit(&format!("it is damaged: {fault}")));
    }
    let stop = |copy: &Connection| {
        copy.execute(restored::STOP, [super::sql::Bits(now_s.max(1))]).map(drop)
    };
    Ok(copy::exchange(&backup, database, 0o640, stamp, stop)?)
}
