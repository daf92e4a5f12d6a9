//! Opening and creating the file; noticing that it is elsewhere than it was.
//!
//! A file that finds itself on another machine, after another boot or under
//! another inode may be a copy or a restored card: every device in it makes its
//! next change in a new run, so that no number is ever used twice.
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use wadi_protocol::id::RunId;
use wadi_protocol::limits::NAME_BYTES_MAX;
use wadi_protocol::link::message::FeedCursor;
use wadi_protocol::schema::Schema;

use super::devices::{Device, read_devices, read_lines};
use super::{Draw, Ground, LOCK_WAIT_MS, Store, StoreError, data_version, decode};
use crate::noise::key::{KEY_BYTES, KeyPair};
use crate::store::copy;

/// Layouts, oldest first; `user_version` counts those that are in.
pub(super) const LAYOUTS: [&str; 1] = [include_str!("tables.sql")];
/// "WADh": so that nobody takes a gateway's database for a handheld's.
const APPLICATION_ID: i64 = 0x5741_4468;

/// Where a file is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// `/etc/machine-id`; empty where there is none.
    pub machine: String,
    /// The kernel's boot id; empty where there is none.
    pub boot: String,
}

impl Origin {
    /// Of this process.
    pub fn here() -> Origin {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        Origin { machine: read("/etc/machine-id"), boot: read("/proc/sys/kernel/random/boot_id") }
    }
}

/// How to open a file.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The file.
    pub path: PathBuf,
    /// The own device's label if the file is created; else the host's name.
    pub label: Option<String>,
    /// Whether to create it.
    pub create: bool,
    /// Where we are.
    pub origin: Origin,
    /// Random bits: for keys, once, and for runs.
    pub draw: Draw,
}

impl Store {
    /// Open a file, or create it; whether it was created.
    pub fn open(opening: &Opening) -> Result<(Store, bool), StoreError> {
        Store::open_by(opening, &LAYOUTS)
    }

    /// The same by `layouts`, the whole list.
    pub(super) fn open_by(
        opening: &Opening,
        layouts: &[&str],
    ) -> Result<(Store, bool), StoreError> {
        let path = &opening.path;
        if !opening.create && !path.exists() {
            return Err(StoreError::Missing);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        // Records of patients: for their collector only. An error shows again below.
        let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(Duration::from_millis(LOCK_WAIT_MS))?;
        // A plan is good for any value: else each new value that is compared with the
        // condition of a partial index would prepare the statement anew.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        db.set_prepared_statement_cache_capacity(128);
        if !is_ours(&db)? {
            return Err(StoreError::Foreign);
        }
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "foreign_keys", false)?;
        let found = version(&db, layouts.len())?;
        if found > 0 && found < layouts.len() {
            let kept = copy::keep_old(&db, path, found as i64, layouts.len());
            kept.map_err(StoreError::OldCopy)?;
        }
        let created = migrate(&mut db, opening, layouts)?;
        settle_in(&mut db, path, &opening.origin)?;
        let version = data_version(&db)?;
        let ground = read_ground(&db)?;
        Ok((
            Store {
                path: path.clone(),
                db,
                ground,
                draw: opening.draw.clone(),
                data_version: version,
            },
            created,
        ))
    }
}

/// An empty database, or one with our application id.
fn is_ours(db: &Connection) -> Result<bool, StoreError> {
    let id: i64 = db.query_row("PRAGMA application_id", (), |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    Ok(id == APPLICATION_ID || (id == 0 && tables == 0))
}

/// How many layouts are in; an error if there are more than we know.
fn version(db: &Connection, known: usize) -> Result<usize, StoreError> {
    let found: i64 = db.query_row("PRAGMA user_version", (), |row| row.get(0))?;
    let newer = || StoreError::Newer(found, known as i64);
    usize::try_from(found).ok().filter(|found| *found <= known).ok_or_else(newer)
}

/// Bring the file to our version, in one transaction; whether it was empty.
fn migrate(db: &mut Connection, opening: &Opening, layouts: &[&str]) -> Result<bool, StoreError> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&tx, layouts.len())?;
    if found == layouts.len() {
        return Ok(false);
    }
    layouts[found..].iter().try_for_each(|layout| tx.execute_batch(layout))?;
    tx.pragma_update(None, "user_version", layouts.len() as i64)?;
    if found > 0 {
        tx.commit()?;
        return Ok(false);
    }
    let keys = opening.draw.keys()?;
    let label = opening.label.clone().unwrap_or_else(|| host_name(&opening.draw));
    let own = Device::derive(&keys.public(), label, &opening.draw)?;
    own.insert(&tx, None)?;
    tx.execute(
        "INSERT INTO wadi_file (one, secret, device, machine, boot, inode) VALUES (1, ?, ?, ?, ?, 0)",
        (keys.secret(), own.id.0 as i64, &opening.origin.machine, &opening.origin.boot),
    )?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    // The inode is noted when we settle in; a new file there is no move.
    tx.execute("UPDATE wadi_file SET inode = ?", (inode(&opening.path)?,))?;
    tx.commit()?;
    Ok(true)
}

/// Note where the file is; if that is elsewhere, every device needs a new run.
fn settle_in(db: &mut Connection, path: &Path, origin: &Origin) -> Result<(), StoreError> {
    let inode = inode(path)?;
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let moved = tx.execute(
        "UPDATE wadi_file SET machine = ?1, boot = ?2, inode = ?3
         WHERE machine <> ?1 OR boot <> ?2 OR inode <> ?3",
        (&origin.machine, &origin.boot, inode),
    )?;
    if moved > 0 {
        tx.execute("UPDATE wadi_device SET moved = 1", ())?;
    }
    tx.commit()?;
    Ok(())
}

fn inode(path: &Path) -> io::Result<i64> {
    Ok(std::fs::metadata(path)?.ino() as i64)
}

fn host_name(draw: &Draw) -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let name = &name[..name.floor_char_boundary(NAME_BYTES_MAX)];
    if name.is_empty() {
        format!("handheld-{:04x}", draw.bits().unwrap_or(0) >> 48)
    } else {
        name.to_owned()
    }
}

/// What memory holds of the file, read anew.
pub(super) fn read_ground(db: &Connection) -> Result<Ground, StoreError> {
    let devices = read_devices(db)?;
    let kept: i64 = db.query_row("SELECT count(*) FROM wadi_change", (), |row| row.get(0))?;
    let lines = Arc::new(read_lines(db)?);
    let file = db.query_row(
        "SELECT device, schema, learnt_s, feed_run, feed_seq, generation, secret FROM wadi_file",
        (),
        |row| {
            Ok((
                super::device_of(row.get(0)?),
                row.get::<_, Option<Vec<u8>>>(1)?,
                row.get::<_, i64>(2)? as u64,
                FeedCursor {
                    run: RunId(row.get::<_, i64>(3)? as u64),
                    seq: row.get::<_, i64>(4)? as u64,
                },
                row.get::<_, i64>(5)? as u64,
                row.get::<_, [u8; KEY_BYTES]>(6)?,
            ))
        },
    )?;
    let (own, schema, learnt_s, feed, generation, secret) = file;
    let keys = Arc::new(KeyPair::of(secret));
    let own = devices.values().find(|device| device.id == own);
    let own = own.ok_or(StoreError::Damaged("the own device"))?.label.clone();
    let schema =
        schema.map(|bytes| decode::<Schema>(&bytes, "the schema")).transpose()?.map(Arc::new);
    let kept = kept as u64;
    Ok(Ground { keys, own, devices, lines, schema, learnt_s, feed, generation, kept })
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
