//! A handheld's store: one SQLite file with outbox, replica and typed tables.
//!
//! Works by itself, offline; other processes of the same person may use the
//! file at the same time. One write transaction is a [`Work`]; what memory
//! holds of the file counts only once it is committed, and is read anew when
//! another process wrote. There is no link in here and no JSON.
mod devices;
mod draw;
mod install;
mod offers;
mod open;
mod outbox;
mod replica;
mod shown;
mod sites;
mod status;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Params, Row, Transaction, TransactionBehavior,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wadi_protocol::id::{DeviceId, Hash, RowId};
use wadi_protocol::link::message::FeedCursor;
use wadi_protocol::resolve::Lines;
use wadi_protocol::schema::{Schema, Table};

use crate::noise::key::KeyPair;
use crate::store::copy::CopyError;

pub use devices::Device;
pub use draw::Draw;
pub use offers::{Offer, Span};
pub use open::{Opening, Origin};
pub(crate) use outbox::Draft;

pub use replica::{Pulled, Replica};
pub use shown::ShownRow;
pub use sites::{Pin, SITES_MAX};
pub use status::{Status, Undecided};

/// Changes that a file keeps before it refuses more: some months of a busy collector.
pub const OUTBOX_CHANGES_MAX: u64 = 500_000;
/// How long a writer waits for another process's lock.
const LOCK_WAIT_MS: u64 = 5_000;

/// Why the store could not do it. Whoever names the file to people adds its path.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite or the disk.
    #[error("{}", explain(.0))]
    Sqlite(#[from] rusqlite::Error),
    /// The file system or the random number generator.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// No such file, and this command does not make one.
    #[error("there is no such file; `put`, `import` or `sync` makes one")]
    Missing,
    /// Another program's database.
    #[error("this is not a handheld's file; name another with --db")]
    Foreign,
    /// Made by a later version.
    #[error("the file has version {0}, this program knows {1}: use the newer program")]
    Newer(i64, i64),
    /// The copy that is made before the file is brought up to date.
    #[error(
        "the file is of an older version, and is copied before that is changed; nothing was changed: {0}"
    )]
    OldCopy(CopyError),
    /// Our own rows do not decode.
    #[error("{0} does not decode: the file is damaged; keep it, and restore a copy")]
    Damaged(&'static str),
    /// [`OUTBOX_CHANGES_MAX`] is reached.
    #[error(
        "the file keeps {OUTBOX_CHANGES_MAX} changes that are not durable yet: run `sync` first"
    )]
    Full,
}

fn explain(error: &rusqlite::Error) -> String {
    let says = match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) => {
            "it cannot be opened; check that its folder is there, and that you may read and write both"
        }
        Some(ErrorCode::NotADatabase) => "this is not a handheld's file; name another with --db",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program has held it for 5 s; wait for its end"
        }
        Some(ErrorCode::DiskFull) => "the disk is full; make room",
        Some(ErrorCode::ReadOnly) => "it cannot be written; check its owner and mode",
        Some(ErrorCode::DatabaseCorrupt) => {
            "it is damaged; keep it, and restore a copy, or send it to support"
        }
        _ => return error.to_string(),
    };
    says.into()
}

/// What memory holds of the file.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    /// Who this handheld is.
    pub keys: Arc<KeyPair>,
    /// The own device's label.
    pub own: String,
    pub devices: BTreeMap<String, Device>,
    pub lines: Arc<Lines>,
    pub schema: Option<Arc<Schema>>,
    pub learnt_s: u64,
    pub feed: FeedCursor,
    pub generation: u64,
    /// Rows of the outbox.
    pub kept: u64,
}

/// The open file.
pub struct Store {
    path: PathBuf,
    db: Connection,
    ground: Ground,
    draw: Draw,
    /// `PRAGMA data_version` when `ground` was read.
    data_version: i64,
}

impl Store {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The own device.
    pub fn device(&self) -> &Device {
        &self.ground.devices[&self.ground.own]
    }

    /// The key that this handheld is known by.
    pub fn keys(&self) -> Arc<KeyPair> {
        Arc::clone(&self.ground.keys)
    }

    /// The schema, once a gateway has told it.
    pub fn schema(&self) -> Option<Arc<Schema>> {
        self.ground.schema.clone()
    }

    /// Where the replica stands in the feed.
    pub fn feed(&self) -> FeedCursor {
        self.ground.feed
    }

    /// Begin a write transaction at `now_s`, seconds since 1970.
    pub fn begin(&mut self, now_s: u64) -> Result<Work<'_>, StoreError> {
        self.refresh()?;
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.prepare_cached("UPDATE wadi_file SET writing = 1")?.execute(())?;
        let ground = self.ground.clone();
        let dirty = BTreeSet::new();
        let (draw, touched) = (&self.draw, BTreeSet::new());
        Ok(Work { tx, committed: &mut self.ground, ground, draw, touched, dirty, now_s })
    }

    /// One write transaction around `work`.
    pub fn write<T>(
        &mut self,
        now_s: u64,
        work: impl FnOnce(&mut Work<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut open = self.begin(now_s)?;
        let value = work(&mut open)?;
        open.commit()?;
        Ok(value)
    }

    /// Read the ground anew if another process wrote.
    pub fn refresh(&mut self) -> Result<(), StoreError> {
        let version = data_version(&self.db)?;
        if version != self.data_version {
            self.ground = open::read_ground(&self.db)?;
            self.data_version = version;
        }
        Ok(())
    }
}

fn data_version(db: &Connection) -> Result<i64, StoreError> {
    Ok(db.prepare_cached("PRAGMA data_version")?.query_row((), |row| row.get(0))?)
}

/// How far an import is in its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImportPlace {
    /// Bytes done.
    pub bytes: u64,
    /// Lines done.
    pub lines: u64,
    /// Hash of the bytes just before.
    pub tail: Hash,
}

/// A write transaction.
pub struct Work<'s> {
    tx: Transaction<'s>,
    committed: &'s mut Ground,
    ground: Ground,
    draw: &'s Draw,
    /// Devices whose row has to be written.
    touched: BTreeSet<String>,
    /// Rows whose typed table has to be written.
    dirty: BTreeSet<(u16, RowId)>,
    now_s: u64,
}

impl Work<'_> {
    /// Make it durable.
    pub fn commit(mut self) -> Result<(), StoreError> {
        self.show_dirty()?;
        self.write_devices()?;
        self.run("UPDATE wadi_file SET writing = 0", ())?;
        self.tx.commit()?;
        *self.committed = self.ground;
        Ok(())
    }

    /// The own device's label.
    pub fn own(&self) -> &str {
        &self.ground.own
    }

    /// Seconds since 1970.
    pub fn now_s(&self) -> u64 {
        self.now_s
    }

    /// The schema, once a gateway has told it.
    pub fn schema(&self) -> Option<Arc<Schema>> {
        self.ground.schema.clone()
    }

    /// How far an unfinished import of `path` is.
    pub fn unfinished_import(&self, path: &str) -> Result<Option<ImportPlace>, StoreError> {
        let sql = "SELECT bytes, lines, tail FROM wadi_import WHERE path = ?";
        self.one(sql, (path,), |row| {
            let (bytes, lines): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok(ImportPlace { bytes: bytes as u64, lines: lines as u64, tail: Hash(row.get(2)?) })
        })
    }

    /// Remember how far an import is; none = it is finished.
    pub fn note_import(&self, path: &str, far: Option<&ImportPlace>) -> Result<(), StoreError> {
        match far {
            Some(far) => self.run(
                "INSERT OR REPLACE INTO wadi_import VALUES (?, ?, ?, ?)",
                (path, far.bytes as i64, far.lines as i64, far.tail.0),
            )?,
            None => self.run("DELETE FROM wadi_import WHERE path = ?", (path,))?,
        };
        Ok(())
    }

    fn run(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        Ok(self.tx.prepare_cached(sql)?.execute(params)?)
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        one(&self.tx, sql, params, read)
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        all(&self.tx, sql, params, read)
    }
}

fn one<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, StoreError> {
    Ok(db.prepare_cached(sql)?.query_row(params, read).optional()?)
}

fn all<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map(params, read)?.collect::<Result<Vec<T>, _>>()?;
    Ok(rows)
}

/// A blob of ours.
fn encode(what: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(what).expect("our own values always encode")
}

fn decode<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|_| StoreError::Damaged(what))
}

fn device_of(number: i64) -> DeviceId {
    DeviceId(number as u64)
}

fn row_of(bytes: Vec<u8>) -> Result<RowId, StoreError> {
    bytes.try_into().map(RowId).map_err(|_| StoreError::Damaged("a row id"))
}

fn table_of<'a>(schema: &'a Option<Arc<Schema>>, name: &str) -> Option<&'a Table> {
    schema.as_ref()?.table_named(name)
}
