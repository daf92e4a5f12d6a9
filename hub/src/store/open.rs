//! Opening the store: the lock, the layout, the copy before the layout changes.
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use wadi_protocol::id::RunId;
use wadi_protocol::wire::coded::Held;

use super::{Draw, Store, StoreError, copy, models, sql};
use crate::owner;

/// How long a statement waits for another process of the hub.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// In the file's header, "WADH": a hub's database.
const APPLICATION_ID: i64 = 0x5741_4448;
/// Versions of the tables: each entry brings the file one version further.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("tables.sql"),
    include_str!("enrolment.sql"),
    include_str!("backup.sql"),
    include_str!("seeing.sql"),
    include_str!("clash.sql"),
    include_str!("lean.sql"),
    include_str!("ruling.sql"),
    include_str!("line.sql"),
    include_str!("restored.sql"),
    include_str!("copied.sql"),
    include_str!("wanted.sql"),
    include_str!("moved.sql"),
    include_str!("models.sql"),
    include_str!("spent.sql"),
];

impl Store {
    /// Open the file, make it where there is none, and bring its tables up to date.
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        Store::open_drawing(path, Draw::default())
    }

    /// The same, with random bits of this source.
    pub fn open_drawing(path: &Path, draw: Draw) -> Result<Store, StoreError> {
        open(path, MIGRATIONS, None, draw)
    }

    /// Open a file that a hub has made, to read beside it.
    pub fn open_to_read(path: &Path) -> Result<Store, StoreError> {
        let db = copy::open_to_read(path)?;
        db.busy_timeout(BUSY_TIMEOUT)?;
        version(&db, MIGRATIONS.len())?;
        let draw = Draw::default();
        let mut store = Store::of(db, draw, None);
        store.refresh()?;
        Ok(store)
    }

    fn of(db: Connection, draw: Draw, held: Option<File>) -> Store {
        let (catalog, models) = (Arc::default(), Held::of(models::HELD_MAX));
        Store { db, catalog, run: RunId::NONE, draw, models, _lock: held }
    }

    /// Open the file to serve with it: no other process may until this one ends.
    pub fn open_to_serve(path: &Path) -> Result<Store, StoreError> {
        let lock = lock(path)?;
        open(path, MIGRATIONS, Some(lock), Draw::default())
    }
}

/// Guards the life of the process that serves; commands of operators go beside it.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let name = copy::beside(path, "-lock");
    let file = owner::open(&name, 0o640).map_err(StoreError::Lock)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse),
        Err(TryLockError::Error(error)) => Err(StoreError::Lock(error)),
    }
}

fn open(path: &Path, steps: &[&str], held: Option<File>, draw: Draw) -> Result<Store, StoreError> {
    // Records of patients: nobody outside the hub's group reads them. An error
    // shows again, with its reason, when SQLite opens the file.
    let _ = owner::create(path, 0o640);
    let mut db = Connection::open(path)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    // Another file is not to be changed before we know that it is ours.
    let found = version(&db, steps.len())?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", false)?;
    // A plan is good for any value: else each new value that is compared with the
    // condition of a partial index would prepare the statement anew.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.set_prepared_statement_cache_capacity(256);
    if found != steps.len() {
        // The tables are not to change under a hub that serves.
        let _guard = if found > 0 && held.is_none() { Some(lock(path)?) } else { None };
        if found > 0 {
            copy::keep_old(&db, path, found as i64, steps.len()).map_err(StoreError::OldCopy)?;
        }
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        migrate(&tx, steps, &draw)?;
        tx.commit()?;
    }
    let mut store = Store::of(db, draw, held);
    store.refresh()?;
    Ok(store)
}

/// The version of the file's tables, 0 if there are none yet; an error if it is not ours.
pub(super) fn version(db: &Connection, known: usize) -> Result<usize, StoreError> {
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (found, id) = (pragma("user_version")?, pragma("application_id")?);
    let count = |of: &str| {
        let sql = format!("SELECT count(*) FROM sqlite_schema WHERE name LIKE '{of}'");
        db.query_row(&sql, (), |row| row.get::<_, i64>(0))
    };
    // The first version had no id.
    let ours = id == APPLICATION_ID || (id == 0 && found > 0 && count("wadi_hub_run")? == 1);
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    match ours {
        true if found > known => Err(StoreError::Newer { found }),
        true => Ok(found),
        false if id == 0 && found == 0 && count("%")? == 0 => Ok(0),
        false => Err(StoreError::Foreign),
    }
}

/// Bring the tables up to date, all steps or none.
fn migrate(tx: &Transaction<'_>, steps: &[&str], draw: &Draw) -> Result<(), StoreError> {
    let found = version(tx, steps.len())?;
    for step in &steps[found..] {
        tx.execute_batch(step)?;
    }
    if found == 0 {
        tx.execute(
            "INSERT INTO wadi_store (key, value) VALUES ('head', 0), ('device', ?1)",
            [sql::Bits(draw.bits()?)],
        )?;
    }
    tx.pragma_update(None, "user_version", steps.len() as i64)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    Ok(())
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
