//! A whole copy of an open database, or none: `VACUUM INTO` a temporary name,
//! checked, fsynced, then given its name.
//!
//! Writers go on meanwhile; the copy is one consistent picture. The gateway and
//! the hub each have this file, word for word; neither imports the other.
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf, absolute};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::owner;

/// A copy that was not made. Nothing lies under its name.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct CopyError {
    path: PathBuf,
    reason: String,
}

/// `path` with `ending` behind its name.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(ending);
    PathBuf::from(name)
}

/// Copy the database of `db` to `to`. `finish` may write into the copy before it
/// is checked and gets its name.
pub fn copy(
    db: &Connection,
    to: &Path,
    mode: u32,
    replace: bool,
    finish: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<(), CopyError> {
    // Absolute, so that no name is taken for a URI.
    let to = &absolute(to).map_err(|error| failed(to, &error))?;
    refuse_existing(to, replace)?;
    let part = beside(to, ".part");
    let file = begin(&part, mode)?;
    let made = fill(db, &part, finish).and_then(|()| {
        file.sync_all().map_err(|error| failed(&part, &error))?;
        settle(&part, to, replace)
    });
    match &made {
        Ok(()) => {
            let bytes = to.metadata().map_or(0, |found| found.len());
            tracing::debug!(phase = "backup", file = %to.display(), bytes, "a copy is made");
        }
        Err(_) => {
            let _ = std::fs::remove_file(&part);
            let _ = std::fs::remove_file(beside(&part, "-journal"));
        }
    }
    made
}

/// Put a copy of `from` in the place of the database `path`; where the one that was
/// there lies now. The caller holds the lock beside `path`. Until the last step the
/// old one stays in its place, so that an interrupted exchange can be begun again.
pub fn exchange(
    from: &Connection,
    path: &Path,
    mode: u32,
    stamp: &str,
    finish: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<Option<PathBuf>, CopyError> {
    let ready = beside(path, "-restored");
    let mode = if path.exists() { mode_of(path) } else { mode };
    copy(from, &ready, mode, true, finish)?;
    let bad = |error: io::Error| failed(path, &error);
    let aside = match path.exists() {
        true => Some(put_aside(path, stamp)?),
        false => None,
    };
    std::fs::rename(&ready, path).and_then(|()| sync_folder(path)).map_err(bad)?;
    Ok(aside)
}

fn put_aside(path: &Path, stamp: &str) -> Result<PathBuf, CopyError> {
    // What lies in its log goes into the file, if it can still be read.
    let _ = Connection::open(path).and_then(|old| {
        old.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get::<_, i64>(0))
    });
    let aside = beside(path, &format!("-before-restore-{stamp}"));
    refuse_existing(&aside, false)?;
    let linked = std::fs::hard_link(path, &aside).or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Err(error),
        _ => std::fs::rename(path, &aside),
    });
    linked.map_err(|error| failed(&aside, &error))?;
    // A log must never meet the copy: SQLite would play it into that.
    for ending in ["-wal", "-shm"] {
        match std::fs::rename(beside(path, ending), beside(&aside, ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&beside(path, ending), &error));
            }
            _ => {}
        }
    }
    sync_folder(path).map_err(|error| failed(path, &error))?;
    Ok(aside)
}

/// A copy of a file of an older layout as it is, beside it, before `known` layouts
/// are in. One that an interrupted attempt made is kept.
pub fn keep_old(db: &Connection, path: &Path, found: i64, known: usize) -> Result<(), CopyError> {
    let old = beside(path, &format!("-before-v{known}"));
    let whole = open_to_read(&old).and_then(|copy| {
        let version: i64 = copy.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok(version == found && faults(&copy)?.is_none())
    });
    if whole.unwrap_or(false) {
        return Ok(());
    }
    copy(db, &old, mode_of(path), true, |_| Ok(()))?;
    tracing::info!(
        phase = "migration",
        from = found,
        to = known,
        file = %old.display(),
        "the old file is kept"
    );
    Ok(())
}

/// Copy a small file, whole or not at all.
pub fn copy_file(from: &Path, to: &Path, mode: u32, replace: bool) -> Result<(), CopyError> {
    refuse_existing(to, replace)?;
    let part = beside(to, ".part");
    let mut file = begin(&part, mode)?;
    let copied = File::open(from)
        .and_then(|mut from| io::copy(&mut from, &mut file))
        .and_then(|_| file.sync_all());
    let made = copied.map_err(|error| failed(to, &error)).and_then(|()| settle(&part, to, replace));
    if made.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    made
}

/// What SQLite finds wrong with a database, if anything.
pub fn faults(db: &Connection) -> rusqlite::Result<Option<String>> {
    let found: String = db.query_row("PRAGMA integrity_check(1)", (), |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}

/// Open a file only to read it.
pub fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
}

/// The mode of a file; if there is none, for its owner only.
pub fn mode_of(path: &Path) -> u32 {
    path.metadata().map_or(0o600, |found| found.permissions().mode() & 0o777)
}

/// Make the names in a file's folder durable.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// An empty file under the temporary name, ours alone: what an interrupted copy
/// left there is thrown away.
fn begin(part: &Path, mode: u32) -> Result<File, CopyError> {
    let file = owner::open(part, mode).map_err(|error| failed(part, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let reason = "another process is writing it; wait for its end".into();
            return Err(CopyError { path: part.into(), reason });
        }
        Err(TryLockError::Error(error)) => return Err(failed(part, &error)),
    }
    let emptied = file.set_len(0);
    let emptied = emptied.and_then(|()| file.set_permissions(PermissionsExt::from_mode(mode)));
    emptied.map_err(|error| failed(part, &error))?;
    Ok(file)
}

fn fill(
    db: &Connection,
    part: &Path,
    finish: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<(), CopyError> {
    let bad = |reason: String| CopyError { path: part.into(), reason };
    let Some(name) = part.to_str() else {
        return Err(bad("the path is not UTF-8".into()));
    };
    let filled = db.execute("VACUUM INTO ?1", [name]).and_then(|_| {
        let copy = Connection::open(part)?;
        finish(&copy)?;
        faults(&copy)
    });
    match filled {
        Ok(None) => Ok(()),
        Ok(Some(fault)) => Err(bad(format!("the copy is damaged: {fault}"))),
        Err(error) => Err(bad(explain(&error))),
    }
}

fn settle(part: &Path, to: &Path, replace: bool) -> Result<(), CopyError> {
    // A link takes no name that was taken meanwhile; where there are no links, a look must do.
    let named = match std::fs::hard_link(part, to) {
        Ok(()) => std::fs::remove_file(part),
        Err(_) if replace => std::fs::rename(part, to),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => {
            refuse_existing(to, false)?;
            std::fs::rename(part, to)
        }
    };
    named.and_then(|()| sync_folder(to)).map_err(|error| failed(to, &error))
}

fn refuse_existing(to: &Path, replace: bool) -> Result<(), CopyError> {
    if to.symlink_metadata().is_ok_and(|found| !replace || !found.is_file()) {
        let reason = "it exists already; give another name, or --force to replace a file".into();
        return Err(CopyError { path: to.into(), reason });
    }
    Ok(())
}

fn failed(path: &Path, error: &io::Error) -> CopyError {
    let reason = match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full; make room".into(),
        io::ErrorKind::NotFound => "there is no such folder".into(),
        _ => error.to_string(),
    };
    CopyError { path: path.into(), reason }
}

fn explain(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full; make room".into(),
        Some(ErrorCode::SystemIoFailure) => {
            format!("it cannot be written ({error}); is the disk full or failing?")
        }
        _ => error.to_string(),
    }
}
