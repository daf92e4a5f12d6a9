//! A backup of the database, beside the running gateway, and putting one back.
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::copy::{self, CopyError};
use super::damage;
use super::error::{Problem, StoreError};
use super::open::{MIGRATIONS, check_layout, lock, open_to_read};

/// Copy the database to `to`, whole or not at all; writers go on meanwhile.
pub fn backup(database: &Path, to: &Path, replace: bool) -> Result<(), StoreError> {
    let mode = copy::mode_of(database);
    open_to_read(database)
        .and_then(|db| copy::copy(&db, to, mode, replace, |_| Ok(())).map_err(Problem::Copy))
        .map_err(|problem| problem.at(database))
}

/// Put a backup in the place of the database of a gateway; where the one that was
/// there lies now. Refused while a gateway runs on it; nothing is ever deleted.
pub fn restore(
    from: &Path,
    database: &Path,
    (site, gateway): (&str, u32),
    stamp: &str,
) -> Result<Option<PathBuf>, StoreError> {
    let _lock = lock(database).map_err(|problem| problem.at(database))?;
    let backup = fit(from, site, gateway).map_err(|problem| problem.at(from))?;
    let aside = copy::exchange(&backup, database, 0o660, stamp, |_| Ok(()))
        .map_err(|error| Problem::Copy(error).at(database))?;
    damage::forget(database);
    Ok(aside)
}

/// A file that may be put in place, open.
fn fit(from: &Path, site: &str, gateway: u32) -> Result<Connection, Problem> {
    if !from.exists() {
        return Err(Problem::Unfit("there is no such file".into()));
    }
    let looked = || -> Result<(Connection, i64, Option<String>), Problem> {
        let db = copy::open_to_read(from)?;
        let layout = check_layout(&db, MIGRATIONS.len())?;
        let faults = copy::faults(&db)?;
        Ok((db, layout, faults))
    };
    let (db, layout, faults) = match looked() {
        Ok(looked) => looked,
        Err(newer @ Problem::Newer { .. }) => return Err(newer),
        Err(Problem::Foreign) => {
            return Err(Problem::Unfit("this is not a gateway's database".into()));
        }
        Err(problem) => {
            return Err(Problem::Unfit(format!("this is no whole gateway's database ({problem})")));
        }
    };
    if layout == 0 {
        return Err(Problem::Unfit("it is empty".into()));
    }
    if let Some(fault) = faults {
        return Err(Problem::Unfit(format!("it is damaged: {fault}")));
    }
    let whose = db.query_row("SELECT site, gateway FROM wadi_store", (), |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?))
    })?;
    if whose != (site.to_string(), gateway) {
        return Err(Problem::OtherGateway { site: whose.0, gateway: whose.1 });
    }
    Ok(db)
}

/// Copy a small file beside a backup, for its owner only; whether there is one.
pub fn backup_beside(from: &Path, to: &Path, replace: bool) -> Result<bool, CopyError> {
    match from.is_file() {
        true => copy::copy_file(from, to, 0o600, replace).map(|()| true),
        false => Ok(false),
    }
}
