//! What a serving hub counts and its file does not: messages, refusals, what
//! was dropped. Whether a hub serves at all: a lock beside the database, held
//! while one does.
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts since the hub began to serve.
#[derive(Debug, Default)]
pub struct Counts {
    /// Messages of gateways.
    pub heard: Count,
    /// Their bytes, without those of MQTT, TLS and IP.
    pub heard_bytes: Count,
    /// Messages that were dropped because the store could not keep up; gateways ask again.
    pub dropped: Count,
    /// Messages that could not be read.
    pub unreadable: Count,
    /// Messages without the tag of the gateway whose topic they came by.
    pub forged: Count,
    /// Messages that came on no gateway's topic.
    pub stray: Count,
    /// Answers that were refusals.
    pub refused: Count,
    /// Messages to gateways.
    pub sent: Count,
    /// Their bytes, without those of MQTT, TLS and IP.
    pub sent_bytes: Count,
    /// Connections to the broker made.
    pub connections: Count,
    /// Connections to the broker lost; as many as made = there is none now.
    pub disconnections: Count,
}

/// A number that grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// So many more.
    pub fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Between two attempts to take the lock, and how many: a `status` holds it for a moment.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
const LOCK_ATTEMPTS_MAX: u32 = 25;

/// Say that a hub serves this database, as long as the file lives.
///
/// # Errors
/// The lock file cannot be made, or another hub has it.
pub fn hold(database: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(lock(database))?;
    for _ in 0..LOCK_ATTEMPTS_MAX {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "another hub serves this database"))
}

/// Whether a hub serves this database; none = that cannot be found out.
pub fn is_served(database: &Path) -> Option<bool> {
    let file = match File::open(lock(database)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(false),
        Err(_) => return None,
    };
    match file.try_lock_shared() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

fn lock(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_os_string();
    name.push("-serving");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_serves_while_it_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("hub.db");
        assert_eq!(is_served(&database), Some(false));
        let held = hold(&database).unwrap();
        assert_eq!(is_served(&database), Some(true));
        assert_eq!(hold(&database).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(held);
        assert_eq!(is_served(&database), Some(false));
        hold(&database).unwrap();
    }
}
