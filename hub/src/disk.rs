//! How much room there is where the database lies, and how much it takes.
use std::path::Path;

use serde::Serialize;

/// The database's file system and files. The names of the fields are those of
/// `status --json`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Disk {
    /// Free bytes for this user; none = the system does not tell.
    pub free_bytes: Option<u64>,
    /// Bytes of the whole file system.
    pub total_bytes: Option<u64>,
    /// Free, in percent.
    pub free_percent: Option<u64>,
    /// Bytes of the database file.
    pub database_bytes: u64,
    /// Bytes of its write-ahead log.
    pub wal_bytes: u64,
    /// Whether the file system cannot be written.
    pub read_only: bool,
}

impl Disk {
    /// Around a database.
    pub fn around(database: &Path) -> Disk {
        let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let mut wal = database.as_os_str().to_os_string();
        wal.push("-wal");
        let mut disk = Disk {
            database_bytes: bytes(database),
            wal_bytes: bytes(Path::new(&wal)),
            ..Disk::default()
        };
        if let Ok(system) = rustix::fs::statvfs(database) {
            let free_bytes = system.f_bavail.saturating_mul(system.f_frsize);
            let total_bytes = system.f_blocks.saturating_mul(system.f_frsize);
            disk.free_bytes = Some(free_bytes);
            disk.total_bytes = Some(total_bytes);
            disk.read_only = system.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
            disk.read_only |= is_aborted(database);
            disk.free_percent = free_bytes.saturating_mul(100).checked_div(total_bytes);
        }
        disk
    }
}

/// Whether the file system gave itself up after an error, of which its flags need not tell.
/// Not the database is opened for that: to close it would drop SQLite's own locks.
fn is_aborted(database: &Path) -> bool {
    let mut lock = database.as_os_str().to_os_string();
    lock.push("-lock");
    let opened = std::fs::OpenOptions::new().write(true).open(lock);
    opened.is_err_and(|error| error.kind() == std::io::ErrorKind::ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_room_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("x.db");
        std::fs::write(&database, [0; 100]).unwrap();
        std::fs::write(folder.path().join("x.db-wal"), [0; 7]).unwrap();
        let disk = Disk::around(&database);
        assert_eq!((disk.database_bytes, disk.wal_bytes), (100, 7));
        assert!(disk.free_bytes.unwrap() <= disk.total_bytes.unwrap());
        assert!(disk.free_percent.unwrap() <= 100);
        assert_eq!(Disk::around(&folder.path().join("nowhere/x.db")), Disk::default());
    }
}
