//! What a serving hub counts and its file does not: messages, refusals, what
//! was dropped. Whether a hub serves at all: a lock beside the database, held
//! while one does; in that file, how its link to the broker is.
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

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

/// A longer text in the lock file is not ours.
const LINK_BYTES_MAX: u64 = 4096;
/// A reason is cut to so many characters.
const REASON_CHARS_MAX: usize = 300;

/// The link of a serving hub to its broker.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LinkState {
    /// The broker, host and port.
    pub broker: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Since when, seconds since 1970.
    pub since_s: u64,
    /// Why it is not.
    pub last_error: Option<String>,
}

/// What is to be seen of a hub from beside it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Presence {
    /// Whether one serves; none = that cannot be found out.
    pub serving: Option<bool>,
    /// Its link, if it serves and has told.
    pub link: Option<LinkState>,
}

/// Where a serving hub tells how its link is.
#[derive(Debug)]
pub struct Sign {
    file: Option<File>,
    state: LinkState,
}

impl Sign {
    /// In the file that [`hold`] gave; without one nothing is told.
    pub fn new(file: Option<File>, broker: String) -> Sign {
        Sign { file, state: LinkState { broker, ..LinkState::default() } }
    }

    /// The link is there.
    pub fn connected(&mut self, now_s: u64) {
        self.turn(true, None, now_s);
    }

    /// It is not, and why.
    pub fn disconnected(&mut self, why: &str, now_s: u64) {
        self.turn(false, Some(why.chars().take(REASON_CHARS_MAX).collect()), now_s);
    }

    fn turn(&mut self, connected: bool, last_error: Option<String>, now_s: u64) {
        if self.state.since_s == 0 || self.state.connected != connected {
            self.state.since_s = now_s;
        }
        (self.state.connected, self.state.last_error) = (connected, last_error);
        let Some(file) = &self.file else { return };
        // A page of status that is not to be had is no reason to serve nobody.
        let text = serde_json::to_string(&self.state).unwrap_or_default();
        let _ = file.set_len(0).and_then(|()| file.write_all_at(text.as_bytes(), 0));
    }
}

/// Look at a hub from beside it.
pub fn look(database: &Path) -> Presence {
    let serving = is_served(database);
    let told = || {
        let mut text = String::new();
        let file = File::open(lock(database)).ok()?;
        file.take(LINK_BYTES_MAX).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    };
    Presence { serving, link: if serving == Some(true) { told() } else { None } }
}

/// Say that a hub serves this database, as long as the file lives.
///
/// # Errors
/// The lock file cannot be made, or another hub has it.
pub fn hold(database: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(lock(database))?;
    for _ in 0..LOCK_ATTEMPTS_MAX {
        match file.try_lock() {
            // What the last one said of its link is over.
            Ok(()) => return file.set_len(0).map(|()| file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "another hub serves this database"))
}

/// Whether a hub serves this database; none = that cannot be found out.
fn is_served(database: &Path) -> Option<bool> {
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

    #[test]
    fn it_tells_how_its_link_is_while_it_serves() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("hub.db");
        assert_eq!(look(&database), Presence { serving: Some(false), link: None });
        let held = hold(&database).unwrap();
        assert_eq!(look(&database), Presence { serving: Some(true), link: None });
        let mut sign = Sign::new(Some(held), "broker:1883".into());
        let told = |connected, since_s, last_error: Option<&str>| {
            let (broker, last_error) = ("broker:1883".into(), last_error.map(Into::into));
            let link = Some(LinkState { broker, connected, since_s, last_error });
            Presence { serving: Some(true), link }
        };
        sign.disconnected("refused, and a long story about it", 100);
        sign.disconnected("refused", 130);
        assert_eq!(look(&database), told(false, 100, Some("refused")));
        sign.connected(140);
        assert_eq!(look(&database), told(true, 140, None));
        sign.disconnected(&"x".repeat(9_000), 150);
        assert!(!look(&database).link.unwrap().connected);
        // Damage is not believed, and no page fails on it.
        std::fs::write(lock(&database), "{\"broker\":").unwrap();
        assert_eq!(look(&database), Presence { serving: Some(true), link: None });
        sign.connected(160);
        drop(sign);
        assert_eq!(look(&database), Presence { serving: Some(false), link: None });
    }
}
