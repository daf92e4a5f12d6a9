//! The hub's store: one SQLite file, WAL, `synchronous=FULL`.
//!
//! Everything that the hub must remember lies here; `serve` and the commands
//! beside it go through the same functions, each one short transaction. The
//! store owns no clock, no socket and no timer: time enters as an argument.
//! Rules (what a value is, what precedes what, who is dead) are the
//! protocol's; this edge only feeds them and writes what they say.
mod admit;
mod apply;
pub mod backup;
mod brief;
mod catalog;
mod changes;
mod clash;
mod coding;
mod commit;
mod compose;
pub mod copied;
pub mod copy;
mod deletion;
mod draw;
pub mod enrolment;
mod entered;
pub mod export;
pub mod gateway;
pub mod history;
mod judge;
mod kept;
pub mod ledger;
pub mod line;
mod log;
mod models;
mod neighbours;
mod notice;
mod open;
pub mod operators;
mod page;
mod page_row;
mod past;
pub mod quarantine;
mod release;
pub mod repair;
pub mod restored;
pub mod review;
mod round;
mod rulings;
mod run;
pub mod schema;
mod scope;
pub mod settle;
pub mod spent;
mod sql;
pub mod status;
mod telling;
pub mod text;
mod twins;
mod typed;
pub mod undo;
pub mod wanted;
mod work;

use std::fs::File;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use wadi_protocol::id::RunId;
use wadi_protocol::wire::coded::Held;

pub use self::brief::{Said, write_down};
pub use self::catalog::Catalog;
pub use self::draw::Draw;
pub use self::sql::RowKey;

/// What can go wrong at the hub's store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite said so: disk, lock or file.
    #[error("database: {}", explain(.0))]
    Sqlite(#[from] rusqlite::Error),
    /// A database of something else.
    #[error("this is not a hub's database; give another file in `database`")]
    Foreign,
    /// Another process serves with it.
    #[error("another wadi-hub is serving with it; stop that one first")]
    InUse,
    /// The lock file beside it.
    #[error(
        "its lock file cannot be opened: {0}; check its folder, and the owner and mode of that"
    )]
    Lock(std::io::Error),
    /// A copy of it.
    #[error(transparent)]
    Copy(#[from] copy::CopyError),
    /// The copy that is made before the file is brought up to date.
    #[error(
        "it is of an older version, and is copied before that is changed; nothing was changed: {0}"
    )]
    OldCopy(copy::CopyError),
    /// The file was written by a later Wadi.
    #[error("the database has version {found}, this program knows {MAX}: use a newer wadi-hub", MAX = open::MIGRATIONS.len())]
    Newer {
        /// The file's version.
        found: usize,
    },
    /// Our own tables contradict themselves.
    #[error("the database is damaged: {0}; copy the file aside and restore a backup")]
    Broken(String),
    /// Somebody asked for what cannot be; the text says what to do.
    #[error("{0}")]
    Refused(String),
    /// The operating system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
}

impl StoreError {
    /// Whether starting again changes nothing until a person has acted.
    pub fn is_lasting(&self) -> bool {
        use ErrorCode::{DatabaseCorrupt, NotADatabase, ReadOnly};
        match self {
            StoreError::Foreign | StoreError::Newer { .. } | StoreError::Broken(_) => true,
            StoreError::Sqlite(error) => {
                matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase | ReadOnly))
            }
            _ => false,
        }
    }
}

/// The open store.
pub struct Store {
    db: Connection,
    catalog: Arc<Catalog>,
    run: RunId,
    draw: Draw,
    /// Models in memory.
    models: Held,
    /// Held while serving.
    _lock: Option<File>,
}

impl Store {
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
        Ok(self.db.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
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

fn explain(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program holds its write lock; end that transaction".into()
        }
        Some(ErrorCode::ReadOnly) => "it cannot be written; check its owner and mode".into(),
        Some(ErrorCode::CannotOpen) => {
            "it cannot be opened; check that its folder is there, and owner and mode of both".into()
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            format!("damaged ({error}); copy the file aside and restore a backup")
        }
        Some(ErrorCode::NotADatabase) => {
            "this is not an SQLite database; give another file in `database`".into()
        }
        Some(ErrorCode::DiskFull) => "the disk is full; make room".into(),
        _ => error.to_string(),
    }
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
