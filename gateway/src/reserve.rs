//! The reserve: room on the disk that is kept for the changelog.
//!
//! A bound on free bytes alone keeps nothing: whoever fills the disk next takes them
//! too. So the room is taken beforehand, by a file beside the database whose blocks are
//! allocated and hold nothing, and given up piece by piece only when the database's own
//! transactions would find the disk full: what a round needs to be written down, and
//! with it what makes room again. New records are refused long before that, while all of
//! the reserve is still there. The file needs no care over a power cut: it holds
//! nothing, and each start makes it whole as far as there is room.
//!
//! ```text
//! room = free bytes + what the reserve holds
//! above 1 1/2 reserves    records are taken; what was given up is taken back
//! below 1 1/4 reserves    records are refused, until it is above 1 1/2 again
//! free below 1/8 reserve  so much of the reserve is given up, at most all of it
//! ```
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use tracing::{info, warn};

use crate::store::copy::beside;
use crate::words::bytes;

/// Behind the database's name.
const ENDING: &str = "-reserve";
/// Of a small file system no more than this part is kept.
const PART_OF_DISK: u64 = 4;

/// The reserve of a running gateway.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    /// Bytes wanted.
    wanted: u64,
    /// The file, and how many bytes it holds; none = it cannot be made here.
    file: Option<(File, u64)>,
    /// Records are refused.
    scarce: bool,
    /// What was said last, so that it is said once.
    given: bool,
}

/// The file of a database's reserve.
pub fn path(database: &Path) -> PathBuf {
    beside(database, ENDING)
}

/// The free bytes below which a gateway with this reserve takes no more records, while
/// the reserve is whole.
pub fn refuse_below(reserve_bytes: u64) -> u64 {
    reserve_bytes / 4
}

impl Reserve {
    /// Take what there is room for, or give up what a start needs. 0 bytes: none is kept,
    /// and records are taken until the disk is full.
    pub fn take(database: &Path, wanted: u64) -> Reserve {
        let path = path(database);
        let total = room_of(&path).map_or(0, |(_, total)| total);
        let wanted = wanted.min(total / PART_OF_DISK);
        let open = || {
            let mut options = OpenOptions::new();
            options.create(true).truncate(false).write(true).mode(0o600).open(&path)
        };
        let file = match wanted {
            0 => {
                let _ = std::fs::remove_file(&path);
                None
            }
            _ => open().ok().and_then(|file| {
                // A gateway that runs already has it.
                file.try_lock().ok()?;
                let held = file.metadata().ok()?.len();
                Some((file, held))
            }),
        };
        let mut reserve = Reserve { path, wanted, file, scarce: false, given: false };
        reserve.look();
        reserve
    }

    /// Look how much room there is, and act on it. Cheap while nothing has changed.
    pub fn look(&mut self) {
        let Some((free, _)) = room_of(&self.path).filter(|_| self.wanted > 0) else {
            return;
        };
        let room = free.saturating_add(self.held());
        let enough = self.wanted + self.wanted / 2;
        let bound = self.wanted + refuse_below(self.wanted);
        let scarce = room < if self.scarce { enough } else { bound };
        if scarce != self.scarce {
            self.scarce = scarce;
            self.tell(free);
        }
        let least = self.wanted / 8;
        if free < least {
            self.resize(self.held().saturating_sub(least));
        } else if !scarce && self.held() != self.wanted {
            self.resize(self.wanted);
        }
    }

    /// Why records are refused, if they are: for handhelds and for people.
    pub fn refusal(&self) -> Option<&'static str> {
        self.scarce.then_some(
            "the gateway's disk is nearly full: room must be made there; keep what you have",
        )
    }

    fn held(&self) -> u64 {
        self.file.as_ref().map_or(0, |(_, held)| *held)
    }

    fn resize(&mut self, to: u64) {
        let Some((file, held)) = self.file.as_mut().filter(|(_, held)| *held != to) else {
            return;
        };
        let resized = if to < *held {
            file.set_len(to)
        } else {
            let (from, more) = (*held, to - *held);
            let grown = rustix::fs::fallocate(&*file, FallocateFlags::empty(), from, more);
            // Some of it may be allocated all the same.
            grown.map_err(|error| file.set_len(from).err().unwrap_or(error.into()))
        };
        // What is freed may be used only once the file system has written that down.
        let settled = resized.and_then(|()| file.sync_all());
        match settled {
            Ok(()) => {
                *held = to;
                if std::mem::replace(&mut self.given, to < self.wanted) != self.given {
                    self.tell_given(to);
                }
            }
            Err(error) => {
                let file = self.path.display();
                warn!(phase = "disk", %file, "no room can be kept for the changelog: {error}");
                self.file = None;
            }
        }
    }

    fn tell(&self, free: u64) {
        let (file, free) = (self.path.display(), bytes(free));
        match self.scarce {
            true => warn!(
                phase = "disk", %file,
                "the disk is nearly full ({free} free): no records are taken until there is room"
            ),
            false => info!(phase = "disk", %file, "there is room again ({free} free)"),
        }
    }

    fn tell_given(&self, held: u64) {
        let (file, held) = (self.path.display(), bytes(held));
        match self.given {
            true => warn!(
                phase = "disk", %file,
                "the disk is full: sync goes on with what was kept for it ({held} are left)"
            ),
            false => info!(phase = "disk", %file, "{held} are kept for the changelog"),
        }
    }
}

/// Free and all bytes where a file lies or would lie.
fn room_of(path: &Path) -> Option<(u64, u64)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let system = rustix::fs::statvfs(folder.unwrap_or(Path::new("."))).ok()?;
    let of = |blocks: u64| blocks.saturating_mul(system.f_frsize);
    Some((of(system.f_bavail), of(system.f_blocks)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reserve that never acts on how full the disk of the tests is.
    fn reserve(folder: &Path, wanted: u64, held: u64) -> Reserve {
        let path = path(&folder.join("x.db"));
        let file = File::create(&path).unwrap();
        file.set_len(held).unwrap();
        Reserve { path, wanted, file: Some((file, held)), scarce: false, given: false }
    }

    #[test]
    fn what_is_taken_are_blocks_and_what_is_given_are_too() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let mut reserve = reserve(folder.path(), 1 << 20, 0);
        let blocks = |reserve: &Reserve| reserve.path.metadata().unwrap().blocks() * 512;
        reserve.look();
        assert!(blocks(&reserve) >= 1 << 20, "{}", blocks(&reserve));
        reserve.resize(1 << 18);
        assert!((1 << 18..1 << 19).contains(&blocks(&reserve)), "{}", blocks(&reserve));
        assert_eq!((reserve.held(), reserve.refusal()), (1 << 18, None));
        // With room it is made whole again.
        reserve.look();
        assert_eq!((reserve.held(), reserve.given), (1 << 20, false));
    }

    #[test]
    fn a_disk_without_room_for_it_is_scarce_and_gives_up_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        // More than any disk has: all that is free lies below each bound.
        let mut reserve = reserve(folder.path(), u64::MAX / 2, 1 << 20);
        reserve.look();
        assert!(reserve.refusal().unwrap().contains("nearly full"));
        assert_eq!(reserve.held(), 0);
    }

    #[test]
    fn a_second_gateway_leaves_the_reserve_of_the_first_alone() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("x.db");
        let first = Reserve::take(&database, 1 << 20);
        assert_eq!(first.held(), 1 << 20);
        assert!(Reserve::take(&database, 1 << 19).file.is_none());
        assert_eq!(first.path.metadata().unwrap().len(), 1 << 20);
    }
}
