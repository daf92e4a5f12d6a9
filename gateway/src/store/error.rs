//! What can go wrong with the store, in words for people.
use std::path::{Path, PathBuf};

use rusqlite::{ErrorCode, ffi};
use wadi_protocol::link::message::AnswerBody;

use super::copy::CopyError;

/// What to do about damage.
const RESCUE: &str = "nothing more is written into it: copy it aside and restore a backup, and \
    see README, \"When the disk is full, or fails\"";
/// What the system says of a disk that fails.
const EIO: i32 = 5;

/// A failure of the store, with its file.
#[derive(Debug, thiserror::Error)]
#[error("database {path}: {problem}")]
pub struct StoreError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it and what to do.
    pub problem: Problem,
}

/// What is wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Another process has it open for writing.
    #[error(
        "another wadi-gateway is running on it; stop that one first (`status`, `schema` and `ledger` may run beside it)"
    )]
    InUse,
    /// There is no such file, and it is only to be read.
    #[error("there is no such file; `wadi-gateway run` creates it")]
    Missing,
    /// A database of something else.
    #[error("this is not a gateway's database; give another file in `database`")]
    Foreign,
    /// Made by a newer program.
    #[error(
        "it was written by a newer wadi-gateway (layout {found}, this one knows {known}); install that version"
    )]
    Newer {
        /// Its layout.
        found: i64,
        /// The newest layout known here.
        known: i64,
    },
    /// Made by an older program, and only its own successor brings it up to date.
    #[error("it was written by an older wadi-gateway; start `wadi-gateway run` once")]
    Older,
    /// It belongs to another gateway.
    #[error(
        "it belongs to gateway {gateway} of site {site:?}; correct `site` and `gateway` in the configuration, or give another file"
    )]
    OtherGateway {
        /// Whose it is.
        site: String,
        /// Its number.
        gateway: u32,
    },
    /// What is stored contradicts itself.
    #[error("damaged: {0}; {RESCUE}")]
    Damaged(String),
    /// Damage was found before.
    #[error("damaged, as {} says: {found}; {RESCUE}", note.display())]
    FoundDamaged {
        /// The file that says so.
        note: PathBuf,
        /// What was found.
        found: String,
    },
    /// The lock file beside it cannot be made.
    #[error(
        "its lock file cannot be opened: {0}; check its folder, and the owner and mode of that"
    )]
    Lock(std::io::Error),
    /// The copy that is made before the file is brought up to date.
    #[error(
        "it is of an older layout, and is copied before that is changed; nothing was changed: {0}"
    )]
    OldCopy(CopyError),
    /// A copy could not be made or put in place.
    #[error("{0}")]
    Copy(CopyError),
    /// A file that is not to be put in its place.
    #[error("{0}; nothing was changed")]
    Unfit(String),
    /// SQLite says no.
    #[error("{}", explain(.0))]
    Sqlite(#[from] rusqlite::Error),
}

/// Changes were not taken. Nothing of the batch was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IntakeError {
    /// Not now.
    #[error("{reason}")]
    Busy {
        /// Why, for people.
        reason: String,
        /// When to ask again.
        retry_ms: u32,
    },
    /// Not ever, as it is.
    #[error("{reason}")]
    Refused {
        /// Why and what to do, for people.
        reason: String,
    },
}

impl From<IntakeError> for AnswerBody {
    fn from(error: IntakeError) -> AnswerBody {
        match error {
            IntakeError::Busy { reason, retry_ms } => AnswerBody::Busy { reason, retry_ms },
            IntakeError::Refused { reason } => AnswerBody::Refused { reason },
        }
    }
}

impl Problem {
    /// With the file that it is about.
    pub fn at(self, path: &Path) -> StoreError {
        StoreError { path: path.to_path_buf(), problem: self }
    }

    /// Whether another program's lock was in the way.
    pub fn is_lock(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }

    /// Whether the disk is full. The index of the log is grown by itself, and has an error
    /// of its own for that.
    pub fn is_full(&self) -> bool {
        let extended = match self {
            Problem::Sqlite(error) => error.sqlite_error().map(|error| error.extended_code),
            _ => None,
        };
        self.code() == Some(ErrorCode::DiskFull) || extended == Some(ffi::SQLITE_IOERR_SHMSIZE)
    }

    /// Whether the same may work later: nothing was done and the store is sound.
    pub fn is_passing(&self) -> bool {
        self.is_lock() || self.is_full()
    }

    /// Whether starting again changes nothing until a person has acted: another
    /// file's contents, a newer layout, damage.
    pub fn is_lasting(&self) -> bool {
        match self {
            Problem::Foreign
            | Problem::Newer { .. }
            | Problem::OtherGateway { .. }
            | Problem::Damaged(_)
            | Problem::FoundDamaged { .. } => true,
            _ => matches!(
                self.code(),
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::ReadOnly)
            ),
        }
    }

    /// Whether the disk, not the file on it, is the matter: full, read-only, failing. The
    /// same may work once that is over, and no file is harmed by trying.
    pub fn is_of_disk(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        match self {
            Problem::Lock(error) => {
                matches!(error.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull)
                    || error.raw_os_error() == Some(EIO)
            }
            _ => self.is_full() || self.code() == Some(ErrorCode::SystemIoFailure),
        }
    }

    /// Whether what the file holds is damaged: nothing more is to be written into it.
    pub fn is_damage(&self) -> bool {
        let code = self.code();
        matches!(self, Problem::Damaged(_)) || code == Some(ErrorCode::DatabaseCorrupt)
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Problem::Sqlite(error) => error.sqlite_error_code(),
            _ => None,
        }
    }
}

fn explain(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program has held its write lock for 5 s; end that transaction".into()
        }
        Some(ErrorCode::DiskFull) => "the disk is full; make room".into(),
        Some(ErrorCode::ReadOnly) => "it cannot be written; check its owner and mode".into(),
        Some(ErrorCode::CannotOpen) => {
            "it cannot be opened; check that its folder is there, and owner and mode of both".into()
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            format!("damaged ({error}); {RESCUE}")
        }
        Some(ErrorCode::NotADatabase) => {
            "this is not an SQLite database; give another file in `database`".into()
        }
        Some(ErrorCode::SystemIoFailure) => {
            format!("the disk fails ({error}); see what the kernel says of it: dmesg")
        }
        _ => error.to_string(),
    }
}
