//! The hub's store: one SQLite file, WAL, `synchronous=FULL`.
//!
//! Everything that the hub must remember lies here; `serve` and the commands
//! beside it go through the same functions, each one short transaction. The
//! store owns no clock, no socket and no timer: time enters as an argument.
//! Rules (what a value is, what precedes what, who is dead) are the
//! protocol's; this edge only feeds them and writes what they say.
mod admit;
mod apply;
mod catalog;
mod changes;
mod commit;
mod deletion;
pub mod enrolment;
pub mod export;
pub mod gateway;
pub mod history;
mod judge;
pub mod ledger;
mod log;
mod neighbours;
mod page;
mod page_row;
pub mod quarantine;
pub mod review;
mod round;
mod run;
pub mod schema;
mod scope;
pub mod settle;
mod sql;
pub mod status;
pub mod text;
mod twins;
mod typed;
mod work;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use wadi_protocol::id::RunId;

pub use self::catalog::Catalog;
pub use self::sql::RowKey;

/// How long a statement waits for another process of the hub.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Versions of the tables: each entry brings the file one version further.
const MIGRATIONS: &[&str] = &[include_str!("tables.sql"), include_str!("enrolment.sql")];

/// What can go wrong at the hub's store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite said so: disk, lock or file.
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file was written by a later Wadi.
    #[error("the database has version {found}, this program knows {MAX}: use a newer wadi-hub", MAX = MIGRATIONS.len())]
    Newer {
        /// The file's version.
        found: usize,
    },
    /// Our own tables contradict themselves.
    #[error("the database is damaged: {0}")]
    Broken(String),
    /// Somebody asked for what cannot be; the text says what to do.
    #[error("{0}")]
    Refused(String),
    /// The operating system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
}

/// The open store.
pub struct Store {
    db: Connection,
    catalog: Arc<Catalog>,
    run: RunId,
}

impl Store {
    /// Open the file, make it where there is none, and bring its tables up to date.
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        // Records of patients: nobody outside the hub's group reads them. An error
        // shows again, with its reason, when SQLite opens the file.
        let _ = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path);
        Store::start(Connection::open(path)?)
    }

    fn start(mut db: Connection) -> Result<Store, StoreError> {
        db.busy_timeout(BUSY_TIMEOUT)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "foreign_keys", false)?;
        db.set_prepared_statement_cache_capacity(256);
        if version(&db)? != MIGRATIONS.len() {
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            migrate(&tx)?;
            tx.commit()?;
        }
        let mut store = Store { db, catalog: Arc::default(), run: RunId::NONE };
        store.refresh()?;
        Ok(store)
    }

    /// Look at what other processes of the hub have written: schema and run.
    pub fn refresh(&mut self) -> Result<(), StoreError> {
        Catalog::refresh(&mut self.catalog, &self.db)?;
        self.run = run::current_run(&self.db)?;
        Ok(())
    }

    /// The hub's run as of the last look; none before the first [`Store::begin_run`].
    pub fn run(&self) -> RunId {
        self.run
    }

    /// SQLite's number that moves when another process has written.
    pub fn data_version(&self) -> Result<i64, StoreError> {
        Ok(self.db.query_row("PRAGMA data_version", [], |row| row.get(0))?)
    }

    /// The hub sequence.
    pub fn head(&self) -> Result<u64, StoreError> {
        head(&self.db)
    }

    /// Run `body` in one transaction that writes.
    fn write<T>(
        &mut self,
        body: impl FnOnce(&Transaction<'_>, &Arc<Catalog>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        Catalog::refresh(&mut self.catalog, &tx)?;
        let out = body(&tx, &self.catalog)?;
        tx.commit()?;
        Ok(out)
    }

    /// Run `body` on one consistent picture.
    fn read<T>(
        &self,
        body: impl FnOnce(&Transaction<'_>, &Arc<Catalog>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let tx = self.db.unchecked_transaction()?;
        let mut catalog = self.catalog.clone();
        Catalog::refresh(&mut catalog, &tx)?;
        body(&tx, &catalog)
    }
}

/// The version of the file's tables; 0 = there are none yet.
fn version(db: &Connection) -> Result<usize, StoreError> {
    Ok(db.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0))? as usize)
}

/// Bring the tables up to date.
fn migrate(tx: &Transaction<'_>) -> Result<(), StoreError> {
    let found = version(tx)?;
    if found > MIGRATIONS.len() {
        return Err(StoreError::Newer { found });
    }
    for step in &MIGRATIONS[found..] {
        tx.execute_batch(step)?;
    }
    if found == 0 {
        tx.execute(
            "INSERT INTO wadi_store (key, value) VALUES ('head', 0), ('device', ?1)",
            [sql::Bits(random_bits()?)],
        )?;
    }
    tx.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    Ok(())
}

/// 64 random bits of the operating system.
fn random_bits() -> Result<u64, StoreError> {
    getrandom::u64().map_err(|error| StoreError::Random(error.to_string()))
}

/// The hub sequence.
fn head(db: &Connection) -> Result<u64, StoreError> {
    stored(db, "head")
}

/// A value of `wadi_store`.
fn stored(db: &Connection, key: &str) -> Result<u64, StoreError> {
    let mut query = db.prepare_cached("SELECT value FROM wadi_store WHERE key = ?1")?;
    Ok(query.query_row([key], |row| sql::number_at(row, 0))?)
}

/// Set a value of `wadi_store`.
fn put_stored(db: &Connection, key: &str, value: u64) -> Result<(), StoreError> {
    let mut update = db.prepare_cached("UPDATE wadi_store SET value = ?2 WHERE key = ?1")?;
    update.execute(rusqlite::params![key, sql::Bits(value)])?;
    Ok(())
}
